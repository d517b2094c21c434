/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The score below which so large a part of something lies.
 *
 * Called by plan.c. Pure functions.
 */
#ifndef CACHE_CUT_H
#define CACHE_CUT_H

#include <stdbool.h>
#include <stdint.h>

#define CUT_SCORES 64u
#define CUT_CHANCE 256u

/* What has a lower score goes, and of what is exactly there a part. */
struct cut {
	uint32_t threshold;
	uint32_t kept; /* of CUT_CHANCE */
};

/* Of so many bytes at each score; from a part of 1 on all goes, sampled or
 * not. */
struct cut cut_at(const uint64_t bytes[CUT_SCORES], double part);
bool cut_is_lower(const struct cut *one, const struct cut *other);

#endif
