/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pressure/pass.c, passes made by hand: what the monitor is told after one, and
 * who is asked again.
 */
#include "pressure/pass.h"

#include <unistd.h>

#include "base/clock.h"
#include "pressure/monitor.h"
#include "tests/tap.h"
#include "tests/unit/stock.h"

#define MIB (1ull << 20)

static uint64_t
wants_more(const struct pass *pass)
{
	return pass->target_bytes;
}

static void
pass_at(enum spw_level level)
{
	struct pass pass = { .level = level,
			     .target_bytes = MIB,
			     .left = wants_more };

	pass_run(&pass);
}

/* What the monitor is told after a pass that asks the cold alone. */
static uint64_t
counted_after_low(void)
{
	pass_at(SPW_LEVEL_LOW);
	return pass_counted_bytes();
}

/* Where nothing can be given the monitor looks away: it was killed so. */
static void
hoping(void)
{
	static struct stock dear;
	struct spw_shrinker *s;

	s = stock_lend(&dear, "dear", SPW_TIER_WARM, false);
	tap_ok(counted_after_low() > 0,
	       "who is too dear to be asked yet is hoped for");
	tap_ok(stock_reclaim(MIB) < MIB, "it is asked, and gives nothing");
	tap_is(counted_after_low(), 0, "then it is not hoped for");
	stock_fill(&dear, 4 * MIB);
	tap_ok(counted_after_low() > 0, "but again when the process has grown");
	tap_ok(stock_reclaim(MIB) >= MIB - STOCK_BLUR, "and it gives");
	spw_shrinker_unregister(s);
	stock_empty(&dear);
}

/* How often an empty one was asked, after one more pass. */
static unsigned
asked_after_medium(const struct stock *empty)
{
	monitor_sense(CLOCK_S);
	pass_at(SPW_LEVEL_MEDIUM);
	return empty->asked;
}

/* At 300 MB/s a neighbour does not wait for a hold-off to end. */
static void
falling(void)
{
	static struct stock empty, others;
	struct spw_shrinker *s;

	s = stock_lend(&empty, "empty", SPW_TIER_WARM, false);
	while (asked_after_medium(&empty) < 5) /* 1.5 s */
		usleep(20000);
	tap_is(asked_after_medium(&empty), 5,
	       "who gave nothing five times is left alone a while");
	stock_fill(&others, 16 * MIB);
	tap_is(asked_after_medium(&empty), 6, "but asked where headroom falls");
	tap_is(asked_after_medium(&empty), 6, "once");
	spw_shrinker_unregister(s);
	stock_empty(&others);
}

int
main(void)
{
	stock_alone("limit:1G,hard:8M");
	hoping();
	falling();
	return tap_done();
}
