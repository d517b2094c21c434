/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lua's collector as spillway's.
 *
 * Usage: collector_open(L), and collector_refuses() before each new object.
 *
 * Caveats: spillway calls from its own thread; everything here is for the
 * thread that runs the state.
 */
#ifndef EXAMPLES_LUA_COLLECTOR_H
#define EXAMPLES_LUA_COLLECTOR_H

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

/* 0, or what spw_gc_register() says. */
int collector_open(lua_State *L);
void collector_close(void);

/* Whether the allocator shall say that there is no memory for an object of
 * that type, this once. */
bool collector_refuses(size_t type);

/* How often spillway had a collection run. */
unsigned long collector_runs(void);

#endif
