# bench: programs that compare allocators, and the scripts that run them.
# The smoke run of each is in `make check`. Included after tests/local.mk,
# which starts the list of tests.
bench_programs = \
	%D%/burst-return \
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

%C%_burst_return_SOURCES = %D%/burst-return.c $(bench_event) $(bench_base)
%C%_idle_cost_SOURCES = %D%/idle-cost.c $(bench_base)
%C%_large_SOURCES = %D%/large.c $(bench_base)
%C%_malloc_tail_SOURCES = %D%/malloc-tail.c $(bench_event) $(bench_base)
%C%_shrinker_cache_SOURCES = %D%/shrinker-cache.c $(bench_base)
%C%_shrinker_cache_LDADD = -lm
%C%_small_SOURCES = %D%/small.c $(bench_base)
%C%_start_fork_SOURCES = %D%/start-fork.c $(bench_base)
%C%_tagged_SOURCES = %D%/tagged.c $(bench_base)
%C%_threads_SOURCES = %D%/threads.c $(bench_base)

EXTRA_DIST += %D%/README.md %D%/compare %D%/run
integration_tests += %D%/smoke.t

# Usable from the build directory: build/bench/run finds its programs beside
# itself and the library above itself.
noinst_DATA += %D%/run.stamp
CLEANFILES += %D%/run.stamp

%D%/run.stamp: $(srcdir)/%D%/run $(srcdir)/%D%/compare
	$(AM_V_GEN)$(MKDIR_P) %D% && \
	for script in %D%/run %D%/compare; do \
		test $$script -ef $(srcdir)/$$script || \
			cp -f $(srcdir)/$$script $$script || exit 1; \
		chmod +x $$script || exit 1; \
	done && : > $@

# The copies, not the sources of a build within the source tree.
mostlyclean-local:
	-test %D%/run -ef $(srcdir)/%D%/run || \
		rm -f %D%/run %D%/compare
