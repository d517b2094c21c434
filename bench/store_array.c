/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The floor: an array of places, 16 bytes for each entry as an index has them,
 * and the values, both on huge pages where there are any. No hash, no compare,
 * no thread safety: a look is the two loads, one after the other, that any
 * index takes. What it takes beyond that is what a store costs.
 */
#include <sys/mman.h>

#include "bench/bench.h"
#include "bench/store.h"

#define HUGE_BYTES (2ul << 20)

struct place {
	const char *value;
	size_t value_bytes;
};

struct array {
	uint64_t entries;
	struct place *places;
	char *values; /* at the first put: then their size is known */
	uint64_t used_bytes;
};

static void *
map(size_t bytes)
{
	char *p = mmap(NULL, bytes + HUGE_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		bench_die("mmap of %llu bytes", (unsigned long long)bytes);
	p += -(uintptr_t)p % HUGE_BYTES;
	madvise(p, bytes, MADV_HUGEPAGE);
	return p;
}

static struct store *
store_open(uint64_t entries, uint64_t max_bytes)
{
	struct array *array = bench_malloc(sizeof *array);

	(void)max_bytes;
	*array = (struct array){
		.entries = entries,
		.places = map(entries * sizeof array->places[0]),
	};
	return (struct store *)array;
}

static void
store_put(struct store *store, const uint32_t *ids, size_t count,
	  size_t value_bytes)
{
	struct array *array = (struct array *)store;

	if (array->values == NULL)
		array->values = map(array->entries * value_bytes);
	for (size_t i = 0; i < count; i++) {
		struct place *place = &array->places[ids[i]];

		if (place->value == NULL) {
			*place = (struct place){
				array->values + array->used_bytes, value_bytes
			};
			array->used_bytes += value_bytes;
		}
		memcpy((char *)(uintptr_t)place->value, store_value(ids[i]),
		       value_bytes);
	}
}

static size_t
store_peek(struct store *store, const uint32_t *ids, size_t count)
{
	const struct array *array = (const struct array *)store;

	for (size_t i = 0; i < count; i++)
		store_check("array", array->places[ids[i]].value, ids[i]);
	return count;
}

static size_t
store_copy(struct store *store, const uint32_t *ids, size_t count, char *to)
{
	const struct array *array = (const struct array *)store;

	for (size_t i = 0; i < count; i++) {
		const struct place *place = &array->places[ids[i]];

		memcpy(to, place->value, place->value_bytes);
		store_check("array", to, ids[i]);
	}
	return count;
}

const struct store_type store_array = {
	.name = "array",
	.open = store_open,
	.put = store_put,
	.peek = store_peek,
	.copy = store_copy,
};
