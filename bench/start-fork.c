/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a preloaded malloc costs a process at its start and at its forks.
 *
 * start: posix_spawn and wait of /bin/true with this program's environment,
 * hence with its LD_PRELOAD. fork: fork and wait of a child that exits at
 * once, in a process that holds a heap, optionally with tagged arenas.
 *
 * spw_arena_create() is looked up at run time, so that this runs under any
 * allocator; asked for arenas where there are none, it says so and goes on.
 */
#include "bench/bench.h"

#include <dlfcn.h>
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <spillway/arena.h>

extern char **environ;

static uint64_t starts = 200;
static uint64_t forks = 200;
static uint64_t heap_bytes = 64u << 20;
static uint64_t arenas;
static const char *command = "/bin/true";

static struct bench_histogram histogram;
static uint64_t fastest;

static void
reset(void)
{
	histogram = (struct bench_histogram){ 0 };
	fastest = UINT64_MAX;
}

static void
add(uint64_t ns)
{
	bench_histogram_add(&histogram, ns);
	if (ns < fastest)
		fastest = ns;
}

static void
wait_for(pid_t child, const char *what)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			bench_die("waitpid");
	errno = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		bench_die("%s failed, status 0x%x", what, (unsigned)status);
}

static void
measure_start(void)
{
	const char *arguments[] = { command, NULL };

	reset();
	for (uint64_t i = 0; i < starts; i++) {
		uint64_t begin = bench_now_ns();
		pid_t child;
		int error = posix_spawn(&child, command, NULL, NULL,
					(char **)arguments, environ);

		errno = error;
		if (error != 0)
			bench_die("posix_spawn of %s", command);
		wait_for(child, command);
		add(bench_now_ns() - begin);
	}
}

static void
measure_fork(void)
{
	reset();
	for (uint64_t i = 0; i < forks; i++) {
		uint64_t begin = bench_now_ns();
		pid_t child = fork();

		if (child == 0)
			_exit(0);
		if (child < 0)
			bench_die("fork");
		wait_for(child, "the forked child");
		add(bench_now_ns() - begin);
	}
}

static void
print(const char *name, const char *params)
{
	char row[64];
	double p50 = (double)bench_histogram_at(&histogram, 0.5) / 1e3;
	double p99 = (double)bench_histogram_at(&histogram, 0.99) / 1e3;

	bench_row(name, params, p50, "us", p50, p99);
	snprintf(row, sizeof row, "%s-min", name);
	bench_row(row, params, (double)fastest / 1e3, "us", -1, -1);
}

/* A live heap in blocks of 16 KiB, touched; never freed. */
static void
fill_heap(void)
{
	for (uint64_t done = 0; done < heap_bytes; done += 16384) {
		char *block = bench_malloc(16384);

		for (size_t at = 0; at < 16384; at += 4096)
			block[at] = 1;
		bench_use(block);
	}
}

static uint64_t
make_arenas(void)
{
	int (*create)(struct spw_arena **, const struct spw_arena_options *);
	void *(*allocate)(struct spw_arena *, size_t);

	create = (int (*)(struct spw_arena **,
			  const struct spw_arena_options *))
		dlsym(RTLD_DEFAULT, "spw_arena_create");
	allocate = (void *(*)(struct spw_arena *,
			      size_t))dlsym(RTLD_DEFAULT, "spw_arena_malloc");
	if (create == NULL || allocate == NULL) {
		bench_note("no spw_arena_create here: fork-arenas left out");
		return 0;
	}
	for (uint64_t i = 0; i < arenas; i++) {
		struct spw_arena *arena;
		struct spw_arena_options options = {
			.size = sizeof options,
			.name = "bench",
		};
		int error = create(&arena, &options);

		errno = -error;
		if (error != 0)
			bench_die("spw_arena_create");
		bench_use(allocate(arena, 1000));
	}
	return arenas;
}

int
main(int argc, char **argv)
{
	static const struct bench_option options[] = {
		{ "starts", "N", "process starts (200; 0: none)", &starts, NULL,
		  NULL },
		{ "command", "PATH", "what is started (/bin/true)", NULL,
		  &command, NULL },
		{ "forks", "N", "forks (200; 0: none)", &forks, NULL, NULL },
		{ "heap", "SIZE", "live heap of the forking process (64M)",
		  &heap_bytes, NULL, NULL },
		{ "arenas", "N", "fork also with N tagged arenas", &arenas,
		  NULL, NULL },
		{ 0 },
	};
	static const struct bench_program program = {
		.name = "start-fork",
		.summary = "Cost of process start and of fork, each with wait.",
		.options = options,
	};
	char params[80];

	bench_start(&program, argc, argv);
	if (bench_smoke) {
		starts = forks = 2;
		heap_bytes = 1 << 20;
	}
	if (starts > 0) {
		measure_start();
		snprintf(params, sizeof params, "command=%s", command);
		print("start", params);
	}
	if (forks == 0)
		return 0;
	fill_heap();
	measure_fork();
	snprintf(params, sizeof params, "heap=%lluM",
		 (unsigned long long)(heap_bytes >> 20));
	print("fork", params);
	if (arenas > 0 && make_arenas() > 0) {
		measure_fork();
		snprintf(params, sizeof params, "heap=%lluM,arenas=%llu",
			 (unsigned long long)(heap_bytes >> 20),
			 (unsigned long long)arenas);
		print("fork-arenas", params);
	}
	return 0;
}
