/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pressure/level.c: the control law, driven by made-up readings; no clock, no
 * thread, no file.
 */
#include "pressure/level.h"

#include <string.h>

#include "base/clock.h"
#include "base/settings.h"
#include "tests/tap.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define LIMIT (400 * MIB) /* soft 32 MiB by begin(), hard 8 MiB */

static struct level level;
static struct level_input in;
static struct level_output out;

static void
begin(void)
{
	memset(&level, 0, sizeof level);
	memset(&in, 0, sizeof in);
	in.now_ns = 1000 * CLOCK_S;
	in.reclaimable_bytes = GIB;
	in.reading.kind = LIMITS_V1;
	in.reading.stat_read = true;
	settings()->soft_bytes = 32 * MIB;
}

/* One reading, after_ms after the last. */
static enum spw_level
look(uint64_t after_ms, uint64_t limit, uint64_t headroom)
{
	in.now_ns += after_ms * CLOCK_MS;
	in.reading.limit_bytes = limit;
	in.reading.headroom_bytes = headroom;
	in.reading.usage_bytes = limit == UINT64_MAX ?
					 GIB :
					 limit - headroom +
						 in.reading.cache_bytes;
	level_update(&level, &in, &out);
	return out.level;
}

/* Readings every 100 ms for so long: the last one's level. */
static enum spw_level
stay(uint64_t ms, uint64_t headroom)
{
	for (; ms >= 100; ms -= 100)
		look(100, LIMIT, headroom);
	return level.level;
}

static void
watermarks(void)
{
	begin();
	settings()->soft_bytes = 0;
	look(0, LIMIT, LIMIT);
	tap_is(out.soft_bytes, 24 * MIB, "soft is 24 MiB at 400 MiB");
	tap_is(out.hard_bytes, 8 * MIB, "hard is 8 MiB there");
	look(100, 64 * MIB, 64 * MIB);
	tap_ok(out.soft_bytes <= 16 * MIB && out.soft_bytes > 15 * MIB,
	       "soft is a quarter of a small limit at most");
	tap_ok(out.hard_bytes <= 64 * MIB / 20 && out.hard_bytes > 3 * MIB,
	       "hard is a twentieth of it at most");
	look(100, 8 * GIB, 8 * GIB);
	tap_ok(out.soft_bytes > 491 * MIB && out.soft_bytes < 492 * MIB,
	       "soft is 6 %% of 8 GiB");
	tap_ok(out.hard_bytes > 163 * MIB && out.hard_bytes < 164 * MIB,
	       "hard is 2 %% of it");
	look(100, 1024 * GIB, 1024 * GIB);
	tap_is(out.soft_bytes, GIB, "soft of a large machine is 1 GiB");
	tap_is(out.hard_bytes, 256 * MIB, "hard is 256 MiB");
	settings()->soft_bytes = 90 * MIB;
	settings()->hard_hundredths = 400;
	look(100, LIMIT, LIMIT);
	tap_is(out.soft_bytes, 90 * MIB, "soft: raises the least soft");
	tap_ok(out.hard_bytes >= LIMIT / 25 - 4096 &&
		       out.hard_bytes <= LIMIT / 25,
	       "hard: raises the hard share");
	settings()->soft_bytes = 0;
	settings()->hard_hundredths = 0;
}

static void
growth(void)
{
	begin();
	look(0, 40 * GIB, 39 * GIB);
	for (int i = 1; i <= 10; i++)
		look(100, 40 * GIB, 39 * GIB - (uint64_t)i * 800 * MIB);
	tap_ok(out.soft_bytes > 1900 * MIB && out.soft_bytes < 2100 * MIB,
	       "soft is what others take in 250 ms (8 GB/s: %llu MiB)",
	       (unsigned long long)(out.soft_bytes / MIB));
	for (int i = 0; i < 3; i++)
		look(100, 40 * GIB, 31 * GIB);
	tap_is(out.soft_bytes, GIB, "and falls back when growth ends");

	begin();
	look(0, LIMIT, 300 * MIB);
	for (uint64_t i = 1; i <= 10; i++) {
		in.charged_bytes = i * 20 * MIB;
		look(100, LIMIT, 300 * MIB - i * 20 * MIB);
	}
	tap_is(level.growth_bytes_per_s, 0,
	       "what our own heap took is no growth of others");
	look(100, LIMIT, 80 * MIB);
	tap_ok(level.growth_bytes_per_s >= 200 * MIB,
	       "what others took is (%llu MiB/s)",
	       (unsigned long long)(level.growth_bytes_per_s / MIB));
	begin();
	look(0, LIMIT, 300 * MIB);
	in.reading.kind = LIMITS_MACHINE;
	look(100, LIMIT, 200 * MIB);
	tap_is(level.growth_bytes_per_s, 0,
	       "another limit's usage is no growth");
}

/* The greatest soft while the program takes 30 MiB/s, now and then a huge page
 * of it ahead of the others, and passes take some of it. */
static uint64_t
soft_beside_lumps(bool unhooked)
{
	uint64_t used = 340 * MIB, soft_most = 0;

	begin();
	in.unhooked = unhooked;
	look(0, LIMIT, LIMIT - used);
	for (int i = 1; i <= 500; i++) {
		used += 30 * MIB / 100;
		if (i % 13 == 0)
			used -= 4 * MIB;
		look(8, LIMIT, LIMIT - used);
		look(2, LIMIT, LIMIT - used - (i % 5 ? 0 : 2 * MIB));
		if (out.soft_bytes > soft_most)
			soft_most = out.soft_bytes;
	}
	return soft_most;
}

static void
lumps(void)
{
	tap_is(soft_beside_lumps(true), 32 * MIB,
	       "a heap that is not ours: huge pages of it are no growth");
	tap_ok(soft_beside_lumps(false) > 32 * MIB,
	       "beside ours they are others'");
	begin();
	in.unhooked = true;
	look(0, LIMIT, 300 * MIB);
	for (uint64_t i = 1; i <= 5; i++)
		look(2, LIMIT, 300 * MIB - i * 4 * MIB);
	tap_ok(level.growth_bytes_per_s > 800 * MIB,
	       "2,000 MiB/s are seen after 10 ms (%llu MiB/s)",
	       (unsigned long long)(level.growth_bytes_per_s / MIB));
}

static void
page_cache(void)
{
	bool quiet = true;

	begin();
	look(0, LIMIT, 200 * MIB);
	for (uint64_t i = 1; i <= 50; i++) {
		in.reading.cache_bytes = i * 4 * MIB;
		in.reading.headroom_raw_bytes = 200 * MIB - i * 4 * MIB;
		quiet &= look(20, LIMIT, 200 * MIB) == SPW_LEVEL_NONE;
	}
	tap_ok(quiet && !level.growth_bytes_per_s && !out.deficit_bytes,
	       "page cache up to the limit raises nothing");

	begin();
	in.reading.cache_bytes = 64 * MIB;
	look(0, LIMIT, 60 * MIB);
	for (uint64_t i = 1; i <= 50; i++)
		quiet &= look(10, LIMIT, 57 * MIB + i * 7 % 8 * MIB) ==
				 SPW_LEVEL_NONE &&
			 !level.growth_bytes_per_s;
	tap_ok(quiet, "nor do readings that differ by 7 MiB as it streams");
	for (uint64_t i = 1; i <= 5; i++)
		look(10, LIMIT, 57 * MIB - i * 4 * MIB);
	tap_ok(level.growth_bytes_per_s > 300 * MIB &&
		       level.growth_bytes_per_s <= 400 * MIB,
	       "what grows meanwhile is seen: %llu MiB/s of 400",
	       (unsigned long long)(level.growth_bytes_per_s / MIB));

	begin();
	look(0, 4 * GIB, 3 * GIB);
	in.reading.cache_bytes = 2 * GIB;
	look(100, 4 * GIB, 3 * GIB);
	in.reading.cache_bytes = 0; /* not read where it does not matter */
	in.reading.stat_read = false;
	tap_is(look(100, 4 * GIB, GIB), SPW_LEVEL_NONE,
	       "page cache that is subtracted no more is no pressure");
	tap_is(level.growth_bytes_per_s, 0, "and no growth");
}

static void
rising(void)
{
	begin();
	tap_is(look(0, LIMIT, 300 * MIB), SPW_LEVEL_NONE, "plenty is none");
	tap_is(out.deficit_bytes, 0, "and nothing is wanted");
	tap_is(look(0, LIMIT, 47 * MIB), SPW_LEVEL_LOW,
	       "below 1.5 soft is low");
	tap_is(out.deficit_bytes, 1 * MIB, "up to 1.5 soft is wanted");
	begin();
	look(0, LIMIT, 300 * MIB);
	tap_is(look(0, LIMIT, 31 * MIB), SPW_LEVEL_MEDIUM,
	       "below soft is medium at once");
	tap_is(out.deficit_bytes, 5 * MIB, "up to 1.125 soft is wanted");
	begin();
	look(0, LIMIT, 300 * MIB);
	in.waiting_bytes = 3 * MIB;
	tap_is(look(0, LIMIT, 7 * MIB), SPW_LEVEL_CRITICAL,
	       "below hard is critical at once");
	tap_is(out.deficit_bytes, 12 * MIB,
	       "up to twice hard is wanted, and what is waited for");
	begin();
	tap_is(look(0, LIMIT, 0), SPW_LEVEL_CRITICAL, "no headroom is");
	begin();
	tap_is(look(0, UINT64_MAX, UINT64_MAX), SPW_LEVEL_NONE,
	       "no limit is no pressure");
}

static void
falling(void)
{
	begin();
	look(0, LIMIT, 7 * MIB);
	tap_is(look(1, LIMIT, 15 * MIB), SPW_LEVEL_CRITICAL,
	       "critical stays below twice hard");
	tap_is(look(1, LIMIT, 17 * MIB), SPW_LEVEL_MEDIUM,
	       "and is medium above");
	tap_is(stay(60000, 37 * MIB), SPW_LEVEL_MEDIUM,
	       "medium stays below 1.2 soft");
	tap_is(out.deficit_bytes, 0, "where nothing is wanted any more");
	tap_is(stay(1900, 40 * MIB), SPW_LEVEL_MEDIUM,
	       "medium stays for 2 s above it");
	tap_is(stay(300, 40 * MIB), SPW_LEVEL_LOW, "then it is low");
	tap_is(stay(9000, 40 * MIB), SPW_LEVEL_LOW, "low stays below 1.5 soft");
	stay(1000, 60 * MIB);
	look(1000, LIMIT, 40 * MIB);
	tap_is(stay(1900, 60 * MIB), SPW_LEVEL_LOW,
	       "calm that was interrupted begins anew");
	tap_is(stay(300, 60 * MIB), SPW_LEVEL_NONE, "and ends in none");
	begin();
	look(0, LIMIT, 7 * MIB);
	tap_is(look(1, LIMIT, 300 * MIB), SPW_LEVEL_MEDIUM,
	       "critical to plenty is medium first");
	tap_is(out.deficit_bytes, 0, "with nothing to do");
	tap_is(look(1, LIMIT, 7 * MIB), SPW_LEVEL_CRITICAL,
	       "and it rises again at once");
}

static void
stalls(void)
{
	begin();
	look(0, LIMIT, 101 * MIB);
	in.stall_us = 1000000;
	tap_is(look(100, LIMIT, 99 * MIB), SPW_LEVEL_NONE,
	       "a group's stall with headroom left is not ours");
	in.reading.kind = LIMITS_MACHINE;
	tap_is(look(100, LIMIT, 101 * MIB), SPW_LEVEL_NONE,
	       "nor is the machine's with a quarter of it left");
	tap_is(look(100, LIMIT, 99 * MIB), SPW_LEVEL_MEDIUM,
	       "below a quarter it is");
	tap_ok(out.deficit_bytes > GIB / 5 && out.deficit_bytes <= GIB / 4,
	       "a long one wants a quarter of what there is");
	in.stall_us = 0;
	tap_is(look(100, LIMIT, 99 * MIB), SPW_LEVEL_MEDIUM, "it lasts");
	tap_is(out.deficit_bytes, 0, "but wants no more");
	tap_is(stay(7000, 99 * MIB), SPW_LEVEL_NONE, "and is over");
	in.stall_us = 20000;
	look(100, LIMIT, 99 * MIB);
	tap_ok(out.deficit_bytes > GIB / 100 && out.deficit_bytes < GIB / 50,
	       "a short one wants about 1 %%");
	begin();
	in.stall_us = 20000;
	tap_is(look(100, LIMIT, 49 * MIB), SPW_LEVEL_NONE,
	       "of a group, one above low is not");
	tap_is(look(100, LIMIT, 47 * MIB), SPW_LEVEL_MEDIUM,
	       "and low with one is medium");
	begin();
	in.stall_us = 19999;
	tap_is(look(100, LIMIT, 47 * MIB), SPW_LEVEL_LOW,
	       "under 1 %% of the time is no stall");
	begin();
	in.stall_us = 40000;
	tap_is(look(100, UINT64_MAX, UINT64_MAX), SPW_LEVEL_MEDIUM,
	       "where no limit is known any stall counts");

	begin();
	in.asked = true;
	tap_is(look(0, LIMIT, 300 * MIB), SPW_LEVEL_MEDIUM,
	       "who is asked gives, plenty or not");
	tap_ok(out.deficit_bytes > GIB / 21 && out.deficit_bytes < GIB / 19,
	       "5 %%");
	look(1000, LIMIT, 300 * MIB);
	tap_ok(out.deficit_bytes > GIB / 5, "asked again soon, a quarter");
}

static void
credit(void)
{
	begin();
	in.recent_bytes = 8 * MIB;
	look(0, LIMIT, 140 * MIB);
	tap_is(out.credit_bytes, 50 * MIB,
	       "credit is half of what is above soft and not yet charged");
	tap_is(out.slack_bytes, 24 * MIB, "slack is soft less hard");
	look(0, LIMIT, 20 * MIB);
	tap_is(out.credit_bytes, -20ll * (int64_t)MIB,
	       "below soft there is a debt, whole");
	look(0, UINT64_MAX, UINT64_MAX);
	tap_is(out.credit_bytes, 64 * MIB,
	       "without a limit too somebody looks every 64 MiB");
}

static void
polling(void)
{
	bool bounded = true, quick_enough = true;

	begin();
	for (uint64_t h = 0; h < LIMIT; h += MIB / 2) {
		uint64_t reach;

		begin();
		look(0, LIMIT, h);
		bounded &= out.poll_ns >= CLOCK_MS &&
			   out.poll_ns <= 60 * CLOCK_S;
		/* What 2.5 GB/s takes before the next look. */
		reach = out.poll_ns * 5 / 2;
		quick_enough &= h < 16 * MIB || reach < h - out.hard_bytes;
	}
	tap_ok(bounded, "the interval is 1 ms to 60 s");
	tap_ok(quick_enough, "hard is not crossed between two looks");
	begin();
	look(0, LIMIT, 9 * MIB);
	tap_is(out.poll_ns, CLOCK_MS, "near hard it is 1 ms");
	begin();
	in.reclaimable_bytes = MIB - 1;
	look(0, LIMIT, 9 * MIB);
	tap_is(out.poll_ns, 100 * CLOCK_MS, "100 ms with nothing to give");
	begin();
	in.covered = true;
	look(0, LIMIT, 300 * MIB);
	tap_is(out.poll_ns, 60 * CLOCK_S, "a minute where thresholds wake");
	begin();
	in.covered = true;
	look(0, LIMIT, 80 * MIB);
	in.crossed = true;
	look(10000, LIMIT, 66 * MIB);
	in.crossed = false;
	tap_ok(out.level == SPW_LEVEL_NONE && out.poll_ns <= 10 * CLOCK_MS,
	       "and soon again once one did");
	begin();
	in.covered = true;
	look(0, LIMIT, 300 * MIB);
	look(100, LIMIT, 250 * MIB);
	tap_ok(out.poll_ns <= 100 * CLOCK_MS,
	       "100 ms at most while somebody grows");
	look(100, LIMIT, 30 * MIB);
	look(10000, LIMIT, 300 * MIB);
	tap_ok(out.level > SPW_LEVEL_NONE && out.poll_ns <= CLOCK_S / 2,
	       "half a second at most until the level is none");
	begin();
	look(0, LIMIT, 30 * MIB);
	look(100, UINT64_MAX, UINT64_MAX);
	tap_ok(out.level > SPW_LEVEL_NONE && out.poll_ns <= CLOCK_S / 2,
	       "also where the limit has gone");
	begin();
	look(0, UINT64_MAX, UINT64_MAX);
	tap_is(out.poll_ns, 60 * CLOCK_S, "a minute without a limit");

	begin();
	in.reading.kind = LIMITS_OWN;
	look(0, LIMIT, 9 * MIB);
	tap_is(out.poll_ns, 40 * CLOCK_MS, "40 ms near `limit:`");
	in.charged_bytes = MIB;
	look(40, LIMIT, 9 * MIB);
	tap_is(out.poll_ns, 10 * CLOCK_MS, "10 where the heap grows");
	look(300, LIMIT, 9 * MIB);
	tap_is(out.poll_ns, 40 * CLOCK_MS, "until it does no more");
}

static void
giving_up(void)
{
	begin();
	look(0, LIMIT, 7 * MIB);
	in.futile_passes = 2;
	tap_is(stay(60000, 7 * MIB), SPW_LEVEL_CRITICAL,
	       "two futile passes change nothing");
	in.futile_passes = 3;
	stay(9000, 7 * MIB);
	tap_is(level.level, SPW_LEVEL_NONE,
	       "a pressure that passes do not relieve decays");
	tap_is(stay(60000, 7 * MIB), SPW_LEVEL_NONE, "and stays so");
	tap_is(look(100, LIMIT, 2 * MIB), SPW_LEVEL_CRITICAL,
	       "what gets worse counts again");

	begin();
	look(0, LIMIT, 30 * MIB);
	in.futile_passes = 7;
	tap_is(stay(5000, 30 * MIB), SPW_LEVEL_MEDIUM,
	       "it lasts 10 s at least");
	tap_is(stay(20000, 30 * MIB), SPW_LEVEL_NONE, "not for ever");
	stay(100, 300 * MIB);
	tap_is(look(100, LIMIT, 30 * MIB), SPW_LEVEL_MEDIUM,
	       "after plenty the next pressure is a new one");
	tap_is(stay(60000, 30 * MIB), SPW_LEVEL_MEDIUM,
	       "for which old futile passes do not count");
	in.futile_passes = 0;
	stay(100, 30 * MIB);
	in.futile_passes = 3;
	tap_is(stay(60000, 30 * MIB), SPW_LEVEL_NONE, "new ones do");
}

int
main(void)
{
	watermarks();
	growth();
	lumps();
	page_cache();
	rising();
	falling();
	stalls();
	credit();
	polling();
	giving_up();
	return tap_done();
}
