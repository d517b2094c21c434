/* SPDX-License-Identifier: BSD-2-Clause */
/* gc-bridge/policy.c: when a collector may be asked again. */
#include "gc-bridge/policy.h"

#include "base/clock.h"
#include "tests/tap.h"

#define MIB (1ull << 20)

static struct policy
after(uint64_t took_ns, uint64_t before, uint64_t heap)
{
	struct policy p = { 0 };

	policy_note(&p, SPW_LEVEL_CRITICAL, 100 * CLOCK_S - took_ns,
		    100 * CLOCK_S, before, heap);
	return p;
}

static bool
due(const struct policy *p, uint64_t since_ns, uint64_t heap,
    enum spw_level level)
{
	struct policy_now now = { .now_ns = 100 * CLOCK_S + since_ns,
				  .heap_bytes = heap,
				  .interval_ns = 10 * CLOCK_S,
				  .level = level };

	return policy_due(p, &now);
}

static void
filter(void)
{
	struct policy p = { 0 };

	tap_ok(due(&p, 0, 1, SPW_LEVEL_MEDIUM), "the first is always due");
	p = after(10 * CLOCK_MS, 100 * MIB, 90 * MIB);
	tap_ok(!due(&p, 999 * CLOCK_MS, 139 * MIB, SPW_LEVEL_MEDIUM),
	       "not again within a tenth of the interval");
	tap_ok(due(&p, 20 * CLOCK_MS, 140 * MIB, SPW_LEVEL_MEDIUM),
	       "but for 50 MiB of growth");
	tap_ok(due(&p, CLOCK_S, 90 * MIB, SPW_LEVEL_MEDIUM),
	       "then without growth: it may have dropped all");
	p = after(10 * CLOCK_MS, 2000 * MIB, 500 * MIB);
	tap_ok(!due(&p, 999 * CLOCK_MS, 1249 * MIB, SPW_LEVEL_MEDIUM),
	       "less than half of the last gain is no growth");
	tap_ok(due(&p, 999 * CLOCK_MS, 1250 * MIB, SPW_LEVEL_MEDIUM),
	       "half is");
	p = after(900 * CLOCK_MS, 2000 * MIB, 500 * MIB);
	tap_ok(!due(&p, 3599 * CLOCK_MS, 500 * MIB, SPW_LEVEL_MEDIUM),
	       "a long one takes a fifth of the time");
	tap_ok(due(&p, 3600 * CLOCK_MS, 500 * MIB, SPW_LEVEL_MEDIUM),
	       "at most");
}

static void
round_trips(void)
{
	struct policy p = after(100 * CLOCK_MS, 400 * MIB, 100 * MIB);

	tap_ok(due(&p, 34 * CLOCK_MS, 260 * MIB, SPW_LEVEL_MEDIUM),
	       "half the gain has grown again: soon where a third lives");
	tap_ok(!due(&p, 33 * CLOCK_MS, 260 * MIB, SPW_LEVEL_MEDIUM),
	       "and not before");
	tap_ok(due(&p, 1, 170 * MIB, SPW_LEVEL_CRITICAL),
	       "at once where it is critical");
	tap_ok(!due(&p, 1, 159 * MIB, SPW_LEVEL_CRITICAL),
	       "but for a fifth of the last gain");
}

static void
poor(void)
{
	struct policy p = after(10 * CLOCK_MS, 100 * MIB, 99 * MIB);

	tap_is(p.poor, 1, "one in a hundred is a poor gain");
	tap_ok(!due(&p, 1999 * CLOCK_MS, 200 * MIB, SPW_LEVEL_MEDIUM),
	       "it doubles the interval");
	tap_ok(due(&p, 2 * CLOCK_S, 200 * MIB, SPW_LEVEL_MEDIUM), "which ends");
	tap_ok(!due(&p, 79 * CLOCK_MS, 500 * MIB, SPW_LEVEL_CRITICAL),
	       "nor at once where it is critical");
	tap_ok(due(&p, 80 * CLOCK_MS, 500 * MIB, SPW_LEVEL_CRITICAL),
	       "but in eight times its duration");
	tap_ok(!due(&p, 80 * CLOCK_MS, 110 * MIB, SPW_LEVEL_CRITICAL),
	       "where an eighth has grown");
	policy_fell(&p, 50 * MIB);
	tap_is(p.poor, 0, "what went late makes it a good one");
	tap_is(policy_growth(&p, 60 * MIB), 10 * MIB, "growth counts from it");
	tap_is(policy_growth(&p, 40 * MIB), 0, "and is never below nothing");
}

static void
escalates(void)
{
	struct policy p = { 0 };

	policy_note(&p, SPW_LEVEL_MEDIUM, 90 * CLOCK_S, 100 * CLOCK_S,
		    100 * MIB, 99 * MIB);
	tap_ok(due(&p, 10 * CLOCK_S, 99 * MIB, SPW_LEVEL_CRITICAL),
	       "a full one may find what a moderate one did not");
	tap_ok(!due(&p, 9 * CLOCK_S, 99 * MIB, SPW_LEVEL_CRITICAL),
	       "but not within its duration");
	tap_ok(!due(&p, 79 * CLOCK_S, 99 * MIB, SPW_LEVEL_MEDIUM),
	       "nor another moderate one");
	policy_note(&p, SPW_LEVEL_CRITICAL, 90 * CLOCK_S, 100 * CLOCK_S,
		    100 * MIB, 99 * MIB);
	tap_ok(!due(&p, 79 * CLOCK_S, 99 * MIB, SPW_LEVEL_CRITICAL),
	       "and a full one once");
	policy_note(&p, SPW_LEVEL_MEDIUM, 90 * CLOCK_S, 100 * CLOCK_S,
		    100 * MIB, 80 * MIB);
	tap_ok(due(&p, 10 * CLOCK_S, 80 * MIB, SPW_LEVEL_CRITICAL),
	       "a moderate one that gained something is not the last word");
}

static void
who_asks(void)
{
	struct policy p = after(10 * CLOCK_MS, 100 * MIB, 50 * MIB);
	struct policy_now now = { .now_ns = 100 * CLOCK_S + CLOCK_MS,
				  .heap_bytes = 50 * MIB,
				  .interval_ns = 10 * CLOCK_S,
				  .level = SPW_LEVEL_CRITICAL,
				  .asked = true };

	tap_ok(!policy_due(&p, &now), "who asks twice gets nothing more");
	now.heap_bytes = 52 * MIB;
	tap_ok(policy_due(&p, &now), "but what has grown since, at once");
	now.heap_bytes = 50 * MIB;
	now.interval_ns = 0;
	tap_ok(!policy_due(&p, &now), "not twice in a pass");
	now.heap_bytes = 51 * MIB;
	now.now_ns += 40 * CLOCK_MS;
	tap_ok(policy_due(&p, &now), "without an interval all else is due");
}

int
main(void)
{
	filter();
	round_trips();
	poor();
	escalates();
	who_asks();
	return tap_done();
}
