/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One collection: ask, measure, remember.
 *
 * Called by bridge.c on the bridge's thread (job_heap on any); calls the
 * runtime through guard.c, and the heap to give back what this thread caches,
 * since what a collector frees to malloc lands in this thread's cache.
 *
 * A heap that is largely in swap is not marked: a mark reads all of it back
 * in, which costs more than it gives (bookmarking collection, "garbage
 * collection without paging", 2005). Such a runtime is asked at level LOW,
 * where it can give without a mark, and else not at all.
 */
#include "gc-bridge/job.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "gc-bridge/guard.h"
#include "pressure/core.h"
#include "pressure/errand.h"
#include "pressure/limits.h"

#define SWAP_BYTES_MIN (16ull << 20)
#define SWAP_SHARE 4

uint64_t
job_heap(struct spw_gc *gc)
{
	return gc->options.heap ? gc->options.heap(gc->options.context) :
				  errand_resident();
}

void
job_reset(struct spw_gc *gc, const struct spw_gc_options *options,
	  const struct bridge_runtime *runtime)
{
	atomic_store(&gc->work, BRIDGE_REST);
	atomic_store(&gc->thread, BRIDGE_NO_THREAD);
	atomic_store(&gc->hung, false);
	atomic_store(&gc->tune_due, false);
	atomic_store(&gc->orphan, false);
	memset(&gc->policy, 0, sizeof gc->policy);
	atomic_store(&gc->collections, 0);
	atomic_store(&gc->refused, 0);
	atomic_store(&gc->gained, 0);
	atomic_store(&gc->last_gain, 0);
	atomic_store(&gc->last_ns, 0);
	atomic_store(&gc->ns_max, 0);
	atomic_store(&gc->ended_ns, 0);
	gc->runtime = runtime;
	gc->options = *options;
	gc->shrinker = NULL;
	gc->subscription = NULL;
	strncpy(gc->name, options->name, sizeof gc->name - 1);
	gc->options.name = gc->name;
}

struct memory {
	uint64_t resident, swap; /* of the process */
	uint64_t heap;
};

static struct memory
memory_now(struct spw_gc *gc)
{
	struct memory m = { 0, 0, 0 };
	char text[4096];

	if (errand_read("/proc/self/status", text, sizeof text) > 0) {
		file_field(text, "VmRSS:", &m.resident);
		file_field(text, "VmSwap:", &m.swap);
		m.resident <<= 10;
		m.swap <<= 10;
	} else {
		m.resident = errand_resident();
	}
	m.heap = gc->options.heap ? gc->options.heap(gc->options.context) :
				    m.resident;
	return m;
}

/* Whether so much of the process is in swap that a mark would page. */
static bool
is_swapped_out(const struct memory *m)
{
	return m->swap >= SWAP_BYTES_MIN &&
	       m->swap >= m->resident / (SWAP_SHARE - 1);
}

struct call {
	struct spw_gc *gc;
	size_t went;
};

static void
collect(void *argument)
{
	struct call *c = argument;
	struct spw_gc *gc = c->gc;

	c->went = gc->options.collect(gc->level, gc->deadline_ns,
				      gc->options.context);
}

static void
tune(void *argument)
{
	struct spw_gc *gc = argument;

	gc->options.tune(bridge_headroom(), gc->options.context);
}

void
job_tune(struct spw_gc *gc)
{
	if (gc->options.tune && guard_call(tune, gc) != 0)
		log_write(SPW_LOG_ERROR, "gc %s: its tune threw", gc->name);
}

static void
note(struct spw_gc *gc, uint64_t took, uint64_t before, uint64_t after,
     size_t went)
{
	uint64_t gain = before > after ? before - after : 0;

	if (gain < went)
		gain = went;
	core_count(&gc->collections, 1);
	core_count(&gc->gained, gain);
	atomic_store(&gc->last_gain, gain);
	atomic_store(&gc->last_ns, took);
	core_count_max(&gc->ns_max, took);
	atomic_store(&gc->ended_ns, clock_now_ns());
	log_write(SPW_LOG_INFO, "gc %s: level %d, %llu bytes back in %llu us",
		  gc->name, (int)gc->level, (unsigned long long)gain,
		  (unsigned long long)(took / 1000));
}

bool
job_collect(struct spw_gc *gc)
{
	const struct core_heap *heap = core_heap();
	uint64_t began = clock_now_ns(), ended;
	struct memory before = memory_now(gc), after;
	struct call call = { .gc = gc };

	atomic_store(&gc->began_ns, began);
	if (is_swapped_out(&before)) {
		gc->level = SPW_LEVEL_LOW;
		if (!gc->runtime || !gc->runtime->gives_unmarked) {
			log_write(SPW_LOG_INFO,
				  "gc %s: largely in swap, not marked",
				  gc->name);
			core_count(&gc->refused, 1);
			return true;
		}
	}
	if (guard_call(collect, &call) != 0)
		return false;
	if (call.went == SPW_SHRINK_LATER) { /* it does not want to now */
		core_count(&gc->refused, 1);
		atomic_store(&gc->last_gain, 0);
		return true;
	}
	ended = clock_now_ns();
	if (heap && heap->flush_thread)
		heap->flush_thread();
	if (gc->runtime && gc->runtime->settle)
		gc->runtime->settle(before.resident);
	/* What it says went by its end counts, though the heap grew since. */
	after = memory_now(gc);
	if (call.went < before.heap && before.heap - call.went < after.heap)
		after.heap = before.heap - call.went;
	policy_note(&gc->policy, gc->level, began, ended, before.heap,
		    after.heap);
	note(gc, ended - began, before.resident, after.resident, call.went);
	job_tune(gc);
	return true;
}
