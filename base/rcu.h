/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one place that includes liburcu: flavour bp, no registration.
 *
 * Usage: rcu_read_lock() ... rcu_read_unlock(); rcu_synchronize() on
 * spillway's own threads.
 *
 * Caveats:
 *  - threads: no application thread ever waits for a grace period
 *    (rcu_synchronize asserts it): a thread that a collector has registered
 *    would deadlock the process in synchronize_rcu(), which blocks signals.
 *  - fork: rcu_fork_*() around fork(2), before every lock of ours and
 *    jemalloc's own handlers; a fork inside a section waits for itself.
 *  - a first read-side section in a thread registers it, which may calloc
 *    once the process has 32 thread-specific keys: never begin one in a hook.
 */
#ifndef BASE_RCU_H
#define BASE_RCU_H

#include <stdbool.h>

#define _LGPL_SOURCE
#include <urcu-bp.h>

#include <spillway/section.h>

#include "base/assert.h"

/* Set on spillway's own threads, which alone may wait for a grace period. */
extern __thread bool rcu_thread_is_ours;

/*
 * Where liburcu has this thread's reader; NULL until its first section. The
 * thread-local variable is liburcu's own, in another library: reaching it
 * costs a call each time, and a section reaches it twice (6.5 ns a section
 * where this takes 2). Static TLS, so that dlopen() of libspillway.so works.
 */
extern __thread struct urcu_bp_reader **rcu_reader_place
	__attribute__((tls_model("initial-exec"), visibility("hidden")));

/* The same for a section's quick way: NULL also where there is no
 * membarrier(2), so that sections need fences. */
static inline struct urcu_bp_reader **
rcu_quick_place(void)
{
	return (struct urcu_bp_reader **)(void *)spw_thread_view.reader;
}

/* Of a thread without a reader, which it registers, and with fences. */
__attribute__((noinline, cold)) void rcu_enter_slowly(void);
__attribute__((noinline, cold)) void rcu_leave_slowly(void);

/* What rcu_read_lock() and rcu_read_unlock() of liburcu do. */
static inline void
rcu_enter(void)
{
	struct urcu_bp_reader **place = rcu_quick_place(), *reader;
	unsigned long counter;

	if (base_unlikely(!place) || base_unlikely(!*place)) {
		rcu_enter_slowly();
		return;
	}
	reader = *place;
	cmm_barrier();
	counter = reader->ctr;
	if (base_unlikely(counter & URCU_BP_GP_CTR_NEST_MASK)) {
		__atomic_store_n(&reader->ctr, counter + URCU_BP_GP_COUNT,
				 __ATOMIC_RELAXED);
		return;
	}
	__atomic_store_n(&reader->ctr, _CMM_LOAD_SHARED(urcu_bp_gp.ctr),
			 __ATOMIC_RELAXED);
	cmm_barrier();
}

/* Whether the calling thread is inside a read-side section. Asked in the
 * gate, maybe with a lock held: it does not register the thread. */
static inline bool
rcu_is_reading(void)
{
	struct urcu_bp_reader **place = rcu_reader_place;

	return place && *place && (*place)->ctr & URCU_BP_GP_CTR_NEST_MASK;
}

static inline void
rcu_leave(void)
{
	struct urcu_bp_reader **place = rcu_quick_place(), *reader;

	base_assert_walk(rcu_is_reading());
	if (base_unlikely(!place)) {
		rcu_leave_slowly();
		return;
	}
	reader = *place;
	cmm_barrier();
	__atomic_store_n(&reader->ctr, reader->ctr - URCU_BP_GP_COUNT,
			 __ATOMIC_RELEASE);
	cmm_barrier();
}

#undef rcu_read_lock
#undef rcu_read_unlock
#define rcu_read_lock() rcu_enter()
#define rcu_read_unlock() rcu_leave()

/* A race detector does not see what liburcu orders: it is told that all that
 * sections did comes before the end of a later grace period. */
#if defined(__SANITIZE_THREAD__)
#define RCU_SEEN
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RCU_SEEN
#endif
#endif
#ifdef RCU_SEEN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
extern char rcu_grace; /* stands for all grace periods */
#undef rcu_read_unlock
#define rcu_read_unlock() (__tsan_release(&rcu_grace), rcu_leave())
#define RCU_GRACE_IS_OVER() __tsan_acquire(&rcu_grace)
#elif SPW_ASSERT_LEVEL >= 2 && defined(__has_include)
/* The same for helgrind, in debug builds where its header is there. */
#if __has_include(<valgrind/helgrind.h>)
#include <valgrind/helgrind.h>
extern char rcu_grace;
#undef rcu_read_unlock
#define rcu_read_unlock() (rcu_tell_helgrind(), rcu_leave())
static inline void
rcu_tell_helgrind(void)
{
	ANNOTATE_HAPPENS_BEFORE(&rcu_grace);
}
static inline void
rcu_tell_helgrind_over(void)
{
	ANNOTATE_HAPPENS_AFTER(&rcu_grace);
}
#define RCU_GRACE_IS_OVER() rcu_tell_helgrind_over()
#endif
#endif
#ifndef RCU_GRACE_IS_OVER
#define RCU_GRACE_IS_OVER() ((void)0)
#endif

/* Waits until every section that has begun has ended: as long as the longest
 * of them, and 10 ms more where one is over 2 ms (liburcu's nap). */
void rcu_synchronize(void);

static inline void
rcu_fork_prepare(void)
{
	urcu_bp_before_fork();
}

static inline void
rcu_fork_parent(void)
{
	urcu_bp_after_fork_parent();
}

static inline void
rcu_fork_child(void)
{
	urcu_bp_after_fork_child();
}

#endif
