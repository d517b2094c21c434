/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Eras: the clock of a cache, by which its counters of hits age.
 *
 * Usage: era_look() now and then; era_warm() for a hit on what is not the
 * hottest; era_count() for what a counter is worth now.
 *
 * Caveats: an era ends when there were as many hits as make a turn, 8 for each
 * entry, and after 15 s in any case. A refault counts as 64 hits: where what is
 * wanted has become another, what was wanted gets old soon. A counter loses
 * one for each turn since it was last touched: who is hit once a turn keeps
 * his. Time alone takes nothing, nor do puts: who scans does not make others
 * old. After 4,096 eras numbers come round, and what was not read for over 255
 * counts as old as that.
 */
#ifndef CACHE_ERA_H
#define CACHE_ERA_H

#include <stdatomic.h>
#include <stdint.h>

#include "cache/entry.h"

#define ERAS_KNOWN 256u /* a power of two */
#define ERA_NS (15 * CLOCK_S)
#define ERA_MASK ((1u << ENTRY_ERA_BITS) - 1)

struct era_clock {
	/* What the heat of an entry is that needs no store in this era. */
	_Atomic uint32_t hottest;
	uint32_t *hottest_too; /* its copy for spw_soft_read_inline() */
	_Atomic uint32_t now;
	_Atomic uint64_t began_ns;
	_Atomic uint64_t began_hits;
	_Atomic uint32_t looked_second; /* when somebody last looked */
	struct {
		_Atomic uint32_t second; /* when it began */
		_Atomic uint32_t turn;   /* how many turns were before */
	} known[ERAS_KNOWN];
};

/* With hottest_too set. */
void era_init(struct era_clock *clock);

/* A refault makes others as old as so many hits. */
#define ERA_REFAULT_HITS 64u

/* Looks whether the era is over. hits: of the cache so far, refaults included,
 * or 0: not to be looked at now; entries: that it has. Thread-safe,
 * lock-free. */
void era_look(struct era_clock *clock, uint64_t hits, uint64_t entries);

/* Of an entry, as of an era `now` and a time in it: its counter as it has
 * aged; seconds since it was last read. */
uint32_t era_count(const struct era_clock *clock, const struct entry *e,
		   uint32_t now);
uint32_t era_seconds(const struct era_clock *clock, const struct entry *e,
		     uint32_t now, uint64_t now_ns);

/* A hit on one that is not the hottest. dice: of the thread. */
void era_warm(const struct era_clock *clock, struct entry *e, uint64_t *dice);

/* The next of a sequence that looks like chance in its upper bits. */
static inline uint64_t
era_roll(uint64_t *dice)
{
	*dice = *dice * 6364136223846793005ull + 1442695040888963407ull;
	return *dice;
}

/* Whether one that was hit `count` times, not less than are counted exactly,
 * is counted once more: by a chance of 1 in 2, 3, 4 ... */
static inline bool
era_throw(uint64_t *dice, uint32_t count)
{
	return (era_roll(dice) >> 32) * (count - ENTRY_COUNT_EXACT + 2) >> 32 ==
	       0;
}

/* A hit. */
static inline void
era_touch(const struct era_clock *clock, struct entry *e, uint64_t *dice)
{
	if (base_unlikely(
		    atomic_load_explicit(&e->heat, memory_order_relaxed) !=
		    atomic_load_explicit(&clock->hottest,
					 memory_order_relaxed)))
		era_warm(clock, e, dice);
}

/*
 * The same for the heat that was read, where that takes no call: what was hit
 * in this era before. False: era_touch() it.
 */
static inline bool
era_touch_near(const struct era_clock *clock, struct entry *e, uint32_t heat,
	       uint64_t *dice)
{
	uint32_t hottest = atomic_load_explicit(&clock->hottest,
						memory_order_relaxed);
	uint32_t count = heat & ENTRY_COUNT_MAX;

	if (base_likely(heat == hottest))
		return true;
	if (base_unlikely((heat ^ hottest) > ENTRY_COUNT_MAX))
		return false;
	if (count < ENTRY_COUNT_EXACT || base_unlikely(era_throw(dice, count)))
		atomic_store_explicit(&e->heat, (uint16_t)(heat + 1),
				      memory_order_relaxed);
	return true;
}

/* The heat of one that was hit so often, as of now. */
static inline uint16_t
era_heat(const struct era_clock *clock, uint32_t count)
{
	return entry_heat(count, atomic_load_explicit(&clock->now,
						      memory_order_relaxed));
}

#endif
