/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * inotify on memory.limit_in_bytes (v1), memory.max and memory.high (v2) of
 * each group on the way up.
 *
 * Called by sources.c on the monitor. An idle process sleeps for long, and v1
 * thresholds are absolute: when a limit fell to just above what is used there
 * was no event before the kill. No lock, no allocation.
 */
#include "pressure/watch.h"

#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/file.h"

static void
add(struct watch *watch, const struct limits_group *group, const char *name)
{
	char path[PATH_MAX];

	if (file_path(path, sizeof path, group->path, name) == 0 &&
	    inotify_add_watch(watch->fd, path, IN_MODIFY) >= 0)
		watch->files++;
	else if (!watch->why[0])
		snprintf(watch->why, sizeof watch->why, "%s: %s", name,
			 file_strerror(errno));
}

void
watch_open(struct watch *watch, const struct limits *limits)
{
	*watch = (struct watch){ .fd = -1 };
	if (!limits->groups_count) {
		snprintf(watch->why, sizeof watch->why, "no control group");
		return;
	}
	watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (watch->fd < 0) {
		snprintf(watch->why, sizeof watch->why, "inotify: %s",
			 file_strerror(errno));
		return;
	}
	for (unsigned i = 0; i < limits->groups_count; i++) {
		if (!limits->v2) {
			add(watch, &limits->groups[i],
			    "/memory.limit_in_bytes");
			continue;
		}
		add(watch, &limits->groups[i], "/memory.max");
		add(watch, &limits->groups[i], "/memory.high");
	}
	if (!watch->files)
		watch_close(watch);
}

void
watch_close(struct watch *watch)
{
	if (watch->fd >= 0)
		close(watch->fd);
	watch->fd = -1;
}

bool
watch_read(struct watch *watch)
{
	union {
		struct inotify_event event;
		char bytes[1024];
	} news;
	ssize_t n;
	bool written = false;

	/* Names are of directories alone: all events are of one size. */
	while ((n = read(watch->fd, &news, sizeof news)) > 0)
		for (ssize_t at = 0; at < n; at += (ssize_t)sizeof news.event) {
			const struct inotify_event *e =
				(const void *)(news.bytes + at);

			written |= (e->mask & (IN_MODIFY | IN_Q_OVERFLOW)) != 0;
		}
	return written;
}
