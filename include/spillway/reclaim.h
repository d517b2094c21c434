/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asking this process for memory: N bytes or all that can go.
 *
 * Usage: uint64_t got; spw_reclaim(&got, &(struct spw_reclaim_options){
 *	.size = sizeof(struct spw_reclaim_options),
 *	.target_bytes = UINT64_MAX });
 *
 * Caveats: thread-safe; not async-signal-safe; must not be called from a
 * shrinker's callback (-EDEADLK) or inside a read-side section. `spillway
 * reclaim PID SIZE` does the same from outside.
 *
 * The contract (bytes or max, what the last attempt gave, ended by a signal
 * or a timeout) is that of the opportunistic memory reclaim proposal (2020).
 */
#ifndef SPILLWAY_RECLAIM_H
#define SPILLWAY_RECLAIM_H

#include <spillway/export.h>

SPW_BEGIN_DECLS

struct spw_reclaim_options {
	size_t size;
	uint64_t target_bytes;     /* UINT64_MAX: all that can go */
	uint64_t timeout_ns;       /* 0: none */
	uint64_t older_than_ns;    /* only what was not used for so long */
	uint64_t rate_bytes_per_s; /* at most; 0: as fast as it goes */
};

/*
 * Runs passes until target_bytes went, or nothing more moves.
 * *reclaimed_bytes says what went, also when an error is returned.
 * NULL options mean all that can go.
 * Errors: -EINVAL, -ETIMEDOUT, -EINTR (a signal was handled, by a handler
 * without SA_RESTART), -EDEADLK, -ENOTSUP (SPILLWAY_CONF=off).
 */
int spw_reclaim(uint64_t *reclaimed_bytes,
		const struct spw_reclaim_options *options);

/* What the last finished attempt gave, whoever asked for it. */
uint64_t spw_reclaim_last(void);

SPW_END_DECLS

#endif
