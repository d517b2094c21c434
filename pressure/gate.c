/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The gate's slow half: out of credit.
 *
 * gate_charge() -> gate_ring(): flips the state to LOOK and signals the
 * monitor. gate_enter() -> gate_wait(): starts the threads if there are none;
 * below the soft watermark goes on; below the hard one waits until the
 * monitor publishes credit, the engine says that nothing is left, the bound
 * is over, or a callback stands still (call.c).
 *
 * Invariant: nobody waits here with a lock of the heap held (hooks only
 * charge). Locks of the program may be held, hence bound and call.c.
 *
 * Memory order: credit and state are hints, relaxed. `sequence` is the futex:
 * a waiter reads it before it looks at credit, and gate_publish() stores
 * credit before it bumps sequence (release), so that a change between look
 * and sleep makes the futex return at once:
 *
 *	waiter				publisher
 *	s = sequence (acquire)		credit = c
 *	credit enough? no		sequence++ (release)
 *	futex_wait(sequence, s)		futex_wake
 */
#include "pressure/gate.h"

#include <errno.h>

#include <spillway/pressure.h>

#include "base/clock.h"
#include "base/futex.h"
#include "base/rcu.h"
#include "base/settings.h"
#include "pressure/call.h"
#include "pressure/core.h"
#include "pressure/monitor.h"

#define CREDIT_AT_START (16ll << 20)

_Atomic uint32_t gate_state = GATE_OPEN;
_Atomic int64_t gate_credit = CREDIT_AT_START;
_Atomic uint64_t gate_charged_bytes;

static _Atomic int64_t slack = INT64_MAX / 4;
static _Atomic uint32_t sequence;
static _Atomic uint32_t waiters;
static _Atomic uint64_t waiting;
static _Atomic bool hopeless;
static _Atomic bool fork_waits;
/* A thread that is starting our threads allocates: it must not come back. */
static __thread bool starting;

void
gate_ring(void)
{
	uint32_t open = GATE_OPEN;

	if (atomic_compare_exchange_strong(&gate_state, &open, GATE_LOOK))
		monitor_ring();
}

/* Whether the calling thread may sleep for memory. */
static bool
may_wait(void)
{
	return !rcu_thread_is_ours &&
	       !atomic_load_explicit(&fork_waits, memory_order_relaxed) &&
	       !rcu_is_reading();
}

static bool
enough(void)
{
	return atomic_load_explicit(&gate_credit, memory_order_relaxed) +
		       atomic_load_explicit(&slack, memory_order_relaxed) >
	       0;
}

/* Sleeps until there is credit, or hope or time is over, or a callback waits
 * for what this thread may hold. */
static void
wait_for_credit(size_t bytes, uint64_t bound_ns)
{
	struct call_look look = { 0 };
	uint64_t start = clock_now_ns();
	uint64_t now = start, nap;

	atomic_fetch_add(&waiting, bytes);
	atomic_fetch_add(&waiters, 1);
	monitor_ring();
	while (now - start < bound_ns) {
		uint32_t seen = atomic_load_explicit(&sequence,
						     memory_order_acquire);
		if (enough() || gate_is_hopeless() ||
		    call_is_blocked(&look, now) ||
		    atomic_load_explicit(&fork_waits, memory_order_relaxed))
			break;
		nap = bound_ns - (now - start);
		futex_wait(&sequence, seen,
			   nap < CALL_LOOK_NS ? nap : CALL_LOOK_NS);
		now = clock_now_ns();
	}
	now = clock_now_ns();
	atomic_fetch_sub(&waiters, 1);
	atomic_fetch_sub(&waiting, bytes);
	core_count(&core_counters.gate_waits, 1);
	core_count(&core_counters.gate_wait_ns, now - start);
	core_count_max(&core_counters.gate_wait_ns_max, now - start);
}

void
gate_start(void)
{
	starting = true;
	if (core_start() != 0) /* no threads to be had: try again later */
		gate_publish(CREDIT_AT_START, INT64_MAX / 4);
	starting = false;
}

bool
gate_wait(size_t bytes)
{
	uint64_t bound = settings()->gate_ns;
	int saved = errno;
	bool admit = true;

	if (starting || rcu_thread_is_ours)
		return true;
	if (base_unlikely(!core_running())) {
		gate_start();
	} else if (settings()->threads == SETTINGS_THREADS_NEVER) {
		starting = true;
		monitor_sense_inline();
		starting = false;
	} else if (!enough() && !gate_is_hopeless() && bound && may_wait()) {
		wait_for_credit(bytes, bound);
	}
	if (settings()->oom == SETTINGS_OOM_FAIL && gate_is_hopeless() &&
	    !enough())
		admit = false;
	errno = saved;
	return admit;
}

void
gate_publish(int64_t credit_bytes, int64_t slack_bytes)
{
	atomic_store_explicit(&slack, slack_bytes, memory_order_relaxed);
	atomic_store_explicit(&gate_credit, credit_bytes, memory_order_relaxed);
	if (atomic_load_explicit(&gate_state, memory_order_relaxed) != GATE_OFF)
		atomic_store_explicit(&gate_state,
				      credit_bytes > 0 ? GATE_OPEN : GATE_LOOK,
				      memory_order_relaxed);
	if (enough())
		gate_wake();
}

void
gate_wake(void)
{
	atomic_fetch_add_explicit(&sequence, 1, memory_order_release);
	if (atomic_load(&waiters))
		futex_wake(&sequence, FUTEX_ALL);
}

void
gate_hopeless(bool is)
{
	if (atomic_exchange(&hopeless, is) != is && is)
		gate_wake();
}

bool
gate_is_hopeless(void)
{
	return atomic_load_explicit(&hopeless, memory_order_relaxed);
}

uint64_t
gate_waiting_bytes(void)
{
	return atomic_load_explicit(&waiting, memory_order_relaxed);
}

void
gate_fork(bool waits)
{
	atomic_store(&fork_waits, waits);
	if (waits)
		gate_wake();
}

bool
gate_fork_waits(void)
{
	return atomic_load_explicit(&fork_waits, memory_order_relaxed);
}

void
gate_off(void)
{
	atomic_store(&gate_state, GATE_OFF);
}

void
gate_reset(void)
{
	atomic_store(&waiters, 0);
	atomic_store(&waiting, 0);
	atomic_store(&hopeless, false);
	atomic_store(&fork_waits, false);
	atomic_store(&slack, INT64_MAX / 4);
	atomic_store(&gate_credit, (int64_t)settings()->start_bytes);
	if (atomic_load(&gate_state) != GATE_OFF)
		atomic_store(&gate_state, GATE_OPEN);
}
