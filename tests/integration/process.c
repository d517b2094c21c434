/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ways of living that break an allocator: one mode each, run by process.t
 * without and with the preload.
 *
 * Each mode ends with the word "fine" and exit code 7, or with one line that
 * says what went wrong and exit code 1. Nothing in it knows spillway, except
 * the modes that load it by name.
 */
#define _GNU_SOURCE
#include "tests/integration/process.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FINE 7
#define MIB 1048576

void
process_check(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "process: %s (%s)\n", what, strerror(errno));
	_exit(1);
}

void
process_work(size_t mib)
{
	size_t count = 0;
	size_t bytes = 0;
	size_t slots = mib * MIB / 512;
	char **blocks = calloc(slots, sizeof(*blocks));
	uint32_t random = 1;

	process_check(blocks != NULL, "calloc");
	while (bytes < mib * MIB && count < slots) {
		size_t size;

		random = random * 1664525 + 1013904223;
		size = 16 + (random >> 8) % 4096;
		if ((random & 1023) == 0)
			size = 600000;
		blocks[count] = malloc(size);
		process_check(blocks[count] != NULL, "malloc");
		memset(blocks[count], (int)(count & 127), size);
		if ((random & 15) == 0) {
			blocks[count] = realloc(blocks[count], size * 2);
			process_check(blocks[count] != NULL, "realloc");
		}
		bytes += size;
		count++;
	}
	for (size_t i = 0; i < count; i++) {
		process_check(blocks[i][0] == (char)(i & 127) &&
				      blocks[i][15] == (char)(i & 127),
			      "a block has changed");
		free(blocks[i]);
	}
	free(blocks);
}

int
process_threads_now(void)
{
	char line[128];
	int threads = -1;
	FILE *file = fopen("/proc/self/status", "re");

	process_check(file != NULL, "/proc/self/status");
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, "Threads:", 8))
			threads = atoi(line + 8);
	fclose(file);
	return threads;
}

static int
usage(void)
{
	fprintf(stderr, "usage: process small|work|fork|spawn|threads|seccomp|"
			"seccomp-kill|seccomp-direct|lowest|linked\n"
			"       process close FOLDER\n"
			"       process deepbind|deepbind-across PLUGIN\n"
			"       process dlopen LIBRARY\n");
	return 2;
}

/* The modes that say how many threads there are, for the settings' tests. */
static void
count_threads(size_t mib)
{
	if (mib) {
		process_work(mib);
		usleep(100000);
		process_work(mib);
	}
	printf("threads=%d\n", process_threads_now());
}

int
main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	const char *argument = argc > 2 ? argv[2] : NULL;

	if (!strcmp(mode, "small"))
		count_threads(0);
	else if (!strcmp(mode, "threads-of-large"))
		count_threads(64);
	else if (!strcmp(mode, "work"))
		process_work(64);
	else if (!strcmp(mode, "fork"))
		process_fork();
	else if (!strcmp(mode, "spawn"))
		process_spawn(argv[0]);
	else if (!strcmp(mode, "threads"))
		process_late_threads();
	else if (!strcmp(mode, "seccomp"))
		process_seccomp(false, false);
	else if (!strcmp(mode, "seccomp-kill"))
		process_seccomp(true, false);
	else if (!strcmp(mode, "seccomp-direct"))
		process_seccomp(true, true);
	else if (!strcmp(mode, "lowest"))
		process_lowest();
	else if (!strcmp(mode, "linked"))
		process_linked();
	else if (!argument)
		return usage();
	else if (!strcmp(mode, "close"))
		process_close_all(argument);
	else if (!strcmp(mode, "deepbind"))
		process_deepbind(argument, false);
	else if (!strcmp(mode, "deepbind-across"))
		process_deepbind(argument, true);
	else if (!strcmp(mode, "dlopen"))
		process_dlopen(argument);
	else
		return usage();
	printf("fine\n");
	fflush(stdout);
	return FINE;
}
