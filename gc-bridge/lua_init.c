/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How the states of unmodified programs come to the bridge.
 *
 * Only in libspillway-malloc.so. lua_newstate() comes before that of a shared
 * liblua (whose luaL_newstate() calls it by the loader) and puts our allocator
 * into the state. A library that was opened RTLD_LOCAL is seen by its callers
 * alone, so it is looked for where the caller would: in the program, then in
 * the caller's own library.
 *
 * The stock `lua` of Debian has Lua inside it and calls nobody. It runs what
 * LUA_INIT_5_4 says before the script; so where a program of that name exports
 * Lua 5.4, and the user has no such variable, one is set that calls
 * spw_gc_lua(), which takes it away again. `lua -E` ignores it, and is not
 * served. Where a process has no Lua, nobody calls these.
 */
#include "gc-bridge/lua.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <spillway/export.h>

#include "base/log.h"
#include "base/settings.h"
#include "gc-bridge/detect.h"
#include "gc-bridge/runtimes.h"

struct lua_State *lua_newstate(lua_allocator *allocate, void *context,
			       unsigned seed);

static bool
is_wanted(void)
{
	settings_load();
	return !settings()->off && detect_allows(&lua_runtime);
}

static lua_maker *
find_next(const void *caller)
{
	void *found = dlsym(RTLD_NEXT, "lua_newstate"), *handle;
	lua_maker *next;
	Dl_info info;

	if (!found && dladdr(caller, &info) && info.dli_fname) {
		handle = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
		if (handle) {
			found = dlsym(handle, "lua_newstate");
			dlclose(handle);
		}
	}
	memcpy(&next, &found, sizeof next);
	return next;
}

SPW_EXPORT struct lua_State *
lua_newstate(lua_allocator *allocate, void *context, unsigned seed)
{
	lua_maker *next = find_next(__builtin_return_address(0));

	if (!next) {
		log_write(SPW_LOG_ERROR, "lua_newstate: there is no Lua here");
		return NULL;
	}
	if (!is_wanted())
		return next(allocate, context, seed);
	return lua_make(next, allocate, context, seed);
}

/* Ours by an address that no program replaces. */
extern lua_maker own_newstate
	__attribute__((alias("lua_newstate"), visibility("hidden")));

/* The program is a `lua` that has Lua 5.4 in itself. */
static bool
is_stock(void)
{
	void *program = dlopen(NULL, RTLD_LAZY); /* and then its libraries */
	const char *version;
	void *found;

	if (!program)
		return false;
	version = dlsym(program, "lua_ident");
	found = dlsym(program, "lua_newstate");
	dlclose(program);
	return version && strstr(version, "Lua 5.4.") &&
	       (uintptr_t)found != (uintptr_t)own_newstate;
}

__attribute__((constructor)) static void
plant(void)
{
	if (strncmp(program_invocation_short_name, "lua", 3) != 0 ||
	    getenv(LUA_PLANT_NAME) || getenv("LUA_INIT") || !is_stock() ||
	    !is_wanted())
		return;
	setenv(LUA_PLANT_NAME, LUA_PLANT, 0);
}
