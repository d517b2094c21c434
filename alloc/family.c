/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rest of the malloc family, so that nothing of glibc's own heap is left
 * in use.
 *
 * malloc, calloc, posix_memalign, aligned_alloc, memalign, valloc and
 * malloc_usable_size are the embedded jemalloc's own, without a step in
 * between. free, realloc and sdallocx look first whether memory is tagged
 * (one shift, one compare). The others answer for this heap: a program that
 * calls malloc_trim() under pressure gets what it asked for.
 *
 * No lock, no state.
 */
#include <errno.h>
#include <jemalloc/jemalloc.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <spillway/arena.h>

#include "alloc/arena_body.h"
#include "alloc/heap.h"
#include "alloc/pages.h"
#include "alloc/purge.h"

#define PAGE_BYTES 4096ul
/* Scudo's codes for mallopt(3): the same wish, the same answer. */
#define FAMILY_M_PURGE (-101)
#define FAMILY_M_PURGE_ALL (-104)

/* jemalloc's, by alloc/jemalloc.redirect. */
void spw_heap_free(void *pointer);
void *spw_heap_realloc(void *pointer, size_t bytes);
void spw_heap_sdallocx(void *pointer, size_t bytes, int flags);

/* In no header of this C library: too old, too new. */
void cfree(void *pointer);
void free_sized(void *pointer, size_t bytes);
void free_aligned_sized(void *pointer, size_t alignment, size_t bytes);

void heap_family_delete(void *pointer, size_t bytes);

#if defined(__x86_64__) && !defined(__CET__)
_Static_assert(BODY_WINDOW_SHIFT == 42 &&
		       BODY_WINDOW_START >> BODY_WINDOW_SHIFT == 8,
	       "as free() has them");
/*
 * As below, but leaving by one jump where compilers make two, and on a cache
 * line of its own: 3 % of a pair of malloc and free (bench tight).
 */
__asm__(".text\n"
	".p2align 6\n"
	".globl free\n"
	".type free, @function\n"
	"free:\n"
	"	mov %rdi, %rax\n"
	"	shr $42, %rax\n"
	"	cmp $8, %eax\n"
	"	jne spw_heap_free\n"
	"	jmp spw_free\n"
	".size free, . - free\n");
#else
SPW_EXPORT void
free(void *pointer)
{
	if (base_unlikely(body_is_tagged(pointer)))
		spw_free(pointer);
	else
		spw_heap_free(pointer);
}
#endif

SPW_EXPORT void *
realloc(void *pointer, size_t bytes)
{
	if (base_unlikely(body_is_tagged(pointer)))
		return spw_arena_realloc(NULL, pointer, bytes);
	return spw_heap_realloc(pointer, bytes);
}

SPW_EXPORT void
sdallocx(void *pointer, size_t bytes, int flags)
{
	if (base_unlikely(body_is_tagged(pointer)))
		spw_free(pointer);
	else
		spw_heap_sdallocx(pointer, bytes, flags);
}

void
heap_free(void *pointer)
{
	spw_heap_free(pointer);
}

SPW_EXPORT void
cfree(void *pointer)
{
	free(pointer);
}

SPW_EXPORT void
free_sized(void *pointer, size_t bytes)
{
	(void)bytes;
	free(pointer);
}

SPW_EXPORT void
free_aligned_sized(void *pointer, size_t alignment, size_t bytes)
{
	(void)alignment;
	(void)bytes;
	free(pointer);
}

SPW_EXPORT void *
reallocarray(void *pointer, size_t count, size_t bytes)
{
	size_t all;

	if (__builtin_mul_overflow(count, bytes, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(pointer, all);
}

SPW_EXPORT void *
pvalloc(size_t bytes)
{
	size_t whole;

	if (__builtin_add_overflow(bytes, PAGE_BYTES - 1, &whole)) {
		errno = ENOMEM;
		return NULL;
	}
	whole &= ~(PAGE_BYTES - 1);
	return memalign(PAGE_BYTES, whole ? whole : PAGE_BYTES);
}

/* 1 when anything went back to the kernel. */
SPW_EXPORT int
malloc_trim(size_t keep)
{
	(void)keep;
	mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
	return purge_bytes(SIZE_MAX) > 0;
}

SPW_EXPORT int
mallopt(int parameter, int value)
{
	(void)value;
	if (parameter == FAMILY_M_PURGE || parameter == FAMILY_M_PURGE_ALL)
		return malloc_trim(0), 1;
	return 1; /* glibc's tunables have no counterpart: taken, ignored */
}

static struct mallinfo2
info(void)
{
	struct mallinfo2 i;
	uint64_t committed = pages_committed_bytes();
	uint64_t active = purge_active_bytes();

	memset(&i, 0, sizeof i);
	i.arena = committed + pages_metadata_bytes();
	i.uordblks = active;
	i.fordblks = committed > active ? committed - active : 0;
	i.keepcost = i.fordblks;
	i.usmblks = pages_mapped_bytes();
	return i;
}

SPW_EXPORT struct mallinfo2
mallinfo2(void)
{
	return info();
}

static int
clamp(size_t bytes)
{
	return bytes > 0x7fffffff ? 0x7fffffff : (int)bytes;
}

SPW_EXPORT struct mallinfo
mallinfo(void)
{
	struct mallinfo2 wide = info();
	struct mallinfo narrow;

	memset(&narrow, 0, sizeof narrow);
	narrow.arena = clamp(wide.arena);
	narrow.uordblks = clamp(wide.uordblks);
	narrow.fordblks = clamp(wide.fordblks);
	narrow.keepcost = clamp(wide.keepcost);
	narrow.usmblks = clamp(wide.usmblks);
	return narrow;
}

static void
print_to_stderr(void *unused, const char *text)
{
	(void)unused;
	if (write(2, text, strlen(text)) < 0)
		return;
}

SPW_EXPORT void
malloc_stats(void)
{
	malloc_stats_print(print_to_stderr, NULL, NULL);
}

SPW_EXPORT int
malloc_info(int options, FILE *out)
{
	struct mallinfo2 i = info();

	if (options != 0) {
		errno = EINVAL;
		return -1;
	}
	fprintf(out,
		"<malloc version=\"1\">\n"
		"<heap nr=\"0\">\n</heap>\n"
		"<total type=\"rest\" count=\"0\" size=\"%zu\"/>\n"
		"<system type=\"current\" size=\"%zu\"/>\n"
		"<system type=\"max\" size=\"%zu\"/>\n"
		"<aspace type=\"total\" size=\"%zu\"/>\n"
		"<aspace type=\"mprotect\" size=\"%zu\"/>\n"
		"</malloc>\n",
		i.fordblks, i.arena, i.arena, i.usmblks, i.usmblks);
	return 0;
}
