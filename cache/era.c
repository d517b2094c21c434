/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Eras of a cache, and the slow half of a hit.
 *
 * Called by readers and writers (cache.h, space.c) and plan.c. No lock: who
 * moves `now` by compare and swap has written the new era's line before; a
 * reader of a line that is being overwritten, 256 eras later, is off by a few
 * turns.
 */
#include "cache/era.h"

#include "cache/writer.h"

#define TURN_HITS 8

/* The copy may be another one than `hottest` for a moment, or where two eras
 * end at once for one more: what is hit then is warmed once too often, or not
 * in this era. */
static void
set_hottest(struct era_clock *clock, uint32_t era)
{
	uint32_t hottest = entry_heat(ENTRY_COUNT_MAX, era);

	atomic_store(&clock->hottest, hottest);
	__atomic_store_n(clock->hottest_too, hottest, __ATOMIC_RELAXED);
}

void
era_init(struct era_clock *clock)
{
	uint64_t now = writer_clock_ns();

	atomic_store(&clock->began_ns, now);
	atomic_store(&clock->known[0].second, (uint32_t)(now / CLOCK_S));
	atomic_store(&clock->looked_second, (uint32_t)(now / CLOCK_S));
	set_hottest(clock, 0);
}

void
era_look(struct era_clock *clock, uint64_t hits, uint64_t entries)
{
	uint32_t era = atomic_load(&clock->now), next = (era + 1) & ERA_MASK;
	uint64_t now = writer_clock_ns();
	bool over = hits && entries &&
		    hits - atomic_load(&clock->began_hits) >=
			    TURN_HITS * entries;
	uint32_t second = (uint32_t)(now / CLOCK_S), turn, ended;

	ended = atomic_load_explicit(&clock->looked_second,
				     memory_order_relaxed);
	if (ended != second)
		atomic_store_explicit(&clock->looked_second, second,
				      memory_order_relaxed);
	if (!over && now - atomic_load(&clock->began_ns) < ERA_NS)
		return;
	/* Nobody read anything since somebody last looked. */
	if (over)
		ended = second;
	turn = atomic_load(&clock->known[era % ERAS_KNOWN].turn) + over;
	atomic_store(&clock->known[next % ERAS_KNOWN].turn, turn);
	atomic_store(&clock->known[next % ERAS_KNOWN].second, ended);
	if (!atomic_compare_exchange_strong(&clock->now, &era, next))
		return; /* another was quicker, and wrote the same or so */
	atomic_store(&clock->began_ns, now);
	if (over)
		atomic_store(&clock->began_hits, hits);
	set_hottest(clock, next);
}

/* How many eras before `now`; what was touched since then is as of then. */
static uint32_t
age(const struct entry *e, uint32_t now)
{
	uint32_t eras = (now - entry_era(e)) & ERA_MASK;

	if (eras > ERA_MASK / 2)
		return 0;
	return eras < ERAS_KNOWN ? eras : ERAS_KNOWN - 1;
}

uint32_t
era_count(const struct era_clock *clock, const struct entry *e, uint32_t now)
{
	uint32_t then = (now - age(e, now)) % ERAS_KNOWN;
	uint32_t count = entry_count(e), lost;

	lost = atomic_load_explicit(&clock->known[now % ERAS_KNOWN].turn,
				    memory_order_relaxed) -
	       atomic_load_explicit(&clock->known[then].turn,
				    memory_order_relaxed);
	return count > lost ? count - lost : 0;
}

uint32_t
era_seconds(const struct era_clock *clock, const struct entry *e, uint32_t now,
	    uint64_t now_ns)
{
	uint32_t eras = age(e, now), ended;

	/* It was read at some time in its era: at its end, at the latest. */
	if (!eras)
		return 0;
	ended = atomic_load_explicit(
		&clock->known[(now - eras + 1) % ERAS_KNOWN].second,
		memory_order_relaxed);
	return (uint32_t)(now_ns / CLOCK_S) - ended;
}

void
era_warm(const struct era_clock *clock, struct entry *e, uint64_t *dice)
{
	uint32_t era = atomic_load_explicit(&clock->now, memory_order_relaxed);
	uint32_t count = era_count(clock, e, era);

	if (count < ENTRY_COUNT_EXACT) {
		count++;
	} else if (count < ENTRY_COUNT_MAX) {
		if (era_throw(dice, count))
			count++;
		else if (entry_era(e) == era)
			return;
	}
	atomic_store_explicit(&e->heat, entry_heat(count, era),
			      memory_order_relaxed);
}
