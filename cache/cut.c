/* SPDX-License-Identifier: BSD-2-Clause */
/* See cut.h. */
#include "cache/cut.h"

#define SCORE_NEVER_HIT 0u

struct cut
cut_at(const uint64_t bytes[CUT_SCORES], double part)
{
	struct cut cut = { 0, CUT_CHANCE };
	double there, sum = 0, all = 0;

	for (uint32_t i = 0; i < CUT_SCORES; i++)
		all += (double)bytes[i];
	if (part >= 1)
		return (struct cut){ CUT_SCORES - 1, 0 };
	if (part * all <= 0)
		return cut;
	while (sum + (double)bytes[cut.threshold] < part * all)
		sum += (double)bytes[cut.threshold++];
	there = (double)bytes[cut.threshold];
	cut.kept = (uint32_t)((sum + there - part * all) / there * CUT_CHANCE);
	/* Where nothing tells one from another, copies are for nothing. */
	if (cut.threshold <= SCORE_NEVER_HIT)
		cut.kept = 0;
	return cut;
}

bool
cut_is_lower(const struct cut *one, const struct cut *other)
{
	return one->threshold < other->threshold ||
	       (one->threshold == other->threshold && one->kept > other->kept);
}
