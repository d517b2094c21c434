/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Extent hooks of tagged arenas: addresses from the window, exact counts, the
 * arena's limit.
 *
 * Called by jemalloc, under its locks: no allocation, no lock, no libc beyond
 * mmap(2) and madvise(2). An extent is mapped uncommitted; commit charges it
 * against the arena's limit and the gate, decommit returns its pages. Address
 * space is never given back: jemalloc retains it for the body's next life.
 *
 * Units are claimed by moving `next_unit` forward; where something foreign
 * sits (MAP_FIXED_NOREPLACE says EEXIST) the claim is skipped; at the end of
 * the window it starts over, so that only 4 TiB live at once are the limit.
 */
#include "alloc/arena_hooks.h"

#include <sys/mman.h>

#include "alloc/huge.h"
#include "alloc/pages.h"
#include "base/fault.h"
#include "base/settings.h"
#include "pressure/gate.h"

#define UNIT_BYTES (1ul << BODY_UNIT_SHIFT)
#define CLAIM_TRIES 64

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static _Atomic uint64_t next_unit;

static struct arena_body *
body_of_hooks(void *hooks)
{
	return (struct arena_body *)hooks; /* its first member */
}

/* Address space for bytes, or NULL. */
static void *
claim(struct arena_body *body, size_t bytes, size_t alignment)
{
	uint64_t units = (bytes + UNIT_BYTES - 1) >> BODY_UNIT_SHIFT;
	uint64_t align = alignment > UNIT_BYTES ? alignment >> BODY_UNIT_SHIFT :
						  1;

	if (units + align > BODY_UNITS)
		return NULL;
	for (int i = 0; i < CLAIM_TRIES; i++) {
		uint64_t from = atomic_fetch_add(&next_unit, units + align - 1);
		char *at;
		void *got;

		from = (from + align - 1) / align * align % BODY_UNITS;
		if (from + units > BODY_UNITS)
			continue;
		at = (char *)(uintptr_t)(BODY_WINDOW_START +
					 (from << BODY_UNIT_SHIFT));
		got = mmap(at, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
				   MAP_FIXED_NOREPLACE,
			   -1, 0);
		if (got == MAP_FAILED)
			continue;
		if (got != at) { /* a kernel before 4.17: took it for a hint */
			munmap(got, bytes);
			return NULL;
		}
		for (uint64_t u = from; u < from + units; u++)
			atomic_store_explicit(&body_of_unit[u],
					      (uint16_t)(body->slot + 1),
					      memory_order_relaxed);
		return at;
	}
	return NULL;
}

static bool
charge(struct arena_body *body, size_t bytes)
{
	uint64_t limit = atomic_load_explicit(&body->limit_bytes,
					      memory_order_relaxed);
	uint64_t now = atomic_fetch_add_explicit(&body->committed_bytes, bytes,
						 memory_order_relaxed) +
		       bytes;

	if (now > limit) {
		atomic_fetch_sub_explicit(&body->committed_bytes, bytes,
					  memory_order_relaxed);
		atomic_fetch_add_explicit(&body->failures, 1,
					  memory_order_relaxed);
		return false;
	}
	pages_count(0, (int64_t)bytes);
	gate_charge(bytes);
	return true;
}

static void
uncharge(struct arena_body *body, size_t bytes)
{
	atomic_fetch_sub_explicit(&body->committed_bytes, bytes,
				  memory_order_relaxed);
	pages_count(0, -(int64_t)bytes);
}

/* jemalloc's metadata comes in aligned blocks of huge pages, committed and
 * zero: it is counted apart, since little of it is ever touched. */
static bool
is_metadata(size_t bytes, size_t alignment, bool zero, bool commit)
{
	return zero && commit && alignment >= HUGE_BYTES &&
	       bytes % HUGE_BYTES == 0;
}

/* A refused commit makes jemalloc map anew: an arena at its limit would eat
 * the window. */
static bool
mapped_enough(const struct arena_body *body)
{
	uint64_t limit = atomic_load_explicit(&body->limit_bytes,
					      memory_order_relaxed);

	return limit < UINT64_MAX / 4 &&
	       atomic_load_explicit(&body->mapped_bytes, memory_order_relaxed) >
		       2 * limit + (64ull << 20);
}

/* extent_alloc_t. */
static void *
hook_alloc(void *hooks, void *fresh, size_t bytes, size_t alignment, bool *zero,
	   bool *commit, unsigned index)
{
	struct arena_body *body = body_of_hooks(hooks);
	void *address;

	(void)index;
	if (fresh || base_fault("arena_map"))
		return NULL;
	if (is_metadata(bytes, alignment, *zero, *commit)) {
		address = claim(body, bytes, alignment);
		if (address)
			pages_add_metadata(address, bytes);
		return address;
	}
	if (mapped_enough(body) || (*commit && !charge(body, bytes)))
		return NULL;
	address = claim(body, bytes, alignment);
	if (!address) {
		if (*commit)
			uncharge(body, bytes);
		return NULL;
	}
	*zero = true;
	atomic_fetch_add_explicit(&body->mapped_bytes, bytes,
				  memory_order_relaxed);
	pages_count((int64_t)bytes, 0);
	return address;
}

/* extent_dalloc_t: true, kept. */
static bool
hook_dalloc(void *hooks, void *address, size_t bytes, bool committed,
	    unsigned index)
{
	(void)hooks;
	(void)address;
	(void)bytes;
	(void)committed;
	(void)index;
	return true;
}

/* extent_commit_t: false is success. */
static bool
hook_commit(void *hooks, void *address, size_t bytes, size_t offset,
	    size_t length, unsigned index)
{
	struct arena_body *body = body_of_hooks(hooks);

	(void)bytes;
	(void)index;
	if (!charge(body, length))
		return true;
	if (body->huge && length >= HUGE_BYTES)
		huge_ask((char *)address + offset, length);
	return false;
}

static bool
hook_decommit(void *hooks, void *address, size_t bytes, size_t offset,
	      size_t length, unsigned index)
{
	struct arena_body *body = body_of_hooks(hooks);

	(void)bytes;
	(void)index;
	if (!pages_return((char *)address + offset, length))
		return true;
	uncharge(body, length);
	return false;
}

static bool
hook_purge_forced(void *hooks, void *address, size_t bytes, size_t offset,
		  size_t length, unsigned index)
{
	(void)hooks;
	(void)bytes;
	(void)index;
	return !pages_return((char *)address + offset, length);
}

static bool
hook_split(void *hooks, void *address, size_t bytes, size_t bytes_a,
	   size_t bytes_b, bool committed, unsigned index)
{
	(void)hooks;
	(void)address;
	(void)bytes;
	(void)bytes_a;
	(void)bytes_b;
	(void)committed;
	(void)index;
	return false;
}

static bool
hook_merge(void *hooks, void *address_a, size_t bytes_a, void *address_b,
	   size_t bytes_b, bool committed, unsigned index)
{
	(void)hooks;
	(void)address_a;
	(void)bytes_a;
	(void)address_b;
	(void)bytes_b;
	(void)committed;
	(void)index;
	return false;
}

void
hooks_fill(struct arena_body *body)
{
	/* alloc, dalloc, destroy, commit, decommit, purge_lazy, purge_forced,
	 * split, merge: the order of jemalloc(3)'s extent_hooks_s. */
	body->hooks[0] = (void *)hook_alloc;
	body->hooks[1] = (void *)hook_dalloc;
	body->hooks[2] = NULL;
	body->hooks[3] = (void *)hook_commit;
	body->hooks[4] = (void *)hook_decommit;
	body->hooks[5] = NULL;
	body->hooks[6] = (void *)hook_purge_forced;
	body->hooks[7] = (void *)hook_split;
	body->hooks[8] = (void *)hook_merge;
}
