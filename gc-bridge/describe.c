/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "collectors" in the answer of `spillway stat`.
 *
 * Called by pressure/control.c through a pointer (it knows no subsystem), on
 * the monitor; calls bridge_describe() and json.c. No state, no lock.
 */
#include "gc-bridge/describe.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "gc-bridge/bridge.h"
#include "pressure/control.h"
#include "pressure/json.h"

static void
describe(struct json *j)
{
	struct bridge_line line;

	json_open(j, "collectors", '[');
	for (unsigned i = 0; bridge_describe(i, &line); i++) {
		const struct spw_gc_stats *s = &line.stats;
		uint64_t ended = s->ended_ns ? clock_now_ns() - s->ended_ns :
					       UINT64_MAX;

		json_open(j, NULL, '{');
		json_string(j, "name", line.name);
		json_string(j, "state", line.state);
		json_number(j, "heap_bytes", s->heap_bytes);
		json_number(j, "collections", s->collections);
		json_number(j, "refused", s->refused);
		json_number(j, "gained_bytes", s->gained_bytes);
		json_number(j, "last_gain_bytes", s->last_gain_bytes);
		json_number(j, "last_ns", s->last_ns);
		json_number(j, "ns_max", s->ns_max);
		json_limit(j, "ended_ns_ago", ended);
		json_close(j, '}');
	}
	json_close(j, ']');
}

void
describe_start(void)
{
	atomic_store(&control_more, describe);
}
