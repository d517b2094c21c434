/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Jobs: what a layer above wants done on the reclaimer thread, soon.
 *
 * Usage: static or embedded struct job with .run; jobs_post(&job).
 *
 * Caveats: a job that is posted while it waits runs once; while it runs, once
 * more. It runs between two steps of a pass or when the reclaimer is idle,
 * late where a callback of the program is slow. jobs_post() allocates nothing
 * and does not wait. In the child of a fork nothing is posted.
 */
#ifndef PRESSURE_JOBS_H
#define PRESSURE_JOBS_H

#include <stdatomic.h>
#include <stdbool.h>

struct job {
	void (*run)(struct job *job);
	struct job *next; /* Guarded by jobs.c's lock, as is what follows. */
	bool posted;
};

void jobs_post(struct job *job);

/* Returns when it is neither posted nor running. Not from inside a job. */
void jobs_remove(struct job *job);

/* ---- for the engine ---- */

/* When the core starts, with no lock held. Idempotent. */
void jobs_begin(void);
bool jobs_pending(void);
/* All that were posted; nothing inside a job. */
void jobs_run(void);
void jobs_fork_child(void);

#endif
