/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests for memory from outside, and spw_reclaim().
 *
 *	requests_submit (control socket, spw_reclaim) -> engine_notify
 *	  -> engine_thread -> requests_run -> pass_run (pass.c), slice by slice
 *	  -> requests_poll
 *
 * A request is a slot whose state moves FREE -> TAKEN -> QUEUED -> RUNNING ->
 * DONE -> FREE by compare and swap; its other members belong to who moved it,
 * but for what is atomic. The state is the futex of who waits for it. One
 * whose thread hangs goes back to QUEUED; where the threads end for good
 * (core_sandboxed) all that are left are DONE, with -ECANCELED.
 */
#include "pressure/requests.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/elsewhere.h"
#include "base/futex.h"
#include "base/rcu.h"
#include "base/settings.h"
#include "pressure/core.h"
#include "pressure/engine.h"
#include "pressure/pass.h"

/* A paced slice is never too little to be measured: resident memory is known
 * to within a batch of pages for each CPU. */
#define SLICE_MIN_BYTES (512 << 10)

enum request_state { FREE, TAKEN, QUEUED, RUNNING, DONE };

struct request {
	_Atomic uint32_t state; /* a futex */
	_Atomic bool cancelled;
	_Atomic int result;
	_Atomic uint64_t reclaimed_bytes;
	uint64_t started_ns;
	struct spw_reclaim_options options;
};

static struct request requests[REQUESTS_MAX];
static _Atomic uint64_t last_reclaimed_bytes;

static uint64_t
request_left(const struct pass *pass)
{
	const struct request *r = pass->request;
	const struct spw_reclaim_options *o = &r->options;
	uint64_t got = atomic_load(&r->reclaimed_bytes) + pass->got_bytes;

	if (atomic_load(&r->cancelled) ||
	    (o->timeout_ns && clock_now_ns() - r->started_ns >= o->timeout_ns))
		return 0;
	return got < o->target_bytes ? o->target_bytes - got : 0;
}

/* Keeps to the rate: sleeps while the request is ahead of it. */
static void
pace(struct request *r)
{
	uint64_t rate = r->options.rate_bytes_per_s;
	uint64_t due;

	if (!rate)
		return;
	due = (uint64_t)((double)atomic_load(&r->reclaimed_bytes) /
			 (double)rate * 1e9);
	while (!atomic_load(&r->cancelled) &&
	       clock_now_ns() - r->started_ns < due &&
	       !(r->options.timeout_ns &&
		 clock_now_ns() - r->started_ns >= r->options.timeout_ns)) {
		futex_wait(&r->state, RUNNING, 20 * CLOCK_MS);
	}
}

static void
finish(struct request *r)
{
	uint64_t got = atomic_load(&r->reclaimed_bytes);
	int result = 1;

	if (atomic_load(&r->cancelled))
		result = -ECANCELED;
	else if (r->options.timeout_ns && got < r->options.target_bytes &&
		 clock_now_ns() - r->started_ns >= r->options.timeout_ns)
		result = -ETIMEDOUT;
	atomic_store(&r->result, result);
	atomic_store(&last_reclaimed_bytes, got);
	atomic_store(&r->state, DONE);
	futex_wake(&r->state, FUTEX_ALL);
}

/* What a tenth of a second may give, but never too little to be measured:
 * resident memory is known to within a batch of pages for each CPU. */
static uint64_t
slice_of(uint64_t rate)
{
	return rate / 10 > SLICE_MIN_BYTES ? rate / 10 : SLICE_MIN_BYTES;
}

static void
run(struct request *r, uint32_t mine)
{
	for (;;) {
		struct pass pass = {
			.level = SPW_LEVEL_CRITICAL,
			.asked = true,
			.older_than_ns = r->options.older_than_ns,
			.left = request_left,
			.request = r,
			.generation = mine,
		};
		uint64_t rate = r->options.rate_bytes_per_s;

		pass.target_bytes = request_left(&pass);
		if (!pass.target_bytes)
			break;
		if (rate && pass.target_bytes > slice_of(rate))
			pass.target_bytes = slice_of(rate);
		pass.paced = rate != 0;
		pass_run(&pass);
		if (engine_overtaken(mine))
			return;
		core_count(&core_counters.passes, 1);
		core_count(&core_counters.reclaimed_bytes, pass.got_bytes);
		atomic_fetch_add(&r->reclaimed_bytes, pass.got_bytes);
		if (pass.got_bytes + pass.shown_bytes < 4096)
			break; /* nothing moves */
		pace(r);
	}
	finish(r);
}

void
requests_progress(struct pass *pass)
{
	struct request *r = pass->request;

	if (r) { /* what is shown while the pass runs */
		atomic_fetch_add(&r->reclaimed_bytes, pass->got_bytes);
		core_count(&core_counters.reclaimed_bytes, pass->got_bytes);
		pass->shown_bytes += pass->got_bytes;
		pass->got_bytes = 0;
	}
}

static struct request *
next(void)
{
	for (unsigned i = 0; i < REQUESTS_MAX; i++) {
		uint32_t queued = QUEUED;

		if (atomic_compare_exchange_strong(&requests[i].state, &queued,
						   RUNNING))
			return &requests[i];
	}
	return NULL;
}

bool
requests_queued(void)
{
	for (unsigned i = 0; i < REQUESTS_MAX; i++)
		if (atomic_load(&requests[i].state) == QUEUED)
			return true;
	return false;
}

void
requests_run(uint32_t generation)
{
	struct request *r;

	while (!engine_overtaken(generation) && (r = next()))
		run(r, generation);
}

void
requests_requeue(void)
{
	for (unsigned i = 0; i < REQUESTS_MAX; i++) {
		uint32_t running = RUNNING;

		atomic_compare_exchange_strong(&requests[i].state, &running,
					       QUEUED);
	}
}

void
requests_abandon(void)
{
	for (unsigned i = 0; i < REQUESTS_MAX; i++) {
		struct request *r = &requests[i];
		uint32_t state = atomic_load(&r->state);

		if (state != QUEUED && state != RUNNING)
			continue;
		atomic_store(&r->result, -ECANCELED);
		atomic_store(&r->state, DONE);
		futex_wake(&r->state, FUTEX_ALL);
	}
}

void
requests_fork_child(void)
{
	memset(requests, 0, sizeof requests);
}

void
requests_note_last(uint64_t reclaimed_bytes)
{
	atomic_store(&last_reclaimed_bytes, reclaimed_bytes);
}

int
requests_submit(const struct spw_reclaim_options *options)
{
	int error;

	if (options->size != sizeof *options || !options->target_bytes)
		return -EINVAL;
	error = core_start();
	if (error)
		return error;
	for (int i = 0; i < REQUESTS_MAX; i++) {
		struct request *r = &requests[i];
		uint32_t is_free = FREE;

		if (!atomic_compare_exchange_strong(&r->state, &is_free, TAKEN))
			continue;
		r->options = *options;
		r->started_ns = clock_now_ns();
		atomic_store(&r->cancelled, false);
		atomic_store(&r->reclaimed_bytes, 0);
		atomic_store(&r->state, QUEUED);
		engine_notify();
		return i;
	}
	return -EBUSY;
}

int
requests_poll(int ticket, uint64_t *reclaimed_bytes)
{
	struct request *r = &requests[ticket];
	int result;

	*reclaimed_bytes = atomic_load(&r->reclaimed_bytes);
	if (atomic_load(&r->state) != DONE)
		return 0;
	*reclaimed_bytes = atomic_load(&r->reclaimed_bytes);
	result = atomic_load(&r->result);
	atomic_store(&r->state, FREE);
	return result;
}

void
requests_cancel(int ticket)
{
	atomic_store(&requests[ticket].cancelled, true);
	futex_wake(&requests[ticket].state, FUTEX_ALL);
}

/* Waits for a ticket in the program's thread; -EINTR cancels. */
static int
await(int ticket, uint64_t *reclaimed_bytes)
{
	struct request *r = &requests[ticket];
	bool interrupted = false;
	int result;

	while ((result = requests_poll(ticket, reclaimed_bytes)) == 0) {
		uint32_t state = atomic_load(&r->state);

		if (state == DONE)
			continue;
		if (futex_wait(&r->state, state, FUTEX_FOREVER) == -EINTR &&
		    !interrupted) {
			interrupted = true;
			requests_cancel(ticket);
		}
	}
	if (result == -ECANCELED)
		return -EINTR;
	return result > 0 ? 0 : result;
}

SPW_EXPORT int
spw_reclaim(uint64_t *reclaimed_bytes,
	    const struct spw_reclaim_options *options)
{
	const struct spw_reclaim_options all = { .size = sizeof all,
						 .target_bytes = UINT64_MAX };
	uint64_t ignored;
	int ticket;

	ELSEWHERE(spw_reclaim, reclaimed_bytes, options);
	if (!reclaimed_bytes)
		reclaimed_bytes = &ignored;
	*reclaimed_bytes = 0;
	if (!options)
		options = &all;
	if (options->size != sizeof *options)
		return -EINVAL;
	if (engine_is_ours() || rcu_is_reading())
		return -EDEADLK;
	if (!options->target_bytes)
		return 0;
	if (settings()->threads == SETTINGS_THREADS_NEVER && !settings()->off) {
		*reclaimed_bytes = pass_inline(options, true);
		atomic_store(&last_reclaimed_bytes, *reclaimed_bytes);
		return 0;
	}
	while ((ticket = requests_submit(options)) == -EBUSY)
		usleep(1000);
	if (ticket < 0)
		return ticket;
	return await(ticket, reclaimed_bytes);
}

SPW_EXPORT uint64_t
spw_reclaim_last(void)
{
	ELSEWHERE(spw_reclaim_last);
	return atomic_load(&last_reclaimed_bytes);
}
