/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The public face of caches: create, put, remove, numbers.
 *
 *	spw_cache_put -> space_alloc (space.c), the entry is written,
 *	  index_set (index.c), index_grow
 *	looks: peek.c; get and refs, reserve and commit: ref.c
 *
 * Invariant: after put, the key's slot is this entry's, or a later put's, or
 * stale; after remove, no slot of the key is current.
 *
 * A put is inside a writer's section from the moment it has its place until
 * the slot is set, so that nobody scans or reuses the segment in between.
 *
 * The list of caches is for fork(2) and the numbers alone.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/elsewhere.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/rcu.h"
#include "cache/cache.h"
#include "cache/entry_make.h"
#include "cache/hash.h"
#include "pressure/core.h"
#include "pressure/shrinkers.h"

#define GHOST_COUNT 1u

static struct base_lock list_lock = BASE_LOCK(BASE_RANK_CACHE_LIST);
static struct spw_cache *list; /* Guarded by list_lock. */
static bool prepared;          /* so is this */

/* ---- create and destroy ---- */

static int
refuse(const char *name, const char *why, int error)
{
	return log_refuse("cache", name, why, error);
}

static int
check_options(const struct spw_cache_options *o)
{
	if (!o || o->size != sizeof *o)
		return refuse(NULL,
			      "options.size is not sizeof(struct "
			      "spw_cache_options)",
			      -EINVAL);
	return shrinkers_check("cache", o->name, o->tier, o->domain);
}

static void
fork_child(void)
{
	writer_fork_child();
	segment_fork_child();
	evict_fork_child();
	for (struct spw_cache *c = list; c; c = c->next) {
		index_fork_child(&c->index);
		space_fork_child(c);
		soft_fork_child(&c->soft);
		offer_fork_child(c);
	}
}

static const struct core_fork fork_hooks = {
	.prepare = writer_fork_prepare,
	.parent = writer_fork_parent,
	.child = fork_child,
};

/* Once, before the first. */
static int
prepare(void)
{
	int error = 0;

	lock_fork_add(&list_lock);
	segment_begin();
	base_lock(&list_lock);
	if (!prepared) {
		hash_seed();
		error = segment_window_open();
		prepared = !error;
		if (prepared)
			core_fork_add(&fork_hooks);
	}
	base_unlock(&list_lock);
	return error;
}

static void
link_cache(struct spw_cache *c)
{
	base_lock(&list_lock);
	c->next = list;
	list = c;
	base_unlock(&list_lock);
}

static void
unlink_cache(struct spw_cache *c)
{
	struct spw_cache **place = &list;

	base_lock(&list_lock);
	while (*place && *place != c)
		place = &(*place)->next;
	if (*place)
		*place = c->next;
	base_unlock(&list_lock);
}

static int
open_cache(struct spw_cache *c, const struct spw_cache_options *o)
{
	uint32_t owner = segment_owner_get();
	int error;

	if (!owner)
		return refuse(o->name, "65,535 caches are there", -ENOSPC);
	strcpy(c->name, o->name);
	c->max_bytes = o->max_bytes;
	c->eras.hottest_too = &c->soft.view.hottest;
	era_init(&c->eras);
	atomic_store(&c->counters[0].hits, CACHE_HITS_LOOK - 1);
	space_init(c);
	offer_init(c);
	error = index_open(&c->index, owner);
	if (error) {
		segment_owner_put(owner);
		return error;
	}
	soft_init(c);
	link_cache(c);
	error = offer_register(c, o->tier ? o->tier : SPW_TIER_WARM);
	if (error) {
		unlink_cache(c);
		index_close(&c->index);
		segment_owner_put(owner);
	} else {
		offer_post(c); /* the first job rehearses */
	}
	return error;
}

SPW_EXPORT int
spw_cache_create(struct spw_cache **out, const struct spw_cache_options *o)
{
	struct spw_cache *c;
	int error;

	ELSEWHERE(spw_cache_create, out, o);
	if (!out)
		return -EINVAL;
	*out = NULL;
	error = check_options(o);
	if (error)
		return error;
	if (core_start() == -ENOTSUP)
		return -ENOTSUP;
	error = prepare();
	if (error)
		return refuse(o->name, "no address space can be had", error);
	c = base_fault("cache_create") ?
		    NULL :
		    aligned_alloc(64, (sizeof *c + 63) & ~(size_t)63);
	if (!c)
		return -ENOMEM;
	memset(c, 0, sizeof *c);
	error = open_cache(c, o);
	if (error) {
		free(c);
		return error;
	}
	*out = c;
	return 0;
}

SPW_EXPORT void
spw_cache_destroy(struct spw_cache *c)
{
	uint32_t owner, pinned;

	ELSEWHERE(spw_cache_destroy, c);
	if (!c)
		return;
	base_assert(!rcu_is_reading());
	offer_unregister(c);
	unlink_cache(c);
	owner = c->index.owner;
	pinned = segment_owner_pinned(owner);
	if (pinned)
		log_write(SPW_LOG_ERROR,
			  "cache %s: destroyed with %u segments pinned: they "
			  "stay until spw_ref_put()",
			  c->name, pinned);
	evict_destroy(c);
	segment_owner_put(owner);
	index_close(&c->index);
	soft_close(&c->soft);
	free(c);
}

SPW_EXPORT void
spw_cache_clear(struct spw_cache *c)
{
	ELSEWHERE(spw_cache_clear, c);
	if (!c)
		return;
	base_assert(!rcu_is_reading());
	evict_clear(c);
	core_start();
	offer_post(c);
}

/* ---- put ---- */

/* Where it goes, with the header written; inside a writer's section then. */
static int
find_space(struct spw_cache *c, const struct entry *header, size_t bytes,
	   struct space *space)
{
	while (true) {
		uint32_t segment;

		writer_enter();
		if (base_likely(space_alloc(c, header, bytes, space)))
			return 0;
		writer_leave();
		segment = space_obtain(c);
		if (!segment)
			return -ENOMEM;
		writer_enter();
		space_install(c, segment);
		writer_leave();
	}
}

int
cache_place(struct spw_cache *c, const struct entry *header, size_t bytes,
	    struct space *space)
{
	uint32_t segment;

	if (base_likely(bytes <= SPACE_SHARED_MAX))
		return find_space(c, header, bytes, space);
	segment = space_obtain_run(c, bytes);
	if (!segment)
		return -ENOMEM;
	writer_enter();
	space_open_run(c, segment);
	*space = (struct space){ segment, segment_at(segment)->generation, 0 };
	space_write_header(c, space, header);
	return 0;
}

/* What it replaces was as hot as this is going to be; what was evicted and is
 * back has been asked for at least once more. */
static void
inherit(struct spw_cache *c, uint64_t slot, const struct index_found *found)
{
	uint32_t count = found->ghost ? GHOST_COUNT : 0;

	if (found->same)
		count = era_count(&c->eras, index_entry(found->slot),
				  atomic_load_explicit(&c->eras.now,
						       memory_order_relaxed));
	if (count)
		atomic_store_explicit(&index_entry(slot)->heat,
				      era_heat(&c->eras, count),
				      memory_order_relaxed);
}

void
cache_publish(struct spw_cache *c, uint64_t hash, const void *key,
	      size_t key_bytes, uint64_t slot)
{
	struct cache_counters *counters = cache_counters(c);
	struct index_found found;

	index_set(&c->index, hash, key, key_bytes, slot, &found);
	inherit(c, slot, &found);
	if (found.slot)
		cache_forget(c, found.slot);
	if (found.ghost)
		cache_count(&counters->refaults);
	cache_count(&counters->puts);
	index_grow(&c->index);
}

SPW_EXPORT int
spw_cache_put(struct spw_cache *c, const void *key, size_t key_bytes,
	      const void *value, size_t value_bytes,
	      const struct spw_put_options *options)
{
	struct entry_make make;
	struct space space;
	struct entry *e;
	uint64_t slot, hash;
	int error;

	ELSEWHERE(spw_cache_put, c, key, key_bytes, value, value_bytes,
		  options);
	if (!c || (!value && value_bytes))
		return -EINVAL;
	error = entry_make(&make, c->max_bytes, key, key_bytes, value_bytes,
			   options);
	if (error)
		return error;
	hash = hash_bytes(key, key_bytes);
	index_prefetch(&c->index, hash);
	error = cache_place(c, &make.header, make.bytes, &space);
	if (error)
		return error;
	slot = slot_make(space.segment, space.generation, space.offset_bytes,
			 slot_tag_of_hash(hash));
	e = index_entry(slot);
	index_prefetch_entry(&c->index, hash);
	entry_write(e, &make, key);
	if (value_bytes)
		memcpy(entry_value(e), value, value_bytes);
	cache_publish(c, hash, key, key_bytes, slot);
	if (make.bytes > SPACE_SHARED_MAX)
		space_seal_run(c, space.segment, make.bytes);
	writer_leave();
	return 0;
}

SPW_EXPORT int
spw_cache_remove(struct spw_cache *c, const void *key, size_t key_bytes)
{
	uint64_t slot;
	bool gone; /* already */

	ELSEWHERE(spw_cache_remove, c, key, key_bytes);
	if (!c || (!key && key_bytes))
		return -EINVAL;
	writer_enter();
	slot = index_remove(&c->index, hash_bytes(key, key_bytes), key,
			    key_bytes);
	gone = !slot || cache_is_expired(index_entry(slot));
	if (slot)
		cache_forget(c, slot);
	writer_leave();
	return gone ? -ENOENT : 0;
}

/* ---- numbers ---- */

void
cache_look_at_era(struct spw_cache *c)
{
	uint64_t hits = 0;

	for (unsigned i = 1; i <= WRITER_SLOTS; i++) {
		const struct cache_counters *one = &c->counters[i];

		hits += atomic_load_explicit(&one->hits, memory_order_relaxed) +
			atomic_load_explicit(&one->refaults,
					     memory_order_relaxed) *
				ERA_REFAULT_HITS;
	}
	era_look(&c->eras, hits,
		 atomic_load_explicit(&c->index.entries, memory_order_relaxed));
}

/* Who only reads fills no segment, whose end looks. Not more than a turn a
 * second: each has every entry written once more that is hit. */
void
cache_look_on_hit(struct spw_cache *c, uint64_t hits)
{
	if (hits % CACHE_HITS_SUM == CACHE_HITS_SUM - 1 &&
	    writer_clock_ns() - atomic_load_explicit(&c->eras.began_ns,
						     memory_order_relaxed) >=
		    CLOCK_S)
		cache_look_at_era(c);
	else
		era_look(&c->eras, 0, 0);
}

static void
add_counters(const struct spw_cache *c, struct spw_cache_stats *s)
{
	for (unsigned i = 1; i <= WRITER_SLOTS; i++) {
		const struct cache_counters *one = &c->counters[i];

		s->hits += atomic_load_explicit(&one->hits,
						memory_order_relaxed);
		s->misses += atomic_load_explicit(&one->misses,
						  memory_order_relaxed);
		s->refaults += atomic_load_explicit(&one->refaults,
						    memory_order_relaxed);
		s->puts += atomic_load_explicit(&one->puts,
						memory_order_relaxed);
	}
}

SPW_EXPORT int
spw_cache_stats(struct spw_cache *c, struct spw_cache_stats *s)
{
	ELSEWHERE(spw_cache_stats, c, s);
	if (!c || !s || s->size != sizeof *s)
		return -EINVAL;
	*s = (struct spw_cache_stats){ .size = sizeof *s };
	s->entries = atomic_load(&c->index.entries);
	s->entry_bytes = space_live_bytes(c);
	s->segments = atomic_load(&c->segments);
	s->segment_bytes = atomic_load(&c->resident_bytes);
	s->index_bytes = index_bytes(&c->index) + soft_bytes(&c->soft);
	add_counters(c, s);
	s->evicted_entries = atomic_load(&c->evicted_entries);
	s->merged_bytes = atomic_load(&c->merged_bytes);
	s->released_bytes = atomic_load(&c->released_bytes);
	s->recycled_bytes = atomic_load(&c->recycled_bytes);
	s->waits = atomic_load(&c->waits);
	s->wait_ns_max = atomic_load(&c->wait_ns_max);
	s->pinned_segments = segment_owner_pinned(c->index.owner);
	s->copied_gets = atomic_load(&c->copied_gets);
	for (unsigned i = 0; i < SPW_CACHE_AGES; i++)
		s->age_bytes[i] = atomic_load(&c->age_bytes[i]);
	for (unsigned i = 0; i < SPW_CACHE_HEATS; i++)
		s->heat_bytes[i] = atomic_load(&c->heat_bytes[i]);
	return 0;
}
