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

core_torture = %D%/registry
%C%_registry_SOURCES = %D%/registry.c \
	tests/unit/stock.c tests/unit/stock.h
%C%_registry_LDADD = $(torture_ldadd)

if SANITIZER
unit_tests += $(core_torture)
else
torture_tests += $(core_torture)
endif
