/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which call into the program's code is running, and whether it gets on.
 *
 * A callback may want a lock that a thread holds while it waits at the gate;
 * each would wait for the other until the gate's bound is over, and a
 * neighbour that grows by 2 GB/s takes 20 MiB meanwhile (1 of 20 runs of
 * survival mode e was killed by that). So a waiter looks every half
 * millisecond whether the call gets processor time. Where it does not, waiting
 * is of no use: the waiter goes on, and so does everybody else until the call
 * gets on or ends (`blocked`). A call that merely waits for a busy processor
 * is taken for blocked too: that costs one early release.
 *
 * `number` is 0 or that of the running call; the other members are its, and
 * written before it (release). A hung call that was forgotten and ends late
 * finds another number and leaves it alone.
 */
#include "pressure/call.h"

#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

/* Of a look's time, in CPU time: less is standing still. */
#define STANDING_SHARE 16

static _Atomic uint32_t number, last_number, blocked;
static _Atomic(const char *) kind, name;
static _Atomic(_Atomic bool *) quarantined;
static _Atomic uint64_t since;
static _Atomic int thread;

uint32_t
call_begin(const char *new_kind, const char *new_name,
	   _Atomic bool *new_quarantined)
{
	uint32_t mine = atomic_fetch_add(&last_number, 1) + 1;

	mine |= !mine; /* 0 is none */
	atomic_store(&kind, new_kind);
	atomic_store(&name, new_name);
	atomic_store(&quarantined, new_quarantined);
	atomic_store(&since, clock_now_ns());
	atomic_store(&thread, (int)syscall(SYS_gettid));
	atomic_store_explicit(&number, mine, memory_order_release);
	return mine;
}

void
call_runs_on(int tid)
{
	atomic_store(&thread, tid);
}

void
call_end(uint32_t mine)
{
	if (mine)
		atomic_compare_exchange_strong(&number, &mine, 0);
}

bool
call_running(struct call *call)
{
	uint32_t seen = atomic_load_explicit(&number, memory_order_acquire);

	if (!seen)
		return false;
	*call = (struct call){ .kind = atomic_load(&kind),
			       .name = atomic_load(&name),
			       .quarantined = atomic_load(&quarantined),
			       .since_ns = atomic_load(&since) };
	return atomic_load(&number) == seen;
}

void
call_forget(void)
{
	atomic_store(&number, 0);
}

/* The kernel's clock of another thread's CPU time; 0 where it has gone. */
static uint64_t
cpu_ns(int tid)
{
	/* As pthread_getcpuclockid(3): CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED. */
	clockid_t clock = (clockid_t)(~(unsigned)tid << 3 | 6);
	struct timespec used;

	if (clock_gettime(clock, &used) != 0)
		return 0;
	return (uint64_t)used.tv_sec * CLOCK_S + (uint64_t)used.tv_nsec;
}

bool
call_is_blocked(struct call_look *look, uint64_t now_ns)
{
	uint32_t seen = atomic_load_explicit(&number, memory_order_acquire);
	struct call_look before = *look;

	if (!seen)
		return false;
	if (before.number == seen && now_ns - before.at_ns < CALL_LOOK_NS)
		return atomic_load(&blocked) == seen;
	*look = (struct call_look){ .number = seen,
				    .cpu_ns = cpu_ns(atomic_load(&thread)),
				    .at_ns = now_ns };
	if (before.number == seen) {
		bool stands = look->cpu_ns - before.cpu_ns <
			      (now_ns - before.at_ns) / STANDING_SHARE;

		atomic_store(&blocked, stands ? seen : 0);
	}
	return atomic_load(&blocked) == seen;
}
