/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The interpreter's heap: a lua_Alloc.
 *
 * Usage: heap_open(), lua_newstate(heap_allocate, NULL), heap_close().
 *
 * Caveats: one state; but for heap_bytes() on its thread alone.
 */
#ifndef EXAMPLES_LUA_HEAP_H
#define EXAMPLES_LUA_HEAP_H

#include <stddef.h>

/* 0, or what spw_arena_create() says. */
int heap_open(void);
void heap_close(void);

/* As lua_Alloc. */
void *heap_allocate(void *context, void *block, size_t old_bytes, size_t bytes);

/* In use; from any thread. */
size_t heap_bytes(void);
size_t heap_bytes_max(void);

#endif
