/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spillway-demo-hog: the two programs of `spillway demo`, for the C library
 * alone, knowing nothing of spillway but OSv's function, which may be there.
 *
 *	spillway-demo-hog hog FD LOOKUPS_PER_S
 *	spillway-demo-hog neighbour FD
 *
 * The hog is modelled after OSv's memory-hog: a cache without a size. Keys
 * are drawn by Zipf's law (exponent 1) from 256 Ki, 4 GiB of values in all;
 * a miss makes the value, 1 to 31 KiB of malloc, and keeps it. It registers
 * a shrinker where osv_register_shrinker is defined, which frees what was not
 * read for the longest time; where it is not, it grows until it is killed.
 *
 * `cache` is guarded by cache.lock, which is never held across malloc or
 * free. The neighbour maps memory in steps of 4 MiB up to what it is told.
 */
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <spillway/osv.h>

#include "base/clock.h"
#include "cli/hog.h"

#pragma weak osv_register_shrinker

#define KEYS (1u << 18)
#define BUCKETS (1u << 16)
#define VALUE_BYTES_MAX (31u << 10)
#define STEP_BYTES (4u << 20)
#define FREE_AT_ONCE 32

struct entry {
	struct entry *next;          /* in its bucket */
	struct entry *older, *newer; /* in order of use */
	uint32_t key;
	uint32_t bytes; /* with this head */
	unsigned char value[];
};

static struct {
	pthread_mutex_t lock;
	struct entry *buckets[BUCKETS];
	struct entry *oldest, *newest;
	uint64_t bytes, entries;
	bool shrunk;
} cache = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct hog_report *report;
static uint64_t random_state = 88172645463325252ull;

static uint64_t
next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* P(key <= k) = ln(k + 1) / ln(KEYS + 1). */
static uint32_t
zipf_key(void)
{
	double u = (double)(next_random() >> 11) * 0x1p-53;

	return (uint32_t)(exp(u * log(KEYS + 1.0)) - 1.0) % KEYS;
}

/* The size belongs to the key: 1 to 31 KiB. */
static uint32_t
value_bytes(uint32_t key)
{
	return 1024 + (key * 2654435761u >> 8) % (VALUE_BYTES_MAX - 1024);
}

static struct entry **
bucket_of(uint32_t key)
{
	return &cache.buckets[(key * 2654435761u) >> 16 & (BUCKETS - 1)];
}

static void
unlink_use_locked(struct entry *e)
{
	if (e->older)
		e->older->newer = e->newer;
	else
		cache.oldest = e->newer;
	if (e->newer)
		e->newer->older = e->older;
	else
		cache.newest = e->older;
}

static void
link_newest_locked(struct entry *e)
{
	e->newer = NULL;
	e->older = cache.newest;
	if (cache.newest)
		cache.newest->newer = e;
	else
		cache.oldest = e;
	cache.newest = e;
}

static void
publish_locked(void)
{
	atomic_store(&report->cache_bytes, cache.bytes);
	atomic_store(&report->entries, cache.entries);
	if (cache.shrunk && cache.bytes < atomic_load(&report->cache_bytes_min))
		atomic_store(&report->cache_bytes_min, cache.bytes);
}

/* True on a hit; touches the value, as whoever asked for it would. */
static bool
look_up(uint32_t key)
{
	bool hit = false;

	pthread_mutex_lock(&cache.lock);
	for (struct entry *e = *bucket_of(key); e; e = e->next) {
		if (e->key != key)
			continue;
		unlink_use_locked(e);
		link_newest_locked(e);
		hit = e->value[0] == (unsigned char)key;
		break;
	}
	pthread_mutex_unlock(&cache.lock);
	return hit;
}

static bool
insert(uint32_t key)
{
	uint32_t bytes = value_bytes(key);
	struct entry *e = malloc(sizeof *e + bytes);
	struct entry **bucket = bucket_of(key);

	if (!e)
		return false;
	memset(e->value, (int)(key & 0xff), bytes);
	e->key = key;
	e->bytes = (uint32_t)sizeof *e + bytes;
	pthread_mutex_lock(&cache.lock);
	e->next = *bucket;
	*bucket = e;
	link_newest_locked(e);
	cache.bytes += e->bytes;
	cache.entries++;
	publish_locked();
	pthread_mutex_unlock(&cache.lock);
	return true;
}

static struct entry *
take_oldest_locked(void)
{
	struct entry *e = cache.oldest;
	struct entry **at;

	if (!e)
		return NULL;
	for (at = bucket_of(e->key); *at != e; at = &(*at)->next)
		;
	*at = e->next;
	unlink_use_locked(e);
	cache.bytes -= e->bytes;
	cache.entries--;
	return e;
}

/* OSv's shrinker: frees at least target bytes, least recently used first. */
static size_t
shrink(size_t target, bool hard)
{
	struct entry *taken[FREE_AT_ONCE];
	size_t freed = 0;
	unsigned n;

	(void)hard;
	do {
		pthread_mutex_lock(&cache.lock);
		cache.shrunk = true;
		for (n = 0; n < FREE_AT_ONCE && freed < target; n++) {
			taken[n] = take_oldest_locked();
			if (!taken[n])
				break;
			freed += taken[n]->bytes;
		}
		publish_locked();
		pthread_mutex_unlock(&cache.lock);
		for (unsigned i = 0; i < n; i++)
			free(taken[i]);
	} while (n == FREE_AT_ONCE && freed < target);
	atomic_fetch_add(&report->shrinks, 1);
	atomic_fetch_add(&report->given_bytes, freed);
	return freed;
}

static void
sleep_until(uint64_t ns)
{
	struct timespec time = { .tv_sec = (time_t)(ns / CLOCK_S),
				 .tv_nsec = (long)(ns % CLOCK_S) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

static bool
one_lookup(void)
{
	uint64_t start_ns = clock_now_ns(), took_ns;
	uint32_t key = zipf_key();
	bool hit = look_up(key);
	bool good = hit || insert(key);

	took_ns = clock_now_ns() - start_ns;
	if (took_ns > atomic_load(&report->stall_ns_max))
		atomic_store(&report->stall_ns_max, took_ns);
	atomic_fetch_add(&report->lookups, 1);
	if (hit)
		atomic_fetch_add(&report->hits, 1);
	return good;
}

static int
run_hog(uint64_t rate)
{
	uint64_t start_ns = clock_now_ns(), done = 0;

	atomic_store(&report->cache_bytes_min, UINT64_MAX);
	if (osv_register_shrinker &&
	    osv_register_shrinker("demo cache", shrink))
		atomic_store(&report->has_shrinker, 1);
	while (!atomic_load(&report->stop)) {
		uint64_t now = clock_now_ns();
		uint64_t due = (now - start_ns) / CLOCK_MS * rate / 1000;

		if (due > done + rate / 10) { /* held up: do not catch up */
			start_ns += (due - done) * CLOCK_S / rate;
			continue;
		}
		for (; done < due; done++) {
			if (one_lookup())
				continue;
			atomic_store(&report->out_of_memory, 1);
			return 1;
		}
		sleep_until(now + CLOCK_MS);
	}
	return 0;
}

static int
run_neighbour(void)
{
	uint64_t have = 0;

	while (!atomic_load(&report->stop)) {
		if (have < atomic_load(&report->neighbour_target_bytes)) {
			void *step = mmap(NULL, STEP_BYTES,
					  PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			if (step == MAP_FAILED)
				return 1;
			memset(step, 1, STEP_BYTES);
			have += STEP_BYTES;
			atomic_store(&report->neighbour_bytes, have);
		}
		sleep_until(clock_now_ns() + 20 * CLOCK_MS);
	}
	return 0;
}

int
main(int argc, char **argv)
{
	bool hog = argc == 4 && strcmp(argv[1], "hog") == 0;
	bool neighbour = argc == 3 && strcmp(argv[1], "neighbour") == 0;
	unsigned long rate = hog ? strtoul(argv[3], NULL, 10) : 0;

	if ((!hog && !neighbour) || (hog && !rate)) {
		fputs("spillway-demo-hog is started by 'spillway demo'\n",
		      stderr);
		return 2;
	}
	report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED,
		      (int)strtol(argv[2], NULL, 10), 0);
	if (report == MAP_FAILED) {
		perror("spillway-demo-hog: the page of numbers");
		return 2;
	}
	return hog ? run_hog(rate) : run_neighbour();
}
