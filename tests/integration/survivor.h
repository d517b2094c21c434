/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the survivor program share: its options and the few
 * functions that neither allocate nor hide a failure.
 */
#ifndef INTEGRATION_SURVIVOR_H
#define INTEGRATION_SURVIVOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <spillway/spillway.h>

#define MIB 1048576

struct survivor_options {
	size_t limit_mib;
	size_t heap_mib;    /* burst: malloc'd and freed */
	size_t map_mib;     /* burst: then mapped */
	size_t block_bytes; /* burst: of each block */
	size_t keep;        /* burst: one block in so many stays */
	bool random;        /* burst: that one is chosen at random */
	size_t cache_mib;   /* cache: its own bound */
	size_t neighbour_mib;
	size_t neighbour_mib_s; /* 0: as fast as it can */
	size_t fill_mib_s;
	size_t refill_mib_s;
	size_t after_ms; /* from the end of growth to the verdict */
	size_t wait_mib; /* burst: heap before a line on stdin */
	bool hold_lock;
	const char *library;
};

extern struct survivor_options options;

int survivor_burst(void);
int survivor_idle(void);
int survivor_cache(void);
int survivor_grow(void);

uint64_t survivor_now_ns(void);
void survivor_sleep_ns(uint64_t ns);
void survivor_say(const char *format, ...)
	__attribute__((format(printf, 1, 2)));
void survivor_die(const char *what) __attribute__((noreturn));
void *survivor_map(size_t bytes);
void survivor_touch(void *memory, size_t bytes);
size_t survivor_rss_bytes(void);
void survivor_say_stats(int (*stats_get)(struct spw_stats *));

#endif
