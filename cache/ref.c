/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Values that stay: refs of readers, reservations of writers.
 *
 *	spw_cache_get -> cache_look, segment_pin, inside one section
 *	spw_cache_reserve -> cache_place, entry_write, segment_pin
 *	spw_cache_commit -> cache_publish, segment_unpin
 *
 * Invariant: a pin is taken inside a section in which the segment's ticket was
 * seen, so that who closes it and waits for a grace period sees the pin, too
 * (segment.c); what is pinned is neither merged nor dropped nor reused.
 *
 * What pins hold is bounded: beyond PINNED_MIN segments, or an eighth of the
 * cache, a get copies, unless the segment is pinned anyway.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/elsewhere.h"
#include "base/fault.h"
#include "base/rcu.h"
#include "cache/cache.h"
#include "cache/entry_make.h"
#include "cache/hash.h"
#include "pressure/core.h"

#define PINNED_MIN 8u
#define PINNED_PART 8u
#define RESERVED_MIN_BYTES (64ull << 20)
/* spw_ref.held: a segment's number, with this bit; else a copy. */
#define HELD_PINNED 1u

static bool
may_pin(const struct spw_cache *c, uint32_t segment)
{
	uint32_t most = atomic_load_explicit(&c->segments,
					     memory_order_relaxed) /
			PINNED_PART;

	if (most < PINNED_MIN)
		most = PINNED_MIN;
	return segment_owner_pinned(c->index.owner) < most ||
	       atomic_load_explicit(&segment_at(segment)->pins,
				    memory_order_relaxed);
}

/* 0, -ENOENT, -ENOMEM, or -EAGAIN: its length has changed, into *bytes. */
static int
copy_out(struct spw_cache *c, const void *key, size_t key_bytes, size_t *bytes,
	 struct spw_ref *ref)
{
	void *copy = base_fault("cache_get") ? NULL :
					       malloc(*bytes ? *bytes : 1);
	const struct entry *e;
	uint64_t slot;
	int error = 0;

	if (!copy)
		return -ENOMEM;
	rcu_read_lock();
	e = cache_look(c, key, key_bytes, &slot);
	if (!e) {
		error = -ENOENT;
	} else if (entry_value_bytes(e) > *bytes) {
		*bytes = entry_value_bytes(e);
		error = -EAGAIN;
	} else {
		*bytes = entry_value_bytes(e);
		memcpy(copy, entry_value(e), *bytes);
	}
	rcu_read_unlock();
	if (error) {
		free(copy);
		return error;
	}
	*ref = (struct spw_ref){ copy, *bytes, (uintptr_t)copy };
	core_count(&c->copied_gets, 1);
	return 0;
}

SPW_EXPORT int
spw_cache_get(struct spw_cache *c, const void *key, size_t key_bytes,
	      struct spw_ref *ref)
{
	const struct entry *e;
	uint64_t slot;
	size_t bytes;
	bool pinned;
	int error;

	ELSEWHERE(spw_cache_get, c, key, key_bytes, ref);
	if (!c || !ref || (!key && key_bytes))
		return -EINVAL;
	*ref = (struct spw_ref){ 0 };
	rcu_read_lock();
	e = cache_look(c, key, key_bytes, &slot);
	if (!e) {
		rcu_read_unlock();
		return -ENOENT;
	}
	bytes = entry_value_bytes(e);
	pinned = may_pin(c, slot_segment(slot));
	if (pinned) {
		segment_pin(slot_segment(slot));
		*ref = (struct spw_ref){
			.value = entry_value(e),
			.value_bytes = bytes,
			.held = (uintptr_t)slot_segment(slot) << 1 |
				HELD_PINNED,
		};
	}
	rcu_read_unlock();
	if (pinned)
		return 0;
	do
		error = copy_out(c, key, key_bytes, &bytes, ref);
	while (error == -EAGAIN);
	return error;
}

SPW_EXPORT void
spw_ref_put(struct spw_ref *ref)
{
	ELSEWHERE(spw_ref_put, ref);
	if (!ref || !ref->held)
		return;
	if (ref->held & HELD_PINNED)
		segment_unpin((uint32_t)(ref->held >> 1));
	else
		free((void *)ref->held);
	*ref = (struct spw_ref){ 0 };
}

/* ---- reservations ---- */

enum { HELD_CACHE, HELD_SLOT, HELD_HASH };

/* What is reserved cannot be evicted: at most half of the cache, but what may
 * always be. */
static bool
may_reserve(const struct spw_cache *c, size_t bytes)
{
	uint64_t pinned = (uint64_t)segment_owner_pinned(c->index.owner) *
				  SEGMENT_BYTES +
			  bytes;
	uint64_t most = atomic_load_explicit(&c->segments,
					     memory_order_relaxed) *
			SEGMENT_BYTES / 2;

	if (most < RESERVED_MIN_BYTES)
		most = RESERVED_MIN_BYTES;
	if (c->max_bytes && most > c->max_bytes / 2)
		most = c->max_bytes / 2;
	return pinned <= most || !segment_owner_pinned(c->index.owner);
}

SPW_EXPORT int
spw_cache_reserve(struct spw_cache *c, const void *key, size_t key_bytes,
		  size_t value_bytes, const struct spw_put_options *options,
		  struct spw_reservation *r)
{
	struct entry_make make;
	struct space space;
	struct entry *e;
	uint64_t hash, slot;
	int error;

	ELSEWHERE(spw_cache_reserve, c, key, key_bytes, value_bytes, options,
		  r);
	if (!c || !r)
		return -EINVAL;
	*r = (struct spw_reservation){ 0 };
	error = entry_make(&make, c->max_bytes, key, key_bytes, value_bytes,
			   options);
	if (error)
		return error;
	if (!may_reserve(c, make.bytes))
		return -ENOMEM;
	hash = hash_bytes(key, key_bytes);
	error = cache_place(c, &make.header, make.bytes, &space);
	if (error)
		return error;
	slot = slot_make(space.segment, space.generation, space.offset_bytes,
			 slot_tag_of_hash(hash));
	e = index_entry(slot);
	entry_write(e, &make, key);
	segment_pin(space.segment);
	/* Not one of the index yet: the books of its segment leave it out. */
	atomic_fetch_add(&segment_at(space.segment)->dead_entries, 1);
	if (make.bytes > SPACE_SHARED_MAX)
		space_seal_run(c, space.segment, make.bytes);
	writer_leave();
	r->value = entry_value(e);
	r->value_bytes = value_bytes;
	r->held[HELD_CACHE] = (uintptr_t)c;
	r->held[HELD_SLOT] = (uintptr_t)slot;
	r->held[HELD_HASH] = (uintptr_t)hash;
	return 0;
}

/* Inside a writer's section in which its segment is current. */
static void
publish(struct spw_cache *c, const struct spw_reservation *r, uint64_t slot)
{
	const struct entry *e = index_entry(slot);

	atomic_fetch_sub(&segment_at(slot_segment(slot))->dead_entries, 1);
	cache_publish(c, r->held[HELD_HASH], entry_key(e), e->key_bytes, slot);
}

static int
end_reservation(struct spw_reservation *r, bool commit)
{
	struct spw_cache *c;
	uint64_t slot;

	if (!r || !r->held[HELD_CACHE])
		return -EINVAL;
	c = (struct spw_cache *)r->held[HELD_CACHE];
	slot = r->held[HELD_SLOT];
	writer_enter();
	/* Or it was cleared meanwhile: as if it had been put before. */
	if (segment_is_current(c->index.owner, slot)) {
		if (commit)
			publish(c, r, slot);
		else
			cache_forget_bytes(c, slot);
	}
	writer_leave();
	segment_unpin(slot_segment(slot));
	*r = (struct spw_reservation){ 0 };
	return 0;
}

SPW_EXPORT int
spw_cache_commit(struct spw_reservation *r)
{
	ELSEWHERE(spw_cache_commit, r);
	return end_reservation(r, true);
}

SPW_EXPORT void
spw_cache_abort(struct spw_reservation *r)
{
	ELSEWHERE(spw_cache_abort, r);
	end_reservation(r, false);
}
