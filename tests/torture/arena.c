/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tagged arenas and plain memory, by threads that come and go, under the
 * interposer and under pressure.
 *
 * Checked of every object: its alignment, its contents (a pattern of its
 * address and size, to the last byte), and that each page it lies in holds
 * objects of this arena alone: `pages` counts objects and says whose. At the
 * end each arena is empty to the byte.
 *
 * Objects are passed on through `mailbox` and freed by any thread, by free(),
 * spw_free() or realloc(). Some arenas belong to one thread at a time, which
 * resets and destroys them while others make theirs.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <spillway/spillway.h>

#include "base/clock.h"
#include "tests/tap.h"
#include "tests/torture/torture.h"

#define ARENAS 6 /* and plain memory */
#define MAILBOX 512
#define OBJECT_MAX (96ul << 10)
#define LIMIT_BYTES (8ull << 20)
#define MIB (1ull << 20)
#define PAGE_SHIFT 12
#define PAGES (1u << 22) /* a power of two */

/* Before the pattern. `owner` 0: plain memory. */
struct object {
	uint64_t seed;
	uint32_t bytes;
	uint32_t owner;
	unsigned char pattern[];
};

/* A page: its number + 1, whose it is, how many objects lie in it. */
struct page {
	_Atomic uint64_t number;
	_Atomic uint64_t owner_count; /* owner << 32 | count */
};

static struct page pages[PAGES];
static struct spw_arena *arenas[ARENAS + 1];
static _Atomic(struct object *) mailbox[MAILBOX];
static _Atomic uint32_t owners_used = ARENAS + 1;
static _Atomic uint64_t made, freed, moved, refused, resets, destroyed, lives;

static struct page *
find_page(uint64_t number)
{
	uint64_t at = number * 0x9e3779b97f4a7c15ull >> 42;

	for (unsigned i = 0; i < PAGES; i++) {
		struct page *p = &pages[(at + i) % PAGES];
		uint64_t seen = 0;

		if (atomic_load(&p->number) == number + 1 ||
		    atomic_compare_exchange_strong(&p->number, &seen,
						   number + 1) ||
		    seen == number + 1)
			return p;
	}
	tap_bail_out("the table of pages is full");
}

/* Counts an object in or out of its pages. */
static void
tread(const struct object *o, size_t bytes, uint32_t owner, bool in)
{
	uint64_t first = (uintptr_t)o >> PAGE_SHIFT;
	uint64_t last = ((uintptr_t)o + bytes - 1) >> PAGE_SHIFT;

	for (uint64_t number = first; number <= last; number++) {
		struct page *p = find_page(number);
		uint64_t old = atomic_load(&p->owner_count), new;

		do {
			bool empty = !(uint32_t)old;

			torture_check(empty ? in : old >> 32 == owner,
				      "page %#llx of %llu has an object of %u",
				      (unsigned long long)number << PAGE_SHIFT,
				      (unsigned long long)(old >> 32), owner);
			new = in ? ((uint64_t)owner << 32) |
					      ((uint32_t)old + 1) :
				   old - 1;
		} while (!atomic_compare_exchange_weak(&p->owner_count, &old,
						       new));
	}
}

static unsigned char
pattern_of(const struct object *o, size_t i)
{
	return (unsigned char)((o->seed >> (i % 8 * 8)) + i);
}

static bool
is_whole(const struct object *o, size_t bytes)
{
	size_t body = bytes - sizeof *o;

	for (size_t i = 0; i < body; i++)
		if (o->pattern[i] != pattern_of(o, i))
			return false;
	return true;
}

static void
stamp(struct object *o, size_t bytes, uint32_t owner)
{
	o->bytes = (uint32_t)bytes;
	o->owner = owner;
	o->seed = (uintptr_t)o * 0x9e3779b97f4a7c15ull + bytes;
	for (size_t i = 0; i < bytes - sizeof *o; i++)
		o->pattern[i] = pattern_of(o, i);
}

static bool
is_zero(const void *memory, size_t bytes)
{
	const unsigned char *at = memory;

	return bytes == 0 || (at[0] == 0 && memcmp(at, at + 1, bytes - 1) == 0);
}

/* An object in an arena (NULL: plain), by one of the ways there are. */
static struct object *
make(struct spw_arena *arena, uint32_t owner, struct dice *dice)
{
	size_t bytes = sizeof(struct object) + dice_size(dice, OBJECT_MAX);
	size_t alignment = 16ul << dice_below(dice, 9);
	struct object *o;

	switch (dice_below(dice, 4)) {
	case 0:
		o = arena ? spw_arena_calloc(arena, 1, bytes) :
			    calloc(1, bytes);
		torture_check(!o || is_zero(o, bytes), "calloc is not zero");
		break;
	case 1:
		o = arena ? spw_arena_aligned_alloc(arena, alignment, bytes) :
			    aligned_alloc(alignment, bytes);
		torture_check((uintptr_t)o % alignment == 0,
			      "%p is not aligned to %zu", (void *)o, alignment);
		break;
	case 2:
		o = arena ? spw_arena_realloc(arena, NULL, bytes) :
			    realloc(NULL, bytes);
		break;
	default:
		o = arena ? spw_arena_malloc(arena, bytes) : malloc(bytes);
	}
	if (!o) {
		torture_check(errno == ENOMEM, "NULL with errno %d", errno);
		atomic_fetch_add(&refused, 1);
		return NULL;
	}
	tread(o, bytes, owner, true);
	stamp(o, bytes, owner);
	atomic_fetch_add(&made, 1);
	return o;
}

static void
check(const struct object *o)
{
	torture_check(is_whole(o, o->bytes), "%p of %u is broken",
		      (const void *)o, o->owner);
}

/* By a realloc, which keeps it in its arena; the result. */
static struct object *
resize(struct object *o, struct dice *dice)
{
	size_t old = o->bytes, kept;
	size_t bytes = sizeof *o + dice_size(dice, OBJECT_MAX);
	uint64_t seed = o->seed;
	uint32_t owner = o->owner;
	struct object *new;

	tread(o, old, owner, false);
	new = dice_below(dice, 2) && owner ?
		      spw_arena_realloc(owner <= ARENAS ? arenas[owner] : NULL,
					o, bytes) :
		      realloc(o, bytes);
	if (!new) {
		tread(o, old, owner, true);
		return o;
	}
	kept = old < bytes ? old : bytes;
	torture_check(new->seed == seed &&is_whole(new, kept),
		      "realloc from %zu to %zu loses bytes", old, bytes);
	tread(new, bytes, owner, true);
	stamp(new, bytes, owner);
	atomic_fetch_add(&moved, 1);
	return new;
}

static void
unmake(struct object *o, struct dice *dice)
{
	check(o);
	tread(o, o->bytes, o->owner, false);
	atomic_fetch_add(&freed, 1);
	if (dice_below(dice, 2))
		free(o);
	else
		spw_free(o);
}

static void
step(struct dice *dice)
{
	_Atomic(struct object *) *box = &mailbox[dice_below(dice, MAILBOX)];
	struct object *o = atomic_exchange(box, NULL);

	if (!o) {
		uint32_t owner = (uint32_t)dice_below(dice, ARENAS + 1);

		o = make(arenas[owner], owner, dice);
	} else if (dice_below(dice, 3) == 0) {
		check(o);
		o = resize(o, dice);
	} else {
		unmake(o, dice);
		o = NULL;
	}
	if (!o)
		return;
	o = atomic_exchange(box, o);
	if (o)
		unmake(o, dice);
}

static void
worker(struct torture_thread *self)
{
	while (!torture_over())
		step(&self->dice);
}

/* Threads that live for a few objects, whose caches end with them. */
static pthread_key_t late_key;

static void
allocate_late(void *value)
{
	struct dice dice = torture_dice((uintptr_t)value);

	for (int i = 0; i < 8; i++)
		step(&dice);
}

static void *
short_life(void *which)
{
	struct dice dice = torture_dice((uintptr_t)which);

	pthread_setspecific(late_key, which);
	for (uint64_t n = dice_below(&dice, 200); n; n--)
		step(&dice);
	atomic_fetch_add(&lives, 1);
	return NULL;
}

static void
mother(struct torture_thread *self)
{
	uintptr_t which = 1000 + self->which;

	while (!torture_over()) {
		pthread_t children[3];
		int n = 0;

		for (; n < 3; n++) {
			which += 64;
			if (pthread_create(&children[n], NULL, short_life,
					   (void *)which) != 0)
				break;
		}
		while (n--)
			pthread_join(children[n], NULL);
	}
}

/* An arena of its own: filled, reset, filled, destroyed. */
static void
owner(struct torture_thread *self)
{
	struct dice *dice = &self->dice;
	struct object *mine[32];

	while (!torture_over()) {
		uint32_t tag = atomic_fetch_add(&owners_used, 1);
		struct spw_arena_options options = {
			.size = sizeof options,
			.name = "short",
			.limit_bytes = dice_below(dice, 3) ? 0 : MIB,
		};
		struct spw_arena *arena;
		int error = spw_arena_create(&arena, &options);

		if (error)
			tap_bail_out("create: %s", spw_strerror(error));
		for (uint64_t round = dice_below(dice, 4);; round--) {
			unsigned n = 0;

			while (n < 32 && (mine[n] = make(arena, tag, dice)))
				n++;
			for (unsigned i = 0; i < n; i++) {
				check(mine[i]);
				if (dice_below(dice, 4) == 0) {
					unmake(mine[i], dice);
					continue;
				}
				tread(mine[i], mine[i]->bytes, tag, false);
				atomic_fetch_add(&freed, 1);
			}
			if (!round)
				break;
			spw_arena_reset(arena);
			atomic_fetch_add(&resets, 1);
		}
		spw_arena_destroy(arena);
		atomic_fetch_add(&destroyed, 1);
	}
}

/* Returns pages while they are reused. */
static void
presser(struct torture_thread *self)
{
	while (!torture_over()) {
		uint64_t got;
		int error = spw_reclaim(&got, NULL);

		torture_check(!error, "spw_reclaim: %s", spw_strerror(error));
		torture_pause(dice_below(&self->dice, 5000));
	}
}

static struct spw_arena_stats
stats_of(struct spw_arena *arena)
{
	struct spw_arena_stats s = { .size = sizeof s };

	if (spw_arena_stats(arena, &s) != 0)
		tap_bail_out("spw_arena_stats fails");
	return s;
}

/* Bytes are exact: active to the page, committed within the limit. */
static void
finish(struct dice *dice)
{
	uint64_t pages_left = 0, active = 0, committed = 0;
	bool within = true;

	for (int i = 1; i <= ARENAS; i++)
		within &= stats_of(arenas[i]).committed_bytes <= LIMIT_BYTES;
	tap_ok(within, "no arena passed its limit");
	for (int i = 0; i < MAILBOX; i++)
		if (mailbox[i])
			unmake(mailbox[i], dice);
	for (unsigned i = 0; i < PAGES; i++)
		pages_left += (uint32_t)pages[i].owner_count != 0;
	tap_is(pages_left, 0, "no page has an object left");
	for (int i = 1; i <= ARENAS; i++) {
		spw_arena_reset(arenas[i]);
		active += stats_of(arenas[i]).active_bytes;
		committed += stats_of(arenas[i]).committed_bytes;
	}
	tap_is(active, 0, "no byte of an arena is active after a reset");
	tap_is(committed, 0, "nor committed");
	for (int i = 1; i <= ARENAS; i++)
		spw_arena_destroy(arenas[i]);
}

int
main(int argc, char **argv)
{
	struct dice dice;

	(void)argc;
	setenv("SPILLWAY_CONF", "cgroup:off,machine:off,psi:off,start:1M", 1);
	torture_begin(argv, true);
	dice = torture_dice(999);
	pthread_key_create(&late_key, allocate_late);
	for (int i = 1; i <= ARENAS; i++) {
		struct spw_arena_options options = {
			.size = sizeof options,
			.name = "shared",
			.limit_bytes = LIMIT_BYTES,
			.flags = i == 1 ? SPW_ARENA_HUGE : 0,
		};
		int error = spw_arena_create(&arenas[i], &options);

		if (error)
			tap_bail_out("create: %s", spw_strerror(error));
	}
	torture_start(4, worker, NULL);
	torture_start(2, mother, NULL);
	torture_start(2, owner, NULL);
	torture_start(1, presser, NULL);
	torture_join();
	finish(&dice);
	tap_note("%llu made, %llu resized, %llu refused, %llu threads, %llu "
		 "resets, %llu arenas destroyed",
		 (unsigned long long)made, (unsigned long long)moved,
		 (unsigned long long)refused, (unsigned long long)lives,
		 (unsigned long long)resets, (unsigned long long)destroyed);
	tap_is(made - freed, 0, "what was made was freed");
	tap_ok(moved && lives && resets && destroyed,
	       "objects moved, threads ended, arenas were reset and destroyed");
	tap_is(torture_broken(), 0, "no page is shared, no object is broken");
	return tap_done();
}
