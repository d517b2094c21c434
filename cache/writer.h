/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads of a cache: their numbers, their dice, and writers' sections.
 *
 * Usage: writer_enter() ... writer_leave() around everything that locks a
 * bucket or a shard or copies into a segment; nothing in between waits for
 * memory.
 *
 * Caveats: a section is a read-side section too. fork(2) waits until nobody
 * is inside, so that the child finds every bucket unlocked and every entry
 * whole. Not recursive.
 */
#ifndef CACHE_WRITER_H
#define CACHE_WRITER_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/rcu.h"

/* Counters are kept for so many threads apart. A power of two. */
#define WRITER_SLOTS 64u

/* Static TLS, so that dlopen() of libspillway.so works. */
struct writer_thread {
	uint32_t number; /* 0: none yet; below WRITER_SLOTS, +1 */
	uint64_t dice;
};
extern __thread struct writer_thread writer_here
	__attribute__((tls_model("initial-exec")));

struct writer_busy {
	_Atomic uint32_t count;
} __attribute__((aligned(64)));
extern struct writer_busy writer_busy[WRITER_SLOTS];
extern _Atomic uint32_t writer_fork_waits; /* a futex */

/* The thread's number; counters of threads beyond WRITER_SLOTS share. */
uint32_t writer_number_make(void);

static inline uint32_t
writer_number(void)
{
	uint32_t number = writer_here.number;

	return base_likely(number) ? number - 1 : writer_number_make();
}

void writer_wait(uint32_t number);

static inline void
writer_enter(void)
{
	uint32_t number = writer_number();

	rcu_read_lock();
	/* Sequentially consistent: either a fork sees us or we see it. */
	atomic_fetch_add(&writer_busy[number].count, 1);
	if (base_unlikely(atomic_load(&writer_fork_waits)))
		writer_wait(number);
}

static inline void
writer_leave(void)
{
	atomic_fetch_sub_explicit(&writer_busy[writer_number()].count, 1,
				  memory_order_release);
	rcu_read_unlock();
}

/* Around fork(2), after liburcu's own handler and before the locks'. */
void writer_fork_prepare(void);
void writer_fork_parent(void);
void writer_fork_child(void);

uint64_t writer_clock_ns(void); /* coarse */

#endif
