# tests/fuzz: parsers against bytes, sequences against a model. README.md says
# how. A fuzzer is fuzz_NAME.c with a folder corpus/NAME:
#	fuzzers += %D%/fuzz_NAME
#	%C%_fuzz_NAME_SOURCES = %D%/fuzz_NAME.c
#	%C%_fuzz_NAME_LDADD = $(fuzz_ldadd)
fuzzers =
check_LTLIBRARIES += %D%/libreplay.la
%C%_libreplay_la_SOURCES = %D%/replay.c
fuzz_ldadd = %D%/libreplay.la $(test_ldadd)

fuzzers += %D%/fuzz_settings
%C%_fuzz_settings_SOURCES = %D%/fuzz_settings.c
%C%_fuzz_settings_LDADD = $(fuzz_ldadd)

fuzzers += %D%/fuzz_control
%C%_fuzz_control_SOURCES = %D%/fuzz_control.c
%C%_fuzz_control_LDADD = $(fuzz_ldadd)

fuzzers += %D%/fuzz_cgroup
%C%_fuzz_cgroup_SOURCES = %D%/fuzz_cgroup.c
%C%_fuzz_cgroup_LDADD = $(fuzz_ldadd)

fuzzers += %D%/fuzz_psi
%C%_fuzz_psi_SOURCES = %D%/fuzz_psi.c
%C%_fuzz_psi_LDADD = $(fuzz_ldadd)

unit_tests += $(fuzzers)
EXTRA_DIST += %D%/README.md %D%/corpus

# With clang's libFuzzer: make fuzz-settings FUZZ_FLAGS=-max_total_time=60
fuzz-%: %D%/fuzz_%.$(OBJEXT) $(test_ldadd)
	$(AM_V_CCLD)$(LIBTOOL) $(AM_V_lt) --tag=CC --mode=link $(CC) \
		-fsanitize=fuzzer $(AM_CFLAGS) $(CFLAGS) $(AM_LDFLAGS) \
		$(LDFLAGS) -o $@.fuzzer $< $(test_ldadd)
	@$(MKDIR_P) fuzz-corpus/$*
	./$@.fuzzer $(FUZZ_FLAGS) fuzz-corpus/$* \
		$(top_srcdir)/tests/fuzz/corpus/$*
