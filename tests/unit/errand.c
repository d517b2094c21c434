/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pressure/errand.c alone: the monitor is below, and is there, late or absent
 * as each test wants it.
 */
#include "pressure/errand.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "pressure/monitor.h"
#include "tests/tap.h"

#define THREADS 4
#define ERRANDS 1500

enum { ABSENT, PROMPT, LATE, IDLE };

static _Atomic int manner;
static _Atomic bool rung, over;
static pthread_t monitor;

void
monitor_ring(void)
{
	atomic_store(&rung, true);
}

bool
monitor_answers(uint64_t timeout_ns)
{
	(void)timeout_ns;
	return atomic_load(&manner) != ABSENT;
}

void
monitor_view(struct monitor_view *view)
{
	*view = (struct monitor_view){ .reading.resident_bytes = 42 };
}

uint64_t
monitor_read_resident(void)
{
	return 43;
}

static void
pause_ns(uint64_t ns)
{
	struct timespec time = { (time_t)(ns / CLOCK_S), (long)(ns % CLOCK_S) };

	nanosleep(&time, NULL);
}

static void *
be_monitor(void *unused)
{
	uint32_t random = 1;

	(void)unused;
	while (!atomic_load(&over)) {
		int now = atomic_load(&manner);

		if (!atomic_exchange(&rung, false) || now == IDLE) {
			pause_ns(1000);
			continue;
		}
		/* About as late as who waits is patient. */
		random = random * 1664525 + 1013904223;
		if (now == LATE && random >> 24 == 0)
			pause_ns(99 * CLOCK_MS + (random >> 8) % 2 * CLOCK_MS +
				 (random >> 9) % 1000 * 1000);
		errand_serve();
	}
	return NULL;
}

struct note {
	pthread_t by;
	int times, written;
};

static void
note(void *argument)
{
	struct note *n = argument;

	n->by = pthread_self();
	n->written = n->times + 41;
	n->times++;
}

static void
one_at_a_time(void)
{
	struct note n = { .times = 0 };
	char text[128];
	uint64_t began, took;

	atomic_store(&manner, ABSENT);
	tap_ok(errand_run(note, &n) && n.times == 1 &&
		       pthread_equal(n.by, pthread_self()),
	       "without a monitor it runs here");
	n.times = 0;
	atomic_store(&manner, PROMPT);
	tap_ok(errand_run(note, &n) && n.times == 1 && n.written == 41 &&
		       pthread_equal(n.by, monitor),
	       "with one it runs there, and has ended");
	tap_ok(errand_read("/proc/self/statm", text, sizeof text) > 0,
	       "a file is read");
	tap_ok(errand_resident() == 43, "so is how much is resident");
	tap_ok(errand_read("/nothing", text, sizeof text) == -ENOENT,
	       "one that is not there is said");
	atomic_store(&manner, IDLE);
	n.times = 0;
	began = clock_now_ns();
	tap_ok(!errand_run(note, &n), "nobody waits for ever");
	took = clock_now_ns() - began;
	tap_ok(took >= 99 * CLOCK_MS, "but for 100 ms");
	tap_note("%.1f ms", (double)took / CLOCK_MS);
	tap_ok(errand_read("/proc/self/statm", text, sizeof text) == -ETIMEDOUT,
	       "and a file is not read then");
	tap_ok(errand_resident() == 42,
	       "how much is resident was sensed before");
	errand_serve();
	tap_ok(n.times == 0, "what was not waited for is not run");
	atomic_store(&manner, PROMPT);
	tap_ok(errand_run(note, &n) && n.times == 1, "the next one is");
}

static _Atomic unsigned ran, late, wrong;

static void *
run_many(void *unused)
{
	(void)unused;
	for (int i = 0; i < ERRANDS; i++) {
		struct note n = { .times = i };
		bool did = errand_run(note, &n);

		atomic_fetch_add(did ? &ran : &late, 1);
		if (n.times != i + did || n.written != (did ? i + 41 : 0))
			atomic_fetch_add(&wrong, 1);
	}
	return NULL;
}

static void
many(void)
{
	pthread_t threads[THREADS];

	atomic_store(&manner, LATE);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, run_many, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	tap_note("%u ran, %u came too late", ran, late);
	tap_ok(ran + late == THREADS * ERRANDS && ran > late,
	       "threads beside a monitor that is late at times");
	tap_ok(!wrong, "each was run once and seen, or not at all");
	atomic_store(&manner, PROMPT);
}

int
main(void)
{
	pthread_create(&monitor, NULL, be_monitor, NULL);
	one_at_a_time();
	many();
	atomic_store(&over, true);
	pthread_join(monitor, NULL);
	return tap_done();
}
