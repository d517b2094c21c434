/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Write protection that the kernel lifts by itself and remembers: every
 * private writable mapping is registered with a userfaultfd in asynchronous
 * mode; PAGEMAP_SCAN tells which pages were written, and protects them anew.
 *
 * The structures are declared here: kernel headers of before 6.7 lack them
 * (Linux, Documentation/admin-guide/mm/pagemap.rst).
 */
#include "bench/written.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/bench.h"

#define PAGE 4096u
#define MAPPINGS_MAX 512
#define FEATURE_UNPOPULATED (1u << 13)
#define FEATURE_ASYNC (1u << 15)
#define IS_WRITTEN (1u << 1)
#define WRITE_PROTECT_MATCHING (1u << 0)

struct region {
	uint64_t start, end, categories;
};

struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask;
	uint64_t return_mask;
};

#define PAGEMAP_SCAN_REQUEST _IOWR('f', 16, struct scan)

static int pagemap = -1, faults = -1;
static struct {
	uint64_t start, end;
} mappings[MAPPINGS_MAX];
static unsigned mapping_count;

bool
written_start(void)
{
	struct uffdio_api api = {
		.api = UFFD_API, .features = FEATURE_ASYNC | FEATURE_UNPOPULATED
	};

	if (pagemap >= 0)
		return true;
	faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (faults < 0 || ioctl(faults, UFFDIO_API, &api) != 0) {
		bench_note("no rows -pages-written: userfaultfd: %s",
			   strerror(errno));
		if (faults >= 0)
			close(faults);
		return false;
	}
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	return pagemap >= 0;
}

/* Pages of the mapping that were written; they are protected again. */
static long
scan(uint64_t start, uint64_t end)
{
	struct region regions[64];
	long pages = 0;

	while (start < end) {
		struct scan request = {
			.size = sizeof request,
			.flags = WRITE_PROTECT_MATCHING,
			.start = start,
			.end = end,
			.vec = (uintptr_t)regions,
			.vec_len = 64,
			.category_mask = IS_WRITTEN,
			.return_mask = IS_WRITTEN,
		};
		int found = ioctl(pagemap, PAGEMAP_SCAN_REQUEST, &request);

		if (found < 0)
			bench_die("PAGEMAP_SCAN");
		for (int i = 0; i < found; i++)
			pages += (long)((regions[i].end - regions[i].start) /
					PAGE);
		if (request.walk_end <= start)
			break;
		start = request.walk_end;
	}
	return pages;
}

void
written_clear(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];

	if (maps == NULL)
		bench_die("/proc/self/maps");
	mapping_count = 0;
	while (fgets(line, sizeof line, maps) != NULL) {
		unsigned long start, end;
		char rights[5];
		struct uffdio_register one;

		if (sscanf(line, "%lx-%lx %4s", &start, &end, rights) != 3 ||
		    rights[1] != 'w' || rights[3] != 'p' ||
		    mapping_count == MAPPINGS_MAX)
			continue;
		one = (struct uffdio_register){
			.range = { .start = start, .len = end - start },
			.mode = UFFDIO_REGISTER_MODE_WP
		};
		/* Private mappings of files are refused, and left out. */
		if (ioctl(faults, UFFDIO_REGISTER, &one) != 0)
			continue;
		mappings[mapping_count].start = start;
		mappings[mapping_count].end = end;
		mapping_count++;
	}
	fclose(maps);
	written_count();
}

long
written_count(void)
{
	long pages = 0;

	for (unsigned i = 0; i < mapping_count; i++)
		pages += scan(mappings[i].start, mappings[i].end);
	return pages;
}
