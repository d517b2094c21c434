/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pressure and its sources as JSON members, the same on the control socket
 * and from `spillway pressure --json`.
 *
 * Usage: between json_open(j, NULL, '{') and json_close(j, '}').
 *
 * Caveats: allocation-free, safe from any thread (but see sources.h).
 */
#ifndef PRESSURE_DESCRIBE_H
#define PRESSURE_DESCRIBE_H

#include "pressure/json.h"
#include "pressure/level.h"

/* "none", "low", "medium", "critical"; static. */
const char *describe_level(enum spw_level level);

/* level, deficit_bytes ... usage_bytes; what is unknown is null. */
void describe_pressure(struct json *json, const struct level_output *level,
		       const struct limits_reading *reading);

/* "sources": [ { name, works, words } ... ]. */
void describe_sources(struct json *json);

#endif
