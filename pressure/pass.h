/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One reclaim pass: who is asked, in which order, for how much.
 *
 * Usage: fill a struct pass, pass_run() on the reclaimer thread.
 *
 * Caveats: allocates nothing, holds no lock while it calls a shrinker.
 */
#ifndef PRESSURE_PASS_H
#define PRESSURE_PASS_H

#include <stdbool.h>
#include <stdint.h>

#include <spillway/reclaim.h>
#include <spillway/shrinker.h>

struct request;

struct pass {
	enum spw_level level;
	uint64_t target_bytes;
	bool asked; /* by somebody, not by the kernel */
	bool paced; /* target_bytes is a slice: stop there */
	uint64_t older_than_ns;
	/* Bytes still wanted; 0 ends the pass. */
	uint64_t (*left)(const struct pass *pass);
	struct request *request;
	uint32_t generation;
	/* Results. */
	uint64_t got_bytes;
	uint64_t shown_bytes;   /* of it, already added to the request */
	uint64_t claimed_bytes; /* what the program's shrinkers said */
	uint64_t ns;
};

void pass_run(struct pass *pass);

/* Called, where set, before a pass of level medium and above asks anybody. */
extern void (*_Atomic pass_begins)(void);

/*
 * threads:never: a pass in the calling thread, of what is free alone or
 * (everybody) of every shrinker. Returns bytes.
 */
uint64_t pass_inline(const struct spw_reclaim_options *options, bool everybody);

/* Free bytes that a purge would return; what shrinkers said at last, and what
 * the process has grown by since. */
uint64_t pass_dirty_bytes(void);
uint64_t pass_counted_bytes(void);

/* Called back while it runs (engine.c). */
bool engine_overtaken(uint32_t generation);
void engine_answered(void);
/* Before a call into the program's code: somebody may have to take over. */
void engine_call_prepare(void);

#endif
