/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Limits: every kind of cgroup tree, files that are missing, wrong or vanish,
 * and what a reading makes of them. limits_parse.c has the parsers.
 */
#include "pressure/limits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/settings.h"
#include "tests/tap.h"
#include "tests/unit/fixture.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define NONE UINT64_MAX
#define V1_NONE "9223372036854771712\n"
#define V1_MOUNT_LINE(root) \
	"35 31 0:32 " root " /cg/memory rw - cgroup cgroup rw,memory\n"
#define V2_MOUNT_LINE(root) \
	"30 23 0:26 " root " /cg rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"

static struct limits limits;
static struct limits_reading reading;

static void
put_machine(uint64_t total, uint64_t available)
{
	fixture_file("/proc/meminfo",
		     "MemTotal: %llu kB\nMemAvailable: %llu kB\n",
		     (unsigned long long)total / 1024,
		     (unsigned long long)available / 1024);
}

static void
put_v1(const char *group, uint64_t limit, uint64_t usage, uint64_t cache)
{
	char path[256];

	snprintf(path, sizeof path, "%s/memory.limit_in_bytes", group);
	if (limit == NONE)
		fixture_file(path, V1_NONE);
	else
		fixture_file(path, "%llu\n", (unsigned long long)limit);
	snprintf(path, sizeof path, "%s/memory.usage_in_bytes", group);
	fixture_file(path, "%llu\n", (unsigned long long)usage);
	snprintf(path, sizeof path, "%s/memory.stat", group);
	fixture_file(path,
		     "cache 1\nhierarchical_memory_limit %llu\n"
		     "total_inactive_file %llu\ntotal_active_file 0\n"
		     "total_dirty 0\ntotal_writeback 0\n",
		     limit == NONE ? 9223372036854771712ull :
				     (unsigned long long)limit,
		     (unsigned long long)cache);
}

/* Limits as text, for "max" and worse. */
static void
put_v2(const char *group, const char *max, const char *high, uint64_t usage)
{
	char path[256];

	snprintf(path, sizeof path, "%s/memory.max", group);
	fixture_file(path, "%s\n", max);
	snprintf(path, sizeof path, "%s/memory.high", group);
	fixture_file(path, "%s\n", high);
	snprintf(path, sizeof path, "%s/memory.current", group);
	fixture_file(path, "%llu\n", (unsigned long long)usage);
	snprintf(path, sizeof path, "%s/memory.stat", group);
	fixture_file(path, "inactive_file %llu\nslab_reclaimable %llu\n",
		     10 * MIB, 2 * MIB);
}

static void
reopen(bool keep_open)
{
	limits_close(&limits);
	limits_open(&limits, keep_open);
	limits_read(&limits, 0, &reading);
}

static void
trees_of_v1(void)
{
	fixture_begin();
	put_machine(24 * GIB, 20 * GIB);
	fixture_file("/proc/self/cgroup", "4:memory:/a/b\n0::/\n");
	fixture_file("/proc/self/mountinfo", "%s", V1_MOUNT_LINE("/"));
	fixture_file("/cg/memory/release_agent", "\n");
	put_v1("/cg/memory", NONE, 3 * GIB, 0);
	put_v1("/cg/memory/a", 500 * MIB, 480 * MIB, 100 * MIB);
	put_v1("/cg/memory/a/b", 400 * MIB, 300 * MIB, 50 * MIB);
	reopen(true);
	tap_ok(!limits.v2 && limits.groups_count == 3 && !limits.hidden &&
		       !limits.why[0],
	       "v1: the own group, its parent, the root: %s", limits.why);
	tap_is_text(limits.groups[0].path, fixture_path("/cg/memory/a/b"),
		    "own group first");
	tap_ok(limits.groups[0].usage_fd >= 0 && limits.groups[2].usage_fd < 0,
	       "files are kept open where there is a limit");
	tap_ok(reading.kind == LIMITS_V1 && reading.group == 1 &&
		       reading.limit_bytes == 500 * MIB &&
		       reading.headroom_bytes == 20 * MIB && !reading.stat_read,
	       "v1: the tightest headroom wins, here the parent's");
	limits_read(&limits, GIB, &reading);
	tap_ok(reading.group == 1 && reading.headroom_bytes == 120 * MIB &&
		       reading.headroom_raw_bytes == 20 * MIB &&
		       reading.cache_bytes == 100 * MIB && reading.stat_read,
	       "near a limit clean page cache is headroom");
	tap_is(reading.headroom_above_bytes, 20 * GIB,
	       "what no threshold of that group sees is the machine");
	atomic_store(&settings()->pagecache, SETTINGS_PAGECACHE_SHARE);
	limits_read(&limits, GIB, &reading);
	tap_ok(reading.headroom_bytes == 20 * MIB && !reading.cache_bytes,
	       "pagecache:share: it is not");
	atomic_store(&settings()->pagecache, SETTINGS_PAGECACHE_IGNORE);

	put_v1("/cg/memory/a/b", 400 * MIB, 395 * MIB, 0);
	limits_read(&limits, GIB, &reading);
	tap_ok(reading.group == 0 && reading.headroom_bytes == 5 * MIB &&
		       reading.headroom_above_bytes == 120 * MIB,
	       "usage is read anew, and the parent is above");
	tap_ok(!limits_refresh(&limits), "a refresh without news says so");
	put_v1("/cg/memory/a/b", 600 * MIB, 395 * MIB, 0);
	tap_ok(limits_refresh(&limits) &&
		       limits.groups[0].max_bytes == 600 * MIB,
	       "a changed limit is news");
	fixture_file("/proc/self/cgroup", "4:memory:/a\n0::/\n");
	tap_ok(limits_refresh(&limits) && limits.groups_count == 2,
	       "so is a move to another group");

	fixture_file("/cg/memory/a/memory.use_hierarchy", "0\n");
	fixture_file("/proc/self/cgroup", "4:memory:/a/b\n0::/\n");
	limits_refresh(&limits);
	tap_is(limits.groups_count, 1,
	       "v1 without use_hierarchy: the parent counts nothing");
}

static void
trees_of_v2(void)
{
	fixture_begin();
	put_machine(24 * GIB, 20 * GIB);
	fixture_file("/proc/self/cgroup", "0::/a/b/leaf\n");
	fixture_file("/proc/self/mountinfo", "%s", V2_MOUNT_LINE("/"));
	fixture_file("/cg/cgroup.procs", "1\n");
	fixture_file("/cg/a/b/leaf/cgroup.procs", "1\n");
	put_v2("/cg/a", "max", "max", 2 * GIB);
	put_v2("/cg/a/b", "419430400", "367001600", 330 * MIB);
	reopen(true);
	tap_ok(limits.v2 && limits.groups_count == 2 && !limits.hidden,
	       "v2: a leaf without the controller, and the root, have none");
	tap_ok(reading.kind == LIMITS_V2_HIGH &&
		       reading.limit_bytes == 350 * MIB &&
		       reading.headroom_bytes == 20 * MIB,
	       "memory.high below memory.max is the limit");
	limits_read(&limits, GIB, &reading);
	tap_ok(reading.headroom_bytes == 32 * MIB,
	       "v2: reclaimable slab is headroom too");
	put_v2("/cg/a/b", "419430400", "max", 330 * MIB);
	tap_ok(limits_refresh(&limits), "memory.high may go");
	limits_read(&limits, 0, &reading);
	tap_ok(reading.kind == LIMITS_V2_MAX &&
		       reading.headroom_bytes == 70 * MIB,
	       "then memory.max counts");
	put_v2("/cg/a", "2147483648", "max", 2 * GIB + MIB);
	limits_refresh(&limits);
	limits_read(&limits, 0, &reading);
	tap_ok(reading.group == 1 && reading.headroom_bytes == 0,
	       "usage over a limit leaves nothing, not a huge number");

	/* A hybrid whose memory controller is v2's. */
	fixture_file("/proc/self/cgroup",
		     "5:cpu:/c\n1:name=systemd:/s\n0::/a\n");
	fixture_file("/proc/self/mountinfo", "%s%s",
		     "31 1 0:29 / /v1/cpu rw - cgroup cgroup rw,cpu\n",
		     V2_MOUNT_LINE("/"));
	tap_ok(limits_refresh(&limits) && limits.v2 && limits.groups_count == 1,
	       "hybrid: v2 has the controller where v1 does not list it");
}

static void
namespaces(void)
{
	fixture_begin();
	put_machine(24 * GIB, 20 * GIB);
	fixture_file("/proc/self/cgroup", "0::/\n");
	fixture_file("/proc/self/mountinfo", "%s", V2_MOUNT_LINE("/"));
	put_v2("/cg", "104857600", "max", 50 * MIB);
	reopen(false);
	tap_ok(limits.groups_count == 1 && limits.hidden &&
		       reading.headroom_bytes == 50 * MIB,
	       "v2: a root with a limit is a namespace, and hides ancestors");

	fixture_file("/proc/self/cgroup", "0::/../../sibling\n");
	fixture_file("/proc/self/mountinfo", "%s", V2_MOUNT_LINE("/../.."));
	reopen(false);
	tap_ok(limits.groups_count == 1 && limits.hidden,
	       "a path outside of the namespace: the mount is all there is");

	/* Docker on v1: the mount shows the container's part alone. */
	fixture_begin();
	put_machine(24 * GIB, 20 * GIB);
	fixture_file("/proc/self/cgroup", "4:memory:/docker/1234/job\n");
	fixture_file("/proc/self/mountinfo", "%s",
		     V1_MOUNT_LINE("/docker/1234"));
	put_v1("/cg/memory", 200 * MIB, 150 * MIB, 0);
	put_v1("/cg/memory/job", NONE, 120 * MIB, 0);
	reopen(false);
	tap_ok(limits.groups_count == 2 && limits.hidden &&
		       reading.group == 1 && reading.headroom_bytes == 50 * MIB,
	       "v1: the mount's root is taken off the path");
	fixture_file("/proc/self/cgroup", "4:memory:/docker/12345\n");
	reopen(false);
	tap_ok(limits.groups_count == 1 && reading.headroom_bytes == 50 * MIB,
	       "a path that only begins alike is outside: the mount counts");
	fixture_file("/proc/self/cgroup", "4:memory:/docker/1234/gone\n");
	reopen(false);
	tap_ok(limits.groups_count == 1 && limits.hidden,
	       "a group that is not there: the mount counts");

	fixture_file("/proc/self/cgroup", "4:memory:/docker/1234\n");
	fixture_file("/cg/memory/memory.stat",
		     "hierarchical_memory_limit %llu\n", 160 * MIB);
	reopen(false);
	tap_ok(limits.groups[0].max_bytes == 160 * MIB && limits.hidden &&
		       reading.headroom_bytes == 10 * MIB,
	       "v1 tells of a tighter limit that we cannot see");
}

static void
files_that_come_and_go(void)
{
	fixture_begin();
	reopen(true);
	tap_ok(reading.kind == LIMITS_NONE && reading.limit_bytes == NONE &&
		       reading.headroom_bytes == NONE,
	       "without any file there is no limit");
	tap_is_text(limits.why, "/proc/self/cgroup cannot be read",
		    "and that is said");
	put_machine(GIB, 512 * MIB);
	limits_read(&limits, 0, &reading);
	tap_ok(reading.kind == LIMITS_MACHINE &&
		       reading.headroom_bytes == 512 * MIB,
	       "a file that comes later is found");

	fixture_file("/proc/self/cgroup", "4:memory:/a\n");
	limits_refresh(&limits);
	tap_is_text(limits.why, "cgroup v1 is not mounted",
		    "no mountinfo: said");
	fixture_file("/proc/self/mountinfo", "%s", V1_MOUNT_LINE("/"));
	limits_refresh(&limits);
	tap_ok(strstr(limits.why, "no memory.usage_in_bytes"),
	       "no group: said: %s", limits.why);
	put_v1("/cg/memory/a", 100 * MIB, 60 * MIB, 0);
	fixture_file("/cg/memory/a/memory.limit_in_bytes", "12 parsecs\n");
	limits_refresh(&limits);
	tap_ok(strstr(limits.why, "memory.limit_in_bytes: not a number") &&
		       limits.groups_count == 1 &&
		       limits.groups[0].max_bytes == 100 * MIB,
	       "a limit that is none: said, and memory.stat's taken: %s",
	       limits.why);
	fixture_remove("/cg/memory/a/memory.stat");
	limits_refresh(&limits);
	tap_ok(limits.groups[0].max_bytes == NONE,
	       "without memory.stat there is no limit then");
	fixture_remove("/cg/memory/a/memory.limit_in_bytes");
	limits_refresh(&limits);
	tap_ok(strstr(limits.why, "No such file"), "a missing limit: said: %s",
	       limits.why);
	put_v1("/cg/memory/a", 100 * MIB, 60 * MIB, 0);
	tap_ok(limits_refresh(&limits) && !limits.why[0],
	       "and forgotten when it is right again");
	limits_read(&limits, 0, &reading);
	tap_is(reading.headroom_bytes, 40 * MIB, "then it counts");
}

/* In the tree that files_that_come_and_go() left. */
static void
numbers_that_are_none(void)
{
	fixture_file("/cg/memory/a/memory.usage_in_bytes", "lots\n");
	limits_read(&limits, 0, &reading);
	tap_is(reading.kind, LIMITS_MACHINE, "usage that is none: left out");
	fixture_file("/cg/memory/a/memory.usage_in_bytes",
		     "18446744073709551615\n");
	limits_read(&limits, 0, &reading);
	tap_ok(reading.kind == LIMITS_V1 && reading.headroom_bytes == 0,
	       "a huge usage leaves nothing");
	fixture_file("/cg/memory/a/memory.usage_in_bytes", "104857600\n");
	fixture_file("/cg/memory/a/memory.stat", "total_inactive_file %s\n",
		     "18446744073709551615");
	limits_read(&limits, NONE, &reading);
	tap_is(reading.headroom_bytes, 100 * MIB,
	       "more cache than usage is usage");
	fixture_remove("/cg/memory/a/memory.stat");
	limits_refresh(&limits);
	limits_read(&limits, NONE, &reading);
	tap_ok(reading.kind == LIMITS_V1 && reading.headroom_bytes == 0 &&
		       !reading.stat_read,
	       "no memory.stat: raw usage counts");
	reopen(false);
	fixture_remove("/cg/memory/a");
	limits_read(&limits, NONE, &reading);
	tap_is(reading.kind, LIMITS_MACHINE, "a group that vanished: left out");

	put_machine(24 * GIB, GIB);
	fixture_file("/proc/meminfo", "MemTotal: many kB\n");
	limits_read(&limits, 0, &reading);
	tap_is(reading.kind, LIMITS_NONE, "garbage in meminfo: left out");
	put_machine(GIB, 2 * GIB);
	limits_read(&limits, 0, &reading);
	tap_is(reading.headroom_bytes, GIB,
	       "more available than there is: all of it");
}

static void
deep_tree(void)
{
	char deep[512] = "";

	for (int i = 0; i < LIMITS_GROUPS_MAX + 4; i++)
		sprintf(deep + strlen(deep), "/d%d", i);
	fixture_file("/proc/self/cgroup", "4:memory:%s\n", deep);
	for (int i = 0; i < LIMITS_GROUPS_MAX + 4; i++) {
		char group[600];

		snprintf(group, sizeof group, "/cg/memory%s", deep);
		put_v1(group, GIB, MIB, 0);
		*strrchr(deep, '/') = '\0';
	}
	limits_refresh(&limits);
	tap_ok(limits.groups_count == LIMITS_GROUPS_MAX &&
		       strstr(limits.why, "left out"),
	       "a hierarchy that is too deep: said: %.60s", limits.why);
}

/* More mounts than the buffer holds, the right one last. */
static void
many_mounts(void)
{
	static char text[200000];
	size_t n = 0;

	while (n < 150000)
		n += (size_t)snprintf(text + n, sizeof text - n,
				      "%zu 1 0:9 / /var/lib/layer/%zu rw - "
				      "overlay overlay rw,memory\n",
				      n, n);
	memset(text + n, 'x', 30000); /* and one line without any sense */
	n += 30000;
	snprintf(text + n, sizeof text - n, "\n%s", V2_MOUNT_LINE("/"));
	fixture_begin();
	fixture_file("/proc/self/cgroup", "0::/a\n");
	fixture_file("/proc/self/mountinfo", "%s", text);
	put_v2("/cg/a", "104857600", "max", 50 * MIB);
	reopen(false);
	tap_ok(limits.groups_count == 1 && reading.headroom_bytes == 50 * MIB,
	       "180,000 bytes of mountinfo are read to the end");
	text[strlen(text) - 1] = '\0';
	fixture_file("/proc/self/mountinfo", "%s", text);
	limits_refresh(&limits);
	tap_is(limits.groups_count, 1, "also where the last line just ends");
}

static void
machine(void)
{
	fixture_begin();
	put_machine(24 * GIB, 10 * GIB);
	reopen(true);
	tap_ok(reading.kind == LIMITS_MACHINE &&
		       reading.headroom_bytes == 10 * GIB,
	       "the machine's headroom is what is available");
	put_machine(24 * GIB, 2 * GIB + 100 * MIB);
	limits.machine_ns = clock_now_ns();
	limits_read(&limits, 0, &reading);
	tap_is(reading.headroom_bytes, 10 * GIB,
	       "while that is plenty it is not read each time");
	limits.machine_ns = clock_now_ns() - CLOCK_S / 2;
	limits_read(&limits, 0, &reading);
	tap_is(reading.headroom_bytes, 2 * GIB + 100 * MIB,
	       "but before 8 GiB could have been taken");
	put_machine(24 * GIB, GIB);
	limits.machine_ns = clock_now_ns() - 26 * CLOCK_MS;
	limits_read(&limits, 0, &reading);
	tap_is(reading.headroom_bytes, GIB, "sooner where it is less");
	put_machine(24 * GIB, 900 * MIB);
	limits_read(&limits, 0, &reading);
	tap_is(reading.headroom_bytes, 900 * MIB,
	       "when it is little, every time");
	fixture_remove("/proc/meminfo");
	limits_close(&limits);
	limits_open(&limits, false);
	limits_read(&limits, 0, &reading);
	tap_is(reading.kind, LIMITS_NONE, "no meminfo: no such limit");
	put_machine(24 * GIB, 900 * MIB);
	atomic_fetch_and(&settings()->sources, ~(unsigned)SETTINGS_MACHINE);
	limits_read(&limits, 0, &reading);
	tap_is(reading.kind, LIMITS_NONE, "machine:off: not asked");
	atomic_store(&settings()->sources, SETTINGS_SOURCES_ALL);
}

static void
the_process(void)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct rlimit before, now;

	fixture_begin();
	fixture_file("/proc/self/statm", "5000 1000 10 10 0 3000 0\n");
	atomic_store(&settings()->limit_bytes, 1500 * page);
	reopen(true);
	tap_ok(reading.kind == LIMITS_OWN &&
		       reading.headroom_bytes == 500 * page,
	       "limit: counts resident memory");
	fixture_file("/proc/self/statm", "nothing\n");
	limits_read(&limits, 0, &reading);
	tap_is(reading.kind, LIMITS_NONE, "garbage in statm: left out");
	fixture_file("/proc/self/statm", "5000 1000 10 10 0 3000 0\n");
	getrlimit(RLIMIT_DATA, &before);
	now = before;
	now.rlim_cur = 3200 * page;
	if ((now.rlim_max != RLIM_INFINITY && now.rlim_max < now.rlim_cur) ||
	    setrlimit(RLIMIT_DATA, &now) != 0) {
		tap_skip(2, "no rlimit");
	} else {
		limits_refresh(&limits);
		limits_read(&limits, 0, &reading);
		tap_ok(reading.kind == LIMITS_RLIMIT_DATA &&
			       reading.headroom_bytes == 200 * page,
		       "RLIMIT_DATA counts data, and is nearer");
		atomic_fetch_and(&settings()->sources,
				 ~(unsigned)SETTINGS_RLIMIT);
		limits_refresh(&limits);
		limits_read(&limits, 0, &reading);
		tap_is(reading.kind, LIMITS_OWN, "rlimit:off: not asked");
		atomic_store(&settings()->sources, SETTINGS_SOURCES_ALL);
		setrlimit(RLIMIT_DATA, &before);
	}
	atomic_store(&settings()->limit_bytes, UINT64_MAX);
	getrlimit(RLIMIT_AS, &before);
	now = before;
	now.rlim_cur = (64 * GIB) / page * page;
	fixture_file("/proc/self/statm", "%llu 1000 10 10 0 3000 0\n",
		     (unsigned long long)(63 * GIB / page));
	if (setrlimit(RLIMIT_AS, &now) != 0) {
		tap_skip(1, "no rlimit");
	} else {
		limits_refresh(&limits);
		limits_read(&limits, 0, &reading);
		tap_ok(reading.kind == LIMITS_RLIMIT_AS &&
			       reading.headroom_bytes == GIB,
		       "RLIMIT_AS counts address space");
		setrlimit(RLIMIT_AS, &before);
	}
	atomic_fetch_and(&settings()->sources, ~(unsigned)SETTINGS_CGROUP);
	limits_refresh(&limits);
	tap_is_text(limits.why, "cgroup:off", "cgroup:off is said");
	atomic_store(&settings()->sources, SETTINGS_SOURCES_ALL);
	limits_close(&limits);
}

static void
a_real_group(void)
{
	const char *why, *group;

	fixture_end();
	group = fixture_group_begin(300 * MIB, &why);
	if (!group) {
		tap_skip(4, "%s", why);
		return;
	}
	if (fixture_group_enter() != 0) {
		tap_skip(4, "no right to enter a cgroup");
		fixture_group_end();
		return;
	}
	reopen(true);
	tap_ok(limits.groups[0].max_bytes == 300 * MIB,
	       "a real group's limit is found: %s", limits.why);
	tap_ok(reading.kind == LIMITS_V1 && reading.group == 0 &&
		       reading.usage_bytes < 100 * MIB,
	       "and its usage");
	fixture_group_end();
	limits_read(&limits, 0, &reading);
	tap_ok(reading.limit_bytes != 300 * MIB,
	       "a group that vanished is left out");
	limits_refresh(&limits);
	tap_ok(limits.groups_count == 0 ||
		       (limits.groups[0].max_bytes != 300 * MIB),
	       "and found to be another at the refresh");
	limits_close(&limits);
}

int
main(void)
{
	trees_of_v1();
	trees_of_v2();
	namespaces();
	files_that_come_and_go();
	numbers_that_are_none();
	deep_tree();
	many_mounts();
	machine();
	the_process();
	a_real_group();
	fixture_end();
	return tap_done();
}
