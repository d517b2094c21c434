/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where messages go.
 *
 * Called by every folder; calls vsnprintf(3) into a stack buffer and write(2),
 * or the program's sink. `lock` keeps the sink and its context together and
 * lines whole; level is read without it.
 *
 * A line may come from the monitor, whose descriptor table is its own: its
 * copy of descriptor 2 is thread-local.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/elsewhere.h"
#include "base/lock.h"

static struct base_lock lock = BASE_LOCK(BASE_RANK_LOG);
static _Atomic int level_max = SPW_LOG_OFF;
static _Atomic int level_max_setting = SPW_LOG_OFF;
static void (*sink)(enum spw_log_level, const char *, void *);
static void *sink_context;
static __thread int descriptor = 2;

void
log_level_set(enum spw_log_level at_most)
{
	atomic_store(&level_max_setting, at_most);
	base_lock(&lock);
	if (!sink)
		atomic_store(&level_max, at_most);
	base_unlock(&lock);
}

void
log_descriptor_set(int fd)
{
	descriptor = fd;
}

bool
log_wanted(enum spw_log_level level)
{
	return (int)level <=
	       atomic_load_explicit(&level_max, memory_order_relaxed);
}

static const char *
level_word(enum spw_log_level level)
{
	static const char *const words[] = { "", "error: ", "warning: ", "",
					     "debug: " };
	return words[level];
}

static void
write_line(enum spw_log_level level, const char *format, va_list arguments)
{
	char line[LOG_LINE_BYTES];
	int head = snprintf(line, sizeof line, "spillway: %s",
			    level_word(level));
	int n = vsnprintf(line + head, sizeof line - (size_t)head - 1, format,
			  arguments);
	if (n < 0)
		return;
	n += head;
	if (n > (int)sizeof line - 2) {
		n = (int)sizeof line - 2;
		memcpy(line + n - 3, "...", 3);
	}
	base_lock(&lock);
	if (sink) {
		line[n] = '\0';
		sink(level, line + strlen("spillway: "), sink_context);
	} else if (descriptor >= 0) {
		line[n++] = '\n';
		while (write(descriptor, line, (size_t)n) < 0)
			break; /* nobody to tell */
	}
	base_unlock(&lock);
}

void
log_write(enum spw_log_level level, const char *format, ...)
{
	va_list arguments;

	if (!log_wanted(level))
		return;
	va_start(arguments, format);
	write_line(level, format, arguments);
	va_end(arguments);
}

void
log_complain(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_line(SPW_LOG_ERROR, format, arguments);
	va_end(arguments);
}

int
log_refuse(const char *what, const char *name, const char *why, int error)
{
	log_write(SPW_LOG_ERROR, "%s %s: %s", what, name ? name : "(no name)",
		  why);
	return error;
}

SPW_EXPORT void
spw_log_set(enum spw_log_level at_most,
	    void (*new_sink)(enum spw_log_level, const char *, void *),
	    void *context)
{
	ELSEWHERE(spw_log_set, at_most, new_sink, context);
	lock_fork_add(&lock);
	base_lock(&lock);
	sink = new_sink;
	sink_context = context;
	atomic_store(&level_max,
		     new_sink ? (int)at_most : atomic_load(&level_max_setting));
	base_unlock(&lock);
}
