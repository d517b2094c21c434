/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * liburcu's lock-free hash table as a store: flavour bp, inlined, as the cache
 * has it; a table that is large enough from the start, no resizing; entries
 * from malloc, freed by call_rcu when they are replaced.
 */
#include "bench/store.h"

#include <stdlib.h>

#define _LGPL_SOURCE
#include <urcu-bp.h>
#include <urcu/rculfhash.h>

#include "bench/bench.h"

struct entry {
	struct cds_lfht_node node;
	struct rcu_head rcu;
	struct store_key key;
	size_t value_bytes;
	char value[];
};

static struct store *
store_open(uint64_t entries, uint64_t max_bytes)
{
	unsigned long buckets = 64;
	struct cds_lfht *table;

	(void)max_bytes;
	while (buckets < entries)
		buckets *= 2;
	table = cds_lfht_new_flavor(buckets, buckets, 0, 0, &urcu_bp_flavor,
				    NULL);
	if (table == NULL)
		bench_die("cds_lfht_new of %lu buckets", buckets);
	return (struct store *)table;
}

static int
match(struct cds_lfht_node *node, const void *key)
{
	const struct entry *entry = caa_container_of(node, struct entry, node);

	return memcmp(&entry->key, key, sizeof entry->key) == 0;
}

static void
free_entry(struct rcu_head *head)
{
	free(caa_container_of(head, struct entry, rcu));
}

static void
store_put(struct store *store, const uint32_t *ids, size_t count,
	  size_t value_bytes)
{
	struct cds_lfht *table = (struct cds_lfht *)store;

	for (size_t i = 0; i < count; i++) {
		struct entry *entry = bench_malloc(sizeof *entry + value_bytes);
		struct cds_lfht_node *old;

		entry->key = store_key(ids[i]);
		entry->value_bytes = value_bytes;
		memcpy(entry->value, store_value(ids[i]), value_bytes);
		cds_lfht_node_init(&entry->node);
		urcu_bp_read_lock();
		old = cds_lfht_add_replace(table, store_hash(&entry->key),
					   match, &entry->key, &entry->node);
		urcu_bp_read_unlock();
		if (old != NULL)
			urcu_bp_call_rcu(
				&caa_container_of(old, struct entry, node)->rcu,
				free_entry);
	}
}

/* Inside a read-side section. */
static const struct entry *
find(struct cds_lfht *table, const struct store_key *key)
{
	struct cds_lfht_iter place;
	struct cds_lfht_node *node;

	cds_lfht_lookup(table, store_hash(key), match, key, &place);
	node = cds_lfht_iter_get_node(&place);
	return node == NULL ? NULL : caa_container_of(node, struct entry, node);
}

static size_t
store_peek(struct store *store, const uint32_t *ids, size_t count)
{
	struct cds_lfht *table = (struct cds_lfht *)store;
	size_t hits = 0;

	for (size_t i = 0; i < count; i++) {
		struct store_key key = store_key(ids[i]);
		const struct entry *entry;

		urcu_bp_read_lock();
		entry = find(table, &key);
		if (entry != NULL) {
			store_check("lfht", entry->value, ids[i]);
			hits++;
		}
		urcu_bp_read_unlock();
	}
	return hits;
}

static size_t
store_copy(struct store *store, const uint32_t *ids, size_t count, char *to)
{
	struct cds_lfht *table = (struct cds_lfht *)store;
	size_t hits = 0;

	for (size_t i = 0; i < count; i++) {
		struct store_key key = store_key(ids[i]);
		const struct entry *entry;

		urcu_bp_read_lock();
		entry = find(table, &key);
		if (entry != NULL) {
			memcpy(to, entry->value, entry->value_bytes);
			hits++;
		}
		urcu_bp_read_unlock();
		if (entry != NULL)
			store_check("lfht", to, ids[i]);
	}
	return hits;
}

const struct store_type store_lfht = {
	.name = "lfht",
	.open = store_open,
	.put = store_put,
	.peek = store_peek,
	.copy = store_copy,
};
