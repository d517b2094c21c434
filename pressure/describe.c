/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pressure in JSON.
 *
 * Called by control.c (monitor thread) and cli/pressure.c; calls json.c and
 * sources_describe(). No locks; everything is copied from the arguments.
 */
#include "pressure/describe.h"

#include "pressure/sources.h"

#define LINES_MAX 24

const char *
describe_level(enum spw_level level)
{
	switch (level) {
	case SPW_LEVEL_NONE:
		return "none";
	case SPW_LEVEL_LOW:
		return "low";
	case SPW_LEVEL_MEDIUM:
		return "medium";
	case SPW_LEVEL_CRITICAL:
		return "critical";
	}
	return "unknown";
}

void
describe_pressure(struct json *j, const struct level_output *level,
		  const struct limits_reading *reading)
{
	bool limited = reading->limit_bytes != UINT64_MAX;

	json_string(j, "level", describe_level(level->level));
	json_number(j, "deficit_bytes", level->deficit_bytes);
	json_limit(j, "headroom_bytes", reading->headroom_bytes);
	json_limit(j, "limit_bytes", reading->limit_bytes);
	json_string(j, "limit_kind",
		    limited ? limits_kind_name(reading->kind) : NULL);
	json_limit(j, "usage_bytes",
		   limited ? reading->usage_bytes : UINT64_MAX);
	json_limit(j, "cache_bytes",
		   limited && reading->stat_read ? reading->cache_bytes :
						   UINT64_MAX);
	json_limit(j, "soft_bytes", limited ? level->soft_bytes : UINT64_MAX);
	json_limit(j, "hard_bytes", limited ? level->hard_bytes : UINT64_MAX);
}

void
describe_sources(struct json *j)
{
	struct sources_line lines[LINES_MAX];
	unsigned n = sources_describe(lines, LINES_MAX);

	json_open(j, "sources", '[');
	for (unsigned i = 0; i < n; i++) {
		json_open(j, NULL, '{');
		json_string(j, "name", lines[i].name);
		json_bool(j, "works", lines[i].works);
		json_string(j, "words", lines[i].words);
		json_close(j, '}');
	}
	json_close(j, ']');
}
