/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who is asked in which order, and for how much.
 *
 * Usage: share_sort() the list of a pass; share_of() each of a tier.
 *
 * Caveats: allocation-free; for the thread that runs the pass.
 */
#ifndef PRESSURE_SHARE_H
#define PRESSURE_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#include "pressure/shrinkers.h"

/* No share is smaller: not worth a call. */
#define SHARE_MIN_BYTES (64ull << 10)

struct asked {
	struct spw_shrinker *shrinker;
	uint64_t count; /* UINT64_MAX: unknown */
	bool dry;       /* gave nothing when last asked */
};

/* Its count, as far as what it claimed so far came true. */
double share_weight(const struct asked *a);

/* Cheapest tier first; in it the known before the unknown, best yield first. */
void share_sort(struct asked *list, unsigned count);

/* This shrinker's part of what is wanted of those from it to `end` that are
 * of its tier, by weight; all of it where the others' parts are not worth a
 * call. */
uint64_t share_of(const struct asked *a, const struct asked *end,
		  uint64_t want);

#endif
