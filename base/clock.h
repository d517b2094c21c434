/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one clock: CLOCK_MONOTONIC in nanoseconds.
 *
 * Usage: clock_now_ns() - start_ns.
 *
 * Caveats: async-signal-safe, thread-safe, about 25 ns (vDSO).
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define CLOCK_US 1000ull
#define CLOCK_MS 1000000ull
#define CLOCK_S 1000000000ull

static inline uint64_t
clock_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * CLOCK_S + (uint64_t)now.tv_nsec;
}

#endif
