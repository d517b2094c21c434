/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When a collector may be asked again.
 *
 * Usage: policy_due() before, policy_note() after each collection.
 *
 * Caveats: pure arithmetic; the caller keeps threads apart.
 */
#ifndef GC_BRIDGE_POLICY_H
#define GC_BRIDGE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include <spillway/pressure.h>

struct policy {
	uint64_t ended_ns;    /* of the last collection; 0: none yet */
	uint64_t took_ns;     /* by it */
	uint64_t heap_bytes;  /* after it */
	uint64_t gain_bytes;  /* by it */
	uint32_t poor;        /* in a row that gained under 5 % */
	enum spw_level level; /* of the last */
};

struct policy_now {
	uint64_t now_ns;
	uint64_t heap_bytes;
	uint64_t interval_ns; /* 0: always due */
	enum spw_level level;
	bool asked;    /* by somebody, who may be believed to want it */
	bool in_steps; /* below critical it makes no long pause */
};

bool policy_due(const struct policy *policy, const struct policy_now *now);

/* Growth since the last collection: what could be garbage. */
uint64_t policy_growth(const struct policy *policy, uint64_t heap_bytes);

/* The heap was found smaller since: what was given back late counts, too. */
void policy_fell(struct policy *policy, uint64_t heap_bytes);

void policy_note(struct policy *policy, enum spw_level level, uint64_t began_ns,
		 uint64_t ended_ns, uint64_t heap_before_bytes,
		 uint64_t heap_after_bytes);

#endif
