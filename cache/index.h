/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The index of a cache: from a key's hash to its slot, one cache line a look.
 *
 * Usage: inside a read-side section index_find(); inside a writer's section
 * (writer.h) index_set(), index_remove(), index_move().
 *
 * Caveats:
 *  - linear hashing (Litwin 1980): buckets are split and merged one by one, so
 *    the table grows and shrinks with its entries, and is never rebuilt.
 *  - readers take no lock. A hit needs no second look; a miss is believed when
 *    the bucket's version has not moved meanwhile, and it is still the key's.
 *  - writers of one bucket exclude each other by a bit in its header.
 *  - memory that was purged reads as empty buckets: a look that is late finds
 *    nothing, and sees that the table has moved.
 */
#ifndef CACHE_INDEX_H
#define CACHE_INDEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/lock.h"
#include "base/rcu.h"
#include "cache/entry.h"
#include "cache/hash.h"
#include "cache/segment.h"
#include "cache/slot.h"

#define INDEX_SLOTS 7
#define INDEX_MATCHES 0xfffcu   /* of index_match() */
#define INDEX_MATCH_LOW 0x5554u /* of each slot's two bits */

/* header: bit 0 locked, bits 1 to 31 version, bits 32 to 63 the overflow
 * bucket that follows (0: none). Of an overflow bucket: only the latter. */
struct bucket {
	_Atomic uint64_t header;
	_Atomic uint64_t slots[INDEX_SLOTS];
} __attribute__((aligned(64)));

#define BUCKET_LOCKED 1ull
#define BUCKET_VERSION_ONE 2ull
#define BUCKET_LOW_MASK 0xffffffffull

struct index {
	/* Read by every look. */
	_Atomic uint64_t table; /* buckets, and above them how often resized */
	struct bucket *buckets;
	struct bucket *overflow;
	uint32_t owner;
	void *mapping; /* all of the address space */
	uint32_t buckets_max, overflow_max;
	uint32_t overflow_high; /* Guarded by pool_lock, as what follows. */
	uint32_t pool_hint;
	uint32_t pool_used;
	uint64_t *pool_taken;
	size_t pool_ready_bytes; /* readable and writable */
	struct base_lock pool_lock;
	struct base_lock resize_lock;
	size_t ready_bytes;        /* Guarded by resize_lock. */
	_Atomic size_t pool_bytes; /* that may be resident */
	_Atomic uint64_t entries __attribute__((aligned(64)));
};

static inline uint32_t
index_buckets(uint64_t table)
{
	return (uint32_t)table;
}

/* Where a hash belongs in a table of that many buckets. */
static inline uint32_t
index_place(uint64_t table, uint64_t hash)
{
	uint32_t buckets = index_buckets(table);
	uint32_t mask = ~0u >> __builtin_clz(buckets);
	uint32_t place = (uint32_t)hash & mask;

	return place < buckets ? place : place & (mask >> 1);
}

/* 8 to 16 bytes: two words, which may overlap. */
static inline bool
index_key_is_short(size_t key_bytes)
{
	return key_bytes - 8 <= 8;
}

static inline bool
index_short_equal(const unsigned char *a, const unsigned char *b, size_t bytes)
{
	return hash_read64(a) == hash_read64(b) &&
	       hash_read64(a + bytes - 8) == hash_read64(b + bytes - 8);
}

static inline bool
index_key_equal(const struct entry *e, const void *key, size_t key_bytes)
{
	if (e->key_bytes != key_bytes || (e->value_word & ENTRY_SOFT))
		return false;
	return index_key_is_short(key_bytes) ?
		       index_short_equal(entry_key(e), key, key_bytes) :
		       memcmp(entry_key(e), key, key_bytes) == 0;
}

static inline struct entry *
index_entry(uint64_t slot)
{
	return (struct entry *)(void *)(segment_window.base +
					slot_place_bytes(slot));
}

/* The number of the overflow bucket that follows; 0: none. */
static inline uint64_t
index_link(const struct bucket *b)
{
	return atomic_load_explicit(&b->header, memory_order_acquire) >> 32;
}

static inline struct bucket *
index_bucket(const struct index *index, uint64_t table, uint64_t hash)
{
	return &index->buckets[index_place(table, hash)];
}

/* The chain of a hash, as a look found it. */
struct index_view {
	uint64_t table;
	const struct bucket *first;
	uint64_t header;
};

static inline struct index_view
index_view(const struct index *index, uint64_t hash)
{
	uint64_t table = atomic_load_explicit(&index->table,
					      memory_order_acquire);
	const struct bucket *first = index_bucket(index, table, hash);

	return (struct index_view){
		table, first,
		atomic_load_explicit(&first->header, memory_order_acquire)
	};
}

/* The table has moved: whether that left this bucket alone, so that who looks
 * while many are merged does not look for as long as that takes. The table
 * first: what would bring the key here locks the bucket before it. */
static inline bool
index_is_untouched(const struct index *index, uint64_t hash,
		   const struct index_view *view)
{
	uint64_t table = atomic_load_explicit(&index->table,
					      memory_order_acquire);
	uint64_t again = atomic_load_explicit(&view->first->header,
					      memory_order_acquire);

	return index_bucket(index, table, hash) == view->first &&
	       !(view->header & BUCKET_LOCKED) &&
	       ((again ^ view->header) & BUCKET_LOW_MASK) == 0;
}

/* A look goes on in the table that it has read; misses need certainty. */
static inline bool
index_is_settled(const struct index *index, uint64_t hash,
		 const struct index_view *view)
{
	uint64_t again;

	atomic_thread_fence(memory_order_acquire);
	again = atomic_load_explicit(&view->first->header,
				     memory_order_relaxed);
	if ((again ^ view->header) & BUCKET_LOW_MASK & ~BUCKET_LOCKED)
		return false;
	return base_likely(atomic_load_explicit(&index->table,
						memory_order_relaxed) ==
			   view->table) ||
	       index_is_untouched(index, hash, view);
}

/* Which of a bucket's slots have the tag: a hint, to be looked at again. All
 * at once, since where a key is cannot be predicted. Two bits for each slot. */
static inline unsigned
index_match(const struct bucket *b, uint32_t tag)
{
#if defined(__SSE2__) && !defined(RCU_SEEN)
	/* The upper halves of header and slots, four at a time; of each the
	 * upper 15 bits. */
	const float *at = (const float *)(const void *)b;
	const __m128i wanted = _mm_set1_epi32((int)tag);
	__m128i low, high;

	low = _mm_castps_si128(
		_mm_shuffle_ps(_mm_load_ps(at), _mm_load_ps(at + 4), 0xdd));
	high = _mm_castps_si128(_mm_shuffle_ps(_mm_load_ps(at + 8),
					       _mm_load_ps(at + 12), 0xdd));
	low = _mm_cmpeq_epi32(_mm_srli_epi32(low, 32 - SLOT_TAG_BITS), wanted);
	high = _mm_cmpeq_epi32(_mm_srli_epi32(high, 32 - SLOT_TAG_BITS),
			       wanted);
	return (unsigned)_mm_movemask_epi8(_mm_packs_epi32(low, high)) &
	       INDEX_MATCHES;
#else
	unsigned match = 0;

	for (int i = 0; i < INDEX_SLOTS; i++)
		match |= (slot_tag(atomic_load_explicit(
				  &b->slots[i], memory_order_acquire)) == tag ?
				  3u :
				  0)
			 << (2 * i + 2);
	return match;
#endif
}

/* The first slot of a match that is not 0: two bits stand for 8 bytes, the
 * header's come first. */
static inline const _Atomic uint64_t *
index_matched(const struct bucket *b, unsigned match)
{
	const char *at = (const char *)b +
			 4 * (size_t)(unsigned)__builtin_ctz(match);

	return (const _Atomic uint64_t *)(const void *)at;
}

/*
 * The common case of index_find(), by the same steps and without its loops: a
 * short key, whose slot is the first of its bucket that has the tag, and whose
 * entry has no expiry. Its header goes to *header. NULL: not so, look with
 * index_find().
 */
__attribute__((always_inline)) static inline struct entry *
index_find_near(const struct index *index, uint64_t hash, const void *key,
		size_t key_bytes, uint64_t *header)
{
	uint32_t tag = slot_tag_of_hash(hash);
	uint64_t table = atomic_load_explicit(&index->table,
					      memory_order_acquire);
	const struct bucket *b = index_bucket(index, table, hash);
	unsigned match = index_match(b, tag);
	const _Atomic uint64_t *place;
	uint64_t slot;
	struct entry *e;

	if (base_unlikely(!match))
		return NULL;
	place = index_matched(b, match);
	slot = atomic_load_explicit(place, memory_order_acquire);
	e = index_entry(slot);
	if (base_unlikely(slot_tag(slot) != tag ||
			  !segment_is_current(index->owner, slot) ||
			  atomic_load_explicit(place, memory_order_acquire) !=
				  slot))
		return NULL;
	*header = entry_header(e);
	if (base_unlikely(!entry_header_is_plain(*header, key_bytes)))
		return NULL;
	if (base_unlikely(!index_short_equal((const unsigned char *)(e + 1),
					     key, key_bytes)))
		return NULL;
	return e;
}

/* The entry, and its slot into *found; NULL: not there. */
static inline struct entry *
index_find(const struct index *index, uint64_t hash, const void *key,
	   size_t key_bytes, uint64_t *found)
{
	uint32_t tag = slot_tag_of_hash(hash);

	for (;;) {
		struct index_view view = index_view(index, hash);
		const struct bucket *b = view.first;
		uint64_t link = view.header >> 32;

		for (;;) {
			unsigned match = index_match(b, tag);

			for (match &= INDEX_MATCH_LOW; match;
			     match &= match - 1) {
				const _Atomic uint64_t *place = index_matched(
					b, match);
				uint64_t slot = atomic_load_explicit(
					place, memory_order_acquire);
				struct entry *e = index_entry(slot);
				bool current;

				if (!slot || slot_tag(slot) != tag)
					continue;
				current = segment_is_current(index->owner,
							     slot);
				/* Still there, so that the ticket was its: it
				 * was neither moved, and closed behind us, nor
				 * swept because that ticket comes round. */
				if (base_unlikely(
					    atomic_load_explicit(
						    place,
						    memory_order_acquire) !=
					    slot))
					goto again;
				if (base_likely(current &&
						index_key_equal(e, key,
								key_bytes))) {
					*found = slot;
					return e;
				}
			}
			if (base_likely(!link))
				break;
			b = &index->overflow[link];
			link = index_link(b);
		}
		if (base_likely(index_is_settled(index, hash, &view)))
			return NULL;
again:;
	}
}

/* An empty one for the cache of that number: 0 or -ENOMEM. */
int index_open(struct index *index, uint32_t owner);
void index_close(struct index *index);

/* What index_set() found. */
struct index_found {
	uint64_t slot; /* that was there and is replaced; 0: none */
	bool same;     /* it was this key's */
	bool ghost;    /* the key was evicted a short time ago */
};

/* Puts or replaces; where there is no room, in the place of another. */
void index_set(struct index *index, uint64_t hash, const void *key,
	       size_t key_bytes, uint64_t slot, struct index_found *found);

/* The slot that was there, or 0. */
uint64_t index_remove(struct index *index, uint64_t hash, const void *key,
		      size_t key_bytes);

/* From one slot to another; false when the first is not there any more. */
bool index_move(struct index *index, uint64_t hash, uint64_t from, uint64_t to);

/* Fetches the bucket of a hash into the cache of the processor. */
static inline void
index_prefetch(const struct index *index, uint64_t hash)
{
	uint64_t table = atomic_load_explicit(&index->table,
					      memory_order_relaxed);

	__builtin_prefetch(index_bucket(index, table, hash), 1);
}

/* Fetches what the bucket, fetched before, has for a hash, and says where it
 * is: it may be stale, or another key's. NULL: the bucket that follows. */
static inline const char *
index_prefetch_entry(const struct index *index, uint64_t hash)
{
	uint64_t table = atomic_load_explicit(&index->table,
					      memory_order_relaxed);
	const struct bucket *b = index_bucket(index, table, hash);
	unsigned match = index_match(b, slot_tag_of_hash(hash));
	uint64_t slot;
	const char *e;

	if (!match) {
		__builtin_prefetch(&index->overflow[index_link(b)]);
		return NULL;
	}
	slot = atomic_load_explicit(index_matched(b, match),
				    memory_order_relaxed);
	e = (const char *)index_entry(slot);
	__builtin_prefetch(e);
	return e;
}

/* ---- index_size.c ---- */

/* One step, where there are more entries than the buckets are made for. */
void index_grow(struct index *index);

/* Whether it has many more buckets than its entries need. */
bool index_is_loose(const struct index *index);
/* Fewer of them, until then: true when all is done. Inside a section. */
bool index_trim(struct index *index, uint64_t until_ns);
/* Outside, a grace period after it had so many buckets: what is behind them
 * goes back to the kernel. */
void index_purge(struct index *index, uint32_t buckets);
/* What may be resident of it. */
uint64_t index_bytes(const struct index *index);

/* Removes stale slots from a range of buckets. */
void index_sweep(struct index *index, uint32_t from, uint32_t count);

/* In the child of a fork: nobody holds its locks. */
void index_fork_child(struct index *index);

/* ---- between index.c and index_size.c ---- */

void index_lock(struct bucket *b);
void index_unlock(struct bucket *b);
/* Slots have come into its locked chain, or moved in it, or left it: another
 * version, so that readers who miss look again. */
void index_bump(struct bucket *first);
/* Into the first free place of a locked chain: 0 or -ENOMEM. */
int index_append(struct index *index, struct bucket *first, uint64_t slot);
/* Drops stale slots of a locked chain and what overflow it does not need. */
void index_compact(struct index *index, struct bucket *first);
/* Overflow buckets. */
uint32_t index_pool_get(struct index *index);
void index_pool_put(struct index *index, uint32_t which);
void index_pool_trim(struct index *index);

#endif
