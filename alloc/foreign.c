/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libspillway.so: the heap is whatever the process has.
 *
 * heap_api() looks for a jemalloc in the process (tagged arenas need it).
 * heap_start() finds out how this process's malloc gives free memory back,
 * the first of: jemalloc's mallctl, mimalloc's mi_collect, tcmalloc's
 * MallocExtension_ReleaseFreeMemory, malloc_trim; and registers it as the FREE
 * tier's shrinker. What went is read from resident memory, since none of them
 * tells.
 *
 * Which functions were found is decided once, under once_control; they are
 * read without a lock afterwards.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/heap.h"
#include "alloc/huge.h"
#include "base/elsewhere.h"
#include "pressure/core.h"
#include "pressure/engine.h"
#include "pressure/errand.h"
#include "pressure/shrinkers.h"

static struct heap_api api;
static bool api_there;
static pthread_once_t api_once = PTHREAD_ONCE_INIT;

static void (*collect)(bool force); /* mi_collect */
static void (*release)(void);       /* tcmalloc */

static bool
find(void *function, const char *name)
{
	void *found = dlsym(RTLD_DEFAULT, name);

	memcpy(function, &found, sizeof found);
	return found != NULL;
}

static void
look_for_jemalloc(void)
{
	const char *version = NULL;
	size_t bytes = sizeof version;

	api_there = find(&api.mallocx, "mallocx") &&
		    find(&api.rallocx, "rallocx") &&
		    find(&api.dallocx, "dallocx") &&
		    find(&api.sallocx, "sallocx") &&
		    find(&api.mallctl, "mallctl") &&
		    find(&api.mallctlnametomib, "mallctlnametomib") &&
		    find(&api.mallctlbymib, "mallctlbymib") &&
		    api.mallctl("version", &version, &bytes, NULL, 0) == 0 &&
		    version && strncmp(version, "5.3.", 4) == 0;
}

const struct heap_api *
heap_api(void)
{
	pthread_once(&api_once, look_for_jemalloc);
	return api_there ? &api : NULL;
}

/* Gathering statistics takes 25 us for each arena there is. */
size_t *
heap_active_pages(unsigned index)
{
	size_t mib[4], length = 4, *pages = NULL, bytes = sizeof pages;
	uint64_t epoch = 1;

	if (!heap_api() ||
	    api.mallctl("epoch", NULL, NULL, &epoch, sizeof epoch) != 0 ||
	    api.mallctlnametomib("experimental.arenas.0.pactivep", mib,
				 &length) != 0)
		return NULL;
	mib[2] = index;
	if (api.mallctlbymib(mib, 4, &pages, &bytes, NULL, 0) != 0)
		return NULL;
	return pages;
}

void
heap_free(void *pointer)
{
	free(pointer);
}

static size_t
trim(const struct spw_shrink *request, void *context)
{
	const struct heap_api *je = heap_api();
	uint64_t before, after;

	(void)request;
	(void)context;
	if (engine_is_throttled())
		return 0;
	before = errand_resident();
	if (je) {
		je->mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
		je->mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
	} else if (collect) {
		collect(true);
	} else if (release) {
		release();
	} else {
		malloc_trim(0);
	}
	after = errand_resident();
	return after < before ? (size_t)(before - after) : 0;
}

static struct spw_shrinker trimmer = {
	.tier = SPW_TIER_FREE,
	.shrink = trim,
	.name = "malloc",
};

/* No work: one look, one system call, and a pointer that the core calls when it
 * starts. */
__attribute__((constructor)) static void
announce(void)
{
	huge_spare_static();
	elsewhere_look();
	core_on_start(heap_start);
}

void
heap_start(void)
{
	static _Atomic bool started;

	if (atomic_exchange(&started, true))
		return;
	heap_api(); /* looking symbols up allocates: not in a pass */
	if (!find(&collect, "mi_collect"))
		find(&release, "MallocExtension_ReleaseFreeMemory");
	shrinkers_add_own(&trimmer);
}
