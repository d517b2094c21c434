/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tagged arenas.
 *
 * spw_arena_malloc() -> jemalloc's mallocx() with this arena and this
 * thread's cache of it; spw_free() -> the pointer's body, from its address ->
 * dallocx() with the same cache. Accounting costs nothing here: hooks count
 * pages (arena_hooks.c).
 *
 * A reclaimable arena's body can be exchanged under it at any time
 * (drop_arena): it is read inside a read-side section, and the old one is
 * reset only after a grace period, so no allocation is under way in it then:
 *
 *	allocating thread		reclaimer
 *	read lock			body = fresh (release)
 *	b = body (acquire)		drop(): owner unpublishes the root
 *	p = mallocx(b)			grace period
 *	link p to the root it loaded	reset the old body
 *	read unlock
 *
 * An object that was made in the fresh body but linked to the old root is
 * unreachable, and goes with the next drop.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/arena_body.h"
#include "alloc/arena_threads.h"
#include "alloc/heap.h"
#include "base/elsewhere.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/rcu.h"
#include "base/settings.h"
#include "pressure/core.h"
#include "pressure/shrinkers.h"

struct spw_arena {
	_Atomic(struct arena_body *) body;
	unsigned flags;
	uint64_t limit_bytes;
	void (*drop)(void *);
	void *context;
	struct spw_shrinker *shrinker; /* of a reclaimable one */
	_Atomic uint64_t drops;
	char name[SETTINGS_NAME_BYTES];
};

/* Set before the first arena exists, so never NULL where one is used. */
static const struct heap_api *api;

static uint64_t
limit_of(const struct spw_arena *arena)
{
	return arena->limit_bytes ? arena->limit_bytes : UINT64_MAX;
}

/* The shrinker of a reclaimable arena: all or nothing. */
static size_t
count_arena(const struct spw_shrink *request, void *context)
{
	struct spw_arena *arena = context;

	if (request->older_than_ns)
		return 0; /* when it was used is not known */
	return body_active_bytes(atomic_load(&arena->body));
}

static size_t
drop_arena(const struct spw_shrink *request, void *context)
{
	struct spw_arena *arena = context;
	struct arena_body *fresh, *old;
	uint64_t went;

	if (request->older_than_ns || !rcu_thread_is_ours)
		return 0; /* nobody else may wait for a grace period */
	if (body_get(&fresh, limit_of(arena), arena->flags & SPW_ARENA_HUGE) !=
	    0)
		return 0;
	old = atomic_exchange(&arena->body, fresh);
	arena->drop(arena->context);
	rcu_synchronize();
	went = atomic_load(&old->committed_bytes);
	body_reset(old);
	went -= atomic_load(&old->committed_bytes);
	body_put(old);
	atomic_fetch_add(&arena->drops, 1);
	return (size_t)went;
}

static int
refuse(const char *name, const char *why, int error)
{
	return log_refuse("arena", name, why, error);
}

static int
check_options(const struct spw_arena_options *o)
{
	if (!o || o->size != sizeof *o)
		return refuse(NULL,
			      "options.size is not sizeof(struct "
			      "spw_arena_options)",
			      -EINVAL);
	if (o->flags & ~(SPW_ARENA_RECLAIMABLE | SPW_ARENA_HUGE))
		return refuse(o->name, "unknown flags", -EINVAL);
	if ((o->flags & SPW_ARENA_RECLAIMABLE) && !o->drop)
		return refuse(o->name,
			      "a reclaimable arena needs a drop "
			      "callback",
			      -EINVAL);
	return shrinkers_check("arena", o->name, o->tier, o->domain);
}

static int
make_reclaimable(struct spw_arena *arena, const struct spw_arena_options *o)
{
	struct spw_shrinker_options options = {
		.size = sizeof options,
		.name = arena->name,
		.tier = o->tier ? o->tier : SPW_TIER_WARM,
		.count = count_arena,
		.shrink = drop_arena,
		.context = arena,
	};
	int error = body_reserve(); /* dropping must not allocate */

	return error ? error :
		       spw_shrinker_register(&arena->shrinker, &options);
}

SPW_EXPORT int
spw_arena_create(struct spw_arena **out, const struct spw_arena_options *o)
{
	struct spw_arena *arena;
	struct arena_body *body;
	int error;

	ELSEWHERE(spw_arena_create, out, o);
	if (!out)
		return -EINVAL;
	*out = NULL;
	error = check_options(o);
	if (error)
		return error;
	if (core_start() == -ENOTSUP)
		return -ENOTSUP;
	api = heap_api();
	if (!api)
		return refuse(o->name,
			      "there is no jemalloc 5.3 in this "
			      "process: preload or link "
			      "libspillway-malloc.so",
			      -ENOSYS);
	arena = base_fault("arena_create") ? NULL : calloc(1, sizeof *arena);
	if (!arena)
		return -ENOMEM;
	strcpy(arena->name, o->name);
	arena->flags = o->flags;
	arena->limit_bytes = o->limit_bytes;
	arena->drop = o->drop;
	arena->context = o->context;
	error = body_get(&body, limit_of(arena), o->flags & SPW_ARENA_HUGE);
	if (error) {
		free(arena);
		return error;
	}
	atomic_store(&arena->body, body);
	if (o->flags & SPW_ARENA_RECLAIMABLE)
		error = make_reclaimable(arena, o);
	if (error) {
		body_put(body);
		free(arena);
		return error;
	}
	*out = arena;
	return 0;
}

SPW_EXPORT void
spw_arena_destroy(struct spw_arena *arena)
{
	ELSEWHERE(spw_arena_destroy, arena);
	if (!arena)
		return;
	spw_shrinker_unregister(arena->shrinker);
	body_reset(atomic_load(&arena->body));
	body_put(atomic_load(&arena->body));
	free(arena);
}

SPW_EXPORT void
spw_arena_reset(struct spw_arena *arena)
{
	ELSEWHERE(spw_arena_reset, arena);
	/* In a section, so that a drop that is under way does not give this
	 * body to somebody else meanwhile. */
	rcu_read_lock();
	body_reset(atomic_load(&arena->body));
	rcu_read_unlock();
}

/* The common way in: `flags` adds alignment and zeroing. */
static inline void *
allocate(struct spw_arena *arena, size_t bytes, int flags)
{
	bool exchangeable = arena->flags & SPW_ARENA_RECLAIMABLE;
	struct arena_body *body;
	void *pointer;

	if (exchangeable)
		rcu_read_lock();
	body = atomic_load_explicit(&arena->body, memory_order_acquire);
	pointer = api->mallocx(bytes ? bytes : 1,
			       flags | body->arena_flags |
				       threads_cache_flags(body));
	if (exchangeable)
		rcu_read_unlock();
	if (base_unlikely(!body_is_tagged(pointer))) {
		/* Refused; or in a thread whose heap has ended, to which
		 * jemalloc gives of arena 0, whatever it asks for. */
		heap_free(pointer);
		errno = ENOMEM;
		return NULL;
	}
	return pointer;
}

SPW_EXPORT void *
spw_arena_malloc(struct spw_arena *arena, size_t bytes)
{
	ELSEWHERE(spw_arena_malloc, arena, bytes);
	return allocate(arena, bytes, 0);
}

SPW_EXPORT void *
spw_arena_calloc(struct spw_arena *arena, size_t count, size_t bytes)
{
	size_t all;

	ELSEWHERE(spw_arena_calloc, arena, count, bytes);
	if (__builtin_mul_overflow(count, bytes, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	return allocate(arena, all, HEAP_ZERO);
}

SPW_EXPORT void *
spw_arena_aligned_alloc(struct spw_arena *arena, size_t alignment, size_t bytes)
{
	ELSEWHERE(spw_arena_aligned_alloc, arena, alignment, bytes);
	if (!alignment || (alignment & (alignment - 1))) {
		errno = EINVAL;
		return NULL;
	}
	return allocate(arena, bytes, HEAP_ALIGN(alignment));
}

SPW_EXPORT void *
spw_arena_realloc(struct spw_arena *arena, void *pointer, size_t bytes)
{
	struct arena_body *body;
	void *moved;

	ELSEWHERE(spw_arena_realloc, arena, pointer, bytes);
	if (!pointer)
		return allocate(arena, bytes, 0);
	if (!body_is_tagged(pointer))
		return realloc(pointer, bytes ? bytes : 1);
	body = body_of(pointer);
	moved = api->rallocx(pointer, bytes ? bytes : 1,
			     body->arena_flags | threads_cache_flags(body));
	if (!moved)
		errno = ENOMEM;
	return moved;
}

SPW_EXPORT void
spw_free(void *pointer)
{
	ELSEWHERE(spw_free, pointer);
	if (base_likely(body_is_tagged(pointer)))
		api->dallocx(pointer, threads_cache_flags(body_of(pointer)));
	else
		heap_free(pointer);
}

SPW_EXPORT int
spw_arena_stats(struct spw_arena *arena, struct spw_arena_stats *s)
{
	struct arena_body *body;

	ELSEWHERE(spw_arena_stats, arena, s);
	if (!arena || !s || s->size != sizeof *s)
		return -EINVAL;
	body = atomic_load(&arena->body);
	s->mapped_bytes = atomic_load(&body->mapped_bytes);
	s->committed_bytes = atomic_load(&body->committed_bytes);
	s->active_bytes = body_active_bytes(body);
	s->limit_bytes = limit_of(arena);
	s->drops = atomic_load(&arena->drops);
	s->failures = atomic_load(&body->failures);
	return 0;
}
