/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What stat and pressure both print.
 *
 * Called by stat.c and pressure.c; calls reply.c and base/units.c.
 */
#include "cli/show.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/units.h"
#include "cli/reply.h"

#define BUFFERS 8

void
show_line(const char *name, const char *format, ...)
{
	va_list arguments;

	printf("%-12s ", name);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

static char *
next_buffer(void)
{
	static char buffers[BUFFERS][UNITS_BYTES];
	static unsigned next;

	return buffers[next++ % BUFFERS];
}

const char *
show_bytes(uint64_t bytes)
{
	return bytes == UINT64_MAX ? "none" :
				     units_format_bytes(next_buffer(), bytes);
}

const char *
show_ns(uint64_t ns)
{
	return units_format_ns(next_buffer(), ns);
}

uint64_t
show_number(const char *reply, const char *path)
{
	uint64_t number;

	return reply_number(reply, path, &number) ? number : UINT64_MAX;
}

void
show_pressure(const char *reply)
{
	char level[32], kind[64];
	uint64_t limit = show_number(reply, "limit_bytes");

	show_line("pressure", "%s%s%s",
		  reply_string(reply, "level", level, sizeof level),
		  show_number(reply, "deficit_bytes") ? ", to give back " : "",
		  show_number(reply, "deficit_bytes") ?
			  show_bytes(show_number(reply, "deficit_bytes")) :
			  "");
	if (limit == UINT64_MAX) {
		show_line("limit", "none is known");
		return;
	}
	show_line("limit", "%s (%s), used %s, left %s", show_bytes(limit),
		  reply_string(reply, "limit_kind", kind, sizeof kind),
		  show_bytes(show_number(reply, "usage_bytes")),
		  show_bytes(show_number(reply, "headroom_bytes")));
	show_line("watermarks",
		  "soft %s left: memory is given back; hard %s left: growth "
		  "waits",
		  show_bytes(show_number(reply, "soft_bytes")),
		  show_bytes(show_number(reply, "hard_bytes")));
}

void
show_sources(const char *reply)
{
	const char *source = reply_first(reply_find(reply, "sources"));

	puts("sources");
	if (!source)
		puts("  none");
	for (; source; source = reply_next(source)) {
		char name[64], words[256];
		bool works = false;

		reply_bool(source, "works", &works);
		printf("  %-3s %-18s %s\n", works ? "yes" : "no",
		       reply_string(source, "name", name, sizeof name),
		       reply_string(source, "words", words, sizeof words));
	}
}
