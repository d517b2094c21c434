/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tagged arenas: memory with a name, a limit, exact accounting and, if you
 * say so, an expiry date.
 *
 * Usage: spw_arena_create(), spw_arena_malloc() ... spw_free(),
 * spw_arena_destroy().
 *
 * Caveats:
 *  - Needs a jemalloc 5.3 in the process: libspillway-malloc.so (preloaded or
 *    linked), or the program's own. Without one spw_arena_create() fails with
 *    -ENOSYS and the log says what is missing.
 *  - spw_free() frees tagged and plain memory. Plain free() of tagged memory
 *    is right where libspillway-malloc.so is the program's malloc, and only
 *    there.
 *  - threads: everything is thread-safe, but reset and destroy want that
 *    nobody uses memory of that arena meanwhile or afterwards.
 *  - fork: arenas are whole in the child. An arena costs a fork about 30 us
 *    and 121 KiB: have few. Never fork inside a read-side section: fork waits
 *    for grace periods.
 *  - thread exit: destructors of thread-specific data may allocate, until the
 *    last but one of glibc's four rounds; after that arenas give NULL.
 *  - signals: as malloc: not async-signal-safe.
 */
#ifndef SPILLWAY_ARENA_H
#define SPILLWAY_ARENA_H

#include <spillway/section.h>
#include <spillway/shrinker.h>

SPW_BEGIN_DECLS

struct spw_arena;
struct spw_domain;

/*
 * The arena is a cache as a whole. Under pressure, `drop` is called on the
 * reclaimer thread: it makes the arena's memory unreachable (unpublishes the
 * root, under the owner's own lock if there is one). After a grace period
 * everything that was allocated before is gone and its pages are returned.
 *
 * The rule for writers: inside spw_read_lock(), load the root first, allocate
 * second, link to that root third; where there is none, make one under the
 * lock that `drop` takes, and allocate it there. Readers hold spw_read_lock() while they
 * follow pointers into the arena. An object that is freed one by one must be
 * freed inside the section in which it was still reachable. Do not destroy
 * the arena inside a section, nor in `drop`.
 */
#define SPW_ARENA_RECLAIMABLE 0x1u
/* Ask for huge pages. */
#define SPW_ARENA_HUGE 0x2u

struct spw_arena_options {
	size_t size;
	const char *name;          /* copied; 1 to 63 bytes */
	struct spw_domain *domain; /* NULL */
	uint64_t limit_bytes;      /* of committed memory; 0: none */
	enum spw_tier tier;        /* of a reclaimable arena; 0: WARM */
	void (*drop)(void *context);
	void *context;
	unsigned flags;
};

struct spw_arena_stats {
	size_t size;
	uint64_t mapped_bytes;    /* address space */
	uint64_t committed_bytes; /* backed, or free to be backed, by memory */
	uint64_t active_bytes;    /* in pages that hold live objects */
	uint64_t limit_bytes;
	uint64_t drops;
	uint64_t failures; /* allocations refused by the limit */
};

/*
 * Errors: -EINVAL, -ENOMEM, -ENOSYS (no jemalloc), -ENOSPC (too many arenas),
 * -ENOTSUP (SPILLWAY_CONF=off).
 */
int spw_arena_create(struct spw_arena **arena,
		     const struct spw_arena_options *options);

/* Frees everything in it and the arena itself. NULL is ignored. */
void spw_arena_destroy(struct spw_arena *arena);

/* Frees everything in it, at the cost of a page table walk. */
void spw_arena_reset(struct spw_arena *arena);

/*
 * As the C functions of these names: NULL and errno ENOMEM when memory or the
 * arena's limit is out. Zero bytes give a unique pointer.
 * realloc: NULL allocates in the arena; a pointer stays in the arena it is in.
 */
void *spw_arena_malloc(struct spw_arena *arena, size_t bytes);
void *spw_arena_calloc(struct spw_arena *arena, size_t count, size_t bytes);
void *spw_arena_realloc(struct spw_arena *arena, void *pointer, size_t bytes);
void *spw_arena_aligned_alloc(struct spw_arena *arena, size_t alignment,
			      size_t bytes);

/* Frees tagged and plain memory; NULL is ignored. Keeps errno. */
void spw_free(void *pointer);

/* Errors: -EINVAL (NULL, or .size unknown). */
int spw_arena_stats(struct spw_arena *arena, struct spw_arena_stats *stats);

SPW_END_DECLS

#endif
