/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cgroup notifications.
 *
 * v1: a threshold below the limit is the only notice that comes in time
 * without swap (median 50 us late); registering one takes 14 to 28 ms, so a
 * short-lived thread does it (arm_thread), made by the monitor and therefore
 * in the monitor's descriptor table. v2: memory.events is readable by anybody
 * and polls POLLPRI, at most once in 10 ms; reading from the start re-arms it.
 *
 * `arming` moves 0 -> 1 (monitor) -> 0 (thread, release): the monitor touches
 * the thresholds' members only while it is 0.
 */
#include "pressure/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "pressure/core.h"

#define REARM_NS CLOCK_S

static const char *const level_words[NOTIFY_LEVELS] = { "medium", "critical" };

int
notify_parse_events(const char *text, uint64_t *high, uint64_t *max,
		    uint64_t *oom)
{
	if (file_field(text, "high", high) != 0 ||
	    file_field(text, "max", max) != 0)
		return -EINVAL;
	if (file_field(text, "oom", oom) != 0)
		*oom = 0;
	return 0;
}

/*
 * Registers an eventfd for `file` of a v1 group: a descriptor or -errno.
 * "EVENT_FD FILE_FD ARGUMENT" goes to cgroup.event_control.
 */
static int
register_v1(const char *group, const char *file, const char *argument)
{
	char path[PATH_MAX], line[64];
	int control, target, event, n, error;

	snprintf(path, sizeof path, "%s/cgroup.event_control", group);
	control = open(path, O_WRONLY | O_CLOEXEC);
	if (control < 0)
		return -errno;
	snprintf(path, sizeof path, "%s/%s", group, file);
	target = open(path, O_RDONLY | O_CLOEXEC);
	event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	error = target < 0 || event < 0 ? -errno : 0;
	if (!error) {
		n = snprintf(line, sizeof line, "%d %d %s", event, target,
			     argument);
		if (write(control, line, (size_t)n) < 0)
			error = -errno;
	}
	if (target >= 0)
		close(target);
	close(control);
	if (error && event >= 0)
		close(event);
	return error ? error : event;
}

#define NO_GROUP "no memory control group was found"

static void
open_v1(struct notify *notify, const struct limits *limits)
{
	if (!limits->groups_count) {
		snprintf(notify->why_v1, sizeof notify->why_v1, NO_GROUP);
		return;
	}
	for (unsigned i = 0; i < NOTIFY_LEVELS; i++) {
		int fd = register_v1(limits->groups[0].path,
				     "memory.pressure_level", level_words[i]);

		notify->level_fd[i] = fd;
		if (fd < 0)
			snprintf(notify->why_v1, sizeof notify->why_v1,
				 "cgroup.event_control: %s", strerror(-fd));
	}
}

static void
open_events(struct notify *notify, const struct limits_group *group,
	    unsigned index)
{
	struct notify_events *e = &notify->events[notify->events_count];
	char path[PATH_MAX], text[512];

	snprintf(path, sizeof path, "%s/memory.events", group->path);
	e->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (e->fd < 0 || file_pread_record(e->fd, text, sizeof text) < 0 ||
	    notify_parse_events(text, &e->high, &e->max, &e->oom) != 0) {
		snprintf(notify->why_v2, sizeof notify->why_v2,
			 "memory.events: %s", strerror(errno));
		if (e->fd >= 0)
			close(e->fd);
		return;
	}
	e->group = index;
	notify->events_count++;
}

static uint64_t
tightest(const struct limits_group *group)
{
	return group->max_bytes < group->high_bytes ? group->max_bytes :
						      group->high_bytes;
}

static void
open_v2(struct notify *notify, const struct limits *limits)
{
	unsigned nearest = 0;

	if (!limits->groups_count) {
		snprintf(notify->why_v2, sizeof notify->why_v2, NO_GROUP);
		return;
	}
	open_events(notify, &limits->groups[0], 0);
	for (unsigned i = 1; i < limits->groups_count; i++)
		if (tightest(&limits->groups[i]) <
		    tightest(&limits->groups[nearest]))
			nearest = i;
	if (nearest)
		open_events(notify, &limits->groups[nearest], nearest);
}

void
notify_open(struct notify *notify, const struct limits *limits)
{
	memset(notify, 0, sizeof *notify);
	for (unsigned i = 0; i < NOTIFY_THRESHOLDS_MAX; i++)
		notify->threshold_fd[i] = -1;
	for (unsigned i = 0; i < NOTIFY_LEVELS; i++)
		notify->level_fd[i] = -1;
	if (limits->v2) {
		snprintf(notify->why_v1, sizeof notify->why_v1,
			 "the memory controller is on cgroup v2");
		open_v2(notify, limits);
	} else {
		snprintf(notify->why_v2, sizeof notify->why_v2,
			 "the memory controller is on cgroup v1");
		open_v1(notify, limits);
	}
}

static void
close_thresholds(struct notify *notify)
{
	for (unsigned i = 0; i < NOTIFY_THRESHOLDS_MAX; i++) {
		int fd = atomic_exchange(&notify->threshold_fd[i], -1);
		if (fd >= 0)
			close(fd);
	}
}

void
notify_close(struct notify *notify)
{
	/* An arming thread is at most one registration, 30 ms, from its end. */
	atomic_store(&notify->closing, true);
	while (atomic_load(&notify->arming))
		usleep(1000);
	close_thresholds(notify);
	for (unsigned i = 0; i < NOTIFY_LEVELS; i++)
		if (notify->level_fd[i] >= 0)
			close(notify->level_fd[i]);
	for (unsigned i = 0; i < notify->events_count; i++)
		close(notify->events[i].fd);
}

unsigned
notify_fill(struct notify *notify, struct pollfd *polls, unsigned polls_max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NOTIFY_THRESHOLDS_MAX; i++) {
		int fd = atomic_load(&notify->threshold_fd[i]);
		if (fd >= 0 && n < polls_max)
			polls[n++] = (struct pollfd){ .fd = fd,
						      .events = POLLIN };
	}
	for (unsigned i = 0; i < NOTIFY_LEVELS; i++)
		if (notify->level_fd[i] >= 0 && n < polls_max)
			polls[n++] = (struct pollfd){ .fd = notify->level_fd[i],
						      .events = POLLIN };
	for (unsigned i = 0; i < notify->events_count; i++)
		if (n < polls_max)
			polls[n++] = (struct pollfd){
				.fd = notify->events[i].fd, .events = POLLPRI
			};
	return n;
}

/* False: the group is gone, and its file would wake us for ever. */
static bool
read_events(struct notify_events *e, struct sources_news *news)
{
	uint64_t high, max, oom;
	char text[512];

	if (file_pread_record(e->fd, text, sizeof text) < 0 ||
	    notify_parse_events(text, &high, &max, &oom) != 0)
		return false;
	news->limit = true;
	news->high_events += high - e->high;
	news->critical |= max > e->max || oom > e->oom;
	news->oom |= oom > e->oom;
	e->high = high;
	e->max = max;
	e->oom = oom;
	return true;
}

static void
forget_events(struct notify *notify, unsigned at)
{
	close(notify->events[at].fd);
	notify->events_count--;
	for (; at < notify->events_count; at++)
		notify->events[at] = notify->events[at + 1];
	snprintf(notify->why_v2, sizeof notify->why_v2,
		 "memory.events: the group has gone");
}

/* Whether `fd` is one of theirs; then it has been read. */
static bool
is_events(struct notify *notify, int fd, struct sources_news *news)
{
	for (unsigned i = 0; i < notify->events_count; i++)
		if (notify->events[i].fd == fd) {
			if (!read_events(&notify->events[i], news))
				forget_events(notify, i);
			return true;
		}
	return false;
}

void
notify_read(struct notify *notify, const struct pollfd *polls, unsigned count,
	    struct sources_news *news)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t times;

		if (!polls[i].revents || is_events(notify, polls[i].fd, news))
			continue;
		if (read(polls[i].fd, &times, sizeof times) < 0)
			continue;
		news->limit = true;
		news->medium |= polls[i].fd == notify->level_fd[0];
		news->critical |= polls[i].fd == notify->level_fd[1];
	}
}

static void *
arm_thread(void *argument)
{
	struct notify *notify = argument;
	char bytes[32];
	bool all = true;

	core_thread_starts("spw-arm");
	for (unsigned i = 0; i < NOTIFY_THRESHOLDS_MAX; i++) {
		int fd, old;

		if (atomic_load(&notify->closing))
			break;
		if (!notify->headroom[i] ||
		    notify->headroom[i] >= notify->armed_limit)
			continue;
		snprintf(bytes, sizeof bytes, "%llu",
			 (unsigned long long)(notify->armed_limit -
					      notify->headroom[i]));
		fd = register_v1(notify->armed_path, "memory.usage_in_bytes",
				 bytes);
		if (fd < 0)
			all = false;
		old = atomic_exchange(&notify->threshold_fd[i],
				      fd < 0 ? -1 : fd);
		if (old >= 0)
			close(old);
	}
	atomic_store(&notify->armed, all);
	atomic_store_explicit(&notify->arming, 0, memory_order_release);
	return NULL;
}

static bool
about(uint64_t a, uint64_t b)
{
	uint64_t difference = a > b ? a - b : b - a;

	return difference <= a / 8;
}

void
notify_arm(struct notify *notify, const struct limits_group *group,
	   uint64_t limit_bytes, const uint64_t *headrooms, unsigned count)
{
	bool same = notify->armed_limit == limit_bytes &&
		    strcmp(notify->armed_path, group->path) == 0;

	if (notify->level_fd[0] < 0 || atomic_load(&notify->arming))
		return; /* no right to register, or at it */
	for (unsigned i = 0; i < count && i < NOTIFY_THRESHOLDS_MAX; i++)
		same = same && about(notify->headroom[i], headrooms[i]);
	if (same ||
	    (notify->armed_ns && clock_now_ns() - notify->armed_ns < REARM_NS))
		return;
	notify->armed_ns = clock_now_ns();
	notify->armed_limit = limit_bytes;
	strcpy(notify->armed_path, group->path);
	memset(notify->headroom, 0, sizeof notify->headroom);
	for (unsigned i = 0; i < count && i < NOTIFY_THRESHOLDS_MAX; i++)
		notify->headroom[i] = headrooms[i];
	atomic_store(&notify->arming, 1);
	if (core_spawn(arm_thread, notify) != 0)
		atomic_store(&notify->arming, 0);
}
