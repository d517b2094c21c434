/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shrinkers that misbehave, beside an honest one that must not suffer.
 *
 * Called by shrinkers.t with SPILLWAY_CONF=limit:..., so that the events are
 * spillway's own; spillway's functions are looked up by name. Exit code 7 and
 * "fine", or one line that says what went wrong.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <spillway/spillway.h>

#include "tests/integration/process.h"

#define MIB 1048576
#define BLOCK_BYTES 65536
#define BLOCKS 512

static int (*shrinker_register)(struct spw_shrinker **,
				const struct spw_shrinker_options *);
static void (*shrinker_unregister)(struct spw_shrinker *);
static int (*reclaim)(uint64_t *, const struct spw_reclaim_options *);

static struct spw_shrinker *bad;
static atomic_int bad_asked;
static atomic_int bad_returned;
static atomic_int honest_asked;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *blocks[BLOCKS]; /* Guarded by lock. */

void
process_check(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "shrinkers: %s\n", what);
	_exit(1);
}

static void
blocks_fill(void)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < BLOCKS; i++) {
		if (blocks[i])
			continue;
		blocks[i] = malloc(BLOCK_BYTES);
		process_check(blocks[i] != NULL, "malloc");
		memset(blocks[i], 's', BLOCK_BYTES);
	}
	pthread_mutex_unlock(&lock);
}

static size_t
blocks_drop(uint64_t target)
{
	size_t bytes = 0;

	pthread_mutex_lock(&lock);
	for (int i = 0; i < BLOCKS && bytes < target; i++) {
		if (!blocks[i])
			continue;
		free(blocks[i]);
		blocks[i] = NULL;
		bytes += BLOCK_BYTES;
	}
	pthread_mutex_unlock(&lock);
	return bytes;
}

static size_t
count(const struct spw_shrink *request, void *context)
{
	(void)request;
	(void)context;
	return (size_t)BLOCKS * BLOCK_BYTES;
}

static size_t
honest(const struct spw_shrink *request, void *context)
{
	(void)context;
	atomic_fetch_add(&honest_asked, 1);
	return blocks_drop(request->target_bytes);
}

static size_t
lie(const struct spw_shrink *request, void *context)
{
	(void)context;
	atomic_fetch_add(&bad_asked, 1);
	return request->target_bytes * 2;
}

static size_t
hang(const struct spw_shrink *request, void *context)
{
	(void)request;
	(void)context;
	atomic_fetch_add(&bad_asked, 1);
	for (;;)
		pause();
	return 0;
}

static size_t
unregister_itself(const struct spw_shrink *request, void *context)
{
	(void)request;
	(void)context;
	atomic_fetch_add(&bad_asked, 1);
	shrinker_unregister(bad);
	return 0;
}

static size_t
slow(const struct spw_shrink *request, void *context)
{
	(void)request;
	(void)context;
	atomic_fetch_add(&bad_asked, 1);
	usleep(150000);
	atomic_fetch_add(&bad_returned, 1);
	return 0;
}

static void *
drop_later(void *unused)
{
	(void)unused;
	usleep(50000);
	blocks_drop(UINT64_MAX);
	return NULL;
}

static size_t
later(const struct spw_shrink *request, void *context)
{
	pthread_t thread;

	(void)request;
	(void)context;
	if (atomic_fetch_add(&bad_asked, 1))
		return 0;
	if (pthread_create(&thread, NULL, drop_later, NULL))
		return 0;
	pthread_detach(thread);
	return SPW_SHRINK_LATER;
}

static struct spw_shrinker *
add(const char *name, enum spw_tier tier,
    size_t (*shrink)(const struct spw_shrink *, void *))
{
	struct spw_shrinker_options options = {
		.size = sizeof(options),
		.name = name,
		.tier = tier,
		.count = count,
		.shrink = shrink,
	};
	struct spw_shrinker *shrinker = NULL;

	process_check(!shrinker_register(&shrinker, &options) && shrinker,
		      "spw_shrinker_register");
	return shrinker;
}

/* Grows to the limit of SPILLWAY_CONF until the honest one was asked. */
static void
press(int seconds)
{
	enum { CHUNKS = 24 };
	char *chunks[CHUNKS];
	int before = atomic_load(&honest_asked);

	for (int round = 0; round < seconds * 10; round++) {
		blocks_fill();
		for (int i = 0; i < CHUNKS; i++) {
			chunks[i] = malloc(4 * MIB);
			process_check(chunks[i] != NULL, "malloc");
			memset(chunks[i], round, 4 * MIB);
		}
		usleep(100000);
		for (int i = 0; i < CHUNKS; i++)
			free(chunks[i]);
		if (atomic_load(&honest_asked) > before)
			return;
	}
	process_check(false, "the honest shrinker was never asked");
}

static void
functions_find(void)
{
	shrinker_register = (int (*)(struct spw_shrinker **,
				     const struct spw_shrinker_options *))
		dlsym(RTLD_DEFAULT, "spw_shrinker_register");
	shrinker_unregister = (void (*)(struct spw_shrinker *))dlsym(
		RTLD_DEFAULT, "spw_shrinker_unregister");
	reclaim = (int (*)(uint64_t *, const struct spw_reclaim_options *))
		dlsym(RTLD_DEFAULT, "spw_reclaim");
	process_check(shrinker_register && shrinker_unregister && reclaim,
		      "spillway is not in the process");
}

static void
run_unregister(void)
{
	int asked;

	bad = add("slow", SPW_TIER_COLD, slow);
	press(5);
	for (int i = 0; i < 50 && !atomic_load(&bad_asked); i++)
		usleep(20000);
	shrinker_unregister(bad);
	asked = atomic_load(&bad_asked);
	process_check(asked == atomic_load(&bad_returned),
		      "unregister returned while a call was running");
	press(5);
	process_check(asked == atomic_load(&bad_asked),
		      "asked after it was unregistered");
}

static void
run_twice(void)
{
	struct spw_shrinker *first = add("twin", SPW_TIER_COLD, lie);
	struct spw_shrinker *second = add("twin", SPW_TIER_COLD, lie);

	process_check(first != second, "two registrations are one");
	press(5);
	shrinker_unregister(first);
	press(5);
	shrinker_unregister(second);
	shrinker_unregister(NULL);
	press(5);
}

static void
run_reclaim(void)
{
	uint64_t bytes = 0;

	blocks_fill();
	process_check(!reclaim(&bytes, NULL), "spw_reclaim");
	process_check(bytes >= (uint64_t)BLOCKS * BLOCK_BYTES * 9 / 10,
		      "spw_reclaim did not measure what went");
}

int
main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	functions_find();
	add("honest", SPW_TIER_WARM, honest);
	if (!strcmp(mode, "lie")) {
		bad = add("liar", SPW_TIER_COLD, lie);
		press(10);
		process_check(atomic_load(&bad_asked) > 0, "not asked");
	} else if (!strcmp(mode, "hang")) {
		bad = add("hangman", SPW_TIER_COLD, hang);
		press(10);
		press(5);
		process_check(atomic_load(&bad_asked) == 1, "asked again");
	} else if (!strcmp(mode, "self")) {
		bad = add("quitter", SPW_TIER_COLD, unregister_itself);
		press(5);
		press(5);
		process_check(atomic_load(&bad_asked) == 1, "asked again");
	} else if (!strcmp(mode, "later")) {
		bad = add("debtor", SPW_TIER_COLD, later);
		press(10);
	} else if (!strcmp(mode, "unregister")) {
		run_unregister();
	} else if (!strcmp(mode, "twice")) {
		run_twice();
	} else if (!strcmp(mode, "reclaim")) {
		run_reclaim();
	} else {
		return 2;
	}
	printf("fine\n");
	fflush(stdout);
	return 7;
}
