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
 * Under libgc's lock, 16 MiB of addresses at a time, so that a thread that
 * allocates waits for 2 ms at most; between two slices it may go first. The
 * world is not stopped. Ranges are the private writable mappings of
 * /proc/self/maps between the addresses that libgc holds plausible; what is
 * not its heap has no header. The file is read in pieces, nothing is
 * allocated.
 */
#include "gc-bridge/boehm.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK_BYTES 4096ul
#define SLICE_BYTES (16ul << 20)

struct range {
	char *at, *end;
};

static void *
sweep_slice(void *argument)
{
	const struct boehm *b = boehm();
	struct range *r = argument;
	char *stop = r->end;

	if ((size_t)(stop - r->at) > SLICE_BYTES)
		stop = r->at + SLICE_BYTES;
	while (r->at < stop) {
		size_t step = BLOCK_BYTES;

		if (b->is_heap_ptr(r->at)) {
			char *base = b->base(r->at);
			size_t bytes = b->size(base ? base : r->at);

			if (base)
				bytes = (size_t)(base + bytes - r->at);
			bytes &= ~(BLOCK_BYTES - 1);
			if (!base && bytes)
				madvise(r->at, bytes, MADV_DONTNEED);
			if (bytes > step)
				step = bytes;
		}
		r->at += step;
	}
	return NULL;
}

static void
sweep(uintptr_t start, uintptr_t end)
{
	const struct boehm *b = boehm();
	struct range r;

	if (b->least_heap_addr && start < (uintptr_t)*b->least_heap_addr)
		start = (uintptr_t)*b->least_heap_addr & ~(BLOCK_BYTES - 1);
	if (b->greatest_heap_addr && end > (uintptr_t)*b->greatest_heap_addr)
		end = ((uintptr_t)*b->greatest_heap_addr | (BLOCK_BYTES - 1)) +
		      1;
	r = (struct range){ .at = (char *)start, .end = (char *)end };
	while (r.at < r.end) {
		b->call_with_alloc_lock(sweep_slice, &r);
		sched_yield();
	}
}

/* "7f..-7f.. rw-p 00000000 00:00 0": anonymous, private, writable. */
static void
sweep_line(const char *line)
{
	char *at;
	uintptr_t start = strtoull(line, &at, 16), end;

	if (*at != '-')
		return;
	end = strtoull(at + 1, &at, 16);
	if (strncmp(at, " rw-p ", 6) != 0 && strncmp(at, " rwxp ", 6) != 0)
		return;
	at = strchr(at + 6, ' '); /* behind the offset */
	if (at && strncmp(at, " 00:00 0", 8) == 0)
		sweep(start, end);
}

void
boehm_sweep(void)
{
	char text[2048];
	size_t have = 0;
	ssize_t n;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	while ((n = read(fd, text + have, sizeof text - 1 - have)) > 0) {
		char *line = text, *end;

		have += (size_t)n;
		text[have] = '\0';
		while ((end = strchr(line, '\n'))) {
			*end = '\0';
			sweep_line(line);
			line = end + 1;
		}
		have = strlen(line);
		if (have == sizeof text - 1)
			have = 0; /* a path longer than this: no heap */
		memmove(text, line, have);
	}
	close(fd);
}
