# tests/vm: cgroup v2 on other kernels, under QEMU; ./quickstart check --all.
TESTS += %D%/survive.t
EXTRA_DIST += %D%/survive.t %D%/survive-guest %D%/vm-boot
