/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reclaimable caches: key-value data that fill the memory nobody needs and go
 * when somebody does, the cold first.
 *
 * Usage: spw_cache_create(), spw_cache_put(); spw_cache_peek() inside
 * spw_read_lock(), or spw_cache_get() ... spw_ref_put().
 *
 * Caveats:
 *  - whatever is put may be gone at the next look: a miss is never an error.
 *  - threads: everything is thread-safe but destroy. Readers take no lock and,
 *    on a repeated hit, write nothing that others read. A put may wait for
 *    memory, 10 ms at most (SPILLWAY_CONF=gate:), and never inside a read-side
 *    section: there it takes memory at once.
 *  - read-side sections (spw_read_lock) are for short looks: memory that is
 *    given back waits for them. Never sleep or fork inside; for longer use,
 *    get.
 *  - fork: the child has a copy of every cache; what was pinned in the parent
 *    stays pinned there.
 *  - threads:never: nobody evicts behind your back: a put that finds the cache
 *    at its limit evicts itself, and waits for readers meanwhile.
 *  - signals: not async-signal-safe.
 *
 * Keys and values are any bytes, of any length from zero up to the limits
 * below. What is shared is what Segcache (NSDI'21) and RAMCloud (FAST'14)
 * taught: segments, merged when they have cooled down.
 */
#ifndef SPILLWAY_CACHE_H
#define SPILLWAY_CACHE_H

#include <spillway/arena.h>

SPW_BEGIN_DECLS

struct spw_cache;

#define SPW_CACHE_KEY_MAX 65535u
#define SPW_CACHE_VALUE_MAX (((size_t)1 << 30) - 1)

struct spw_cache_options {
	size_t size;
	const char *name;          /* copied; 1 to 63 bytes */
	enum spw_tier tier;        /* of what is warm; 0: WARM */
	struct spw_domain *domain; /* NULL */
	uint64_t max_bytes;        /* resident, index included; 0: none */
};

struct spw_put_options {
	size_t size;
	uint64_t ttl_ns;  /* gone after; 0: never. Kept in 1/16 s */
	uint64_t cost_ns; /* what a rebuild takes: the dearer stays */
};

/* A value that stays where it is until spw_ref_put(). */
struct spw_ref {
	const void *value;
	size_t value_bytes;
	uintptr_t held; /* spillway's; 0: nothing */
};

/* A value in the making: write value_bytes at `value`, then commit. */
struct spw_reservation {
	void *value;
	size_t value_bytes;
	uintptr_t held[4]; /* spillway's */
};

/* How many bytes were not read for so long. */
#define SPW_CACHE_AGES 6 /* < 15 s, 1 min, 5 min, 15 min, 1 h; more */
/* How many bytes were hit so often: 0, 1, 2-3, 4-7 ...; the last: more. */
#define SPW_CACHE_HEATS 8

struct spw_cache_stats {
	size_t size;
	uint64_t entries;
	uint64_t entry_bytes;   /* of what is live: keys, values, headers */
	uint64_t segments;      /* of 2 MiB of address space each */
	uint64_t segment_bytes; /* that may be resident in them */
	uint64_t index_bytes;   /* that may be resident beside them */
	uint64_t hits, misses;  /* counted by each thread for itself: a few
				 * are lost where over 64 come and go */
	uint64_t refaults;      /* puts of what was evicted a short time ago */
	uint64_t puts;
	uint64_t evicted_entries;
	uint64_t merged_bytes;       /* copied by compaction */
	uint64_t released_bytes;     /* given back to the kernel */
	uint64_t recycled_bytes;     /* evicted and filled anew */
	uint64_t waits, wait_ns_max; /* of puts, for memory */
	uint64_t pinned_segments;
	uint64_t copied_gets; /* gets that copied: too much was pinned */
	/* Estimates from samples, as of the last pass over the cache. */
	uint64_t age_bytes[SPW_CACHE_AGES];
	uint64_t heat_bytes[SPW_CACHE_HEATS];
};

/*
 * Errors: -EINVAL (the log names the member), -ENOMEM (also: no address space
 * is left; each cache reserves some), -ENOSPC (65,535 caches are there),
 * -ENOTSUP (SPILLWAY_CONF=off).
 */
int spw_cache_create(struct spw_cache **cache,
		     const struct spw_cache_options *options);

/*
 * Nobody may use the cache any more; not inside a section. What is pinned stays until its
 * spw_ref_put(), and the log says how much. NULL is ignored.
 */
void spw_cache_destroy(struct spw_cache *cache);

/* Everything that was put before is gone when this returns; its memory goes
 * soon after. Not inside a section: aborts. */
void spw_cache_clear(struct spw_cache *cache);

/*
 * Key and value are copied. A value that is there is replaced; who reads the
 * old one meanwhile goes on reading it. options: NULL, or ttl and cost.
 * Errors: -EINVAL (NULL with bytes, options.size), -E2BIG (over the limits
 * above, or over max_bytes), -ENOMEM (nothing could be evicted either).
 */
int spw_cache_put(struct spw_cache *cache, const void *key, size_t key_bytes,
		  const void *value, size_t value_bytes,
		  const struct spw_put_options *options);

/*
 * The value, borrowed until the section's spw_read_unlock(), aligned to 8; or
 * NULL. Inside spw_read_lock(); debug builds assert it. value_bytes: NULL, or
 * where its length goes.
 */
const void *spw_cache_peek(struct spw_cache *cache, const void *key,
			   size_t key_bytes, size_t *value_bytes);

/* A key to be looked up, and what was found: value is NULL where it is not
 * there. */
struct spw_cache_look {
	const void *key;
	size_t key_bytes;
	const void *value;
	size_t value_bytes;
};

/*
 * Many keys at once, as by spw_cache_peek(): in a cache that is larger than
 * the processor's own, several times as fast, since the looks wait for memory
 * together. Returns how many were there.
 */
size_t spw_cache_peek_many(struct spw_cache *cache,
			   struct spw_cache_look *looks, size_t count);

/*
 * As peek, for longer use, zero-copy: the segment is pinned until
 * spw_ref_put(). Where too many segments are pinned (1/8 of the cache, at
 * least 8) the value is copied instead.
 * Errors: -ENOENT, -EINVAL, -ENOMEM (a copy could not be had).
 */
int spw_cache_get(struct spw_cache *cache, const void *key, size_t key_bytes,
		  struct spw_ref *ref);

/* From any thread, also inside a section; clears the ref: a second call with
 * it does nothing. A copy of a ref must not be put too: aborts. */
void spw_ref_put(struct spw_ref *ref);

/* Errors: -ENOENT, -EINVAL. When it returns no later look finds the value. */
int spw_cache_remove(struct spw_cache *cache, const void *key,
		     size_t key_bytes);

/*
 * A put without the copy: space for value_bytes, to be written by the caller
 * and committed, or aborted; by the thread that reserved, which may sleep in
 * between. At most half of the cache may be reserved at a time, or 64 MiB.
 * Errors: as put; commit cannot fail for want of memory.
 */
int spw_cache_reserve(struct spw_cache *cache, const void *key,
		      size_t key_bytes, size_t value_bytes,
		      const struct spw_put_options *options,
		      struct spw_reservation *reservation);
int spw_cache_commit(struct spw_reservation *reservation);
void spw_cache_abort(struct spw_reservation *reservation);

/*
 * Gives at least so many bytes back to the kernel, the cold first, and
 * returns how many went: up to a segment of 2 MiB more, and what the index
 * has to spare; less where there is no more, or after 10 s. The reclaimer
 * does it; the caller waits, never inside a section (0 there).
 */
uint64_t spw_cache_shrink(struct spw_cache *cache, uint64_t bytes);

/* Errors: -EINVAL (NULL, or .size unknown). */
int spw_cache_stats(struct spw_cache *cache, struct spw_cache_stats *stats);

SPW_END_DECLS

#endif
