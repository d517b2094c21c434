/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Soft references: memory behind a handle that may come back empty.
 *
 * Usage: inside spw_read_lock(): spw_soft_alloc(cache, bytes, &soft, &fill),
 * write to `fill`, keep `soft`; later, inside spw_read_lock(),
 * spw_soft_read(cache, soft) gives the memory, or NULL: gone, make it anew.
 *
 * Caveats:
 *  - the memory lives in the cache's segments and is evicted with its keys,
 *    the coldest first; it may move between two sections.
 *  - threads: thread-safe. What was written to `fill` is seen by others once
 *    they get the handle (publish it with release order).
 *  - spw_soft_free() ends a handle. A handle that was freed reads as NULL
 *    until its number has come round (4 billion times); debug builds abort on
 *    a second free.
 *  - fork, signals: as cache.h.
 */
#ifndef SPILLWAY_SOFT_H
#define SPILLWAY_SOFT_H

#include <spillway/cache.h>

SPW_BEGIN_DECLS

typedef uint64_t spw_soft_t; /* 0: none */

/*
 * Memory of `bytes`, aligned to 16, zeroed or not. Inside spw_read_lock():
 * *fill is to be written before that section ends. It does not wait for
 * memory. Errors: -EINVAL, -E2BIG (over SPW_CACHE_VALUE_MAX), -ENOMEM.
 */
int spw_soft_alloc(struct spw_cache *cache, size_t bytes, spw_soft_t *soft,
		   void **fill);

/* Inside spw_read_lock(), borrowed until its end; NULL: gone. */
const void *spw_soft_read(struct spw_cache *cache, spw_soft_t soft);

/*
 * What a cache begins with, for spw_soft_read_inline() alone; it is as long as
 * the library's soname. Slots: [segment 19][place 18][tag 15][generation 12],
 * the place in 8 bytes.
 */
struct spw_soft_view {
	const uint64_t *slots;   /* by the lower half of a handle */
	const uint32_t *tickets; /* by segment: owner << 12 | generation */
	const char *window;      /* where segment 0 would be */
	uint32_t owner;          /* << 12 */
	uint32_t hottest;        /* the heat that needs no store */
};

#ifndef SPW_NO_INLINE
/* The common case: it is there, where its slot says, and as hot as can be.
 * Loads acquire, as in the library's (doc/CACHE-PROOF.md). The slot's tag is a
 * part of the handle that its entry has for a key: that is compared. */
static inline const void *
spw_soft_read_inline(struct spw_cache *cache, spw_soft_t soft)
{
	const struct spw_soft_view *view =
		(const struct spw_soft_view *)(const void *)cache;
	const uint64_t *place = __atomic_load_n(&view->slots,
						__ATOMIC_ACQUIRE) +
				(uint32_t)soft;
	uint64_t slot = __atomic_load_n(place, __ATOMIC_ACQUIRE), handle;
	uint32_t ticket = __atomic_load_n(&view->tickets[slot >> 45],
					  __ATOMIC_ACQUIRE);
	const char *entry = view->window + (slot >> 27) * 8;
	uint16_t heat;

	if (__builtin_expect(ticket != (view->owner | (slot & 0xfff)) ||
				     __atomic_load_n(place, __ATOMIC_ACQUIRE) !=
					     slot,
			     0))
		return spw_soft_read(cache, soft);
	__builtin_memcpy(&handle, entry + 8, sizeof handle);
	heat = __atomic_load_n((const uint16_t *)(const void *)(entry + 6),
			       __ATOMIC_RELAXED);
	if (__builtin_expect(handle != soft ||
				     heat != __atomic_load_n(&view->hottest,
							     __ATOMIC_RELAXED),
			     0))
		return spw_soft_read(cache, soft);
	return entry + 16;
}

#define spw_soft_read(cache, soft) spw_soft_read_inline(cache, soft)
#endif

/* The handle is no more; 0 is ignored. */
void spw_soft_free(struct spw_cache *cache, spw_soft_t soft);

SPW_END_DECLS

#endif
