/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The slowest malloc of a working thread while the process gives back a large
 * freed heap.
 *
 * The main thread allocates and frees the heap, then asks for it (the event).
 * A working thread times each of its mallocs of mixed sizes, into one
 * histogram before the event and into another while it runs. What the machine
 * itself does to the tail is the row before the event. --busy adds processes
 * that spin.
 *
 * On a busy machine a thread loses its core for milliseconds at any point, in
 * malloc too. The rows `-net` leave that out: the time the thread could run
 * and had no core, which the kernel counts (the second number of schedstat),
 * is read before and after each malloc. Time asleep on a lock whose holder
 * has lost its core stays in: that is malloc's.
 */
#include "bench/bench.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/event.h"

#define SLOTS 2000
#define BUSY_MAX 64

enum phase { PHASE_SETTLE, PHASE_BEFORE, PHASE_EVENT, PHASE_END };

static uint64_t heap_bytes = 2ull << 30;
static uint64_t before_ms = 1000;
static uint64_t busy;
static const char *event = "self";

static struct bench_histogram histograms[PHASE_END];
static struct bench_histogram nets[PHASE_END];
static bool net_known = true;
static _Atomic int phase;
static pid_t spinners[BUSY_MAX];

/* Mostly small, one of 64 up to 32 KiB, one of 1,024 up to 512 KiB. */
static size_t
mixed_size(uint64_t *random)
{
	uint64_t draw = bench_random(random);

	if (draw % 1024 == 0)
		return 32768 + (draw >> 16) % 491520;
	if (draw % 64 == 0)
		return 1024 + (draw >> 16) % 31744;
	return 16 + (draw >> 16) % 1008;
}

static void *
work(void *argument)
{
	static char *slots[SLOTS];
	uint64_t random = 11;
	int now;

	net_known = bench_core_wait_ns() > 0;

	(void)argument;
	while ((now = atomic_load_explicit(&phase, memory_order_relaxed)) !=
	       PHASE_END) {
		size_t at = bench_random_below(&random, SLOTS);
		size_t bytes = mixed_size(&random);
		uint64_t begin, ns, waited;

		free(slots[at]);
		waited = bench_core_wait_ns();
		begin = bench_now_ns();
		slots[at] = malloc(bytes);
		ns = bench_now_ns() - begin;
		if (slots[at] == NULL)
			bench_die("malloc(%zu)", bytes);
		slots[at][0] = slots[at][bytes - 1] = 1;
		bench_histogram_add(&histograms[now], ns);
		waited = bench_core_wait_ns() - waited;
		bench_histogram_add(&nets[now], ns > waited ? ns - waited : 0);
	}
	for (size_t at = 0; at < SLOTS; at++)
		free(slots[at]);
	return NULL;
}

static void
make_and_free_heap(void)
{
	uint64_t random = 5, total = 0;
	void *last = NULL;

	/* A list through the blocks: no table that would be part of it. */
	while (total < heap_bytes) {
		size_t bytes = 1024u << bench_random_below(&random, 9);
		void **block = bench_malloc(bytes);

		memset(block, 1, bytes);
		*block = last;
		last = block;
		total += bytes;
	}
	while (last != NULL) {
		void *next = *(void **)last;

		free(last);
		last = next;
	}
}

static void
start_spinners(void)
{
	for (uint64_t i = 0; i < busy; i++) {
		spinners[i] = fork();
		if (spinners[i] < 0)
			bench_die("fork");
		if (spinners[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (volatile unsigned n = 0;; n++)
				;
		}
	}
}

static void
stop_spinners(void)
{
	for (uint64_t i = 0; i < busy; i++) {
		kill(spinners[i], SIGKILL);
		waitpid(spinners[i], NULL, 0);
	}
}

static void
print(const char *name, const char *params,
      const struct bench_histogram *histogram)
{
	char row[64];
	double p50 = (double)bench_histogram_at(histogram, 0.5) / 1e3;
	double p99 = (double)bench_histogram_at(histogram, 0.99) / 1e3;

	snprintf(row, sizeof row, "%s-max", name);
	bench_row(row, params, (double)histogram->max / 1e3, "us", p50, p99);
	snprintf(row, sizeof row, "%s-p99.99", name);
	bench_row(row, params,
		  (double)bench_histogram_at(histogram, 0.9999) / 1e3, "us",
		  p50, p99);
}

static void
measure(const char *params)
{
	uint64_t begin, end, rss_before, rss_after;
	pthread_t worker;
	int error, status;

	make_and_free_heap();
	error = pthread_create(&worker, NULL, work, NULL);
	errno = error;
	if (error != 0)
		bench_die("pthread_create");
	bench_sleep_ns(before_ms * 200000u);
	atomic_store(&phase, PHASE_BEFORE);
	bench_sleep_ns(before_ms * 1000000u);
	rss_before = bench_rss_bytes();
	atomic_store(&phase, PHASE_EVENT);
	begin = bench_now_ns();
	status = event_fire();
	end = bench_now_ns();
	rss_after = bench_rss_bytes();
	atomic_store(&phase, PHASE_END);
	pthread_join(worker, NULL);
	if (status != 0)
		bench_note("the event's command ended with status %d", status);
	print("malloc-before", params, &histograms[PHASE_BEFORE]);
	print("malloc-reclaim", params, &histograms[PHASE_EVENT]);
	if (net_known) {
		print("malloc-before-net", params, &nets[PHASE_BEFORE]);
		print("malloc-reclaim-net", params, &nets[PHASE_EVENT]);
	} else
		bench_note("no schedstat here: no rows -net");
	bench_row("reclaim-time", params, (double)(end - begin) / 1e6, "ms", -1,
		  -1);
	bench_row("reclaimed", params,
		  ((double)rss_before - (double)rss_after) / 1048576, "MiB", -1,
		  -1);
}

int
main(int argc, char **argv)
{
	static const struct bench_option options[] = {
		{ "heap", "SIZE", "freed heap that is asked for (2G)",
		  &heap_bytes, NULL, NULL },
		{ "before", "MS", "time measured before the event (1000)",
		  &before_ms, NULL, NULL },
		{ "busy", "N", "processes that spin, at most 64 (0)", &busy,
		  NULL, NULL },
		{ "event", "EVENT",
		  "none, self, grow:SIZE, or a command with $PID (self)", NULL,
		  &event, NULL },
		{ 0 },
	};
	static const struct bench_program program = {
		.name = "malloc-tail",
		.summary = "The slowest malloc while a freed heap is given "
			   "back.",
		.options = options,
	};
	char params[96];

	bench_start(&program, argc, argv);
	if (busy > BUSY_MAX) {
		fprintf(stderr, "malloc-tail: --busy %llu is over %d\n",
			(unsigned long long)busy, BUSY_MAX);
		return 2;
	}
	if (bench_smoke) {
		heap_bytes = 4u << 20;
		before_ms = 2;
	}
	snprintf(params, sizeof params, "heap=%lluM,busy=%llu,event=%s",
		 (unsigned long long)(heap_bytes >> 20),
		 (unsigned long long)busy, event_kind(event));
	event_prepare(event);
	start_spinners();
	measure(params);
	stop_spinners();
	event_end();
	return 0;
}
