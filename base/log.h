/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages, one line each, without allocation.
 *
 * Usage: log_write(SPW_LOG_WARNING, "shrinker %s hangs", name).
 *
 * Caveats: thread-safe, not for hooks or signal handlers (takes a lock). Goes
 * to the sink of spw_log_set(), else to descriptor 2 where the user asked for
 * it (SPILLWAY_CONF=log:LEVEL), else nowhere. log_complain() is for what the
 * user wrote wrong: it reaches descriptor 2 even with no setting.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <spillway/spillway.h>

/* Most bytes in a line; longer ones are cut and end in "...". */
#define LOG_LINE_BYTES 512

void log_level_set(enum spw_log_level at_most);

/* The monitor has a descriptor table of its own: where its copy of 2 is. */
void log_descriptor_set(int fd);

bool log_wanted(enum spw_log_level level);

void log_write(enum spw_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void log_complain(const char *format, ...)
	__attribute__((format(printf, 1, 2)));

/* Why a `what` called `name` (NULL: nobody knows) is not made: `error`. */
int log_refuse(const char *what, const char *name, const char *why, int error);

#endif
