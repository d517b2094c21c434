/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The event that a bench waits for: a command, the allocator's own purge, a
 * neighbour that grows.
 *
 * Usage: event_prepare(text) while the process is small, event_fire() when it
 * shall happen, event_purge_all() for the floor of RSS, event_end() at last.
 *
 * The text: "none"; "self", the best explicit purge in this process
 * (spw_reclaim, else jemalloc's, mimalloc's, tcmalloc's, glibc's);
 * "grow:SIZE", a child process that touches SIZE bytes and keeps them; any
 * other is a command for sh, with $PID set to this process and LD_PRELOAD
 * taken away.
 *
 * Caveats: one event a process. event_fire() blocks until a command or a
 * purge has ended, or a neighbour has grown.
 */
#ifndef BENCH_EVENT_H
#define BENCH_EVENT_H

#include <stdint.h>

/* Exits with 2 where the text is a grow: without a size. */
void event_prepare(const char *text);

/* Returns the exit status of a command; 0 of the others. */
int event_fire(void);

void event_end(void);

/* For params: "none", "self", "grow" or "command". */
const char *event_kind(const char *text);

/*
 * Calls each explicit purge that the process has, and notes RSS after each.
 * Returns RSS after the allocator's own purge, before malloc_trim, which
 * empties the calling thread's cache too where spillway is the malloc.
 */
uint64_t event_purge_all(void);

#endif
