/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Everything a cache does, at once: puts, looks, refs, reservations, removes,
 * expiry, soft references, merges, drops, clears, limits and forks.
 *
 * Each key has one writer, who numbers its versions; every value carries key,
 * version and length, and a pattern made of them over all its bytes:
 *  - a value is whole and its key's own;
 *  - its writer sees the last version that it put, or nothing; after a remove
 *    nothing;
 *  - others see no version older than the last that was complete before they
 *    looked (`floor`);
 *  - a pinned value stays as it is;
 *  - at the end every segment is back.
 *
 * A build with generations of 2 bits (cache_wrap) makes them come round all
 * the time.
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
#include "cache/segment.h"
#include "tests/tap.h"
#include "tests/torture/torture.h"
#include "tests/unit/stock.h"

#define WRITERS 3
#define KEYS 3000 /* of each writer */
#define SOFTS 500
#define MIB (1ull << 20)

struct value {
	uint64_t key, version, bytes;
	/* followed by a pattern */
};

static struct spw_cache *cache;
static _Atomic uint64_t floors[WRITERS * KEYS];
static _Atomic uint64_t stored, hits, misses, removes, refs, shrinks, forks;
static _Atomic uint64_t commits, softs_read, softs_gone, fails;

static uint64_t
pattern(uint64_t key, uint64_t version, uint64_t i)
{
	return (key * 0x9e3779b97f4a7c15u) ^ (version << 20) ^ i;
}

static void
fill(void *to, uint64_t key, uint64_t version, size_t bytes)
{
	struct value *v = to;
	uint64_t *at = (uint64_t *)(v + 1);

	*v = (struct value){ key, version, bytes };
	for (size_t i = 0; i < (bytes - sizeof *v) / 8; i++)
		at[i] = pattern(key, version, i);
}

/* 0 where it is broken. */
static uint64_t
check(const void *from, size_t bytes, uint64_t key)
{
	const struct value *v = from;
	const uint64_t *at = (const uint64_t *)(v + 1);

	if (bytes < sizeof *v || v->key != key || v->bytes != bytes) {
		torture_check(false,
			      "key %llu: %zu bytes, says key %llu version %llu "
			      "bytes %llu",
			      (unsigned long long)key, bytes,
			      (unsigned long long)v->key,
			      (unsigned long long)v->version,
			      (unsigned long long)v->bytes);
		return 0;
	}
	for (size_t i = 0; i < (bytes - sizeof *v) / 8; i++)
		if (at[i] != pattern(key, v->version, i)) {
			torture_check(false, "key %llu version %llu is torn",
				      (unsigned long long)key,
				      (unsigned long long)v->version);
			return 0;
		}
	return v->version;
}

/* Keys of 2 to 26 bytes. */
static size_t
name_key(char *text, size_t text_bytes, uint64_t key)
{
	return (size_t)snprintf(text, text_bytes, "%llu%.*s",
				(unsigned long long)key, (int)(key % 20),
				"abcdefghijklmnopqrstuvwxyz") +
	       1;
}

static size_t
value_size(struct dice *dice)
{
	uint64_t odds = dice_below(dice, 2000);

	if (odds == 0) /* segments of its own */
		return 24 + 8 * dice_below(dice, 300000);
	if (odds < 20)
		return 24 + 8 * dice_below(dice, 20000);
	return 24 + 8 * dice_below(dice, 200);
}

static int
put(struct dice *dice, uint64_t key, uint64_t version)
{
	static __thread uint64_t buffer[310000];
	struct spw_put_options options = {
		.size = sizeof options,
		.ttl_ns = dice_below(dice, 10) ? 0 : 200 * CLOCK_MS,
		.cost_ns = dice_below(dice, 4) ? 0 : 20 * CLOCK_MS,
	};
	struct spw_reservation r;
	size_t bytes = value_size(dice), name_bytes;
	char name[64];
	int error;

	name_bytes = name_key(name, sizeof name, key);
	if (dice_below(dice, 4)) {
		fill(buffer, key, version, bytes);
		return spw_cache_put(cache, name, name_bytes, buffer, bytes,
				     &options);
	}
	error = spw_cache_reserve(cache, name, name_bytes, bytes, &options, &r);
	if (error)
		return error;
	if (dice_below(dice, 8) == 0)
		torture_pause(dice_below(dice, 1000));
	if (dice_below(dice, 8) == 0) {
		spw_cache_abort(&r);
		return -ECANCELED;
	}
	fill(r.value, key, version, bytes);
	atomic_fetch_add(&commits, 1);
	return spw_cache_commit(&r);
}

/* The version that is there, 0: none. */
static uint64_t
look(uint64_t key)
{
	char name[64];
	size_t name_bytes = name_key(name, sizeof name, key), bytes;
	const void *value;
	uint64_t version = 0;

	spw_read_lock();
	value = spw_cache_peek(cache, name, name_bytes, &bytes);
	if (value)
		version = check(value, bytes, key);
	spw_read_unlock();
	atomic_fetch_add(value ? &hits : &misses, 1);
	return version;
}

/* The same through a ref that is held for a while. */
static uint64_t
look_long(struct dice *dice, uint64_t key)
{
	char name[64];
	size_t name_bytes = name_key(name, sizeof name, key);
	struct spw_ref ref;
	uint64_t version;
	int error = spw_cache_get(cache, name, name_bytes, &ref);

	if (error) {
		torture_check(error == -ENOENT ||
				      (error == -ENOMEM && fault_count()),
			      "spw_cache_get: %s", spw_strerror(error));
		return 0;
	}
	if (dice_below(dice, 16) == 0)
		torture_pause(dice_below(dice, 3000));
	version = check(ref.value, ref.value_bytes, key);
	spw_ref_put(&ref);
	torture_check(!ref.held, "a ref that was put holds something");
	atomic_fetch_add(&refs, 1);
	return version;
}

static void
writer(struct torture_thread *self)
{
	uint64_t *last = calloc(KEYS, sizeof *last);
	uint64_t *version = calloc(KEYS, sizeof *version);
	struct dice *dice = &self->dice;

	while (!torture_over()) {
		uint64_t mine = dice_below(dice, KEYS), seen, odds;
		uint64_t key = self->which * KEYS + mine;

		odds = dice_below(dice, 20);
		if (odds < 10) {
			int error = put(dice, key, ++version[mine]);

			torture_check(!error || error == -ECANCELED ||
					      (error == -ENOMEM &&
					       fault_count()),
				      "put: %s", spw_strerror(error));
			if (error == -ENOMEM)
				atomic_fetch_add(&fails, 1);
			if (!error) {
				last[mine] = version[mine];
				atomic_store(&floors[key], version[mine]);
				atomic_fetch_add(&stored, 1);
			}
		} else if (odds < 12) {
			char name[64];
			size_t bytes = name_key(name, sizeof name, key);

			spw_cache_remove(cache, name, bytes);
			last[mine] = 0;
			atomic_store(&floors[key], ++version[mine]);
			atomic_fetch_add(&removes, 1);
		}
		seen = odds & 1 ? look(key) : look_long(dice, key);
		torture_check(!seen || seen == last[mine],
			      "key %llu: version %llu is seen, %llu was put",
			      (unsigned long long)key, (unsigned long long)seen,
			      (unsigned long long)last[mine]);
	}
	free(last);
	free(version);
}

static void
reader(struct torture_thread *self)
{
	struct dice *dice = &self->dice;

	while (!torture_over()) {
		/* Some keys more often: they are to survive merges. */
		uint64_t key = dice_below(dice, 3) ?
				       dice_below(dice, 300) * 29 %
					       (WRITERS * KEYS) :
				       dice_below(dice, WRITERS * KEYS);
		uint64_t least = atomic_load(&floors[key]);
		uint64_t seen = dice_below(dice, 10) ? look(key) :
						       look_long(dice, key);

		torture_check(!seen || seen >= least,
			      "key %llu: version %llu is seen after %llu",
			      (unsigned long long)key, (unsigned long long)seen,
			      (unsigned long long)least);
	}
}

static void
soft_user(struct torture_thread *self)
{
	static spw_soft_t softs[SOFTS];
	struct dice *dice = &self->dice;

	while (!torture_over()) {
		uint64_t i = dice_below(dice, SOFTS);
		const void *value;

		spw_read_lock();
		value = softs[i] ? spw_soft_read(cache, softs[i]) : NULL;
		if (value) {
			const struct value *v = value;

			torture_check((uintptr_t)value % 16 == 0,
				      "a soft reference is not aligned");
			check(value, v->bytes, i);
			atomic_fetch_add(&softs_read, 1);
		}
		spw_read_unlock();
		if (!value || dice_below(dice, 16) == 0) {
			size_t bytes = 24 + 8 * dice_below(dice, 400);
			void *to;
			int error;

			atomic_fetch_add(&softs_gone, softs[i] != 0);
			spw_soft_free(cache, softs[i]);
			spw_read_lock();
			error = spw_soft_alloc(cache, bytes, &softs[i], &to);
			if (!error)
				fill(to, i, 7, bytes);
			spw_read_unlock();
			torture_check(
				!error || (error == -ENOMEM && fault_count()),
				"spw_soft_alloc: %s", spw_strerror(error));
		}
	}
	for (unsigned i = 0; i < SOFTS; i++)
		spw_soft_free(cache, softs[i]);
}

static void
shrinker(struct torture_thread *self)
{
	struct dice *dice = &self->dice;

	while (!torture_over()) {
		uint64_t limit;
		char text[64];

		switch (dice_below(dice, 32)) {
		case 0:
			spw_cache_clear(cache);
			break;
		case 1:
			spw_cache_shrink(cache, UINT64_MAX);
			break;
		case 2:
		case 3:
			limit = stock_resident() + dice_below(dice, 48 * MIB);
			snprintf(text, sizeof text, "limit:%llu",
				 (unsigned long long)limit);
			spw_configure(text);
			break;
		case 4:
		case 5:
			spw_configure("limit:none");
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
		uint64_t key = dice_below(dice, WRITERS * KEYS);

		if (i % 3 == 0) {
			int error = put(dice, key, 1ull << 40);

			if (error && error != -ECANCELED && !fault_count())
				return 2;
		}
		look(key);
	}
	spw_cache_shrink(cache, 8 * MIB);
	return torture_broken() ? 1 : 0;
}

static void
forker(struct torture_thread *self)
{
	struct dice *dice = &self->dice;

	while (!torture_over()) {
		pid_t pid = fork();
		int status = 0;

		if (pid == 0) {
			alarm(60);
			_exit(child(dice));
		}
		torture_check(pid > 0, "fork: %d", errno);
		if (pid > 0) {
			waitpid(pid, &status, 0);
			torture_check(status == 0, "a child ends with %x",
				      status);
			atomic_fetch_add(&forks, 1);
		}
		torture_pause(10000 + dice_below(dice, 30000));
	}
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

static void
note_numbers(void)
{
	struct spw_cache_stats s = { .size = sizeof s };

	spw_cache_stats(cache, &s);
	tap_note("%llu puts (%llu committed), %llu hits, %llu misses, %llu "
		 "removes, %llu refs, %llu forks, %llu shrinks",
		 (unsigned long long)stored, (unsigned long long)commits,
		 (unsigned long long)hits, (unsigned long long)misses,
		 (unsigned long long)removes, (unsigned long long)refs,
		 (unsigned long long)forks, (unsigned long long)shrinks);
	tap_note("soft: %llu read, %llu gone; merged %llu, released %llu, "
		 "recycled %llu bytes; %llu copied gets, %llu puts failed; %u "
		 "generations",
		 (unsigned long long)softs_read, (unsigned long long)softs_gone,
		 (unsigned long long)s.merged_bytes,
		 (unsigned long long)s.released_bytes,
		 (unsigned long long)s.recycled_bytes,
		 (unsigned long long)s.copied_gets, (unsigned long long)fails,
		 SLOT_GENERATION_MAX);
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
#if SPW_ASSERT_LEVEL >= 2
	fault_set(NULL, 100, torture_seed());
#endif
	torture_start(WRITERS, writer, NULL);
	torture_start(2, reader, NULL);
	torture_start(1, soft_user, NULL);
	torture_start(1, shrinker, NULL);
#ifdef RCU_SEEN
	atomic_store(&forks, 1);
#else
	torture_start(1, forker, NULL);
#endif
	torture_join();
	fault_set(NULL, 0, 0);
	note_numbers();
	tap_is(torture_broken(), 0, "every value is whole and the last put");
	tap_ok(hits > 0 && stored > 0 && removes > 0 && refs > 0 && forks > 0 &&
		       softs_read > 0,
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
