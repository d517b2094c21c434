/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the demonstration shows while it runs, and the table at its end.
 *
 * Usage: bars_begin(), bars_draw() ten times a second, bars_end();
 * bars_table() once.
 *
 * Caveats: draws in place on a terminal (colours unless NO_COLOR is set),
 * else prints one line a second. Writes to standard output.
 */
#ifndef CLI_BARS_H
#define CLI_BARS_H

#include <stdbool.h>
#include <stdint.h>

/* One moment of a run. */
struct bars_now {
	uint64_t ns; /* since the run began */
	uint64_t limit_bytes;
	uint64_t usage_bytes; /* of the group */
	uint64_t cache_bytes, neighbour_bytes;
	uint64_t given_bytes;
	unsigned hits_thousandths; /* of the last second's lookups */
};

/* How a run ended. */
struct bars_result {
	bool done; /* it has run at all */
	bool survived;
	char ended[64]; /* "killed by the kernel at 4.2 s" */
	uint64_t ended_ns;
	uint64_t lookups, hits;
	unsigned hits_thousandths;      /* of all */
	unsigned hits_last_thousandths; /* of the last second */
	uint64_t peak_bytes;
	uint64_t given_bytes;    /* by the program's shrinker */
	uint64_t returned_bytes; /* as spillway measured; UINT64_MAX: unknown */
	uint64_t cache_bytes;    /* at the end */
	uint64_t cache_bytes_min; /* once shrunk; UINT64_MAX: never */
	uint64_t neighbour_bytes;
	uint64_t stall_ns_max;
};

void bars_begin(const char *title);
void bars_draw(const struct bars_now *now);
void bars_end(const struct bars_result *result);

void bars_table(const struct bars_result *without,
		const struct bars_result *with);

#endif
