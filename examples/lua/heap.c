/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where Lua's objects are.
 *
 * Called by Lua; calls collector.c and spillway. Blocks below LARGE are in a
 * tagged arena, so that `spillway stat` shows the heap by its name, its free
 * pages go back when memory is short, and it waits where growth has to wait.
 * Larger ones are mapped each for itself: they grow without a copy and are
 * given back the moment that they are freed. No allocator of spillway's sees
 * those, so they are announced to spw_pressure_grow() before.
 *
 * Lua says how long a block is when it gives it back: that tells in which of
 * the two it is. Shrinking may not fail (manual, lua_Alloc): a large block
 * that becomes small and for which the arena has no room goes to malloc;
 * spw_free() knows.
 */
#include "examples/lua/heap.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <spillway/arena.h>
#include <spillway/pressure.h>

#include "examples/lua/collector.h"

#define LARGE ((size_t)1 << 20)

static struct spw_arena *arena;
static _Atomic size_t used, used_max; /* written by the state's thread */

int
heap_open(void)
{
	struct spw_arena_options options = {
		.size = sizeof options,
		.name = "lua heap",
	};

	return spw_arena_create(&arena, &options);
}

void
heap_close(void)
{
	spw_arena_destroy(arena);
}

size_t
heap_bytes(void)
{
	return atomic_load_explicit(&used, memory_order_relaxed);
}

size_t
heap_bytes_max(void)
{
	return atomic_load_explicit(&used_max, memory_order_relaxed);
}

static void
count(size_t less, size_t more)
{
	size_t now = heap_bytes() - less + more;

	atomic_store_explicit(&used, now, memory_order_relaxed);
	if (now > heap_bytes_max())
		atomic_store_explicit(&used_max, now, memory_order_relaxed);
}

static void *
map_large(size_t bytes)
{
	void *block;

	if (spw_pressure_grow(bytes) != 0)
		return NULL;
	block = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return block == MAP_FAILED ? NULL : block;
}

static void *
resize_large(void *block, size_t old_bytes, size_t bytes)
{
	void *moved;

	if (bytes > old_bytes && spw_pressure_grow(bytes - old_bytes) != 0)
		return NULL;
	moved = mremap(block, old_bytes, bytes, MREMAP_MAYMOVE);
	if (moved != MAP_FAILED)
		return moved;
	return bytes > old_bytes ? NULL : block;
}

static void *
take(size_t bytes)
{
	return bytes >= LARGE ? map_large(bytes) :
				spw_arena_malloc(arena, bytes);
}

static void
give(void *block, size_t bytes)
{
	if (block && bytes >= LARGE)
		munmap(block, bytes);
	else
		spw_free(block);
}

/* From one of the two to the other. */
static void *
move(void *block, size_t old_bytes, size_t bytes)
{
	void *moved = take(bytes);

	if (!moved && bytes < old_bytes)
		moved = malloc(bytes);
	if (!moved)
		return NULL;
	memcpy(moved, block, old_bytes < bytes ? old_bytes : bytes);
	give(block, old_bytes);
	return moved;
}

static void *
resize(void *block, size_t old_bytes, size_t bytes)
{
	void *resized;

	if ((old_bytes >= LARGE) != (bytes >= LARGE))
		return move(block, old_bytes, bytes);
	if (bytes >= LARGE)
		return resize_large(block, old_bytes, bytes);
	resized = spw_arena_realloc(arena, block, bytes);
	return resized || bytes > old_bytes ? resized : block;
}

/* Where there is no block yet, old_bytes is what Lua makes. */
void *
heap_allocate(void *context, void *block, size_t old_bytes, size_t bytes)
{
	void *got;

	(void)context;
	if (!bytes) {
		if (block) {
			give(block, old_bytes);
			count(old_bytes, 0);
		}
		return NULL;
	}
	if (!block && collector_refuses(old_bytes))
		return NULL;
	got = block ? resize(block, old_bytes, bytes) : take(bytes);
	if (got)
		count(block ? old_bytes : 0, bytes);
	return got;
}
