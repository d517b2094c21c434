/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What most programs have: a hash table with chains under one mutex, entries
 * from malloc. The table is large enough from the start; a value is looked at
 * and copied with the mutex held, since the next put may free it.
 */
#include "bench/store.h"

#include <pthread.h>
#include <stdlib.h>

#include "bench/bench.h"

struct entry {
	struct entry *next;
	struct store_key key;
	size_t value_bytes;
	char value[];
};

struct table {
	pthread_mutex_t mutex;
	uint64_t mask;
	struct entry **buckets; /* Guarded by mutex. */
};

static struct store *
store_open(uint64_t entries, uint64_t max_bytes)
{
	struct table *table = bench_malloc(sizeof *table);
	uint64_t buckets = 64;

	(void)max_bytes;
	while (buckets < entries)
		buckets *= 2;
	pthread_mutex_init(&table->mutex, NULL);
	table->mask = buckets - 1;
	table->buckets = calloc(buckets, sizeof(struct entry *));
	if (table->buckets == NULL)
		bench_die("calloc of %llu buckets",
			  (unsigned long long)buckets);
	return (struct store *)table;
}

/* Where the pointer to the key's entry is, or would be. */
static struct entry **
find_locked(const struct table *table, const struct store_key *key)
{
	struct entry **at = &table->buckets[store_hash(key) & table->mask];

	while (*at != NULL && memcmp(&(*at)->key, key, sizeof *key) != 0)
		at = &(*at)->next;
	return at;
}

static void
store_put(struct store *store, const uint32_t *ids, size_t count,
	  size_t value_bytes)
{
	struct table *table = (struct table *)store;

	for (size_t i = 0; i < count; i++) {
		struct entry *entry = bench_malloc(sizeof *entry + value_bytes);
		struct entry **at, *old;

		entry->key = store_key(ids[i]);
		entry->value_bytes = value_bytes;
		memcpy(entry->value, store_value(ids[i]), value_bytes);
		pthread_mutex_lock(&table->mutex);
		at = find_locked(table, &entry->key);
		old = *at;
		entry->next = old != NULL ? old->next : NULL;
		*at = entry;
		pthread_mutex_unlock(&table->mutex);
		free(old);
	}
}

static size_t
store_peek(struct store *store, const uint32_t *ids, size_t count)
{
	struct table *table = (struct table *)store;
	size_t hits = 0;

	for (size_t i = 0; i < count; i++) {
		struct store_key key = store_key(ids[i]);
		const struct entry *entry;

		pthread_mutex_lock(&table->mutex);
		entry = *find_locked(table, &key);
		if (entry != NULL) {
			store_check("mutex", entry->value, ids[i]);
			hits++;
		}
		pthread_mutex_unlock(&table->mutex);
	}
	return hits;
}

static size_t
store_copy(struct store *store, const uint32_t *ids, size_t count, char *to)
{
	struct table *table = (struct table *)store;
	size_t hits = 0;

	for (size_t i = 0; i < count; i++) {
		struct store_key key = store_key(ids[i]);
		const struct entry *entry;

		pthread_mutex_lock(&table->mutex);
		entry = *find_locked(table, &key);
		if (entry != NULL) {
			memcpy(to, entry->value, entry->value_bytes);
			hits++;
		}
		pthread_mutex_unlock(&table->mutex);
		if (entry != NULL)
			store_check("mutex", to, ids[i]);
	}
	return hits;
}

const struct store_type store_mutex = {
	.name = "mutex",
	.open = store_open,
	.put = store_put,
	.peek = store_peek,
	.copy = store_copy,
};
