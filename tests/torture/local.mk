# tests/torture: seeded and random; seconds here, hours by hand.
# To add one:
#	torture_tests += %D%/name
#	%C%_name_SOURCES = %D%/name.c
#	%C%_name_LDADD = $(test_ldadd)
