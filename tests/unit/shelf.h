/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches for tests, in few words.
 *
 * Usage: shelf_put(c, "key", "value"); shelf_text(c, "key").
 *
 * Caveats: what cannot go wrong in a test bails out.
 */
#ifndef TESTS_UNIT_SHELF_H
#define TESTS_UNIT_SHELF_H

#include <spillway/spillway.h>

#define MIB (1ull << 20)

/* max_bytes 0: none. */
struct spw_cache *shelf_make(const char *name, uint64_t max_bytes);
struct spw_cache_stats shelf_stats(struct spw_cache *c);
int shelf_put(struct spw_cache *c, const char *key, const char *value);
/* What is there, copied until the next call; NULL: nothing. */
const char *shelf_text(struct spw_cache *c, const char *key);

#endif
