/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The parts of the bridge to Lua.
 *
 * Usage: lua_make() in place of lua_newstate(); spw_gc_lua() for a state that
 * is there.
 *
 * Caveats: both on the thread that uses the state. Nothing of Lua's own
 * headers is needed here.
 */
#ifndef GC_BRIDGE_LUA_H
#define GC_BRIDGE_LUA_H

#include <stddef.h>

struct lua_State;

typedef void *lua_allocator(void *context, void *block, size_t old_bytes,
			    size_t bytes);
/* The third is of Lua 5.5, and nothing to the others. */
typedef struct lua_State *lua_maker(lua_allocator *allocate, void *context,
				    unsigned seed);

/* What the stock interpreter runs first: it hands its state over, where
 * spillway is in the process, and nothing elsewhere. */
#define LUA_PLANT_NAME "LUA_INIT_5_4"
#define LUA_PLANT                                           \
	"local f = package.loadlib('', 'spw_gc_lua') if f " \
	"then f() end"

/* A state that is made by `make` and served by the bridge; one that is not
 * served where its Lua is not one that we know. */
struct lua_State *lua_make(lua_maker *make, lua_allocator *allocate,
			   void *context, unsigned seed);

#endif
