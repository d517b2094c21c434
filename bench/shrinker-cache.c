/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A cache that takes what memory there is and drops entries when it is asked,
 * in OSv's manner, beside a neighbour that comes and goes.
 *
 * With osv_register_shrinker() in the process the cache has no bound of its
 * own; without (other allocators) it has the fixed --cap that a careful
 * operator would set: limit less neighbour less slack. Start it in a memory
 * cgroup, or with SPILLWAY_CONF=limit:, and compare the hit rates.
 *
 * Keys are drawn by Zipf's law (exponent 0.99); a miss builds and stores the
 * entry. Eviction is a clock. One lock guards the cache; the shrinker takes
 * it too.
 */
#include "bench/bench.h"

#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENTRY_BYTES 4096

struct phase_result {
	uint64_t gets;
	uint64_t hits;
	uint64_t cache_bytes;
};

static uint64_t keys = 200000;
static uint64_t cap_bytes;
static uint64_t neighbour_bytes = 128u << 20;
static uint64_t phase_ms = 5000;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char **entries;        /* Guarded by lock. */
static unsigned char *recent; /* Guarded by lock. */
static uint64_t cached_bytes; /* Guarded by lock. */
static uint64_t hand;         /* Guarded by lock. */
static uint64_t shrinks;      /* Guarded by lock. */
static double *cumulative;

/* Drops entries until so many bytes went or none is left. Holds lock. */
static size_t
evict_locked(size_t target)
{
	size_t gone = 0;

	for (uint64_t step = 0; step < 2 * keys && gone < target; step++) {
		uint64_t at = hand;

		hand = hand + 1 == keys ? 0 : hand + 1;
		if (entries[at] == NULL)
			continue;
		if (recent[at] != 0) {
			recent[at] = 0;
			continue;
		}
		free(entries[at]);
		entries[at] = NULL;
		gone += ENTRY_BYTES;
	}
	cached_bytes -= gone;
	return gone;
}

static size_t
shrink(size_t target, bool hard)
{
	size_t gone;

	(void)hard;
	pthread_mutex_lock(&lock);
	shrinks++;
	gone = evict_locked(target);
	pthread_mutex_unlock(&lock);
	return gone;
}

static void
register_shrinker(void)
{
	void *(*reg)(const char *, size_t (*)(size_t, bool));

	reg = (void *(*)(const char *, size_t (*)(size_t, bool)))dlsym(
		RTLD_DEFAULT, "osv_register_shrinker");
	if (reg == NULL) {
		bench_note("no osv_register_shrinker here: a fixed cap");
		if (cap_bytes == 0)
			cap_bytes = 256u << 20;
		return;
	}
	if (reg("bench cache", shrink) == NULL)
		bench_die("osv_register_shrinker");
}

static void
make_keys(void)
{
	double sum = 0;

	entries = calloc(keys, sizeof *entries);
	recent = calloc(keys, 1);
	cumulative = bench_malloc(keys * sizeof *cumulative);
	if (entries == NULL || recent == NULL)
		bench_die("calloc");
	for (uint64_t i = 0; i < keys; i++) {
		sum += pow((double)(i + 1), -0.99);
		cumulative[i] = sum;
	}
	for (uint64_t i = 0; i < keys; i++)
		cumulative[i] /= sum;
}

static uint64_t
draw_key(uint64_t *random)
{
	double point = (double)(bench_random(random) >> 11) / 9007199254740992.;
	uint64_t low = 0, high = keys - 1;

	while (low < high) {
		uint64_t middle = (low + high) / 2;

		if (cumulative[middle] < point)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Returns whether it was a hit. */
static bool
get(uint64_t key)
{
	bool hit;
	char *fresh;

	pthread_mutex_lock(&lock);
	hit = entries[key] != NULL;
	if (hit)
		recent[key] = 1;
	pthread_mutex_unlock(&lock);
	if (hit)
		return true;
	fresh = bench_malloc(ENTRY_BYTES);
	memset(fresh, (int)key, ENTRY_BYTES);
	pthread_mutex_lock(&lock);
	entries[key] = fresh;
	recent[key] = 0;
	cached_bytes += ENTRY_BYTES;
	if (cap_bytes != 0 && cached_bytes > cap_bytes)
		evict_locked(cached_bytes - cap_bytes);
	pthread_mutex_unlock(&lock);
	return false;
}

static struct phase_result
run_phase(uint64_t *random)
{
	struct phase_result result = { 0 };
	uint64_t end = bench_now_ns() + phase_ms * 1000000u;

	while (bench_now_ns() < end) {
		for (unsigned i = 0; i < 64; i++) {
			result.hits += get(draw_key(random));
			result.gets++;
		}
	}
	pthread_mutex_lock(&lock);
	result.cache_bytes = cached_bytes;
	pthread_mutex_unlock(&lock);
	return result;
}

/* Grows, then stays until the pipe closes. */
static void __attribute__((noreturn)) be_neighbour(int commands)
{
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (read(commands, &byte, 1) != 1)
		_exit(0);
	if (!bench_grow(neighbour_bytes))
		_exit(1);
	while (read(commands, &byte, 1) == 1)
		;
	_exit(0);
}

static void
print(const char *phase, const char *params, const struct phase_result *result)
{
	char row[64];

	snprintf(row, sizeof row, "hit-rate-%s", phase);
	bench_row(row, params,
		  (double)result->hits * 100 / (double)result->gets, "%", -1,
		  -1);
	snprintf(row, sizeof row, "cache-%s", phase);
	bench_row(row, params, (double)result->cache_bytes / 1048576, "MiB", -1,
		  -1);
}

static void
measure(const char *params)
{
	static const char *phases[] = { "alone", "beside", "after" };
	uint64_t random = 3;
	int commands[2], status = 0;
	pid_t neighbour;

	if (pipe(commands) != 0)
		bench_die("pipe");
	fflush(stdout);
	neighbour = fork();
	if (neighbour < 0)
		bench_die("fork");
	if (neighbour == 0) {
		close(commands[1]);
		be_neighbour(commands[0]);
	}
	close(commands[0]);
	for (unsigned i = 0; i < 3; i++) {
		struct phase_result result;

		if (i == 1 && write(commands[1], "", 1) != 1)
			bench_die("the neighbour died");
		if (i == 2) {
			close(commands[1]);
			waitpid(neighbour, &status, 0);
		}
		result = run_phase(&random);
		print(phases[i], params, &result);
	}
	errno = 0;
	if (status != 0)
		bench_die("the neighbour was killed, status 0x%x",
			  (unsigned)status);
	pthread_mutex_lock(&lock);
	bench_row("shrinks", params, (double)shrinks, "calls", -1, -1);
	pthread_mutex_unlock(&lock);
}

int
main(int argc, char **argv)
{
	static const struct bench_option options[] = {
		{ "keys", "N", "of 4 KiB entries (200000)", &keys, NULL, NULL },
		{ "cap", "SIZE",
		  "fixed bound (none with a shrinker, else 256M)", &cap_bytes,
		  NULL, NULL },
		{ "neighbour", "SIZE", "what it grows to (128M)",
		  &neighbour_bytes, NULL, NULL },
		{ "phase", "MS", "length of each of three phases (5000)",
		  &phase_ms, NULL, NULL },
		{ 0 },
	};
	static const struct bench_program program = {
		.name = "shrinker-cache",
		.summary = "Hit rate of a cache beside a neighbour: alone, "
			   "beside, after.",
		.options = options,
	};
	char params[96];

	bench_start(&program, argc, argv);
	if (keys == 0) {
		fputs("shrinker-cache: --keys must be at least 1\n", stderr);
		return 2;
	}
	if (bench_smoke) {
		keys = 500;
		neighbour_bytes = 1u << 20;
		phase_ms = 2;
	}
	make_keys();
	register_shrinker();
	snprintf(params, sizeof params, "keys=%llu,cap=%lluM,neighbour=%lluM",
		 (unsigned long long)keys,
		 (unsigned long long)(cap_bytes >> 20),
		 (unsigned long long)(neighbour_bytes >> 20));
	measure(params);
	return 0;
}
