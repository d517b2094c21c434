/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bodies of tagged arenas: making, resetting and reusing jemalloc arenas.
 *
 * Called by arena.c and arena_drop.c; calls jemalloc through heap_api() and
 * arena_threads.c to empty caches. The hooks are in arena_hooks.c.
 *
 * `lock` guards the spare list and the making of bodies, which allocates: it
 * is never taken by an allocating path (body_get() is called when arenas are
 * created and, for a reserved spare, when one is dropped).
 */
#include "alloc/arena_body.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/arena_hooks.h"
#include "alloc/arena_threads.h"
#include "alloc/heap.h"
#include "alloc/pages.h"
#include "base/fault.h"
#include "base/lock.h"

_Atomic uint16_t body_of_unit[BODY_UNITS];
struct arena_body *bodies[BODIES_MAX];

static struct base_lock lock = BASE_LOCK(BASE_RANK_ARENA_LIST);
static struct arena_body *spares; /* Guarded by lock. */
static unsigned bodies_count;     /* Guarded by lock. */

/* jemalloc's own decay would return pages behind our back. */
static void
keep_dirty(const struct heap_api *api, unsigned index)
{
	static const char *const names[] = { "arena.0.dirty_decay_ms",
					     "arena.0.muzzy_decay_ms" };
	intptr_t values[] = { -1, 0 };

	for (unsigned i = 0; i < 2; i++) {
		size_t mib[3], length = 3;

		if (api->mallctlnametomib(names[i], mib, &length) != 0)
			continue;
		mib[1] = index;
		api->mallctlbymib(mib, 3, NULL, NULL, &values[i],
				  sizeof values[i]);
	}
}

static int
make_locked(struct arena_body **out)
{
	const struct heap_api *api = heap_api();
	struct arena_body *body;
	size_t bytes;
	void *hooks;

	base_assert_held(&lock);
	if (!api)
		return -ENOSYS;
	if (bodies_count == BODIES_MAX)
		return -ENOSPC;
	body = base_fault("arena_body") ? NULL : calloc(1, sizeof *body);
	if (!body)
		return -ENOMEM;
	body->slot = bodies_count;
	atomic_store(&body->limit_bytes, UINT64_MAX);
	hooks_fill(body);
	bodies[bodies_count] = body; /* hooks look it up while it is made */
	hooks = body->hooks;
	bytes = sizeof body->index;
	if (api->mallctl("arenas.create", &body->index, &bytes, &hooks,
			 sizeof hooks) != 0) {
		bodies[bodies_count] = NULL;
		free(body);
		return -ENOMEM;
	}
	bodies_count++;
	body->arena_flags = HEAP_ARENA(body->index);
	body->active_pages = heap_active_pages(body->index);
	keep_dirty(api, body->index);
	*out = body;
	return 0;
}

int
body_reserve(void)
{
	struct arena_body *body;
	int error = 0;

	lock_fork_add(&lock);
	base_lock(&lock);
	if (!spares) {
		error = make_locked(&body);
		if (!error) {
			body->next_spare = spares;
			spares = body;
		}
	}
	base_unlock(&lock);
	return error;
}

int
body_get(struct arena_body **out, uint64_t limit_bytes, bool huge)
{
	struct arena_body *body;
	int error = 0;

	lock_fork_add(&lock);
	base_lock(&lock);
	body = spares;
	if (body)
		spares = body->next_spare;
	else
		error = make_locked(&body);
	base_unlock(&lock);
	if (error)
		return error;
	body->huge = huge;
	atomic_store(&body->failures, 0);
	atomic_store(&body->limit_bytes, limit_bytes);
	*out = body;
	return 0;
}

void
body_reset(struct arena_body *body)
{
	const struct heap_api *api = heap_api();
	size_t mib[3], length = 3;

	threads_flush(body);
	pages_purge_lock();
	if (api->mallctlnametomib("arena.0.reset", mib, &length) == 0) {
		mib[1] = body->index;
		api->mallctlbymib(mib, 3, NULL, NULL, NULL, 0);
	}
	length = 3;
	if (api->mallctlnametomib("arena.0.purge", mib, &length) == 0) {
		mib[1] = body->index;
		api->mallctlbymib(mib, 3, NULL, NULL, NULL, 0);
	}
	pages_purge_unlock();
}

void
body_put(struct arena_body *body)
{
	atomic_store(&body->limit_bytes, UINT64_MAX);
	base_lock(&lock);
	body->next_spare = spares;
	spares = body;
	base_unlock(&lock);
}

uint64_t
body_active_bytes(const struct arena_body *body)
{
	return body->active_pages ?
		       __atomic_load_n(body->active_pages, __ATOMIC_RELAXED) *
			       4096ull :
		       0;
}
