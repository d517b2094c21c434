/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests for memory from outside: the control socket's and spw_reclaim()'s.
 *
 * Usage: requests_submit() gives a ticket; requests_poll() it until it is
 * done.
 *
 * Caveats: allocation-free; requests_poll() and _cancel() never block.
 */
#ifndef PRESSURE_REQUESTS_H
#define PRESSURE_REQUESTS_H

#include <stdbool.h>
#include <stdint.h>

#include <spillway/reclaim.h>

struct pass;

/* In the making at one time; more are refused with -EBUSY. */
#define REQUESTS_MAX 8

/*
 * Queues a request. Starts threads where none run. Returns a ticket >= 0, or
 * -EBUSY (all slots are taken), -EINVAL, -ENOTSUP, -EAGAIN (no threads can be
 * had).
 */
int requests_submit(const struct spw_reclaim_options *options);

/*
 * *reclaimed_bytes so far. 0: still running; 1: done, the ticket is free
 * again; negative errno: done with that (-ETIMEDOUT, -ECANCELED), free again.
 */
int requests_poll(int ticket, uint64_t *reclaimed_bytes);

/* Stops it between two slices; poll until it is done. */
void requests_cancel(int ticket);

/* ---- for the engine ---- */

bool requests_queued(void);
/* On the reclaimer, until none is left or another thread has taken over. */
void requests_run(uint32_t generation);
/* What a pass gave so far goes to its request. */
void requests_progress(struct pass *pass);
/* The thread that ran one hangs. */
void requests_requeue(void);
/* No thread will ever run one again. */
void requests_abandon(void);
void requests_note_last(uint64_t reclaimed_bytes);
void requests_fork_child(void);

#endif
