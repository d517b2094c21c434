/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finds the memory cgroups that this process stands under, and their limits.
 *
 * Called by limits.c at the start and at every refresh; calls limits_parse.c.
 *
 *	/proc/self/cgroup -> path; mountinfo -> where that path begins
 *	own group, its parent ... up to the mount: one limits_group each
 *
 * What cannot be seen: a cgroup namespace, or a container's mount, shows a
 * part of the tree. v2 has no way to ask for limits further up; v1 says the
 * least of all in memory.stat (hierarchical_memory_limit), which then counts
 * as the limit of the topmost group that we see. No lock, no allocation.
 */
#include "pressure/limits_find.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/settings.h"

#define STAT_BYTES 8192

/* One owner. Rarely more than a few pages of it are touched. */
static char text[65536];

/* Where a hierarchy is mounted, and what part of it. */
struct mount {
	int found; /* 0, or -ENOENT */
	char point[LIMITS_PATH_BYTES], root[LIMITS_PATH_BYTES];
};

static void say(struct limits *limits, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The first thing that is wrong is what is told. */
static void
say(struct limits *limits, const char *format, ...)
{
	va_list arguments;

	if (limits->why[0])
		return;
	va_start(arguments, format);
	vsnprintf(limits->why, sizeof limits->why, format, arguments);
	va_end(arguments);
}

int
limits_find_path(const struct limits_group *group, const char *name, char *path)
{
	int n = snprintf(path, PATH_MAX, "%s/%s", group->path, name);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

const char *
limits_find_usage_name(const struct limits *limits)
{
	return limits->v2 ? "memory.current" : "memory.usage_in_bytes";
}

static bool
exists(const char *directory, const char *name)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof path, "%s/%s", directory, name);

	return n > 0 && n < PATH_MAX && access(path, F_OK) == 0;
}

static ssize_t
read_in(const struct limits_group *group, const char *name, char *into,
	size_t bytes)
{
	char path[PATH_MAX];
	int error = limits_find_path(group, name, path);

	return error ? error : file_read(path, into, bytes);
}

static int
open_in(const struct limits_group *group, const char *name)
{
	char path[PATH_MAX];

	return limits_find_path(group, name, path) ? -1 : file_open(path);
}

/* A limit that cannot be read is none, and said. Kept open, where wanted, in
 * *fd. */
static uint64_t
read_limit(struct limits *limits, const struct limits_group *group,
	   const char *name, int *fd)
{
	char number[64];
	uint64_t bytes = UINT64_MAX;
	ssize_t n;

	*fd = limits->keep_open ? open_in(group, name) : -1;
	n = *fd >= 0 ? file_pread_record(*fd, number, sizeof number) :
		       read_in(group, name, number, sizeof number);
	if (n < 0)
		say(limits, "%.150s/%s: %.60s", group->path, name,
		    file_strerror((int)n));
	else if (limits_parse_limit(number, &bytes) != 0)
		say(limits, "%.150s/%s: not a number", group->path, name);
	return bytes;
}

/* Adds the group at `path`, if the controller is there. */
static void
add_group(struct limits *limits, const char *path)
{
	struct limits_group *group = &limits->groups[limits->groups_count];

	if (limits->groups_count == LIMITS_GROUPS_MAX) {
		say(limits,
		    "more than %d groups: %.150s and above are left "
		    "out",
		    LIMITS_GROUPS_MAX, path);
		return;
	}
	if (!exists(path, limits_find_usage_name(limits)))
		return; /* v2's root, or a leaf that has no controller */
	memcpy(group->path, path, strlen(path) + 1);
	group->usage_fd = group->stat_fd = group->high_fd = -1;
	group->max_bytes = read_limit(limits, group,
				      limits->v2 ? "memory.max" :
						   "memory.limit_in_bytes",
				      &group->max_fd);
	group->high_bytes = limits->v2 ?
				    read_limit(limits, group, "memory.high",
					       &group->high_fd) :
				    UINT64_MAX;
	limits->groups_count++;
}

/* root + mount + below: 0 or -EINVAL. */
static int
join(char *directory, const char *mount, const char *below)
{
	const char *parts[] = { settings()->root, mount, below };
	size_t n = 0;

	for (unsigned i = 0; i < 3; i++) {
		size_t length = strlen(parts[i]);

		if (length >= LIMITS_PATH_BYTES - n)
			return -EINVAL;
		memcpy(directory + n, parts[i], length);
		n += length;
	}
	directory[n] = '\0';
	return 0;
}

/*
 * The directory of a cgroup path, seen through the mount's root. A path
 * outside of that root is what a namespace makes of it: the mount itself is
 * then the best there is.
 */
static int
locate(struct limits *limits, const struct mount *mount, char *directory)
{
	const char *path = limits->cgroup_line, *below = path;
	size_t root = strcmp(mount->root, "/") == 0 ? 0 : strlen(mount->root);

	if (strncmp(path, mount->root, root) != 0 ||
	    (path[root] && path[root] != '/') || strncmp(path, "/..", 3) == 0)
		below = NULL;
	else
		below += root;
	if (below &&
	    join(directory, mount->point,
		 strcmp(below, "/") == 0 ? "" : below) == 0 &&
	    access(directory, F_OK) == 0)
		return 0;
	limits->hidden = true;
	return join(directory, mount->point, "");
}

/* v1 without use_hierarchy (before Linux 5.11): a parent counts nothing. */
static bool
is_charged(const struct limits *limits, const char *parent)
{
	struct limits_group group = { .usage_fd = -1 };
	char number[16];

	if (limits->v2)
		return true;
	memcpy(group.path, parent, strlen(parent) + 1);
	return read_in(&group, "memory.use_hierarchy", number, sizeof number) <=
		       0 ||
	       number[0] != '0';
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
		if (!is_charged(limits, directory))
			return;
	}
}

/*
 * What is above the mount: `top` is its directory. The real root has files
 * that no other group has, and on v2 lacks those of the controller.
 */
static void
look_above(struct limits *limits, const char *top)
{
	struct limits_group *group;
	uint64_t visible = UINT64_MAX, bytes = UINT64_MAX;
	char stat[STAT_BYTES];

	if (limits->v2 ? exists(top, "memory.current") :
			 !exists(top, "release_agent") &&
				 !exists(top, "cgroup.sane_behavior"))
		limits->hidden = true;
	if (limits->v2 || !limits->groups_count)
		return;
	for (unsigned i = 0; i < limits->groups_count; i++)
		if (limits->groups[i].max_bytes < visible)
			visible = limits->groups[i].max_bytes;
	if (read_in(&limits->groups[0], "memory.stat", stat, sizeof stat) <=
		    0 ||
	    file_field(stat, "hierarchical_memory_limit", &bytes) != 0)
		return;
	group = &limits->groups[limits->groups_count - 1];
	if (bytes < visible && bytes < INT64_MAX / 65536 * 65536) {
		group->max_bytes = bytes;
		limits->hidden = true;
	}
}

/* Takes the hierarchy's own root where there is one, else the first. */
static void
consider(struct mount *mount, const char *lines, bool v2)
{
	char point[LIMITS_PATH_BYTES], root[LIMITS_PATH_BYTES];

	if (limits_parse_mountinfo(lines, v2, point, sizeof point, root,
				   sizeof root) != 0 ||
	    (mount->found == 0 && strcmp(root, "/") != 0))
		return;
	memcpy(mount->point, point, strlen(point) + 1);
	memcpy(mount->root, root, strlen(root) + 1);
	mount->found = 0;
}

/* mountinfo may be longer than any buffer: read in pieces of whole lines. */
static void
find_mount(bool v2, struct mount *mount)
{
	char path[PATH_MAX];
	size_t have = 0;
	off_t offset = 0;
	ssize_t n;
	int fd;

	mount->found = -ENOENT;
	if (file_path(path, sizeof path, settings()->root,
		      "/proc/self/mountinfo") != 0 ||
	    (fd = file_open(path)) < 0)
		return;
	while ((n = pread(fd, text + have, sizeof text - 1 - have, offset)) >
	       0) {
		char *end;

		have += (size_t)n;
		offset += n;
		text[have] = '\0';
		end = memrchr(text, '\n', have);
		if (end) {
			*end = '\0';
			consider(mount, text, v2);
			have -= (size_t)(end + 1 - text);
			memmove(text, end + 1, have);
		} else if (have == sizeof text - 1) {
			have = 0; /* no line of ours is that long */
		}
	}
	text[have] = '\0';
	consider(mount, text, v2);
	close(fd);
}

static void
open_groups(struct limits *limits)
{
	for (unsigned i = 0; i < limits->groups_count; i++) {
		struct limits_group *group = &limits->groups[i];

		if (group->max_bytes == UINT64_MAX &&
		    group->high_bytes == UINT64_MAX)
			continue;
		group->usage_fd = open_in(group,
					  limits_find_usage_name(limits));
		group->stat_fd = open_in(group, "memory.stat");
		/* The kernel has a buffer for it from now on, not only when
		 * memory is short. */
		if (group->stat_fd >= 0)
			file_pread_record(group->stat_fd, text, sizeof text);
	}
}

/* The own group's path: its version, or an error of limits_parse_cgroup();
 * -EIO: there is no such file. */
static int
read_cgroup_line(struct limits *limits, char *line, size_t bytes)
{
	char path[PATH_MAX];
	ssize_t n;

	if (file_path(path, sizeof path, settings()->root,
		      "/proc/self/cgroup") != 0)
		return -EIO;
	if (limits->cgroup_fd < 0 && limits->keep_open)
		limits->cgroup_fd = file_open(path);
	n = limits->cgroup_fd >= 0 ?
		    file_pread(limits->cgroup_fd, text, sizeof text) :
		    file_read(path, text, sizeof text);
	return n <= 0 ? -EIO : limits_parse_cgroup(text, line, bytes);
}

/* The limit behind a kept descriptor; where there never was such a file, what
 * it was. */
static bool
read_again(int fd, uint64_t *bytes)
{
	char number[64];

	return fd < 0 || (file_pread_record(fd, number, sizeof number) > 0 &&
			  limits_parse_limit(number, bytes) == 0);
}

bool
limits_find_again(struct limits *limits)
{
	char line[LIMITS_PATH_BYTES];

	if (!limits->keep_open || !limits->groups_count || limits->hidden ||
	    limits->why[0] ||
	    read_cgroup_line(limits, line, sizeof line) !=
		    (limits->v2 ? 2 : 1) ||
	    strcmp(line, limits->cgroup_line) != 0)
		return false;
	for (unsigned i = 0; i < limits->groups_count; i++) {
		struct limits_group *group = &limits->groups[i];

		if (!read_again(group->max_fd, &group->max_bytes) ||
		    !read_again(group->high_fd, &group->high_bytes))
			return false;
		if (group->usage_fd < 0 && (group->max_bytes != UINT64_MAX ||
					    group->high_bytes != UINT64_MAX))
			return false; /* its files are to be opened */
	}
	return true;
}

int
limits_find_groups(struct limits *limits)
{
	char directory[LIMITS_PATH_BYTES], top[LIMITS_PATH_BYTES];
	struct mount mount;
	int version;

	limits->groups_count = 0;
	limits->hidden = false;
	limits->cgroup_line[0] = '\0';
	version = read_cgroup_line(limits, limits->cgroup_line,
				   sizeof limits->cgroup_line);
	if (version == -EIO) {
		say(limits, "/proc/self/cgroup cannot be read");
		return -ENOENT;
	}
	if (version < 0) {
		limits->cgroup_line[0] = '\0';
		say(limits, version == -ENOENT ?
				    "no memory controller in "
				    "/proc/self/cgroup" :
				    "the path in /proc/self/cgroup is too "
				    "long");
		return version;
	}
	limits->v2 = version == 2;
	find_mount(limits->v2, &mount);
	if (mount.found != 0) {
		say(limits, "cgroup v%d is not mounted", version);
		return -ENOENT;
	}
	if (join(top, mount.point, "") != 0 ||
	    locate(limits, &mount, directory) != 0) {
		say(limits, "the path of the cgroup mount is too long");
		return -EINVAL;
	}
	climb(limits, directory, strlen(top));
	look_above(limits, top);
	if (!limits->groups_count)
		say(limits, "%.200s: no %s in it or above", directory,
		    limits_find_usage_name(limits));
	if (limits->keep_open)
		open_groups(limits);
	return 0;
}

static void
close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void
limits_find_close(struct limits *limits)
{
	for (unsigned i = 0; i < limits->groups_count; i++) {
		struct limits_group *group = &limits->groups[i];

		close_one(&group->usage_fd);
		close_one(&group->stat_fd);
		close_one(&group->max_fd);
		close_one(&group->high_fd);
	}
	close_one(&limits->cgroup_fd);
	limits->groups_count = 0;
}
