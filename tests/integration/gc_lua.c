/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A host of liblua for gc-lua.t: gc_lua SCRIPT SECONDS [LIBSPILLWAY]
 * or gc_lua SCRIPT SECONDS refuse N
 *
 * Three threads run SCRIPT, in a new state each of four times, and the exit
 * code is what it returns. With a library, as an interpreter opens it, states
 * are handed over, memory is asked for all the while, and "collected" is said
 * where a collection came of it. "refuse" is what the bridge rests on, without
 * spillway: each N-th new object is refused, and Lua collects.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <spillway/gc.h>
#include <spillway/reclaim.h>

#define THREADS 3
#define ROUNDS 4

static const char *script, *seconds;
static _Atomic int code, left = THREADS;
static lua_CFunction hand_over;
static int (*stats)(const char *, struct spw_gc_stats *);
static int (*reclaim)(uint64_t *, const struct spw_reclaim_options *);

static size_t refuse_every;
static __thread size_t objects;
static __thread bool refused;
static __thread lua_State *state;

static void *
refuse(void *context, void *block, size_t old_bytes, size_t bytes)
{
	(void)context;
	if (!bytes) {
		free(block);
		return NULL;
	}
	if (state && !block && old_bytes >= LUA_TSTRING &&
	    old_bytes <= LUA_TTHREAD) {
		refused = !refused && ++objects % refuse_every == 0 &&
			  lua_gc(state, LUA_GCISRUNNING) == 1;
		if (refused)
			return NULL;
	}
	return realloc(block, bytes);
}

static lua_State *
new_state(void)
{
	if (!refuse_every)
		return luaL_newstate();
	state = NULL;
	return state = lua_newstate(refuse, NULL);
}

static void
run_once(void)
{
	lua_State *L = new_state();

	if (!L)
		abort();
	luaL_openlibs(L);
	if (hand_over) {
		lua_pushcfunction(L, hand_over);
		lua_call(L, 0, 0);
	}
	lua_pushboolean(L, 1);
	lua_setglobal(L, "HOST");
	if (luaL_loadfile(L, script) ||
	    (lua_pushstring(L, seconds), lua_pcall(L, 1, 1, 0))) {
		printf("%s\n", lua_tostring(L, -1));
		atomic_store(&code, 1);
	} else {
		atomic_store(&code, (int)lua_tointeger(L, -1));
	}
	lua_close(L);
}

static void *
thread(void *unused)
{
	(void)unused;
	for (int i = 0; i < ROUNDS; i++)
		run_once();
	atomic_fetch_sub(&left, 1);
	return NULL;
}

static void
find(void *library, const char *name, void *function)
{
	void *found = dlsym(library, name);

	if (!found) {
		fprintf(stderr, "%s: %s\n", name, dlerror());
		exit(2);
	}
	memcpy(function, &found, sizeof found);
}

static void
open_library(const char *path)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		fprintf(stderr, "%s\n", dlerror());
		exit(2);
	}
	find(library, "spw_gc_lua", &hand_over);
	find(library, "spw_gc_stats", &stats);
	find(library, "spw_reclaim", &reclaim);
}

/* Until the threads are done. */
static void
ask(void)
{
	struct spw_gc_stats s = { .size = sizeof s };
	uint64_t got;

	while (atomic_load(&left) > 0) {
		reclaim(&got, NULL);
		usleep(20000);
	}
	if (stats("lua", &s) == 0 && s.collections > 0)
		puts("collected");
}

int
main(int argc, char **argv)
{
	pthread_t threads[THREADS];

	if (argc < 3)
		return 2;
	script = argv[1];
	seconds = argv[2];
	if (argc > 4)
		refuse_every = strtoul(argv[4], NULL, 10);
	else if (argc > 3)
		open_library(argv[3]);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, thread, NULL);
	if (hand_over)
		ask();
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return atomic_load(&code);
}
