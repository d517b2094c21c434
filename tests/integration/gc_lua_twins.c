/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A module of Lua's for gc-lua.t: states that are made with the allocator of
 * another (as Lanes makes them), each on a thread of its own.
 *
 * twins(code) runs the code in three of them and here, at the same time, and
 * returns the sum of what the code returns.
 */
#include <pthread.h>
#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#define TWINS 3

int luaopen_twins(lua_State *L);

static const char *code;

static lua_Integer
run(lua_State *L)
{
	if (luaL_dostring(L, code) != LUA_OK)
		return -1000000;
	return lua_tointeger(L, -1);
}

static void *
body(void *state)
{
	lua_State *L = state;
	lua_Integer sum;

	luaL_openlibs(L);
	sum = run(L);
	lua_close(L);
	return (void *)(intptr_t)sum;
}

static int
twins(lua_State *L)
{
	pthread_t threads[TWINS];
	lua_Alloc allocate;
	lua_Integer sum;
	void *context, *one;

	code = luaL_checkstring(L, 1);
	allocate = lua_getallocf(L, &context);
	for (int i = 0; i < TWINS; i++)
		pthread_create(&threads[i], NULL, body,
			       lua_newstate(allocate, context));
	sum = run(L);
	for (int i = 0; i < TWINS; i++) {
		pthread_join(threads[i], &one);
		sum += (intptr_t)one;
	}
	lua_pushinteger(L, sum);
	return 1;
}

int
luaopen_twins(lua_State *L)
{
	lua_pushcfunction(L, twins);
	return 1;
}
