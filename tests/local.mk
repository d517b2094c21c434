# tests: TAP programs. Each kind adds to its own list:
#	unit_tests         C, one per source, linked with the core: everywhere
#	torture_tests      C, seeded, seconds long
#	integration_tests  *.t, real programs under the built libraries
#	long_tests         *.t, minutes to hours: ./quickstart check --all

# What a C test is linked with: the core that has no jemalloc, and TAP.
check_LTLIBRARIES += %D%/libtap.la
%C%_libtap_la_SOURCES = %D%/tap.c %D%/tap.h
test_ldadd = %D%/libtap.la libspillway-core.la

include %D%/unit/local.mk
include %D%/torture/local.mk
include %D%/fuzz/local.mk
include %D%/integration/local.mk
include %D%/vm/local.mk

integration_tests += %D%/integration/symbols.t

check_PROGRAMS += $(unit_tests) $(torture_tests)
EXTRA_DIST += $(integration_tests) $(long_tests)
EXTRA_DIST += %D%/helgrind.suppressions %D%/thread.suppressions

TESTS = $(unit_tests)
if !SANITIZER
TESTS += $(torture_tests) $(integration_tests)
endif
