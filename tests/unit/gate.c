/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pressure/gate.c alone. What it calls of monitor and core is below, so that
 * nobody publishes but the tests.
 */
#include "pressure/gate.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rcu.h"
#include "base/settings.h"
#include "pressure/core.h"
#include "pressure/monitor.h"
#include "tests/tap.h"

#define MIB (1ll << 20)
#define BOUND_NS (10 * CLOCK_MS)
/* A machine with busy cores wakes late, but not that late. */
#define LATE_NS (2 * CLOCK_S)
#define THREADS 4

struct core_counters core_counters;
static _Atomic unsigned rings, starts, senses;
static _Atomic bool running;
static _Atomic int start_answer;

void
monitor_ring(void)
{
	atomic_fetch_add(&rings, 1);
}

void
monitor_sense_inline(void)
{
	atomic_fetch_add(&senses, 1);
	gate_enter(1); /* what is called inside may allocate */
}

bool
core_running(void)
{
	return atomic_load(&running);
}

int
core_start(void)
{
	atomic_fetch_add(&starts, 1);
	gate_wait(1); /* making a thread allocates */
	if (!atomic_load(&start_answer))
		atomic_store(&running, true);
	return atomic_load(&start_answer);
}

static uint64_t
timed_enter(size_t bytes, bool *admitted)
{
	uint64_t start = clock_now_ns();

	*admitted = gate_enter(bytes);
	return clock_now_ns() - start;
}

/* At once: no wait was counted. */
static bool
at_once(void)
{
	uint64_t before = atomic_load(&core_counters.gate_waits);
	bool admitted;

	timed_enter(4096, &admitted);
	return admitted && atomic_load(&core_counters.gate_waits) == before;
}

static void
credit(void)
{
	gate_reset();
	tap_is(atomic_load(&gate_credit), settings()->start_bytes,
	       "a process begins with what start: says");
	tap_ok(at_once() && !atomic_load(&starts), "which is for free");
	gate_charge((size_t)(atomic_load(&gate_credit)));
	tap_is(atomic_load(&gate_state), GATE_OPEN, "all of it");
	tap_is(atomic_load(&rings), 0, "and nobody is rung");
	gate_charge(1);
	tap_is(atomic_load(&gate_state), GATE_LOOK, "one byte more: look");
	tap_is(atomic_load(&rings), 1, "the monitor is rung");
	gate_charge(4096);
	tap_is(atomic_load(&rings), 1, "once");
	tap_is(atomic_load(&gate_charged_bytes), settings()->start_bytes + 4097,
	       "all that is charged counts");
}

static void
starting(void)
{
	bool admitted;

	atomic_store(&start_answer, -EAGAIN);
	errno = 4711;
	timed_enter(4096, &admitted);
	tap_ok(admitted && atomic_load(&starts) == 1,
	       "the first one at the gate starts the threads, once");
	tap_is(errno, 4711, "errno is kept");
	tap_is(atomic_load(&gate_state), GATE_OPEN,
	       "where there are none to be had the gate opens for a while");
	gate_publish(-1, INT64_MAX / 4);
	atomic_store(&start_answer, 0);
	timed_enter(4096, &admitted);
	tap_ok(admitted && atomic_load(&starts) == 2 && core_running(),
	       "and it is tried again");
}

static void
admitting(void)
{
	gate_publish(1, 0);
	tap_is(atomic_load(&gate_state), GATE_OPEN, "credit opens");
	gate_publish(0, 24 * MIB);
	tap_is(atomic_load(&gate_state), GATE_LOOK, "none closes");
	tap_ok(at_once(), "below soft nobody waits");
	gate_charge((size_t)(24 * MIB - 1));
	tap_ok(at_once(), "down to hard");
}

static void *
enter_thread(void *result)
{
	bool admitted;

	*(uint64_t *)result = timed_enter(1 << 20, &admitted);
	return NULL;
}

static void
bounded(void)
{
	pthread_t threads[THREADS];
	uint64_t ns[THREADS], waited;
	bool not_less = true, not_more = true;

	gate_publish(-100 * MIB, 24 * MIB);
	atomic_store(&core_counters.gate_waits, 0);
	atomic_store(&core_counters.gate_wait_ns_max, 0);
	atomic_store(&rings, 0);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, enter_thread, &ns[i]);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		not_less &= ns[i] >= BOUND_NS;
		not_more &= ns[i] < LATE_NS;
	}
	waited = atomic_load(&core_counters.gate_wait_ns_max);
	tap_ok(not_less, "below hard each of %d threads waits", THREADS);
	tap_ok(not_more, "for 10 ms, though nobody publishes (%llu us)",
	       (unsigned long long)waited / 1000);
	tap_is(atomic_load(&core_counters.gate_waits), THREADS,
	       "waits are counted");
	tap_ok(atomic_load(&rings) >= THREADS, "each rings the monitor");
	tap_is(gate_waiting_bytes(), 0, "nobody is left waiting");
}

/* One thread waits for long; `end` ends it. True when it did. */
static bool
ends_wait(void (*end)(void))
{
	uint64_t ns = 0, start = clock_now_ns();
	pthread_t thread;
	bool seen;

	settings()->gate_ns = 20 * CLOCK_S;
	pthread_create(&thread, NULL, enter_thread, &ns);
	while (gate_waiting_bytes() != 1 << 20 &&
	       clock_now_ns() - start < 10 * CLOCK_S)
		usleep(1000);
	seen = gate_waiting_bytes() == 1 << 20;
	usleep(20000); /* asleep by now */
	end();
	pthread_join(thread, NULL);
	settings()->gate_ns = BOUND_NS;
	return seen && ns < 10 * CLOCK_S;
}

static void
end_by_slack(void)
{
	gate_publish(-1 * MIB, 24 * MIB);
}

static void
end_by_hopelessness(void)
{
	gate_hopeless(true);
}

static void
end_by_fork(void)
{
	gate_fork(true);
}

static void
ending(void)
{
	bool admitted;

	gate_publish(-100 * MIB, 24 * MIB);
	tap_ok(ends_wait(end_by_slack), "a publication ends the wait");
	gate_publish(-100 * MIB, 24 * MIB);
	tap_ok(ends_wait(end_by_hopelessness),
	       "so does that nothing is left to give");
	tap_ok(at_once(), "and then nobody waits any more");
	settings()->oom = SETTINGS_OOM_FAIL;
	errno = 4711;
	timed_enter(4096, &admitted);
	tap_ok(!admitted, "oom:fail refuses then");
	tap_is(errno, 4711, "and leaves errno to the caller");
	gate_publish(-1 * MIB, 24 * MIB);
	tap_ok(at_once(), "but not above hard");
	gate_publish(-100 * MIB, 24 * MIB);
	gate_hopeless(false);
	timed_enter(4096, &admitted);
	tap_ok(admitted, "nor while there is hope: it waits and goes on");
	settings()->oom = SETTINGS_OOM_KERNEL;
	tap_ok(ends_wait(end_by_fork), "a fork ends the wait");
	tap_ok(gate_fork_waits() && at_once(), "nobody waits during a fork");
	gate_fork(false);
}

static void
never_there(void)
{
	gate_publish(-100 * MIB, 24 * MIB);
	rcu_read_lock();
	tap_ok(at_once(), "nobody waits inside a read-side section");
	rcu_read_unlock();
	rcu_thread_is_ours = true;
	tap_ok(at_once(), "nor on a thread of spillway's");
	rcu_thread_is_ours = false;
	settings()->gate_ns = 0;
	tap_ok(at_once(), "nor with gate:0");
	settings()->gate_ns = BOUND_NS;
	settings()->threads = SETTINGS_THREADS_NEVER;
	tap_ok(at_once() && atomic_load(&senses) == 1,
	       "threads:never senses in the thread itself, once");
	settings()->threads = SETTINGS_THREADS_AUTO;
	tap_ok(!at_once(), "everybody else does wait");
}

static void
resetting(void)
{
	unsigned before;

	gate_hopeless(true);
	gate_reset();
	tap_ok(atomic_load(&gate_state) == GATE_OPEN && !gate_is_hopeless() &&
		       atomic_load(&gate_credit) ==
			       (int64_t)settings()->start_bytes,
	       "a reset gate is that of a new process");
	gate_off();
	before = atomic_load(&rings);
	gate_charge((size_t)(100 * MIB));
	gate_publish(-100 * MIB, 0);
	tap_ok(atomic_load(&gate_state) == GATE_OFF && at_once() &&
		       atomic_load(&rings) == before,
	       "a gate that is off stays so");
	gate_reset();
	tap_is(atomic_load(&gate_state), GATE_OFF, "in a child too");
}

int
main(void)
{
	credit();
	starting();
	admitting();
	bounded();
	ending();
	never_there();
	resetting();
	return tap_done();
}
