/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The index: writers of one bucket.
 *
 * Called by cache.c and evict.c inside writers' sections; readers are inline
 * in index.h; how the table grows and shrinks is in index_size.c.
 *
 * Invariant: a key has at most one current slot, in the chain of the bucket
 * that its hash belongs to, except while that bucket is being split or
 * merged, when both have it. What is current is never absent from a chain on
 * the way of a reader who started before:
 *
 *	writer, moving a slot		reader, missing it
 *	new place = slot (release)	header, table (acquire)
 *	version++, or table (release)	looks into the new place: not yet
 *	old place = 0 (release)		looks into the old place: 0 (acquire)
 *					version, table again: moved
 *
 * Reading the 0 orders the second look at version and table after the
 * writer's step. Where the table alone has moved, version and lock of the same
 * bucket say whether it was this one. Replacing a slot is a single store.
 *
 * A bucket is locked by a compare-and-swap of its header for less than a
 * microsecond; who waits spins, then yields.
 */
#include "cache/index.h"

#include <errno.h>
#include <sched.h>

#include "base/rcu.h"

#define SPINS 64
/* Longer chains give up a slot instead, as do those for which there is no
 * memory: it is a cache. */
#define CHAIN_MAX 8

void
index_lock(struct bucket *b)
{
	for (unsigned spins = 0;; spins++) {
		uint64_t seen = atomic_load_explicit(&b->header,
						     memory_order_relaxed) &
				~BUCKET_LOCKED;

		if (atomic_compare_exchange_weak_explicit(
			    &b->header, &seen, seen | BUCKET_LOCKED,
			    memory_order_acquire, memory_order_relaxed))
			return;
		if (spins < SPINS)
			__builtin_ia32_pause();
		else
			sched_yield();
	}
}

void
index_unlock(struct bucket *b)
{
	uint64_t header = atomic_load_explicit(&b->header,
					       memory_order_relaxed);

	base_assert(header & BUCKET_LOCKED);
	atomic_store_explicit(&b->header, header & ~BUCKET_LOCKED,
			      memory_order_release);
}

void
index_bump(struct bucket *first)
{
	uint64_t header = atomic_load_explicit(&first->header,
					       memory_order_relaxed);
	uint64_t low = (header + BUCKET_VERSION_ONE) & BUCKET_LOW_MASK;

	atomic_store_explicit(&first->header, (header & ~BUCKET_LOW_MASK) | low,
			      memory_order_release);
}

static void
set_link(struct bucket *b, uint64_t link)
{
	uint64_t header = atomic_load_explicit(&b->header,
					       memory_order_relaxed);

	atomic_store_explicit(&b->header,
			      (header & BUCKET_LOW_MASK) | link << 32,
			      memory_order_release);
}

static uint64_t
load(const _Atomic uint64_t *slot)
{
	return atomic_load_explicit(slot, memory_order_acquire);
}

static void
store(_Atomic uint64_t *slot, uint64_t value)
{
	atomic_store_explicit(slot, value, memory_order_release);
}

/* The bucket of a hash, locked, in the table of this moment. */
static struct bucket *
lock_place(struct index *index, uint64_t hash)
{
	for (;;) {
		uint64_t table = atomic_load_explicit(&index->table,
						      memory_order_acquire);
		uint32_t place = index_place(table, hash);
		struct bucket *b = &index->buckets[place];

		index_lock(b);
		table = atomic_load_explicit(&index->table,
					     memory_order_acquire);
		if (base_likely(index_place(table, hash) == place))
			return b;
		index_unlock(b);
	}
}

/* What a chain has for a key: its slot, and where another could go. */
struct place {
	_Atomic uint64_t *key;  /* NULL: not there */
	_Atomic uint64_t *free; /* NULL: none */
	struct bucket *last;
	unsigned length;
	bool ghost;
};

/* Whether a stale slot's segment was closed, or opened once, since: what was
 * evicted long ago was not missed much. */
static bool
is_recent(uint64_t slot)
{
	uint32_t ticket = atomic_load_explicit(
		&segment_window.tickets[slot_segment(slot)],
		memory_order_relaxed);
	uint32_t opens = ticket - slot_generation(slot);

	return !ticket || (opens & SLOT_GENERATION_MAX) <= 1;
}

static struct place
look(struct index *index, struct bucket *first, uint32_t tag, const void *key,
     size_t key_bytes)
{
	struct place found = { .last = first, .length = 1 };
	struct bucket *b = first;
	/* First a stale one of this key, then an empty one, then any stale. */
	bool own = false, empty = false;

	for (;;) {
		for (int i = 0; i < INDEX_SLOTS; i++) {
			uint64_t slot = load(&b->slots[i]);

			if (slot && segment_is_current(index->owner, slot)) {
				if (slot_tag(slot) == tag &&
				    index_key_equal(index_entry(slot), key,
						    key_bytes)) {
					found.key = &b->slots[i];
					return found;
				}
				continue;
			}
			if (slot && slot_tag(slot) == tag) {
				/* What replaces it takes its place. */
				found.ghost |= is_recent(slot);
				found.free = &b->slots[i];
				own = true;
			} else if (!slot && !own && !empty) {
				found.free = &b->slots[i];
				empty = true;
			} else if (!found.free) {
				found.free = &b->slots[i];
			}
		}
		if (!index_link(b))
			break;
		b = &index->overflow[index_link(b)];
		found.length++;
	}
	found.last = b;
	return found;
}

/* A new overflow bucket behind `last`, with this slot in it. */
static int
extend(struct index *index, struct bucket *last, uint64_t slot)
{
	uint32_t which = index_pool_get(index);
	struct bucket *b = &index->overflow[which];

	if (!which)
		return -ENOMEM;
	set_link(b, 0);
	for (int i = 1; i < INDEX_SLOTS; i++)
		atomic_store_explicit(&b->slots[i], 0, memory_order_relaxed);
	store(&b->slots[0], slot);
	set_link(last, which);
	return 0;
}

int
index_append(struct index *index, struct bucket *first, uint64_t slot)
{
	struct bucket *b = first;

	for (;;) {
		for (int i = 0; i < INDEX_SLOTS; i++) {
			uint64_t there = load(&b->slots[i]);

			if (there && segment_is_current(index->owner, there))
				continue;
			store(&b->slots[i], slot);
			return 0;
		}
		if (!index_link(b))
			return extend(index, b, slot);
		b = &index->overflow[index_link(b)];
	}
}

void
index_set(struct index *index, uint64_t hash, const void *key, size_t key_bytes,
	  uint64_t slot, struct index_found *found)
{
	struct bucket *first = lock_place(index, hash);
	struct place place = look(index, first, slot_tag_of_hash(hash), key,
				  key_bytes);

	*found = (struct index_found){ .ghost = place.ghost };
	if (place.key) {
		found->slot = load(place.key);
		found->same = true;
		store(place.key, slot);
	} else if (place.free) {
		store(place.free, slot);
	} else if (place.length >= CHAIN_MAX ||
		   extend(index, place.last, slot) != 0) {
		_Atomic uint64_t *victim =
			&place.last->slots[(hash >> 56) % INDEX_SLOTS];

		found->slot = load(victim);
		store(victim, slot);
	}
	index_unlock(first);
	if (!found->slot)
		atomic_fetch_add_explicit(&index->entries, 1,
					  memory_order_relaxed);
}

uint64_t
index_remove(struct index *index, uint64_t hash, const void *key,
	     size_t key_bytes)
{
	struct bucket *first = lock_place(index, hash);
	struct place place = look(index, first, slot_tag_of_hash(hash), key,
				  key_bytes);
	uint64_t slot = 0;

	if (place.key) {
		slot = load(place.key);
		store(place.key, 0);
		atomic_fetch_sub_explicit(&index->entries, 1,
					  memory_order_relaxed);
	}
	index_unlock(first);
	return slot;
}

bool
index_move(struct index *index, uint64_t hash, uint64_t from, uint64_t to)
{
	struct bucket *first = lock_place(index, hash);
	struct bucket *b = first;
	bool moved = false;

	for (;;) {
		for (int i = 0; i < INDEX_SLOTS && !moved; i++) {
			if (load(&b->slots[i]) != from)
				continue;
			store(&b->slots[i], to);
			moved = true;
		}
		if (moved || !index_link(b))
			break;
		b = &index->overflow[index_link(b)];
	}
	index_unlock(first);
	return moved;
}

/* How many slots are free in [first, last), and used in last. */
static void
count_places(const struct index *index, struct bucket *first,
	     struct bucket *last, unsigned *free_before, unsigned *used)
{
	*free_before = *used = 0;
	for (struct bucket *b = first;; b = &index->overflow[index_link(b)]) {
		for (int i = 0; i < INDEX_SLOTS; i++) {
			if (b == last)
				*used += load(&b->slots[i]) != 0;
			else
				*free_before += load(&b->slots[i]) == 0;
		}
		if (b == last)
			return;
	}
}

/* Moves what is in `last` forward and unlinks it. */
static void
fold(struct index *index, struct bucket *first, struct bucket *before,
     struct bucket *last)
{
	uint32_t which = (uint32_t)index_link(before);

	for (int i = 0; i < INDEX_SLOTS; i++)
		if (load(&last->slots[i])) {
			int error = index_append(index, first,
						 load(&last->slots[i]));
			base_assert(!error);
		}
	index_bump(first);
	set_link(before, 0);
	for (int i = 0; i < INDEX_SLOTS; i++)
		store(&last->slots[i], 0);
	index_pool_put(index, which);
}

void
index_compact(struct index *index, struct bucket *first)
{
	struct bucket *b = first;

	for (;;) {
		for (int i = 0; i < INDEX_SLOTS; i++) {
			uint64_t slot = load(&b->slots[i]);

			if (slot && !segment_is_current(index->owner, slot))
				store(&b->slots[i], 0);
		}
		if (!index_link(b))
			break;
		b = &index->overflow[index_link(b)];
	}
	while (index_link(first)) {
		struct bucket *before = first;
		unsigned free_before, used;

		b = &index->overflow[index_link(first)];
		while (index_link(b)) {
			before = b;
			b = &index->overflow[index_link(b)];
		}
		count_places(index, first, b, &free_before, &used);
		if (used > free_before)
			return;
		fold(index, first, before, b);
	}
}
