/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Everything a cache does, at once: puts, looks, refs, reservations, removes,
 * expiry, soft references, merges, drops, clears, limits, forks, index
 * resizes, and caches that come and go beside it.
 *
 *  - a value is whole and its key's own, and of the last put that had returned
 *    or a later one, never one that was removed, cleared or has expired, with
 *    several writers of one key (claims.h);
 *  - a pinned value stays as it is, over all that, and its cache's end;
 *  - at the end every segment is back.
 *
 * A build with generations of 2 bits (cache_wrap) makes them come round all
 * the time. What is evicted may always be missing: cache_kept.c is the test of
 * what must not be.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <spillway/spillway.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/rcu.h"
#include "cache/cache.h"
#include "tests/tap.h"
#include "tests/torture/claims.h"
#include "tests/torture/torture.h"
#include "tests/unit/stock.h"

#define WRITERS 4u
#define CHILD WRITERS /* the writer that a forked child is */
#define KEYS 12000u
#define HOT_KEYS 300u /* which everybody wants: they survive merges */
#define SOFTS 500
#define HELD 6 /* refs that a reader keeps for a while */
#define LODGER_KEYS 400u
#define MIB (1ull << 20)

static struct spw_cache *cache;
static _Atomic uint64_t stored, hits, misses, removes, refs, shrinks, forks;
static _Atomic uint64_t commits, softs_read, softs_gone, fails, clears, aged;
static _Atomic uint64_t lodgers, lodged;

static uint64_t
pick_key(struct dice *dice)
{
	return dice_below(dice, 3) ? dice_below(dice, HOT_KEYS) * 29 % KEYS :
				     dice_below(dice, KEYS);
}

static bool
may_lack_memory(int error)
{
	return error == -ENOMEM && fault_count();
}

static int
put(struct dice *dice, struct claims_value *v)
{
	static __thread uint64_t buffer[CLAIMS_BYTES_MAX / 8];
	struct spw_put_options options = {
		.size = sizeof options,
		.ttl_ns = v->ttl_ns,
		.cost_ns = dice_below(dice, 4) ? 0 : 20 * CLOCK_MS,
	};
	struct spw_reservation r;
	size_t name_bytes;
	char name[64];
	int error;

	name_bytes = claims_name(name, v->key);
	if (dice_below(dice, 4)) {
		claims_fill(buffer, v);
		return spw_cache_put(cache, name, name_bytes, buffer, v->bytes,
				     &options);
	}
	error = spw_cache_reserve(cache, name, name_bytes, v->bytes, &options,
				  &r);
	if (error)
		return error;
	if (dice_below(dice, 8) == 0)
		torture_pause(dice_below(dice, 1000));
	if (dice_below(dice, 8) == 0) {
		spw_cache_abort(&r);
		return -ECANCELED;
	}
	claims_fill(r.value, v);
	atomic_fetch_add(&commits, 1);
	return spw_cache_commit(&r);
}

static void
put_one(struct dice *dice, uint32_t writer, uint64_t key)
{
	struct claims_value v = {
		.key = key,
		.bytes = claims_size(dice, true),
		.begin = claims_begin(),
		.ttl_ns = dice_below(dice, 10) ? 0 : 100 * CLOCK_MS,
		.writer = writer,
	};
	int error = put(dice, &v);

	torture_check(!error || error == -ECANCELED || may_lack_memory(error),
		      "put: %s", spw_strerror(error));
	atomic_fetch_add(error == -ENOMEM ? &fails : &stored, 1);
	if (!error)
		claims_end(key, writer, v.begin);
}

static void
remove_one(uint32_t writer, uint64_t key)
{
	char name[64];
	size_t name_bytes = claims_name(name, key);
	uint64_t begin = claims_begin();

	spw_cache_remove(cache, name, name_bytes);
	claims_end(key, writer, begin);
	atomic_fetch_add(&removes, 1);
}

static void
look(uint64_t key)
{
	char name[64];
	size_t name_bytes = claims_name(name, key), bytes;
	struct claims_before before;
	const void *value;

	claims_before(&before, key);
	spw_read_lock();
	value = spw_cache_peek(cache, name, name_bytes, &bytes);
	if (value)
		claims_judge(&before, value, bytes);
	spw_read_unlock();
	atomic_fetch_add(value ? &hits : &misses, 1);
}

/* The same, of some keys at once. */
static void
look_at_many(struct dice *dice)
{
	enum { SOME = 40 };
	struct claims_before before[SOME];
	struct spw_cache_look looks[SOME];
	char names[SOME][64];
	size_t found = 0, hit;

	for (unsigned i = 0; i < SOME; i++) {
		uint64_t one = pick_key(dice);

		looks[i].key = names[i];
		looks[i].key_bytes = claims_name(names[i], one);
		claims_before(&before[i], one);
	}
	spw_read_lock();
	hit = spw_cache_peek_many(cache, looks, SOME);
	for (unsigned i = 0; i < SOME; i++) {
		if (!looks[i].value)
			continue;
		claims_judge(&before[i], looks[i].value, looks[i].value_bytes);
		found++;
	}
	spw_read_unlock();
	torture_check(hit == found, "%zu of %zu looks hit", hit, found);
	atomic_fetch_add(&hits, found);
	atomic_fetch_add(&misses, SOME - found);
}

/* The same through a ref: false, it is empty. */
static bool
look_long(uint64_t key, struct spw_ref *ref)
{
	char name[64];
	size_t name_bytes = claims_name(name, key);
	struct claims_before before;
	int error;

	claims_before(&before, key);
	error = spw_cache_get(cache, name, name_bytes, ref);
	if (error) {
		torture_check(error == -ENOENT || may_lack_memory(error),
			      "spw_cache_get: %s", spw_strerror(error));
		return false;
	}
	claims_judge(&before, ref->value, ref->value_bytes);
	atomic_fetch_add(&refs, 1);
	return true;
}

static void
end_ref(struct spw_ref *ref, uint64_t key)
{
	if (!ref->held)
		return;
	claims_is_whole(ref->value, ref->value_bytes, key);
	spw_ref_put(ref);
	torture_check(!ref->held, "a ref that was put holds something");
}

static void
writer(struct torture_thread *self)
{
	struct dice *dice = &self->dice;

	while (!torture_over()) {
		uint64_t key = pick_key(dice), odds = dice_below(dice, 20);
		struct spw_ref ref;

		if (odds < 10)
			put_one(dice, self->which, key);
		else if (odds < 12)
			remove_one(self->which, key);
		if (odds & 1)
			look(key);
		else if (look_long(key, &ref))
			end_ref(&ref, key);
	}
}

static void
reader(struct torture_thread *self)
{
	struct dice *dice = &self->dice;
	struct spw_ref held[HELD] = { 0 };
	uint64_t keys[HELD] = { 0 };

	while (!torture_over()) {
		uint64_t key = pick_key(dice), i = dice_below(dice, HELD * 40);

		if (i >= HELD) {
			if (i % 16)
				look(key);
			else
				look_at_many(dice);
			continue;
		}
		/* What was pinned some hundred looks ago. */
		end_ref(&held[i], keys[i]);
		keys[i] = key;
		look_long(key, &held[i]);
		if (dice_below(dice, 16) == 0)
			torture_pause(dice_below(dice, 3000));
	}
	for (unsigned i = 0; i < HELD; i++)
		end_ref(&held[i], keys[i]);
}

static void
soft_user(struct torture_thread *self)
{
	static spw_soft_t softs[SOFTS];
	struct dice *dice = &self->dice;

	while (!torture_over()) {
		uint64_t i = dice_below(dice, SOFTS);
		const struct claims_value *value;

		spw_read_lock();
		value = softs[i] ? spw_soft_read(cache, softs[i]) : NULL;
		if (value) {
			torture_check((uintptr_t)value % 16 == 0,
				      "a soft reference is not aligned");
			claims_is_whole(value, value->bytes, i);
			atomic_fetch_add(&softs_read, 1);
		}
		spw_read_unlock();
		if (!value || dice_below(dice, 16) == 0) {
			struct claims_value v = {
				.key = i,
				.bytes = sizeof v + 8 * dice_below(dice, 400),
			};
			void *to;
			int error;

			atomic_fetch_add(&softs_gone, softs[i] != 0);
			spw_soft_free(cache, softs[i]);
			spw_read_lock();
			error = spw_soft_alloc(cache, v.bytes, &softs[i], &to);
			if (!error)
				claims_fill(to, &v);
			spw_read_unlock();
			torture_check(!error || may_lack_memory(error),
				      "spw_soft_alloc: %s",
				      spw_strerror(error));
		}
	}
	for (unsigned i = 0; i < SOFTS; i++)
		spw_soft_free(cache, softs[i]);
}

/* A cache that comes and goes, with pins out. */
static void
lodger(struct torture_thread *self)
{
	struct spw_cache_options options = { .size = sizeof options,
					     .name = "lodger" };
	static uint64_t buffer[CLAIMS_BYTES_MAX / 8];
	struct dice *dice = &self->dice;
	struct spw_ref held[HELD];
	uint64_t keys[HELD];

	while (!torture_over()) {
		struct spw_cache *own;
		int error = spw_cache_create(&own, &options);

		torture_check(!error || may_lack_memory(error),
			      "spw_cache_create: %s", spw_strerror(error));
		if (error)
			continue;
		memset(held, 0, sizeof held);
		for (uint32_t i = 0; i < LODGER_KEYS; i++) {
			struct claims_value v = {
				.key = i,
				.bytes = claims_size(dice, true),
			};

			claims_fill(buffer, &v);
			spw_cache_put(own, &i, sizeof i, buffer, v.bytes, NULL);
		}
		for (unsigned i = 0; i < HELD; i++) {
			uint32_t key = (uint32_t)dice_below(dice, LODGER_KEYS);

			keys[i] = key;
			error = spw_cache_get(own, &key, sizeof key, &held[i]);
			if (!error)
				atomic_fetch_add(&lodged, 1);
		}
		if (dice_below(dice, 2))
			spw_cache_shrink(own, UINT64_MAX);
		spw_cache_destroy(own);
		torture_pause(dice_below(dice, 5000));
		for (unsigned i = 0; i < HELD; i++)
			end_ref(&held[i], keys[i]);
		atomic_fetch_add(&lodgers, 1);
	}
}

static void
limit_to(uint64_t bytes)
{
	char text[64];

	snprintf(text, sizeof text, "limit:%llu", (unsigned long long)bytes);
	spw_configure(text);
}

static void
shrinker(struct torture_thread *self)
{
	struct spw_reclaim_options old = {
		.size = sizeof old,
		.target_bytes = 16 * MIB,
		.timeout_ns = CLOCK_S,
		.older_than_ns = 1,
	};
	struct dice *dice = &self->dice;
	uint64_t begin, got;

	while (!torture_over()) {
		switch (dice_below(dice, 32)) {
		case 0:
			begin = claims_begin();
			spw_cache_clear(cache);
			claims_cleared(begin);
			atomic_fetch_add(&clears, 1);
			break;
		case 1:
			spw_cache_shrink(cache, UINT64_MAX);
			break;
		case 2:
		case 3:
			limit_to(stock_resident() + dice_below(dice, 48 * MIB));
			break;
		case 4:
		case 5:
			spw_configure("limit:none");
			break;
		case 6:
			spw_reclaim(&got, &old);
			atomic_fetch_add(&aged, 1);
			break;
		default:
			spw_cache_shrink(cache, 1 + dice_below(dice, 8 * MIB));
		}
		atomic_fetch_add(&shrinks, 1);
		torture_pause(dice_below(dice, 4000));
	}
	spw_configure("limit:none");
}

#ifndef RCU_SEEN /* under TSan a child may not have threads */
/* What a child finds is whole, and it can go on with it. */
static int
child(struct dice *dice)
{
	for (unsigned i = 0; i < 300; i++) {
		uint64_t key = pick_key(dice);

		if (i % 3 == 0)
			put_one(dice, CHILD, key);
		if (i % 16 == 0)
			remove_one(CHILD, key);
		look(key);
	}
	spw_cache_shrink(cache, 8 * MIB);
	return torture_broken() ? 1 : 0;
}

static void
forker(struct torture_thread *self)
{
	torture_fork(&self->dice, child, &forks);
}
#endif

static uint64_t
taken_segments(void)
{
	uint64_t count = 0;

	for (uint32_t i = 1; i < segment_high(); i++)
		count += atomic_load(&segment_at(i)->state) != SEGMENT_FREE;
	return count;
}

static uint64_t
resizes(void)
{
	return atomic_load(&cache->index.table) >> 32;
}

static void
note_numbers(void)
{
	struct spw_cache_stats s = { .size = sizeof s };

	spw_cache_stats(cache, &s);
	tap_note("%llu puts (%llu committed, %llu failed), %llu removes, %llu "
		 "hits, %llu misses, %llu refs (%llu copied)",
		 (unsigned long long)stored, (unsigned long long)commits,
		 (unsigned long long)fails, (unsigned long long)removes,
		 (unsigned long long)hits, (unsigned long long)misses,
		 (unsigned long long)refs, (unsigned long long)s.copied_gets);
	tap_note("%llu shrinks, %llu clears, %llu by age, %llu forks, %llu "
		 "resizes, %llu lodgers with %llu refs, %llu faults",
		 (unsigned long long)shrinks, (unsigned long long)clears,
		 (unsigned long long)aged, (unsigned long long)forks,
		 (unsigned long long)resizes(), (unsigned long long)lodgers,
		 (unsigned long long)lodged, (unsigned long long)fault_count());
	tap_note("soft: %llu read, %llu gone; merged %llu, released %llu, "
		 "recycled %llu bytes; %u generations",
		 (unsigned long long)softs_read, (unsigned long long)softs_gone,
		 (unsigned long long)s.merged_bytes,
		 (unsigned long long)s.released_bytes,
		 (unsigned long long)s.recycled_bytes, SLOT_GENERATION_MAX);
}

static void
all_at_once(void)
{
#if SPW_ASSERT_LEVEL >= 2
	fault_set(NULL, 8, torture_seed());
#endif
	torture_start(WRITERS, writer, NULL); /* these are 0 to WRITERS - 1 */
	torture_start(2, reader, NULL);
	torture_start(1, soft_user, NULL);
	torture_start(1, lodger, NULL);
	torture_start(1, shrinker, NULL);
#ifdef RCU_SEEN
	atomic_store(&forks, 1);
#else
	torture_start(1, forker, NULL);
#endif
	torture_join();
	note_numbers();
	fault_set(NULL, 0, 0);
}

int
main(int argc, char **argv)
{
	struct spw_cache_options options = {
		.size = sizeof options,
		.name = "torture",
		.max_bytes = 64 * MIB,
	};
	struct spw_cache_stats s = { .size = sizeof s };

	(void)argc;
	torture_begin(argv, false);
	stock_alone("soft:8M,hard:4M");
	if (spw_cache_create(&cache, &options) != 0)
		tap_bail_out("cannot create a cache");
	all_at_once();
	tap_is(torture_broken(), 0, "every value is whole and the last put");
	tap_ok(hits && stored && removes && refs && forks && softs_read &&
		       lodgers && resizes(),
	       "and all of it has happened");
	spw_cache_clear(cache);
	spw_cache_shrink(cache, UINT64_MAX);
	spw_cache_stats(cache, &s);
	tap_is(s.entries, 0, "what was cleared has no entries");
	tap_is(s.pinned_segments, 0, "nor pins");
	tap_is(s.segment_bytes, 0, "nor segments");
	spw_cache_destroy(cache);
	tap_is(taken_segments(), 0, "every segment is back");
	return tap_done();
}
