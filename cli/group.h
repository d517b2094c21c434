/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A memory cgroup of the demonstration's own, v1 or v2.
 *
 * Usage: group_create(), group_enter() in a child between fork and exec,
 * group_remove() when the children are gone.
 *
 * Caveats: needs permission to make a group below the own one or one of its
 * ancestors; without it group_create() says why and the caller does without.
 */
#ifndef CLI_GROUP_H
#define CLI_GROUP_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct group {
	bool v2;
	char path[PATH_MAX];
	char why[256]; /* why there is none */
};

/* Without swap. 0 or -errno with why. */
int group_create(struct group *group, uint64_t limit_bytes);

/* The calling process moves in: 0 or -errno. Async-signal-safe. */
int group_enter(const struct group *group);

/* UINT64_MAX where it cannot be read. */
uint64_t group_usage(const struct group *group);
uint64_t group_peak(const struct group *group);
uint64_t group_kills(const struct group *group);

/* Waits a moment for the last process to be gone: 0 or -errno. */
int group_remove(struct group *group);

#endif
