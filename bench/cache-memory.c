/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that a cache takes beside what was put into it.
 *
 * `memory-entry`: --keys entries of 16-byte keys and --value bytes; RSS less
 * what it was before, less keys and values, by entry: index, headers, and what
 * an allocator rounds up, in spillway's cache, in cds_lfht and in a hash table
 * under a mutex. `memory-small`: --caches caches of --small bytes each, and empty.
 * `memory-pin`: --pins entries of 64 bytes among --bytes are pinned and
 * everything is asked back; what stays resident, and what the cache says of it.
 *
 * Each runs in a child of its own. Keys come in no order; nothing is evicted.
 */
#include "bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <spillway/cache.h>
#include <spillway/spillway.h>

#include "bench/rounds.h"
#include "bench/store.h"
#include "bench/zipf.h"

#define MIB 1048576.
#define PINS_MAX 65536u

static uint64_t keys = 4000000;
static uint64_t value_bytes = 64;
static uint64_t caches = 1000;
static uint64_t small_bytes = 64u << 10;
static uint64_t pin_bytes = 256u << 20;
static const char *only = "";

/* Shared with the children, which write it. */
static struct result {
	uint64_t rss;
	double ms;
	struct spw_cache_stats stats;
} * result;

static void
fail_if(int error, const char *what)
{
	errno = 0;
	if (error != 0)
		bench_die("%s: %s", what, spw_strerror(error));
}

static void
fill(struct store *store, const struct store_type *type, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		uint32_t id = zipf_scatter(i, count);

		type->put(store, &id, 1, value_bytes);
	}
}

static void
fill_store(void *argument)
{
	const struct store_type *type = *(const struct store_type **)argument;
	uint64_t rss;

	store_value(0);
	rss = bench_rss_bytes();
	fill(type->open(keys, 0), type, keys);
	result->rss = bench_rss_bytes() - rss;
}

static void
part_entry(void)
{
	char params[96];

	for (unsigned i = 0; store_types[i] != NULL; i++) {
		const struct store_type *type = store_types[i];

		if (type == &store_array) /* it has no keys */
			continue;
		rounds_child(fill_store, &type);
		snprintf(params, sizeof params, "store=%s,keys=%llu,value=%llu",
			 type->name, (unsigned long long)keys,
			 (unsigned long long)value_bytes);
		bench_row("memory-entry", params,
			  (double)result->rss / (double)keys -
				  (double)(STORE_KEY_BYTES + value_bytes),
			  "B", -1, -1);
	}
}

static void
open_small(void *argument)
{
	uint64_t each = *(uint64_t *)argument, rss, begin;
	uint64_t count = each / (value_bytes + STORE_KEY_BYTES + 8);

	store_value(0);
	rss = bench_rss_bytes();
	begin = bench_now_ns();
	for (uint64_t i = 0; i < caches; i++) {
		struct store *store = store_spillway.open(count, 0);

		if (count > 0)
			fill(store, &store_spillway, count);
	}
	result->ms = (double)(bench_now_ns() - begin) / 1e6;
	result->rss = bench_rss_bytes() - rss;
}

static void
part_small(void)
{
	uint64_t sizes[] = { 0, small_bytes };
	char params[96];

	for (unsigned i = 0; i < 2; i++) {
		rounds_child(open_small, &sizes[i]);
		snprintf(params, sizeof params, "caches=%llu,each=%lluK",
			 (unsigned long long)caches,
			 (unsigned long long)(sizes[i] >> 10));
		bench_row("memory-small", params, (double)result->rss / MIB,
			  "MiB", -1, -1);
		bench_row("memory-small-beside", params,
			  ((double)result->rss - (double)(caches * sizes[i])) /
				  MIB,
			  "MiB", -1, -1);
		bench_row("memory-small-time", params,
			  result->ms * 1e3 / (double)caches, "us", -1, -1);
	}
}

static void
pin(void *argument)
{
	static struct spw_ref pins[PINS_MAX];
	uint64_t wanted = *(uint64_t *)argument;
	uint64_t count = pin_bytes / (64 + STORE_KEY_BYTES + 8);
	uint64_t rss, gone;
	struct store *store;
	struct spw_cache *cache;

	value_bytes = 64;
	store_value(0);
	rss = bench_rss_bytes();
	store = store_spillway.open(count, 0);
	cache = (struct spw_cache *)store;
	fill(store, &store_spillway, count);
	for (uint64_t i = 0; i < wanted; i++) {
		struct store_key key = store_key(
			zipf_scatter(i * (count / wanted), count));

		fail_if(spw_cache_get(cache, &key, sizeof key, &pins[i]),
			"spw_cache_get");
	}
	do
		gone = spw_cache_shrink(cache, UINT64_MAX);
	while (gone > pin_bytes / 8);
	result->rss = bench_rss_bytes() - rss;
	result->stats.size = sizeof result->stats;
	fail_if(spw_cache_stats(cache, &result->stats), "spw_cache_stats");
	/* What is pinned is still there. */
	for (uint64_t i = 0; i < wanted; i++) {
		store_check("pinned", pins[i].value,
			    zipf_scatter(i * (count / wanted), count));
		spw_ref_put(&pins[i]);
	}
}

static void
part_pin(void)
{
	static const uint64_t counts[] = { 1, 1000, 50000 };
	char params[96];

	for (unsigned i = 0; i < 3; i++) {
		uint64_t wanted = bench_smoke ? 1 : counts[i];

		rounds_child(pin, &wanted);
		snprintf(params, sizeof params, "bytes=%lluM,pins=%llu",
			 (unsigned long long)(pin_bytes >> 20),
			 (unsigned long long)wanted);
		bench_row("memory-pin", params, (double)result->rss / MIB,
			  "MiB", -1, -1);
		bench_row("memory-pin-segments", params,
			  (double)result->stats.pinned_segments, "segments", -1,
			  -1);
		bench_row("memory-pin-copies", params,
			  (double)result->stats.copied_gets, "copies", -1, -1);
		if (bench_smoke)
			break;
	}
}

static const struct rounds_part parts[] = { { "entry", part_entry },
					    { "small", part_small },
					    { "pin", part_pin },
					    { 0 } };

int
main(int argc, char **argv)
{
	static const struct bench_option options[] = {
		{ "keys", "N", "of entry (4000000)", &keys, NULL, NULL },
		{ "value", "BYTES", "of entry and small (64)", &value_bytes,
		  NULL, NULL },
		{ "caches", "N", "of small (1000)", &caches, NULL, NULL },
		{ "small", "SIZE", "put into each of them (64K)", &small_bytes,
		  NULL, NULL },
		{ "bytes", "SIZE", "of pin (256M)", &pin_bytes, NULL, NULL },
		{ "only", "PART", "entry, small or pin (all)", NULL, &only,
		  NULL },
		{ 0 },
	};
	static const struct bench_program program = {
		.name = "cache-memory",
		.summary = "What a cache takes beside keys and values.",
		.options = options,
	};

	bench_start(&program, argc, argv);
	if (bench_smoke) {
		keys = 1000;
		caches = 2;
		pin_bytes = 8u << 20;
	}
	if (keys == 0 || keys > 1u << 28 || caches == 0 || value_bytes < 8 ||
	    value_bytes > STORE_VALUE_MAX || pin_bytes < 8u << 20) {
		fputs("cache-memory: --keys 1 to 256M, --caches 1 and more, "
		      "--value 8 to 1M, --bytes 8M and more\n",
		      stderr);
		return 2;
	}
	result = rounds_share(sizeof *result);
	return rounds_parts(parts, program.name, only);
}
