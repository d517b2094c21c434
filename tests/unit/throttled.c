/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Above memory.high the kernel puts who is charged to sleep, for up to 2 s: a
 * pass there opens nothing, and sends no signal, which is memory, too.
 *
 * The group is a folder of files; its usage is what this process has resident.
 * open(2) and syscall(2) of the library end here, and are counted where they
 * come from its own threads. tests/vm/cache.t has the kernel's word on it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <spillway/cache.h>
#include <spillway/spillway.h>

#include "base/rcu.h"
#include "pressure/limits.h"
#include "pressure/monitor.h"
#include "tests/tap.h"
#include "tests/unit/fixture.h"
#include "tests/unit/shelf.h"
#include "tests/unit/stock.h"

#define FULL_BYTES (160 * MIB)
#define HIGH_BYTES (96 * MIB)
#define VALUE_BYTES 1000u

static _Atomic unsigned opens[2], signals[2]; /* [1]: above memory.high */
static int usage_fd;
static _Atomic bool over;

static bool
is_throttled(void)
{
	struct monitor_view view;

	monitor_view(&view);
	return limits_is_throttled(&view.reading);
}

static void
count(_Atomic unsigned counters[2])
{
	if (rcu_thread_is_ours)
		atomic_fetch_add(&counters[is_throttled()], 1);
}

static long (*libc_syscall)(long number, ...);

/* Of the C library; the first call may be before main(). */
static void
find_syscall(void)
{
	*(void **)&libc_syscall = dlsym(RTLD_NEXT, "syscall");
}

long
syscall(long number, ...)
{
	long a[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (!libc_syscall)
		find_syscall();
	if (number == SYS_tgkill)
		count(signals);
	if (number == SYS_openat)
		count(opens);
	return libc_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int
open(const char *path, int flags, ...)
{
	va_list list;
	int mode;

	va_start(list, flags);
	mode = flags & O_CREAT ? va_arg(list, int) : 0;
	va_end(list);
	if (!libc_syscall)
		find_syscall();
	count(opens);
	return (int)libc_syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* Of one length, so that no reader finds half of it. */
static void *
keep_usage(void *unused)
{
	char text[32];

	(void)unused;
	while (!atomic_load(&over)) {
		int n = snprintf(text, sizeof text, "%015llu\n",
				 (unsigned long long)stock_resident());

		if (pwrite(usage_fd, text, (size_t)n, 0) != n)
			tap_bail_out("memory.current cannot be written");
		usleep(500);
	}
	return NULL;
}

static void
put_group(void)
{
	fixture_begin();
	fixture_file("/proc/self/cgroup", "0::/a\n");
	fixture_file("/proc/self/mountinfo",
		     "30 23 0:26 / /cg rw,nosuid shared:4 - cgroup2 cgroup2 "
		     "rw\n");
	fixture_file("/cg/a/memory.max", "max\n");
	fixture_file("/cg/a/memory.high", "%llu\n", 4 * FULL_BYTES);
	fixture_file("/cg/a/memory.stat",
		     "inactive_file 0\nslab_reclaimable 0\n");
	fixture_file("/cg/a/memory.current", "%015llu\n",
		     (unsigned long long)stock_resident());
	if (symlink("/proc/self/statm", fixture_path("/proc/self/statm")) != 0)
		tap_bail_out("symlink: %s", strerror(errno));
	usage_fd = open(fixture_path("/cg/a/memory.current"), O_WRONLY);
	if (usage_fd < 0)
		tap_bail_out("memory.current: %s", strerror(errno));
}

static void
fill(struct spw_cache *c)
{
	static char value[VALUE_BYTES];

	memset(value, 'v', sizeof value);
	for (unsigned i = 0; i < FULL_BYTES / VALUE_BYTES; i++)
		if (spw_cache_put(c, &i, sizeof i, value, sizeof value, NULL))
			tap_bail_out("spw_cache_put");
}

static bool
has_gone_below(void)
{
	struct monitor_view view;

	monitor_view(&view);
	return view.reading.kind == LIMITS_V2_HIGH &&
	       view.reading.limit_bytes == HIGH_BYTES &&
	       !limits_over_bytes(&view.reading) &&
	       stock_resident() <= HIGH_BYTES;
}

int
main(void)
{
	struct spw_cache *c;
	pthread_t keeper;

#ifdef RCU_SEEN
	tap_skip_all("ThreadSanitizer's open(2) and memory are in the way");
#endif
	unsetenv("SPILLWAY_CONF");
	if (spw_configure("machine:off,rlimit:off,psi:off,systemd:off,"
			  "control:off") != 0)
		tap_bail_out("settings are refused");
	put_group();
	pthread_create(&keeper, NULL, keep_usage, NULL);
	c = shelf_make("leaves", 0);
	fill(c);
	tap_ok(stock_resident() > FULL_BYTES && !is_throttled(),
	       "a cache of 160 MiB below memory.high");
	stock_reclaim(1);
	tap_ok(opens[0] > 0 && signals[0] > 0,
	       "what is opened and sent there is seen");
	fixture_file("/cg/a/memory.high", "%llu\n", HIGH_BYTES);
	tap_ok(stock_soon(has_gone_below),
	       "memory.high falls to 96 MiB, and so does the process");
	tap_is(signals[1], 0, "nobody was rung for above memory.high");
	tap_is(opens[1], 0, "nothing was opened there");
	tap_note("before and after: %u opened, %u signals", opens[0],
		 signals[0]);
	spw_cache_destroy(c);
	atomic_store(&over, true);
	pthread_join(keeper, NULL);
	close(usage_fd);
	fixture_end();
	return tap_done();
}
