/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Everything that can wake the monitor with news about pressure: v1
 * thresholds and pressure_level, v2 memory.events, limits that are changed, PSI
 * triggers, systemd's MEMORY_PRESSURE_WATCH.
 *
 * Usage (monitor thread alone, in its own descriptor table): sources_open(),
 * sources_fill() before each poll(2), sources_handle() after it,
 * sources_arm() when watermarks moved.
 *
 * Caveats: allocation-free but for the arming thread that sources_arm() may
 * start, since registering one v1 threshold takes 14 to 28 ms. Not
 * thread-safe except sources_describe().
 */
#ifndef PRESSURE_SOURCES_H
#define PRESSURE_SOURCES_H

#include <poll.h>

#include "pressure/limits.h"

#define SOURCES_POLLS_MAX 16

/* What a poll told. */
struct sources_news {
	bool limit;    /* a usage threshold or memory.events: read usage */
	bool asked;    /* systemd's variable: somebody wants memory back */
	bool medium;   /* v1 medium: corroboration */
	bool critical; /* v1 critical, v2 max or oom counted */
	bool oom;      /* v2 oom counted */
	bool limits_changed;  /* somebody wrote one */
	uint64_t high_events; /* v2 `high` counted since the last time */
	uint64_t stall_us;    /* PSI: growth of total=, verified; 0: none */
};

struct sources;

/* The one instance (static storage). Opens what works; never fails: what does
 * not work is described. */
struct sources *sources_open(const struct limits *limits);
void sources_close(struct sources *sources);

/*
 * After limits were read again: where the process was moved to another group,
 * that one's files are watched instead. While thresholds are being armed
 * nothing is done; the next call does it.
 */
void sources_follow(struct sources *sources, const struct limits *limits);

unsigned sources_fill(struct sources *sources, struct pollfd *polls,
		      unsigned polls_max);
void sources_handle(struct sources *sources, const struct pollfd *polls,
		    unsigned count, struct sources_news *news);

/*
 * Asks for v1 thresholds at these headrooms below the limit of groups
 * [reading->group]; does nothing while they are armed as asked (within 1/8).
 * Returns at once; a short-lived thread in the caller's descriptor table
 * registers. At most one such thread, at most one re-arming a second.
 */
void sources_arm(struct sources *sources, const struct limits *limits,
		 const struct limits_reading *reading,
		 const uint64_t *headrooms, unsigned count);

/* Whether crossing each of the last asked headrooms will wake the monitor. */
bool sources_cover_usage(const struct sources *sources);

/*
 * Whether systemd said /dev/null: monitoring off (only limits given by the
 * user himself, and requests, count then).
 */
bool sources_switched_off(const struct sources *sources);

/* Stall of the nearest PSI file since the last call, without an event. */
uint64_t sources_stall_us(struct sources *sources);

/* For `spillway pressure`: one line a source. */
struct sources_line {
	const char *name; /* "psi", "v1 threshold", ... */
	bool works;
	char words[160]; /* what it watches, or why it does not work */
};
unsigned sources_describe(struct sources_line *lines, unsigned lines_max);

#endif
