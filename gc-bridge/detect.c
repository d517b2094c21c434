/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The scout: looks for runtimes when memory is short for the first time, and
 * again when libraries were loaded since or one was not ready.
 *
 *	pass.c:pass_run (level medium and above)
 *	  -> detect_begins (reclaimer) -> scout_thread -> probe -> bridge_add
 *
 * Nothing happens before: no thread, no symbol looked up. Half-initialised
 * runtimes crash (Node 15 of 30 starts, Mono 8 of 25): one that cannot tell
 * whether it is ready says -EAGAIN for the first second of the process. The reclaimer waits for the scout for some milliseconds, so
 * that what it finds is asked in the same pass, and goes on without it when
 * the loader is busy.
 *
 * `scouting` is a futex: 1 while a scout is at work; who sets it owns the
 * other statics.
 */
#include "gc-bridge/detect.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/futex.h"
#include "base/log.h"
#include "base/settings.h"
#include "base/words.h"
#include "gc-bridge/describe.h"
#include "gc-bridge/runtimes.h"
#include "gc-bridge/symbols.h"
#include "pressure/engine.h"
#include "pressure/pass.h"

#define START_DELAY_NS (1 * CLOCK_S)
#define AGAIN_NS (5 * CLOCK_S)
#define UNREADY_NS (100 * CLOCK_MS)
#define SCOUT_WAIT_NS (20 * CLOCK_MS)
#define RUNTIMES_MAX 16

const struct bridge_runtime *const runtimes[] = {
	&boehm_runtime, &cpython_runtime, &jvm_runtime,
	&lua_runtime,   &node_runtime,    &ocaml_runtime,
	&php_runtime,   &ruby_runtime,    NULL,
};

static _Atomic uint32_t scouting; /* a futex */
static _Atomic uint64_t started_ns, looked_ns;
static _Atomic bool handlers_there;
static unsigned long long looked_loads;
static _Atomic bool unready; /* somebody said -EAGAIN */
static bool told[RUNTIMES_MAX];
/* One probe at a time: the scout's and those of spw_gc_attach(). */
static _Atomic uint32_t probing;

bool
detect_says(const char *word)
{
	int at = words_index(SETTINGS_GC_WORDS, word, strlen(word));

	return at > 0 && (atomic_load(&settings()->gc) & (1u << at));
}

bool
detect_allows(const struct bridge_runtime *runtime)
{
	unsigned bits = atomic_load(&settings()->gc);

	if (bits & 1)
		return false; /* off */
	if (!runtime || ((bits & SETTINGS_GC_AUTO) && runtime->by_default))
		return true;
	return detect_says(runtime->name) ||
	       (runtime->opt_in && detect_says(runtime->opt_in));
}

bool
detect_is_young(void)
{
	return atomic_load(&settings()->gc_interval_ns) &&
	       clock_now_ns() - atomic_load(&started_ns) < START_DELAY_NS;
}

/* ---- one runtime ---- */

static int
add(const struct bridge_runtime *r)
{
	struct spw_gc_options o = {
		.size = sizeof o,
		.name = r->name,
		.collect = r->collect,
		.heap = r->heap,
		.tune = r->tune,
		.fork_waits = r->fork_waits,
	};
	struct spw_gc *gc;
	int error = bridge_add(&gc, &o, r);

	if (!error)
		log_write(SPW_LOG_INFO, "gc %s: found", r->name);
	return error == -EEXIST ? 0 : error;
}

/* 0 and a bridge; or what the probe says. */
static int
look_for(unsigned i, bool attached)
{
	const struct bridge_runtime *r = runtimes[i];
	const char *why = "its symbols are not all there";
	uint32_t nobody = 0;
	int error;

	if (bridge_has(r->name))
		return 0;
	while (!atomic_compare_exchange_strong(&probing, &nobody, 1)) {
		futex_wait(&probing, 1, CLOCK_MS);
		nobody = 0;
	}
	error = r->probe(attached, &why);
	atomic_store(&probing, 0);
	futex_wake(&probing, FUTEX_ALL);
	if (error == -EOPNOTSUPP && !told[i]) {
		told[i] = true;
		log_write(SPW_LOG_WARNING, "gc %s: cannot be asked: %s",
			  r->name, why);
	}
	return error ? error : add(r);
}

int
detect_attach(const char *name)
{
	for (unsigned i = 0; runtimes[i]; i++) {
		int error;

		if (strcmp(runtimes[i]->name, name) != 0)
			continue;
		error = look_for(i, true);
		return error == -EAGAIN ? -EOPNOTSUPP : error;
	}
	log_write(SPW_LOG_ERROR, "spw_gc_attach: no runtime is called \"%s\"",
		  name);
	return -EINVAL;
}

/* ---- the scout ---- */

static void *
scout_thread(void *unused)
{
	unsigned long long loads;

	(void)unused;
	bridge_thread_starts("spw-gc-scout", NULL);
	loads = symbols_loads();
	if (loads != looked_loads || unready) {
		unready = false;
		for (unsigned i = 0; runtimes[i]; i++)
			if (detect_allows(runtimes[i]) &&
			    look_for(i, false) == -EAGAIN)
				unready = true;
	}
	looked_loads = loads;
	atomic_store(&looked_ns, clock_now_ns());
	atomic_store(&scouting, 0);
	futex_wake(&scouting, FUTEX_ALL);
	return NULL;
}

static void
fork_child(void)
{
	atomic_store(&scouting, 0);
	atomic_store(&probing, 0);
}

/* On the reclaimer, as a pass begins. */
static void
detect_begins(void)
{
	uint64_t now = clock_now_ns(), looked = atomic_load(&looked_ns);
	uint32_t idle = 0;

	if (!detect_allows(NULL) || bridge_ending() ||
	    settings()->threads == SETTINGS_THREADS_NEVER)
		return;
	if (engine_is_throttled())
		return;
	if (looked && now - looked < (unready ? UNREADY_NS : AGAIN_NS))
		return;
	if (!atomic_exchange(&handlers_there, true))
		pthread_atfork(NULL, NULL, fork_child);
	if (atomic_compare_exchange_strong(&scouting, &idle, 1) &&
	    bridge_spawn(scout_thread, NULL) != 0)
		atomic_store(&scouting, 0);
	if (!looked && atomic_load(&scouting))
		futex_wait(&scouting, 1, SCOUT_WAIT_NS);
}

void
detect_start(void)
{
	uint64_t never = 0;

	if (!atomic_compare_exchange_strong(&started_ns, &never,
					    clock_now_ns()))
		return;
	atomic_store(&pass_begins, detect_begins);
	describe_start();
}

void
detect_auto(void)
{
	detect_start();
	for (unsigned i = 0; runtimes[i]; i++)
		if (detect_allows(runtimes[i]))
			look_for(i, true);
}
