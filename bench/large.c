/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * large-buffers: a working set of big buffers that are replaced at random,
 * every page touched, as image and matrix programs do. What it shows is
 * whether an allocator keeps freed pages warm or pays the kernel for them
 * again each time.
 *
 * Of the same kind as malloc-large in mimalloc-bench; the code is our own.
 */
#include "bench/bench.h"

#include <stdlib.h>
#include <string.h>
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
	  run, 20 },
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
