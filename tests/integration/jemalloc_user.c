/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program that is linked with libjemalloc.so itself and uses its own API
 * beside malloc. Under the preload every one of these names must be the
 * preload's, or a pointer meets the wrong heap. Exit code 7.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jemalloc/jemalloc.h>

static void
check(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "jemalloc_user: %s\n", what);
		exit(1);
	}
}

int
main(void)
{
	size_t allocated = 0;
	size_t bytes = sizeof(allocated);
	unsigned arena = 0;
	size_t arena_bytes = sizeof(arena);
	uint64_t epoch = 1;

	for (size_t i = 1; i < 200000; i++) {
		size_t size = i * 37 % 9000 + 1;
		char *p = mallocx(size, i % 2 ? MALLOCX_ZERO : 0);

		check(p && sallocx(p, 0) >= size, "mallocx");
		memset(p, 1, size);
		p = i % 3 ? rallocx(p, size * 2, 0) : realloc(p, size * 2);
		check(p && p[size - 1] == 1, "rallocx");
		check(malloc_usable_size(p) >= size * 2, "malloc_usable_size");
		if (i % 5 == 0)
			sdallocx(p, size * 2, 0);
		else if (i % 5 == 1)
			dallocx(p, 0);
		else
			free(p);
	}
	check(!mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch)), "epoch");
	check(!mallctl("stats.allocated", &allocated, &bytes, NULL, 0),
	      "stats.allocated");
	check(allocated > 0, "stats.allocated is nothing");
	check(!mallctl("arenas.create", &arena, &arena_bytes, NULL, 0),
	      "arenas.create");
	free(mallocx(100, MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE));
	free(aligned_alloc(4096, 8192));
	printf("fine\n");
	return 7;
}
