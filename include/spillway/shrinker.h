/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shrinkers: whatever can give memory back, asked in order of price.
 *
 * Usage: fill a struct spw_shrinker_options, spw_shrinker_register() it; from
 * then on `count` says how many bytes could go and `shrink` lets them go.
 *
 * Caveats:
 *  - threads: both callbacks run on spillway's reclaimer thread, one call at a
 *    time for one shrinker. They may take locks of the program: a thread that
 *    allocates while holding such a lock is released by the gate's bound
 *    (10 ms), never deadlocked. They should not allocate.
 *  - A shrinker that does not return in time is quarantined (asked no more)
 *    and another thread takes over; one that lies about what it freed is
 *    ranked by what usage says.
 *  - fork: registrations stay in the child, which asks them once it has grown
 *    threads of its own.
 *  - signals: nothing here is async-signal-safe.
 *
 * Counting is split from shrinking as in Linux's shrinker.h; one function
 * with a target in bytes, soft or hard, is OSv's (see spillway/osv.h).
 */
#ifndef SPILLWAY_SHRINKER_H
#define SPILLWAY_SHRINKER_H

#include <spillway/pressure.h>

SPW_BEGIN_DECLS

/* How dear the memory is; cheaper tiers are asked first. */
enum spw_tier {
	SPW_TIER_FREE = 0,     /* dirty pages, free memory of a malloc */
	SPW_TIER_COLD = 10,    /* not read for a while */
	SPW_TIER_GARBAGE = 20, /* collectors */
	SPW_TIER_WARM = 30,
	SPW_TIER_LAST = 40, /* only when the level is critical */
};

/*
 * What a shrink callback returns when it has started work that will give the
 * memory back later: it is credited when usage falls.
 */
#define SPW_SHRINK_LATER SIZE_MAX

/* One request. */
struct spw_shrink {
	size_t size;
	uint64_t target_bytes; /* this shrinker's share; more is welcome */
	enum spw_level level;
	bool hard;              /* critical: a thread waits for this memory */
	int node;               /* NUMA node, -1: any */
	uint64_t older_than_ns; /* only what was not used for so long; 0: all */
	uint64_t deadline_ns;   /* CLOCK_MONOTONIC; be back before */
};

struct spw_shrinker_options {
	size_t size;
	const char *name; /* copied; 1 to 63 bytes */
	enum spw_tier tier;
	/* Bytes that could go. NULL: unknown, asked last in its tier. */
	size_t (*count)(const struct spw_shrink *request, void *context);
	/* Bytes that went, or SPW_SHRINK_LATER. */
	size_t (*shrink)(const struct spw_shrink *request, void *context);
	void *context;
};

struct spw_shrinker;

/*
 * Never waits for a pass that is running. Tiers can be overridden by the user:
 * SPILLWAY_CONF=tier:NAME=cold.
 * Errors: -EINVAL (names the member in the log), -ENOMEM, -ENOTSUP
 * (SPILLWAY_CONF=off).
 */
int spw_shrinker_register(struct spw_shrinker **shrinker,
			  const struct spw_shrinker_options *options);

/*
 * Returns when no call of this shrinker is running; from inside its own
 * callback it returns at once and takes effect when the callback returns.
 * NULL is ignored.
 */
void spw_shrinker_unregister(struct spw_shrinker *shrinker);

SPW_END_DECLS

#endif
