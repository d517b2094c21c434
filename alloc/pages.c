/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counting pages of our heap and returning them to the kernel.
 *
 * Called by redirect.c (automatic arenas of the embedded jemalloc) and
 * arena_hooks.c (tagged arenas), under jemalloc's locks: no allocation, no
 * lock, no libc beyond madvise(2). Counters are relaxed.
 */
#include "alloc/pages.h"

#include <sys/mman.h>

#include "alloc/huge.h"
#include "base/lock.h"
#include "pressure/core.h"

/* Linux 5.18: also where the program has locked its memory. */
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
/* One madvise(2) at most; between two a waiting thread may run. */
#define SLICE_BYTES (4ul << 20)

static struct base_lock purge_lock = BASE_LOCK(BASE_RANK_PURGE);
static _Atomic uint64_t mapped, committed, metadata;

/* What this thread returned since it last asked. */
static __thread uint64_t returned_here;

uint64_t
pages_mapped_bytes(void)
{
	return atomic_load_explicit(&mapped, memory_order_relaxed) +
	       pages_metadata_bytes();
}

uint64_t
pages_committed_bytes(void)
{
	return atomic_load_explicit(&committed, memory_order_relaxed);
}

uint64_t
pages_metadata_bytes(void)
{
	return atomic_load_explicit(&metadata, memory_order_relaxed);
}

void
pages_count(int64_t mapped_by, int64_t committed_by)
{
	if (mapped_by)
		atomic_fetch_add_explicit(&mapped, (uint64_t)mapped_by,
					  memory_order_relaxed);
	if (committed_by)
		atomic_fetch_add_explicit(&committed, (uint64_t)committed_by,
					  memory_order_relaxed);
}

void
pages_add_metadata(void *address, size_t bytes)
{
	huge_spare(address, bytes);
	atomic_fetch_add_explicit(&metadata, bytes, memory_order_relaxed);
}

uint64_t
pages_returned_here(void)
{
	uint64_t returned = returned_here;

	returned_here = 0;
	return returned;
}

bool
pages_return(void *address, size_t bytes)
{
	char *at = address;
	size_t left = bytes;

	huge_split((uintptr_t)address, (uintptr_t)address + bytes);
	while (left) {
		size_t slice = left < SLICE_BYTES ? left : SLICE_BYTES;

		if (madvise(at, slice, MADV_DONTNEED) != 0 &&
		    madvise(at, slice, MADV_DONTNEED_LOCKED) != 0)
			return false;
		at += slice;
		left -= slice;
	}
	returned_here += bytes;
	core_count(&core_counters.returned_bytes, bytes);
	return true;
}

void
pages_purge_lock(void)
{
	lock_fork_add(&purge_lock);
	base_lock(&purge_lock);
}

void
pages_purge_unlock(void)
{
	base_unlock(&purge_lock);
}
