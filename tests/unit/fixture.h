/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Folders that stand in for /proc and /sys/fs/cgroup, and a cgroup of one's
 * own where the machine allows one.
 *
 * Usage: fixture_begin(), fixture_file("/proc/meminfo", "MemTotal: 1 kB\n"),
 * then whatever reads below settings()->root; fixture_end() removes it all.
 * fixture_begin() again starts from an empty folder.
 *
 * Caveats: one at a time; bails out (TAP) where the disk does not play along.
 */
#ifndef TESTS_UNIT_FIXTURE_H
#define TESTS_UNIT_FIXTURE_H

#include <stddef.h>

/* Also sets settings()->root. The folder's path, borrowed until the next. */
const char *fixture_begin(void);
void fixture_end(void);

/* Writes a file, and the folders on the way to it. */
void fixture_file(const char *path, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The path with the folder in front: borrowed until the next call. */
const char *fixture_path(const char *path);
/* Removes a file, or a folder with what is in it. */
void fixture_remove(const char *path);

/*
 * A child of our own v1 memory group with this limit: its directory, or NULL
 * and why not. One at a time; fixture_group_end() moves this process back
 * and removes it.
 */
const char *fixture_group_begin(unsigned long long limit_bytes,
				const char **why);
/* Moves this process into it: 0 or -errno. */
int fixture_group_enter(void);
void fixture_group_end(void);

#endif
