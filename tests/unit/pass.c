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

static size_t
give_nothing(const struct spw_shrink *request, void *context)
{
	(void)request;
	++*(unsigned *)context;
	return 0;
}

static void
pass_medium(void)
{
	struct pass pass = { .level = SPW_LEVEL_MEDIUM,
			     .target_bytes = MIB,
			     .left = wants_more };

	monitor_sense(CLOCK_S);
	pass_run(&pass);
}

/* At 300 MB/s a neighbour does not wait for a hold-off to end. */
static void
falling(void)
{
	static struct stock others;
	static unsigned asked;
	struct spw_shrinker_options options = {
		.size = sizeof options,
		.name = "stubborn",
		.tier = SPW_TIER_WARM,
		.shrink = give_nothing,
		.context = &asked,
	};
	struct spw_shrinker *s;

	if (spw_shrinker_register(&s, &options) != 0)
		tap_bail_out("register");
	while (asked < 5) { /* 1.5 s */
		pass_medium();
		usleep(20000);
	}
	pass_medium();
	tap_is(asked, 5, "who gave nothing five times is left alone a while");
	stock_fill(&others, 16 * MIB);
	pass_medium();
	tap_is(asked, 6, "but asked where headroom falls");
	pass_medium();
	tap_is(asked, 6, "once");
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
