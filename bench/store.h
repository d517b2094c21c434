/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Key-value stores side by side: spillway's cache, liburcu's cds_lfht with
 * entries from malloc, a chained hash table under one mutex, and an array, the
 * floor of them all.
 *
 * Usage: store = type->open(entries, max_bytes); type->put(store, ids, count,
 * value_bytes); type->peek(store, ids, count).
 *
 * All take many ids at once, so that no call through a pointer is in what is
 * timed. A key is 16 bytes, made of its id; a value begins with its id, which
 * peek and copy compare: another one ends the program.
 *
 * Caveats: thread-safe but open. There is no close: stores live in a child of
 * rounds_child(), or until the end. All hash with cache/hash.h.
 */
#ifndef BENCH_STORE_H
#define BENCH_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "cache/hash.h"

#define STORE_KEY_BYTES 16
#define STORE_VALUE_MAX (1u << 20)

struct store;

struct store_type {
	const char *name;
	/* For so many entries; max_bytes is the cache's bound (0: none), the
	 * others have none. */
	struct store *(*open)(uint64_t entries, uint64_t max_bytes);
	void (*put)(struct store *store, const uint32_t *ids, size_t count,
		    size_t value_bytes);
	/* Looks at the value where it is; returns the number of hits. */
	size_t (*peek)(struct store *store, const uint32_t *ids, size_t count);
	/* Copies it out. */
	size_t (*copy)(struct store *store, const uint32_t *ids, size_t count,
		       char *to);
	/* Both, many looks at a time; NULL: it has no such call. */
	size_t (*peek_many)(struct store *store, const uint32_t *ids,
			    size_t count);
	size_t (*copy_many)(struct store *store, const uint32_t *ids,
			    size_t count, char *to);
};

extern const struct store_type store_spillway;
extern const struct store_type store_lfht;
extern const struct store_type store_mutex;
extern const struct store_type store_array;

/* A # line of what spillway's cache says of itself. */
void store_spillway_note(struct store *store, const char *when);

/* Ends with NULL; spillway is the first. */
extern const struct store_type *const store_types[];

struct store_key {
	uint64_t words[STORE_KEY_BYTES / 8];
};

static inline struct store_key
store_key(uint32_t id)
{
	return (struct store_key){ { id * 0x9e3779b97f4a7c15u, id } };
}

static inline uint64_t
store_hash(const struct store_key *key)
{
	return hash_bytes(key, sizeof *key);
}

/* A value in the making, of the calling thread. */
char *store_value(uint32_t id);

void __attribute__((noreturn)) store_wrong_value(const char *name, uint32_t id);

static inline void
store_check(const char *name, const void *value, uint32_t id)
{
	uint64_t found;

	memcpy(&found, value, sizeof found);
	if (__builtin_expect(found != id, 0))
		store_wrong_value(name, id);
}

#endif
