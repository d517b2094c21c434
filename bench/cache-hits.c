/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a cache still knows after memory was taken from it.
 *
 * The program looks up keys by Zipf's law (0.99), and puts what it misses.
 * "Full" is when all keys are there; `limit:` is then set to a part of that.
 * `halve` to 4/8 and `trim` to 7/8: hit ratio in the first second and five
 * seconds later, beside `hits-bound-lfu`, the share of draws that the most
 * frequent keys get which fit below the limit; `hits-bound-counts`, the same for
 * those that were drawn most often until then, which is all that anybody can
 * know; and `hits-lru`, a simulated list of as many. `fast`: from 5/8 to 1/8; RSS by the limit one second later;
 * then the limit is lifted and new keys are put as fast as they can be, beside
 * the same into a fresh cache (`hits-fill`). `scan`: at 4/8, keys that come once,
 * three times what fits; hit ratio before and after, as looks alone tell, and
 * while every second look is one of a scan.
 *
 * With 4M keys of 1 KiB full is 4 GiB. Each part runs in a child of its own.
 */
#include "bench/bench.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <spillway/cache.h>
#include <spillway/spillway.h>

#include "bench/rounds.h"
#include "bench/store.h"
#include "bench/zipf.h"

#define SECOND 1000000000u
#define STEPS 64 /* looks between two looks at the clock */
#define SEED 31

static uint64_t keys = 1000000;
static uint64_t value_bytes = 1024;
static uint64_t warm = 8;
static uint64_t settle_ms = 5000;
static const char *only = "";

static struct zipf zipf;
static uint64_t full_bytes;
static unsigned eighths; /* of full: the limit of this part */

/* Shared with the children, which write it. */
static struct result {
	double first, later, rss_ratio, rss_ratio_early, bound;
	double fill, regrow;
	double before, after, mixed;
	uint64_t entries, entries_high, draws;
} * result;

struct load {
	struct store *store;
	uint64_t random;
	uint64_t looks, hits, draws;
};

static void
set_limit(unsigned part)
{
	char text[64] = "limit:none";
	int error;

	if (part != 0)
		snprintf(text, sizeof text, "limit:%lluK",
			 (unsigned long long)(full_bytes / 8 * part >> 10));
	error = spw_configure(text);
	errno = 0;
	if (error != 0)
		bench_die("spw_configure(%s): %s", text, spw_strerror(error));
}

static struct spw_cache_stats
stats_of(const struct load *load)
{
	struct spw_cache_stats stats = { .size = sizeof stats };

	if (spw_cache_stats((struct spw_cache *)load->store, &stats) != 0)
		bench_die("spw_cache_stats");
	return stats;
}

static void
look(struct load *load, uint32_t id)
{
	load->looks++;
	if (store_spillway.peek(load->store, &id, 1) == 1)
		load->hits++;
	else
		store_spillway.put(load->store, &id, 1, value_bytes);
}

static uint32_t
draw(struct load *load)
{
	load->draws++;
	return zipf_scatter(zipf_draw(&zipf, &load->random), keys);
}

static double
ratio_since(struct load *load)
{
	double ratio = load->looks == 0 ?
			       0 :
			       100 * (double)load->hits / (double)load->looks;

	load->looks = load->hits = 0;
	return ratio;
}

/* Traffic for so long; returns its hit ratio. */
static double
run_for(struct load *load, uint64_t ns)
{
	uint64_t end = bench_now_ns() + ns;

	ratio_since(load);
	do {
		for (unsigned i = 0; i < STEPS; i++)
			look(load, draw(load));
	} while (bench_now_ns() < end);
	return ratio_since(load);
}

/* Traffic of so many looks; returns its hit ratio. */
static double
run_looks(struct load *load, uint64_t count)
{
	ratio_since(load);
	for (uint64_t i = 0; i < count; i++)
		look(load, draw(load));
	return ratio_since(load);
}

/* Hit ratio without putting what is missed. */
static double
probe(struct load *load)
{
	enum { PROBES = 200000 };
	uint64_t hits = 0;

	for (unsigned i = 0; i < PROBES; i++) {
		uint32_t id = draw(load);

		hits += store_spillway.peek(load->store, &id, 1);
	}
	return 100. * (double)hits / PROBES;
}

static void
start(struct load *load, uint64_t count)
{
	load->store = store_spillway.open(keys, 0);
	load->random = SEED;
	for (uint64_t i = 0; i < count; i++) {
		uint32_t id = (uint32_t)i; /* ranks are scattered */

		store_spillway.put(load->store, &id, 1, value_bytes);
	}
}

static void
flip(void *argument)
{
	struct load load = { 0 };

	(void)argument;
	start(&load, keys);
	run_looks(&load, warm * keys);
	store_spillway_note(load.store, "full");
	set_limit(eighths);
	result->first = run_for(&load, settle_ms * (SECOND / 5000));
	run_for(&load, settle_ms * (SECOND / 5000) * 4);
	result->draws = load.draws;
	result->later = run_for(&load, settle_ms * (SECOND / 5000));
	result->rss_ratio = (double)bench_rss_bytes() /
			    ((double)full_bytes / 8 * eighths);
	result->entries = stats_of(&load).entries;
	store_spillway_note(load.store, "limited");
}

/* The share of draws of the keys that came most often in so many draws, the
 * same that the cache saw: of those that came equally often any. */
static double
share_of_counted(uint64_t draws, uint64_t capacity)
{
	enum { COUNTS = 1024 };
	uint32_t *count = bench_malloc(keys * sizeof *count);
	double mass[COUNTS] = { 0 }, all = 0, share = 0;
	uint64_t number[COUNTS] = { 0 }, random = SEED;

	memset(count, 0, keys * sizeof *count);
	for (uint64_t i = 0; i < draws; i++)
		count[zipf_draw(&zipf, &random)]++;
	for (uint64_t i = 0; i < keys; i++) {
		uint32_t c = count[i] < COUNTS ? count[i] : COUNTS - 1;
		double chance = pow((double)(i + 1), -zipf.exponent);

		mass[c] += chance;
		number[c]++;
		all += chance;
	}
	free(count);
	for (int c = COUNTS - 1; c >= 0 && capacity; c--) {
		uint64_t some = number[c] < capacity ? number[c] : capacity;

		if (number[c])
			share += mass[c] * (double)some / (double)number[c];
		capacity -= some;
	}
	return 100 * share / all;
}

/* Hits of a list of the least recently used, of as many entries as fit. */
static double
simulate_lru(uint64_t capacity)
{
	uint32_t *before = bench_malloc((keys + 1) * sizeof *before);
	uint32_t *after = bench_malloc((keys + 1) * sizeof *after);
	uint64_t random = 37, count = 0, hits = 0, looks = 0;
	uint64_t draws = (warm + 2) * keys;
	uint32_t head = (uint32_t)keys; /* of a ring */

	memset(after, 0xff, (keys + 1) * sizeof *after);
	before[head] = after[head] = head;
	for (uint64_t i = 0; i < draws; i++) {
		uint32_t id = (uint32_t)zipf_draw(&zipf, &random);
		bool hit = after[id] != UINT32_MAX;

		if (hit) {
			after[before[id]] = after[id];
			before[after[id]] = before[id];
		} else if (count == capacity) {
			uint32_t last = before[head];

			before[head] = before[last];
			after[before[last]] = head;
			after[last] = UINT32_MAX;
		} else {
			count++;
		}
		after[id] = after[head];
		before[id] = head;
		before[after[id]] = id;
		after[head] = id;
		if (i >= warm * keys) {
			looks++;
			hits += hit;
		}
	}
	free(before);
	free(after);
	return 100 * (double)hits / (double)looks;
}

static void
part_flip(const char *name, unsigned to)
{
	uint64_t fit = keys * to / 8;
	char params[96];

	eighths = to;
	rounds_child(flip, NULL);
	snprintf(params, sizeof params, "%s,keys=%llu,value=%llu,limit=%u/8",
		 name, (unsigned long long)keys,
		 (unsigned long long)value_bytes, to);
	bench_row("hits-first", params, result->first, "%", -1, -1);
	bench_row("hits-later", params, result->later, "%", -1, -1);
	bench_row("hits-bound-lfu", params, 100 * zipf_share(&zipf, fit), "%",
		  -1, -1);
	bench_row("hits-bound-held", params,
		  100 * zipf_share(&zipf, result->entries), "%", -1, -1);
	bench_row("hits-bound-counts", params,
		  share_of_counted(result->draws, result->entries), "%", -1,
		  -1);
	bench_row("hits-lru", params, simulate_lru(fit), "%", -1, -1);
	bench_row("hits-rss", params, result->rss_ratio, "x", -1, -1);
}

static void
part_halve(void)
{
	part_flip("halve", 4);
}

static void
part_trim(void)
{
	part_flip("trim", 7);
}

/* New keys until RSS is there, or ten seconds are over: GiB/s. */
static double
grow(struct load *load, uint32_t next, uint64_t rss)
{
	uint64_t from = bench_rss_bytes(), now;
	uint64_t begin = bench_now_ns(), ns;

	do {
		for (unsigned i = 0; i < STEPS * 16; i++, next++)
			store_spillway.put(load->store, &next, 1, value_bytes);
		now = bench_rss_bytes();
		ns = bench_now_ns() - begin;
	} while (now < rss && ns < 10ull * SECOND);
	return ((double)now - (double)from) / (1u << 30) / ((double)ns / 1e9);
}

static void
fast(void *argument)
{
	struct load load = { 0 };
	uint64_t base = bench_rss_bytes(), high = full_bytes / 8 * 5;

	(void)argument;
	if (bench_smoke)
		high = base + (4u << 20);
	start(&load, 0);
	result->fill = grow(&load, 0, base + high / 2);
	grow(&load, (uint32_t)keys, high);
	/* Most of what is looked up is among what was put. */
	probe(&load);
	store_spillway_note(load.store, "full");
	high = bench_rss_bytes();
	set_limit(1);
	run_for(&load, settle_ms * (SECOND / 10000));
	result->rss_ratio_early = (double)bench_rss_bytes() /
				  ((double)full_bytes / 8);
	run_for(&load, settle_ms * (SECOND / 10000));
	result->rss_ratio = (double)bench_rss_bytes() /
			    ((double)full_bytes / 8);
	store_spillway_note(load.store, "limited");
	run_for(&load, settle_ms * (SECOND / 5000));
	set_limit(0);
	result->regrow = grow(&load, (uint32_t)keys * 4u, high);
	store_spillway_note(load.store, "grown again");
}

static void
part_fast(void)
{
	char params[96];

	rounds_child(fast, NULL);
	snprintf(params, sizeof params, "keys=%llu,value=%llu,from=5/8,to=1/8",
		 (unsigned long long)keys, (unsigned long long)value_bytes);
	bench_row("hits-rss-half-second", params, result->rss_ratio_early, "x",
		  -1, -1);
	bench_row("hits-rss-second", params, result->rss_ratio, "x", -1, -1);
	bench_row("hits-regrow", params, result->regrow, "GiB/s", -1, -1);
	bench_row("hits-fill", params, result->fill, "GiB/s", -1, -1);
}

static void
scan(void *argument)
{
	struct load load = { 0 }, scanner;
	uint64_t once = 3 * keys / 2, other = keys;

	(void)argument;
	start(&load, keys / 2);
	scanner = load;
	set_limit(4);
	run_looks(&load, warm * keys);
	result->before = probe(&load);
	store_spillway_note(load.store, "before");
	for (uint64_t i = 0; i < once; i++)
		look(&load, (uint32_t)(other + i));
	other += once;
	result->after = probe(&load);
	store_spillway_note(load.store, "scanned");
	run_looks(&load, warm * keys);
	ratio_since(&scanner);
	for (uint64_t i = 0; i < once; i++) {
		look(&scanner, (uint32_t)(other + i));
		look(&load, draw(&load));
	}
	result->mixed = ratio_since(&load);
	store_spillway_note(load.store, "mixed");
}

static void
part_scan(void)
{
	char params[96];

	eighths = 4;
	rounds_child(scan, NULL);
	snprintf(params, sizeof params, "keys=%llu,value=%llu,limit=4/8,scan=3",
		 (unsigned long long)keys, (unsigned long long)value_bytes);
	bench_row("hits-scan-before", params, result->before, "%", -1, -1);
	bench_row("hits-scan-after", params, result->after, "%", -1, -1);
	bench_row("hits-scan-mixed", params, result->mixed, "%", -1, -1);
}

/* That the draws are what the bound is computed for. */
static void
check_draws(void)
{
	enum { DRAWS = 200000 };
	uint64_t random = 41, first = 0;

	for (unsigned i = 0; i < DRAWS; i++)
		first += zipf_draw(&zipf, &random) < keys / 2;
	bench_note("draws among the most frequent half: %.4f, computed %.4f",
		   (double)first / DRAWS, zipf_share(&zipf, keys / 2));
}

static const struct rounds_part parts[] = { { "halve", part_halve },
					    { "trim", part_trim },
					    { "fast", part_fast },
					    { "scan", part_scan },
					    { 0 } };

int
main(int argc, char **argv)
{
	static const struct bench_option options[] = {
		{ "keys", "N", "that there are (1000000; full size is 4M)",
		  &keys, NULL, NULL },
		{ "value", "BYTES", "of a value (1024)", &value_bytes, NULL,
		  NULL },
		{ "warm", "N", "looks by keys before (8)", &warm, NULL, NULL },
		{ "settle", "MS", "after a limit came (5000)", &settle_ms, NULL,
		  NULL },
		{ "only", "PART", "halve, trim, fast or scan (all)", NULL,
		  &only, NULL },
		{ 0 },
	};
	static const struct bench_program program = {
		.name = "cache-hits",
		.summary = "Hit ratios and memory after a limit came down, and "
			   "after a scan.",
		.options = options,
	};

	bench_start(&program, argc, argv);
	if (keys < 8 || keys > 1u << 28 || value_bytes < 8 ||
	    value_bytes > STORE_VALUE_MAX || settle_ms == 0) {
		fputs("cache-hits: --keys 8 to 256M, --value 8 to 1M, --settle "
		      "1 and more\n",
		      stderr);
		return 2;
	}
	full_bytes = keys * value_bytes;
	if (bench_smoke) {
		/* Limits that do not bite: waiting for memory takes longer. */
		keys = 1000;
		full_bytes = 8ull << 30;
		settle_ms = 5;
		warm = 1;
	}
	zipf_start(&zipf, keys, 0.99);
	check_draws();
	result = rounds_share(sizeof *result);
	return rounds_parts(parts, program.name, only);
}
