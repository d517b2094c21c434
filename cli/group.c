/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making, reading and removing a memory cgroup.
 *
 * Called by demo.c; calls limits_open() of pressure/, which knows where the
 * own group and its ancestors are. Tried from the own group upwards, as a
 * group with processes in it cannot hand the memory controller down on v2.
 * Whether a process may move in is tried with a child, since that is a
 * permission of its own.
 */
#include "cli/group.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/units.h"
#include "pressure/limits.h"

#define PREFIX "spillway-demo-"
#define REMOVE_TRIES 200

/* Writes a file of the group; 0 or -errno. */
static int
put(const struct group *g, const char *file, const char *text)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof path, "%s/%s", g->path, file);
	return file_write(path, text, strlen(text));
}

static uint64_t
get(const struct group *g, const char *file, const char *key)
{
	char path[PATH_MAX + 64], text[1024];
	uint64_t number;
	int error;

	snprintf(path, sizeof path, "%s/%s", g->path, file);
	if (file_read(path, text, sizeof text) <= 0)
		return UINT64_MAX;
	if (key)
		error = file_field(text, key, &number);
	else
		error = units_parse_number(text, strspn(text, "0123456789"),
					   &number);
	return error ? UINT64_MAX : number;
}

/* Groups of demonstrations that were killed. */
static void
remove_leftovers(const char *parent)
{
	DIR *folder = opendir(parent);
	struct dirent *entry;

	while (folder && (entry = readdir(folder)) != NULL) {
		char path[PATH_MAX + 256];
		uint64_t pid;
		const char *digits = entry->d_name + strlen(PREFIX);

		if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0 ||
		    units_parse_number(digits, strlen(digits), &pid) != 0)
			continue;
		snprintf(path, sizeof path, "/proc/%llu",
			 (unsigned long long)pid);
		if (access(path, F_OK) == 0)
			continue;
		snprintf(path, sizeof path, "%s/%s", parent, entry->d_name);
		rmdir(path);
	}
	if (folder)
		closedir(folder);
}

static int
set_limit(const struct group *g, uint64_t limit_bytes)
{
	char text[32];
	int error;

	snprintf(text, sizeof text, "%llu", (unsigned long long)limit_bytes);
	if (g->v2) {
		error = put(g, "memory.max", text);
		put(g, "memory.swap.max", "0"); /* absent without swap */
		return error;
	}
	error = put(g, "memory.limit_in_bytes", text);
	put(g, "memory.swappiness", "0"); /* in a group: none at all */
	return error;
}

int
group_enter(const struct group *g)
{
	return put(g, "cgroup.procs", "0");
}

/* Whether a child may move in: 0 or -errno. */
static int
try_to_enter(const struct group *g)
{
	int status;
	pid_t child = fork();

	if (child < 0)
		return -errno;
	if (child == 0)
		_exit(-group_enter(g) & 0xff);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -ECANCELED;
}

/* Below this parent: 0 or -errno. */
static int
create_below(struct group *g, const char *parent, uint64_t limit_bytes)
{
	struct group above = { .v2 = g->v2 };
	int n, error;

	remove_leftovers(parent);
	snprintf(above.path, sizeof above.path, "%s", parent);
	n = snprintf(g->path, sizeof g->path, "%s/" PREFIX "%d", parent,
		     (int)getpid());
	if (n < 0 || (size_t)n >= sizeof g->path)
		return -ENAMETOOLONG;
	if (g->v2) /* fails where it is not allowed; the limit will tell */
		put(&above, "cgroup.subtree_control", "+memory");
	if (mkdir(g->path, 0755) != 0)
		return -errno;
	error = set_limit(g, limit_bytes);
	if (!error)
		error = try_to_enter(g);
	if (error)
		group_remove(g);
	return error;
}

int
group_create(struct group *g, uint64_t limit_bytes)
{
	static struct limits limits;
	int error = limits_open(&limits, false);

	memset(g, 0, sizeof *g);
	if (error || !limits.groups_count) {
		snprintf(g->why, sizeof g->why, "%.250s",
			 limits.why[0] ? limits.why : "no memory cgroups here");
		return error ? error : -ENOENT;
	}
	g->v2 = limits.v2;
	for (unsigned i = 0; i < limits.groups_count; i++) {
		int now = create_below(g, limits.groups[i].path, limit_bytes);

		if (!now) {
			limits_close(&limits);
			return 0;
		}
		if (i == 0 || now == -EACCES)
			error = now;
	}
	snprintf(g->why, sizeof g->why,
		 "no memory cgroup can be made below %.150s: %s",
		 limits.groups[0].path, strerror(-error));
	g->path[0] = '\0';
	limits_close(&limits);
	return error;
}

uint64_t
group_usage(const struct group *g)
{
	return get(g, g->v2 ? "memory.current" : "memory.usage_in_bytes", NULL);
}

uint64_t
group_peak(const struct group *g)
{
	return get(g, g->v2 ? "memory.peak" : "memory.max_usage_in_bytes",
		   NULL);
}

uint64_t
group_kills(const struct group *g)
{
	return get(g, g->v2 ? "memory.events" : "memory.oom_control",
		   "oom_kill");
}

int
group_remove(struct group *g)
{
	const struct timespec pause = { .tv_nsec = (long)(10 * CLOCK_MS) };
	int error = 0;

	if (!g->path[0])
		return 0;
	for (int i = 0; i < REMOVE_TRIES; i++) {
		error = rmdir(g->path) == 0 || errno == ENOENT ? 0 : -errno;
		if (error != -EBUSY)
			break;
		nanosleep(&pause, NULL);
	}
	if (!error)
		g->path[0] = '\0';
	return error;
}
