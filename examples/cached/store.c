/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The items: finding, storing and changing them in spillway's cache.
 *
 * Called by the commands; calls spillway. There is no size anywhere: the cache
 * takes the memory that nobody needs, and what it gives back are misses.
 *
 * A look takes no lock. An item is never changed where it is: every change is
 * a new item that replaces the old one, and whoever is still sending the old
 * one goes on. All changes of one key follow each other under one of STRIPES
 * mutexes, so that "read, decide, replace" is atomic; what needs neither (the
 * copy of a plain set) is done before. store_clear() takes all of them, in
 * order. Nobody takes one inside a read-side section.
 *
 * `access` is the one field that is written in place, once a second at most.
 * It is advice: where spillway is moving the item meanwhile, that hit's time
 * is lost.
 */
#include "examples/cached/store.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#define STRIPES 1024u
#define NS_PER_S UINT64_C(1000000000)
/* Longer is a date: 30 days. */
#define RELATIVE_MAX (60 * 60 * 24 * 30)
/* What memcached counts for an item beside its key and value, so that what
 * fits there fits here. */
#define OVERHEAD (48 + 1 + 8 + 2)
/* Of values that are still arriving: nothing can evict them, so that clients
 * who begin and do not end must not take everything. */
#define ARRIVING_MAX ((size_t)256 << 20)

struct stripe {
	pthread_mutex_t lock;
} __attribute__((aligned(64)));

static struct spw_cache *cache;
static size_t item_bytes_max;
static struct stripe stripes[STRIPES];

static uint64_t last_unique; /* atomic */
static size_t arriving;      /* atomic; of store_begin()s, in bytes */
static uint32_t clear_at;    /* atomic; 0: no time is set */
static int64_t start_date, start_monotonic;

static int64_t
clock_s(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec;
}

int
store_open(size_t item_bytes)
{
	struct spw_cache_options options = {
		.size = sizeof options,
		.name = "spillway-cached",
	};

	item_bytes_max = item_bytes;
	/* Nothing is stored at 0 (never) or 1 (always expired). */
	start_date = clock_s(CLOCK_REALTIME) - 2;
	start_monotonic = clock_s(CLOCK_MONOTONIC_COARSE) - 2;
	for (size_t i = 0; i < STRIPES; i++)
		pthread_mutex_init(&stripes[i].lock, NULL);
	return spw_cache_create(&cache, &options);
}

void
store_close(void)
{
	spw_cache_destroy(cache);
	cache = NULL;
}

uint32_t
store_now(void)
{
	return (uint32_t)(clock_s(CLOCK_MONOTONIC_COARSE) - start_monotonic);
}

uint32_t
store_expiry(int64_t exptime)
{
	if (exptime == 0)
		return 0;
	if (exptime < 0)
		return 1;
	if (exptime <= RELATIVE_MAX)
		return (uint32_t)exptime + store_now();
	if (exptime <= start_date)
		return 1;
	/* Past 2150 is for ever. */
	return exptime - start_date > UINT32_MAX ?
		       0 :
		       (uint32_t)(exptime - start_date);
}

bool
store_fits(const struct word *key, uint32_t flags, size_t value_bytes)
{
	return value_bytes <= item_bytes_max &&
	       OVERHEAD + key->bytes + (flags ? 4 : 0) + value_bytes <=
		       item_bytes_max;
}

const struct store_item *
store_peek(const struct word *key, uint32_t now, size_t *value_bytes)
{
	const struct store_item *item;
	size_t bytes;

	item = spw_cache_peek(cache, key->at, key->bytes, &bytes);
	if (!item || store_is_expired(item, now))
		return NULL;
	*value_bytes = bytes - STORE_HEADER;
	return item;
}

void
store_hit(const struct store_item *item, uint32_t now)
{
	uint32_t *access = (uint32_t *)&item->access;
	uint32_t then = now << 1 | 1;

	if (__atomic_load_n(access, __ATOMIC_RELAXED) != then)
		__atomic_store_n(access, then, __ATOMIC_RELAXED);
}

enum store_result
store_get(const struct word *key, uint32_t now, struct store_hold *hold)
{
	int error = spw_cache_get(cache, key->at, key->bytes, &hold->ref);

	if (error)
		return error == -ENOMEM ? STORE_NO_MEMORY : STORE_NOT_FOUND;
	hold->item = hold->ref.value;
	hold->value_bytes = hold->ref.value_bytes - STORE_HEADER;
	if (!store_is_expired(hold->item, now))
		return STORE_DONE;
	spw_ref_put(&hold->ref);
	return STORE_NOT_FOUND;
}

void
store_release(struct store_hold *hold)
{
	spw_ref_put(&hold->ref);
}

/* --- changes */

pthread_mutex_t *
store_lock(const struct word *key)
{
	uint64_t hash = key->bytes, part;
	size_t i = 0;
	pthread_mutex_t *lock;

	for (; i + 8 <= key->bytes; i += 8) {
		memcpy(&part, key->at + i, 8);
		hash = (hash ^ part) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 32;
	}
	part = 0;
	memcpy(&part, key->at + i, key->bytes - i);
	hash = (hash ^ part) * UINT64_C(0x9e3779b97f4a7c15);
	lock = &stripes[hash >> 54].lock;
	pthread_mutex_lock(lock);
	return lock;
}

void
store_unlock(pthread_mutex_t *lock)
{
	pthread_mutex_unlock(lock);
}

uint64_t
store_next_unique(void)
{
	return __atomic_add_fetch(&last_unique, 1, __ATOMIC_RELAXED);
}

/* Gone when it expires, or shortly after: until then store_is_expired() hides it. */
static struct spw_put_options
put_options(uint32_t expires, uint32_t now)
{
	struct spw_put_options options = { .size = sizeof options };

	if (expires > now)
		options.ttl_ns = (expires - now + UINT64_C(1)) * NS_PER_S;
	return options;
}

/*
 * Space for an item with this head, not yet to be seen; NULL: no memory. Its
 * value is to be written to the pointer that is returned.
 */
static char *
reserve(const struct word *key, const struct store_item *head,
	size_t value_bytes, uint32_t now, struct spw_reservation *reservation)
{
	struct spw_put_options options = put_options(head->expires, now);

	if (spw_cache_reserve(cache, key->at, key->bytes,
			      STORE_HEADER + value_bytes, &options,
			      reservation) != 0)
		return NULL;
	memcpy(reservation->value, head, STORE_HEADER);
	return (char *)reservation->value + STORE_HEADER;
}

/*
 * Stores head and value, the latter in two parts (both copied), in place of
 * what is there; where that has expired by now, nothing.
 */
enum store_result
store_save_locked(const struct word *key, const struct store_item *head,
		  struct word first, struct word second, uint32_t now)
{
	struct spw_reservation reservation;
	char *value;

	if (store_is_expired(head, now)) {
		store_drop_locked(key);
		return STORE_DONE;
	}
	value = reserve(key, head, first.bytes + second.bytes, now,
			&reservation);
	if (!value)
		return STORE_NO_MEMORY;
	memcpy(value, first.at, first.bytes);
	memcpy(value + first.bytes, second.at, second.bytes);
	spw_cache_commit(&reservation);
	return STORE_DONE;
}

void
store_drop_locked(const struct word *key)
{
	spw_cache_remove(cache, key->at, key->bytes);
}

/* The item's head alone, while the key's stripe is held. */
bool
store_look_locked(const struct word *key, uint32_t now, struct store_item *head)
{
	const struct store_item *item;
	size_t bytes;

	spw_read_lock();
	item = store_peek(key, now, &bytes);
	if (item)
		memcpy(head, item, STORE_HEADER);
	spw_read_unlock();
	return item;
}

/* Whether the write may go on, by what is there; and what it takes over. */
static enum store_result
judge_locked(struct store_write *write, struct store_item *head, uint32_t now)
{
	struct store_item old;
	bool found = store_look_locked(&write->key, now, &old);

	if (write->mode == STORE_ADD)
		return found ? STORE_NOT_STORED : STORE_DONE;
	if (!found && write->compare && write->mode == STORE_SET)
		return STORE_NOT_FOUND;
	if (!found)
		return write->mode == STORE_SET ? STORE_DONE : STORE_NOT_STORED;
	if (!write->compare || old.unique == write->unique)
		return STORE_DONE;
	if (!write->older_too || write->mode != STORE_SET ||
	    write->unique > old.unique)
		return STORE_EXISTS;
	head->expires = old.expires;
	head->marks |= STORE_STALE | (old.marks & STORE_WON);
	return STORE_DONE;
}

static struct store_item
head_of(const struct store_write *write, uint32_t now)
{
	return (struct store_item){
		.flags = write->flags,
		.expires = write->expires,
		.access = now << 1,
		.marks = write->marks,
	};
}

/* append and prepend: flags and expiry are the old item's. */
static enum store_result
join_locked(struct store_write *write, const char *value, uint32_t now)
{
	struct word added = { value, write->value_bytes }, there;
	struct store_hold old;
	struct store_item head;
	enum store_result result = store_get(&write->key, now, &old);

	if (result != STORE_DONE)
		return result == STORE_NOT_FOUND ? STORE_NOT_STORED : result;
	memcpy(&head, old.item, STORE_HEADER);
	head.marks &= STORE_BINARY;
	head.access = now << 1;
	head.unique = write->unique = store_next_unique();
	there = (struct word){ store_value(old.item), old.value_bytes };
	if (!store_fits(&write->key, head.flags, there.bytes + added.bytes))
		result = STORE_NOT_STORED;
	else if (write->mode == STORE_APPEND)
		result = store_save_locked(&write->key, &head, there, added,
					   now);
	else
		result = store_save_locked(&write->key, &head, added, there,
					   now);
	store_release(&old);
	return result;
}

/* What was reserved becomes what is there. */
static void
commit_locked(struct store_write *write, uint32_t now)
{
	struct store_item *item = write->reservation.value;

	item->unique = write->unique = store_next_unique();
	item->access = now << 1;
	spw_cache_commit(&write->reservation);
}

static bool
is_join(const struct store_write *write)
{
	return write->mode == STORE_APPEND || write->mode == STORE_PREPEND;
}

/* A set that asks nothing: only the commit is under the lock. */
static enum store_result
put_plain(struct store_write *write, const char *value)
{
	uint32_t now = store_now();
	struct store_item head = head_of(write, now);
	pthread_mutex_t *stripe;
	char *to = NULL;

	if (!store_is_expired(&head, now)) {
		to = reserve(&write->key, &head, write->value_bytes, now,
			     &write->reservation);
		if (!to)
			return STORE_NO_MEMORY;
		memcpy(to, value, write->value_bytes);
	}
	stripe = store_lock(&write->key);
	if (to)
		commit_locked(write, now);
	else
		store_drop_locked(&write->key);
	store_unlock(stripe);
	return STORE_DONE;
}

static enum store_result
put_locked(struct store_write *write, const char *value)
{
	uint32_t now = store_now();
	struct store_item head = head_of(write, now);
	enum store_result result = judge_locked(write, &head, now);

	if (result != STORE_DONE)
		return result;
	if (is_join(write))
		return join_locked(write, value, now);
	head.unique = write->unique = store_next_unique();
	return store_save_locked(&write->key, &head,
				 (struct word){ value, write->value_bytes },
				 WORD_EMPTY, now);
}

enum store_result
store_put(struct store_write *write, const char *value)
{
	pthread_mutex_t *stripe;
	enum store_result result;

	if (write->mode == STORE_SET && !write->compare)
		return put_plain(write, value);
	stripe = store_lock(&write->key);
	result = put_locked(write, value);
	store_unlock(stripe);
	return result;
}

char *
store_begin(struct store_write *write)
{
	uint32_t now = store_now();
	struct store_item head = head_of(write, now);
	size_t bytes = write->value_bytes;
	char *to = NULL;

	/* One is always let through. */
	if (__atomic_add_fetch(&arriving, bytes, __ATOMIC_RELAXED) <=
	    ARRIVING_MAX + bytes)
		to = reserve(&write->key, &head, bytes, now,
			     &write->reservation);
	if (!to)
		__atomic_sub_fetch(&arriving, bytes, __ATOMIC_RELAXED);
	return to;
}

void
store_abandon(struct store_write *write)
{
	spw_cache_abort(&write->reservation);
	__atomic_sub_fetch(&arriving, write->value_bytes, __ATOMIC_RELAXED);
}

enum store_result
store_finish(struct store_write *write)
{
	uint32_t now = store_now();
	struct store_item *item = write->reservation.value;
	pthread_mutex_t *stripe;
	enum store_result result;

	__atomic_sub_fetch(&arriving, write->value_bytes, __ATOMIC_RELAXED);
	stripe = store_lock(&write->key);
	result = judge_locked(write, item, now);
	if (result == STORE_DONE && is_join(write))
		result = join_locked(write, store_value(item), now);
	else if (result == STORE_DONE && store_is_expired(item, now))
		store_drop_locked(&write->key);
	else if (result == STORE_DONE) {
		commit_locked(write, now);
		store_unlock(stripe);
		return STORE_DONE;
	}
	spw_cache_abort(&write->reservation);
	store_unlock(stripe);
	return result;
}

/* --- everything at once */

void
store_clear(void)
{
	for (size_t i = 0; i < STRIPES; i++)
		pthread_mutex_lock(&stripes[i].lock);
	spw_cache_clear(cache);
	for (size_t i = STRIPES; i-- > 0;)
		pthread_mutex_unlock(&stripes[i].lock);
}

void
store_clear_at(uint32_t when)
{
	__atomic_store_n(&clear_at, when, __ATOMIC_RELAXED);
	if (!when)
		store_clear();
}

void
store_tick(void)
{
	uint32_t when = __atomic_load_n(&clear_at, __ATOMIC_RELAXED);

	if (when && when <= store_now() &&
	    __atomic_compare_exchange_n(&clear_at, &when, 0, false,
					__ATOMIC_RELAXED, __ATOMIC_RELAXED))
		store_clear();
}

void
store_stats(struct spw_cache_stats *stats)
{
	*stats = (struct spw_cache_stats){ .size = sizeof *stats };
	(void)spw_cache_stats(cache, stats);
}
