/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bridge to Boehm's collector: C programs, Guile, ECL, w3m, Crystal.
 *
 * Conditions: libgc 8 as a shared library; threads may register, for which
 * GC_allow_register_threads() must have run on the program's own thread before
 * any concurrency. Under the preload that follows its GC_init()
 * (boehm_init.c); a program that is linked with libspillway.so calls
 * spw_gc_attach("boehm") there. Elsewhere libgc is left alone: allowing it
 * later, from a foreign thread, crashed 3 of 6 runs, as threads inside the
 * allocator had not locked.
 *
 * Why it is safe:
 *  - The bridge's thread is registered for the time of a call alone, keeps no
 *    pointer into the heap, and has the stop signals open (an unregistered
 *    collecting thread aborts; a blocked SIGSEGV kills incremental mode).
 *  - Finalizers do not run on it: they wait for the program's next allocation.
 *  - GC_disable() is respected: free blocks are still returned.
 *  - Only the heads of free blocks are touched, under libgc's lock, with the
 *    same madvise as libgc's own unmapping (boehm_sweep.c).
 *  - A fork waits for a collection, or the child would inherit its lock.
 *
 * One mark, then a sweep of ours: GC_gcollect_and_unmap() returns memory at
 * its third call only, with the world stopped. Where the version is not one
 * whose free blocks we know, three calls it is.
 */
#include "gc-bridge/boehm.h"

#include <errno.h>
#include <stdatomic.h>

#include "gc-bridge/runtimes.h"
#include "gc-bridge/symbols.h"

#define VERSION_MIN 0x080000
#define VERSION_SWEEP_MIN 0x080200
#define VERSION_SWEEP_END 0x080300
/* Free and still resident: worth a sweep before a mark. */
#define UNSWEPT_BYTES (32ul << 20)

static struct boehm table;
static _Atomic bool found;
/* Free bytes after the last sweep: no longer resident. */
static _Atomic size_t swept_bytes;

static const struct symbol needed[] = {
	{ "GC_get_version", &table.get_version },
	{ "GC_is_init_called", &table.is_init_called },
	{ "GC_is_disabled", &table.is_disabled },
	{ "GC_allow_register_threads", &table.allow_register_threads },
	{ "GC_get_stack_base", &table.get_stack_base },
	{ "GC_register_my_thread", &table.register_my_thread },
	{ "GC_unregister_my_thread", &table.unregister_my_thread },
	{ "GC_thread_is_registered", &table.thread_is_registered },
	{ "GC_gcollect", &table.gcollect },
	{ "GC_gcollect_and_unmap", &table.gcollect_and_unmap },
	{ "GC_get_finalize_on_demand", &table.get_finalize_on_demand },
	{ "GC_set_finalize_on_demand", &table.set_finalize_on_demand },
	{ "GC_call_with_alloc_lock", &table.call_with_alloc_lock },
	{ "GC_is_heap_ptr", &table.is_heap_ptr },
	{ "GC_base", &table.base },
	{ "GC_size", &table.size },
	{ "GC_get_heap_size", &table.get_heap_size },
	{ "GC_get_free_bytes", &table.get_free_bytes },
	{ "GC_get_suspend_signal", &table.get_suspend_signal },
	{ "GC_get_thr_restart_signal", &table.get_thr_restart_signal },
};

static const struct symbol wanted[] = {
	{ "GC_exclude_static_roots", &table.exclude_static_roots },
	{ "GC_get_free_space_divisor", &table.get_free_space_divisor },
	{ "GC_set_free_space_divisor", &table.set_free_space_divisor },
	{ "GC_get_min_bytes_allocd", &table.get_min_bytes_allocd },
	{ "GC_set_min_bytes_allocd", &table.set_min_bytes_allocd },
	{ "GC_get_on_heap_resize", &table.get_on_heap_resize },
	{ "GC_set_on_heap_resize", &table.set_on_heap_resize },
	{ "GC_get_push_other_roots", &table.get_push_other_roots },
	{ "GC_set_push_other_roots", &table.set_push_other_roots },
	{ "GC_push_all_eager", &table.push_all_eager },
	{ "GC_malloc_uncollectable", &table.malloc_uncollectable },
	{ "GC_free", &table.free },
	{ "GC_general_register_disappearing_link",
	  &table.general_register_disappearing_link },
	{ "GC_unregister_disappearing_link",
	  &table.unregister_disappearing_link },
	{ "GC_parallel", &table.parallel },
	{ "GC_least_plausible_heap_addr", &table.least_heap_addr },
	{ "GC_greatest_plausible_heap_addr", &table.greatest_heap_addr },
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

const struct boehm *
boehm(void)
{
	return &table;
}

bool
boehm_find(void)
{
	if (atomic_load(&found))
		return true;
	if (!symbols_find_all("libgc.so", needed, COUNT(needed), NULL))
		return false;
	for (size_t i = 0; i < COUNT(wanted); i++)
		symbols_find("libgc.so", wanted[i].name, wanted[i].function);
	table.version = table.get_version();
	if (table.version < VERSION_MIN)
		return false;
	atomic_store(&found, true);
	return true;
}

bool
boehm_can_sweep(void)
{
	return table.version >= VERSION_SWEEP_MIN &&
	       table.version < VERSION_SWEEP_END;
}

static int
probe(bool attached, const char **why)
{
	if (!boehm_find())
		return -ENOENT;
	if (!table.is_init_called() || boehm_is_arming())
		return -EAGAIN;
	if (attached)
		boehm_arm();
	if (!boehm_is_armed()) {
		*why = "its GC_init() was not seen here; call "
		       "spw_gc_attach(\"boehm\") after GC_INIT()";
		return -EOPNOTSUPP;
	}
	return 0;
}

/* What is resident of it: what the last sweep returned and is still free is
 * not. Read without the lock: estimates. */
static size_t
heap(void *unused)
{
	size_t size = table.get_heap_size(), free = table.get_free_bytes();
	size_t swept = atomic_load(&swept_bytes);

	(void)unused;
	if (swept > free)
		swept = free;
	return size > swept ? size - swept : 0;
}

static void
mark(enum spw_level level)
{
	int on_demand = table.get_finalize_on_demand();

	table.set_finalize_on_demand(1);
	boehm_soft_weaken(level == SPW_LEVEL_CRITICAL);
	if (boehm_can_sweep()) {
		table.gcollect();
	} else {
		for (int i = 0; i < 3; i++)
			table.gcollect_and_unmap();
	}
	boehm_soft_strengthen();
	table.set_finalize_on_demand(on_demand);
}

/* Whether what is free already is worth a call without a mark. */
static bool
has_unswept(void)
{
	size_t free = table.get_free_bytes();

	return boehm_can_sweep() &&
	       free >= atomic_load(&swept_bytes) + UNSWEPT_BYTES;
}

static size_t
collect(enum spw_level level, uint64_t deadline_ns, void *unused)
{
	struct boehm_stack stack;

	(void)deadline_ns;
	(void)unused;
	if (table.get_stack_base(&stack) != 0 ||
	    table.register_my_thread(&stack) != 0)
		return 0;
	if (level >= SPW_LEVEL_MEDIUM && !table.is_disabled() &&
	    (level == SPW_LEVEL_CRITICAL || !has_unswept()))
		mark(level);
	if (boehm_can_sweep()) {
		boehm_sweep();
		atomic_store(&swept_bytes, table.get_free_bytes());
	}
	table.unregister_my_thread();
	return 0; /* resident memory tells */
}

static void
tune(uint64_t headroom_bytes, void *unused)
{
	(void)unused;
	boehm_tune(headroom_bytes);
}

static void
open_signals(sigset_t *blocked)
{
	int stop = table.get_suspend_signal();
	int restart = table.get_thr_restart_signal();

	if (stop > 0)
		sigdelset(blocked, stop);
	if (restart > 0)
		sigdelset(blocked, restart);
}

const struct bridge_runtime boehm_runtime = {
	.name = "boehm",
	.by_default = true,
	.fork_waits = true,
	.gives_unmarked = true,
	.probe = probe,
	.collect = collect,
	.heap = heap,
	.tune = tune,
	.open_signals = open_signals,
};
