/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A cache that has all the memory it wants loses nothing: a miss is a bug.
 *
 * Nothing is limited, shrunk or cleared here, and no allocation fails. What
 * happens all the same: keys are replaced by several writers at a time, waves
 * of others come and go, so that the index grows and is trimmed, chains fold,
 * segments that are mostly dead are merged, and it forks.
 *
 *  - a key that was put and is never removed is found by every look;
 *  - so is one that its only writer has put, and not one that it has removed;
 *  - a soft reference that was not freed is there;
 *  - a forked child finds all that, too;
 *  - and what is found is the last put or a later one (claims.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <spillway/spillway.h>

#include "base/clock.h"
#include "base/rcu.h"
#include "cache/cache.h"
#include "tests/tap.h"
#include "tests/torture/claims.h"
#include "tests/torture/torture.h"
#include "tests/unit/stock.h"

#define WRITERS 3u
#define CHILD WRITERS
#define KEPT_KEYS 600u
#define WAVE_KEYS 1000u /* of each writer, which alone has them */
#define SOFTS 300u
#define WAVE_NS (1 * CLOCK_S) /* at the longest */
#define TRIM_NS (200 * CLOCK_US)

static struct spw_cache *cache;
static _Atomic bool ebb; /* what waves brought is removed */
static _Atomic uint64_t stored, removes, hits, misses, waves, trims, forks;
static _Atomic uint64_t softs_read;

static void
put(struct dice *dice, uint32_t writer, uint64_t key)
{
	static __thread uint64_t buffer[CLAIMS_BYTES_MAX / 8];
	struct claims_value v = {
		.key = key,
		.bytes = claims_size(dice, key < KEPT_KEYS),
		.begin = claims_begin(),
		.writer = writer,
	};
	struct spw_reservation r;
	char name[64];
	size_t name_bytes = claims_name(name, key);
	int error;

	if (dice_below(dice, 8)) {
		claims_fill(buffer, &v);
		error = spw_cache_put(cache, name, name_bytes, buffer, v.bytes,
				      NULL);
	} else {
		error = spw_cache_reserve(cache, name, name_bytes, v.bytes,
					  NULL, &r);
		if (!error && dice_below(dice, 4) == 0) {
			spw_cache_abort(&r);
			return;
		}
		if (!error) {
			claims_fill(r.value, &v);
			error = spw_cache_commit(&r);
		}
	}
	torture_check(!error, "put: %s", spw_strerror(error));
	claims_end(key, writer, v.begin);
	atomic_fetch_add(&stored, 1);
}

/* Whether it is there. */
static bool
look(struct dice *dice, uint64_t key)
{
	char name[64];
	size_t name_bytes = claims_name(name, key), bytes;
	struct claims_before before;
	struct spw_ref ref = { 0 };
	const void *value;

	claims_before(&before, key);
	spw_read_lock();
	if (dice_below(dice, 16)) {
		value = spw_cache_peek(cache, name, name_bytes, &bytes);
	} else {
		spw_cache_get(cache, name, name_bytes, &ref);
		value = ref.value;
		bytes = ref.value_bytes;
	}
	if (value)
		claims_judge(&before, value, bytes);
	else
		torture_check(key >= KEPT_KEYS || !claims_was_written(&before),
			      "key %llu is lost", (unsigned long long)key);
	spw_read_unlock();
	spw_ref_put(&ref);
	atomic_fetch_add(value ? &hits : &misses, 1);
	return value != NULL;
}

static uint64_t
pick_key(struct dice *dice)
{
	return dice_below(dice, KEPT_KEYS);
}

/* One of the writer's own keys comes or goes. */
static void
roll_wave(struct dice *dice, uint32_t writer, bool *there)
{
	uint64_t i = dice_below(dice, WAVE_KEYS);
	uint64_t key = KEPT_KEYS + writer * WAVE_KEYS + i, begin;
	bool found = look(dice, key);
	size_t name_bytes;
	char name[64];
	int error;

	torture_check(found == there[i], "key %llu is %s",
		      (unsigned long long)key,
		      found ? "there, though removed" : "lost");
	if (!atomic_load(&ebb)) {
		put(dice, writer, key);
		there[i] = look(dice, key);
		return;
	}
	name_bytes = claims_name(name, key);
	begin = claims_begin();
	error = spw_cache_remove(cache, name, name_bytes);
	torture_check((error == 0) == there[i],
		      "remove of key %llu, which is %s: %s",
		      (unsigned long long)key, there[i] ? "there" : "not there",
		      spw_strerror(error));
	claims_end(key, writer, begin);
	there[i] = false;
	atomic_fetch_add(&removes, 1);
	torture_check(!look(dice, key), "key %llu is there, just removed",
		      (unsigned long long)key);
}

static void
writer(struct torture_thread *self)
{
	bool *there = calloc(WAVE_KEYS, sizeof *there);
	struct dice *dice = &self->dice;

	while (!torture_over()) {
		uint64_t key = pick_key(dice);

		if (dice_below(dice, 4) == 0) {
			put(dice, self->which, key);
			look(dice, key);
		} else {
			roll_wave(dice, self->which, there);
		}
	}
	free(there);
}

static void
reader(struct torture_thread *self)
{
	struct dice *dice = &self->dice;

	while (!torture_over())
		look(dice,
		     dice_below(dice, 4) ?
			     pick_key(dice) :
			     KEPT_KEYS + dice_below(dice, WRITERS * WAVE_KEYS));
}

static void
soft_user(struct torture_thread *self)
{
	static spw_soft_t softs[SOFTS];
	struct dice *dice = &self->dice;

	while (!torture_over()) {
		uint64_t i = dice_below(dice, SOFTS);
		const struct claims_value *value = NULL;
		struct claims_value v = {
			.key = i,
			.bytes = sizeof v + 8 * dice_below(dice, 400),
		};
		void *to;

		spw_read_lock();
		if (softs[i]) {
			value = spw_soft_read(cache, softs[i]);
			torture_check(value, "a soft reference is lost");
			if (value)
				claims_is_whole(value, value->bytes, i);
			atomic_fetch_add(&softs_read, 1);
		}
		spw_read_unlock();
		if (softs[i] && dice_below(dice, 4))
			continue;
		spw_soft_free(cache, softs[i]);
		spw_read_lock();
		if (spw_soft_alloc(cache, v.bytes, &softs[i], &to) == 0)
			claims_fill(to, &v);
		else
			torture_check(false, "no soft reference is to be had");
		spw_read_unlock();
	}
	for (unsigned i = 0; i < SOFTS; i++)
		spw_soft_free(cache, softs[i]);
}

/* What an eviction does about the index, and nothing else of it. On the
 * reclaimer. */
static void
trim(struct job *job)
{
	uint32_t buckets;

	(void)job;
	if (!index_is_loose(&cache->index))
		return;
	writer_enter();
	index_trim(&cache->index, clock_now_ns() + TRIM_NS);
	writer_leave();
	buckets = index_buckets(atomic_load(&cache->index.table));
	segment_grace();
	index_purge(&cache->index, buckets);
	atomic_fetch_add(&trims, 1);
}

static void
moon(struct torture_thread *self)
{
	static struct job job = { .run = trim };
	uint64_t turned_ns = clock_now_ns();

	while (!torture_over()) {
		uint64_t entries = atomic_load(&cache->index.entries);
		bool low = atomic_load(&ebb);

		if ((low ? entries < KEPT_KEYS * 3 / 2 :
			   entries > KEPT_KEYS + WAVE_KEYS * WRITERS * 2 / 3) ||
		    clock_now_ns() - turned_ns > WAVE_NS) {
			atomic_store(&ebb, !low);
			atomic_fetch_add(&waves, 1);
			turned_ns = clock_now_ns();
		}
		jobs_post(&job);
		torture_pause(dice_below(&self->dice, 2000));
	}
	jobs_remove(&job);
}

#ifndef RCU_SEEN /* under TSan a child may not have threads */
static int
child(struct dice *dice)
{
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t key = pick_key(dice);

		if (i % 4 == 0)
			put(dice, CHILD, key);
		look(dice, key);
	}
	return torture_broken() ? 1 : 0;
}

static void
forker(struct torture_thread *self)
{
	torture_fork(&self->dice, child, &forks);
}
#endif

/* After all threads have ended. */
static void
look_at_all(void)
{
	struct dice dice = torture_dice(99);

	for (uint64_t key = 0; key < KEPT_KEYS; key++)
		look(&dice, key);
}

int
main(int argc, char **argv)
{
	struct spw_cache_options options = { .size = sizeof options,
					     .name = "kept" };
	struct spw_cache_stats s = { .size = sizeof s };

	(void)argc;
	torture_begin(argv, false);
	stock_alone("soft:8M,hard:4M");
	if (spw_cache_create(&cache, &options) != 0)
		tap_bail_out("cannot create a cache");
	torture_start(WRITERS, writer, NULL); /* these are 0 to WRITERS - 1 */
	torture_start(2, reader, NULL);
	torture_start(1, soft_user, NULL);
	torture_start(1, moon, NULL);
#ifndef RCU_SEEN
	torture_start(1, forker, NULL);
#endif
	torture_join();
	look_at_all();
	spw_cache_stats(cache, &s);
	tap_note("%llu puts, %llu removes, %llu hits, %llu misses, %llu soft "
		 "reads, %llu forks",
		 (unsigned long long)stored, (unsigned long long)removes,
		 (unsigned long long)hits, (unsigned long long)misses,
		 (unsigned long long)softs_read, (unsigned long long)forks);
	tap_note("%llu waves, %llu trims, %llu resizes; merged %llu, released "
		 "%llu, recycled %llu of %llu bytes; %u generations",
		 (unsigned long long)waves, (unsigned long long)trims,
		 (unsigned long long)(atomic_load(&cache->index.table) >> 32),
		 (unsigned long long)s.merged_bytes,
		 (unsigned long long)s.released_bytes,
		 (unsigned long long)s.recycled_bytes,
		 (unsigned long long)s.segment_bytes, SLOT_GENERATION_MAX);
	tap_is(torture_broken(), 0, "nothing is lost, and nothing comes back");
	tap_is(s.evicted_entries, 0, "nor was anything evicted");
	tap_ok(stored && hits, "of what was put and found");
	if (removes && waves && trims)
		tap_ok(true, "over waves that came and went");
	else
		tap_skip(1, "too slow here for a wave to come and go");
	spw_cache_destroy(cache);
	return tap_done();
}
