/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program with more thread-local storage than the stacks that spillway asks
 * for: the C library takes the one out of the other. Exit code 7 where
 * spillway's threads run all the same.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static __thread volatile char storage[400 << 10];

/* How many threads of this name there are. */
static int
threads_named(const char *wanted)
{
	DIR *folder = opendir("/proc/self/task");
	const struct dirent *entry;
	int found = 0;

	while (folder && (entry = readdir(folder))) {
		char path[300], name[32] = "";
		FILE *file;

		snprintf(path, sizeof path, "/proc/self/task/%s/comm",
			 entry->d_name);
		file = fopen(path, "r");
		if (!file)
			continue;
		if (fgets(name, sizeof name, file))
			name[strcspn(name, "\n")] = 0;
		fclose(file);
		found += !strcmp(name, wanted);
	}
	if (folder)
		closedir(folder);
	return found;
}

int
main(void)
{
	char *block = malloc(64 << 20);
	int monitors = 0, reclaimers = 0;

	storage[sizeof storage - 1] = 1;
	if (!block)
		return 1;
	memset(block, 'b', 64 << 20);
	free(block);
	for (int i = 0; i < 100 && !(monitors && reclaimers); i++) {
		usleep(20000);
		monitors = threads_named("spw-monitor");
		reclaimers = threads_named("spw-reclaimer");
	}
	printf("monitors=%d\nreclaimers=%d\n", monitors, reclaimers);
	fflush(stdout);
	return monitors == 1 && reclaimers == 1 ? 7 : 1;
}
