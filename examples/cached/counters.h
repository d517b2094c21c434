/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is counted: each worker counts for itself, stats adds up.
 *
 * Usage: counters_register(&counters) once for each; counters_up(&c->get_hits);
 * counters_sum(&sum).
 *
 * Caveats: threads: a struct is written by one thread only, and read by all.
 */
#ifndef EXAMPLES_CACHED_COUNTERS_H
#define EXAMPLES_CACHED_COUNTERS_H

#include <stdint.h>

/* By memcached's names, in its order. */
#define COUNTERS(X)             \
	X(total_connections)    \
	X(rejected_connections) \
	X(cmd_set)              \
	X(cmd_flush)            \
	X(cmd_touch)            \
	X(cmd_meta)             \
	X(get_hits)             \
	X(get_misses)           \
	X(delete_misses)        \
	X(delete_hits)          \
	X(incr_misses)          \
	X(incr_hits)            \
	X(decr_misses)          \
	X(decr_hits)            \
	X(cas_misses)           \
	X(cas_hits)             \
	X(cas_badval)           \
	X(touch_hits)           \
	X(touch_misses)         \
	X(store_too_large)      \
	X(store_no_memory)      \
	X(bytes_read)           \
	X(bytes_written)

struct counters {
#define X(name) uint64_t name;
	COUNTERS(X)
#undef X
	uint64_t closed_connections;
	struct counters *next;
};

void counters_register(struct counters *counters);
/* Since the start, or the last reset. */
void counters_sum(struct counters *sum);
void counters_reset(void);
/* How many are open now. */
uint64_t counters_connections(void);

static inline void
counters_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter,
			 __atomic_load_n(counter, __ATOMIC_RELAXED) + n,
			 __ATOMIC_RELAXED);
}

static inline void
counters_up(uint64_t *counter)
{
	counters_add(counter, 1);
}

#endif
