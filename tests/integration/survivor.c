/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The programs of the survival runs. Each of them is killed at its memory
 * limit when freed memory or a cache stays where it is.
 *
 *   survivor burst [--keep N]   malloc, free, idle, then grow by mmap
 *   survivor idle [--keep N]    malloc, free, then nothing
 *   survivor cache [...]        a droppable cache beside a neighbour that
 *                               this program starts, without any preload
 *   survivor grow               that neighbour
 *
 * Called by tests/integration and tests/vm/survive-guest, which put it into a
 * memory cgroup and judge what it prints: lines of key=value.
 * spillway is found by name at run time, so that the same program runs on
 * every malloc. The cache's memory is guarded by cache.lock; with --hold-lock
 * it is also held across malloc, which is the lock that the shrinker wants.
 */
#define _GNU_SOURCE
#include "tests/integration/survivor.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <spillway/spillway.h>

struct survivor_options options = {
	.limit_mib = 400,
	.heap_mib = 300,
	.block_bytes = 1024,
	.map_mib = 300,
	.cache_mib = 350,
	.neighbour_mib = 200,
	.neighbour_mib_s = 2000,
	.fill_mib_s = 1000,
	.refill_mib_s = 100,
	.after_ms = 5000,
};

uint64_t
survivor_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void
survivor_sleep_ns(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000),
			      (long)(ns % 1000000000) };

	while (nanosleep(&t, &t))
		;
}

/* Does not return to the heap: 256 bytes of stack and write(2). */
void
survivor_say(const char *format, ...)
{
	char line[256];
	va_list list;
	int length;

	va_start(list, format);
	length = vsnprintf(line, sizeof(line), format, list);
	va_end(list);
	if (length > 0 && write(1, line, (size_t)length) < 0)
		_exit(1);
}

void
survivor_die(const char *what)
{
	survivor_say("error=%s\n", what);
	_exit(1);
}

void *
survivor_map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		survivor_die("mmap");
	return p;
}

void
survivor_touch(void *memory, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 4096)
		((volatile char *)memory)[i] = 1;
}

/* Without stdio, whose buffers would pin the top of the heap. */
size_t
survivor_rss_bytes(void)
{
	char text[128] = "";
	char *rest;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		survivor_die("/proc/self/statm");
	close(fd);
	strtoul(text, &rest, 10);
	return strtoul(rest, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* What spillway says of itself, where it is in the process. */
void
survivor_say_stats(int (*stats_get)(struct spw_stats *))
{
	struct spw_stats s = { .size = sizeof(s) };

	if (!stats_get || stats_get(&s))
		return;
	survivor_say(
		"gate_wait_max_ms=%.3f\ngate_waits=%llu\n"
		"response_max_ms=%.3f\npasses=%llu\nfutile=%llu\n"
		"reclaimed_mib=%.1f\nevents=%llu\nwakeups=%llu\n"
		"committed_mib=%.1f\nactive_mib=%.1f\n",
		(double)s.gate_wait_ns_max / 1e6,
		(unsigned long long)s.gate_waits,
		(double)s.response_ns_max / 1e6, (unsigned long long)s.passes,
		(unsigned long long)s.passes_futile,
		(double)s.reclaimed_bytes / MIB, (unsigned long long)s.events,
		(unsigned long long)s.wakeups, (double)s.committed_bytes / MIB,
		(double)s.active_bytes / MIB);
}

static int
usage(void)
{
	static const char text[] =
		"usage: survivor burst|idle|cache|grow [options], sizes in MiB\n"
		"  --limit N --heap N --map N --keep N (one block in N stays)\n"
		"  --block BYTES --random (which block stays)\n"
		"  --cache N --neighbour N --neighbour-rate MIB_S (0: no pace)\n"
		"  --fill MIB_S --refill MIB_S --after MS --hold-lock\n"
		"  --wait N (MiB of heap, then a line on standard input)\n"
		"  --library FILE (libspillway.so to dlopen)\n";

	return write(2, text, sizeof(text) - 1) < 0 ? 1 : 2;
}

static int
options_read(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "limit", 1, NULL, 'l' },
		{ "heap", 1, NULL, 'h' },
		{ "map", 1, NULL, 'm' },
		{ "keep", 1, NULL, 'k' },
		{ "block", 1, NULL, 'b' },
		{ "random", 0, NULL, 'X' },
		{ "cache", 1, NULL, 'c' },
		{ "neighbour", 1, NULL, 'n' },
		{ "neighbour-rate", 1, NULL, 'r' },
		{ "fill", 1, NULL, 'f' },
		{ "refill", 1, NULL, 'R' },
		{ "after", 1, NULL, 'a' },
		{ "hold-lock", 0, NULL, 'H' },
		{ "wait", 1, NULL, 'w' },
		{ "library", 1, NULL, 'L' },
		{ NULL, 0, NULL, 0 },
	};
	size_t *const members[128] = {
		['l'] = &options.limit_mib,
		['h'] = &options.heap_mib,
		['m'] = &options.map_mib,
		['k'] = &options.keep,
		['b'] = &options.block_bytes,
		['c'] = &options.cache_mib,
		['n'] = &options.neighbour_mib,
		['r'] = &options.neighbour_mib_s,
		['f'] = &options.fill_mib_s,
		['R'] = &options.refill_mib_s,
		['a'] = &options.after_ms,
		['w'] = &options.wait_mib,
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'H')
			options.hold_lock = true;
		else if (c == 'X')
			options.random = true;
		else if (c == 'L')
			options.library = optarg;
		else if (c > 0 && c < 128 && members[c])
			*members[c] = strtoul(optarg, NULL, 10);
		else
			return -1;
	}
	return optind + 1 == argc ? 0 : -1;
}

int
main(int argc, char **argv)
{
	if (options_read(argc, argv))
		return usage();
	if (!strcmp(argv[optind], "burst"))
		return survivor_burst();
	if (!strcmp(argv[optind], "idle"))
		return survivor_idle();
	if (!strcmp(argv[optind], "cache"))
		return survivor_cache();
	if (!strcmp(argv[optind], "grow"))
		return survivor_grow();
	return usage();
}
