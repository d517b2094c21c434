/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One collection, or one tuning, on the bridge's thread.
 *
 * Usage: job_collect(gc) by who owns the job.
 *
 * Caveats: calls the runtime; no lock of ours is held.
 */
#ifndef GC_BRIDGE_JOB_H
#define GC_BRIDGE_JOB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "gc-bridge/bridge.h"
#include "gc-bridge/policy.h"

enum { BRIDGE_FREE, BRIDGE_MAKING, BRIDGE_LIVE, BRIDGE_LEAVING };
enum { BRIDGE_REST, BRIDGE_TAKEN, BRIDGE_ASKED, BRIDGE_RUNNING, BRIDGE_BROKEN };
enum { BRIDGE_NO_THREAD, BRIDGE_HAS_THREAD };

struct spw_gc {
	_Atomic int slot;      /* FREE ... LEAVING */
	_Atomic uint32_t work; /* REST ... BROKEN: who owns the job */
	_Atomic uint32_t bell; /* a futex: something to do for the thread */
	_Atomic uint32_t done; /* a futex: collections that ended */
	_Atomic int thread, tid;
	_Atomic bool hung, tune_due, orphan;
	_Atomic uint64_t began_ns;
	/* The job. */
	enum spw_level level;
	uint64_t deadline_ns;
	/* Written by the job's owner, read in REST. */
	struct policy policy;
	/* Statistics; relaxed. */
	_Atomic uint64_t collections, refused, gained, last_gain;
	_Atomic uint64_t last_ns, ns_max, ended_ns;
	/* Constant while LIVE. */
	const struct bridge_runtime *runtime; /* NULL: of the program */
	struct spw_gc_options options;
	struct spw_shrinker *shrinker;
	struct spw_subscription *subscription;
	char name[BRIDGE_NAME_BYTES];
};

void job_reset(struct spw_gc *gc, const struct spw_gc_options *options,
	       const struct bridge_runtime *runtime);

/* False: it threw. */
bool job_collect(struct spw_gc *gc);
void job_tune(struct spw_gc *gc);

/* The heap's bytes, of the process where it does not say. */
uint64_t job_heap(struct spw_gc *gc);

#endif
