/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's cgroup notifications: v1 usage thresholds and pressure_level,
 * v2 memory.events.
 *
 * Usage: notify_open(), poll what notify_fds() gives, notify_read().
 *
 * Caveats: one owner, the monitor, in whose descriptor table everything
 * lives. Allocation-free but for the arming thread (notify_arm). Level "low"
 * and oom_kill_disable are never used: the one is noise, the other deadlocks.
 */
#ifndef PRESSURE_NOTIFY_H
#define PRESSURE_NOTIFY_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "pressure/limits.h"
#include "pressure/sources.h"

#define NOTIFY_THRESHOLDS_MAX 4
#define NOTIFY_LEVELS 2     /* medium, critical */
#define NOTIFY_EVENTS_MAX 2 /* own group, tightest ancestor */

struct notify_events {
	int fd;
	unsigned group;
	uint64_t high, max, oom;
};

struct notify {
	/* v1; descriptors are -1 where there is none. */
	_Atomic int threshold_fd[NOTIFY_THRESHOLDS_MAX];
	uint64_t headroom[NOTIFY_THRESHOLDS_MAX];
	uint64_t armed_limit;
	char armed_path[LIMITS_PATH_BYTES];
	_Atomic int arming;
	_Atomic bool closing;
	_Atomic bool armed;
	uint64_t armed_ns;
	int level_fd[NOTIFY_LEVELS];
	/* v2 */
	struct notify_events events[NOTIFY_EVENTS_MAX];
	unsigned events_count;
	char why_v1[128], why_v2[128];
};

void notify_open(struct notify *notify, const struct limits *limits);
void notify_close(struct notify *notify);

/* Adds to polls, at most polls_max; returns how many. */
unsigned notify_fill(struct notify *notify, struct pollfd *polls,
		     unsigned polls_max);

/* Consumes what is ready among these descriptors. */
void notify_read(struct notify *notify, const struct pollfd *polls,
		 unsigned count, struct sources_news *news);

/* See sources_arm(). */
void notify_arm(struct notify *notify, const struct limits_group *group,
		uint64_t limit_bytes, const uint64_t *headrooms,
		unsigned count);

/* memory.events text: 0 or -EINVAL. */
int notify_parse_events(const char *text, uint64_t *high, uint64_t *max,
			uint64_t *oom);

#endif
