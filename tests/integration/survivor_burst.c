/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * survivor burst: a heap that is filled in 1 KB blocks, freed, and idle for a
 * second; then the program grows by mmap, which no malloc sees.
 * survivor idle: the same heap, freed, and then nothing: for every line on its
 * standard input it says how it is, until that ends; "p" purges first, which
 * shows the floor that any reclaim can reach.
 *
 * The array of pointers is mapped, not malloc'd: it is no part of the burst.
 * Blocks that stay (--keep) carry their number and are checked at the end: a
 * purge that takes a page in use is a failed run, not a survived one.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/survivor.h"

#define STEP_BYTES (4 * (size_t)MIB)

static bool
kept(size_t i)
{
	if (options.random)
		i = (i + 1) * 2654435761u >> 7;
	return options.keep && i % options.keep == 0;
}

static void
fill_and_free(char **blocks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		blocks[i] = malloc(options.block_bytes);
		if (!blocks[i])
			survivor_die("malloc");
		memset(blocks[i], 'x', options.block_bytes);
		memcpy(blocks[i], &i, sizeof(i));
	}
	survivor_say("rss_full_mib=%.1f\n", (double)survivor_rss_bytes() / MIB);
	for (size_t i = 0; i < count; i++) {
		if (kept(i))
			continue;
		free(blocks[i]);
		blocks[i] = NULL;
	}
}

static void
check_kept(char **blocks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t number;

		if (!blocks[i])
			continue;
		memcpy(&number, blocks[i], sizeof(number));
		if (number != i || blocks[i][options.block_bytes - 1] != 'x')
			survivor_die("a block that was kept has changed");
		free(blocks[i]);
	}
}

/* A heap of some size, so that spillway senses here, and then a pause. */
static void
wait_for_line(void)
{
	char *block;
	char c;

	if (!options.wait_mib)
		return;
	block = malloc(options.wait_mib * MIB);
	if (!block)
		survivor_die("malloc");
	memset(block, 'w', options.wait_mib * MIB);
	free(block);
	survivor_say("waiting=1\n");
	if (read(0, &c, 1) != 1)
		survivor_die("no line on standard input");
}

int
survivor_burst(void)
{
	size_t count = options.heap_mib * MIB / options.block_bytes;
	char **blocks = survivor_map(count * sizeof(*blocks));
	size_t steps = options.map_mib * MIB / STEP_BYTES;
	uint64_t longest_ns = 0;

	wait_for_line();
	fill_and_free(blocks, count);
	survivor_sleep_ns(1000000000);
	survivor_say("rss_start_mib=%.1f\n",
		     (double)survivor_rss_bytes() / MIB);
	for (size_t i = 0; i < steps; i++) {
		uint64_t start_ns = survivor_now_ns();
		uint64_t step_ns;

		survivor_touch(survivor_map(STEP_BYTES), STEP_BYTES);
		step_ns = survivor_now_ns() - start_ns;
		if (step_ns > longest_ns)
			longest_ns = step_ns;
		survivor_sleep_ns(5000000);
	}
	check_kept(blocks, count);
	survivor_say("stall_max_ms=%.3f\nrss_end_mib=%.1f\n",
		     (double)longest_ns / 1e6,
		     (double)survivor_rss_bytes() / MIB);
	survivor_say_stats(
		(int (*)(struct spw_stats *))dlsym(RTLD_DEFAULT, "spw_stats"));
	survivor_say("survived=1\n");
	return 0;
}

/* jemalloc's own full purge of every arena, where there is one. */
static void
purge(void)
{
	int (*mallctl)(const char *, void *, size_t *, void *,
		       size_t) = (int (*)(const char *, void *, size_t *,
					  void *, size_t))dlsym(RTLD_DEFAULT,
								"mallctl");

	if (!mallctl || mallctl("thread.tcache.flush", NULL, NULL, NULL, 0) ||
	    mallctl("arena.4096.purge", NULL, NULL, NULL, 0))
		survivor_die("no jemalloc to purge");
}

int
survivor_idle(void)
{
	size_t count = options.heap_mib * MIB / options.block_bytes;
	char **blocks = survivor_map(count * sizeof(*blocks));
	int (*stats_get)(struct spw_stats *) = (int (*)(
		struct spw_stats *))dlsym(RTLD_DEFAULT, "spw_stats");
	char c = 0;

	fill_and_free(blocks, count);
	do {
		if (c == 'p')
			purge();
		survivor_say("rss_mib=%.1f\n",
			     (double)survivor_rss_bytes() / MIB);
		survivor_say_stats(stats_get);
		survivor_say("said=1\n");
	} while (read(0, &c, 1) == 1);
	check_kept(blocks, count);
	survivor_say("survived=1\n");
	return 0;
}
