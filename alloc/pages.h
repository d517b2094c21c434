/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the embedded jemalloc maps, commits and returns, counted exactly.
 *
 * Usage: pages_count() in hooks, pages_return() to purge.
 *
 * Caveats: the counters are relaxed; each is exact, their differences may lag
 * one operation. Fit for hooks.
 */
#ifndef ALLOC_PAGES_H
#define ALLOC_PAGES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t pages_mapped_bytes(void);    /* metadata included */
uint64_t pages_committed_bytes(void); /* without metadata */
uint64_t pages_metadata_bytes(void);

/* Adds or takes away. */
void pages_count(int64_t mapped, int64_t committed);

/* jemalloc's metadata was mapped there: counted, and never in huge pages. */
void pages_add_metadata(void *address, size_t bytes);

/* Returns [address, address + bytes) to the kernel in slices; false: cannot. */
bool pages_return(void *address, size_t bytes);

/* Bytes that this thread returned since it last asked. */
uint64_t pages_returned_here(void);

/* Nothing of ours purges while this is held (arena reset, fork). */
void pages_purge_lock(void);
void pages_purge_unlock(void);

#endif
