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
#include "base/rcu.h"
#include "tests/tap.h"
#include "tests/torture/torture.h"
#include "tests/unit/shelf.h"
#include "tests/unit/stock.h"

static void
puts_and_looks(void)
{
	struct spw_cache *c = shelf_make("first", 0);
	struct spw_cache_stats s;

	tap_ok(!shelf_text(c, "a"), "an empty cache has nothing");
	tap_is(shelf_put(c, "a", "one"), 0, "a value is put");
	tap_is_text(shelf_text(c, "a"), "one", "and is there");
	tap_is(shelf_put(c, "a", "two"), 0, "another takes its place");
	tap_is_text(shelf_text(c, "a"), "two", "and is there instead");
	tap_is(spw_cache_remove(c, "a", 1), 0, "it is removed");
	tap_ok(!shelf_text(c, "a"), "and is not there any more");
	tap_is(spw_cache_remove(c, "a", 1), -ENOENT, "nor removed again");
	s = shelf_stats(c);
	tap_is(s.entries, 0, "no entry is left");
	tap_is(s.puts, 2, "two puts are counted");
	tap_is(s.hits, 2, "two hits");
	tap_is(s.misses, 2, "and two misses");
	spw_cache_destroy(c);
	spw_cache_destroy(NULL);
	tap_ok(true, "a cache is destroyed, and none as well");
}

/* Of all lengths, some of which are there: as one look at a time says. */
static void
many_at_once(void)
{
	enum { KEYS = 100, LENGTHS = 40 };
	struct spw_cache *c = shelf_make("many", 0);
	struct spw_cache_look looks[KEYS];
	char keys[KEYS][LENGTHS];
	unsigned wrong = 0, there = 0;

	for (unsigned i = 0; i < KEYS; i++) {
		memset(keys[i], (int)i, LENGTHS);
		looks[i] = (struct spw_cache_look){ .key = keys[i],
						    .key_bytes = i % LENGTHS };
		if (i % 3 && spw_cache_put(c, keys[i], i % LENGTHS, &i,
					   sizeof i, NULL) != 0)
			wrong++;
	}
	spw_read_lock();
	for (size_t count = 0; count <= KEYS; count += 9) {
		size_t hits = spw_cache_peek_many(c, looks, count), found = 0;

		for (size_t i = 0; i < count; i++) {
			struct spw_cache_look *l = &looks[i];
			size_t bytes = 0;

			wrong += l->value != spw_cache_peek(c, l->key,
							    l->key_bytes,
							    &bytes);
			wrong += l->value_bytes != bytes;
			found += l->value != NULL;
		}
		wrong += hits != found;
		there += found > 0;
	}
	spw_read_unlock();
	tap_ok(there > 5 && !wrong, "0 to 99 keys at once are found as one by "
				    "one");
	spw_cache_destroy(c);
}

static void
any_bytes(void)
{
	struct spw_cache *c = shelf_make("bytes", 0);
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
	c = shelf_make("right", 0);
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
	c = shelf_make("small", 1 * MIB);
	tap_is(spw_cache_reserve(c, "k", 1, 2 * MIB, NULL, &r), -E2BIG,
	       "a value over max_bytes");
	spw_cache_destroy(c);
}

static void
refs_and_reservations(void)
{
	struct spw_cache *c = shelf_make("refs", 0);
	struct spw_reservation r, other;
	struct spw_ref ref, second;

	tap_is(spw_cache_reserve(c, "k", 1, 4, NULL, &r), 0, "4 bytes");
	tap_ok(!shelf_text(c, "k"), "are not there before they are committed");
	memcpy(r.value, "new", 4);
	tap_is(spw_cache_commit(&r), 0, "they are committed");
	tap_is_text(shelf_text(c, "k"), "new", "then they are");
	tap_is(spw_cache_commit(&r), -EINVAL, "and not twice");
	spw_cache_reserve(c, "k", 1, 4, NULL, &other);
	spw_cache_abort(&other);
	tap_is_text(shelf_text(c, "k"), "new",
		    "what is aborted leaves no trace");
	tap_is(spw_cache_get(c, "k", 1, &ref), 0, "a ref");
	tap_is(shelf_stats(c).pinned_segments, 1, "pins a segment");
	shelf_put(c, "k", "newer");
	tap_is_text(ref.value, "new", "and sees what it got after a put");
	spw_cache_clear(c);
	tap_is_text(ref.value, "new", "after a clear");
	spw_cache_shrink(c, UINT64_MAX);
	tap_is_text(ref.value, "new", "and after everything was evicted");
	tap_ok(!shelf_text(c, "k"), "though nobody finds it any more");
	second = ref;
	spw_ref_put(&ref);
	tap_ok(!ref.held && !ref.value, "a ref that was put is empty");
	spw_ref_put(&ref);
	tap_is(shelf_stats(c).pinned_segments, 0, "and pins nothing");
	(void)second;
	spw_cache_reserve(c, "k", 1, 4, NULL, &r);
	spw_cache_clear(c);
	tap_is(spw_cache_commit(&r), 0, "what is committed after a clear");
	tap_ok(!shelf_text(c, "k"), "is as if it had been put before");
	spw_cache_destroy(c);
}

static void
pins_are_capped(void)
{
	struct spw_cache *c = shelf_make("pins", 0);
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
	s = shelf_stats(c);
	tap_is(wrong, 0, "64 values are got from 64 segments");
	tap_ok(s.pinned_segments <= 9 && s.copied_gets >= 50,
	       "few are pinned (%llu), the others copied (%llu)",
	       (unsigned long long)s.pinned_segments,
	       (unsigned long long)s.copied_gets);
	spw_cache_shrink(c, UINT64_MAX);
	s = shelf_stats(c);
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
	tap_is(shelf_stats(c).pinned_segments, 0, "until they are put");
	free(value);
	spw_cache_destroy(c);
}

static void
expiry(void)
{
	struct spw_cache *c = shelf_make("ttl", 0);
	struct spw_put_options o = { .size = sizeof o,
				     .ttl_ns = 150 * CLOCK_MS };

	spw_cache_put(c, "short", 5, "x", 2, &o);
	o.ttl_ns = 3600 * CLOCK_S;
	spw_cache_put(c, "long", 4, "x", 2, &o);
	tap_ok(shelf_text(c, "short") && shelf_text(c, "long"),
	       "what has not expired is there");
	torture_pause(300000);
	tap_ok(!shelf_text(c, "short"), "what has is not");
	tap_ok(shelf_text(c, "long"), "and what has an hour is");
	spw_cache_destroy(c);
}

static void
softs(void)
{
	struct spw_cache *c = shelf_make("soft", 0);
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

#ifdef RCU_SEEN
static void
forked(void)
{
	tap_skip(2, "under TSan a child may not have threads");
}
#else
static void
forked(void)
{
	struct spw_cache *c = shelf_make("forked", 0);
	int status = 0;
	pid_t pid;

	shelf_put(c, "k", "parent");
	pid = fork();
	if (pid == 0) {
		const char *text = shelf_text(c, "k");
		bool good = text && strcmp(text, "parent") == 0;

		shelf_put(c, "k", "child");
		text = shelf_text(c, "k");
		good = good && text && strcmp(text, "child") == 0;
		good = good && spw_cache_shrink(c, UINT64_MAX) > 0;
		_exit(good ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	tap_is(status, 0, "a child has the cache, and gives it back");
	tap_is_text(shelf_text(c, "k"), "parent", "and the parent has its own");
	spw_cache_destroy(c);
}
#endif

static void
pinned_at_destroy(void)
{
	struct spw_cache *c = shelf_make("leaving", 0);
	struct spw_ref ref;

	shelf_put(c, "k", "stays");
	spw_cache_get(c, "k", 1, &ref);
	spw_cache_destroy(c);
	tap_is_text(ref.value, "stays", "a ref outlives its cache");
	spw_ref_put(&ref);
	tap_ok(!ref.held, "and can be put afterwards");
}

static void
handles_are_whole(void)
{
	struct spw_cache *c = shelf_make("handles", 0);
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
	struct spw_cache *c = shelf_make("reserved", 16 * MIB);
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
	tap_is(shelf_stats(c).entries, 0, "none of which is an entry");
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
		wrong += shelf_put(c, "after", "wards") != 0;
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
	many_at_once();
	wrong_use();
	refs_and_reservations();
	pins_are_capped();
	expiry();
	softs();
	forked();
	pinned_at_destroy();
	handles_are_whole();
	reservations_are_capped();
	faults();
	return tap_done();
}
