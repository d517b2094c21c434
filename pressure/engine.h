/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reclaim engine as the rest of pressure/ sees it: requests go in, passes
 * run on the reclaimer thread, results come out. (The public face is
 * spillway/reclaim.h.)
 *
 * Usage: engine_want() from the monitor; engine_submit()/_poll()/_cancel()
 * for requests that somebody waits for.
 *
 * Caveats: allocation-free; engine_want(), _poll() and _cancel() never block.
 */
#ifndef PRESSURE_ENGINE_H
#define PRESSURE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include <spillway/pressure.h>
#include <spillway/reclaim.h>

/* Requests in the making at one time; more are refused with -EAGAIN. */
#define ENGINE_REQUESTS_MAX 8

/*
 * Queues a request on behalf of somebody outside. Returns a ticket >= 0, or
 * -EAGAIN (full), -EINVAL, -ENOTSUP. Starts threads where none run.
 */
int engine_submit(const struct spw_reclaim_options *options);

/*
 * *reclaimed_bytes so far. 0: still running; 1: done, the ticket is free
 * again; negative errno: done with that (-ETIMEDOUT, -ECANCELED), free again.
 */
int engine_poll(int ticket, uint64_t *reclaimed_bytes);

/* Stops it between two slices; poll until it is done. */
void engine_cancel(int ticket);

/* From the monitor: this much, at this level (0 bytes: nothing to do). */
void engine_want(enum spw_level level, uint64_t deficit_bytes);

/* The reclaimer thread's body, and what the watchdog asks. */
void *engine_thread(void *generation);
bool engine_is_ours(void);	/* on a thread of spillway's */

#endif
