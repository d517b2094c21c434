/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The cost of a tag: a malloc and free pair against a pair of
 * spw_arena_malloc and spw_free, for sizes of 16 to 1024.
 *
 * Plain and tagged turns alternate, so that both see the same machine. Each
 * turn is one entry of the histogram, in ns a pair. Both kinds go through a
 * function pointer: the program calls neither directly.
 */
#include "bench/bench.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <spillway/arena.h>

static uint64_t turns = 200;
static uint64_t pairs = 10000;
static uint64_t depth = 1;

static struct spw_arena *arena;
static int (*arena_create)(struct spw_arena **,
			   const struct spw_arena_options *);
static void *(*arena_malloc)(struct spw_arena *, size_t);
static void (*arena_free)(void *);
static void *(*volatile plain_malloc)(size_t) = malloc;
static void (*volatile plain_free)(void *) = free;

static double
plain_turn(size_t bytes, void **objects)
{
	void *(*allocate)(size_t) = plain_malloc;
	void (*release)(void *) = plain_free;
	uint64_t begin = bench_now_ns();

	for (uint64_t n = 0; n < pairs; n += depth) {
		for (uint64_t i = 0; i < depth; i++) {
			objects[i] = allocate(bytes);
			*(char *)objects[i] = 1;
		}
		for (uint64_t i = 0; i < depth; i++)
			release(objects[i]);
	}
	return (double)(bench_now_ns() - begin) / (double)pairs;
}

static double
tagged_turn(size_t bytes, void **objects)
{
	void *(*allocate)(struct spw_arena *, size_t) = arena_malloc;
	void (*release)(void *) = arena_free;
	uint64_t begin = bench_now_ns();

	for (uint64_t n = 0; n < pairs; n += depth) {
		for (uint64_t i = 0; i < depth; i++) {
			objects[i] = allocate(arena, bytes);
			*(char *)objects[i] = 1;
		}
		for (uint64_t i = 0; i < depth; i++)
			release(objects[i]);
	}
	return (double)(bench_now_ns() - begin) / (double)pairs;
}

static void
find_spillway(void)
{
	struct spw_arena_options options = {
		.size = sizeof options,
		.name = "bench",
	};
	int error;

	arena_create = (int (*)(struct spw_arena **,
				const struct spw_arena_options *))
		dlsym(RTLD_DEFAULT, "spw_arena_create");
	arena_malloc = (void *(*)(struct spw_arena *, size_t))dlsym(
		RTLD_DEFAULT, "spw_arena_malloc");
	arena_free = (void (*)(void *))dlsym(RTLD_DEFAULT, "spw_free");
	if (arena_create == NULL || arena_malloc == NULL ||
	    arena_free == NULL) {
		bench_note("no spw_arena_malloc here: plain rows alone");
		return;
	}
	error = arena_create(&arena, &options);
	errno = -error;
	if (error != 0)
		bench_die("spw_arena_create");
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void
print(const char *name, size_t bytes, double *samples)
{
	char params[64];

	qsort(samples, turns, sizeof *samples, compare);
	snprintf(params, sizeof params, "bytes=%zu,depth=%llu", bytes,
		 (unsigned long long)depth);
	bench_row(name, params, samples[turns / 2], "ns", samples[turns / 2],
		  samples[turns * 99 / 100]);
}

int
main(int argc, char **argv)
{
	static const struct bench_option options[] = {
		{ "turns", "N", "turns of each kind (200)", &turns, NULL,
		  NULL },
		{ "pairs", "N", "pairs in a turn (10000)", &pairs, NULL, NULL },
		{ "depth", "N", "objects live at once, 1 to 1024 (1)", &depth,
		  NULL, NULL },
		{ 0 },
	};
	static const struct bench_program program = {
		.name = "tagged",
		.summary = "Plain malloc and free against tagged ones.",
		.options = options,
	};
	static const size_t sizes[] = { 16, 32, 64, 128, 256, 512, 1024 };
	static void *objects[1024];
	double *plain, *tagged;

	bench_start(&program, argc, argv);
	if (depth == 0 || depth > 1024 || turns == 0 || pairs == 0) {
		fprintf(stderr, "tagged: --turns, --pairs must be at least 1, "
				"--depth 1 to 1024\n");
		return 2;
	}
	if (bench_smoke)
		turns = 2;
	find_spillway();
	plain = bench_malloc(turns * sizeof *plain);
	tagged = bench_malloc(turns * sizeof *tagged);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		for (uint64_t turn = 0; turn < turns; turn++) {
			plain[turn] = plain_turn(sizes[i], objects);
			if (arena != NULL)
				tagged[turn] = tagged_turn(sizes[i], objects);
		}
		print("plain-pair", sizes[i], plain);
		if (arena != NULL)
			print("tagged-pair", sizes[i], tagged);
	}
	free(plain);
	free(tagged);
	return 0;
}
