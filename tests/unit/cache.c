/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches, as a program uses them: what is put is there, what is removed is
 * not, and everything in between.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <spillway/spillway.h>

#include "base/clock.h"
#include "base/fault.h"
#include "tests/tap.h"
#include "tests/torture/torture.h"
#include "tests/unit/stock.h"

#define MIB (1ull << 20)

static struct spw_cache *
make(const char *name, uint64_t max_bytes)
{
	struct spw_cache_options options = {
		.size = sizeof options,
		.name = name,
		.max_bytes = max_bytes,
	};
	struct spw_cache *c;
	int error = spw_cache_create(&c, &options);

	if (error)
		tap_bail_out("spw_cache_create: %s", spw_strerror(error));
	return c;
}

static struct spw_cache_stats
stats_of(struct spw_cache *c)
{
	struct spw_cache_stats s = { .size = sizeof s };

	if (spw_cache_stats(c, &s) != 0)
		tap_bail_out("spw_cache_stats");
	return s;
}

static int
put_text(struct spw_cache *c, const char *key, const char *value)
{
	return spw_cache_put(c, key, strlen(key), value, strlen(value) + 1,
			     NULL);
}

/* What is there, copied; NULL: nothing. */
static const char *
text_of(struct spw_cache *c, const char *key)
{
	static char copy[256];
	const void *value;
	size_t bytes;

	spw_read_lock();
	value = spw_cache_peek(c, key, strlen(key), &bytes);
	if (value)
		memcpy(copy, value, bytes < sizeof copy ? bytes : sizeof copy);
	spw_read_unlock();
	return value ? copy : NULL;
}

static void
puts_and_looks(void)
{
	struct spw_cache *c = make("first", 0);
	struct spw_cache_stats s;

	tap_ok(!text_of(c, "a"), "an empty cache has nothing");
	tap_is(put_text(c, "a", "one"), 0, "a value is put");
	tap_is_text(text_of(c, "a"), "one", "and is there");
	tap_is(put_text(c, "a", "two"), 0, "another takes its place");
	tap_is_text(text_of(c, "a"), "two", "and is there instead");
	tap_is(spw_cache_remove(c, "a", 1), 0, "it is removed");
	tap_ok(!text_of(c, "a"), "and is not there any more");
	tap_is(spw_cache_remove(c, "a", 1), -ENOENT, "nor removed again");
	s = stats_of(c);
	tap_is(s.entries, 0, "no entry is left");
	tap_is(s.puts, 2, "two puts are counted");
	tap_is(s.hits, 2, "two hits");
	tap_is(s.misses, 2, "and two misses");
	spw_cache_destroy(c);
	spw_cache_destroy(NULL);
	tap_ok(true, "a cache is destroyed, and none as well");
}

static void
any_bytes(void)
{
	struct spw_cache *c = make("bytes", 0);
	unsigned char *large = malloc(5 * MIB), *key = malloc(70000);
	unsigned wrong = 0;
	struct spw_ref ref;

	for (size_t i = 0; i < 5 * MIB; i++)
		large[i] = (unsigned char)(i * 7 + (i >> 12));
	memset(key, 3, 70000);
	tap_is(spw_cache_put(c, NULL, 0, NULL, 0, NULL), 0,
	       "no key and no value are put");
	tap_is(spw_cache_get(c, "", 0, &ref), 0, "and are there");
	tap_is(ref.value_bytes, 0, "without a byte");
	spw_ref_put(&ref);
	for (size_t bytes = 0; bytes <= 40; bytes++)
		if (spw_cache_put(c, "\0key\377", bytes % 6, large, bytes,
				  NULL) != 0 ||
		    spw_cache_get(c, "\0key\377", bytes % 6, &ref) != 0 ||
		    ref.value_bytes != bytes ||
		    memcmp(ref.value, large, bytes) != 0)
			wrong++;
		else
			spw_ref_put(&ref);
	tap_is(wrong, 0, "keys and values of 0 to 40 bytes, zeros included");
	for (size_t bytes = 100000; bytes <= 5 * MIB; bytes += 699051) {
		if (spw_cache_put(c, key, 65535, large, bytes, NULL) != 0 ||
		    spw_cache_get(c, key, 65535, &ref) != 0 ||
		    ref.value_bytes != bytes ||
		    memcmp(ref.value, large, bytes) != 0)
			wrong++;
		spw_ref_put(&ref);
	}
	tap_is(wrong, 0, "and of up to 5 MiB, more than a segment");
	tap_is(spw_cache_put(c, key, 65536, "", 1, NULL), -E2BIG,
	       "a key of 64 KiB is too long");
	tap_is(spw_cache_put(c, "k", 1, large, SPW_CACHE_VALUE_MAX + 1, NULL),
	       -E2BIG, "a value of a gigabyte, too");
	free(key);
	free(large);
	spw_cache_destroy(c);
}

static void
wrong_use(void)
{
	struct spw_cache_options o = { .size = sizeof o, .name = "wrong" };
	struct spw_put_options put = { .size = 1 };
	struct spw_cache *c;
	struct spw_ref ref;
	struct spw_reservation r = { 0 };
	struct spw_cache_stats s = { .size = 3 };

	o.size = 1;
	tap_is(spw_cache_create(&c, &o), -EINVAL, "options of another size");
	o = (struct spw_cache_options){ .size = sizeof o };
	tap_is(spw_cache_create(&c, &o), -EINVAL, "no name");
	o.name = "wrong";
	o.tier = (enum spw_tier)99;
	tap_is(spw_cache_create(&c, &o), -EINVAL, "a tier of 99");
	tap_is(spw_cache_create(&c, NULL), -EINVAL, "no options");
	tap_is(spw_cache_create(NULL, &o), -EINVAL, "nowhere to put it");
	c = make("right", 0);
	tap_is(spw_cache_put(c, NULL, 1, "v", 1, NULL), -EINVAL,
	       "a key at NULL");
	tap_is(spw_cache_put(c, "k", 1, NULL, 1, NULL), -EINVAL,
	       "a value at NULL");
	tap_is(spw_cache_put(c, "k", 1, "v", 1, &put), -EINVAL,
	       "put options of another size");
	tap_is(spw_cache_put(NULL, "k", 1, "v", 1, NULL), -EINVAL, "no cache");
	tap_is(spw_cache_get(c, "k", 1, NULL), -EINVAL, "no ref");
	tap_is(spw_cache_get(c, "k", 1, &ref), -ENOENT, "nothing to get");
	spw_ref_put(&ref);
	spw_ref_put(NULL);
	tap_is(spw_cache_commit(&r), -EINVAL, "nothing to commit");
	spw_cache_abort(&r);
	tap_is(spw_cache_stats(c, &s), -EINVAL, "statistics of another size");
	spw_cache_destroy(c);
	c = make("small", 1 * MIB);
	tap_is(spw_cache_reserve(c, "k", 1, 2 * MIB, NULL, &r), -E2BIG,
	       "a value over max_bytes");
	spw_cache_destroy(c);
}

static void
refs_and_reservations(void)
{
	struct spw_cache *c = make("refs", 0);
	struct spw_reservation r, other;
	struct spw_ref ref, second;

	tap_is(spw_cache_reserve(c, "k", 1, 4, NULL, &r), 0, "4 bytes");
	tap_ok(!text_of(c, "k"), "are not there before they are committed");
	memcpy(r.value, "new", 4);
	tap_is(spw_cache_commit(&r), 0, "they are committed");
	tap_is_text(text_of(c, "k"), "new", "then they are");
	tap_is(spw_cache_commit(&r), -EINVAL, "and not twice");
	spw_cache_reserve(c, "k", 1, 4, NULL, &other);
	spw_cache_abort(&other);
	tap_is_text(text_of(c, "k"), "new", "what is aborted leaves no trace");
	tap_is(spw_cache_get(c, "k", 1, &ref), 0, "a ref");
	tap_is(stats_of(c).pinned_segments, 1, "pins a segment");
	put_text(c, "k", "newer");
	tap_is_text(ref.value, "new", "and sees what it got after a put");
	spw_cache_clear(c);
	tap_is_text(ref.value, "new", "after a clear");
	spw_cache_shrink(c, UINT64_MAX);
	tap_is_text(ref.value, "new", "and after everything was evicted");
	tap_ok(!text_of(c, "k"), "though nobody finds it any more");
	second = ref;
	spw_ref_put(&ref);
	tap_ok(!ref.held && !ref.value, "a ref that was put is empty");
	spw_ref_put(&ref);
	tap_is(stats_of(c).pinned_segments, 0, "and pins nothing");
	(void)second;
	spw_cache_reserve(c, "k", 1, 4, NULL, &r);
	spw_cache_clear(c);
	tap_is(spw_cache_commit(&r), 0, "what is committed after a clear");
	tap_ok(!text_of(c, "k"), "is as if it had been put before");
	spw_cache_destroy(c);
}

static void
pins_are_capped(void)
{
	struct spw_cache *c = make("pins", 0);
	static struct spw_ref refs[64];
	char *value = malloc(200000);
	unsigned wrong = 0;
	struct spw_cache_stats s;

	for (unsigned i = 0; i < 64; i++) {
		char key[16];

		snprintf(key, sizeof key, "%u", i);
		memset(value, (int)i, 200000);
		spw_cache_put(c, key, strlen(key), value, 200000, NULL);
		/* Each in a segment that nothing else has pinned. */
		for (unsigned k = 0; k < 10; k++)
			spw_cache_put(c, "filler", 6, value, 200000, NULL);
		wrong += spw_cache_get(c, key, strlen(key), &refs[i]) != 0;
	}
	s = stats_of(c);
	tap_is(wrong, 0, "64 values are got from 64 segments");
	tap_ok(s.pinned_segments <= 9 && s.copied_gets >= 50,
	       "few are pinned (%llu), the others copied (%llu)",
	       (unsigned long long)s.pinned_segments,
	       (unsigned long long)s.copied_gets);
	spw_cache_shrink(c, UINT64_MAX);
	s = stats_of(c);
	tap_ok(s.segment_bytes <= 9 * 2 * MIB,
	       "what they do not pin goes: %llu bytes are left",
	       (unsigned long long)s.segment_bytes);
	for (unsigned i = 0; i < 64; i++) {
		const unsigned char *at = refs[i].value;

		wrong += refs[i].value_bytes != 200000 || at[0] != i ||
			 at[199999] != i;
		spw_ref_put(&refs[i]);
	}
	tap_is(wrong, 0, "and all of them are what they were");
	tap_is(stats_of(c).pinned_segments, 0, "until they are put");
	free(value);
	spw_cache_destroy(c);
}

static void
expiry(void)
{
	struct spw_cache *c = make("ttl", 0);
	struct spw_put_options o = { .size = sizeof o,
				     .ttl_ns = 150 * CLOCK_MS };

	spw_cache_put(c, "short", 5, "x", 2, &o);
	o.ttl_ns = 3600 * CLOCK_S;
	spw_cache_put(c, "long", 4, "x", 2, &o);
	tap_ok(text_of(c, "short") && text_of(c, "long"),
	       "what has not expired is there");
	torture_pause(300000);
	tap_ok(!text_of(c, "short"), "what has is not");
	tap_ok(text_of(c, "long"), "and what has an hour is");
	spw_cache_destroy(c);
}

/* 100,000 entries, so that the index has been split many times. */
static void
many(void)
{
	struct spw_cache *c = make("many", 0);
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
	s = stats_of(c);
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
	s = stats_of(c);
	tap_is(s.entries, 0, "a clear leaves none");
	tap_is(s.segment_bytes, 0, "and no memory");
	for (unsigned i = 0; i < 50; i++)
		spw_cache_shrink(c, UINT64_MAX);
	tap_ok(stats_of(c).index_bytes <= 64 << 10,
	       "the index shrinks too: %llu bytes",
	       (unsigned long long)stats_of(c).index_bytes);
	spw_cache_destroy(c);
}

/* Nothing but max_bytes holds it: what is hit stays, what is not goes. */
static void
stays_hot(void)
{
	struct spw_cache *c = make("hot", 24 * MIB);
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
	s = stats_of(c);
	tap_ok(there > 1900,
	       "200 MB go through 24, and %u of 2,000 that are hit stay",
	       there);
	tap_ok(s.segment_bytes + s.index_bytes <= 32 * MIB,
	       "it keeps to its limit: %llu bytes",
	       (unsigned long long)(s.segment_bytes + s.index_bytes));
	tap_ok(s.merged_bytes > 0 && s.recycled_bytes > 0,
	       "merged %llu, recycled %llu bytes",
	       (unsigned long long)s.merged_bytes,
	       (unsigned long long)s.recycled_bytes);
	spw_cache_destroy(c);
}

static void
softs(void)
{
	struct spw_cache *c = make("soft", 0);
	static spw_soft_t soft[1000];
	unsigned wrong = 0, there = 0;
	void *fill;
	spw_soft_t old;

	spw_read_lock();
	for (unsigned i = 0; i < 1000; i++) {
		wrong += spw_soft_alloc(c, 100 + i % 50, &soft[i], &fill) != 0;
		wrong += (uintptr_t)fill % 16 != 0;
		memset(fill, (int)i, 100 + i % 50);
	}
	spw_read_unlock();
	tap_is(wrong, 0, "1,000 soft references, aligned to 16");
	spw_read_lock();
	for (unsigned i = 0; i < 1000; i++) {
		const unsigned char *at = spw_soft_read(c, soft[i]);

		wrong += !at || at[0] != (unsigned char)i ||
			 at[99 + i % 50] != (unsigned char)i;
	}
	spw_read_unlock();
	tap_is(wrong, 0, "and all are what was written");
	spw_soft_free(c, soft[3]);
	spw_read_lock();
	tap_ok(!spw_soft_read(c, soft[3]), "one that was freed is gone");
	tap_ok(!spw_soft_read(c, 0), "none is none");
	old = soft[3];
	tap_is(spw_soft_alloc(c, 10, &soft[3], &fill), 0, "another is made");
	tap_ok(!spw_soft_read(c, old) && spw_soft_read(c, soft[3]),
	       "and is not taken for it");
	spw_read_unlock();
	spw_cache_shrink(c, UINT64_MAX);
	spw_read_lock();
	for (unsigned i = 0; i < 1000; i++)
		there += spw_soft_read(c, soft[i]) != NULL;
	spw_read_unlock();
	tap_is(there, 0, "after everything was evicted all are empty");
	for (unsigned i = 0; i < 1000; i++)
		spw_soft_free(c, soft[i]);
	spw_soft_free(c, 0);
	tap_is(spw_cache_shrink(c, 0), 0, "a shrink of nothing gives nothing");
	spw_cache_destroy(c);
}

static void
pressure(void)
{
	struct spw_cache *c = make("pressed", 0);
	static char value[1000];
	uint64_t before, after, limit, start;
	struct spw_cache_stats s;
	char text[64];
	uint64_t got;

	for (unsigned i = 0; i < 60000; i++)
		spw_cache_put(c, &i, sizeof i, value, sizeof value, NULL);
	before = stats_of(c).segment_bytes;
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
	tap_ok(stock_resident() <= limit + 4 * MIB,
	       "and kept by who goes on putting");
	spw_configure("limit:none");
	after = stats_of(c).segment_bytes;
	start = clock_now_ns();
	for (unsigned i = 0; clock_now_ns() - start < 10 * CLOCK_S &&
			     stats_of(c).segment_bytes < after + 40 * MIB;
	     i++)
		spw_cache_put(c, &i, sizeof i, value, sizeof value, NULL);
	s = stats_of(c);
	tap_ok(s.segment_bytes >= after + 40 * MIB,
	       "without it the cache grows again: %llu MiB",
	       (unsigned long long)(s.segment_bytes >> 20));
	tap_is(spw_reclaim(&got, NULL), 0, "asked for all");
	tap_is(stats_of(c).segment_bytes, 0, "it gives all");
	spw_cache_destroy(c);
}

static void
forked(void)
{
	struct spw_cache *c = make("forked", 0);
	int status = 0;
	pid_t pid;

	put_text(c, "k", "parent");
	pid = fork();
	if (pid == 0) {
		const char *text = text_of(c, "k");
		bool good = text && strcmp(text, "parent") == 0;

		put_text(c, "k", "child");
		text = text_of(c, "k");
		good = good && text && strcmp(text, "child") == 0;
		good = good && spw_cache_shrink(c, UINT64_MAX) > 0;
		_exit(good ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	tap_is(status, 0, "a child has the cache, and gives it back");
	tap_is_text(text_of(c, "k"), "parent", "and the parent has its own");
	spw_cache_destroy(c);
}

static void
pinned_at_destroy(void)
{
	struct spw_cache *c = make("leaving", 0);
	struct spw_ref ref;

	put_text(c, "k", "stays");
	spw_cache_get(c, "k", 1, &ref);
	spw_cache_destroy(c);
	tap_is_text(ref.value, "stays", "a ref outlives its cache");
	spw_ref_put(&ref);
	tap_ok(!ref.held, "and can be put afterwards");
}

/* More than one batch of segments: each value has one of its own. */
static void
clears_all(void)
{
	struct spw_cache *c = make("cleared", 0);
	char *value = calloc(1, 270000);
	uint64_t start;

	for (unsigned i = 0; i < 600; i++)
		spw_cache_put(c, &i, sizeof i, value, 270000, NULL);
	tap_ok(stats_of(c).segments >= 600 &&
		       stats_of(c).segment_bytes <= 600 * 330000,
	       "600 segments, charged for what is in them: %llu",
	       (unsigned long long)stats_of(c).segment_bytes);
	spw_cache_clear(c);
	start = clock_now_ns();
	while (stats_of(c).segments && clock_now_ns() - start < 5 * CLOCK_S)
		torture_pause(1000);
	tap_is(stats_of(c).segments, 0, "a clear gives all of them back");
	tap_is(stats_of(c).entries, 0, "and the books are even");
	free(value);
	spw_cache_destroy(c);
}

static void
handles_are_whole(void)
{
	struct spw_cache *c = make("handles", 0);
	unsigned seen = 0;
	spw_soft_t first, soft;
	void *fill;

	spw_read_lock();
	spw_soft_alloc(c, 8, &first, &fill);
	spw_read_unlock();
	spw_soft_free(c, first);
	for (unsigned i = 0; i < 70000; i++) {
		spw_read_lock();
		spw_soft_alloc(c, 8, &soft, &fill);
		seen += spw_soft_read(c, first) != NULL;
		spw_read_unlock();
		spw_soft_free(c, soft);
	}
	tap_is(seen, 0,
	       "a freed handle is empty, how often its number is "
	       "given after it");
	spw_cache_destroy(c);
}

static void
reservations_are_capped(void)
{
	struct spw_cache *c = make("reserved", 16 * MIB);
	static struct spw_reservation r[64];
	unsigned n = 0;

	while (n < 64 &&
	       spw_cache_reserve(c, &n, sizeof n, 1 * MIB, NULL, &r[n]) == 0)
		n++;
	tap_ok(n >= 1 && n <= 8, "%u MiB of 16 can be reserved", n);
	while (n)
		spw_cache_abort(&r[--n]);
	tap_is(spw_cache_reserve(c, "k", 1, 1 * MIB, NULL, &r[0]), 0,
	       "and again when they were aborted");
	spw_cache_abort(&r[0]);
	tap_is(stats_of(c).entries, 0, "none of which is an entry");
	spw_cache_destroy(c);
}

#if SPW_ASSERT_LEVEL >= 2
/* Every allocation fails now and then, and then works again. */
static void
faults(void)
{
	static const char *const sites[] = {
		"cache_create", "segment_window",   "segment_take",
		"cache_index",  "cache_index_grow", "shrinker_register",
		"cache_get",    "soft_table",       "soft_commit",
	};
	struct spw_cache_options o = { .size = sizeof o, .name = "faulty" };
	unsigned wrong = 0, failed = 0;

	for (unsigned i = 0; i < sizeof sites / sizeof sites[0]; i++) {
		struct spw_cache *c = NULL;

		fault_set(sites[i], 2, 7 + i);
		for (unsigned turn = 0; turn < 20 && !c; turn++)
			failed += spw_cache_create(&c, &o) != 0;
		if (!c) {
			wrong++;
			continue;
		}
		for (unsigned k = 0; k < 30000; k++) {
			char value[300] = { 0 };
			struct spw_ref ref;
			spw_soft_t soft;
			void *fill;
			int error = spw_cache_put(c, &k, sizeof k, value,
						  sizeof value, NULL);

			wrong += error && error != -ENOMEM;
			failed += error != 0;
			if (k % 64)
				continue;
			error = spw_cache_get(c, &k, sizeof k, &ref);
			wrong += error && error != -ENOENT && error != -ENOMEM;
			spw_ref_put(&ref);
			spw_read_lock();
			error = spw_soft_alloc(c, 50, &soft, &fill);
			spw_read_unlock();
			wrong += error && error != -ENOMEM;
			spw_soft_free(c, soft);
		}
		fault_set(NULL, 0, 0);
		wrong += put_text(c, "after", "wards") != 0;
		spw_cache_destroy(c);
	}
	tap_is(wrong, 0, "whatever fails is said, and nothing is broken");
	tap_ok(failed > 0, "%u times something failed", failed);
}
#else
static void
faults(void)
{
	tap_skip(2, "no fault injection in this build");
}
#endif

int
main(void)
{
	stock_alone("soft:8M,hard:4M");
	puts_and_looks();
	any_bytes();
	wrong_use();
	refs_and_reservations();
	pins_are_capped();
	expiry();
	many();
	stays_hot();
	softs();
	pressure();
	forked();
	pinned_at_destroy();
	clears_all();
	handles_are_whole();
	reservations_are_capped();
	faults();
	return tap_done();
}
