/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * load(text): compiled once, as long as memory is there.
 *
 * Called by scripts; calls Lua and spillway. The key is the chunk's name and
 * text, the value what lua_dump() writes, and what it cost to compile is said,
 * so that the dear ones stay longest. What is gone under pressure is a miss.
 *
 * A call of Lua may end in a longjmp(3), or in a collection that waits for
 * memory. So none is made inside a read-side section or with a value pinned:
 * length first, a buffer of Lua's for it, then the copy.
 */
#include "examples/lua/chunks.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <lauxlib.h>

#include <spillway/cache.h>

#define NS_PER_S UINT64_C(1000000000)

static struct spw_cache *cache;
static unsigned long hits, misses; /* of the state's thread */

int
chunks_open(void)
{
	struct spw_cache_options options = {
		.size = sizeof options,
		.name = "lua chunks",
	};

	return spw_cache_create(&cache, &options);
}

void
chunks_close(void)
{
	spw_cache_destroy(cache);
}

void
chunks_read(struct chunks_numbers *numbers)
{
	struct spw_cache_stats stats = { .size = sizeof stats };

	spw_cache_stats(cache, &stats);
	numbers->hits = hits;
	numbers->misses = misses;
	numbers->kept_bytes = (unsigned long)stats.entry_bytes;
}

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static size_t
length_of(const char *key, size_t key_bytes)
{
	size_t bytes = 0;

	spw_read_lock();
	if (!spw_cache_peek(cache, key, key_bytes, &bytes))
		bytes = 0;
	spw_read_unlock();
	return bytes;
}

/* Pushes the chunk's code; false, and nothing: it is not there. */
static bool
fetch(lua_State *L, const char *key, size_t key_bytes)
{
	size_t bytes = length_of(key, key_bytes), found = 0;
	const void *value;
	luaL_Buffer buffer;
	char *room;

	if (!bytes)
		return false;
	room = luaL_buffinitsize(L, &buffer, bytes);
	spw_read_lock();
	value = spw_cache_peek(cache, key, key_bytes, &found);
	if (value && found == bytes)
		memcpy(room, value, bytes);
	spw_read_unlock();
	luaL_pushresultsize(&buffer, bytes);
	if (value && found == bytes)
		return true;
	lua_pop(L, 1);
	return false;
}

struct written {
	bool begun;
	luaL_Buffer buffer;
};

/* The buffer may take a place on the stack: not before lua_dump() has seen
 * what is on top of it. */
static int
append(lua_State *L, const void *piece, size_t bytes, void *context)
{
	struct written *w = context;

	if (!w->begun)
		luaL_buffinit(L, &w->buffer);
	w->begun = true;
	luaL_addlstring(&w->buffer, piece, bytes);
	return 0;
}

/* The function on top of the stack; it stays there. */
static void
keep(lua_State *L, const char *key, size_t key_bytes, uint64_t cost_ns)
{
	struct spw_put_options options = {
		.size = sizeof options,
		.cost_ns = cost_ns,
	};
	struct written w = { .begun = false };
	const char *code;
	size_t bytes;

	if (lua_dump(L, append, &w, 0) != 0 || !w.begun)
		return;
	luaL_pushresult(&w.buffer);
	code = lua_tolstring(L, -1, &bytes);
	spw_cache_put(cache, key, key_bytes, code, bytes, &options);
	lua_pop(L, 1);
}

/* Pushes the function, or what is wrong with it: as luaL_loadbufferx(). */
static int
compile(lua_State *L, const char *text, size_t bytes, const char *name)
{
	size_t key_bytes, code_bytes;
	const char *key, *code;
	uint64_t began;
	int status;

	lua_pushstring(L, name);
	lua_pushlstring(L, "", 1);
	lua_pushlstring(L, text, bytes);
	lua_concat(L, 3);
	key = lua_tolstring(L, -1, &key_bytes);
	if (fetch(L, key, key_bytes)) {
		hits++;
		code = lua_tolstring(L, -1, &code_bytes);
		status = luaL_loadbufferx(L, code, code_bytes, name, "b");
		lua_remove(L, -2);
	} else {
		misses++;
		began = now_ns();
		status = luaL_loadbufferx(L, text, bytes, name, "t");
		if (status == LUA_OK)
			keep(L, key, key_bytes, now_ns() - began);
	}
	lua_remove(L, -2); /* the key */
	return status;
}

/* load(chunk, name, mode, environment) for a chunk that is text. The upvalue
 * is Lua's own, for all others. */
static int
load(lua_State *L)
{
	bool has_environment = !lua_isnone(L, 4);
	const char *mode = luaL_optstring(L, 3, "bt"), *text, *name;
	size_t bytes;

	text = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &bytes) :
					       NULL;
	if (!text || bytes >= SPW_CACHE_KEY_MAX / 2 || !strchr(mode, 't') ||
	    text[0] == LUA_SIGNATURE[0]) {
		lua_pushvalue(L, lua_upvalueindex(1));
		lua_insert(L, 1);
		lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
		return lua_gettop(L);
	}
	name = luaL_optstring(L, 2, text);
	if (compile(L, text, bytes, name) != LUA_OK) {
		lua_pushnil(L);
		lua_insert(L, -2);
		return 2;
	}
	if (has_environment) {
		lua_pushvalue(L, 4);
		if (!lua_setupvalue(L, -2, 1))
			lua_pop(L, 1);
	}
	return 1;
}

void
chunks_install(lua_State *L)
{
	lua_getglobal(L, "load");
	lua_pushcclosure(L, load, 1);
	lua_setglobal(L, "load");
}
