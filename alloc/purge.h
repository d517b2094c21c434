/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Purging the embedded heap: the FREE tier's first shrinker.
 *
 * Usage: purge_bytes(16 << 20) returns about that much, oldest first.
 *
 * Caveats: thread-safe, one at a time; gives way to a fork. Allocates
 * nothing. Not inside hooks.
 */
#ifndef ALLOC_PURGE_H
#define ALLOC_PURGE_H

#include <stddef.h>
#include <stdint.h>

/* SIZE_MAX: all. Returns the bytes that went to the kernel. */
uint64_t purge_bytes(size_t bytes);

/* Bytes in pages in use, of all arenas; no lock, no epoch. */
uint64_t purge_active_bytes(void);

/* Adds heap and shrinker to the core; once. */
void purge_start(void);

#endif
