/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A body: one jemalloc arena with our hooks, in a window of addresses of its
 * own. A tagged arena (struct spw_arena) has one at a time; dropping gives it
 * another.
 *
 * Usage: body_get(), body_reset(), body_put().
 *
 * Caveats: bodies are never destroyed, only reused: destroying a jemalloc
 * arena holds ctl_mtx throughout and leaves pointers to its counters dangling.
 *
 * The window: all tagged memory lies in [2^45, 2^45 + 2^42), handed out in
 * units of 2 MiB, each of which belongs to one body. So one shift tells tagged
 * memory from plain, and one load more tells whose it is.
 */
#ifndef ALLOC_ARENA_BODY_H
#define ALLOC_ARENA_BODY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <spillway/arena.h>

#include "base/assert.h"

#define BODY_WINDOW_SHIFT 42
#define BODY_WINDOW_START (8ull << BODY_WINDOW_SHIFT)
#define BODY_WINDOW_BYTES (1ull << BODY_WINDOW_SHIFT)
#define BODY_UNIT_SHIFT 21
#define BODY_UNITS (BODY_WINDOW_BYTES >> BODY_UNIT_SHIFT)

/* At most so many bodies, hence tagged arenas. */
#define BODIES_MAX 256

struct extent_hooks; /* jemalloc's extent_hooks_t */

struct arena_body {
	/* jemalloc's extent_hooks_t, member by member (jemalloc(3)). */
	void *hooks[9];
	unsigned index;  /* jemalloc's */
	unsigned slot;   /* ours, below BODIES_MAX */
	int arena_flags; /* MALLOCX_ARENA(index) */
	bool huge;
	_Atomic uint64_t mapped_bytes, committed_bytes;
	/* Committed bytes that may not be passed; UINT64_MAX: none. */
	_Atomic uint64_t limit_bytes;
	_Atomic uint64_t failures;
	size_t *active_pages; /* jemalloc's counter */
	struct arena_body *next_spare;
};

extern _Atomic uint16_t body_of_unit[BODY_UNITS]; /* slot + 1 */
extern struct arena_body *bodies[BODIES_MAX];

static inline bool
body_is_tagged(const void *pointer)
{
	return (uintptr_t)pointer >> BODY_WINDOW_SHIFT ==
	       BODY_WINDOW_START >> BODY_WINDOW_SHIFT;
}

/* The body that tagged memory belongs to. */
static inline struct arena_body *
body_of(const void *pointer)
{
	uintptr_t unit = ((uintptr_t)pointer - BODY_WINDOW_START) >>
			 BODY_UNIT_SHIFT;
	uint16_t slot = atomic_load_explicit(&body_of_unit[unit],
					     memory_order_relaxed);

	base_assert(slot != 0);
	return bodies[slot - 1];
}

/* A spare or a new one. 0, -ENOSYS, -ENOMEM, -ENOSPC. */
int body_get(struct arena_body **body, uint64_t limit_bytes, bool huge);

/* Sees to it that body_get() will find a spare. Same errors. */
int body_reserve(void);

/*
 * Frees everything in it and returns its pages. Nobody may use its memory;
 * the caches that threads keep of it are emptied.
 */
void body_reset(struct arena_body *body);

/* Makes a reset one a spare. */
void body_put(struct arena_body *body);

uint64_t body_active_bytes(const struct arena_body *body);

#endif
