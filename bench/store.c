/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the stores share: the list of them, values, and the secret of the hash
 * (a program outside the library has its own; any will do).
 */
#include "bench/store.h"

#include <errno.h>

#include "bench/bench.h"

uint64_t hash_secret[4] = { 0x2d358dccaa6c78a5, 0x8bb84b93962eacc9,
			    0x4b33a62ed433d4a3, 0x4d5a2da51de1aa47 };

const struct store_type *const store_types[] = { &store_spillway, &store_lfht,
						 &store_mutex, &store_array,
						 NULL };

char *
store_value(uint32_t id)
{
	static __thread char *value;
	uint64_t first = id;

	if (value == NULL) {
		value = bench_malloc(STORE_VALUE_MAX);
		memset(value, 0x5a, STORE_VALUE_MAX);
	}
	memcpy(value, &first, sizeof first);
	return value;
}

void
store_wrong_value(const char *name, uint32_t id)
{
	errno = 0;
	bench_die("%s: the value of key %u is another's", name, (unsigned)id);
}
