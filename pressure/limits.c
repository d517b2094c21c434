/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every limit above this process, and the headroom below the nearest.
 *
 * Called by the monitor (descriptors kept open in its own table), by the gate
 * under threads:never, and by `spillway pressure`. limits_refresh() finds out
 * where the process is (limits_find.c); limits_read() reads usage.
 *
 * Page cache: what the kernel can drop without writing is headroom, unless the
 * user says pagecache:share. memory.stat, which tells how much, costs 3 us and
 * is read only for groups that are near their limit.
 *
 * A file that cannot be read takes its limit out of the reading: no source is
 * better than a wrong one. No lock, no allocation.
 */
#include "pressure/limits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/settings.h"
#include "pressure/limits_find.h"

#define TEXT_BYTES 8192
/* A machine with more than this free is not looked at each time, but before
 * eight threads that touch fresh pages could have brought it there. */
#define MACHINE_NEAR_BYTES (2ull << 30)
#define MACHINE_BYTES_PER_NS 20
#define MACHINE_OLD_NS (20 * CLOCK_MS)
/* Mounts, namespaces and the like are looked at every so many refreshes. */
#define FIND_EVERY 16

static bool
wanted(unsigned source)
{
	return atomic_load_explicit(&settings()->sources,
				    memory_order_relaxed) &
	       source;
}

const char *
limits_kind_name(enum limits_kind kind)
{
	static const char *const names[] = {
		[LIMITS_NONE] = "none",
		[LIMITS_V1] = "cgroup v1 memory.limit_in_bytes",
		[LIMITS_V2_MAX] = "cgroup v2 memory.max",
		[LIMITS_V2_HIGH] = "cgroup v2 memory.high",
		[LIMITS_MACHINE] = "machine",
		[LIMITS_RLIMIT_AS] = "RLIMIT_AS",
		[LIMITS_RLIMIT_DATA] = "RLIMIT_DATA",
		[LIMITS_OWN] = "limit:",
	};

	return (unsigned)kind < sizeof names / sizeof *names ? names[kind] :
							       "unknown";
}

static int
open_below_root(const char *path)
{
	char full[PATH_MAX];
	int error = file_path(full, sizeof full, settings()->root, path);

	return error ? error : file_open(full);
}

static ssize_t
read_below_root(const char *path, char *text, size_t bytes)
{
	char full[PATH_MAX];
	int error = file_path(full, sizeof full, settings()->root, path);

	return error ? error : file_read(full, text, bytes);
}

static uint64_t
rlimit_of(int resource)
{
	struct rlimit limit;

	if (!wanted(SETTINGS_RLIMIT) || getrlimit(resource, &limit) != 0 ||
	    limit.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	return limit.rlim_cur;
}

static void
read_rlimits(struct limits *limits)
{
	limits->rlimit_as = rlimit_of(RLIMIT_AS);
	limits->rlimit_data = rlimit_of(RLIMIT_DATA);
}

static int
look_around(struct limits *limits)
{
	int error = 0;

	limits->why[0] = '\0';
	read_rlimits(limits);
	if (wanted(SETTINGS_CGROUP))
		error = limits_find_groups(limits);
	else
		snprintf(limits->why, sizeof limits->why, "cgroup:off");
	return error == -ENOENT ? 0 : error;
}

int
limits_open(struct limits *limits, bool keep_open)
{
	memset(limits, 0, sizeof *limits);
	limits->keep_open = keep_open;
	limits->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	limits->meminfo_fd = limits->statm_fd = limits->cgroup_fd = -1;
	if (keep_open) {
		limits->meminfo_fd = open_below_root("/proc/meminfo");
		limits->statm_fd = open_below_root("/proc/self/statm");
	}
	return look_around(limits);
}

void
limits_close(struct limits *limits)
{
	limits_find_close(limits);
	if (limits->meminfo_fd >= 0)
		close(limits->meminfo_fd);
	if (limits->statm_fd >= 0)
		close(limits->statm_fd);
	limits->meminfo_fd = limits->statm_fd = -1;
}

/* What a refresh may change, folded to one number. */
static uint64_t
fingerprint(const struct limits *limits)
{
	uint64_t sum = limits->rlimit_as * 31 + limits->rlimit_data * 37;

	for (unsigned i = 0; i < limits->groups_count; i++)
		sum = sum * 41 + limits->groups[i].max_bytes * 3 +
		      limits->groups[i].high_bytes;
	for (const char *c = limits->cgroup_line; *c; c++)
		sum = sum * 43 + (unsigned char)*c;
	return sum;
}

bool
limits_refresh(struct limits *limits)
{
	uint64_t before = fingerprint(limits);
	bool due = limits->refreshes++ % FIND_EVERY == 0 && !limits->throttled;

	if (wanted(SETTINGS_CGROUP) && limits_find_again(limits)) {
		read_rlimits(limits);
		if (!due || fingerprint(limits) != before)
			return fingerprint(limits) != before;
	}
	limits_find_close(limits);
	look_around(limits);
	return fingerprint(limits) != before;
}

/* ---- reading usage ---- */

/* The kept descriptor, else by name; a descriptor that fails is not trusted. */
static ssize_t
read_group(const struct limits_group *group, int fd, const char *name,
	   char *text, size_t bytes)
{
	char path[PATH_MAX];

	if (fd >= 0)
		return file_pread_record(fd, text, bytes);
	return limits_find_path(group, name, path) ?
		       -ENAMETOOLONG :
		       file_read(path, text, bytes);
}

static uint64_t
below(uint64_t limit, uint64_t usage)
{
	return usage < limit ? limit - usage : 0;
}

/* Takes a limit into the reading if it is the tightest. */
static void
consider(struct limits_reading *reading, const struct limits_reading *one)
{
	uint64_t raw = below(one->limit_bytes, one->usage_bytes);
	uint64_t net = below(one->limit_bytes, limits_held_bytes(one));
	uint64_t raw_least = raw < reading->headroom_raw_bytes ?
				     raw :
				     reading->headroom_raw_bytes;
	uint64_t above = reading->headroom_above_bytes;

	if (one->limit_bytes == UINT64_MAX)
		return;
	if (net < reading->headroom_bytes) {
		/* Groups come first, from the own one up, then the machine:
		 * what was nearest so far is below, or the same group. */
		*reading = *one;
		reading->headroom_bytes = net;
		above = UINT64_MAX;
	} else if (one->kind == LIMITS_MACHINE || one->group > reading->group) {
		above = net < above ? net : above;
	}
	reading->headroom_raw_bytes = raw_least;
	reading->headroom_above_bytes = above;
}

static void
read_one_group(struct limits *limits, unsigned index, uint64_t stat_below,
	       struct limits_reading *reading)
{
	const struct limits_group *group = &limits->groups[index];
	struct limits_reading one = { .group = index };
	uint64_t tightest = group->max_bytes < group->high_bytes ?
				    group->max_bytes :
				    group->high_bytes;
	char text[TEXT_BYTES];

	if (tightest == UINT64_MAX)
		return;
	if (read_group(group, group->usage_fd, limits_find_usage_name(limits),
		       text, 64) <= 0 ||
	    limits_parse_usage(text, &one.usage_bytes) != 0)
		return;
	if (below(tightest, one.usage_bytes) < stat_below &&
	    atomic_load_explicit(&settings()->pagecache,
				 memory_order_relaxed) ==
		    SETTINGS_PAGECACHE_IGNORE &&
	    read_group(group, group->stat_fd, "memory.stat", text,
		       sizeof text) > 0) {
		one.cache_bytes = limits_parse_stat(text, limits->v2);
		one.stat_read = true;
	}
	one.kind = limits->v2 ? LIMITS_V2_MAX : LIMITS_V1;
	one.limit_bytes = group->max_bytes;
	consider(reading, &one);
	one.kind = LIMITS_V2_HIGH;
	one.limit_bytes = group->high_bytes;
	consider(reading, &one);
}

static uint64_t
machine_lasts_ns(const struct limits *limits)
{
	uint64_t spare = below(limits->machine_available, MACHINE_NEAR_BYTES);

	return spare ? MACHINE_OLD_NS + spare / MACHINE_BYTES_PER_NS : 0;
}

/* MemAvailable counts reclaimable cache already. */
static void
read_machine(struct limits *limits, struct limits_reading *reading)
{
	struct limits_reading one = { .kind = LIMITS_MACHINE,
				      .stat_read = true };
	char text[TEXT_BYTES];
	uint64_t now = clock_now_ns();

	if (now - limits->machine_ns >= machine_lasts_ns(limits)) {
		ssize_t n = limits->meminfo_fd >= 0 ?
				    file_pread_record(limits->meminfo_fd, text,
						      sizeof text) :
				    read_below_root("/proc/meminfo", text,
						    sizeof text);

		limits->machine_available = 0; /* until it is known again */
		if (n <= 0 ||
		    limits_parse_meminfo(text, &limits->machine_total,
					 &limits->machine_available) != 0)
			return;
		limits->machine_ns = now;
	}
	one.limit_bytes = limits->machine_total;
	one.usage_bytes = below(limits->machine_total,
				limits->machine_available);
	consider(reading, &one);
}

/* By a descriptor that is kept open, or -1. */
static bool
read_statm(int fd, uint64_t pages[7])
{
	char text[256];
	ssize_t n = fd >= 0 ? file_pread_record(fd, text, sizeof text) :
			      read_below_root("/proc/self/statm", text,
					      sizeof text);

	return n > 0 && limits_parse_statm(text, pages) == 0;
}

uint64_t
limits_read_resident(int statm_fd)
{
	uint64_t pages[7];

	return read_statm(statm_fd, pages) ?
		       pages[1] * (uint64_t)sysconf(_SC_PAGESIZE) :
		       0;
}

static void
read_process(struct limits *limits, struct limits_reading *reading)
{
	struct limits_reading one = { .stat_read = true };
	uint64_t pages[7];

	if (!read_statm(limits->statm_fd, pages))
		return;
	one.kind = LIMITS_OWN;
	one.limit_bytes = atomic_load_explicit(&settings()->limit_bytes,
					       memory_order_relaxed);
	one.usage_bytes = pages[1] * limits->page_bytes;
	consider(reading, &one);
	/* These count address space, which no purge gives back: what the heap
	 * has free of it is room. */
	one.kind = LIMITS_RLIMIT_AS;
	one.limit_bytes = limits->rlimit_as;
	one.usage_bytes = below(pages[0] * limits->page_bytes,
				limits->heap_free_bytes);
	consider(reading, &one);
	one.kind = LIMITS_RLIMIT_DATA;
	one.limit_bytes = limits->rlimit_data;
	one.usage_bytes = below(pages[5] * limits->page_bytes,
				limits->heap_free_bytes);
	consider(reading, &one);
	reading->resident_bytes = pages[1] * limits->page_bytes;
}

void
limits_read(struct limits *limits, uint64_t stat_below_bytes,
	    struct limits_reading *reading)
{
	memset(reading, 0, sizeof *reading);
	reading->limit_bytes = UINT64_MAX;
	reading->headroom_bytes = UINT64_MAX;
	reading->headroom_raw_bytes = UINT64_MAX;
	reading->headroom_above_bytes = UINT64_MAX;
	for (unsigned i = 0; i < limits->groups_count; i++)
		read_one_group(limits, i, stat_below_bytes, reading);
	if (wanted(SETTINGS_MACHINE))
		read_machine(limits, reading);
	read_process(limits, reading);
	limits->throttled = limits_is_throttled(reading);
}
