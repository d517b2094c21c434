/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor: the thread that senses.
 *
 * Usage: core.c starts monitor_thread(); others ring it, or wait for a fresh
 * reading.
 *
 * Caveats: its descriptor table is its own, so descriptors that it opened
 * mean nothing elsewhere. monitor_ring() is async-signal-safe and fit for
 * hooks. monitor_sense() waits, and is not.
 */
#ifndef PRESSURE_MONITOR_H
#define PRESSURE_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

#include "pressure/level.h"

/* What was last sensed. */
struct monitor_view {
	struct level_output level;
	struct limits_reading reading;
};

void *monitor_thread(void *unused);

/* Has the monitor look at once; costs a tgkill(2), or nothing if rung, or where
 * it looks in a millisecond by itself. */
void monitor_ring(void);

/* Whether there is a monitor that is not the caller; one that is only being
 * started is waited for, timeout_ns at most. */
bool monitor_answers(uint64_t timeout_ns);

/* The same, also where it does not look for rings alone: for news that is not
 * in its counters. */
void monitor_look(void);

/* Waits for a reading taken after this call, timeout_ns at most. */
void monitor_sense(uint64_t timeout_ns);

/* threads:never: senses, and purges what is free, in the calling thread. */
void monitor_sense_inline(void);

/* How much of this process is resident, now: bytes, or 0 where it cannot be
 * read. The monitor opens nothing for that: above memory.high it would sleep. */
uint64_t monitor_read_resident(void);

void monitor_view(struct monitor_view *view);

/* Headroom as it was last sensed; whether it has fallen by more than a quarter
 * of the hard watermark since it was so much. */
uint64_t monitor_headroom(void);
bool monitor_has_worsened(uint64_t since_bytes);

/* Whether there is one yet; and waiting for the first. */
bool monitor_has_view(void);
bool monitor_first_view(uint64_t timeout_ns);

/* Ends the thread as soon as it looks up (before exec of a sandbox). */
void monitor_stop(void);
void monitor_fork_child(void);

#endif
