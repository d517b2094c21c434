/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The embedded jemalloc: its first breath, its API as a table, and the gate
 * before it grows.
 *
 * jemalloc's initialisation asks for MALLOC_CONF before anything else, by
 * spw_embedded_getenv() (alloc/jemalloc.redirect). There settings are read and
 * purge_start() registers heap and shrinker: no constructor, nothing
 * allocated, no thread. SPILLWAY_CONF=off gives jemalloc's own decay back.
 *
 * spw_gate_*() stand before the two functions by which every arena is asked
 * for more: a thread cache's refill and a large allocation. No lock of
 * jemalloc's is held there, so this is where a thread may wait or our threads
 * may be started.
 */
#include <dlfcn.h>
#include <jemalloc/jemalloc.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <spillway/export.h>

#include "alloc/heap.h"
#include "alloc/huge.h"
#include "alloc/purge.h"
#include "base/settings.h"
#include "pressure/gate.h"

/* Small and quick (bench/README.md). Where nothing decays, a limit on how much
 * larger than a request the extent may be that serves it (6: 64 times) leaks:
 * 3 GB in bench thread-bulk, 7 MB without it. MALLOC_CONF comes after it and wins. Hidden, so that a
 * program's own malloc_conf does not replace it (-Bsymbolic). */
const char *malloc_conf =
	"dirty_decay_ms:-1,muzzy_decay_ms:0,lg_extent_max_active_fit:64,"
	"tcache_gc_incr_bytes:4194304";

static const char conf_of_jemalloc[] = "dirty_decay_ms:10000,"
				       "lg_extent_max_active_fit:6,"
				       "tcache_gc_incr_bytes:65536";

static const struct heap_api api = {
	.embedded = true,
	.mallocx = mallocx,
	.rallocx = rallocx,
	.dallocx = dallocx,
	.sallocx = sallocx,
	.mallctl = mallctl,
	.mallctlnametomib = mallctlnametomib,
	.mallctlbymib = mallctlbymib,
};

/* What libspillway.so looks for (base/elsewhere.c). */
extern const char spw_interposer;
SPW_EXPORT const char spw_interposer = 1;

const struct heap_api *
heap_api(void)
{
	return &api;
}

/* jemalloc 5.3.0, jemalloc_internal_externs.h. */
extern _Atomic(char *) je_arenas[];

size_t *
heap_active_pages(unsigned index)
{
	static _Atomic size_t offset; /* of the counter in any arena */
	size_t at = atomic_load_explicit(&offset, memory_order_relaxed);
	size_t *pages = NULL, bytes = sizeof pages;
	char *arena;

	if (!at) {
		arena = atomic_load(&je_arenas[0]);
		if (mallctl("experimental.arenas.0.pactivep", &pages, &bytes,
			    NULL, 0) != 0)
			return NULL;
		at = (size_t)((char *)pages - arena);
		atomic_store_explicit(&offset, at, memory_order_relaxed);
	}
	arena = atomic_load_explicit(&je_arenas[index], memory_order_acquire);
	return arena ? (size_t *)(void *)(arena + at) : NULL;
}

char *spw_embedded_getenv(const char *name);

char *
spw_embedded_getenv(const char *name)
{
	static char both[4096];
	char *theirs = secure_getenv(name);

	if (strcmp(name, "MALLOC_CONF") != 0)
		return theirs;
	heap_start();
	if (!settings()->off)
		return theirs;
	memcpy(both, conf_of_jemalloc, sizeof conf_of_jemalloc);
	/* A comma at the end is complained of. */
	if (theirs && *theirs &&
	    strlen(theirs) < sizeof both - sizeof conf_of_jemalloc - 1) {
		strcat(both, ",");
		strcat(both, theirs);
	}
	return both;
}

void
heap_start(void)
{
	static _Atomic bool started;

	if (atomic_exchange(&started, true))
		return;
	huge_spare_static();
	settings_load();
	gate_reset();
	if (settings()->off)
		gate_off();
	purge_start();
}

/* jemalloc 5.3.0, arena.h and large.h. */
void je_arena_cache_bin_fill_small(void *tsdn, void *arena, void *bin,
				   void *info, unsigned index, unsigned fill);
void *je_large_malloc(void *tsdn, void *arena, size_t bytes, bool zero);

void spw_gate_fill_small(void *tsdn, void *arena, void *bin, void *info,
			 unsigned index, unsigned fill);
void *spw_gate_large_malloc(void *tsdn, void *arena, size_t bytes, bool zero);

void je_arena_decay(void *tsdn, void *arena, bool background, bool all);
void spw_embedded_last_thread(void *tsdn, void *arena, bool background,
			      bool all);

/* The arena's next thread will want these pages; under pressure the
 * the reclaimer returns them. */
void
spw_embedded_last_thread(void *tsdn, void *arena, bool background, bool all)
{
	if (settings()->off)
		je_arena_decay(tsdn, arena, background, all);
}

int spw_embedded_key_create(pthread_key_t *key, void (*ends)(void *));

static pthread_key_t thread_key;
static void (*thread_heap_ends)(void *);
static __thread unsigned rounds;

/*
 * glibc runs destructors of thread-specific data in rounds, and jemalloc's
 * key is the first of the process: after its cleanup every allocation of the
 * thread, a tagged one too, would come from arena 0. So it waits for the last
 * round but one (in the last it looks whether anybody came after it).
 */
static void
thread_ends(void *heap)
{
	if (++rounds < PTHREAD_DESTRUCTOR_ITERATIONS - 1 &&
	    pthread_setspecific(thread_key, heap) == 0)
		return;
	thread_heap_ends(heap);
}

int
spw_embedded_key_create(pthread_key_t *key, void (*ends)(void *))
{
	int error = pthread_key_create(key, thread_ends);

	thread_key = *key;
	thread_heap_ends = ends;
	return error;
}

/* An empty bin after this is out of memory to jemalloc. */
void
spw_gate_fill_small(void *tsdn, void *arena, void *bin, void *info,
		    unsigned index, unsigned fill)
{
	if (gate_enter(4096))
		je_arena_cache_bin_fill_small(tsdn, arena, bin, info, index,
					      fill);
}

void *
spw_gate_large_malloc(void *tsdn, void *arena, size_t bytes, bool zero)
{
	if (!gate_enter(bytes))
		return NULL;
	return je_large_malloc(tsdn, arena, bytes, zero);
}

/*
 * libm and libgcc_s serve jemalloc's heap profiles alone; loading them with
 * every program costs a fifth of its start.
 */
static void *
late(const char *library, const char *name)
{
	void *handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
	void *function = handle ? dlsym(handle, name) : NULL;

	if (!function)
		abort();
	return function;
}

double spw_math_log(double x);
double spw_math_exp(double x);
double spw_math_round(double x);
int spw_unwind_backtrace(int (*trace)(void *, void *), void *context);
uintptr_t spw_unwind_ip(void *context);

static double
math(const char *name, double x)
{
	void *found = late("libm.so.6", name);
	double (*function)(double);

	memcpy(&function, &found, sizeof function);
	return function(x);
}

double
spw_math_log(double x)
{
	return math("log", x);
}

double
spw_math_exp(double x)
{
	return math("exp", x);
}

double
spw_math_round(double x)
{
	return math("round", x);
}

int
spw_unwind_backtrace(int (*trace)(void *, void *), void *context)
{
	void *found = late("libgcc_s.so.1", "_Unwind_Backtrace");
	int (*function)(int (*)(void *, void *), void *);

	memcpy(&function, &found, sizeof function);
	return function(trace, context);
}

uintptr_t
spw_unwind_ip(void *context)
{
	void *found = late("libgcc_s.so.1", "_Unwind_GetIP");
	uintptr_t (*function)(void *);

	memcpy(&function, &found, sizeof function);
	return function(context);
}
