/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbers by Zipf's law: rank r comes with a chance in proportion to
 * 1 / r^exponent.
 *
 * Usage: zipf_start(&zipf, ranks, 0.99); zipf_draw(&zipf, &random) gives 0
 * (the most frequent) ... ranks - 1; zipf_scatter() makes keys of ranks.
 *
 * Caveats: a struct zipf is not written after zipf_start(): threads may share
 * it. The same state of `random` gives the same sequence.
 */
#ifndef BENCH_ZIPF_H
#define BENCH_ZIPF_H

#include <stdint.h>

struct zipf {
	uint64_t ranks;
	double exponent;
	double integral_first, integral_last, cut;
};

void zipf_start(struct zipf *zipf, uint64_t ranks, double exponent);
uint64_t zipf_draw(const struct zipf *zipf, uint64_t *random);

/* The share of all draws that the first so many ranks get: the hit ratio of
 * a cache that holds just these. Takes a time in proportion to the ranks. */
double zipf_share(const struct zipf *zipf, uint64_t first);

/* One to one, so that neighbours in rank are none in key. */
static inline uint32_t
zipf_scatter(uint64_t rank, uint64_t ranks)
{
	return (uint32_t)(rank * 2654435761u % ranks); /* a prime */
}

#endif
