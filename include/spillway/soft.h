/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Soft references: memory behind a handle that may come back empty.
 *
 * Usage: inside spw_read_lock(): spw_soft_alloc(cache, bytes, &soft, &fill),
 * write to `fill`, keep `soft`; later, inside spw_read_lock(),
 * spw_soft_read(cache, soft) gives the memory, or NULL: gone, make it anew.
 *
 * Caveats:
 *  - the memory lives in the cache's segments and is evicted with its keys,
 *    the coldest first; it may move between two sections.
 *  - threads: thread-safe. What was written to `fill` is seen by others once
 *    they get the handle (publish it with release order).
 *  - spw_soft_free() ends a handle. A handle that was freed reads as NULL
 *    until its number has come round (4 billion times); debug builds abort on
 *    a second free.
 *  - fork, signals: as cache.h.
 */
#ifndef SPILLWAY_SOFT_H
#define SPILLWAY_SOFT_H

#include <spillway/cache.h>

SPW_BEGIN_DECLS

typedef uint64_t spw_soft_t; /* 0: none */

/*
 * Memory of `bytes`, aligned to 16, zeroed or not. Inside spw_read_lock():
 * *fill is to be written before that section ends. It does not wait for
 * memory. Errors: -EINVAL, -E2BIG (over SPW_CACHE_VALUE_MAX), -ENOMEM.
 */
int spw_soft_alloc(struct spw_cache *cache, size_t bytes, spw_soft_t *soft,
		   void **fill);

/* Inside spw_read_lock(), borrowed until its end; NULL: gone. */
const void *spw_soft_read(struct spw_cache *cache, spw_soft_t soft);

/* The handle is no more; 0 is ignored. */
void spw_soft_free(struct spw_cache *cache, spw_soft_t soft);

SPW_END_DECLS

#endif
