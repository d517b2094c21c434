# tests/unit: one program per source, named as the source.
# To add base/units.c's:
#	unit_tests += %D%/units
#	%C%_units_SOURCES = %D%/units.c
#	%C%_units_LDADD = $(test_ldadd)

# base, alone and with its assertions of level 2: lock order, faults.
check_LTLIBRARIES += %D%/libbase.la
%C%_libbase_la_SOURCES = base/assert.c base/elsewhere.c base/fault.c \
	base/file.c base/lock.c base/log.c base/nearest.c base/settings.c \
	base/spillway.c base/units.c base/words.c
%C%_libbase_la_CPPFLAGS = $(AM_CPPFLAGS) -DSPW_ASSERT_LEVEL=2
base_tests = %D%/fault %D%/file %D%/lock %D%/log %D%/nearest %D%/settings \
	%D%/units
unit_tests += $(base_tests)
base_ldadd = tests/libtap.la %D%/libbase.la
%C%_fault_SOURCES = %D%/fault.c
%C%_fault_CPPFLAGS = $(AM_CPPFLAGS) -DSPW_ASSERT_LEVEL=2
%C%_fault_LDADD = $(base_ldadd)
%C%_file_SOURCES = %D%/file.c
%C%_file_LDADD = $(base_ldadd)
%C%_lock_SOURCES = %D%/lock.c
%C%_lock_CPPFLAGS = $(AM_CPPFLAGS) -DSPW_ASSERT_LEVEL=2
%C%_lock_LDADD = $(base_ldadd)
%C%_log_SOURCES = %D%/log.c
%C%_log_LDADD = $(base_ldadd)
%C%_nearest_SOURCES = %D%/nearest.c
%C%_nearest_LDADD = $(base_ldadd)
%C%_settings_SOURCES = %D%/settings.c
%C%_settings_LDADD = $(base_ldadd)
%C%_units_SOURCES = %D%/units.c
%C%_units_LDADD = $(base_ldadd)

# The control socket, end to end in one process; what it is made of.
unit_tests += %D%/address %D%/control %D%/json
%C%_address_SOURCES = %D%/address.c
%C%_address_LDADD = $(test_ldadd)
%C%_control_SOURCES = %D%/control.c cli/reply.c
%C%_control_LDADD = $(test_ldadd)
%C%_json_SOURCES = %D%/json.c cli/reply.c
%C%_json_LDADD = $(test_ldadd)

# The core: levels, gate, shrinkers, requests, subscriptions.
unit_tests += %D%/level
%C%_level_SOURCES = %D%/level.c
%C%_level_LDADD = $(test_ldadd)

# Grace periods.
unit_tests += %D%/rcu
%C%_rcu_SOURCES = %D%/rcu.c base/rcu.c
%C%_rcu_CPPFLAGS = $(AM_CPPFLAGS) -DSPW_ASSERT_LEVEL=2
%C%_rcu_LDADD = $(base_ldadd) $(LIBURCU_BP_LIBS)

# The gate alone: the test answers for core and monitor.
unit_tests += %D%/gate
%C%_gate_SOURCES = %D%/gate.c base/rcu.c pressure/call.c pressure/gate.c
%C%_gate_CPPFLAGS = $(AM_CPPFLAGS) -DSPW_ASSERT_LEVEL=2
%C%_gate_LDADD = $(base_ldadd) $(LIBURCU_BP_LIBS)
# Errands alone: so it does for the monitor.
unit_tests += %D%/errand
%C%_errand_SOURCES = %D%/errand.c pressure/errand.c
%C%_errand_CPPFLAGS = $(AM_CPPFLAGS) -DSPW_ASSERT_LEVEL=2
%C%_errand_LDADD = $(base_ldadd)
cache_help = %D%/shelf.c %D%/shelf.h %D%/stock.c %D%/stock.h
unit_tests += %D%/cache %D%/cache_evict %D%/cache_fault
%C%_cache_SOURCES = %D%/cache.c $(cache_help)
%C%_cache_LDADD = tests/torture/libtorture.la $(test_ldadd)
%C%_cache_evict_SOURCES = %D%/cache_evict.c $(cache_help)
%C%_cache_evict_LDADD = tests/torture/libtorture.la $(test_ldadd)
%C%_cache_fault_SOURCES = %D%/cache_fault.c $(cache_help)
%C%_cache_fault_LDADD = $(test_ldadd)
# A pass above memory.high.
unit_tests += %D%/throttled
%C%_throttled_SOURCES = %D%/throttled.c $(cache_help)
%C%_throttled_LDADD = %D%/libfixture.la $(test_ldadd)
# Parts of it, alone.
unit_tests += %D%/cut %D%/era %D%/stream
%C%_cut_SOURCES = %D%/cut.c
%C%_cut_LDADD = $(test_ldadd)
%C%_era_SOURCES = %D%/era.c cache/era.c
%C%_era_CPPFLAGS = $(AM_CPPFLAGS) -DSPW_ASSERT_LEVEL=2
%C%_era_LDADD = $(base_ldadd)
%C%_stream_SOURCES = %D%/stream.c
%C%_stream_LDADD = $(base_ldadd)
# The protocol of the cache's index, every interleaving: a model, nothing else.
unit_tests += %D%/index_model
%C%_index_model_SOURCES = %D%/index_model.c %D%/index_chain.c \
	%D%/index_chain.h
%C%_index_model_LDADD = tests/libtap.la
unit_tests += %D%/shrinkers
%C%_shrinkers_SOURCES = %D%/shrinkers.c %D%/stock.c %D%/stock.h
%C%_shrinkers_LDADD = $(test_ldadd)

# Where pressure is sensed, on made-up files and on a cgroup of our own.
check_LTLIBRARIES += %D%/libfixture.la
%C%_libfixture_la_SOURCES = %D%/fixture.c %D%/fixture.h
unit_tests += %D%/watch
%C%_watch_SOURCES = %D%/watch.c
%C%_watch_LDADD = %D%/libfixture.la $(test_ldadd)
unit_tests += %D%/limits_parse %D%/limits
%C%_limits_parse_SOURCES = %D%/limits_parse.c
%C%_limits_parse_LDADD = $(test_ldadd)
%C%_limits_SOURCES = %D%/limits.c
%C%_limits_LDADD = %D%/libfixture.la $(test_ldadd)
unit_tests += %D%/psi %D%/systemd
%C%_psi_SOURCES = %D%/psi.c
%C%_psi_LDADD = %D%/libfixture.la $(test_ldadd)
%C%_systemd_SOURCES = %D%/systemd.c
%C%_systemd_LDADD = %D%/libfixture.la $(test_ldadd)
unit_tests += %D%/notify
%C%_notify_SOURCES = %D%/notify.c
%C%_notify_LDADD = %D%/libfixture.la $(test_ldadd)
unit_tests += %D%/sources
%C%_sources_SOURCES = %D%/sources.c
%C%_sources_LDADD = %D%/libfixture.la $(test_ldadd)

# What the core does for who asks, and whom it tells.
unit_tests += %D%/pass
%C%_pass_SOURCES = %D%/pass.c %D%/stock.c %D%/stock.h
%C%_pass_LDADD = $(test_ldadd)
unit_tests += %D%/reclaim
%C%_reclaim_SOURCES = %D%/reclaim.c %D%/stock.c %D%/stock.h
%C%_reclaim_LDADD = $(test_ldadd)
unit_tests += %D%/subscribers
%C%_subscribers_SOURCES = %D%/subscribers.c %D%/stock.c %D%/stock.h
%C%_subscribers_LDADD = $(test_ldadd)

# Collectors: the rate filter; bridges with made-up runtimes (libgcc_s throws).
unit_tests += %D%/gc_policy %D%/gc_bridge
%C%_gc_policy_SOURCES = %D%/gc_policy.c
%C%_gc_policy_LDADD = $(test_ldadd)
%C%_gc_bridge_SOURCES = %D%/gc_bridge.c %D%/stock.c %D%/stock.h
%C%_gc_bridge_CFLAGS = $(AM_CFLAGS) -fexceptions
%C%_gc_bridge_LDADD = $(test_ldadd) -lgcc_s
