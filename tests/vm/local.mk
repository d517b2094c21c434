# tests/vm: cgroup v2 on other kernels, under QEMU; ./quickstart check --all.
long_tests += %D%/cache.t %D%/survive.t %D%/swap.t
EXTRA_DIST += %D%/cache-guest %D%/guest.py %D%/survive-guest %D%/swap-guest \
	%D%/vm-boot

check_PROGRAMS += %D%/filler
%C%_filler_LDADD = libspillway.la
