/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Explicit thread caches: making, emptying, destroying.
 *
 * Called by arena.c on allocation and by arena_body.c on reset; calls
 * jemalloc's tcache.create/flush/destroy. A cache holds objects of one body
 * only, so tagged and plain memory never mix.
 *
 * `lock` guards the list of threads, which resets walk. It is held while
 * jemalloc flushes and destroys caches, never while it allocates.
 */
#include "alloc/arena_threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "alloc/heap.h"
#include "base/fault.h"
#include "base/lock.h"

__thread struct arena_thread *threads_here
	__attribute__((tls_model("initial-exec")));

static struct base_lock lock = BASE_LOCK(BASE_RANK_THREAD_CACHES);
static struct arena_thread *list; /* Guarded by lock. */
static pthread_key_t key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
/* Set while this thread's caches are made or destroyed. */
static __thread bool busy;

static unsigned
cache_of_flags(int flags)
{
	return ((unsigned)flags >> 8 & 0xfffu) - 2;
}

static void
thread_ends(void *value)
{
	struct arena_thread *here = value;
	const struct heap_api *api = heap_api();

	busy = true;
	threads_here = NULL;
	base_lock(&lock);
	*here->back = here->next;
	if (here->next)
		here->next->back = here->back;
	for (unsigned i = 0; i < BODIES_MAX; i++) {
		int flags = atomic_load(&here->flags[i]);
		unsigned cache = cache_of_flags(flags);

		if (flags && flags != HEAP_TCACHE_NONE)
			api->mallctl("tcache.destroy", NULL, NULL, &cache,
				     sizeof cache);
	}
	base_unlock(&lock);
	free(here);
	busy = false;
}

/*
 * In the child of a fork, after jemalloc's own handler, which forgets all
 * caches but the one of the thread that forked: their links lead into memory
 * of threads that are no more, so emptying or destroying an explicit one
 * would follow them. They are left alone; what they held is lost to the
 * child until its arena is reset.
 */
static void
forget_caches(void)
{
	struct arena_thread *here = threads_here, *next;

	for (struct arena_thread *t = list; t; t = next) {
		next = t->next;
		if (t != here)
			free(t);
	}
	list = here;
	if (!here)
		return;
	for (unsigned i = 0; i < BODIES_MAX; i++)
		atomic_store(&here->flags[i], 0);
	here->next = NULL;
	here->back = &list;
}

static void
make_key(void)
{
	pthread_key_create(&key, thread_ends);
	lock_fork_add(&lock);
	pthread_atfork(NULL, NULL, forget_caches);
}

static struct arena_thread *
make_thread(void)
{
	struct arena_thread *here;

	pthread_once(&key_once, make_key);
	here = base_fault("arena_thread") ? NULL : calloc(1, sizeof *here);
	if (!here)
		return NULL;
	if (pthread_setspecific(key, here) != 0) {
		free(here);
		return NULL;
	}
	base_lock(&lock);
	here->next = list;
	here->back = &list;
	if (list)
		list->back = &here->next;
	list = here;
	base_unlock(&lock);
	threads_here = here;
	return here;
}

int
threads_make_cache(struct arena_body *body)
{
	struct arena_thread *here = threads_here;
	unsigned cache;
	size_t bytes = sizeof cache;
	int flags = HEAP_TCACHE_NONE;

	if (busy)
		return HEAP_TCACHE_NONE;
	busy = true;
	if (!here)
		here = make_thread();
	if (here) {
		if (heap_api()->mallctl("tcache.create", &cache, &bytes, NULL,
					0) == 0)
			flags = HEAP_TCACHE(cache);
		/* Others look only when nobody may use this body: threads_flush(). */
		atomic_store_explicit(&here->flags[body->slot], flags,
				      memory_order_release);
	}
	busy = false;
	return flags;
}

void
threads_flush(struct arena_body *body)
{
	const struct heap_api *api = heap_api();

	base_lock(&lock);
	for (struct arena_thread *t = list; t; t = t->next) {
		int flags = atomic_load_explicit(&t->flags[body->slot],
						 memory_order_acquire);
		unsigned cache = cache_of_flags(flags);

		if (flags && flags != HEAP_TCACHE_NONE)
			api->mallctl("tcache.flush", NULL, NULL, &cache,
				     sizeof cache);
	}
	base_unlock(&lock);
}
