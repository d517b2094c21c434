/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The order of shrinkers in a pass, and the parts they are asked for.
 *
 * Called by pass.c. No lock, no state.
 */
#include "pressure/share.h"

#define MIB (1ull << 20)

double
share_weight(const struct asked *a)
{
	double claimed = (double)atomic_load(&a->shrinker->claimed_bytes);
	double came = (double)atomic_load(&a->shrinker->reclaimed_bytes);

	if (a->count == UINT64_MAX)
		return 0;
	return came < claimed ?
		       (double)a->count * (came + MIB) / (claimed + MIB) :
		       (double)a->count;
}

static bool
before(const struct asked *a, const struct asked *b)
{
	if (a->shrinker->tier != b->shrinker->tier)
		return a->shrinker->tier < b->shrinker->tier;
	if ((a->count == UINT64_MAX) != (b->count == UINT64_MAX))
		return b->count == UINT64_MAX;
	return atomic_load(&a->shrinker->yield_bytes_per_ms) >
	       atomic_load(&b->shrinker->yield_bytes_per_ms);
}

/* Insertion sort: at most SHRINKERS_PASS_MAX, mostly sorted, no allocation. */
void
share_sort(struct asked *list, unsigned count)
{
	for (unsigned i = 1; i < count; i++) {
		struct asked moving = list[i];
		unsigned j = i;

		for (; j > 0 && before(&moving, &list[j - 1]); j--)
			list[j] = list[j - 1];
		list[j] = moving;
	}
}

uint64_t
share_of(const struct asked *a, const struct asked *end, uint64_t want)
{
	enum spw_tier tier = a->shrinker->tier;
	double sum = 0, share;

	if (a->count == UINT64_MAX)
		return want;
	for (const struct asked *other = a;
	     other < end && other->shrinker->tier == tier; other++)
		sum += share_weight(other);
	share = sum > 0 ? (double)want * (share_weight(a) / sum) : 0;
	if (share < (double)SHARE_MIN_BYTES)
		share = (double)SHARE_MIN_BYTES;
	return share + (double)SHARE_MIN_BYTES < (double)want ?
		       (uint64_t)share :
		       want;
}
