/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The time stamp counter against the system's clock, and against itself.
 */
#include "bench/tick.h"

#include <stdlib.h>

double tick_rate = 1;
uint64_t tick_own;

static int
compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

void
tick_start(void)
{
	enum { TRIES = 1001 };
	uint64_t tries[TRIES], begin_ns, begin, end_ns, end;

	begin_ns = bench_now_ns();
	begin = tick_now();
	do {
		end_ns = bench_now_ns();
		end = tick_now();
	} while (end_ns - begin_ns < 20000000);
	tick_rate = (double)(end_ns - begin_ns) / (double)(end - begin);
	for (unsigned i = 0; i < TRIES; i++) {
		begin = tick_now();
		tries[i] = tick_now() - begin;
	}
	qsort(tries, TRIES, sizeof tries[0], compare);
	tick_own = tries[TRIES / 2];
	bench_note("clock: %.3f ns a tick; %.1f ns, what a reading takes, are "
		   "taken off",
		   tick_rate, (double)tick_own * tick_rate);
}
