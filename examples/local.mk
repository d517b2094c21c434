# examples: programs that show what the library is for. Built with the rest
# and not installed; linked with libspillway alone, as a program of yours is.
noinst_PROGRAMS += %D%/spillway-cached
%C%_spillway_cached_SOURCES = \
	%D%/cached/change.c %D%/cached/change.h \
	%D%/cached/commands.h \
	%D%/cached/connection.c %D%/cached/connection.h \
	%D%/cached/counters.c %D%/cached/counters.h \
	%D%/cached/listener.c %D%/cached/listener.h \
	%D%/cached/main.c \
	%D%/cached/meta.c \
	%D%/cached/meta_flags.c %D%/cached/meta_flags.h \
	%D%/cached/meta_set.c \
	%D%/cached/output.c %D%/cached/output.h \
	%D%/cached/protocol.c %D%/cached/protocol.h \
	%D%/cached/retrieve.c \
	%D%/cached/server.c %D%/cached/server.h \
	%D%/cached/session.h \
	%D%/cached/settings.c %D%/cached/settings.h \
	%D%/cached/simple.c \
	%D%/cached/stats.c \
	%D%/cached/store.c %D%/cached/store.h \
	%D%/cached/update.c \
	%D%/cached/words.c %D%/cached/words.h
%C%_spillway_cached_LDADD = libspillway.la

# An arena needs a jemalloc in the process: its own malloc.
if LUA
noinst_PROGRAMS += %D%/spillway-lua
%C%_spillway_lua_SOURCES = \
	%D%/lua/chunks.c %D%/lua/chunks.h \
	%D%/lua/collector.c %D%/lua/collector.h \
	%D%/lua/heap.c %D%/lua/heap.h \
	%D%/lua/main.c
%C%_spillway_lua_CFLAGS = $(AM_CFLAGS) $(LUA_CFLAGS)
%C%_spillway_lua_LDADD = libspillway.la $(LUA_LIBS) -ljemalloc
endif

EXTRA_DIST += %D%/README.md
# An addon for Node, which `make` in its folder or its test builds.
EXTRA_DIST += %D%/node/Makefile %D%/node/binding.c %D%/node/index.js \
	%D%/node/package.json
# Runtimes that must call themselves; their tests build them.
EXTRA_DIST += %D%/go/attach.go %D%/go/go.mod %D%/go/register.c
EXTRA_DIST += %D%/asked/Makefile %D%/asked/Spillway.cs %D%/asked/asked.c \
	%D%/asked/spillway.lisp
