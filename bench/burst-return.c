/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What becomes of a freed burst: a burst of mixed sizes is allocated, touched
 * and freed, all or all but a random share; the process idles; then an event
 * asks for memory. RSS is sampled each millisecond throughout.
 *
 * The floor is RSS after every explicit purge the process has, which may empty
 * the freeing thread's own cache too; rss-purge is RSS after the allocator's
 * own full purge, which leaves that cache. The time to return is from the
 * event until RSS stays within 10 % of either, or within 1 MiB where that is
 * more; "inf" where it never does.
 *
 * Blocks have sizes of 64 bytes to 256 KiB, log-uniform: most blocks are
 * small, most bytes are in large ones. Tables live in mmap, not in the heap.
 */
#include "bench/bench.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/event.h"

#define SAMPLES_MAX 600000

struct sample {
	uint64_t ns;
	uint64_t rss_bytes;
};

static uint64_t burst_bytes = 512u << 20;
static uint64_t keep_percent;
static uint64_t idle_s = 2;
static uint64_t watch_s = 2;
static const char *event = "self";
static bool series;

static struct sample *samples;
static _Atomic size_t sample_count;
static atomic_bool stop;
static char **blocks;
static uint32_t *sizes;
static size_t block_count;

static void *
map_table(size_t bytes)
{
	void *table = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (table == MAP_FAILED)
		bench_die("mmap of %zu bytes", bytes);
	return table;
}

static void *
sample_thread(void *argument)
{
	(void)argument;
	while (!atomic_load(&stop)) {
		size_t at = atomic_load(&sample_count);

		if (at == SAMPLES_MAX)
			break;
		samples[at].rss_bytes = bench_rss_bytes();
		samples[at].ns = bench_now_ns();
		atomic_store(&sample_count, at + 1);
		bench_sleep_ns(1000000);
	}
	return NULL;
}

static void
allocate_burst(uint64_t *random)
{
	uint64_t total = 0;

	/* No block is below 64 bytes. */
	blocks = map_table(burst_bytes / 64 * sizeof *blocks);
	sizes = map_table(burst_bytes / 64 * sizeof *sizes);
	while (total < burst_bytes) {
		size_t bytes = 64u << bench_random_below(random, 12);

		bytes += bench_random_below(random, bytes);
		blocks[block_count] = bench_malloc(bytes);
		memset(blocks[block_count], 1, bytes);
		sizes[block_count++] = (uint32_t)bytes;
		total += bytes;
	}
}

/* In random order, as programs do. Returns the bytes that stay live. */
static uint64_t
free_burst(uint64_t *random)
{
	size_t kept = block_count * keep_percent / 100;
	uint64_t kept_bytes = 0;

	for (size_t i = block_count; i > 1; i--) {
		size_t other = bench_random_below(random, i);
		char *block = blocks[i - 1];
		uint32_t bytes = sizes[i - 1];

		blocks[i - 1] = blocks[other];
		blocks[other] = block;
		sizes[i - 1] = sizes[other];
		sizes[other] = bytes;
	}
	for (size_t i = 0; i < kept; i++)
		kept_bytes += sizes[i];
	for (size_t i = kept; i < block_count; i++)
		free(blocks[i]);
	return kept_bytes;
}

/* ms from `since` until RSS stays at or below the bound; inf: never. */
static double
settled_ms(uint64_t since, size_t first, size_t last, uint64_t bound)
{
	size_t at = last;

	while (at > first && samples[at - 1].rss_bytes <= bound)
		at--;
	if (at == last)
		return INFINITY;
	return samples[at].ns > since ? (double)(samples[at].ns - since) / 1e6 :
					0;
}

static uint64_t
near(uint64_t bytes)
{
	return bytes + (bytes / 10 > 1u << 20 ? bytes / 10 : 1u << 20);
}

static void
print_mib(const char *name, const char *params, uint64_t bytes)
{
	bench_row(name, params, (double)bytes / 1048576, "MiB", -1, -1);
}

static void
print_series(size_t last, uint64_t begin, uint64_t fired)
{
	char params[64];
	size_t step = last / 200 + 1;

	for (size_t at = 0; at < last; at += step) {
		snprintf(params, sizeof params, "ms=%.0f,event_ms=%.0f",
			 (double)(samples[at].ns - begin) / 1e6,
			 ((double)samples[at].ns - (double)fired) / 1e6);
		print_mib("rss", params, samples[at].rss_bytes);
	}
}

static void
measure(const char *params)
{
	uint64_t random = 7, live, freed, idle, fired, event_ns, after;
	uint64_t floor_bytes, purged;
	size_t first, last;
	pthread_t sampler;
	int status;

	samples = map_table(SAMPLES_MAX * sizeof *samples);
	print_mib("rss-before", params, bench_rss_bytes());
	if (pthread_create(&sampler, NULL, sample_thread, NULL) != 0)
		bench_die("pthread_create");
	allocate_burst(&random);
	print_mib("rss-burst", params, bench_rss_bytes());
	live = free_burst(&random);
	freed = bench_rss_bytes();
	bench_sleep_ns(idle_s * 1000000000u + 10000000u);
	idle = bench_rss_bytes();
	first = atomic_load(&sample_count);
	fired = bench_now_ns();
	status = event_fire();
	event_ns = bench_now_ns() - fired;
	bench_sleep_ns(watch_s * 1000000000u + 10000000u);
	atomic_store(&stop, true);
	pthread_join(sampler, NULL);
	last = atomic_load(&sample_count);
	after = bench_rss_bytes();
	purged = event_purge_all();
	floor_bytes = bench_rss_bytes();
	if (status != 0)
		bench_note("the event's command ended with status %d", status);
	print_mib("live", params, live);
	print_mib("rss-freed", params, freed);
	print_mib("rss-idle", params, idle);
	print_mib("rss-event", params, after);
	print_mib("rss-purge", params, purged);
	print_mib("rss-floor", params, floor_bytes);
	bench_row("event", params, (double)event_ns / 1e6, "ms", -1, -1);
	bench_row("return", params,
		  settled_ms(fired, first, last, near(floor_bytes)), "ms", -1,
		  -1);
	bench_row("return-purge", params,
		  settled_ms(fired, first, last, near(purged)), "ms", -1, -1);
	if (series)
		print_series(last, samples[0].ns, fired);
}

int
main(int argc, char **argv)
{
	static const struct bench_option options[] = {
		{ "burst", "SIZE", "bytes allocated and freed (512M)",
		  &burst_bytes, NULL, NULL },
		{ "keep", "PERCENT", "random share of blocks kept (0)",
		  &keep_percent, NULL, NULL },
		{ "idle", "SECONDS", "before the event (2)", &idle_s, NULL,
		  NULL },
		{ "watch", "SECONDS", "after the event (2)", &watch_s, NULL,
		  NULL },
		{ "event", "EVENT",
		  "none, self, grow:SIZE, or a command with $PID (self)", NULL,
		  &event, NULL },
		{ "series", NULL, "print RSS over time, 200 rows", NULL, NULL,
		  &series },
		{ 0 },
	};
	static const struct bench_program program = {
		.name = "burst-return",
		.summary = "Whether and when a freed burst goes back to the "
			   "system.",
		.options = options,
	};
	char params[96];

	bench_start(&program, argc, argv);
	if (keep_percent > 100) {
		fprintf(stderr, "burst-return: --keep %llu is over 100\n",
			(unsigned long long)keep_percent);
		return 2;
	}
	if (bench_smoke) {
		burst_bytes = 4u << 20;
		idle_s = watch_s = 0;
	}
	snprintf(params, sizeof params, "burst=%lluM,keep=%llu%%,event=%s",
		 (unsigned long long)(burst_bytes >> 20),
		 (unsigned long long)keep_percent, event_kind(event));
	event_prepare(event);
	measure(params);
	event_end();
	return 0;
}
