/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches that are full: what goes, what stays, and what comes back.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cache/cache.h"
#include "cache/writer.h"
#include "tests/tap.h"
#include "tests/torture/torture.h"
#include "tests/unit/shelf.h"
#include "tests/unit/stock.h"

/* 100,000 entries, so that the index has been split many times. */
static void
many(void)
{
	struct spw_cache *c = shelf_make("many", 0);
	unsigned wrong = 0, there = 0;
	struct spw_cache_stats s;

	for (unsigned i = 0; i < 100000; i++)
		wrong += spw_cache_put(c, &i, sizeof i, &i, sizeof i, NULL) !=
			 0;
	for (unsigned i = 0; i < 100000; i++) {
		const unsigned *value;

		spw_read_lock();
		value = spw_cache_peek(c, &i, sizeof i, NULL);
		wrong += !value || *value != i;
		spw_read_unlock();
	}
	tap_is(wrong, 0, "100,000 are put and found");
	s = shelf_stats(c);
	tap_is(s.entries, 100000, "and counted");
	tap_ok(s.index_bytes <= 16 * s.entries, "16 bytes of index for each");
	for (unsigned i = 0; i < 100000; i += 2)
		wrong += spw_cache_remove(c, &i, sizeof i) != 0;
	for (unsigned i = 0; i < 100000; i++) {
		spw_read_lock();
		there += spw_cache_peek(c, &i, sizeof i, NULL) != NULL;
		spw_read_unlock();
	}
	tap_is(there, 50000, "half are removed, half are there");
	spw_cache_clear(c);
	tap_ok(!wrong, "all of them were found");
	spw_cache_shrink(c, UINT64_MAX);
	s = shelf_stats(c);
	tap_is(s.entries, 0, "a clear leaves none");
	tap_is(s.segment_bytes, 0, "and no memory");
	for (unsigned i = 0; i < 50; i++)
		spw_cache_shrink(c, UINT64_MAX);
	tap_ok(shelf_stats(c).index_bytes <= 64 << 10,
	       "the index shrinks too: %llu bytes",
	       (unsigned long long)shelf_stats(c).index_bytes);
	spw_cache_destroy(c);
}

/* Nothing but max_bytes holds it: what is hit stays, what is not goes. */
static void
stays_hot(void)
{
	struct spw_cache *c = shelf_make("hot", 24 * MIB);
	static char value[1000];
	unsigned there = 0;
	struct spw_cache_stats s;

	for (unsigned i = 0; i < 200000; i++) {
		spw_cache_put(c, &i, sizeof i, value, sizeof value, NULL);
		/* 2,000 of them are asked for now and then. */
		for (unsigned k = 0; k < 2; k++) {
			unsigned hot = (i * 2 + k) % 2000;

			if (hot > i)
				continue;
			spw_read_lock();
			spw_cache_peek(c, &hot, sizeof hot, NULL);
			spw_read_unlock();
		}
	}
	for (unsigned i = 0; i < 2000; i++) {
		spw_read_lock();
		there += spw_cache_peek(c, &i, sizeof i, NULL) != NULL;
		spw_read_unlock();
	}
	s = shelf_stats(c);
	tap_ok(there > 1900,
	       "200 MB go through 24, and %u of 2,000 that are hit stay",
	       there);
	tap_ok(s.segment_bytes + s.index_bytes <= 32 * MIB,
	       "it keeps to its limit: %llu bytes",
	       (unsigned long long)(s.segment_bytes + s.index_bytes));
	tap_ok(s.recycled_bytes > 100 * MIB, "recycled %llu bytes",
	       (unsigned long long)s.recycled_bytes);
	spw_cache_destroy(c);
}

static void
pressure(void)
{
	struct spw_cache *c = shelf_make("pressed", 0);
	static char value[1000];
	uint64_t before, after, limit, start;
	struct spw_cache_stats s;
	char text[64];
	uint64_t got;

	for (unsigned i = 0; i < 60000; i++)
		spw_cache_put(c, &i, sizeof i, value, sizeof value, NULL);
	before = shelf_stats(c).segment_bytes;
	tap_ok(before >= 60 * MIB, "a cache grows while there is plenty: %llu",
	       (unsigned long long)before);
	limit = stock_resident() - 20 * MIB;
	snprintf(text, sizeof text, "limit:%llu", (unsigned long long)limit);
	spw_configure(text);
	start = clock_now_ns();
	while (stock_resident() > limit && clock_now_ns() - start < 5 * CLOCK_S)
		torture_pause(1000);
	tap_ok(stock_resident() <= limit,
	       "a limit 20 MiB below: it is met after %llu ms",
	       (unsigned long long)((clock_now_ns() - start) / CLOCK_MS));
	for (unsigned i = 0; i < 100000; i++)
		spw_cache_put(c, &i, sizeof i, value, sizeof value, NULL);
	/* A put that waited for 10 ms, while others had the cores, took what is
	 * given back when the reclaimer has one. */
	start = clock_now_ns();
	while (stock_resident() > limit + 4 * MIB &&
	       clock_now_ns() - start < 1 * CLOCK_S)
		torture_pause(1000);
	tap_ok(stock_resident() <= limit + 4 * MIB,
	       "and kept by who goes on putting: %lld bytes over",
	       (long long)stock_resident() - (long long)limit);
	spw_configure("limit:none");
	after = shelf_stats(c).segment_bytes;
	start = clock_now_ns();
	for (unsigned i = 0; clock_now_ns() - start < 10 * CLOCK_S &&
			     shelf_stats(c).segment_bytes < after + 40 * MIB;
	     i++)
		spw_cache_put(c, &i, sizeof i, value, sizeof value, NULL);
	s = shelf_stats(c);
	tap_ok(s.segment_bytes >= after + 40 * MIB,
	       "without it the cache grows again: %llu MiB",
	       (unsigned long long)(s.segment_bytes >> 20));
	tap_is(spw_reclaim(&got, NULL), 0, "asked for all");
	tap_is(shelf_stats(c).segment_bytes, 0, "it gives all");
	spw_cache_destroy(c);
}

/* More than one batch of segments: each value has one of its own. */
static void
clears_all(void)
{
	struct spw_cache *c = shelf_make("cleared", 0);
	char *value = calloc(1, 270000);
	uint64_t start;

	for (unsigned i = 0; i < 600; i++)
		spw_cache_put(c, &i, sizeof i, value, 270000, NULL);
	tap_ok(shelf_stats(c).segments >= 600 &&
		       shelf_stats(c).segment_bytes <= 600 * 330000,
	       "600 segments, charged for what is in them: %llu",
	       (unsigned long long)shelf_stats(c).segment_bytes);
	spw_cache_clear(c);
	start = clock_now_ns();
	while (shelf_stats(c).segments && clock_now_ns() - start < 5 * CLOCK_S)
		torture_pause(1000);
	tap_is(shelf_stats(c).segments, 0, "a clear gives all of them back");
	tap_is(shelf_stats(c).entries, 0, "and the books are even");
	free(value);
	spw_cache_destroy(c);
}

/* Puts `count` values of so many bytes; of every second, if `hot`, hits. */
static void
fill(struct spw_cache *c, unsigned count, size_t bytes, bool hot)
{
	char *value = calloc(1, bytes);
	struct dice dice = torture_dice(1);

	for (unsigned i = 0; i < count; i++)
		spw_cache_put(c, &i, sizeof i, value, bytes, NULL);
	for (unsigned i = 0; hot && i < 2 * count; i++) {
		unsigned key = (unsigned)dice_below(&dice, count / 2) * 2;

		spw_read_lock();
		spw_cache_peek(c, &key, sizeof key, NULL);
		spw_read_unlock();
	}
	free(value);
}

static uint64_t
held_bytes(struct spw_cache *c)
{
	struct spw_cache_stats s = shelf_stats(c);

	return s.segment_bytes + s.index_bytes;
}

/* What was asked for goes, a segment more at most, and what the index had for
 * it; and nothing of it is taken back behind the caller's back. */
static void
shrinks_exactly(const char *what, unsigned count, size_t bytes, bool hot)
{
	static const uint64_t asks[] = { 1, 3 * MIB, 10 * MIB, 5 * MIB + 4096 };
	unsigned wrong = 0;

	for (unsigned a = 0; a < sizeof asks / sizeof asks[0]; a++) {
		struct spw_cache *c = shelf_make("exact", 0);

		fill(c, count, bytes, hot);
		for (unsigned turn = 0; turn < 3; turn++) {
			uint64_t index = shelf_stats(c).index_bytes;
			uint64_t held = held_bytes(c), got, went;

			got = spw_cache_shrink(c, asks[a]);
			torture_pause(1000);
			went = held - held_bytes(c);
			index -= shelf_stats(c).index_bytes;
			if (got == went && got >= asks[a] &&
			    got < asks[a] + 2 * MIB + index)
				continue;
			wrong++;
			tap_note("asked %llu, got %llu, went %llu, of the "
				 "index %llu",
				 (unsigned long long)asks[a],
				 (unsigned long long)got,
				 (unsigned long long)went,
				 (unsigned long long)index);
		}
		/* All but a little: the last segment must go, too. */
		spw_cache_shrink(c, shelf_stats(c).segment_bytes);
		if (shelf_stats(c).segment_bytes) {
			wrong++;
			tap_note("of all segments, %llu bytes are left",
				 (unsigned long long)shelf_stats(c)
					 .segment_bytes);
		}
		spw_cache_destroy(c);
	}
	tap_is(wrong, 0, "a shrink gives what it says: %s", what);
}

/* Values with segments of their own, which are sampled by one entry each. */
static void
one_by_one(void)
{
	struct spw_cache *c = shelf_make("one by one", 0);
	uint64_t got;

	fill(c, 20, 3000000, true);
	got = spw_cache_shrink(c, 10 * MIB);
	tap_ok(got >= 10 * MIB && got <= 14 * MIB,
	       "of 20 values of 3 MB, which were hit, 10 MiB: %llu",
	       (unsigned long long)got);
	spw_cache_destroy(c);
}

/* A pass may seal a segment between its installation and its first entry. */
static void
sealed_empty(void)
{
	struct spw_cache *c = shelf_make("sealed empty", 0);
	uint32_t segment;

	shelf_put(c, "key", "value");
	segment = space_obtain(c);
	writer_enter();
	space_seal_all(c);
	space_install(c, segment);
	space_seal_all(c);
	writer_leave();
	tap_is(atomic_load(&c->segments), 2,
	       "a segment is sealed with nothing in it");
	spw_cache_shrink(c, UINT64_MAX);
	tap_is(atomic_load(&c->segments), 0, "and goes like any other");
	spw_cache_destroy(c);
}

int
main(void)
{
	stock_alone("soft:8M,hard:4M");
	many();
	shrinks_exactly("nothing was hit", 40000, 1000, false);
	shrinks_exactly("half was hit, and is merged", 60000, 1000, true);
	shrinks_exactly("large values", 200, 300000, false);
	one_by_one();
	stays_hot();
	sealed_empty();
	clears_all(); /* before a pass: caches recycle for a while then */
	pressure();
	return tap_done();
}
