/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A Node-API addon that registers V8's collector with spillway: for programs
 * that link libspillway.so and have no preload. Node's stable C interface
 * alone; one build works with every Node since 12.
 *
 * index.js -> attach() on the thread of each environment (the main one, and
 * each worker that requires it); spillway -> collect() on a thread of its own,
 * which asks each environment through a thread-safe function and waits until
 * all have answered; Node -> answer() on their threads, from the event loop.
 *
 * The lifetime protocol: `list` and all members are guarded by `lock`. An
 * environment is on the list from attach() until Node's cleanup hook, leave(),
 * which runs before Node's own hook for the thread-safe function (hooks run
 * last to first) and so before anything of the environment goes. collect()
 * calls the functions of who is on the list, under the lock. The last who
 * leaves unregisters, which waits for collect(), which waits for nobody then.
 * process.exit() runs no hook: then the functions stay, and nobody answers.
 *
 * The collection: where the process exports V8's own function for it, as all
 * the usual builds do, that (looked up, not linked: it is C++, and collects
 * for the smallest heap); else gc(), which index.js has V8 expose.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <node/node_api.h>

#include <spillway/gc.h>
#include <spillway/spillway.h>

#define NAME "node"
/* An environment that is long at work answers when it is back. */
#define PATIENCE_S 2

enum { MODERATE = 1, CRITICAL = 2 }; /* v8::MemoryPressureLevel */

struct environment {
	struct environment *next;
	napi_threadsafe_function ask;
	bool asked, answered;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t news = PTHREAD_COND_INITIALIZER;
static struct environment *list;
static struct spw_gc *gc;
static int wanted; /* MODERATE, CRITICAL */

static void *(*current_isolate)(void);
static void (*memory_pressure)(void *isolate, int level);

/* ---- on the environments' threads ---- */

static void
collect_here(napi_env env, napi_value gc_function, int level)
{
	napi_value undefined, got;

	if (current_isolate && memory_pressure)
		memory_pressure(current_isolate(), level);
	else if (gc_function &&
		 napi_get_undefined(env, &undefined) == napi_ok &&
		 napi_call_function(env, undefined, gc_function, 0, NULL,
				    &got) != napi_ok)
		napi_get_and_clear_last_exception(env, &got);
}

/* env is NULL where the environment ends: then leave() has run. */
static void
answer(napi_env env, napi_value gc_function, void *context, void *unused)
{
	struct environment *e = context;
	int level;

	(void)unused;
	if (!env)
		return;
	pthread_mutex_lock(&lock);
	level = wanted;
	pthread_mutex_unlock(&lock);
	collect_here(env, gc_function, level);
	pthread_mutex_lock(&lock);
	e->asked = false;
	e->answered = true;
	pthread_cond_broadcast(&news);
	pthread_mutex_unlock(&lock);
}

/* ---- on spillway's thread ---- */

/* How many of those that were asked have not answered. With the lock. */
static unsigned
count_silent(void)
{
	unsigned silent = 0;

	for (struct environment *e = list; e; e = e->next)
		silent += e->asked && !e->answered;
	return silent;
}

static size_t
collect(enum spw_level level, uint64_t deadline_ns, void *context)
{
	struct timespec until;
	bool answered = false;
	int late = 0;

	(void)deadline_ns;
	(void)context;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&lock);
	wanted = level == SPW_LEVEL_CRITICAL ? CRITICAL : MODERATE;
	for (struct environment *e = list; e; e = e->next) {
		e->answered = false;
		if (!e->asked) /* who did not come back has a call waiting */
			e->asked = napi_call_threadsafe_function(
					   e->ask, NULL,
					   napi_tsfn_nonblocking) == napi_ok;
	}
	while (count_silent() > 0 && late == 0)
		late = pthread_cond_timedwait(&news, &lock, &until);
	for (struct environment *e = list; e; e = e->next)
		answered |= e->answered;
	pthread_mutex_unlock(&lock);
	return answered ? 0 : SPW_SHRINK_LATER;
}

/* ---- coming and leaving ---- */

static void
leave(void *argument)
{
	struct environment *e = argument;
	struct spw_gc *last = NULL;

	pthread_mutex_lock(&lock);
	for (struct environment **p = &list; *p; p = &(*p)->next) {
		if (*p != e)
			continue;
		*p = e->next;
		break;
	}
	if (!list) {
		last = gc;
		gc = NULL;
	}
	pthread_cond_broadcast(&news);
	pthread_mutex_unlock(&lock);
	if (last)
		spw_gc_unregister(last);
}

/* Node is done with the function: nobody answers any more. */
static void
finished(napi_env env, void *environment, void *hint)
{
	(void)env;
	(void)hint;
	free(environment);
}

/* 0 or what spw_gc_register() says; -EEXIST: the preload asks this Node. */
static int
register_once(void)
{
	struct spw_gc_options options = {
		.size = sizeof options,
		.name = NAME,
		.collect = collect,
	};
	struct spw_gc_stats stats = { .size = sizeof stats };

	if (gc)
		return 0;
	if (spw_gc_stats(NAME, &stats) == 0)
		return -EEXIST;
	return spw_gc_register(&gc, &options);
}

static int
enter(napi_env env, napi_value gc_function)
{
	struct environment *e = calloc(1, sizeof *e);
	napi_value name;
	int error;

	if (!e)
		return -ENOMEM;
	if (napi_create_string_utf8(env, "spillway", NAPI_AUTO_LENGTH, &name) !=
		    napi_ok ||
	    napi_create_threadsafe_function(env, gc_function, NULL, name, 0, 1,
					    e, finished, e, answer,
					    &e->ask) != napi_ok) {
		free(e);
		return -ENOMEM;
	}
	napi_unref_threadsafe_function(env, e->ask);
	pthread_mutex_lock(&lock);
	error = register_once();
	if (!error) {
		e->next = list;
		list = e;
	}
	pthread_mutex_unlock(&lock);
	if (error)
		napi_release_threadsafe_function(e->ask, napi_tsfn_abort);
	else if (napi_add_env_cleanup_hook(env, leave, e) != napi_ok) {
		leave(e);
		return -ENOMEM;
	}
	return error;
}

/* attach(gc or null): "" where spillway asks from now on, else the reason. */
static napi_value
attach(napi_env env, napi_callback_info info)
{
	napi_valuetype type = napi_undefined;
	napi_value gc_function, said;
	const char *why = "";
	size_t count = 1;
	int error;

	if (napi_get_cb_info(env, info, &count, &gc_function, NULL, NULL) !=
		    napi_ok ||
	    count < 1)
		return NULL;
	napi_typeof(env, gc_function, &type);
	error = enter(env, type == napi_function ? gc_function : NULL);
	if (error == -EEXIST)
		why = "the preload asks this Node already";
	else if (error)
		why = spw_strerror(error);
	if (napi_create_string_utf8(env, why, NAPI_AUTO_LENGTH, &said) !=
	    napi_ok)
		return NULL;
	return said;
}

/* collections(): how many there were. */
static napi_value
collections(napi_env env, napi_callback_info info)
{
	struct spw_gc_stats stats = { .size = sizeof stats };
	napi_value number;

	(void)info;
	spw_gc_stats(NAME, &stats);
	if (napi_create_int64(env, (int64_t)stats.collections, &number) !=
	    napi_ok)
		return NULL;
	return number;
}

static void
find(const char *name, void *function)
{
	void *found = dlsym(RTLD_DEFAULT, name);

	memcpy(function, &found, sizeof found);
}

NAPI_MODULE_INIT()
{
	static const napi_property_descriptor functions[] = {
		{ .utf8name = "attach", .method = attach },
		{ .utf8name = "collections", .method = collections },
	};
	napi_value direct;
	bool is_direct;

	pthread_mutex_lock(&lock);
	find("_ZN2v87Isolate13TryGetCurrentEv", &current_isolate);
	find("_ZN2v87Isolate26MemoryPressureNotificationENS_"
	     "19MemoryPressureLevelE",
	     &memory_pressure);
	is_direct = current_isolate && memory_pressure;
	pthread_mutex_unlock(&lock);
	napi_define_properties(env, exports, 2, functions);
	if (napi_get_boolean(env, is_direct, &direct) == napi_ok)
		napi_set_named_property(env, exports, "direct", direct);
	return exports;
}
