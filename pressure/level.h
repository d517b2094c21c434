/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From what was sensed to a level and a deficit: the control law, free of
 * threads and system calls.
 *
 * Usage: level_update() once for every reading.
 *
 * Caveats: one owner (who senses). All inputs are in the struct, so that
 * tests drive it with made-up readings.
 */
#ifndef PRESSURE_LEVEL_H
#define PRESSURE_LEVEL_H

#include <spillway/pressure.h>

#include "pressure/limits.h"

/* What is known when a reading is taken. */
struct level_input {
	uint64_t now_ns;
	struct limits_reading reading;
	uint64_t charged_bytes;     /* committed by our heap since the start */
	uint64_t recent_bytes;      /* of it, so recently that it may not have
				     * been touched, hence not charged, yet */
	uint64_t reclaimable_bytes; /* what the shrinkers could give */
	uint64_t waiting_bytes;     /* wanted by threads at the gate */
	uint64_t stall_us;          /* PSI, verified, since the last reading */
	bool asked;                 /* systemd's protocol */
	bool covered;               /* thresholds will wake the monitor */
	bool crossed;               /* one did: usage has grown past it */
	bool unhooked;              /* the heap is not ours: charged_bytes
				     * leave out what the program takes */
	uint32_t futile_passes;     /* in a row, up to now */
};

struct level_output {
	enum spw_level level;
	uint64_t deficit_bytes;
	uint64_t soft_bytes, hard_bytes;
	int64_t credit_bytes; /* may be committed before the next look */
	int64_t slack_bytes;  /* and this much more before anybody waits */
	uint64_t poll_ns;     /* look again after so long at the latest */
};

struct level {
	uint64_t last_ns;
	uint64_t base_bytes; /* what is above it is growth */
	uint64_t last_charged_bytes;
	enum limits_kind last_kind;
	unsigned last_group;
	bool last_stat_read;
	uint64_t growth_bytes_per_s; /* of all but our heap, EWMA */
	uint64_t growing_until_ns;   /* poll for so long after growth */
	enum spw_level level;
	uint64_t calm_since_ns;  /* above the exit watermark since */
	uint64_t raised_ns;      /* when the level last rose */
	uint32_t futile_base;    /* futile passes of pressures before */
	uint64_t given_up_bytes; /* headroom then, or more; 0: not so */
	uint64_t stalled_until_ns;
	uint64_t stall_deficit_bytes;
	uint64_t asked_ns;
};

void level_update(struct level *level, const struct level_input *input,
		  struct level_output *output);

#endif
