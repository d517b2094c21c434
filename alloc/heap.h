/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The jemalloc in this process, whoever brought it, and what alloc/ needs of
 * it.
 *
 * Usage: const struct heap_api *api = heap_api(); NULL: there is none.
 *
 * Caveats: libspillway-malloc.so answers with its own (embedded.c),
 * libspillway.so looks in the process (foreign.c). Thread-safe.
 */
#ifndef ALLOC_HEAP_H
#define ALLOC_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* jemalloc's flags for mallocx(), from its manual (3). */
#define HEAP_ALIGN(a) (__builtin_ctzll(a))
#define HEAP_ZERO 0x40
#define HEAP_TCACHE(id) ((int)(((id) + 2u) << 8))
#define HEAP_TCACHE_NONE HEAP_TCACHE(-1u)
#define HEAP_ARENA(index) ((int)(((index) + 1u) << 20))

struct heap_api {
	bool embedded; /* ours: hooks see all arenas, purges slice */
	void *(*mallocx)(size_t bytes, int flags);
	void *(*rallocx)(void *pointer, size_t bytes, int flags);
	void (*dallocx)(void *pointer, int flags);
	size_t (*sallocx)(const void *pointer, int flags);
	int (*mallctl)(const char *name, void *old, size_t *old_bytes,
		       void *fresh, size_t fresh_bytes);
	int (*mallctlnametomib)(const char *name, size_t *mib,
				size_t *mib_length);
	int (*mallctlbymib)(const size_t *mib, size_t mib_length, void *old,
			    size_t *old_bytes, void *fresh, size_t fresh_bytes);
};

const struct heap_api *heap_api(void);

/*
 * jemalloc's counter of an arena's pages in use; NULL: no such arena (yet).
 * jemalloc tells it (experimental.arenas.<i>.pactivep) only of arenas that
 * existed when statistics were last gathered.
 */
size_t *heap_active_pages(unsigned index);

/* The process's own free(): what spw_free() does with plain memory. */
void heap_free(void *pointer);

/* Registers whatever frees memory of this heap; once; allocates nothing. */
void heap_start(void);

#endif
