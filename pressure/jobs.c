/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Jobs on the reclaimer thread.
 *
 * Posted by cache/ from any thread; run by engine.c and, between two steps,
 * by pass.c. One runs at a time: a second reclaimer that took over from a hung
 * one leaves those alone that the first is in, and jobs do not hang, because
 * none calls the program's code.
 *
 * The lock guards the list and `running`, and is held for a few stores.
 * `ended` is the futex of jobs_remove(), bumped after a job (release).
 */
#include "pressure/jobs.h"

#include <stddef.h>

#include "base/futex.h"
#include "base/lock.h"
#include "pressure/engine.h"

static struct base_lock lock = BASE_LOCK(BASE_RANK_JOBS);
static struct job *first, **last = &first; /* Guarded by lock. */
static struct job *running;                /* so is this */
static unsigned posted;                    /* and this: how many */
static _Atomic bool pending;
static _Atomic uint32_t ended;

void
jobs_begin(void)
{
	lock_fork_add(&lock);
}

void
jobs_post(struct job *job)
{
	bool new;

	base_lock(&lock);
	new = !job->posted;
	if (new) {
		job->posted = true;
		posted++;
		job->next = NULL;
		*last = job;
		last = &job->next;
		atomic_store(&pending, true);
	}
	base_unlock(&lock);
	if (new)
		engine_notify();
}

static void
unlink_locked(struct job *job)
{
	struct job **place = &first;

	base_assert_held(&lock);
	while (*place != job)
		place = &(*place)->next;
	*place = job->next;
	if (last == &job->next)
		last = place;
	job->posted = false;
	posted--;
}

void
jobs_remove(struct job *job)
{
	for (;;) {
		uint32_t seen = atomic_load_explicit(&ended,
						     memory_order_acquire);
		bool runs;

		base_lock(&lock);
		if (job->posted)
			unlink_locked(job);
		runs = running == job;
		base_unlock(&lock);
		if (!runs)
			return;
		futex_wait(&ended, seen, FUTEX_FOREVER);
	}
}

bool
jobs_pending(void)
{
	return atomic_load_explicit(&pending, memory_order_acquire);
}

void
jobs_run(void)
{
	unsigned turns;

	if (!jobs_pending())
		return;
	base_lock(&lock);
	turns = posted; /* what posts itself again has its turn later */
	base_unlock(&lock);
	while (turns--) {
		struct job *job;

		base_lock(&lock);
		job = running ? NULL : first;
		if (job) {
			unlink_locked(job);
			running = job;
		}
		if (!first)
			atomic_store(&pending, false);
		base_unlock(&lock);
		if (!job)
			return;
		job->run(job);
		base_lock(&lock);
		running = NULL;
		base_unlock(&lock);
		atomic_fetch_add_explicit(&ended, 1, memory_order_release);
		futex_wake(&ended, FUTEX_ALL);
	}
}

void
jobs_fork_child(void)
{
	for (struct job *job = first, *next; job; job = next) {
		next = job->next;
		job->posted = false;
	}
	first = NULL;
	last = &first;
	running = NULL;
	posted = 0;
	atomic_store(&pending, false);
}
