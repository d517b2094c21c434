# bench: programs that compare allocators, and the scripts that run them.
# The smoke run of each is in `make check`. Included after tests/local.mk,
# which starts the list of tests.
bench_programs = \
	%D%/burst-return \
	%D%/cache-hits \
	%D%/cache-kv \
	%D%/cache-memory \
	%D%/cache-read \
	%D%/cache-shrink \
	%D%/cached-load \
	%D%/idle-cost \
	%D%/large \
	%D%/malloc-tail \
	%D%/shrinker-cache \
	%D%/small \
	%D%/start-fork \
	%D%/tagged \
	%D%/threads
noinst_PROGRAMS += $(bench_programs)

bench_base = %D%/bench.c %D%/bench.h
bench_event = %D%/event.c %D%/event.h
# Of the programs that hold spillway's cache beside its peers; they alone are
# linked with the library.
bench_rounds = %D%/rounds.c %D%/rounds.h
bench_store = %D%/store.c %D%/store.h %D%/store_array.c \
	%D%/store_lfht.c %D%/store_mutex.c \
	%D%/store_spillway.c
bench_tick = %D%/tick.c %D%/tick.h
bench_zipf = %D%/zipf.c %D%/zipf.h
bench_cache = $(bench_rounds) $(bench_store) $(bench_base)
bench_cache_libs = libspillway.la -lurcu-cds $(LIBURCU_BP_LIBS) -lm

%C%_burst_return_SOURCES = %D%/burst-return.c $(bench_event) $(bench_base)
%C%_cache_hits_SOURCES = %D%/cache-hits.c $(bench_zipf) $(bench_cache)
%C%_cache_hits_LDADD = $(bench_cache_libs)
%C%_cache_kv_SOURCES = %D%/cache-kv.c $(bench_tick) $(bench_zipf) \
	$(bench_cache)
%C%_cache_kv_LDADD = $(bench_cache_libs)
%C%_cache_memory_SOURCES = %D%/cache-memory.c %D%/zipf.h $(bench_cache)
%C%_cache_memory_LDADD = $(bench_cache_libs)
%C%_cache_read_SOURCES = %D%/cache-read.c %D%/written.c %D%/written.h \
	$(bench_cache)
%C%_cache_read_LDADD = $(bench_cache_libs)
%C%_cache_shrink_SOURCES = %D%/cache-shrink.c $(bench_tick) $(bench_cache)
%C%_cache_shrink_LDADD = $(bench_cache_libs)
%C%_cached_load_SOURCES = %D%/cached-load.c $(bench_base)
%C%_cached_load_LDADD = -lm
%C%_idle_cost_SOURCES = %D%/idle-cost.c $(bench_base)
%C%_large_SOURCES = %D%/large.c $(bench_base)
%C%_malloc_tail_SOURCES = %D%/malloc-tail.c $(bench_event) $(bench_base)
%C%_shrinker_cache_SOURCES = %D%/shrinker-cache.c $(bench_base)
%C%_shrinker_cache_LDADD = -lm
%C%_small_SOURCES = %D%/small.c $(bench_base)
%C%_start_fork_SOURCES = %D%/start-fork.c $(bench_base)
%C%_tagged_SOURCES = %D%/tagged.c $(bench_base)
%C%_threads_SOURCES = %D%/threads.c $(bench_base)

EXTRA_DIST += %D%/README.md %D%/cached %D%/compare %D%/run
EXTRA_DIST += %D%/gc %D%/gc-boehm.c %D%/gc_programs.py
integration_tests += %D%/cached.t %D%/smoke.t

# Usable from the build directory: build/bench/run finds its programs beside
# itself and the library above itself.
noinst_DATA += %D%/run.stamp
CLEANFILES += %D%/run.stamp

%D%/run.stamp: $(srcdir)/%D%/cached $(srcdir)/%D%/run $(srcdir)/%D%/compare
	$(AM_V_GEN)$(MKDIR_P) %D% && \
	for script in %D%/cached %D%/run %D%/compare; do \
		test $$script -ef $(srcdir)/$$script || \
			cp -f $(srcdir)/$$script $$script || exit 1; \
		chmod +x $$script || exit 1; \
	done && : > $@

# The copies, not the sources of a build within the source tree.
mostlyclean-local:
	-test %D%/run -ef $(srcdir)/%D%/run || \
		rm -f %D%/cached %D%/run %D%/compare
