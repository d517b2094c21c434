/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Errands: what opens files, where the program cannot see it.
 *
 * open(2) takes the lowest number that is free, if for a microsecond: a daemon
 * that closes 0 to 2 and counts on getting them, while another thread of the
 * same process opens something, gets others. So who needs a file on a thread
 * that shares the program's descriptor table has it read by the monitor, whose
 * table is its own.
 *
 * Usage:
 *	errand_read("/proc/self/status", text, sizeof text);
 *
 * Caveats: not for hooks (it waits), nor for what takes long (meanwhile nobody
 * senses). What is run must not allocate, nor take a lock. Where there is no
 * monitor (threads:never, not started) it runs on the calling thread.
 */
#ifndef PRESSURE_ERRAND_H
#define PRESSURE_ERRAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Runs it there and waits for its end; false: the monitor did not come to it
 * in 100 ms, and it was not run. */
bool errand_run(void (*what)(void *argument), void *argument);

/* As file_read(); -ETIMEDOUT where errand_run() says false. */
ssize_t errand_read(const char *path, char *buffer, size_t bytes);

/* How much of the process is resident: bytes; as last sensed where the monitor
 * does not come to it, 0 where it cannot be read. */
uint64_t errand_resident(void);

/* For the monitor: runs what waits. */
void errand_serve(void);

void errand_fork_child(void);

#endif
