/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looks: one key at a time, and many at once.
 *
 *	spw_cache_peek -> index_find_near, cache_hit_near (inline, no call)
 *	  far: index_find (index.h), cache_hit
 *	spw_cache_peek_many -> the same in three steps for AHEAD keys at a time
 *
 * A look in a large cache waits for memory twice: for the bucket, then for the
 * entry that it names. A processor looks a few hundred instructions ahead,
 * which is about two looks. Who has many keys asks for all their buckets,
 * then for all their entries, then looks.
 *
 * No lock; inside the caller's read-side section. What is fetched ahead is a
 * hint: it is looked at by the steps of a single look.
 */
#include "base/elsewhere.h"
#include "base/rcu.h"
#include "cache/cache.h"
#include "cache/hash.h"

/* As many misses as are under way at a time, and a few more. */
#define AHEAD 32u

static const void *
value_of(const struct entry *e, size_t *value_bytes)
{
	if (value_bytes)
		*value_bytes = entry_value_bytes(e);
	return entry_value(e);
}

/* What look_near() does not do itself. Apart, and called last, so that looking
 * keeps no registers for it. */
__attribute__((noinline)) static const void *
peek_far(struct spw_cache *c, const void *key, size_t key_bytes,
	 size_t *value_bytes)
{
	struct entry *e;
	uint64_t slot;

	ELSEWHERE(spw_cache_peek, c, key, key_bytes, value_bytes);
	base_assert_walk(rcu_is_reading());
	e = cache_look(c, key, key_bytes, &slot);
	return e ? value_of(e, value_bytes) : NULL;
}

__attribute__((noinline)) static const void *
peek_hit(struct spw_cache *c, struct entry *e, size_t *value_bytes)
{
	cache_hit(c, e);
	return value_of(e, value_bytes);
}

/* Of a short key. Twice in the program, so that neither look makes a call. */
__attribute__((always_inline)) static inline const void *
peek_near(struct spw_cache *c, uint64_t hash, const void *key, size_t key_bytes,
	  size_t *value_bytes)
{
	uint64_t header;
	struct entry *e = index_find_near(&c->index, hash, key, key_bytes,
					  &header);

	if (base_unlikely(!e))
		return peek_far(c, key, key_bytes, value_bytes);
	if (base_unlikely(!cache_hit_near(
		    c, e, (uint32_t)(header >> ENTRY_HEADER_HEAT_SHIFT))))
		return peek_hit(c, e, value_bytes);
	if (value_bytes)
		*value_bytes = header & ENTRY_VALUE_BITS;
	return (const char *)(e + 1) + entry_round(key_bytes);
}

SPW_EXPORT const void *
spw_cache_peek(struct spw_cache *c, const void *key, size_t key_bytes,
	       size_t *value_bytes)
{
	if (base_unlikely(elsewhere_is) ||
	    base_unlikely(!index_key_is_short(key_bytes)))
		return peek_far(c, key, key_bytes, value_bytes);
	base_assert_walk(rcu_is_reading());
	return peek_near(c, hash_short(key, key_bytes), key, key_bytes,
			 value_bytes);
}

/* ---- many ---- */

/* Header, key and the value's beginning: one line, or two. */
static void
fetch_entry(const struct index *index, uint64_t hash, size_t key_bytes)
{
	const char *e = index_prefetch_entry(index, hash);

	if (e)
		__builtin_prefetch(e + sizeof(struct entry) +
				   entry_round(key_bytes));
}

static size_t
peek_some(struct spw_cache *c, struct spw_cache_look *looks, size_t count)
{
	uint64_t hashes[AHEAD];
	size_t hits = 0;

	for (size_t i = 0; i < count; i++) {
		hashes[i] = hash_bytes(looks[i].key, looks[i].key_bytes);
		index_prefetch(&c->index, hashes[i]);
	}
	for (size_t i = 0; i < count; i++)
		fetch_entry(&c->index, hashes[i], looks[i].key_bytes);
	for (size_t i = 0; i < count; i++) {
		struct spw_cache_look *l = &looks[i];

		l->value_bytes = 0;
		if (base_likely(index_key_is_short(l->key_bytes)))
			l->value = peek_near(c, hashes[i], l->key, l->key_bytes,
					     &l->value_bytes);
		else
			l->value = peek_far(c, l->key, l->key_bytes,
					    &l->value_bytes);
		hits += l->value != NULL;
	}
	return hits;
}

SPW_EXPORT size_t
spw_cache_peek_many(struct spw_cache *c, struct spw_cache_look *looks,
		    size_t count)
{
	size_t hits = 0;

	ELSEWHERE(spw_cache_peek_many, c, looks, count);
	base_assert_walk(rcu_is_reading());
	for (size_t i = 0; i < count; i += AHEAD)
		hits += peek_some(c, looks + i,
				  count - i < AHEAD ? count - i : AHEAD);
	return hits;
}
