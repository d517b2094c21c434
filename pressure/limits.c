/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every limit above this process, and the headroom below the nearest.
 *
 * Called by the monitor (descriptors kept open in its own table), by the gate
 * under threads:never, and by `spillway pressure`. limits_refresh() finds out
 * where the process is (limits_parse.c); limits_read() reads usage.
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

#include "base/file.h"
#include "base/log.h"
#include "base/settings.h"
#include "base/units.h"

#define TEXT_BYTES 8192
#define PAGE_BYTES 4096ull
/* A machine with more than this free is looked at every 16th time. */
#define MACHINE_NEAR_BYTES (2ull << 30)
#define MACHINE_EVERY 16

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

static int
group_path(const struct limits_group *group, const char *name, char *path)
{
	int n = snprintf(path, PATH_MAX, "%s/%s", group->path, name);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static uint64_t
read_limit(const struct limits_group *group, const char *name)
{
	char path[PATH_MAX], text[64];
	uint64_t bytes = UINT64_MAX;

	if (group_path(group, name, path) != 0 ||
	    file_read(path, text, sizeof text) <= 0 ||
	    limits_parse_limit(text, &bytes) != 0)
		return UINT64_MAX;
	return bytes;
}

static int
open_in_group(const struct limits_group *group, const char *name)
{
	char path[PATH_MAX];

	return group_path(group, name, path) ? -1 : file_open(path);
}

static void
close_group(struct limits_group *group)
{
	if (group->usage_fd >= 0)
		close(group->usage_fd);
	if (group->stat_fd >= 0)
		close(group->stat_fd);
	group->usage_fd = group->stat_fd = -1;
}

static const char *
usage_name(const struct limits *limits)
{
	return limits->v2 ? "memory.current" : "memory.usage_in_bytes";
}

/* Adds the group at `path`, if there is one: its limits, its files. */
static void
add_group(struct limits *limits, const char *path)
{
	struct limits_group *group = &limits->groups[limits->groups_count];
	char usage[PATH_MAX];

	if (limits->groups_count == LIMITS_GROUPS_MAX ||
	    strlen(path) >= sizeof group->path)
		return;
	strcpy(group->path, path);
	group->usage_fd = group->stat_fd = -1;
	if (group_path(group, usage_name(limits), usage) != 0 ||
	    access(usage, R_OK) != 0)
		return; /* v2's root has none */
	group->max_bytes = read_limit(
		group, limits->v2 ? "memory.max" : "memory.limit_in_bytes");
	group->high_bytes = limits->v2 ? read_limit(group, "memory.high") :
					 UINT64_MAX;
	if (limits->keep_open) {
		group->usage_fd = open_in_group(group, usage_name(limits));
		group->stat_fd = open_in_group(group, "memory.stat");
	}
	limits->groups_count++;
}

/* Root, mount and path below it; one that is too long is no directory. */
static void
join(char *directory, const char *mount, const char *below_mount)
{
	int n = snprintf(directory, LIMITS_PATH_BYTES, "%.1000s%.1000s%.1000s",
			 settings()->root, mount, below_mount);

	if (n < 0 || n >= LIMITS_PATH_BYTES)
		directory[0] = '\0';
}

/*
 * The directory of a cgroup path below its mount, seen through the mount's
 * root. A path outside of that root is what a namespace makes of it: the
 * mount itself is then the best there is.
 */
static void
locate(struct limits *limits, const char *mount, const char *mount_root,
       const char *path, char *directory)
{
	size_t root = strcmp(mount_root, "/") == 0 ? 0 : strlen(mount_root);
	const char *below = path + root;
	char usage[PATH_MAX];

	limits->hidden = false;
	if (strncmp(path, mount_root, root) != 0 || (*below && *below != '/') ||
	    strncmp(path, "/..", 3) == 0) {
		limits->hidden = true;
		below = "";
	}
	if (strcmp(below, "/") == 0)
		below = "";
	join(directory, mount, below);
	snprintf(usage, sizeof usage, "%s/%s", directory, usage_name(limits));
	if (*below && access(usage, F_OK) != 0) {
		limits->hidden = true;
		join(directory, mount, "");
	}
}

/* From the own group up to where the hierarchy is mounted. */
static void
climb(struct limits *limits, char *directory, size_t mount_length)
{
	for (;;) {
		char *slash;

		add_group(limits, directory);
		if (strlen(directory) <= mount_length)
			return;
		slash = strrchr(directory, '/');
		if (!slash || (size_t)(slash - directory) < mount_length)
			return;
		*slash = '\0';
	}
}

static int
find_groups(struct limits *limits)
{
	static char text[65536]; /* mountinfo; one owner */
	char path[LIMITS_PATH_BYTES], mount[LIMITS_PATH_BYTES];
	char mount_root[LIMITS_PATH_BYTES], directory[LIMITS_PATH_BYTES];
	int version;

	limits->groups_count = 0;
	if (read_below_root("/proc/self/cgroup", text, sizeof text) <= 0) {
		snprintf(limits->why, sizeof limits->why,
			 "/proc/self/cgroup cannot be read");
		return -ENOENT;
	}
	version = limits_parse_cgroup(text, path, sizeof path);
	if (version < 0) {
		snprintf(limits->why, sizeof limits->why,
			 "no memory controller in /proc/self/cgroup");
		return version;
	}
	limits->v2 = version == 2;
	strcpy(limits->cgroup_line, path);
	if (read_below_root("/proc/self/mountinfo", text, sizeof text) <= 0 ||
	    limits_parse_mountinfo(text, limits->v2, mount, sizeof mount,
				   mount_root, sizeof mount_root) != 0) {
		snprintf(limits->why, sizeof limits->why,
			 "cgroup v%d is not mounted", version);
		return -ENOENT;
	}
	locate(limits, mount, mount_root, path, directory);
	climb(limits, directory, strlen(settings()->root) + strlen(mount));
	if (!limits->groups_count)
		snprintf(limits->why, sizeof limits->why, "%.200s has no %s",
			 directory, usage_name(limits));
	return 0;
}

static uint64_t
rlimit_bytes(int resource)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	return limit.rlim_cur;
}

static int
look_around(struct limits *limits)
{
	int error = 0;

	limits->why[0] = '\0';
	limits->rlimit_as = wanted(SETTINGS_RLIMIT) ? rlimit_bytes(RLIMIT_AS) :
						      UINT64_MAX;
	limits->rlimit_data = wanted(SETTINGS_RLIMIT) ?
				      rlimit_bytes(RLIMIT_DATA) :
				      UINT64_MAX;
	if (wanted(SETTINGS_CGROUP))
		error = find_groups(limits);
	else
		snprintf(limits->why, sizeof limits->why, "cgroup:off");
	return error == -ENOENT ? 0 : error;
}

int
limits_open(struct limits *limits, bool keep_open)
{
	memset(limits, 0, sizeof *limits);
	limits->keep_open = keep_open;
	limits->meminfo_fd = limits->statm_fd = -1;
	if (keep_open) {
		limits->meminfo_fd = open_below_root("/proc/meminfo");
		limits->statm_fd = open_below_root("/proc/self/statm");
	}
	return look_around(limits);
}

void
limits_close(struct limits *limits)
{
	for (unsigned i = 0; i < limits->groups_count; i++)
		close_group(&limits->groups[i]);
	if (limits->meminfo_fd >= 0)
		close(limits->meminfo_fd);
	if (limits->statm_fd >= 0)
		close(limits->statm_fd);
	limits->groups_count = 0;
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

	for (unsigned i = 0; i < limits->groups_count; i++)
		close_group(&limits->groups[i]);
	look_around(limits);
	return fingerprint(limits) != before;
}

/* ---- reading usage ---- */

static ssize_t
read_group(const struct limits_group *group, int fd, const char *name,
	   char *text, size_t bytes)
{
	char path[PATH_MAX];

	if (fd >= 0)
		return file_pread(fd, text, bytes);
	return group_path(group, name, path) ? -ENAMETOOLONG :
					       file_read(path, text, bytes);
}

static uint64_t
field_or_0(const char *text, const char *key)
{
	uint64_t number;

	return file_field(text, key, &number) == 0 ? number : 0;
}

/* Page cache (and on v2 slab) of the group that costs nothing to drop. */
static uint64_t
reclaimable(const struct limits *limits, const struct limits_group *group)
{
	static const char *const v1[] = { "total_inactive_file",
					  "total_active_file", "total_dirty",
					  "total_writeback" };
	static const char *const v2[] = { "inactive_file", "active_file",
					  "file_dirty", "file_writeback" };
	const char *const *keys = limits->v2 ? v2 : v1;
	char text[TEXT_BYTES];
	uint64_t file, busy;

	if (read_group(group, group->stat_fd, "memory.stat", text,
		       sizeof text) <= 0)
		return 0;
	file = field_or_0(text, keys[0]) + field_or_0(text, keys[1]);
	busy = field_or_0(text, keys[2]) + field_or_0(text, keys[3]);
	file -= busy < file ? busy : file;
	return file + (limits->v2 ? field_or_0(text, "slab_reclaimable") : 0);
}

static uint64_t
below(uint64_t limit, uint64_t usage)
{
	return usage < limit ? limit - usage : 0;
}

/* Takes a limit into the reading if it is the tightest. */
static void
consider(struct limits_reading *reading, enum limits_kind kind, unsigned group,
	 uint64_t limit, uint64_t usage, uint64_t cache, bool stat_read)
{
	uint64_t raw = below(limit, usage);
	uint64_t net = below(limit, usage - (cache < usage ? cache : usage));

	if (limit == UINT64_MAX)
		return;
	if (raw < reading->headroom_raw_bytes)
		reading->headroom_raw_bytes = raw;
	if (net >= reading->headroom_bytes)
		return;
	reading->kind = kind;
	reading->group = group;
	reading->limit_bytes = limit;
	reading->usage_bytes = usage;
	reading->cache_bytes = cache;
	reading->headroom_bytes = net;
	reading->stat_read = stat_read;
}

static void
read_one_group(struct limits *limits, unsigned index, uint64_t stat_below,
	       struct limits_reading *reading)
{
	struct limits_group *group = &limits->groups[index];
	uint64_t tightest = group->max_bytes < group->high_bytes ?
				    group->max_bytes :
				    group->high_bytes;
	uint64_t usage, cache = 0;
	char text[64];
	bool near;

	if (tightest == UINT64_MAX)
		return;
	if (read_group(group, group->usage_fd, usage_name(limits), text,
		       sizeof text) <= 0 ||
	    limits_parse_limit(text, &usage) != 0)
		return;
	near = below(tightest, usage) < stat_below;
	if (near && settings()->pagecache == SETTINGS_PAGECACHE_IGNORE)
		cache = reclaimable(limits, group);
	consider(reading, limits->v2 ? LIMITS_V2_MAX : LIMITS_V1, index,
		 group->max_bytes, usage, cache, near);
	consider(reading, LIMITS_V2_HIGH, index, group->high_bytes, usage,
		 cache, near);
}

/* MemAvailable counts reclaimable cache already. */
static void
read_machine(struct limits *limits, struct limits_reading *reading)
{
	char text[TEXT_BYTES];
	uint64_t kib;

	if (limits->machine_available < MACHINE_NEAR_BYTES ||
	    limits->reads % MACHINE_EVERY == 1) {
		ssize_t n = limits->meminfo_fd >= 0 ?
				    file_pread(limits->meminfo_fd, text,
					       sizeof text) :
				    read_below_root("/proc/meminfo", text,
						    sizeof text);
		if (n <= 0 || file_field(text, "MemTotal:", &kib) != 0)
			return;
		limits->machine_total = kib * 1024;
		if (file_field(text, "MemAvailable:", &kib) != 0)
			return;
		limits->machine_available = kib * 1024;
	}
	consider(reading, LIMITS_MACHINE, 0, limits->machine_total,
		 below(limits->machine_total, limits->machine_available), 0,
		 true);
}

/* statm: size resident shared text lib data dt, in pages. */
static bool
read_statm(struct limits *limits, uint64_t pages[7])
{
	char text[256];
	const char *at = text;
	ssize_t n = limits->statm_fd >= 0 ?
			    file_pread(limits->statm_fd, text, sizeof text) :
			    read_below_root("/proc/self/statm", text,
					    sizeof text);

	if (n <= 0)
		return false;
	for (unsigned i = 0; i < 7; i++) {
		size_t digits = strspn(at, "0123456789");

		if (units_parse_number(at, digits, &pages[i]) != 0)
			return false;
		at += digits;
		at += *at == ' ';
	}
	return true;
}

static void
read_process(struct limits *limits, struct limits_reading *reading)
{
	uint64_t own = atomic_load_explicit(&settings()->limit_bytes,
					    memory_order_relaxed);
	uint64_t pages[7];

	if (own == UINT64_MAX && limits->rlimit_as == UINT64_MAX &&
	    limits->rlimit_data == UINT64_MAX)
		return;
	if (!read_statm(limits, pages))
		return;
	consider(reading, LIMITS_OWN, 0, own, pages[1] * PAGE_BYTES, 0, true);
	consider(reading, LIMITS_RLIMIT_AS, 0, limits->rlimit_as,
		 pages[0] * PAGE_BYTES, 0, true);
	consider(reading, LIMITS_RLIMIT_DATA, 0, limits->rlimit_data,
		 pages[5] * PAGE_BYTES, 0, true);
}

void
limits_read(struct limits *limits, uint64_t stat_below_bytes,
	    struct limits_reading *reading)
{
	memset(reading, 0, sizeof *reading);
	reading->limit_bytes = UINT64_MAX;
	reading->headroom_bytes = UINT64_MAX;
	reading->headroom_raw_bytes = UINT64_MAX;
	limits->reads++;
	for (unsigned i = 0; i < limits->groups_count; i++)
		read_one_group(limits, i, stat_below_bytes, reading);
	if (wanted(SETTINGS_MACHINE))
		read_machine(limits, reading);
	read_process(limits, reading);
}
