# tests/unit: one program per source, named as the source.
# To add base/units.c's:
#	unit_tests += %D%/units
#	%C%_units_SOURCES = %D%/units.c
#	%C%_units_LDADD = $(test_ldadd)
