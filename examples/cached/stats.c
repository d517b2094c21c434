/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stats, stats settings, stats items, stats reset.
 *
 * Called by protocol.c; calls the counters and the store. Names are
 * memcached's where they mean the same; limit_maxbytes is 0, for there is
 * none. What only spillway has begins with spillway_.
 */
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <spillway/spillway.h>

#include "examples/cached/commands.h"
#include "examples/cached/settings.h"

/* All of it fits into what output_room() leaves. */
struct text {
	char *at, *end;
};

__attribute__((format(printf, 3, 4))) static void
line(struct text *text, const char *name, const char *format, ...)
{
	size_t room = (size_t)(text->end - text->at);
	va_list arguments;
	int head, value;

	head = snprintf(text->at, room, "STAT %s ", name);
	if (head < 0 || (size_t)head + 2 >= room)
		return;
	va_start(arguments, format);
	value = vsnprintf(text->at + head, room - (size_t)head, format,
			  arguments);
	va_end(arguments);
	if (value < 0 || (size_t)(head + value) + 3 >= room)
		return;
	text->at += head + value;
	memcpy(text->at, "\r\n", 2);
	text->at += 2;
}

static void
number(struct text *text, const char *name, uint64_t n)
{
	line(text, name, "%llu", (unsigned long long)n);
}

static void
write_process(struct text *text)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	number(text, "pid", (uint64_t)getpid());
	number(text, "uptime", store_now() - 2);
	number(text, "time", (uint64_t)time(NULL));
	line(text, "version", "%s-spillway-%s", COMMANDS_PROTOCOL,
	     spw_version());
	number(text, "pointer_size", 8 * sizeof(void *));
	line(text, "rusage_user", "%ld.%06ld", usage.ru_utime.tv_sec,
	     usage.ru_utime.tv_usec);
	line(text, "rusage_system", "%ld.%06ld", usage.ru_stime.tv_sec,
	     usage.ru_stime.tv_usec);
	number(text, "max_connections", settings.connections_max);
	number(text, "curr_connections", counters_connections());
}

static void
write_counters(struct text *text)
{
	struct counters sum;

	counters_sum(&sum);
	number(text, "cmd_get", sum.get_hits + sum.get_misses);
#define X(name) number(text, #name, sum.name);
	COUNTERS(X)
#undef X
}

static void
write_cache(struct text *text)
{
	struct spw_cache_stats stats;
	struct spw_pressure pressure = { .size = sizeof pressure };

	store_stats(&stats);
	number(text, "limit_maxbytes", 0);
	number(text, "threads", settings.threads);
	number(text, "bytes", stats.entry_bytes);
	number(text, "curr_items", stats.entries);
	number(text, "total_items", stats.puts);
	number(text, "evictions", stats.evicted_entries);
	number(text, "spillway_segments", stats.segments);
	number(text, "spillway_segment_bytes", stats.segment_bytes);
	number(text, "spillway_index_bytes", stats.index_bytes);
	number(text, "spillway_refaults", stats.refaults);
	number(text, "spillway_merged_bytes", stats.merged_bytes);
	number(text, "spillway_released_bytes", stats.released_bytes);
	number(text, "spillway_recycled_bytes", stats.recycled_bytes);
	number(text, "spillway_waits", stats.waits);
	number(text, "spillway_wait_ns_max", stats.wait_ns_max);
	number(text, "spillway_pinned_segments", stats.pinned_segments);
	number(text, "spillway_copied_gets", stats.copied_gets);
	if (spw_pressure_read(&pressure) == 0) {
		number(text, "spillway_level", pressure.level);
		number(text, "spillway_headroom_bytes",
		       pressure.headroom_bytes);
	}
}

static void
write_settings(struct text *text)
{
	number(text, "maxbytes", 0);
	number(text, "maxconns", settings.connections_max);
	line(text, "tcpport", "%s", settings.path ? "0" : settings.port);
	line(text, "inter", "%s", settings.addresses);
	line(text, "domain_socket", "%s",
	     settings.path ? settings.path : "NULL");
	line(text, "umask", "%o", settings.path_mode);
	number(text, "verbosity", settings_verbose());
	line(text, "evictions", "on");
	line(text, "cas_enabled", "yes");
	number(text, "num_threads", settings.threads);
	number(text, "item_size_max", settings.item_bytes_max);
}

enum verdict
stats_command(struct session *session, const struct words *words,
	      struct input *input, unsigned variant)
{
	const struct word *what = words->count > 1 ? &words->word[1] : NULL;
	char *from = output_at(session->output);
	struct text text = { from, from + OUTPUT_COPY_MAX };

	(void)input, (void)variant;
	if (!what) {
		write_process(&text);
		write_counters(&text);
		write_cache(&text);
	} else if (word_is(what, "settings")) {
		write_settings(&text);
	} else if (word_is(what, "reset")) {
		counters_reset();
		session_say(session, "RESET");
		return VERDICT_NEXT;
	} else if (!word_is(what, "items") && !word_is(what, "slabs") &&
		   !word_is(what, "sizes")) {
		session_say(session, "ERROR");
		return VERDICT_NEXT;
	}
	output_advance(session->output, (size_t)(text.at - from));
	session_say(session, "END");
	return VERDICT_NEXT;
}
