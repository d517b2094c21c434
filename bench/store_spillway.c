/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spillway's cache as a store: each look is a read-side section of its own, or
 * each 64 of them.
 */
#include "bench/store.h"

#include <errno.h>

#include <spillway/cache.h>
#include <spillway/spillway.h>

#include "bench/bench.h"

#define MANY 64

static struct store *
store_open(uint64_t entries, uint64_t max_bytes)
{
	struct spw_cache *cache;
	int error = spw_cache_create(
		&cache, &(struct spw_cache_options){
				.size = sizeof(struct spw_cache_options),
				.name = "bench",
				.max_bytes = max_bytes,
			});

	(void)entries;
	errno = 0;
	if (error != 0)
		bench_die("spw_cache_create: %s", spw_strerror(error));
	return (struct store *)cache;
}

static void
store_put(struct store *store, const uint32_t *ids, size_t count,
	  size_t value_bytes)
{
	struct spw_cache *cache = (struct spw_cache *)store;

	for (size_t i = 0; i < count; i++) {
		struct store_key key = store_key(ids[i]);
		int error = spw_cache_put(cache, &key, sizeof key,
					  store_value(ids[i]), value_bytes,
					  NULL);

		errno = 0;
		if (error != 0)
			bench_die("spw_cache_put: %s", spw_strerror(error));
	}
}

static size_t
store_peek(struct store *store, const uint32_t *ids, size_t count)
{
	struct spw_cache *cache = (struct spw_cache *)store;
	size_t hits = 0;

	for (size_t i = 0; i < count; i++) {
		struct store_key key = store_key(ids[i]);
		const void *value;

		spw_read_lock();
		value = spw_cache_peek(cache, &key, sizeof key, NULL);
		if (value != NULL) {
			store_check("spillway", value, ids[i]);
			hits++;
		}
		spw_read_unlock();
	}
	return hits;
}

static size_t
store_copy(struct store *store, const uint32_t *ids, size_t count, char *to)
{
	struct spw_cache *cache = (struct spw_cache *)store;
	size_t hits = 0;

	for (size_t i = 0; i < count; i++) {
		struct store_key key = store_key(ids[i]);
		size_t bytes;
		const void *value;

		spw_read_lock();
		value = spw_cache_peek(cache, &key, sizeof key, &bytes);
		if (value != NULL) {
			memcpy(to, value, bytes);
			hits++;
		}
		spw_read_unlock();
		if (value != NULL)
			store_check("spillway", to, ids[i]);
	}
	return hits;
}

/* MANY looks to a section, as a server has them of a request of many keys. */
static size_t
look_at_many(struct store *store, const uint32_t *ids, size_t count, char *to)
{
	struct spw_cache *cache = (struct spw_cache *)store;
	struct spw_cache_look looks[MANY];
	struct store_key keys[MANY];
	size_t hits = 0;

	for (size_t from = 0; from < count; from += MANY) {
		size_t some = count - from < MANY ? count - from : MANY;

		for (size_t i = 0; i < some; i++) {
			keys[i] = store_key(ids[from + i]);
			looks[i].key = &keys[i];
			looks[i].key_bytes = sizeof keys[i];
		}
		spw_read_lock();
		hits += spw_cache_peek_many(cache, looks, some);
		for (size_t i = 0; i < some; i++) {
			const void *value = looks[i].value;

			if (value != NULL && to != NULL)
				value = memcpy(to, value, looks[i].value_bytes);
			if (value != NULL)
				store_check("spillway", value, ids[from + i]);
		}
		spw_read_unlock();
	}
	return hits;
}

static size_t
store_peek_many(struct store *store, const uint32_t *ids, size_t count)
{
	return look_at_many(store, ids, count, NULL);
}

void
store_spillway_note(struct store *store, const char *when)
{
	struct spw_cache_stats stats = { .size = sizeof stats };

	if (spw_cache_stats((struct spw_cache *)store, &stats) != 0)
		bench_die("spw_cache_stats");
	bench_note("%s: RSS %.0f MiB, %llu entries, segments %.0f MiB, index "
		   "%.0f MiB; merged %.0f, released %.0f, recycled %.0f MiB; "
		   "%llu waits, longest %.1f ms",
		   when, (double)bench_rss_bytes() / 1048576,
		   (unsigned long long)stats.entries,
		   (double)stats.segment_bytes / 1048576,
		   (double)stats.index_bytes / 1048576,
		   (double)stats.merged_bytes / 1048576,
		   (double)stats.released_bytes / 1048576,
		   (double)stats.recycled_bytes / 1048576,
		   (unsigned long long)stats.waits,
		   (double)stats.wait_ns_max / 1e6);
}

const struct store_type store_spillway = {
	.name = "spillway",
	.open = store_open,
	.put = store_put,
	.peek = store_peek,
	.copy = store_copy,
	.peek_many = store_peek_many,
	.copy_many = look_at_many,
};
