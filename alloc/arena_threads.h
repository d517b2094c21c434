/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The explicit thread caches (tcaches) that a thread has of tagged arenas.
 *
 * Usage: threads_cache_flags(body) gives the MALLOCX_TCACHE(..) flags of the
 * calling thread.
 *
 * Caveats: the first use of an arena by a thread makes a cache (jemalloc
 * allocates); a thread's caches are destroyed when it exits. jemalloc has
 * 4,094 of them: threads beyond that go without (160 ns a pair, not 15).
 */
#ifndef ALLOC_ARENA_THREADS_H
#define ALLOC_ARENA_THREADS_H

#include "alloc/arena_body.h"

struct arena_thread {
	_Atomic int flags[BODIES_MAX];     /* 0: not made yet */
	struct arena_thread *next, **back; /* Guarded by the list's lock. */
};

/* 8 bytes of static TLS, so that dlopen() of libspillway.so works. */
extern __thread struct arena_thread *threads_here
	__attribute__((tls_model("initial-exec")));

int threads_make_cache(struct arena_body *body);

static inline int
threads_cache_flags(struct arena_body *body)
{
	struct arena_thread *here = threads_here;
	int flags = base_likely(here != NULL) ?
			    atomic_load_explicit(&here->flags[body->slot],
						 memory_order_relaxed) :
			    0;

	return base_likely(flags != 0) ? flags : threads_make_cache(body);
}

/* Empties every thread's cache of it. Nobody may use the arena meanwhile. */
void threads_flush(struct arena_body *body);

#endif
