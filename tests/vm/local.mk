# tests/vm: cgroup v2 on other kernels, under QEMU; ./quickstart check --all.
long_tests += %D%/survive.t
EXTRA_DIST += %D%/survive-guest %D%/vm-boot
