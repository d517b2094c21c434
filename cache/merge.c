/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Merging: what is worth keeping of a segment is copied into another.
 *
 * Called by evict.c with its lock held, and by plan.c, which asks what is
 * live. Calls space.c for places and index.c or soft.c to move slots.
 *
 * Invariant: a slot is moved only while its bucket is locked and only if it is
 * still the one whose entry was copied; who replaced or removed it meanwhile
 * has won, and the copy is taken back before anybody could see it. A segment
 * is scanned only after a grace period since it was sealed: then everything
 * in it has been written, and published or given up.
 */
#include "base/rcu.h"
#include "cache/cache.h"
#include "cache/hash.h"
#include "pressure/core.h"

/* Entries whose buckets are fetched before they are looked at. */
#define AHEAD 16u

struct survivor {
	const struct entry *entry;
	size_t bytes;
	uint64_t hash; /* of a soft one: its handle */
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
		if (index_is_settled(index, &view))
			return false;
	}
}

bool
merge_is_live(const struct spw_cache *c, uint32_t index, const struct entry *e)
{
	uint64_t hash = hash_of(e);

	return is_held(c, e, hash, slot_of(index, e, hash));
}

/* Its count is halved where it was not read in this era: what stays must earn
 * it anew. */
static void
copy(const struct spw_cache *c, struct entry *to, const struct entry *from,
     size_t bytes)
{
	uint32_t heat = atomic_load_explicit(&from->heat, memory_order_relaxed);
	uint32_t now = atomic_load_explicit(&c->eras.now, memory_order_relaxed);

	if (heat & ENTRY_COUNT_MAX && heat >> ENTRY_COUNT_BITS != now)
		heat--;
	to->value_word = from->value_word;
	to->key_bytes = from->key_bytes;
	atomic_store_explicit(&to->heat, (uint16_t)heat, memory_order_relaxed);
	memcpy(to + 1, from + 1, bytes - sizeof *to);
}

/* False: there was no room for it. */
static bool
move_survivor(struct spw_cache *c, uint32_t index, const struct survivor *s)
{
	bool soft = s->entry->value_word & ENTRY_SOFT;
	uint64_t slot = slot_of(index, s->entry, s->hash), moved;
	struct space space;

	if (!is_held(c, s->entry, s->hash, slot))
		return true;
	if (!space_alloc_merged(c, s->bytes, soft, &space))
		return false;
	moved = slot_make(space.segment, space.generation, space.offset_bytes,
			  slot_tag(slot));
	copy(c, index_entry(moved), s->entry, s->bytes);
	if (soft ? soft_move(c, s->hash, slot, moved) :
		   index_move(&c->index, s->hash, slot, moved)) {
		if (!soft)
			cache_forget(c, slot);
		core_count(&c->merged_bytes, s->bytes);
	} else {
		space_unalloc_merged(c, s->bytes);
	}
	return true;
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
		__builtin_prefetch(*at + 1024);
		if (!plan_keeps(c, e))
			continue;
		s->hash = hash_of(e);
		if (!(e->value_word & ENTRY_SOFT))
			index_prefetch(&c->index, s->hash);
		n++;
	}
	return n;
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
		for (unsigned i = 0; i < n && room; i++)
			room = move_survivor(c, index, &list[i]);
		writer_leave();
	}
	return room;
}
