/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory pressure as this process feels it: a level, a deficit in bytes and
 * the headroom that is left before the nearest limit.
 *
 * Usage: spw_pressure_subscribe() to be called when the level changes,
 * spw_pressure_fd() to poll for it, spw_pressure_grow() before mapping memory
 * that no allocator of ours sees.
 *
 * Caveats:
 *  - fork: subscriptions stay, but a child senses nothing until it grows by
 *    itself; descriptors from spw_pressure_fd() are shared with the child and
 *    are written by the parent alone.
 *  - signals: spw_pressure_read() is async-signal-safe once any other function
 *    of spillway has returned in this process; nothing else here is.
 *  - threads: everything is thread-safe.
 *
 * The levels are those of the mempressure control group (2013) and of the
 * kernel's v1 memory.pressure_level.
 */
#ifndef SPILLWAY_PRESSURE_H
#define SPILLWAY_PRESSURE_H

#include <spillway/export.h>

SPW_BEGIN_DECLS

enum spw_level {
	SPW_LEVEL_NONE,     /* plenty */
	SPW_LEVEL_LOW,      /* free what is free */
	SPW_LEVEL_MEDIUM,   /* below the soft watermark, or stalling */
	SPW_LEVEL_CRITICAL, /* below the hard watermark */
};

struct spw_pressure {
	size_t size; /* in: sizeof(struct spw_pressure) */
	enum spw_level level;
	uint64_t deficit_bytes;  /* what should be given back now */
	uint64_t headroom_bytes; /* UINT64_MAX: no limit is known */
	uint64_t limit_bytes;    /* the nearest limit, or UINT64_MAX */
	uint64_t usage_bytes;    /* what is charged to that limit */
};

/*
 * The state as last sensed; costs a few loads. .size must be set.
 * Errors: -EINVAL (NULL, or .size unknown).
 */
int spw_pressure_read(struct spw_pressure *pressure);

struct spw_subscription;

/*
 * Calls notify on spillway's own reclaimer thread whenever the level reaches
 * or leaves at_least. The callback may use spillway, must not block for long
 * and must not wait for a thread that allocates.
 * Errors: -EINVAL, -ENOMEM, -ENOTSUP (SPILLWAY_CONF=off).
 */
int spw_pressure_subscribe(struct spw_subscription **subscription,
			   enum spw_level at_least,
			   void (*notify)(const struct spw_pressure *, void *),
			   void *context);

/* Returns when no call is running; deferred from inside the callback. */
void spw_pressure_unsubscribe(struct spw_subscription *subscription);

/*
 * A non-blocking eventfd that becomes readable when the level reaches
 * at_least. Read it to be told again; close(2) it when done.
 * Returns the descriptor, or -EINVAL, -EMFILE, -ENOMEM, -ENOTSUP.
 */
int spw_pressure_fd(enum spw_level at_least);

/*
 * To be called before mapping `bytes` that no allocator of ours sees (a heap
 * of a language runtime). Admits at once while headroom is plenty; asks for
 * reclaim and waits for it, 10 ms at most, where it is not.
 * Returns 0 (go on), or -ENOMEM where SPILLWAY_CONF=oom:fail and nothing is
 * left to give. Never waits inside a read-side section or on spillway's own
 * threads.
 */
int spw_pressure_grow(size_t bytes);

SPW_END_DECLS

#endif
