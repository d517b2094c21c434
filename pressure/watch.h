/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sees that a limit was changed: inotify on the files that hold limits.
 *
 * Usage: watch_open() for these groups, poll its fd for POLLIN, watch_read().
 *
 * Caveats: allocation-free, one owner. Sees writes through the file system,
 * which is how limits are changed; what it misses is found at the next
 * refresh.
 */
#ifndef PRESSURE_WATCH_H
#define PRESSURE_WATCH_H

#include <stdbool.h>

#include "pressure/limits.h"

struct watch {
	int fd; /* -1: none */
	unsigned files;
	char why[96]; /* where there is none */
};

void watch_open(struct watch *watch, const struct limits *limits);
void watch_close(struct watch *watch);

/* Whether any of them was written. */
bool watch_read(struct watch *watch);

#endif
