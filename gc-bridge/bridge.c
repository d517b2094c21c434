/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bridges: one collector, one shrinker, one thread each.
 *
 *	pass.c -> bridge_count, bridge_shrink (reclaimer)
 *	  -> bell -> bridge_thread -> job.c:job_collect -> the runtime
 *	  -> done -> bridge_shrink, if it still waits
 *
 * `work` is who owns the job: REST (nobody: bridge_shrink may take it) ->
 * ASKED -> RUNNING (the bridge's thread) -> REST; BROKEN: the thread ended, or
 * threw, and is asked no more. The job's members belong to the owner.
 *
 * Invariant: the reclaimer waits on `done` alone, and until the request's
 * deadline at most. What hangs has state RUNNING and costs its thread.
 *
 * No lock: slots are taken by compare and swap, and are never freed.
 * Memory order: sequentially consistent; all of this is rare. `forking` and
 * RUNNING are each stored before the other is read (fork.c's two columns):
 *
 *	fork			bridge's thread
 *	forking = true		work = RUNNING
 *	work == RUNNING? wait	forking? work = ASKED, wait
 */
#include "gc-bridge/bridge.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/futex.h"
#include "base/log.h"
#include "base/rcu.h"
#include "base/settings.h"
#include "gc-bridge/detect.h"
#include "gc-bridge/job.h"
#include "pressure/call.h"
#include "pressure/core.h"
#include "pressure/engine.h"
#include "pressure/monitor.h"
#include "pressure/shrinkers.h"

/* Python runs finalizers on it. Address space; touched pages cost. */
#define STACK_BYTES (1ul << 20)
/* So many of a shrinker's deadlines is a hang: 10 s. */
#define HANG_DEADLINES 40
/* While a thread waits for memory and others could give, too. */
#define WAIT_HARD_NS (30 * CLOCK_MS)
/* Who asks from outside waits longer; short of what counts as a hang. */
#define WAIT_ASKED_DEADLINES 2
#define LEAVE_NS (1 * CLOCK_S)
#define FORK_NS (2 * CLOCK_S)

static struct spw_gc bridges[BRIDGES_MAX];
static _Atomic uint32_t forking; /* a futex */
static _Atomic bool ending, handlers_there;
static __thread struct spw_gc *running_here;

__attribute__((destructor)) static void
end(void)
{
	atomic_store(&ending, true);
}

bool
bridge_ending(void)
{
	return atomic_load(&ending);
}

uint64_t
bridge_headroom(void)
{
	struct monitor_view view;
	uint64_t soft;

	if (!monitor_has_view())
		return UINT64_MAX;
	monitor_view(&view);
	if (view.reading.headroom_bytes == UINT64_MAX)
		return UINT64_MAX;
	soft = view.level.soft_bytes;
	return view.reading.headroom_bytes > soft ?
		       view.reading.headroom_bytes - soft :
		       0;
}

static void
ring(struct spw_gc *gc)
{
	atomic_fetch_add(&gc->bell, 1);
	futex_wake(&gc->bell, FUTEX_ALL);
}

/* ---- the bridge's thread ---- */

int
bridge_spawn(void *(*body)(void *), void *argument)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	pthread_t thread;
	int error;

	if (pthread_attr_init(&attributes) != 0)
		return -ENOMEM;
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, &attributes, body, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return -error;
}

/* Faults must reach their handlers: a collector may protect pages. */
void
bridge_thread_starts(const char *name, const struct bridge_runtime *runtime)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL,
				      SIGTRAP };
	sigset_t blocked;

	rcu_thread_is_ours = true;
	prctl(PR_SET_NAME, name, 0, 0, 0);
	sigfillset(&blocked);
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
		sigdelset(&blocked, faults[i]);
	if (runtime && runtime->open_signals)
		runtime->open_signals(&blocked);
	pthread_sigmask(SIG_SETMASK, &blocked, NULL);
}

/* It was ended from inside a call (a runtime that shuts down does that). */
static void
thread_lost(void *argument)
{
	struct spw_gc *gc = argument;

	log_write(SPW_LOG_WARNING,
		  "gc %s: its runtime ended our thread: asked no more",
		  gc->name);
	atomic_store(&gc->work, BRIDGE_BROKEN);
	atomic_store(&gc->thread, BRIDGE_NO_THREAD);
	atomic_fetch_add(&gc->done, 1);
	futex_wake(&gc->done, FUTEX_ALL);
}

/* True where this thread now owns a job and no fork waits for it. */
static bool
begin_job(struct spw_gc *gc)
{
	uint32_t asked = BRIDGE_ASKED;

	if (!atomic_compare_exchange_strong(&gc->work, &asked, BRIDGE_RUNNING))
		return false;
	if (!gc->options.fork_waits || !atomic_load(&forking))
		return true;
	atomic_store(&gc->work, BRIDGE_ASKED);
	futex_wait(&forking, 1, FUTEX_FOREVER);
	return false;
}

static void
end_job(struct spw_gc *gc, bool good)
{
	if (!good)
		log_write(SPW_LOG_ERROR,
			  "gc %s: its collect threw: asked no more", gc->name);
	else if (atomic_exchange(&gc->hung, false))
		log_write(SPW_LOG_WARNING, "gc %s: it returned after all",
			  gc->name);
	atomic_store(&gc->work, good ? BRIDGE_REST : BRIDGE_BROKEN);
	atomic_fetch_add(&gc->done, 1);
	futex_wake(&gc->done, FUTEX_ALL);
	/* Who leaves says so before it unregisters, and that is freed after
	 * a grace period. */
	rcu_read_lock();
	if (atomic_load(&gc->slot) == BRIDGE_LIVE)
		shrinkers_came(gc->shrinker);
	rcu_read_unlock();
	monitor_ring();
	engine_retry();
}

/* Sleeps until the bell rings, or tune is wanted again. */
static void
rest(struct spw_gc *gc, uint32_t seen)
{
	uint64_t ns = 0;

	if (gc->runtime && gc->runtime->tune_again)
		ns = gc->runtime->tune_again();
	futex_wait(&gc->bell, seen, ns ? ns : FUTEX_FOREVER);
	if (ns && atomic_load(&gc->bell) == seen)
		atomic_store(&gc->tune_due, true);
}

static void
serve(struct spw_gc *gc)
{
	for (;;) {
		uint32_t seen = atomic_load(&gc->bell);

		if (atomic_load(&gc->slot) == BRIDGE_LEAVING)
			return;
		if (atomic_exchange(&gc->tune_due, false))
			job_tune(gc);
		if (begin_job(gc))
			end_job(gc, job_collect(gc));
		else if (atomic_load(&gc->work) != BRIDGE_ASKED)
			rest(gc, seen);
	}
}

/* Nobody waits for its thread to end: whoever comes second frees the slot. */
static void
free_orphan(struct spw_gc *gc)
{
	bool orphan = true;

	if (atomic_compare_exchange_strong(&gc->orphan, &orphan, false))
		atomic_store(&gc->slot, BRIDGE_FREE);
}

static void *
bridge_thread(void *argument)
{
	struct spw_gc *gc = argument;
	char name[16];

	snprintf(name, sizeof name, "spw-gc-%.8s", gc->name);
	running_here = gc;
	atomic_store(&gc->tid, (int)syscall(SYS_gettid));
	bridge_thread_starts(name, gc->runtime);
	pthread_cleanup_push(thread_lost, gc);
	serve(gc);
	pthread_cleanup_pop(0);
	atomic_store(&gc->work, BRIDGE_REST);
	atomic_fetch_add(&gc->done, 1);
	futex_wake(&gc->done, FUTEX_ALL);
	atomic_store(&gc->thread, BRIDGE_NO_THREAD);
	free_orphan(gc);
	return NULL;
}

static bool
has_thread(struct spw_gc *gc)
{
	int none = BRIDGE_NO_THREAD;

	if (!atomic_compare_exchange_strong(&gc->thread, &none,
					    BRIDGE_HAS_THREAD))
		return true;
	if (bridge_spawn(bridge_thread, gc) == 0)
		return true;
	atomic_store(&gc->thread, BRIDGE_NO_THREAD);
	return false;
}

/* ---- the shrinker ---- */

static bool
is_hung(struct spw_gc *gc)
{
	uint64_t bound = settings()->deadline_ns * HANG_DEADLINES;

	if (atomic_load(&gc->work) != BRIDGE_RUNNING)
		return false;
	if (atomic_load(&gc->hung))
		return true;
	if (clock_now_ns() - atomic_load(&gc->began_ns) < bound)
		return false;
	if (!atomic_exchange(&gc->hung, true))
		log_write(SPW_LOG_WARNING,
			  "gc %s: its collection did not end in %llu ms: not "
			  "asked until it does",
			  gc->name, (unsigned long long)(bound / CLOCK_MS));
	return true;
}

static struct policy_now
now_of(struct spw_gc *gc, const struct spw_shrink *request)
{
	return (struct policy_now){
		.now_ns = clock_now_ns(),
		.heap_bytes = job_heap(gc),
		.interval_ns = settings()->gc_interval_ns,
		.level = request->level,
		.asked = request->level == SPW_LEVEL_CRITICAL && !request->hard,
		.in_steps = gc->runtime && gc->runtime->in_steps,
	};
}

static bool
may_ask(struct spw_gc *gc)
{
	return atomic_load(&gc->slot) == BRIDGE_LIVE && detect_allows(NULL) &&
	       atomic_load(&gc->work) != BRIDGE_BROKEN &&
	       !atomic_load(&ending) && !is_hung(gc) &&
	       settings()->threads != SETTINGS_THREADS_NEVER;
}

static size_t
count(const struct spw_shrink *request, void *context)
{
	struct spw_gc *gc = context;
	struct policy_now now;
	uint64_t growth;

	if (!may_ask(gc))
		return 0;
	now = now_of(gc, request);
	if (atomic_load(&gc->work) == BRIDGE_REST) {
		policy_fell(&gc->policy, now.heap_bytes);
		if (!policy_due(&gc->policy, &now)) {
			core_count(&gc->refused, 1);
			log_write(SPW_LOG_DEBUG,
				  "gc %s: level %d, not due: grown by %llu",
				  gc->name, (int)request->level,
				  (unsigned long long)policy_growth(
					  &gc->policy, now.heap_bytes));
			return 0;
		}
	}
	growth = policy_growth(&gc->policy, now.heap_bytes);
	return growth ? (size_t)growth : 1;
}

/* Waits for a collection to end: true where one did. */
static bool
await(struct spw_gc *gc, uint32_t seen, const struct spw_shrink *request)
{
	uint64_t until = request->deadline_ns, now = clock_now_ns();

	if (request->hard && shrinkers_count() > 1 &&
	    until > now + WAIT_HARD_NS)
		until = now + WAIT_HARD_NS;
	if (request->level == SPW_LEVEL_CRITICAL && !request->hard)
		until += WAIT_ASKED_DEADLINES * settings()->deadline_ns;
	call_runs_on(atomic_load(&gc->tid));
	while (atomic_load(&gc->done) == seen && now < until &&
	       atomic_load(&gc->slot) == BRIDGE_LIVE) {
		futex_wait(&gc->done, seen, until - now);
		now = clock_now_ns();
	}
	return atomic_load(&gc->done) != seen;
}

static size_t
shrink(const struct spw_shrink *request, void *context)
{
	struct spw_gc *gc = context;
	uint32_t seen = atomic_load(&gc->done), rest = BRIDGE_REST;
	struct policy_now now = now_of(gc, request);

	if (!may_ask(gc))
		return 0;
	if (atomic_load(&gc->work) == BRIDGE_REST &&
	    !policy_due(&gc->policy, &now)) {
		core_count(&gc->refused, 1);
		return 0;
	}
	if (atomic_compare_exchange_strong(&gc->work, &rest, BRIDGE_TAKEN)) {
		if (!has_thread(gc)) {
			atomic_store(&gc->work, BRIDGE_REST);
			return 0;
		}
		gc->level = request->level;
		gc->deadline_ns = request->deadline_ns;
		atomic_store(&gc->work, BRIDGE_ASKED);
		ring(gc);
	}
	if (!await(gc, seen,
		   request)) /* hard: it is asked, and joined, again */
		return request->hard ? 0 : SPW_SHRINK_LATER;
	return (size_t)atomic_load(&gc->last_gain);
}

/* The level changed: on the reclaimer. */
static void
level_changed(const struct spw_pressure *pressure, void *context)
{
	struct spw_gc *gc = context;

	(void)pressure;
	if (!may_ask(gc) || !has_thread(gc))
		return;
	atomic_store(&gc->tune_due, true);
	ring(gc);
}

/* ---- fork ---- */

static void
fork_prepare(void)
{
	uint64_t until = clock_now_ns() + FORK_NS;

	atomic_store(&forking, 1);
	if (running_here)
		return;
	for (unsigned i = 0; i < BRIDGES_MAX; i++) {
		struct spw_gc *gc = &bridges[i];

		while (gc->options.fork_waits &&
		       atomic_load(&gc->work) == BRIDGE_RUNNING &&
		       clock_now_ns() < until)
			futex_wait(&gc->done, atomic_load(&gc->done), CLOCK_MS);
	}
}

static void
fork_parent(void)
{
	atomic_store(&forking, 0);
	futex_wake(&forking, FUTEX_ALL);
}

static void
fork_child(void)
{
	atomic_store(&forking, 0);
	running_here = NULL;
	rcu_thread_is_ours = false;
	for (unsigned i = 0; i < BRIDGES_MAX; i++) {
		struct spw_gc *gc = &bridges[i];

		if (atomic_load(&gc->slot) == BRIDGE_LEAVING)
			atomic_store(&gc->slot, BRIDGE_FREE);
		if (atomic_load(&gc->work) != BRIDGE_BROKEN)
			atomic_store(&gc->work, BRIDGE_REST);
		atomic_store(&gc->thread, BRIDGE_NO_THREAD);
		atomic_store(&gc->hung, false);
		atomic_store(&gc->tune_due, false);
		atomic_store(&gc->orphan, false);
	}
}

/* ---- making and unmaking ---- */

static struct spw_gc *
find(const char *name)
{
	for (unsigned i = 0; i < BRIDGES_MAX; i++)
		if (atomic_load(&bridges[i].slot) == BRIDGE_LIVE &&
		    strcmp(bridges[i].name, name) == 0)
			return &bridges[i];
	return NULL;
}

bool
bridge_has(const char *name)
{
	return find(name) != NULL;
}

static struct spw_gc *
take_slot(void)
{
	for (unsigned i = 0; i < BRIDGES_MAX; i++) {
		int unused = BRIDGE_FREE;

		if (atomic_compare_exchange_strong(&bridges[i].slot, &unused,
						   BRIDGE_MAKING))
			return &bridges[i];
	}
	return NULL;
}

static int
join(struct spw_gc *gc)
{
	struct spw_shrinker_options o = {
		.size = sizeof o,
		.name = gc->name,
		.tier = SPW_TIER_GARBAGE,
		.count = count,
		.shrink = shrink,
		.context = gc,
	};
	int error = 0;

	if (gc->options.tune)
		error = spw_pressure_subscribe(&gc->subscription, SPW_LEVEL_LOW,
					       level_changed, gc);
	if (!error)
		error = spw_shrinker_register(&gc->shrinker, &o);
	if (error) {
		if (gc->subscription)
			spw_pressure_unsubscribe(gc->subscription);
		gc->subscription = NULL;
	}
	return error;
}

int
bridge_add(struct spw_gc **out, const struct spw_gc_options *options,
	   const struct bridge_runtime *runtime)
{
	struct spw_gc *gc;
	int error;

	if (bridge_has(options->name))
		return -EEXIST;
	if (!atomic_exchange(&handlers_there, true) &&
	    pthread_atfork(fork_prepare, fork_parent, fork_child) != 0)
		atomic_store(&handlers_there, false);
	gc = take_slot();
	if (!gc)
		return -ENOSPC;
	job_reset(gc, options, runtime);
	atomic_store(&gc->slot, BRIDGE_LIVE);
	error = join(gc);
	if (error) {
		atomic_store(&gc->slot, BRIDGE_FREE);
		return error;
	}
	*out = gc;
	return 0;
}

int
bridge_remove(struct spw_gc *gc)
{
	uint64_t until = clock_now_ns() + LEAVE_NS;

	atomic_store(&gc->slot, BRIDGE_LEAVING);
	ring(gc);
	futex_wake(&gc->done, FUTEX_ALL); /* shrink() waits no longer */
	spw_shrinker_unregister(gc->shrinker);
	if (gc->subscription)
		spw_pressure_unsubscribe(gc->subscription);
	gc->subscription = NULL;
	if (running_here == gc) {
		atomic_store(&gc->orphan, true);
		return 0; /* its thread ends when the call returns */
	}
	while (atomic_load(&gc->thread) != BRIDGE_NO_THREAD) {
		uint32_t seen = atomic_load(&gc->done);

		if (clock_now_ns() >= until) {
			atomic_store(&gc->orphan, true);
			if (atomic_load(&gc->thread) == BRIDGE_NO_THREAD)
				free_orphan(gc);
			return -ETIMEDOUT;
		}
		ring(gc);
		if (atomic_load(&gc->thread) != BRIDGE_NO_THREAD)
			futex_wait(&gc->done, seen, CLOCK_MS);
	}
	atomic_store(&gc->slot, BRIDGE_FREE);
	return 0;
}

/* ---- what is told ---- */

static const char *
state_of(struct spw_gc *gc)
{
	if (atomic_load(&gc->hung))
		return "hung";
	switch (atomic_load(&gc->work)) {
	case BRIDGE_RUNNING:
		return "collecting";
	case BRIDGE_BROKEN:
		return "broken";
	default:
		return "ready";
	}
}

static void
fill(struct spw_gc *gc, struct spw_gc_stats *s)
{
	s->collections = atomic_load(&gc->collections);
	s->refused = atomic_load(&gc->refused);
	s->heap_bytes = job_heap(gc);
	s->gained_bytes = atomic_load(&gc->gained);
	s->last_gain_bytes = atomic_load(&gc->last_gain);
	s->last_ns = atomic_load(&gc->last_ns);
	s->ns_max = atomic_load(&gc->ns_max);
	s->ended_ns = atomic_load(&gc->ended_ns);
}

int
bridge_stats(const char *name, struct spw_gc_stats *stats)
{
	struct spw_gc *gc = find(name);

	if (!gc)
		return -ENOENT;
	fill(gc, stats);
	return 0;
}

bool
bridge_describe(unsigned i, struct bridge_line *line)
{
	for (unsigned at = 0; at < BRIDGES_MAX; at++) {
		struct spw_gc *gc = &bridges[at];

		if (atomic_load(&gc->slot) != BRIDGE_LIVE || i-- > 0)
			continue;
		memcpy(line->name, gc->name, sizeof line->name);
		line->state = state_of(gc);
		fill(gc, &line->stats);
		return true;
	}
	return false;
}
