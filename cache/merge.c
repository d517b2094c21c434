/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Merging: what is worth keeping of a segment is copied into another.
 *
 * Called by evict.c with its lock held, and by plan.c, which asks what is
 * live. Calls space.c for places and index.c or soft.c to move slots.
 *
 * Invariant: a slot is moved only while its bucket is locked and only if it is
 * still the one whose entry was copied; who replaced or removed it meanwhile
 * has won, and the copy is dead before anybody could see it. A segment is
 * scanned only after a grace period since it was sealed: then everything in it
 * has been written, and published or given up. Copies are streamed: they are
 * there (stream_end) before a slot says where.
 */
#include "base/rcu.h"
#include "cache/cache.h"
#include "cache/hash.h"
#include "cache/stream.h"
#include "pressure/core.h"

/* Entries whose buckets are fetched before they are looked at. */
#define AHEAD 16u

struct survivor {
	const struct entry *entry;
	size_t bytes;
	uint64_t hash;  /* of a soft one: its handle */
	uint64_t slot;  /* as it is */
	uint64_t moved; /* as it is going to be; 0: not copied */
};

static uint64_t
hash_of(const struct entry *e)
{
	return e->value_word & ENTRY_SOFT ?
		       hash_read64(entry_key(e)) :
		       hash_bytes(entry_key(e), e->key_bytes);
}

static uint64_t
slot_of(uint32_t index, const struct entry *e, uint64_t hash)
{
	uint32_t offset = (uint32_t)((const char *)e - segment_address(index));
	uint32_t tag = e->value_word & ENTRY_SOFT ? soft_tag(hash) :
						    slot_tag_of_hash(hash);

	return slot_make(index, segment_at(index)->generation, offset, tag);
}

static bool
chain_has(const struct index *index, const struct index_view *view,
	  uint64_t slot)
{
	const struct bucket *b = view->first;
	uint64_t link = view->header >> 32;

	for (;;) {
		for (int i = 0; i < INDEX_SLOTS; i++)
			if (atomic_load_explicit(&b->slots[i],
						 memory_order_acquire) == slot)
				return true;
		if (!link)
			return false;
		b = &index->overflow[link];
		link = index_link(b);
	}
}

/* Whether index or handle have that slot. As for a look, a miss is believed
 * when the chain was not moved meanwhile: the entry would be lost. */
static bool
is_held(const struct spw_cache *c, const struct entry *e, uint64_t hash,
	uint64_t slot)
{
	const struct index *index = &c->index;

	if (e->value_word & ENTRY_SOFT)
		return soft_is_at(c, hash, slot);
	for (;;) {
		struct index_view view = index_view(index, hash);

		if (chain_has(index, &view, slot))
			return true;
		if (index_is_settled(index, hash, &view))
			return false;
	}
}

bool
merge_is_live(const struct spw_cache *c, uint32_t index, const struct entry *e)
{
	uint64_t hash = hash_of(e);

	return is_held(c, e, hash, slot_of(index, e, hash));
}

static void
copy(struct entry *to, const struct entry *from, size_t bytes)
{
	uint16_t heat = atomic_load_explicit(&from->heat, memory_order_relaxed);

	to->value_word = from->value_word;
	to->key_bytes = from->key_bytes;
	atomic_store_explicit(&to->heat, heat, memory_order_relaxed);
	stream_copy(to + 1, from + 1, bytes - sizeof *to);
}

/* Copies those that are still held, until there is no room: how many were looked
 * at. The next is fetched ahead. */
static unsigned
copy_survivors(struct spw_cache *c, uint32_t index, struct survivor *list,
	       unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct survivor *s = &list[i];
		const struct entry *e = s->entry;
		struct space space;

		s->moved = 0;
		if (i + 1 < count)
			stream_ahead(list[i + 1].entry, list[i + 1].bytes);
		s->slot = slot_of(index, e, s->hash);
		if (!is_held(c, e, s->hash, s->slot))
			continue;
		if (!space_alloc_merged(c, s->bytes, e->value_word & ENTRY_SOFT,
					&space))
			return i;
		s->moved = slot_make(space.segment, space.generation,
				     space.offset_bytes, slot_tag(s->slot));
		copy(index_entry(s->moved), e, s->bytes);
	}
	return count;
}

/* Readers find the copy from here on; or, where the entry was replaced or
 * removed meanwhile, nobody ever does. */
static void
move_slot(struct spw_cache *c, const struct survivor *s)
{
	bool soft = s->entry->value_word & ENTRY_SOFT;

	if (!s->moved)
		return;
	if (soft ? soft_move(c, s->hash, s->slot, s->moved) :
		   index_move(&c->index, s->hash, s->slot, s->moved)) {
		if (!soft)
			cache_forget(c, s->slot);
		core_count(&c->merged_bytes, s->bytes);
	} else {
		cache_forget(c, s->moved);
	}
}

/* False: there was no room for all of them. */
static bool
move_survivors(struct spw_cache *c, uint32_t index, struct survivor *list,
	       unsigned count)
{
	unsigned copied = copy_survivors(c, index, list, count);

	stream_end();
	for (unsigned i = 0; i < copied; i++)
		move_slot(c, &list[i]);
	return copied == count;
}

/* Up to AHEAD of those worth keeping, from *at on. */
static unsigned
gather(struct spw_cache *c, const char **at, const char *end,
       struct survivor list[AHEAD])
{
	unsigned n = 0;

	while (n < AHEAD && *at < end) {
		const struct entry *e = (const struct entry *)(const void *)*at;
		struct survivor *s = &list[n];

		s->entry = e;
		s->bytes = entry_bytes(e);
		*at += s->bytes;
		/* Where neighbours are as large as this one. */
		__builtin_prefetch(*at + (AHEAD / 2) * s->bytes);
		if (!plan_keeps(c, e))
			continue;
		s->hash = hash_of(e);
		if (!(e->value_word & ENTRY_SOFT))
			index_prefetch(&c->index, s->hash);
		n++;
	}
	return n;
}

/* Copies go into a spare, or into fresh memory: who evicts must not be who is
 * charged for the last of it. A large value is not copied. */
bool
merge_has_room(const struct spw_cache *c, uint32_t index)
{
	return segment_at(index)->run > 1 || space_spares(c) ||
	       grow_has_room(SEGMENT_BYTES);
}

/* Copies what is worth it. False: no room; the segment stays as it is. */
bool
merge_segment(struct spw_cache *c, uint32_t index)
{
	const struct segment *s = segment_at(index);
	const char *at = segment_address(index), *end = at + s->filled_bytes;
	const struct entry *e = (const struct entry *)(const void *)at;
	struct survivor list[AHEAD];
	bool room = true;

	if (s->run > 1 || s->filled_bytes > SEGMENT_BYTES) {
		rcu_read_lock();
		room = !merge_is_live(c, index, e) || !plan_keeps(c, e);
		rcu_read_unlock();
		return room;
	}
	while (at < end && room) {
		unsigned n;

		writer_enter();
		n = gather(c, &at, end, list);
		room = move_survivors(c, index, list, n);
		writer_leave();
	}
	return room;
}
