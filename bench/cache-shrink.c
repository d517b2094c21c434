/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How fast a cache gives memory back, and what its readers feel of it.
 *
 * `drop`: spw_cache_shrink() of --bytes out of one and a half times as much
 * that nobody reads, beside one madvise(MADV_DONTNEED) of as many bytes that
 * were touched just so: on huge pages, and with huge pages forbidden to the
 * process. `compact`: half of the entries, one by one at random, were read
 * often; that half of the bytes is asked for which was not. `first`: `limit:` is
 * set below what is resident, and memory is looked at until some has gone;
 * again and again. `stall`: a reader looks up keys, each look timed, while the
 * cache is shrunk and refilled; the rows -net leave out the time that it had no
 * core (as malloc-tail does). The rows plain are the same of a reader of pages,
 * one load each, while others are given back and touched again: what no cache
 * is to blame for, as the machine's own pauses.
 *
 * Each part runs in children of its own. Peers are pages here: no other cache
 * in C gives memory back by itself.
 */
#include "bench/bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <spillway/cache.h>
#include <spillway/spillway.h>

#include "bench/rounds.h"
#include "bench/store.h"
#include "bench/tick.h"

#define GIB ((double)(1u << 30))
#define HOT_READS 12

static uint64_t bytes = 1u << 30;
static uint64_t value_bytes = 1024;
static uint64_t rounds = 5;
static uint64_t events = 100;
static uint64_t stall_ms = 2000;
static const char *only = "";

static bool small_pages;

/* Shared with the children, which write it. */
static struct result {
	double gib_per_s, gib, hot_hits;
	uint64_t first[ROUNDS_MAX * 10], first_count;
	uint64_t missed;
	struct bench_histogram quiet, quiet_net, busy, busy_net;
} * result;

static char *plain; /* of so many bytes: what is read instead of a cache */

static void
configure(const char *settings)
{
	int error = spw_configure(settings);

	errno = 0;
	if (error != 0)
		bench_die("spw_configure(%s): %s", settings,
			  spw_strerror(error));
}

static struct spw_cache_stats
stats_of(struct store *store)
{
	struct spw_cache_stats stats = { .size = sizeof stats };

	if (spw_cache_stats((struct spw_cache *)store, &stats) != 0)
		bench_die("spw_cache_stats");
	return stats;
}

/* Keys from `first` on, until so many bytes were put; returns how many. */
static uint32_t
fill(struct store *store, uint32_t first, uint64_t want)
{
	uint64_t count = want / (value_bytes + STORE_KEY_BYTES + 8);

	for (uint32_t i = 0; i < count; i++) {
		uint32_t id = first + i;

		store_spillway.put(store, &id, 1, value_bytes);
	}
	return (uint32_t)count;
}

static void
forbid_huge(void)
{
	if (small_pages && prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0)
		bench_die("PR_SET_THP_DISABLE");
}

static void
drop_cache(void *argument)
{
	struct store *store;
	uint64_t begin, end, gone, rss;

	(void)argument;
	forbid_huge();
	store = store_spillway.open(0, 0);
	fill(store, 0, bytes + bytes / 2);
	rss = bench_rss_bytes();
	begin = bench_now_ns();
	gone = spw_cache_shrink((struct spw_cache *)store, bytes);
	end = bench_now_ns();
	result->gib = ((double)rss - (double)bench_rss_bytes()) / GIB;
	result->gib_per_s = (double)gone / GIB / ((double)(end - begin) / 1e9);
}

/* Touched, and aligned to huge pages. */
static char *
map_huge(uint64_t size)
{
	uint64_t mapped = size + (2u << 20);
	char *memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		bench_die("mmap of %llu bytes", (unsigned long long)mapped);
	memory += -(uintptr_t)memory % (2u << 20);
	madvise(memory, size, MADV_HUGEPAGE);
	memset(memory, 1, size);
	return memory;
}

static void
drop_pages(void *argument)
{
	uint64_t begin, end, rss;
	char *memory;

	(void)argument;
	forbid_huge();
	memory = map_huge(bytes);
	rss = bench_rss_bytes();
	begin = bench_now_ns();
	if (madvise(memory, bytes, MADV_DONTNEED) != 0)
		bench_die("madvise");
	end = bench_now_ns();
	result->gib = ((double)rss - (double)bench_rss_bytes()) / GIB;
	result->gib_per_s = (double)bytes / GIB / ((double)(end - begin) / 1e9);
}

static void
part_drop(void)
{
	char params[96];

	for (unsigned small = 0; small < 2; small++) {
		struct figures cache = { 0 }, pages = { 0 }, gone = { 0 };

		small_pages = small;
		for (uint64_t i = 0; i < rounds; i++) {
			rounds_child(drop_cache, NULL);
			figures_add(&cache, result->gib_per_s);
			figures_add(&gone, result->gib);
			rounds_child(drop_pages, NULL);
			figures_add(&pages, result->gib_per_s);
		}
		snprintf(params, sizeof params, "bytes=%lluM,pages=%s",
			 (unsigned long long)(bytes >> 20),
			 small ? "4K" : "huge");
		figures_row("shrink-drop", params, "GiB/s", &cache);
		figures_row("shrink-drop-rss", params, "GiB", &gone);
		figures_row("shrink-madvise", params, "GiB/s", &pages);
		figures_ratio("shrink-drop-ratio", params, &cache, &pages);
	}
}

/* Whether the key is one of the half that is read often. */
static bool
is_hot(uint32_t id)
{
	uint64_t state = id;

	return bench_random(&state) & 1;
}

static void
compact(void *argument)
{
	struct store *store = store_spillway.open(0, 0);
	uint64_t begin, end, gone, rss, hot = 0, hits = 0;
	uint32_t count;

	(void)argument;
	count = fill(store, 0, bytes);
	for (unsigned i = 0; i < HOT_READS; i++)
		for (uint32_t id = 0; id < count; id++)
			if (is_hot(id))
				store_spillway.peek(store, &id, 1);
	rss = bench_rss_bytes();
	begin = bench_now_ns();
	gone = spw_cache_shrink((struct spw_cache *)store, bytes * 4 / 10);
	end = bench_now_ns();
	result->gib = ((double)rss - (double)bench_rss_bytes()) / GIB;
	result->gib_per_s = (double)gone / GIB / ((double)(end - begin) / 1e9);
	for (uint32_t id = 0; id < count; id++)
		if (is_hot(id)) {
			hot++;
			hits += store_spillway.peek(store, &id, 1);
		}
	result->hot_hits = 100 * (double)hits / (double)hot;
}

static void
part_compact(void)
{
	struct figures speed = { 0 }, gone = { 0 }, hits = { 0 };
	char params[96];

	for (uint64_t i = 0; i < rounds; i++) {
		rounds_child(compact, NULL);
		figures_add(&speed, result->gib_per_s);
		figures_add(&gone, result->gib);
		figures_add(&hits, result->hot_hits);
	}
	snprintf(params, sizeof params, "bytes=%lluM,hot=50%%",
		 (unsigned long long)(bytes >> 20));
	figures_row("shrink-compact", params, "GiB/s", &speed);
	figures_row("shrink-compact-rss", params, "GiB", &gone);
	figures_row("shrink-compact-hot-hits", params, "%", &hits);
}

/* One flip: ns until memory has begun to go, or UINT64_MAX after a second. */
static uint64_t
flip(struct store *store)
{
	uint64_t rss = bench_rss_bytes(), now, begin;
	uint64_t released = stats_of(store).released_bytes;
	char text[64];

	snprintf(text, sizeof text, "limit:%lluK",
		 (unsigned long long)((rss - rss / 64) >> 10));
	begin = bench_now_ns();
	configure(text);
	do {
		now = bench_now_ns();
		if (stats_of(store).released_bytes > released ||
		    bench_rss_bytes() + (1u << 20) < rss)
			return bench_now_ns() - begin;
	} while (now - begin < 1000000000);
	return UINT64_MAX;
}

static void
first_byte(void *argument)
{
	struct store *store = store_spillway.open(0, 0);
	uint64_t resident;
	uint32_t next;

	(void)argument;
	next = fill(store, 0, bytes);
	resident = bench_rss_bytes();
	for (uint64_t i = 0; i < events; i++) {
		uint64_t ns = flip(store);

		if (ns == UINT64_MAX)
			result->missed++;
		else
			result->first[result->first_count++] = ns;
		/* Until the pass is over and the next one is not its tail. */
		bench_sleep_ns(bench_smoke ? 1000000 : 60000000);
		configure("limit:none");
		bench_sleep_ns(bench_smoke ? 1000000 : 20000000);
		if (bench_rss_bytes() < resident / 2)
			next += fill(store, next, resident - bench_rss_bytes());
	}
}

static void
part_first(void)
{
	struct bench_histogram *times = calloc(1, sizeof *times);
	char params[96];

	if (times == NULL)
		bench_die("calloc");
	rounds_child(first_byte, NULL);
	for (uint64_t i = 0; i < result->first_count; i++)
		bench_histogram_add(times, result->first[i]);
	snprintf(params, sizeof params, "bytes=%lluM,events=%llu",
		 (unsigned long long)(bytes >> 20), (unsigned long long)events);
	bench_row("shrink-first-byte", params,
		  (double)bench_histogram_at(times, 0.99) / 1e6, "ms",
		  (double)bench_histogram_at(times, 0.5) / 1e6,
		  (double)bench_histogram_at(times, 0.99) / 1e6);
	bench_row("shrink-first-byte-max", params, (double)times->max / 1e6,
		  "ms", -1, -1);
	bench_row("shrink-first-byte-missed", params, (double)result->missed,
		  "events", -1, -1);
	free(times);
}

enum { READER_QUIET, READER_BUSY, READER_END };
static _Atomic int reader_phase;
static _Atomic uint32_t reader_keys;

/*
 * The wait for a core costs more to read than a look: it is read after what took long, a look or
 * what lies between two, so that the difference is that look's.
 */
static void *
reader_main(void *argument)
{
	enum { LONG_NS = 5000 };
	struct store *store = argument;
	uint64_t random = 29, waited = bench_core_wait_ns();
	uint64_t last = tick_now();
	int phase;

	while ((phase = atomic_load_explicit(
			&reader_phase, memory_order_relaxed)) != READER_END) {
		uint32_t id = (uint32_t)bench_random_below(
			&random, atomic_load_explicit(&reader_keys,
						      memory_order_relaxed));
		uint64_t begin = tick_now(), ns, net, now;

		if (tick_ns(last, begin) > LONG_NS) {
			waited = bench_core_wait_ns();
			begin = tick_now();
		}
		if (store)
			store_spillway.peek(store, &id, 1);
		else
			(void)*(volatile char *)(plain + id * value_bytes);
		last = tick_now();
		ns = net = tick_ns(begin, last);
		if (ns > LONG_NS) {
			now = bench_core_wait_ns();
			net -= now - waited < net ? now - waited : net;
			waited = now;
			last = tick_now();
		}
		bench_histogram_add(phase == READER_QUIET ? &result->quiet :
							    &result->busy,
				    ns);
		bench_histogram_add(phase == READER_QUIET ? &result->quiet_net :
							    &result->busy_net,
				    net);
	}
	return NULL;
}

/* Half the time nothing happens; when the other half is over. */
static uint64_t
begin_reading(pthread_t *reader, struct store *store, uint32_t keys)
{
	atomic_store(&reader_keys, keys);
	errno = pthread_create(reader, NULL, reader_main, store);
	if (errno != 0)
		bench_die("pthread_create");
	bench_sleep_ns(stall_ms * 1000000);
	atomic_store(&reader_phase, READER_BUSY);
	return bench_now_ns() + stall_ms * 1000000;
}

static void
stall(void *argument)
{
	struct store *store = store_spillway.open(0, 0);
	uint32_t next = fill(store, 0, bytes);
	uint64_t end, shrunk = 0;
	pthread_t reader;

	(void)argument;
	end = begin_reading(&reader, store, next);
	while (bench_now_ns() < end) {
		uint64_t gone = spw_cache_shrink((struct spw_cache *)store,
						 bytes / 4);

		shrunk += gone;
		/* Sealed by what follows, and read meanwhile. */
		next += fill(store, next, gone);
		atomic_store(&reader_keys, next);
	}
	atomic_store(&reader_phase, READER_END);
	pthread_join(reader, NULL);
	result->gib = (double)shrunk / GIB;
}

/* The same without a cache: a quarter of as much again comes and goes. */
static void
stall_plain(void *argument)
{
	uint64_t churned = bytes / 4, end, gone = 0;
	pthread_t reader;
	char *other;

	(void)argument;
	memset(result, 0, sizeof *result);
	plain = map_huge(bytes + churned);
	other = plain + bytes;
	end = begin_reading(&reader, NULL, (uint32_t)(bytes / value_bytes));
	while (bench_now_ns() < end) {
		if (madvise(other, churned, MADV_DONTNEED) != 0)
			bench_die("madvise");
		memset(other, 1, churned);
		gone += churned;
	}
	atomic_store(&reader_phase, READER_END);
	pthread_join(reader, NULL);
	result->gib = (double)gone / GIB;
}

static void
print_stall(const char *name, const char *params,
	    const struct bench_histogram *times)
{
	char row[64];
	double p50 = (double)bench_histogram_at(times, 0.5) / 1e3;
	double p99 = (double)bench_histogram_at(times, 0.99) / 1e3;

	snprintf(row, sizeof row, "%s-max", name);
	bench_row(row, params, (double)times->max / 1e3, "us", p50, p99);
	snprintf(row, sizeof row, "%s-p99.99", name);
	bench_row(row, params, (double)bench_histogram_at(times, 0.9999) / 1e3,
		  "us", p50, p99);
}

static void
part_stall(void)
{
	char params[96];

	rounds_child(stall, NULL);
	snprintf(params, sizeof params, "bytes=%lluM",
		 (unsigned long long)(bytes >> 20));
	print_stall("shrink-read-before", params, &result->quiet);
	print_stall("shrink-read-before-net", params, &result->quiet_net);
	print_stall("shrink-read", params, &result->busy);
	print_stall("shrink-read-net", params, &result->busy_net);
	bench_row("shrink-read-shrunk", params, result->gib, "GiB", -1, -1);
	rounds_child(stall_plain, NULL);
	print_stall("shrink-read-plain-before-net", params, &result->quiet_net);
	print_stall("shrink-read-plain-net", params, &result->busy_net);
	bench_row("shrink-read-plain-gone", params, result->gib, "GiB", -1, -1);
}

static const struct rounds_part parts[] = { { "drop", part_drop },
					    { "compact", part_compact },
					    { "first", part_first },
					    { "stall", part_stall },
					    { 0 } };

int
main(int argc, char **argv)
{
	static const struct bench_option options[] = {
		{ "bytes", "SIZE", "that are shrunk (1G)", &bytes, NULL, NULL },
		{ "value", "BYTES", "of an entry (1024)", &value_bytes, NULL,
		  NULL },
		{ "rounds", "N", "of drop and compact, at most 101 (5)",
		  &rounds, NULL, NULL },
		{ "events", "N", "of first, at most 1010 (100)", &events, NULL,
		  NULL },
		{ "stall", "MS", "of each half of stall (2000)", &stall_ms,
		  NULL, NULL },
		{ "only", "PART", "drop, compact, first or stall (all)", NULL,
		  &only, NULL },
		{ 0 },
	};
	static const struct bench_program program = {
		.name = "cache-shrink",
		.summary = "Memory that a cache gives back: how fast, how soon, "
			   "and its readers.",
		.options = options,
	};

	bench_start(&program, argc, argv);
	if (bench_smoke) {
		bytes = 8u << 20;
		rounds = events = 1;
		stall_ms = 3;
	}
	if (rounds == 0 || rounds > ROUNDS_MAX || events == 0 ||
	    events > ROUNDS_MAX * 10 || bytes < 1u << 20 || value_bytes < 8 ||
	    value_bytes > STORE_VALUE_MAX) {
		fputs("cache-shrink: --rounds 1 to 101, --events 1 to 1010, "
		      "--bytes 1M and more, --value 8 to 1M\n",
		      stderr);
		return 2;
	}
	tick_start();
	result = rounds_share(sizeof *result);
	return rounds_parts(parts, program.name, only);
}
