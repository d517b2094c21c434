/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rejection-inversion, by W. Hormann and G. Derflinger, "Rejection-inversion
 * to generate variates from monotone discrete distributions", ACM TOMACS 6
 * (1996): exact for each rank, no table, about one and a half logarithms and
 * exponentials a draw.
 *
 * The density 1/x^e is integrated, a point of the integral is drawn and
 * inverted; the integral over [k - 1/2, k + 1/2] is not less than the chance
 * of k, and what is too much is rejected.
 */
#include "bench/zipf.h"

#include <math.h>

#include "bench/bench.h"

/* (exp(x) - 1) / x */
static double
expm1_over(double x)
{
	return fabs(x) > 1e-8 ? expm1(x) / x :
				1 + x / 2 * (1 + x / 3 * (1 + x / 4));
}

/* log(1 + x) / x */
static double
log1p_over(double x)
{
	return fabs(x) > 1e-8 ? log1p(x) / x :
				1 - x * (1 / 2. - x * (1 / 3. - x / 4));
}

static double
density(const struct zipf *zipf, double x)
{
	return exp(-zipf->exponent * log(x));
}

static double
integral(const struct zipf *zipf, double x)
{
	double logarithm = log(x);

	return expm1_over((1 - zipf->exponent) * logarithm) * logarithm;
}

static double
inverse(const struct zipf *zipf, double x)
{
	double t = x * (1 - zipf->exponent);

	return exp(log1p_over(t < -1 ? -1 : t) * x);
}

void
zipf_start(struct zipf *zipf, uint64_t ranks, double exponent)
{
	zipf->ranks = ranks;
	zipf->exponent = exponent;
	zipf->integral_first = integral(zipf, 1.5) - 1;
	zipf->integral_last = integral(zipf, (double)ranks + 0.5);
	zipf->cut = 2 - inverse(zipf, integral(zipf, 2.5) - density(zipf, 2));
}

uint64_t
zipf_draw(const struct zipf *zipf, uint64_t *random)
{
	for (;;) {
		double point = (double)(bench_random(random) >> 11) /
			       9007199254740992.;
		double u = zipf->integral_last +
			   point * (zipf->integral_first - zipf->integral_last);
		double x = inverse(zipf, u);
		double k = floor(x + 0.5);

		k = k < 1 ? 1 : k;
		k = k > (double)zipf->ranks ? (double)zipf->ranks : k;
		if (k - x <= zipf->cut ||
		    u >= integral(zipf, k + 0.5) - density(zipf, k))
			return (uint64_t)k - 1;
	}
}

double
zipf_share(const struct zipf *zipf, uint64_t first)
{
	double sum = 0, all = 0;

	/* The small ones first: they would be lost in the sum. */
	for (uint64_t rank = zipf->ranks; rank > 0; rank--) {
		double chance = density(zipf, (double)rank);

		all += chance;
		if (rank <= first)
			sum += chance;
	}
	return sum / all;
}
