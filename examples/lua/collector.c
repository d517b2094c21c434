/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A collection when memory is short, on the thread that runs the state.
 *
 * spillway calls collect() and tune() on a thread of its own, where the state
 * must not be touched. So collect() leaves a request and waits; the state's
 * thread finds it in its allocator, which it comes by all the time.
 *
 * There it may not collect at once: Lua is in the middle of something. But it
 * may say that there is no memory, and Lua's answer to that is a full
 * collection and a second try. Said of a new object alone: Lua makes none
 * inside a step of its collector, where it could not collect. In finalizers
 * it makes some: LUA_GCISRUNNING tells. A script that stopped its collector
 * is left alone.
 *
 * tune() has the heap grow to a multiple of what lives while memory is
 * plentiful (Lua's default is twice), and by a tenth where it is not: fewer
 * collections, or a smaller heap. lock is held for moments, by no one who
 * allocates.
 */
#include "examples/lua/collector.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include <spillway/gc.h>

#include "examples/lua/heap.h"

#define NS_PER_S 1000000000
/* For a state that is in C code, or makes nothing. */
#define PATIENCE_S 2
#define PAUSE_MIN 110 /* percent of what lives */
#define PAUSE_MAX 1000

enum { NONE, WANTED, RUNNING, DONE, DECLINED };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static _Atomic int request;  /* written under lock */
static size_t went;          /* guarded by lock */
static _Atomic int pause_is; /* percent; what tune() wants */
static _Atomic unsigned long runs;
static struct spw_gc *gc;

/* Of the state's thread. */
static lua_State *state;
static bool refused;
static size_t before;
static int pause_was;

/* ---- on a thread of spillway's ---- */

static void
await(int from, time_t seconds)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += seconds;
	while (atomic_load(&request) == from &&
	       pthread_cond_timedwait(&changed, &lock, &until) == 0)
		;
}

static size_t
collect(enum spw_level level, uint64_t deadline_ns, void *context)
{
	size_t result = SPW_SHRINK_LATER;

	(void)level;
	(void)deadline_ns; /* spillway goes on then, and counts what comes */
	(void)context;
	pthread_mutex_lock(&lock);
	atomic_store(&request, WANTED);
	await(WANTED, PATIENCE_S);
	while (atomic_load(&request) == RUNNING)
		await(RUNNING, PATIENCE_S);
	if (atomic_load(&request) == DONE)
		result = went;
	atomic_store(&request, NONE);
	pthread_mutex_unlock(&lock);
	return result;
}

static size_t
heap(void *context)
{
	(void)context;
	return heap_bytes();
}

/* A half of the headroom is for this heap. */
static void
tune(uint64_t headroom_bytes, void *context)
{
	uint64_t lives = heap_bytes() + 1, percent;

	(void)context;
	percent = headroom_bytes / 2 / (lives / 100 + 1);
	if (percent > PAUSE_MAX - PAUSE_MIN)
		percent = PAUSE_MAX - PAUSE_MIN;
	atomic_store(&pause_is, PAUSE_MIN + (int)percent);
}

/* ---- on the state's thread ---- */

static void
answer(int what)
{
	pthread_mutex_lock(&lock);
	if (atomic_load(&request) != NONE)
		atomic_store(&request, what);
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static bool
begin(void)
{
	bool wanted;

	pthread_mutex_lock(&lock);
	wanted = atomic_load(&request) == WANTED; /* still */
	if (wanted)
		atomic_store(&request, RUNNING);
	pthread_mutex_unlock(&lock);
	return wanted;
}

/* Lua comes with the same object again: it has collected. */
static void
end(void)
{
	size_t now = heap_bytes();

	refused = false;
	atomic_fetch_add(&runs, 1);
	lua_gc(state, LUA_GCRESTART); /* an ordinary cycle, for finalizers */
	pthread_mutex_lock(&lock);
	went = before > now ? before - now : 0;
	atomic_store(&request, DONE);
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

bool
collector_refuses(size_t type)
{
	int wanted = atomic_load_explicit(&request, memory_order_relaxed);
	int percent = atomic_load_explicit(&pause_is, memory_order_relaxed);

	if (!state || type < LUA_TSTRING || type > LUA_TTHREAD)
		return false;
	if (refused) {
		end();
		return false;
	}
	if (percent != pause_was) {
		lua_gc(state, LUA_GCSETPAUSE, percent);
		pause_was = percent;
	}
	if (wanted != WANTED)
		return false;
	switch (lua_gc(state, LUA_GCISRUNNING)) {
	case 0:
		answer(DECLINED);
		return false;
	case 1:
		break;
	default:
		return false; /* in a finalizer: at the next object */
	}
	refused = begin();
	before = heap_bytes();
	return refused;
}

int
collector_open(lua_State *L)
{
	struct spw_gc_options options = {
		.size = sizeof options,
		.name = "spillway-lua",
		.collect = collect,
		.heap = heap,
		.tune = tune,
	};
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	state = L;
	return spw_gc_register(&gc, &options);
}

void
collector_close(void)
{
	state = NULL;
	answer(DECLINED);
	spw_gc_unregister(gc);
}

unsigned long
collector_runs(void)
{
	return atomic_load(&runs);
}
