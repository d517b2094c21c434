/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where this process is among the memory cgroups, and what limits stand
 * there: the part of limits that is done again every few seconds.
 *
 * Usage: limits_find_groups(limits), after limits_find_close().
 *
 * Caveats: as limits.h; for limits.c alone.
 */
#ifndef PRESSURE_LIMITS_FIND_H
#define PRESSURE_LIMITS_FIND_H

#include <stddef.h>

#include "pressure/limits.h"

/*
 * Fills groups, v2, hidden, cgroup_line. 0, -ENOENT (none there) or -EINVAL,
 * both with limits->why.
 */
int limits_find_groups(struct limits *limits);

/*
 * Limits again, through what is kept open; false: the process has moved, or
 * something is not as it was, and all is to be found anew. What else could
 * have changed (mounts, use_hierarchy) is not looked at. Opens nothing: what a
 * thread opens is charged to its group, and above memory.high who is charged
 * sleeps for up to 2 s.
 */
bool limits_find_again(struct limits *limits);

/* Closes what the groups hold open, and forgets them. */
void limits_find_close(struct limits *limits);

/* The file of a group: 0 or -ENAMETOOLONG; path has PATH_MAX bytes. */
int limits_find_path(const struct limits_group *group, const char *name,
		     char *path);

/* "memory.current" or "memory.usage_in_bytes". */
const char *limits_find_usage_name(const struct limits *limits);

#endif
