/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All that can wake the monitor, behind one face: notify.c (cgroup v1 and v2),
 * watch.c (changed limits), psi.c, systemd.c.
 *
 * Called by monitor.c; and sources_describe() also by the control socket and
 * `spillway pressure`. One static instance; descriptors are in the table of
 * the thread that opened it. No allocation.
 *
 * Order of trust: a usage threshold says "look now"; memory.events says so
 * too; PSI and systemd's variable say that somebody stalled.
 */
#include "pressure/sources.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/settings.h"
#include "pressure/notify.h"
#include "pressure/psi.h"
#include "pressure/systemd.h"
#include "pressure/watch.h"

struct sources {
	struct notify notify;
	struct watch watch;
	struct psi psi;
	struct systemd systemd;
	bool has_notify, has_psi;
	bool v2;
	unsigned group;    /* that the thresholds are for */
	uint64_t stall_us; /* seen in an event, not yet asked for */
	char group_path[LIMITS_PATH_BYTES];
};

static struct sources instance;

static bool
wanted(unsigned source)
{
	return atomic_load_explicit(&settings()->sources,
				    memory_order_relaxed) &
	       source;
}

/* The own group's file (v2), else the machine's. */
static void
open_psi(struct sources *s, const struct limits *limits)
{
	char path[PATH_MAX];

	s->psi.fd = -1;
	if (!wanted(SETTINGS_PSI)) {
		snprintf(s->psi.why, sizeof s->psi.why, "psi:off");
		return;
	}
	if (limits->v2 && limits->groups_count) {
		snprintf(path, sizeof path, "%s/memory.pressure",
			 limits->groups[0].path);
		s->has_psi = psi_open(&s->psi, path) == 0;
	}
	if (!s->has_psi && file_path(path, sizeof path, settings()->root,
				     "/proc/pressure/memory") == 0)
		s->has_psi = psi_open(&s->psi, path) == 0;
}

struct sources *
sources_open(const struct limits *limits)
{
	struct sources *s = &instance;

	memset(s, 0, sizeof *s);
	s->v2 = limits->v2;
	if (limits->groups_count)
		memcpy(s->group_path, limits->groups[0].path,
		       sizeof s->group_path);
	s->has_notify = wanted(SETTINGS_NOTIFY);
	if (s->has_notify)
		notify_open(&s->notify, limits);
	watch_open(&s->watch, limits);
	open_psi(s, limits);
	if (wanted(SETTINGS_SYSTEMD))
		systemd_open_environment(&s->systemd);
	else
		systemd_open(&s->systemd, NULL, NULL);
	return s;
}

void
sources_follow(struct sources *s, const struct limits *limits)
{
	const char *path = limits->groups_count ? limits->groups[0].path : "";

	if ((s->v2 == limits->v2 && strcmp(s->group_path, path) == 0) ||
	    (s->has_notify && atomic_load(&s->notify.arming)))
		return;
	s->v2 = limits->v2;
	snprintf(s->group_path, sizeof s->group_path, "%s", path);
	if (s->has_notify) {
		notify_close(&s->notify);
		notify_open(&s->notify, limits);
	}
	watch_close(&s->watch);
	watch_open(&s->watch, limits);
	if (s->has_psi)
		psi_close(&s->psi);
	s->has_psi = false;
	open_psi(s, limits);
}

void
sources_close(struct sources *s)
{
	if (!s)
		return;
	if (s->has_notify)
		notify_close(&s->notify);
	watch_close(&s->watch);
	if (s->has_psi)
		psi_close(&s->psi);
	systemd_close(&s->systemd);
	s->has_notify = s->has_psi = false;
}

unsigned
sources_fill(struct sources *s, struct pollfd *polls, unsigned polls_max)
{
	unsigned n = 0;

	if (s->has_psi && s->psi.armed && n < polls_max)
		polls[n++] = (struct pollfd){ .fd = s->psi.fd,
					      .events = POLLPRI };
	if (s->systemd.fd >= 0 && n < polls_max)
		polls[n++] = (struct pollfd){ .fd = s->systemd.fd,
					      .events = s->systemd.events };
	if (s->watch.fd >= 0 && n < polls_max)
		polls[n++] = (struct pollfd){ .fd = s->watch.fd,
					      .events = POLLIN };
	if (s->has_notify)
		n += notify_fill(&s->notify, polls + n, polls_max - n);
	return n;
}

static void
forget_psi(struct sources *s)
{
	snprintf(s->psi.why, sizeof s->psi.why, "the pressure file has gone");
	psi_close(&s->psi);
	s->has_psi = false;
}

void
sources_handle(struct sources *s, const struct pollfd *polls, unsigned count,
	       struct sources_news *news)
{
	unsigned at = 0;

	if (at < count && s->has_psi && polls[at].fd == s->psi.fd &&
	    s->psi.armed) {
		uint64_t stall_us;

		if (polls[at].revents) {
			if (psi_check(&s->psi, polls[at].revents, &stall_us))
				forget_psi(s);
			else
				news->stall_us += stall_us;
		}
		at++;
	}
	if (at < count && s->systemd.fd >= 0 && polls[at].fd == s->systemd.fd) {
		if (polls[at].revents)
			news->asked |= systemd_read(&s->systemd,
						    polls[at].revents);
		at++;
	}
	if (at < count && s->watch.fd >= 0 && polls[at].fd == s->watch.fd) {
		if (polls[at].revents)
			news->limits_changed |= watch_read(&s->watch);
		at++;
	}
	if (s->has_notify)
		notify_read(&s->notify, polls + at, count - at, news);
}

void
sources_arm(struct sources *s, const struct limits *limits,
	    const struct limits_reading *reading, const uint64_t *headrooms,
	    unsigned count)
{
	if (!s->has_notify || reading->kind != LIMITS_V1 ||
	    reading->group >= limits->groups_count)
		return;
	notify_arm(&s->notify, &limits->groups[reading->group],
		   reading->limit_bytes, headrooms, count);
}

bool
sources_cover_usage(const struct sources *s)
{
	return s->has_notify &&
	       atomic_load_explicit(&s->notify.armed, memory_order_relaxed);
}

bool
sources_switched_off(const struct sources *s)
{
	return s->systemd.kind == SYSTEMD_OFF;
}

uint64_t
sources_stall_us(struct sources *s)
{
	uint64_t stall_us = 0;

	systemd_note(&s->systemd);
	if (!s->has_psi)
		return 0;
	if (s->psi.armed) /* events tell */
		psi_note(&s->psi);
	else if (psi_check(&s->psi, 0, &stall_us) != 0)
		forget_psi(s);
	return stall_us;
}

/* ---- for people ---- */

static void
line(struct sources_line *l, const char *name, bool works, const char *words)
{
	l->name = name;
	l->works = works;
	snprintf(l->words, sizeof l->words, "%.159s", words);
}

static void
describe_psi(const struct sources *s, struct sources_line *l)
{
	char words[160];

	if (!s->has_psi)
		line(l, "psi", false, s->psi.why);
	else if (s->psi.armed) {
		snprintf(words, sizeof words, "%.90s, %s window of %llu ms",
			 s->psi.path,
			 s->psi.privileged ? "privileged" : "unprivileged",
			 (unsigned long long)(s->psi.window_us / 1000));
		line(l, "psi", true, words);
	} else {
		snprintf(words, sizeof words, "%.70s, read when awake (%.60s)",
			 s->psi.path, s->psi.why);
		line(l, "psi", true, words);
	}
}

static void
describe_notify(const struct sources *s, struct sources_line *l)
{
	bool v1 = s->has_notify && s->notify.level_fd[0] >= 0;
	bool v2 = s->has_notify && s->notify.events_count > 0;
	const char *off = "notify:off";

	line(&l[0], "v1 threshold", v1,
	     v1            ? s->group_path :
	     s->has_notify ? s->notify.why_v1 :
			     off);
	line(&l[1], "v1 pressure_level", v1,
	     v1            ? "medium and critical, as corroboration" :
	     s->has_notify ? s->notify.why_v1 :
			     off);
	line(&l[2], "v2 memory.events", v2,
	     v2            ? s->group_path :
	     s->has_notify ? s->notify.why_v2 :
			     off);
}

unsigned
sources_describe(struct sources_line *lines, unsigned lines_max)
{
	const struct sources *s = &instance;
	struct sources_line all[6];
	unsigned n = lines_max < 6 ? lines_max : 6;

	describe_notify(s, all);
	describe_psi(s, &all[3]);
	line(&all[5], "changed limits", s->watch.fd >= 0,
	     s->watch.fd >= 0 ? "inotify" : s->watch.why);
	line(&all[4], "systemd", s->systemd.kind != SYSTEMD_NONE,
	     s->systemd.why);
	memcpy(lines, all, n * sizeof *lines);
	return n;
}
