/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Eras of a cache, and the slow half of a hit.
 *
 * Called by readers and writers (cache.h, space.c) and plan.c. No lock: who
 * moves `now` by compare and swap has written the new era's line before; a
 * reader of a line that is being overwritten, 256 eras later, is off by a few
 * turnovers.
 */
#include "cache/era.h"

#include "cache/writer.h"

void
era_init(struct era_clock *clock)
{
	uint64_t now = writer_clock_ns();

	atomic_store(&clock->began_ns, now);
	atomic_store(&clock->known[0].second, (uint32_t)(now / CLOCK_S));
	atomic_store(&clock->looked_second, (uint32_t)(now / CLOCK_S));
	atomic_store(&clock->hottest, entry_heat(ENTRY_COUNT_MAX, 0));
}

void
era_look(struct era_clock *clock, uint64_t seals, uint32_t segments)
{
	uint32_t era = atomic_load(&clock->now), next = (era + 1) & ERA_MASK;
	uint64_t now = writer_clock_ns();
	uint64_t since = seals - atomic_load(&clock->began_seals);
	bool over = segments && since >= segments;
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
		atomic_store(&clock->began_seals, seals);
	atomic_store(&clock->hottest, entry_heat(ENTRY_COUNT_MAX, next));
}

static uint32_t
age(const struct era_clock *clock, const struct entry *e)
{
	uint32_t eras = (atomic_load_explicit(&clock->now,
					      memory_order_relaxed) -
			 entry_era(e)) &
			ERA_MASK;

	return eras < ERAS_KNOWN ? eras : ERAS_KNOWN - 1;
}

static uint32_t
decay(const struct era_clock *clock, const struct entry *e)
{
	uint32_t now = atomic_load_explicit(&clock->now, memory_order_relaxed);
	uint32_t then = (now - age(clock, e)) % ERAS_KNOWN;

	return atomic_load_explicit(&clock->known[now % ERAS_KNOWN].turn,
				    memory_order_relaxed) -
	       atomic_load_explicit(&clock->known[then].turn,
				    memory_order_relaxed);
}

uint32_t
era_count(const struct era_clock *clock, const struct entry *e)
{
	uint32_t count = entry_count(e), lost = decay(clock, e);

	return count > lost ? count - lost : 0;
}

uint32_t
era_seconds(const struct era_clock *clock, const struct entry *e,
	    uint64_t now_ns)
{
	uint32_t now = atomic_load_explicit(&clock->now, memory_order_relaxed);
	uint32_t eras = age(clock, e);

	/* It was read at some time in its era: at its end, at the latest. */
	if (!eras)
		return 0;
	return (uint32_t)(now_ns / CLOCK_S) -
	       atomic_load_explicit(
		       &clock->known[(now - eras + 1) % ERAS_KNOWN].second,
		       memory_order_relaxed);
}

void
era_warm(const struct era_clock *clock, struct entry *e, uint64_t *dice)
{
	uint32_t count = era_count(clock, e);
	uint32_t era = atomic_load_explicit(&clock->now, memory_order_relaxed);

	if (count < ENTRY_COUNT_EXACT) {
		count++;
	} else if (count < ENTRY_COUNT_MAX) {
		*dice = *dice * 6364136223846793005ull + 1442695040888963407ull;
		if (*dice >> (64 - (count - ENTRY_COUNT_EXACT + 1)) == 0)
			count++;
		else if (entry_era(e) == era)
			return;
	}
	atomic_store_explicit(&e->heat, entry_heat(count, era),
			      memory_order_relaxed);
}
