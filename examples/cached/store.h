/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the server stores, in one reclaimable cache of spillway's.
 *
 * Usage: store_open(); readers: store_enter(), store_peek(), store_leave(), or
 * store_get() ... store_release() for what takes longer; writers: store_put(),
 * or store_begin() ... store_finish() for a value that is still arriving.
 *
 * Caveats:
 *  - this is the only part of the server that knows spillway.
 *  - threads: all from any thread, but that a write is finished by the thread
 *    that began it. Writers wait for each other, and for memory: never write
 *    between store_enter() and store_leave().
 *  - time is in seconds since shortly before the start, as store_now() says.
 */
#ifndef EXAMPLES_CACHED_STORE_H
#define EXAMPLES_CACHED_STORE_H

#include <pthread.h>

#include <spillway/cache.h>

#include "examples/cached/words.h"

#define STORE_KEY_MAX 250

/* In front of every value. Never written after it was stored, but `access`. */
struct store_item {
	uint64_t unique;
	uint32_t flags;   /* the client's */
	uint32_t expires; /* 0: never */
	uint32_t access;  /* second of the last hit << 1 | there was one */
	uint8_t marks;
};
#define STORE_HEADER (offsetof(struct store_item, marks) + 1)

static inline const char *
store_value(const struct store_item *item)
{
	return (const char *)item + STORE_HEADER;
}

static inline bool
store_is_expired(const struct store_item *item, uint32_t now)
{
	return item->expires && item->expires <= now;
}

#define STORE_STALE 0x1u  /* invalidated, and served until it is replaced */
#define STORE_WON 0x2u    /* somebody was told to fetch it anew */
#define STORE_BINARY 0x4u /* the key came in base64 */

enum store_result {
	STORE_DONE,
	STORE_NOT_STORED,
	STORE_EXISTS,
	STORE_NOT_FOUND,
	STORE_NO_NUMBER,
	STORE_NO_MEMORY,
};

enum store_mode {
	STORE_SET,
	STORE_ADD,
	STORE_REPLACE,
	STORE_APPEND,
	STORE_PREPEND,
};

/* One value to be stored. */
struct store_write {
	struct word key;
	size_t value_bytes;
	enum store_mode mode;
	uint32_t flags;
	uint32_t expires;
	bool compare;    /* only where the item's unique is this: */
	uint64_t unique; /* afterwards that of the new item */
	bool older_too;  /* or newer: then the new item is stale */
	uint8_t marks;
	/* The rest is the store's. */
	struct spw_reservation reservation;
};

/* An item that stays until store_release(). */
struct store_hold {
	const struct store_item *item;
	size_t value_bytes;
	struct spw_ref ref;
};

/* item_bytes_max: of one item, counted as memcached does. -errno */
int store_open(size_t item_bytes_max);
void store_close(void);

uint32_t store_now(void);
/* A client's exptime as our time: relative, a date, 0 or negative. */
uint32_t store_expiry(int64_t exptime);

bool store_fits(const struct word *key, uint32_t flags, size_t value_bytes);

/* Short looks. */
static inline void
store_enter(void)
{
	spw_read_lock();
}
static inline void
store_leave(void)
{
	spw_read_unlock();
}
/* Borrowed until store_leave(); NULL: not there, or expired. */
const struct store_item *store_peek(const struct word *key, uint32_t now,
				    size_t *value_bytes);
/* For hits that are to be seen: who asks when it was last hit. */
void store_hit(const struct store_item *item, uint32_t now);

/* Long looks. STORE_NOT_FOUND, STORE_NO_MEMORY */
enum store_result store_get(const struct word *key, uint32_t now,
			    struct store_hold *hold);
void store_release(struct store_hold *hold);

/* The value is copied. Any result but STORE_NO_NUMBER. */
enum store_result store_put(struct store_write *write, const char *value);

/* Where the value goes; NULL: no memory. What is begun is finished (its key
 * must still be where it was) or given up. */
char *store_begin(struct store_write *write);
enum store_result store_finish(struct store_write *write);
void store_abandon(struct store_write *write);

/*
 * For change.c. The lock of a key, which every change of it takes; never
 * between store_enter() and store_leave().
 */
pthread_mutex_t *store_lock(const struct word *key);
void store_unlock(pthread_mutex_t *lock);
/* A copy of the head of what is there; false: nothing is. */
bool store_look_locked(const struct word *key, uint32_t now,
		       struct store_item *head);
/*
 * Stores head and value, the latter in two parts (both copied), in place of
 * what is there; where that has expired by now, nothing. STORE_NO_MEMORY
 */
enum store_result store_save_locked(const struct word *key,
				    const struct store_item *head,
				    struct word first, struct word second,
				    uint32_t now);
void store_drop_locked(const struct word *key);
/* Higher than all before. */
uint64_t store_next_unique(void);

/* Nothing that was stored before is there when this returns. */
void store_clear(void);
/* The same at that second, and no more at the one of an earlier call; 0: at
 * once. store_tick() does it, to be called every second. */
void store_clear_at(uint32_t when);
void store_tick(void);

void store_stats(struct spw_cache_stats *stats);

#endif
