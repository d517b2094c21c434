/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * survivor cache: a droppable cache that refills itself, beside a neighbour
 * in the same group that grows to its size and stays.
 *
 * Entries of 1 to 16 KiB sit in a ring, oldest first; OSv's shrinker drops
 * the oldest. The ring is mapped, so that only entries are malloc'd. The
 * neighbour is this program again, without LD_PRELOAD and started first: it
 * waits for a byte on its standard input, grows, answers, and stays until
 * its input ends. `cache` is guarded by cache.lock; bytes_min counts from the
 * moment when the neighbour starts to grow.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/integration/survivor.h"

struct entry {
	char *memory;
	size_t bytes;
};

static struct {
	pthread_mutex_t lock;
	struct entry *ring;
	size_t ring_entries;
	size_t first;
	size_t count;
	size_t bytes;
	size_t bytes_min;
	bool watched;
	size_t shrinks;
	size_t shrunk_bytes;
} cache = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct {
	uint64_t malloc_longest_ns;
	size_t mallocs_over_10ms;
	size_t refilled_bytes;
	uint32_t random;
} refill = { .random = 12345 };

static struct {
	pid_t pid;
	int to;
	int from;
} neighbour;

/* Says where memory in use has changed, and what became of it. */
static void
entry_check(const struct entry *e)
{
	size_t first = e->bytes;
	size_t wrong = 0;
	size_t zero = 0;

	if (e->memory[0] == (char)e->bytes &&
	    e->memory[e->bytes - 1] == (char)e->bytes &&
	    e->memory[e->bytes / 2] == (char)e->bytes)
		return;
	for (size_t i = 0; i < e->bytes; i++) {
		if (e->memory[i] == (char)e->bytes)
			continue;
		first = i < first ? i : first;
		wrong++;
		zero += !e->memory[i];
	}
	survivor_say("changed=%p+%zu of %zu: %zu bytes, %zu of them zero\n",
		     (void *)e->memory, first, e->bytes, wrong, zero);
	survivor_die("an entry of the cache has changed");
}

/* The caller holds cache.lock, or is alone. */
static size_t
drop_oldest_locked(void)
{
	struct entry *e = &cache.ring[cache.first];
	size_t bytes = e->bytes;

	entry_check(e);
	free(e->memory);
	cache.first = (cache.first + 1) % cache.ring_entries;
	cache.count--;
	cache.bytes -= bytes;
	if (cache.watched && cache.bytes < cache.bytes_min)
		cache.bytes_min = cache.bytes;
	return bytes;
}

static size_t
shrink(size_t target, bool hard)
{
	size_t freed = 0;

	(void)hard;
	pthread_mutex_lock(&cache.lock);
	while (freed < target && cache.count)
		freed += drop_oldest_locked();
	cache.shrinks++;
	cache.shrunk_bytes += freed;
	pthread_mutex_unlock(&cache.lock);
	return freed;
}

static char *
entry_make(size_t bytes)
{
	uint64_t start_ns = survivor_now_ns();
	char *memory = malloc(bytes);
	uint64_t took_ns = survivor_now_ns() - start_ns;

	if (!memory)
		survivor_die("malloc");
	if (took_ns > refill.malloc_longest_ns)
		refill.malloc_longest_ns = took_ns;
	if (took_ns > 10000000)
		refill.mallocs_over_10ms++;
	memset(memory, (char)bytes, bytes);
	return memory;
}

static size_t
insert(void)
{
	char *memory = NULL;
	size_t bytes;

	refill.random = refill.random * 1664525 + 1013904223;
	bytes = 1024 + (refill.random >> 8) % (15 * 1024);
	if (!options.hold_lock)
		memory = entry_make(bytes);
	pthread_mutex_lock(&cache.lock);
	if (options.hold_lock)
		memory = entry_make(bytes);
	while (cache.count && (cache.count == cache.ring_entries ||
			       cache.bytes > options.cache_mib * MIB))
		drop_oldest_locked();
	cache.ring[(cache.first + cache.count) % cache.ring_entries] =
		(struct entry){ memory, bytes };
	cache.count++;
	cache.bytes += bytes;
	pthread_mutex_unlock(&cache.lock);
	refill.refilled_bytes += bytes;
	return bytes;
}

/* Inserts at so many MiB a second for a while; true once the cache is full. */
static bool
refill_for(uint64_t ns, size_t mib_s)
{
	uint64_t start_ns = survivor_now_ns();
	size_t budget = mib_s * MIB / 1000 * (ns / 1000000);
	size_t inserted = 0;
	uint64_t took_ns = 0;

	while (inserted < budget && took_ns < ns) {
		inserted += insert();
		took_ns = survivor_now_ns() - start_ns;
	}
	if (took_ns < ns)
		survivor_sleep_ns(ns - took_ns);
	return cache.shrinks || cache.bytes > options.cache_mib * MIB * 31 / 32;
}

static void
neighbour_start(void)
{
	char name[] = "survivor";
	char mib[48];
	char rate[48];
	char mode[] = "grow";
	char *arguments[] = { name, mib, rate, mode, NULL };
	char *environment[] = { NULL };
	posix_spawn_file_actions_t actions;
	int to[2];
	int from[2];

	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC | O_NONBLOCK))
		survivor_die("pipe");
	snprintf(mib, sizeof(mib), "--neighbour=%zu", options.neighbour_mib);
	snprintf(rate, sizeof(rate), "--neighbour-rate=%zu",
		 options.neighbour_mib_s);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, to[0], 0);
	posix_spawn_file_actions_adddup2(&actions, from[1], 3);
	if (posix_spawn(&neighbour.pid, "/proc/self/exe", &actions, NULL,
			arguments, environment))
		survivor_die("posix_spawn of the neighbour");
	posix_spawn_file_actions_destroy(&actions);
	close(to[0]);
	close(from[1]);
	neighbour.to = to[1];
	neighbour.from = from[0];
}

/* 0: still growing, 1: done, -1: dead. Its report is two milliseconds. */
static int
neighbour_done(double report[2])
{
	ssize_t got = read(neighbour.from, report, 2 * sizeof(*report));

	if (got == 2 * (ssize_t)sizeof(*report))
		return 1;
	return got < 0 ? 0 : -1;
}

int
survivor_grow(void)
{
	size_t bytes = options.neighbour_mib * MIB;
	char *memory = survivor_map(bytes);
	uint64_t longest_ns = 0;
	uint64_t start_ns;
	double report[2];
	char c;

	if (read(0, &c, 1) != 1)
		return 1;
	start_ns = survivor_now_ns();
	for (size_t i = 0; i < bytes; i += MIB) {
		uint64_t now_ns = survivor_now_ns();
		uint64_t due_ns = start_ns;

		if (options.neighbour_mib_s)
			due_ns += i / MIB * 1000000000 /
				  options.neighbour_mib_s;
		if (due_ns > now_ns)
			survivor_sleep_ns(due_ns - now_ns);
		now_ns = survivor_now_ns();
		survivor_touch(memory + i, MIB);
		now_ns = survivor_now_ns() - now_ns;
		if (now_ns > longest_ns)
			longest_ns = now_ns;
	}
	report[0] = (double)(survivor_now_ns() - start_ns) / 1e6;
	report[1] = (double)longest_ns / 1e6;
	if (write(3, report, sizeof(report)) != sizeof(report))
		return 1;
	return read(0, &c, 1) ? 1 : 0;
}

static void
shrinker_register(int (**stats_get)(struct spw_stats *))
{
	void *library = RTLD_DEFAULT;
	void *(*register_it)(const char *, size_t (*)(size_t, bool));

	if (options.library) {
		library = dlopen(options.library, RTLD_NOW | RTLD_GLOBAL);
		if (!library)
			survivor_die(dlerror());
	}
	register_it = (void *(*)(const char *, size_t (*)(size_t, bool)))dlsym(
		library, "osv_register_shrinker");
	*stats_get = (int (*)(struct spw_stats *))dlsym(library, "spw_stats");
	if (register_it && !register_it("survivor cache", shrink))
		survivor_die("osv_register_shrinker");
	survivor_say("shrinker=%d\n", register_it != NULL);
}

/* Fills the cache, lets the neighbour grow, and stays under way until done. */
static void
run(void)
{
	uint64_t end_ns = survivor_now_ns() + 10000000000;
	double report[2] = { 0, 0 };
	size_t base;
	int done = 0;

	while (!refill_for(1000000, options.fill_mib_s) &&
	       survivor_now_ns() < end_ns)
		;
	for (int i = 0; i < 300; i++)
		refill_for(1000000, options.refill_mib_s);
	pthread_mutex_lock(&cache.lock);
	survivor_say("cache_start_mib=%.1f\n", (double)cache.bytes / MIB);
	cache.bytes_min = cache.bytes;
	cache.watched = true;
	pthread_mutex_unlock(&cache.lock);
	refill.malloc_longest_ns = 0;
	base = refill.refilled_bytes;
	if (write(neighbour.to, "g", 1) != 1)
		survivor_die("the neighbour is gone");
	end_ns = survivor_now_ns() + 60000000000;
	while (survivor_now_ns() < end_ns) {
		refill_for(1000000, options.refill_mib_s);
		if (done)
			continue;
		done = neighbour_done(report);
		if (done < 0)
			survivor_die("the neighbour was killed");
		if (done)
			end_ns = survivor_now_ns() + options.after_ms * 1000000;
	}
	if (!done)
		survivor_die("the neighbour did not end its growth");
	survivor_say("growth_ms=%.1f\nstall_max_ms=%.3f\nrefilled_mib=%.1f\n",
		     report[0], report[1],
		     (double)(refill.refilled_bytes - base) / MIB);
}

int
survivor_cache(void)
{
	int (*stats_get)(struct spw_stats *);
	int status;

	neighbour_start();
	cache.ring_entries = options.cache_mib * MIB / 4096;
	cache.ring = survivor_map(cache.ring_entries * sizeof(*cache.ring));
	shrinker_register(&stats_get);
	run();
	pthread_mutex_lock(&cache.lock);
	survivor_say("cache_end_mib=%.1f\ncache_min_mib=%.1f\nshrinks=%zu\n"
		     "shrunk_mib=%.1f\nrss_end_mib=%.1f\n"
		     "malloc_max_ms=%.3f\nmallocs_over_10ms=%zu\n",
		     (double)cache.bytes / MIB, (double)cache.bytes_min / MIB,
		     cache.shrinks, (double)cache.shrunk_bytes / MIB,
		     (double)survivor_rss_bytes() / MIB,
		     (double)refill.malloc_longest_ns / 1e6,
		     refill.mallocs_over_10ms);
	pthread_mutex_unlock(&cache.lock);
	survivor_say_stats(stats_get);
	close(neighbour.to);
	if (waitpid(neighbour.pid, &status, 0) != neighbour.pid || status)
		survivor_die("the neighbour was killed");
	survivor_say("survived=1\n");
	return 0;
}
