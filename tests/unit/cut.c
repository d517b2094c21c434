/* SPDX-License-Identifier: BSD-2-Clause */
/* Cuts: the score below which a part of all bytes lies. */
#include "cache/cut.h"

#include "tests/tap.h"

/* Bytes that a cut lets go, of a histogram. */
static double
gone(const uint64_t bytes[CUT_SCORES], struct cut cut)
{
	double sum = 0;

	for (uint32_t i = 0; i < cut.threshold; i++)
		sum += (double)bytes[i];
	return sum + (double)bytes[cut.threshold] *
			     (double)(CUT_CHANCE - cut.kept) / CUT_CHANCE;
}

static void
test_parts(void)
{
	uint64_t bytes[CUT_SCORES] = { 0 };
	double all = 0, worst = 0;

	for (uint32_t i = 0; i < CUT_SCORES; i++) {
		bytes[i] = 1000 + i * 37;
		all += (double)bytes[i];
	}
	for (int percent = 5; percent < 100; percent++) {
		double part = percent / 100.0, off;

		off = gone(bytes, cut_at(bytes, part)) / all - part;
		off = off < 0 ? -off : off;
		worst = off > worst ? off : worst;
	}
	/* A 256th of what is at one score. */
	tap_ok(worst < 0.0002, "of each part so much goes");
	tap_note("off by %.6f at most", worst);
}

static void
test_ends(void)
{
	uint64_t bytes[CUT_SCORES] = { [0] = 100, [5] = 100 },
		 none[CUT_SCORES] = { 0 };
	struct cut cut = cut_at(bytes, 0);

	tap_ok(cut.threshold == 0 && cut.kept == CUT_CHANCE,
	       "of nothing nothing goes");
	cut = cut_at(bytes, 1);
	tap_ok(cut.threshold == CUT_SCORES - 1 && cut.kept == 0,
	       "of all all goes, also what no sample had");
	cut = cut_at(bytes, 0.25);
	tap_ok(cut.threshold == 0 && cut.kept == 0,
	       "of what was never hit all goes, or a copy is for nothing");
	cut = cut_at(bytes, 0.75);
	tap_ok(cut.threshold == 5 && cut.kept == CUT_CHANCE / 2,
	       "half of what is exactly there");
	cut = cut_at(none, 0.5);
	tap_ok(cut.threshold == 0 && cut.kept == CUT_CHANCE,
	       "of an empty sample nothing goes");
}

static void
test_order(void)
{
	struct cut low = { 3, 200 }, high = { 3, 100 }, other = { 4, 256 };

	tap_ok(cut_is_lower(&low, &high) && !cut_is_lower(&high, &low),
	       "who keeps more of one score is lower");
	tap_ok(cut_is_lower(&high, &other) && !cut_is_lower(&other, &high),
	       "a lower score is lower");
	tap_ok(!cut_is_lower(&low, &low), "none is lower than itself");
}

int
main(void)
{
	test_parts();
	test_ends();
	test_order();
	return tap_done();
}
