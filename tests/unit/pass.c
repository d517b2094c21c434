/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pressure/pass.c, passes made by hand: what the monitor is told after one.
 */
#include "pressure/pass.h"

#include "tests/tap.h"
#include "tests/unit/stock.h"

#define MIB (1ull << 20)

static uint64_t
wants_more(const struct pass *pass)
{
	return pass->target_bytes;
}

/* What the monitor is told after a pass that asks the cold alone. */
static uint64_t
counted_after_low(void)
{
	struct pass pass = { .level = SPW_LEVEL_LOW,
			     .target_bytes = MIB,
			     .left = wants_more };

	pass_run(&pass);
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

int
main(void)
{
	stock_alone(NULL);
	hoping();
	return tap_done();
}
