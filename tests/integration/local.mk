# tests/integration: real programs and real kernel events.
# The .t files are python3, share harness.py and find what is built by the
# folder that make runs in.
# -fno-builtin: gcc drops a malloc whose block is only freed.
integration_cflags = $(AM_CFLAGS) -fno-builtin

check_PROGRAMS += %D%/survivor %D%/process %D%/shrinkers %D%/changes \
	%D%/thread_storage %D%/signal_maps
%C%_survivor_SOURCES = %D%/survivor.c %D%/survivor.h %D%/survivor_burst.c \
	%D%/survivor_cache.c
%C%_survivor_CFLAGS = $(integration_cflags)
%C%_process_SOURCES = %D%/process.c %D%/process.h %D%/process_children.c \
	%D%/process_hostile.c %D%/process_load.c
%C%_process_CFLAGS = $(integration_cflags)
%C%_shrinkers_SOURCES = %D%/shrinkers.c %D%/process.h
%C%_shrinkers_CFLAGS = $(integration_cflags)
%C%_changes_SOURCES = %D%/changes.c %D%/process.h
%C%_changes_CFLAGS = $(integration_cflags)
%C%_thread_storage_SOURCES = %D%/thread_storage.c
%C%_thread_storage_CFLAGS = $(integration_cflags)
%C%_signal_maps_SOURCES = %D%/signal_maps.c
%C%_signal_maps_CFLAGS = $(integration_cflags)

# Linked with libjemalloc.so, which libjemalloc-dev brings.
if MALLOC
check_PROGRAMS += %D%/jemalloc_user
%C%_jemalloc_user_SOURCES = %D%/jemalloc_user.c
%C%_jemalloc_user_CFLAGS = $(integration_cflags)
%C%_jemalloc_user_LDADD = -ljemalloc
endif

check_LTLIBRARIES += %D%/plugin.la
%C%_plugin_la_SOURCES = %D%/plugin.c
%C%_plugin_la_LDFLAGS = -module -avoid-version -shared -rpath /nowhere

integration_tests += %D%/bindings.t %D%/cached.t %D%/cached-neighbour.t \
	%D%/changes.t %D%/idle.t %D%/manual.t \
	%D%/page-cache.t %D%/process.t %D%/programs.t %D%/psi-false.t \
	%D%/return.t %D%/run.t %D%/cli.t %D%/servers.t %D%/shrinkers.t \
	%D%/signals.t \
	%D%/survive.t
long_tests += %D%/cached.long.t %D%/gc.long.t %D%/survive.long.t
# Runtimes that attach themselves (examples/); where they are installed.
long_tests += %D%/gc-asked.t %D%/gc-go.t

# Collectors. The C program is compiled by its test, where <gc.h> is there.
integration_tests += %D%/gc-boehm.t %D%/gc-cpython.t %D%/gc-jvm.t %D%/gc-ruby.t %D%/gc-two.t
integration_tests += %D%/gc-node.t
integration_tests += %D%/gc-lua.t
integration_tests += %D%/gc-ocaml.t %D%/gc-php.t
EXTRA_DIST += %D%/gc_lua.c %D%/gc_lua_twins.c
EXTRA_DIST += %D%/gcs.py %D%/gc_boehm.c %D%/gc_soft.c
EXTRA_DIST += %D%/cached.py %D%/cached_scripts.py \
	%D%/harness.py %D%/survival.py %D%/survive
