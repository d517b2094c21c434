/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A cache as the reclaim engine sees it: two shrinkers and a job.
 *
 *	pass.c -> shrink_cold (tier COLD): what was hardly ever hit, merged
 *	       -> shrink_warm (the cache's own tier): the rest; merged while
 *	          there is time, dropped where memory is about to run out
 *	jobs.c -> run_job: the reserve; spw_cache_shrink(); what was cleared
 *
 * All of it runs on the reclaimer. Under threads:never the thread that wants
 * memory does it itself: it is taken for one of ours meanwhile (run_inline),
 * and waits for readers.
 *
 * Both shrinkers are exact: what they say went has gone to the kernel.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/elsewhere.h"
#include "base/futex.h"
#include "base/rcu.h"
#include "cache/cache.h"
#include "pressure/core.h"
#include "pressure/engine.h"
#include "pressure/gate.h"
#include "pressure/monitor.h"
#include "pressure/shrinkers.h"

#define SHRINK_NS (10 * CLOCK_S)
#define NAP_NS (10 * CLOCK_MS)
#define OVER_BYTES (2 * SEGMENT_BYTES)
#define OVER_NS (20 * CLOCK_MS)
#define STEP_PART 2
#define STEP_MAX (64ull << 20)

enum request_state {
	REQUEST_IDLE,
	REQUEST_ASKED,
	REQUEST_SERVED, /* the reclaimer is at it */
	REQUEST_DONE,
};

static size_t
count_warm(const struct spw_shrink *request, void *context)
{
	(void)request;
	return (size_t)grow_held_bytes(context);
}

static size_t
count_cold(const struct spw_shrink *request, void *context)
{
	const struct spw_cache *c = context;
	uint64_t spares = 0;

	(void)request;
	for (unsigned i = 0; i < CACHE_SPARES_MAX; i++)
		if (atomic_load_explicit(&c->spares[i], memory_order_relaxed))
			spares += SEGMENT_BYTES;
	return (size_t)(spares + atomic_load_explicit(&c->cold_bytes,
						      memory_order_relaxed));
}

/* A limit at which the kernel kills is near, or somebody waits: no time to
 * look which entries are worth keeping; or who copies would be throttled. */
static bool
is_urgent(const struct spw_shrink *request)
{
	if (!request->hard)
		return false;
	return gate_waiting_bytes() || grow_is_tight(0);
}

/* Until the level is calm again: passes come in steps, but what is worth
 * keeping depends on how much is to go in all. */
static uint64_t
yet_to_go(const struct monitor_view *view)
{
	const struct limits_reading *r = &view->reading;
	uint64_t goal = view->level.soft_bytes + view->level.soft_bytes / 8;

	if (r->headroom_bytes >= goal)
		return view->level.deficit_bytes;
	return goal - r->headroom_bytes + limits_over_bytes(r);
}

static size_t
shrink(struct spw_cache *c, const struct spw_shrink *request, bool cold_only)
{
	bool ours = rcu_thread_is_ours;
	struct monitor_view view;
	uint64_t went;
	struct evict_ask ask = {
		.target_bytes = request->target_bytes,
		.older_than_ns = request->older_than_ns,
		.deadline_ns = request->deadline_ns,
		.cold_only = cold_only,
	};

	if (rcu_is_reading())
		return 0; /* it would wait for itself */
	monitor_view(&view);
	ask.deficit_bytes = yet_to_go(&view);
	ask.drop = !request->older_than_ns && is_urgent(request);
	if (ask.drop && limits_is_throttled(&view.reading) &&
	    ask.target_bytes < limits_over_bytes(&view.reading))
		ask.target_bytes = limits_over_bytes(&view.reading);
	/* Who copies takes larger steps, where much is to go: each costs a
	 * grace period. */
	if (!ask.drop && ask.deficit_bytes / STEP_PART > ask.target_bytes)
		ask.target_bytes = ask.deficit_bytes / STEP_PART < STEP_MAX ?
					   ask.deficit_bytes / STEP_PART :
					   STEP_MAX;
	/* Under threads:never, this thread. */
	rcu_thread_is_ours = true;
	went = evict_release(c, &ask);
	rcu_thread_is_ours = ours;
	return (size_t)went;
}

static size_t
shrink_cold(const struct spw_shrink *request, void *context)
{
	return shrink(context, request, true);
}

static size_t
shrink_warm(const struct spw_shrink *request, void *context)
{
	return shrink(context, request, false);
}

int
offer_register(struct spw_cache *c, enum spw_tier tier)
{
	char name[SETTINGS_NAME_BYTES];
	struct spw_shrinker_options options = {
		.size = sizeof options,
		.name = c->name,
		.tier = tier,
		.count = count_warm,
		.shrink = shrink_warm,
		.context = c,
	};
	int error = shrinkers_register_exact(&c->warm, &options);

	if (error)
		return error;
	snprintf(name, sizeof name, "%.*s cold",
		 (int)(sizeof name - sizeof " cold"), c->name);
	options.name = name;
	options.tier = tier < SPW_TIER_COLD ? tier : SPW_TIER_COLD;
	options.count = count_cold;
	options.shrink = shrink_cold;
	error = shrinkers_register_exact(&c->cold, &options);
	if (error)
		spw_shrinker_unregister(c->warm);
	return error;
}

void
offer_unregister(struct spw_cache *c)
{
	spw_shrinker_unregister(c->cold);
	spw_shrinker_unregister(c->warm);
	jobs_remove(&c->job);
}

/* ---- jobs ---- */

static _Atomic bool rehearsed;

static void
serve_request(struct spw_cache *c)
{
	struct cache_request *request = &c->request;
	struct evict_ask ask = { 0 };
	uint32_t asked = REQUEST_ASKED;

	if (!atomic_compare_exchange_strong(&request->state, &asked,
					    REQUEST_SERVED))
		return;
	ask.target_bytes = request->target_bytes;
	ask.deadline_ns = clock_now_ns() + SHRINK_NS;
	ask.drop = request->target_bytes >= grow_held_bytes(c);
	request->got_bytes = evict_release(c, &ask);
	atomic_store_explicit(&request->state, REQUEST_DONE,
			      memory_order_release);
	futex_wake(&request->state, FUTEX_ALL);
}

static void
run_job(struct job *job)
{
	bool room, dead, evict;
	struct spw_cache *c =
		(struct spw_cache *)(void *)((char *)job -
					     offsetof(struct spw_cache, job));

	if (!atomic_exchange(&rehearsed, true))
		evict_rehearse(c);
	serve_request(c);
	if (atomic_load(&c->closing))
		evict_closed(c);
	/* Only where somebody inserts: what a shrink gave is not taken back,
	 * and nothing live goes for want of a look at the memory there is. */
	room = atomic_exchange(&c->wants_room, false);
	dead = atomic_exchange(&c->wants_dead, false) || room;
	evict = atomic_exchange(&c->dry, false) ||
		(room && !grow_is_allowed(c, SEGMENT_BYTES, false));
	/* A batch each time, so that others have their turn. */
	if ((evict || (dead && grow_is_littered(c, LITTER_PART))) &&
	    !evict_refill(c, !evict))
		offer_refill(c, evict);
	if (c->max_bytes && grow_held_bytes(c) > c->max_bytes + OVER_BYTES) {
		struct evict_ask over = {
			.target_bytes = grow_held_bytes(c) - c->max_bytes,
			.deadline_ns = clock_now_ns() + OVER_NS,
			.inserting = true,
		};

		evict_release(c, &over);
	}
}

/* Nobody else does it: threads:never, or no thread can be had. */
static bool
is_inline(void)
{
	return settings()->threads == SETTINGS_THREADS_NEVER || !core_running();
}

static void
run_inline(struct spw_cache *c)
{
	bool ours = rcu_thread_is_ours;

	if (rcu_is_reading())
		return; /* it would wait for itself */
	rcu_thread_is_ours = true;
	run_job(&c->job);
	rcu_thread_is_ours = ours;
}

void
offer_init(struct spw_cache *c)
{
	c->job.run = run_job;
	c->request.lock = (struct base_lock)BASE_LOCK(BASE_RANK_CACHE_REQUEST);
}

void
offer_post(struct spw_cache *c)
{
	if (is_inline())
		run_inline(c);
	else
		jobs_post(&c->job);
}

void
offer_refill(struct spw_cache *c, bool anything)
{
	atomic_store(anything ? &c->wants_room : &c->wants_dead, true);
	offer_post(c);
}

void
offer_fork_child(struct spw_cache *c)
{
	pthread_mutex_init(&c->request.lock.mutex, NULL);
	atomic_store(&c->request.state, REQUEST_IDLE);
}

uint64_t
offer_shrink(struct spw_cache *c, uint64_t bytes)
{
	struct cache_request *request = &c->request;
	struct evict_ask here = { .target_bytes = bytes,
				  .deadline_ns = clock_now_ns() + SHRINK_NS };
	uint64_t got;

	if (!bytes || rcu_is_reading())
		return 0;
	if (rcu_thread_is_ours)
		return evict_release(c, &here);
	if (core_start() != 0)
		return 0;
	base_lock(&request->lock);
	request->target_bytes = bytes;
	request->got_bytes = 0;
	atomic_store_explicit(&request->state, REQUEST_ASKED,
			      memory_order_release);
	offer_post(c);
	for (;;) {
		uint32_t state = atomic_load_explicit(&request->state,
						      memory_order_acquire);

		if (state == REQUEST_DONE)
			break;
		/* The reclaimer is busy elsewhere: not any more. */
		if (state == REQUEST_ASKED &&
		    clock_now_ns() > here.deadline_ns &&
		    atomic_compare_exchange_strong(&request->state, &state,
						   REQUEST_DONE))
			break;
		futex_wait(&request->state, state, NAP_NS);
	}
	got = request->got_bytes;
	atomic_store(&request->state, REQUEST_IDLE);
	base_unlock(&request->lock);
	return got;
}

SPW_EXPORT uint64_t
spw_cache_shrink(struct spw_cache *c, uint64_t bytes)
{
	ELSEWHERE(spw_cache_shrink, c, bytes);
	return c ? offer_shrink(c, bytes) : 0;
}
