/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Purging the embedded heap in slices.
 *
 * The pass (pressure/pass.c) calls heap_shrink(); it calls arena.<i>.purge
 * with a budget that redirect.c applies to the list of dirty extents, arena
 * after arena from where the last slice ended.
 *
 * jemalloc drops decay->mtx while it purges and marks the arena "purging": a
 * fork at that moment leaves the child's arena unpurgeable for ever. So every
 * purge of ours holds pages_purge_lock(), which a fork takes first, and a slice
 * is a few milliseconds at most.
 *
 * The number of active pages of an arena is read where jemalloc keeps it
 * (heap_active_pages): no epoch, no lock. Arenas are never destroyed
 * (arena_body.c recycles them), so the place stays valid.
 */
#include "alloc/purge.h"

#include "alloc/heap.h"
#include "alloc/huge.h"
#include "alloc/pages.h"
#include "alloc/redirect.h"
#include "base/settings.h"
#include "pressure/core.h"
#include "pressure/gate.h"
#include "pressure/shrinkers.h"

/* jemalloc's own limit of arena indices. */
#define ARENAS_MAX 4096
#define PAGE_BYTES 4096ull

/* Guarded by pages_purge_lock(). */
static size_t purge_mib[3]; /* arena.<i>.purge */
static unsigned next_arena;
static _Atomic(size_t *) active_pages[ARENAS_MAX];

static unsigned
arenas_count(void)
{
	unsigned count = 0;
	size_t bytes = sizeof count;

	if (heap_api()->mallctl("arenas.narenas", &count, &bytes, NULL, 0) != 0)
		return 0;
	return count < ARENAS_MAX ? count : ARENAS_MAX;
}

uint64_t
purge_active_bytes(void)
{
	unsigned count = arenas_count();
	uint64_t sum = 0;

	for (unsigned i = 0; i < count; i++) {
		size_t *pages = atomic_load_explicit(&active_pages[i],
						     memory_order_relaxed);
		if (!pages) {
			pages = heap_active_pages(i);
			atomic_store_explicit(&active_pages[i], pages,
					      memory_order_relaxed);
		}
		if (pages)
			sum += __atomic_load_n(pages, __ATOMIC_RELAXED);
	}
	return sum * PAGE_BYTES;
}

static void
purge_arena(unsigned index, size_t budget)
{
	size_t length = 3;

	if (!purge_mib[0] && !purge_mib[2])
		heap_api()->mallctlnametomib("arena.0.purge", purge_mib,
					     &length);
	purge_mib[1] = index;
	redirect_budget(budget);
	heap_api()->mallctlbymib(purge_mib, 3, NULL, NULL, NULL, 0);
	redirect_budget(0);
}

uint64_t
purge_bytes(size_t bytes)
{
	unsigned count, tried = 0;
	uint64_t went = 0;

	pages_purge_lock();
	count = arenas_count();
	pages_returned_here();
	while (tried < count && went < bytes && !gate_fork_waits()) {
		uint64_t got;

		if (next_arena >= count)
			next_arena = 0;
		purge_arena(next_arena, bytes - went);
		got = pages_returned_here();
		went += got;
		if (went < bytes) {
			next_arena++;
			tried++;
		}
	}
	pages_purge_unlock();
	return went;
}

static size_t
heap_count(const struct spw_shrink *request, void *context)
{
	uint64_t committed = pages_committed_bytes();
	uint64_t active = purge_active_bytes();

	(void)request;
	(void)context;
	return committed > active ? (size_t)(committed - active) : 0;
}

static size_t
heap_shrink(const struct spw_shrink *request, void *context)
{
	(void)context;
	return (size_t)purge_bytes(request->target_bytes > SIZE_MAX ?
					   SIZE_MAX :
					   (size_t)request->target_bytes);
}

static struct spw_shrinker heap_shrinker = {
	.tier = SPW_TIER_FREE,
	.count = heap_count,
	.shrink = heap_shrink,
	.name = "heap",
};

/* What callbacks freed is in the reclaimer's thread cache. */
static void
flush_thread(void)
{
	heap_api()->mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
}

/* jemalloc's own decay again: nobody of ours will purge. */
static void
let_go(void)
{
	intptr_t decay_ms = 10000;

	heap_api()->mallctl("arenas.dirty_decay_ms", NULL, NULL, &decay_ms,
			    sizeof decay_ms);
	for (unsigned i = 0; i < arenas_count(); i++) {
		size_t mib[3], length = 3;

		if (!heap_active_pages(i) ||
		    heap_api()->mallctlnametomib("arena.0.dirty_decay_ms", mib,
						 &length) != 0)
			continue;
		mib[1] = i;
		heap_api()->mallctlbymib(mib, 3, NULL, NULL, &decay_ms,
					 sizeof decay_ms);
	}
}

static const struct core_heap heap = {
	.mapped_bytes = pages_mapped_bytes,
	.committed_bytes = pages_committed_bytes,
	.active_bytes = purge_active_bytes,
	.flush_thread = flush_thread,
	.fork_prepare = NULL,
	.scarce = huge_scarce,
	.plenty = huge_plenty,
	.let_go = let_go,
	.name = "jemalloc 5.3.0 (embedded)",
};

void
purge_start(void)
{
	shrinkers_add_own(&heap_shrinker);
	core_heap_set(&heap);
}
