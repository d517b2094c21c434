/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reclaim engine as the rest of pressure/ sees it: what is wanted goes in,
 * passes run on the reclaimer thread.
 *
 * Usage: engine_want() from the monitor; requests.h for what somebody waits
 * for.
 *
 * Caveats: allocation-free; engine_want() never blocks.
 */
#ifndef PRESSURE_ENGINE_H
#define PRESSURE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include <spillway/pressure.h>

/* From the monitor: this much, at this level (0 bytes: nothing to do). */
void engine_want(enum spw_level level, uint64_t deficit_bytes);

/* The reclaimer thread's body; the argument is its generation. */
void *engine_thread(void *generation);

/*
 * From the monitor: looks for a shrinker that hangs, and has the standby
 * thread take over.
 */
void engine_watch(void);

/* Something to tell to subscribers: wakes the reclaimer. */
void engine_notify(void);

/* What a shrinker promised has come: a hold-off is over. */
void engine_retry(void);

/* True while a pass or a request is under way. */
bool engine_busy(void);
/* The reclaimer does not sleep, or is not to. */
bool engine_works(void);

/* On a thread of spillway's, or in a callback of a shrinker. */
bool engine_is_ours(void);

/* Dirty bytes of our heap, and what the shrinkers last said. */
uint64_t engine_reclaimable_bytes(void);

/* When the last pass for want of memory ended; 0: none yet. */
uint64_t engine_passed_ns(void);

/* Passes in a row that gave nothing. */
uint32_t engine_futile_passes(void);

/*
 * Whether the reclaimer would sleep for what the kernel charges it with
 * (limits_is_throttled()), and others may still give without: what opens
 * files, makes threads or changes mappings waits.
 */
bool engine_is_throttled(void);

/* threads:never: purges what is free, in the calling thread. */
void engine_purge_inline(void);

/* Parks the reclaimer for good (a sandbox comes). */
void engine_stop(void);

/* In the child of a fork: no pass is running. */
void engine_fork_child(void);

#endif
