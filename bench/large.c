/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * large-buffers: a working set of big buffers that are replaced at random,
 * every page touched, as image and matrix programs do. What it shows is
 * whether an allocator keeps freed pages warm or pays the kernel for them
 * again each time.
 *
 * On a virtual machine the first touch of a page that the host has taken back
 * costs twenty times as much as later ones, and hits whoever comes first. So
 * before the clock starts a child touches a gibibyte of small pages and one of
 * huge pages: all allocators find memory that the host has backed.
 *
 * Of the same kind as malloc-large in mimalloc-bench; the code is our own.
 */
#include "bench/bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIVE 20
#define BYTES_MIN (5u << 20)
#define BYTES_MAX (25u << 20)
#define REPLACEMENTS 50

static unsigned char *buffers[LIVE];

static void
replace(uint64_t *random, size_t page, bool small)
{
	size_t at = bench_random_below(random, LIVE);
	size_t bytes = BYTES_MIN +
		       bench_random_below(random, BYTES_MAX - BYTES_MIN);

	if (small)
		bytes /= 32;
	free(buffers[at]);
	buffers[at] = bench_malloc(bytes);
	for (size_t offset = 0; offset < bytes; offset += page)
		buffers[at][offset] = (unsigned char)offset;
	bench_use(buffers[at]);
}

/* Touches fresh memory and gives it back to the kernel. */
static void
touch(size_t bytes, int advice)
{
	char *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED)
		return;
	madvise(pages, bytes, advice);
	for (size_t at = 0; at < bytes; at += 4096)
		pages[at] = 1;
	munmap(pages, bytes);
}

/* Small pages and huge ones come from different free lists: both. */
static void
warm(void)
{
	size_t bytes = bench_smoke ? 1u << 20 : 1u << 30;
	pid_t child = fork();

	if (child < 0)
		bench_die("fork");
	if (child > 0) {
		waitpid(child, NULL, 0);
		return;
	}
	touch(bytes, MADV_NOHUGEPAGE);
	touch(bytes, MADV_HUGEPAGE);
	_exit(0);
}

/* The buffers stay live between rounds: a round is 50 replacements. */
static void
run(uint64_t seed)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (unsigned i = 0; i < REPLACEMENTS; i++)
		replace(&seed, page, bench_smoke);
}

static const struct bench_pattern patterns[] = {
	{ "large-buffers", "20 live buffers of 5 to 25 MiB, replaced at random",
	  run, 20, warm },
	{ 0 },
};

int
main(int argc, char **argv)
{
	static const struct bench_program program = {
		.name = "large",
		.summary = "Big buffers, every page touched.",
		.patterns = patterns,
	};

	return bench_patterns_main(&program, argc, argv);
}
