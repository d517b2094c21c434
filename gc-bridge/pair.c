/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Returning many pieces of memory with two threads.
 *
 * Called by boehm_sweep.c with libgc's lock held; calls madvise(2). Returning
 * 1 GiB of small pages takes the kernel 100 ms on one processor, and the lock
 * is held meanwhile. The second thread lives for one sweep, so that there is
 * none where nothing is collected, and a fork never meets it. It knows nothing
 * of the collector, which does not know it.
 *
 * Both take pieces off one word, how many there are and the next one's number:
 * together, so that who comes late does not take a number of one call for one
 * of the next. Between two calls it is 0.
 *	pair_return			helper
 *	pieces, until, done = 0		old = word++ (acquire)
 *	word = count : 0 (release)	none left in old: sleep on `turn`
 *	takes pieces, too		madvise
 *	taken = exchange(word, 0)	done++ (release)
 *	wait until done == taken (acquire)
 * Invariant: pieces are read only by who took one, and the caller goes on when
 * each that was taken is done.
 */
#include "gc-bridge/pair.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/futex.h"
#include "pressure/core.h"
#include "pressure/engine.h"

/* Starting a thread takes as long as returning so much. */
#define WORTH_BYTES (32ul << 20)
#define SPINS 1000

static const struct pair_piece *_Atomic all;
static _Atomic uint64_t until;
static _Atomic uint64_t word; /* pieces << 32 | the next one */
static _Atomic unsigned done;
static _Atomic uint32_t turn;  /* a futex: a call, or the end, has come */
static _Atomic uint32_t alive; /* a futex: 1 until the helper has ended */
static _Atomic bool stop;
static bool helped;

/* Returns pieces until there are none, or time is up. */
static void
take(void)
{
	do {
		uint64_t old = atomic_fetch_add_explicit(&word, 1,
							 memory_order_acquire);
		const struct pair_piece *piece;

		if ((uint32_t)old >= old >> 32)
			return;
		piece = &atomic_load_explicit(
			&all, memory_order_relaxed)[(uint32_t)old];
		madvise(piece->at, piece->bytes, MADV_DONTNEED);
		atomic_fetch_add_explicit(&done, 1, memory_order_release);
	} while (clock_now_ns() <
		 atomic_load_explicit(&until, memory_order_relaxed));
}

static void *
helper(void *unused)
{
	uint32_t seen;

	(void)unused;
	core_thread_starts("spw-pair");
	for (;;) {
		seen = atomic_load_explicit(&turn, memory_order_acquire);
		if (atomic_load(&stop))
			break;
		take();
		futex_wait(&turn, seen, FUTEX_FOREVER);
	}
	atomic_store(&alive, 0);
	futex_wake(&alive, FUTEX_ALL);
	return NULL;
}

static bool
has_processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof set, &set) == 0 &&
	       CPU_COUNT(&set) > 1;
}

void
pair_begin(size_t bytes)
{
	helped = false;
	/* Above memory.high the kernel would let the thread's stack wait. */
	if (bytes < WORTH_BYTES || !has_processors() || engine_is_throttled())
		return;
	atomic_store(&stop, false);
	atomic_store(&alive, 1);
	helped = core_spawn(helper, NULL) == 0;
}

unsigned
pair_return(const struct pair_piece *pieces, unsigned count, uint64_t until_ns)
{
	uint32_t taken;

	if (!count)
		return 0;
	atomic_store_explicit(&all, pieces, memory_order_relaxed);
	atomic_store_explicit(&until, until_ns, memory_order_relaxed);
	atomic_store_explicit(&done, 0, memory_order_relaxed);
	atomic_store_explicit(&word, (uint64_t)count << 32,
			      memory_order_release);
	if (helped && count > 1) {
		atomic_fetch_add_explicit(&turn, 1, memory_order_release);
		futex_wake(&turn, 1);
	}
	take();
	taken = (uint32_t)atomic_exchange_explicit(&word, 0,
						   memory_order_relaxed);
	if (taken > count)
		taken = count;
	for (unsigned spin = 0;
	     atomic_load_explicit(&done, memory_order_acquire) < taken;)
		if (++spin > SPINS)
			sched_yield();
	return taken;
}

void
pair_end(void)
{
	if (!helped)
		return;
	helped = false;
	atomic_store(&stop, true);
	atomic_fetch_add_explicit(&turn, 1, memory_order_release);
	futex_wake(&turn, 1);
	while (atomic_load(&alive))
		futex_wait(&alive, 1, FUTEX_FOREVER);
}
