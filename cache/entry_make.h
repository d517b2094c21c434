/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An entry before it has a place: checked, measured, its header filled in.
 *
 * Usage: entry_make(), a place of .bytes, entry_write(), then the value.
 *
 * Caveats: none.
 */
#ifndef CACHE_ENTRY_MAKE_H
#define CACHE_ENTRY_MAKE_H

#include <spillway/cache.h>

#include "cache/entry.h"

struct entry_make {
	struct entry header;
	struct entry_extra extra; /* with ENTRY_EXTRA */
	size_t bytes;             /* of all of it */
};

/* max_bytes: of the cache, 0: none. 0, -EINVAL or -E2BIG. */
int entry_make(struct entry_make *make, uint64_t max_bytes, const void *key,
	       size_t key_bytes, size_t value_bytes,
	       const struct spw_put_options *options);

/* Everything but the value. */
void entry_write(struct entry *e, const struct entry_make *make,
		 const void *key);

#endif
