/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Returning the pages of libgc's free blocks.
 *
 * Called by boehm.c on a registered thread; calls libgc and madvise(2).
 *
 * A block that holds nothing is on libgc's list of free blocks and has a
 * header at its head alone: there GC_is_heap_ptr() is true, GC_base() NULL and
 * GC_size() the block's length. Its other pages have no header, and free
 * blocks hold no data of libgc's, so that MADV_DONTNEED of a whole block is
 * what GC_unmap() does on Linux. None of that is documented: boehm_can_sweep()
 * gates it by version.
 *
 * Under libgc's lock, a millisecond at a time, so that a thread that allocates
 * waits no longer; between two slices it may go first, for which we sleep: who
 * only unlocks has the lock again before another wakes. The world is not
 * stopped. A large block goes in pieces; what is left of it is known by its
 * head, which has the same length still, or is looked at again: part of it may
 * have been allocated. A heap that grew by huge pages has small ones from now
 * on: pieces end where huge pages do, and one that is cut is split first.
 *
 * Ranges are the private writable mappings of /proc/self/maps between the
 * addresses that libgc holds plausible; what is not its heap has no header. The
 * file is read as an errand, some at a time; nothing is allocated.
 */
#include "gc-bridge/boehm.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "alloc/huge.h"
#include "base/clock.h"
#include "pressure/errand.h"

#define BLOCK_BYTES 4096ul
#define PIECE_BYTES HUGE_BYTES
#define SLICE_NS CLOCK_MS
#define SLICE_STEPS 64 /* between two looks at the clock */
#define BETWEEN_US 50
#define MAPPINGS_MAX 64

struct range {
	char *at, *end;
	char *head; /* of the free block that `at` is in, where free_bytes */
	size_t free_bytes;
};

/* The length of the free block that begins there; 0: none does. */
static size_t
free_at(char *at)
{
	const struct boehm *b = boehm();

	if (!b->is_heap_ptr(at) || b->base(at))
		return 0;
	return b->size(at) & ~(BLOCK_BYTES - 1);
}

/* Returns one piece of a free block. */
static void
give(struct range *r)
{
	size_t left = (size_t)(r->head + r->free_bytes - r->at);
	size_t bytes = PIECE_BYTES - (uintptr_t)r->at % PIECE_BYTES;

	if (bytes > left)
		bytes = left;
	huge_split((uintptr_t)r->at, (uintptr_t)r->at + bytes);
	madvise(r->at, bytes, MADV_DONTNEED);
	r->at += bytes;
	if (bytes == left)
		r->free_bytes = 0;
}

/* To a free block, or over what is none. */
static void
step(struct range *r)
{
	const struct boehm *b = boehm();
	size_t bytes = BLOCK_BYTES;
	char *base;

	r->head = r->at;
	r->free_bytes = free_at(r->at);
	if (r->free_bytes)
		return;
	if (b->is_heap_ptr(r->at) && (base = b->base(r->at)) &&
	    base + b->size(base) > r->at)
		bytes = (size_t)(base + b->size(base) - r->at) &
			~(BLOCK_BYTES - 1);
	r->at += bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
}

static void *
sweep_slice(void *argument)
{
	struct range *r = argument;
	uint64_t until = clock_now_ns() + SLICE_NS;

	if (r->free_bytes && free_at(r->head) != r->free_bytes) {
		r->at = r->head;
		r->free_bytes = 0;
	}
	for (unsigned i = 1; r->at < r->end; i++) {
		if (r->free_bytes)
			give(r);
		else
			step(r);
		if ((r->free_bytes || i % SLICE_STEPS == 0) &&
		    clock_now_ns() >= until)
			break;
	}
	return NULL;
}

static void
sweep(uintptr_t start, uintptr_t end)
{
	const struct boehm *b = boehm();
	struct range r;

	if (b->is_heap_ptr((void *)start))
		huge_spare((void *)start, end - start);
	r = (struct range){ .at = (char *)start, .end = (char *)end };
	while (r.at < r.end) {
		b->call_with_alloc_lock(sweep_slice, &r);
		if (r.at < r.end)
			usleep(BETWEEN_US);
	}
}

/* Mappings between the addresses that libgc holds plausible, from `from` on;
 * where there are MAPPINGS_MAX there may be more. */
struct mappings {
	uintptr_t from;
	unsigned count;
	struct {
		uintptr_t start, end;
	} list[MAPPINGS_MAX];
};

/* "7f..-7f.. rw-p 00000000 00:00 0": anonymous, private, writable. */
static void
note_line(struct mappings *m, const char *line)
{
	const struct boehm *b = boehm();
	char *at;
	uintptr_t start = strtoull(line, &at, 16), end;

	if (*at != '-')
		return;
	end = strtoull(at + 1, &at, 16);
	if (strncmp(at, " rw-p ", 6) != 0 && strncmp(at, " rwxp ", 6) != 0)
		return;
	at = strchr(at + 6, ' '); /* behind the offset */
	if (!at || strncmp(at, " 00:00 0", 8) != 0)
		return;
	if (b->least_heap_addr && start < (uintptr_t)*b->least_heap_addr)
		start = (uintptr_t)*b->least_heap_addr & ~(BLOCK_BYTES - 1);
	if (b->greatest_heap_addr && end > (uintptr_t)*b->greatest_heap_addr)
		end = ((uintptr_t)*b->greatest_heap_addr | (BLOCK_BYTES - 1)) +
		      1;
	if (start >= end || start < m->from)
		return;
	m->list[m->count].start = start;
	m->list[m->count++].end = end;
}

/* An errand: fills in m->list. */
static void
note_mappings(void *argument)
{
	struct mappings *m = argument;
	char text[2048];
	size_t have = 0;
	ssize_t n;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	m->count = 0;
	if (fd < 0)
		return;
	while (m->count < MAPPINGS_MAX &&
	       (n = read(fd, text + have, sizeof text - 1 - have)) > 0) {
		char *line = text, *end;

		have += (size_t)n;
		text[have] = '\0';
		while (m->count < MAPPINGS_MAX && (end = strchr(line, '\n'))) {
			*end = '\0';
			note_line(m, line);
			line = end + 1;
		}
		have = strlen(line);
		if (have == sizeof text - 1)
			have = 0; /* a path longer than this: no heap */
		memmove(text, line, have);
	}
	close(fd);
}

void
boehm_sweep(void)
{
	struct mappings m = { .count = 0 };

	do {
		if (!errand_run(note_mappings, &m))
			return;
		for (unsigned i = 0; i < m.count; i++) {
			sweep(m.list[i].start, m.list[i].end);
			m.from = m.list[i].end;
		}
	} while (m.count == MAPPINGS_MAX);
}
