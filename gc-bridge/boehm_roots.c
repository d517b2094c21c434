/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Regions of other memory in which Boehm's collector looks for pointers.
 *
 * spw_gc_roots_set() on threads of the program's; push() by libgc, with the
 * world stopped: there it takes no lock and calls no malloc, but reads one
 * array that never changes. A new one is put into place under libgc's lock,
 * where no collection runs; so the old one can be freed behind it.
 *
 * GC_add_roots() aborts near 2,040 sets, and GC_push_all() of many regions
 * overflows the mark stack; GC_push_all_eager() of few, large ones does
 * neither.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <spillway/gc.h>

#include "base/elsewhere.h"
#include "gc-bridge/boehm.h"

#define REGIONS_MAX 1024

struct roots {
	size_t count;
	struct spw_gc_region regions[];
};

static struct roots *roots; /* Guarded by libgc's lock. */
static void (*next_push)(void);
static _Atomic bool hooked;

static void
push(void)
{
	const struct roots *r = roots;

	if (next_push)
		next_push();
	for (size_t i = 0; r && i < r->count; i++)
		boehm()->push_all_eager(r->regions[i].start,
					(char *)r->regions[i].start +
						r->regions[i].bytes);
}

/* Under libgc's lock; the old one, to be freed. */
static void *
swap(void *fresh)
{
	struct roots *old = roots;

	roots = fresh;
	return old;
}

static bool
is_good(const struct spw_gc_region *r, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!r[i].start || !r[i].bytes ||
		    (uintptr_t)r[i].start % sizeof(void *) ||
		    r[i].bytes % sizeof(void *))
			return false;
	return true;
}

SPW_EXPORT int
spw_gc_roots_set(const struct spw_gc_region *regions, size_t count)
{
	struct roots *fresh = NULL;

	ELSEWHERE(spw_gc_roots_set, regions, count);
	if (count > REGIONS_MAX)
		return -ENOSPC;
	if (count && (!regions || !is_good(regions, count)))
		return -EINVAL;
	if (!boehm_find() || !boehm_is_armed() || !boehm()->push_all_eager ||
	    !boehm()->get_push_other_roots || !boehm()->set_push_other_roots)
		return -ENOTSUP;
	if (count) {
		fresh = malloc(sizeof *fresh + count * sizeof *regions);
		if (!fresh)
			return -ENOMEM;
		fresh->count = count;
		memcpy(fresh->regions, regions, count * sizeof *regions);
	}
	free(boehm()->call_with_alloc_lock(swap, fresh));
	if (!atomic_exchange(&hooked, true)) {
		next_push = boehm()->get_push_other_roots();
		boehm()->set_push_other_roots(push);
	}
	return 0;
}
