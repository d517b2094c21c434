/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A clock for single operations of some ten nanoseconds: the processor's time
 * stamp counter, with what reading it costs taken off.
 *
 * Usage: tick_start() once; begin = tick_now(); ...; tick_ns(begin,
 * tick_now()).
 *
 * Caveats: the counter is fenced on both sides, so that an operation that is
 * timed alone does not overlap with its neighbours: it takes longer than one
 * of many. Where there is no such counter it is the clock of bench_now_ns().
 */
#ifndef BENCH_TICK_H
#define BENCH_TICK_H

#include <stdint.h>

#include "bench/bench.h"

extern double tick_rate;  /* ns a tick */
extern uint64_t tick_own; /* ticks that a reading takes */

/* Takes 20 ms; notes what a reading costs. */
void tick_start(void);

static inline uint64_t
tick_now(void)
{
#ifdef __x86_64__
	uint32_t low, high;

	__asm__ volatile("lfence\n\trdtsc\n\tlfence"
			 : "=a"(low), "=d"(high)
			 :
			 : "memory");
	return (uint64_t)high << 32 | low;
#else
	return bench_now_ns();
#endif
}

static inline uint64_t
tick_ns(uint64_t begin, uint64_t end)
{
	uint64_t ticks = end - begin;

	return (uint64_t)((double)(ticks > tick_own ? ticks - tick_own : 0) *
			  tick_rate);
}

#endif
