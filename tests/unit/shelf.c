/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches for tests: made, filled with text, and asked.
 */
#include "tests/unit/shelf.h"

#include <string.h>

#include "tests/tap.h"

struct spw_cache *
shelf_make(const char *name, uint64_t max_bytes)
{
	struct spw_cache_options options = {
		.size = sizeof options,
		.name = name,
		.max_bytes = max_bytes,
	};
	struct spw_cache *c;
	int error = spw_cache_create(&c, &options);

	if (error)
		tap_bail_out("spw_cache_create: %s", spw_strerror(error));
	return c;
}

struct spw_cache_stats
shelf_stats(struct spw_cache *c)
{
	struct spw_cache_stats s = { .size = sizeof s };

	if (spw_cache_stats(c, &s) != 0)
		tap_bail_out("spw_cache_stats");
	return s;
}

int
shelf_put(struct spw_cache *c, const char *key, const char *value)
{
	return spw_cache_put(c, key, strlen(key), value, strlen(value) + 1,
			     NULL);
}

const char *
shelf_text(struct spw_cache *c, const char *key)
{
	static char copy[256];
	const void *value;
	size_t bytes;

	spw_read_lock();
	value = spw_cache_peek(c, key, strlen(key), &bytes);
	if (value)
		memcpy(copy, value, bytes < sizeof copy ? bytes : sizeof copy);
	spw_read_unlock();
	return value ? copy : NULL;
}
