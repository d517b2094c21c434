/* SPDX-License-Identifier: BSD-2-Clause */
/* Eras: how hits are counted, and what makes counters age. The test answers
 * for the clock. */
#include "cache/era.h"

#include <string.h>

#include "cache/writer.h"
#include "tests/tap.h"

#define ENTRIES 100u

static uint64_t now_ns = 1000 * CLOCK_S;
static struct era_clock clock_of;
static uint32_t hottest_too;
static uint64_t dice = 7;

uint64_t
writer_clock_ns(void)
{
	return now_ns;
}

static void
begin(struct entry *e)
{
	memset(&clock_of, 0, sizeof clock_of);
	clock_of.hottest_too = &hottest_too;
	era_init(&clock_of);
	*e = (struct entry){ .heat = era_heat(&clock_of, 0) };
}

static uint32_t
count_of(const struct entry *e)
{
	return era_count(&clock_of, e, atomic_load(&clock_of.now));
}

static void
hit(struct entry *e)
{
	uint32_t heat = atomic_load(&e->heat);

	if (!era_touch_near(&clock_of, e, heat, &dice))
		era_touch(&clock_of, e, &dice);
}

static void
test_counts(void)
{
	struct entry e;
	unsigned exact = 0, hits = 0;

	begin(&e);
	for (unsigned i = 1; i <= ENTRY_COUNT_EXACT; i++) {
		hit(&e);
		exact += count_of(&e) == i;
	}
	tap_is(exact, ENTRY_COUNT_EXACT, "the first hits count one each");
	for (unsigned i = 0; i < ENTRIES; i++) {
		e.heat = era_heat(&clock_of, ENTRY_COUNT_EXACT);
		for (; count_of(&e) < ENTRY_COUNT_MAX && hits < 100000; hits++)
			hit(&e);
	}
	/* 2 + 3 + ... + 8 each */
	tap_ok(hits > 30 * ENTRIES && hits < 40 * ENTRIES,
	       "the last seven by chance (%u hits for %u)", hits, ENTRIES);
	hit(&e);
	tap_is(atomic_load(&e.heat), hottest_too, "the hottest stays");
}

static void
test_turns(void)
{
	struct entry e;

	begin(&e);
	for (unsigned i = 0; i < 3; i++)
		hit(&e);
	era_look(&clock_of, 8 * ENTRIES - 1, ENTRIES);
	tap_is(atomic_load(&clock_of.now), 0, "too few hits are no turn");
	era_look(&clock_of, 8 * ENTRIES, ENTRIES);
	tap_is(atomic_load(&clock_of.now), 1, "8 for each entry are one");
	tap_is(count_of(&e), 2, "which takes one from a counter");
	tap_ok(!era_touch_near(&clock_of, &e, atomic_load(&e.heat), &dice),
	       "what was not hit since is not near");
	hit(&e);
	tap_is(count_of(&e), 3, "and is counted from what was left");
	era_look(&clock_of, 16 * ENTRIES - 1, ENTRIES);
	tap_is(atomic_load(&clock_of.now), 1, "the next is counted from there");
	for (unsigned i = 2; i < 10; i++)
		era_look(&clock_of, 8ul * i * ENTRIES, ENTRIES);
	tap_is(count_of(&e), 0, "in the end nothing is left");
}

static void
test_time(void)
{
	struct entry e;

	begin(&e);
	for (unsigned i = 0; i < 3; i++)
		hit(&e);
	now_ns += ERA_NS;
	era_look(&clock_of, 0, 0);
	tap_is(atomic_load(&clock_of.now), 1, "time ends an era");
	tap_is(count_of(&e), 3, "but takes nothing");
}

int
main(void)
{
	test_counts();
	test_turns();
	test_time();
	return tap_done();
}
