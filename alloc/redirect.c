/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the embedded jemalloc calls instead of its own functions, by
 * alloc/jemalloc.redirect, for its automatic arenas, the huge arena and its
 * metadata.
 *
 * Standing in for the functions below the default extent hooks reaches every
 * arena from the first byte on, costs no start-up and no extra arena, and
 * keeps jemalloc's fast way for default hooks, where hooks set by mallctl
 * would create eight arenas (50 us and 121 KiB each).
 *
 * Memory is mapped uncommitted, and decommit succeeds: so each growth and each
 * reuse of returned memory comes through spw_pages_commit(), where it is
 * charged to the gate.
 *
 * spw_pages_evict() stands between jemalloc's purge and its list of dirty
 * extents: with a budget it hands out that many bytes, oldest first, splits
 * an extent that is larger, and then says that there are no more. What is
 * left stays dirty and usable, instead of all of it being off the list for
 * as long as the purge lasts.
 *
 * All run under jemalloc's locks or between them: see pages.c.
 */
#include "alloc/redirect.h"

#include <stdbool.h>
#include <stdint.h>

#include "alloc/huge.h"
#include "alloc/pages.h"
#include "base/settings.h"
#include "pressure/gate.h"

#define MIB (1ul << 20)
#define PAGE_BYTES 4096ul
/* Zeroing what is resident beats returning it and faulting it in again. */
#define MEMSET_BYTES (8 * MIB)
/* huge:on is for heaps of this size and more: less would pay with memory for
 * nothing. */
#define HUGE_HEAP_BYTES (16 * MIB)

/* jemalloc 5.3.0, src/extent_mmap.c, pages.c, ecache.h, extent.h. */
void *je_extent_alloc_mmap(void *fresh, size_t bytes, size_t alignment,
			   bool *zero, bool *commit);
bool je_extent_dalloc_mmap(void *address, size_t bytes);
bool je_pages_purge_forced(void *address, size_t bytes);
void je_pages_unmap(void *address, size_t bytes);
struct edata *je_ecache_evict(void *tsdn, void *pac, void *ehooks, void *ecache,
			      size_t pages_min);
struct edata *je_extent_split_wrapper(void *tsdn, void *pac, void *ehooks,
				      struct edata *edata, size_t bytes_a,
				      size_t bytes_b, bool holding_core_locks);
void je_extent_record(void *tsdn, void *pac, void *ehooks, void *ecache,
		      struct edata *edata);

/* The head of jemalloc 5.3.0's struct edata_s. */

struct edata {
	uint64_t bits;
	void *address;
	size_t size_esn; /* bytes, and a serial number below the page */
};

static __thread size_t budget_bytes;
static __thread bool budget_set;

void
redirect_budget(size_t bytes)
{
	/* Extents are split at pages. */
	budget_bytes = bytes > SIZE_MAX - PAGE_BYTES ?
			       SIZE_MAX & ~(PAGE_BYTES - 1) :
			       (bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	budget_set = bytes != 0;
}

void *spw_pages_alloc(void *fresh, size_t bytes, size_t alignment, bool *zero,
		      bool *commit);
void *spw_pages_alloc_metadata(void *fresh, size_t bytes, size_t alignment,
			       bool *zero, bool *commit);
bool spw_pages_dalloc(void *address, size_t bytes);
bool spw_pages_commit(void *address, size_t bytes);
bool spw_pages_decommit(void *address, size_t bytes);
bool spw_pages_purge(void *address, size_t bytes);
void spw_pages_unmap(void *address, size_t bytes);
struct edata *spw_pages_evict(void *tsdn, void *pac, void *ehooks, void *ecache,
			      size_t pages_min);

/* For je_extent_alloc_mmap(): NULL when no memory. */
void *
spw_pages_alloc(void *fresh, size_t bytes, size_t alignment, bool *zero,
		bool *commit)
{
	bool wanted = *commit;
	/*
	 * Always readable and writable: where jemalloc believes that the
	 * kernel does not overcommit (vm.overcommit_memory=2, or no /proc) it
	 * would map without access and leave that to its own pages_commit().
	 */
	bool accessible = true;
	void *address = je_extent_alloc_mmap(fresh, bytes, alignment, zero,
					     &accessible);

	if (!address)
		return NULL;
	pages_count((int64_t)bytes, 0);
	*zero = true; /* fresh from the kernel */
	if (pages_mapped_bytes() >= HUGE_HEAP_BYTES &&
	    atomic_load_explicit(&settings()->huge, memory_order_relaxed))
		huge_ask(address, bytes);
	*commit = wanted;
	if (wanted)
		spw_pages_commit(address, bytes);
	return address;
}

void *
spw_pages_alloc_metadata(void *fresh, size_t bytes, size_t alignment,
			 bool *zero, bool *commit)
{
	void *address = je_extent_alloc_mmap(fresh, bytes, alignment, zero,
					     commit);

	if (address)
		pages_add_metadata(address, bytes);
	return address;
}

/* True: not unmapped (jemalloc retains address space). */
bool
spw_pages_dalloc(void *address, size_t bytes)
{
	bool kept = je_extent_dalloc_mmap(address, bytes);

	if (!kept)
		pages_count(-(int64_t)bytes, -(int64_t)bytes);
	return kept;
}

/* False: done. */
bool
spw_pages_commit(void *address, size_t bytes)
{
	pages_count(0, (int64_t)bytes);
	gate_charge(bytes);
	return false;
}

bool
spw_pages_decommit(void *address, size_t bytes)
{
	if (!pages_return(address, bytes))
		return true;
	pages_count(0, -(int64_t)bytes);
	return false;
}

/* For zeroing: true asks jemalloc to memset. */
bool
spw_pages_purge(void *address, size_t bytes)
{
	return bytes <= MEMSET_BYTES || je_pages_purge_forced(address, bytes);
}

void
spw_pages_unmap(void *address, size_t bytes)
{
	je_pages_unmap(address, bytes);
	pages_count(-(int64_t)bytes, -(int64_t)bytes);
}

struct edata *
spw_pages_evict(void *tsdn, void *pac, void *ehooks, void *ecache,
		size_t pages_min)
{
	struct edata *edata, *rest;
	size_t bytes;

	if (!budget_set)
		return je_ecache_evict(tsdn, pac, ehooks, ecache, pages_min);
	if (!budget_bytes)
		return NULL;
	edata = je_ecache_evict(tsdn, pac, ehooks, ecache, pages_min);
	if (!edata)
		return NULL;
	bytes = edata->size_esn & ~(PAGE_BYTES - 1);
	if (bytes / 3 * 2 > budget_bytes) {
		rest = je_extent_split_wrapper(tsdn, pac, ehooks, edata,
					       budget_bytes,
					       bytes - budget_bytes, false);
		if (rest) {
			je_extent_record(tsdn, pac, ehooks, ecache, rest);
			bytes = budget_bytes;
		}
	}
	budget_bytes -= bytes < budget_bytes ? bytes : budget_bytes;
	return edata;
}
