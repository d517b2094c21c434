# tests/torture: seeded and random; seconds here, hours by hand:
#	SPW_TORTURE_SECONDS=3600 tests/torture/arena
# To add one:
#	torture_tests += %D%/name
#	%C%_name_SOURCES = %D%/name.c
#	%C%_name_LDADD = $(torture_ldadd)
# Those that need the core alone run in sanitizers too, as unit tests do.
check_LTLIBRARIES += %D%/libtorture.la
%C%_libtorture_la_SOURCES = %D%/torture.c %D%/torture.h
torture_ldadd = %D%/libtorture.la $(test_ldadd)

core_torture = %D%/cache %D%/cache_wrap %D%/cache_kept %D%/cache_kept_wrap \
	%D%/gate %D%/registry
%C%_cache_SOURCES = %D%/cache.c %D%/claims.c %D%/claims.h \
	tests/unit/stock.c tests/unit/stock.h
%C%_cache_LDADD = $(torture_ldadd)
# Generations of 2 bits, which come round with every third open.
check_LTLIBRARIES += %D%/libcachewrap.la
%C%_libcachewrap_la_SOURCES = $(cache_sources)
%C%_libcachewrap_la_CPPFLAGS = $(AM_CPPFLAGS) -DSPW_CACHE_GENERATION_BITS=2
wrap_ldadd = %D%/libtorture.la %D%/libcachewrap.la $(test_ldadd)
%C%_cache_wrap_SOURCES = $(%C%_cache_SOURCES)
%C%_cache_wrap_CPPFLAGS = $(%C%_libcachewrap_la_CPPFLAGS)
%C%_cache_wrap_LDADD = $(wrap_ldadd)
# The same of one that loses nothing.
%C%_cache_kept_SOURCES = %D%/cache_kept.c %D%/claims.c %D%/claims.h \
	tests/unit/stock.c tests/unit/stock.h
%C%_cache_kept_LDADD = $(torture_ldadd)
%C%_cache_kept_wrap_SOURCES = $(%C%_cache_kept_SOURCES)
%C%_cache_kept_wrap_CPPFLAGS = $(%C%_cache_wrap_CPPFLAGS)
%C%_cache_kept_wrap_LDADD = $(wrap_ldadd)
%C%_gate_SOURCES = %D%/gate.c
%C%_gate_LDADD = $(torture_ldadd)
%C%_registry_SOURCES = %D%/registry.c \
	tests/unit/stock.c tests/unit/stock.h
%C%_registry_LDADD = $(torture_ldadd)

if SANITIZER
unit_tests += $(core_torture)
else
torture_tests += $(core_torture)
endif

# Under the interposer: they start themselves anew with LD_PRELOAD. Linked
# with the library, whose public functions are then the interposer's.
heap_ldadd = %D%/libtorture.la tests/libtap.la libspillway.la
if MALLOC
torture_tests += %D%/arena %D%/fork %D%/gate_heap %D%/reclaimable
%C%_arena_SOURCES = %D%/arena.c
%C%_arena_LDADD = $(heap_ldadd)
%C%_fork_SOURCES = %D%/fork.c
%C%_fork_LDADD = $(heap_ldadd)
%C%_gate_heap_SOURCES = %D%/gate.c
%C%_gate_heap_CPPFLAGS = $(AM_CPPFLAGS) -DTORTURE_HEAP
%C%_gate_heap_LDADD = $(heap_ldadd)
%C%_reclaimable_SOURCES = %D%/reclaimable.c
%C%_reclaimable_LDADD = $(heap_ldadd)
endif

long_tests += %D%/soak.t %D%/cache.long.t %D%/helgrind.long.t
