/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writers' sections, and what fork(2) does about them.
 *
 *	writer				forking thread
 *	read lock			liburcu's mutex: nobody registers
 *	busy[mine]++  (seq_cst)		fork_waits = 1  (seq_cst)
 *	fork_waits? then busy[mine]--	every busy == 0?
 *	  and sleep until it is over	... fork ...
 *
 * A writer enters liburcu's section first: one that registers its thread
 * would otherwise wait for a mutex that the forking thread has, and that
 * thread for the writer. A writer that sleeps here sleeps in a read-side
 * section, which harms nobody: the fork waits for no grace period.
 */
#include "cache/writer.h"

#include <sched.h>

#include "base/clock.h"
#include "base/futex.h"

__thread struct writer_thread writer_here
	__attribute__((tls_model("initial-exec")));
struct writer_busy writer_busy[WRITER_SLOTS];
_Atomic uint32_t writer_fork_waits;

static _Atomic uint32_t numbers;

uint32_t
writer_number_make(void)
{
	uint32_t number = atomic_fetch_add(&numbers, 1) % WRITER_SLOTS;

	writer_here.number = number + 1;
	writer_here.dice = clock_now_ns() ^ (uint64_t)number << 56;
	return number;
}

void
writer_wait(uint32_t number)
{
	do {
		atomic_fetch_sub(&writer_busy[number].count, 1);
		while (atomic_load(&writer_fork_waits))
			futex_wait(&writer_fork_waits, 1, FUTEX_FOREVER);
		atomic_fetch_add(&writer_busy[number].count, 1);
	} while (atomic_load(&writer_fork_waits));
}

void
writer_fork_prepare(void)
{
	atomic_store(&writer_fork_waits, 1);
	for (unsigned i = 0; i < WRITER_SLOTS; i++)
		while (atomic_load(&writer_busy[i].count))
			sched_yield();
}

void
writer_fork_parent(void)
{
	atomic_store(&writer_fork_waits, 0);
	futex_wake(&writer_fork_waits, FUTEX_ALL);
}

void
writer_fork_child(void)
{
	/* Of threads that are not here: they came, saw the fork, and were about
	 * to take themselves off. */
	for (unsigned i = 0; i < WRITER_SLOTS; i++)
		atomic_store(&writer_busy[i].count, 0);
	atomic_store(&writer_fork_waits, 0);
}

uint64_t
writer_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * CLOCK_S + (uint64_t)now.tv_nsec;
}
