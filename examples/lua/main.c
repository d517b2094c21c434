/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spillway-lua: Lua 5.4 whose heap, collector and compiled chunks go by
 * spillway; how a language runtime embeds it.
 *
 * Reading order: main, heap, collector, chunks. Lua is used by its public
 * interface alone. ../README.md says which thread calls what.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <spillway/spillway.h>

#include "examples/lua/chunks.h"
#include "examples/lua/collector.h"
#include "examples/lua/heap.h"

enum { ENDED, FAILED, MISUSED };

static const char help[] =
	"Usage: spillway-lua [OPTION]... SCRIPT [ARGUMENT]...\n"
	"\n"
	"Runs a Lua 5.4 script with a heap that is as large as memory allows\n"
	"and small when others need it.\n"
	"\n"
	"  -s, --stats    at the end, on standard error: heap, collections\n"
	"                 that spillway asked for, chunks that were kept\n"
	"  -h, --help     this text\n"
	"  -V, --version  the versions of spillway and Lua\n"
	"\n"
	"SCRIPT - is standard input. SPILLWAY_CONF (see spillway(7)) is for\n"
	"the library: limit:200M is a limit from outside, log:info says what\n"
	"it does.\n"
	"\n"
	"Exit status: what the script gives os.exit(), 0 where it ends, 1 it\n"
	"failed or could not be started, 2 the command line is wrong.\n";

static int
misused(const char *problem, const char *what)
{
	fprintf(stderr,
		"spillway-lua: %s%s\n"
		"spillway-lua: --help says how\n",
		problem, what);
	return MISUSED;
}

/* Also after os.exit(). */
static void
print_stats(void)
{
	struct chunks_numbers chunks;

	chunks_read(&chunks);
	fprintf(stderr,
		"heap         %zu bytes, at most %zu\n"
		"collections  %lu asked for by spillway\n"
		"chunks       %lu found, %lu compiled, %lu bytes kept\n",
		heap_bytes(), heap_bytes_max(), collector_runs(), chunks.hits,
		chunks.misses, chunks.kept_bytes);
}

static int
refused(const char *what, int error)
{
	fprintf(stderr, "spillway-lua: cannot make the %s: %s%s\n", what,
		spw_strerror(error),
		error == -ENOTSUP ? " (SPILLWAY_CONF says off?)" : "");
	return FAILED;
}

/* The error's text with where it was. */
static int
describe(lua_State *L)
{
	const char *text = luaL_tolstring(L, 1, NULL);

	luaL_traceback(L, L, text, 1);
	return 1;
}

struct script {
	char **arguments; /* its name is the first */
	int count;
};

/* All that may end in an error, of memory too: called protected. */
static int
run(lua_State *L)
{
	const struct script *script = lua_touserdata(L, 1);
	const char *name = script->arguments[0];

	luaL_openlibs(L);
	chunks_install(L);
	luaL_checkstack(L, script->count + 1, "too many arguments");
	lua_createtable(L, script->count - 1, 1);
	for (int i = 0; i < script->count; i++) {
		lua_pushstring(L, script->arguments[i]);
		lua_rawseti(L, -2, i);
	}
	lua_setglobal(L, "arg");
	if (luaL_loadfile(L, strcmp(name, "-") == 0 ? NULL : name) != LUA_OK)
		return lua_error(L);
	for (int i = 1; i < script->count; i++)
		lua_pushstring(L, script->arguments[i]);
	lua_call(L, script->count - 1, 0);
	return 0;
}

static int
run_script(struct script *script)
{
	lua_State *L = lua_newstate(heap_allocate, NULL);
	int error, status;

	if (!L)
		return refused("state", -ENOMEM);
	error = collector_open(L);
	if (error && error != -ENOTSUP) /* gc:off: it collects by itself */
		return refused("bridge to the collector", error);
	lua_pushcfunction(L, describe);
	lua_pushcfunction(L, run);
	lua_pushlightuserdata(L, script);
	status = lua_pcall(L, 1, 0, 1);
	if (status != LUA_OK)
		fprintf(stderr, "spillway-lua: %s\n", lua_tostring(L, -1));
	collector_close();
	lua_close(L);
	heap_close();
	return status == LUA_OK ? ENDED : FAILED;
}

static int
read_options(int argc, char **argv, bool *stats)
{
	static const struct option options[] = {
		{ "stats", no_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int letter;

	opterr = 0;
	while ((letter = getopt_long(argc, argv, "+shV", options, NULL)) !=
	       -1) {
		switch (letter) {
		case 's':
			*stats = true;
			break;
		case 'h':
			fputs(help, stdout);
			exit(ENDED);
		case 'V':
			printf("spillway-lua %s, " LUA_RELEASE "\n",
			       spw_version());
			exit(ENDED);
		default:
			return misused("no such option: ", argv[optind - 1]);
		}
	}
	if (optind == argc)
		return misused("a script is missing", "");
	return ENDED;
}

int
main(int argc, char **argv)
{
	struct script script;
	bool stats = false;
	int error = read_options(argc, argv, &stats);

	if (error)
		return error;
	error = heap_open();
	if (error)
		return refused("heap", error);
	error = chunks_open();
	if (error)
		return refused("cache of chunks", error);
	if (stats)
		atexit(print_stats);
	script.arguments = argv + optind;
	script.count = argc - optind;
	return run_script(&script);
}
