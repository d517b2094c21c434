/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Growth at a jumping limit by threads that hold the very locks that their
 * shrinkers want, inside read-side sections and outside, while others fork.
 *
 * Each of OWNERS things of value has a lock, taken around growing and by its
 * shrinker: without the gate's bound the first wait at the limit would be for
 * ever. No call may take longer than BOUND_NS, which leaves room for a
 * machine that is busy with something else.
 *
 * Compiled twice: gate is the core alone (spw_pressure_grow() and mmap), and
 * gate_heap (TORTURE_HEAP) runs under the interposer, where malloc waits too.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <spillway/spillway.h>

#include "base/clock.h"
#include "tests/tap.h"
#include "tests/torture/torture.h"

#ifdef TORTURE_HEAP
#define HEAP true
#else
#define HEAP false
#endif

#define OWNERS 4
#define BLOCKS 64
#define BLOCK_MAX (1ul << 20)
#define MIB (1ull << 20)
#define QUIET                                                   \
	"cgroup:off,machine:off,rlimit:off,psi:off,notify:off," \
	"systemd:off,control:off,soft:16M,hard:8M,deadline:125ms"
/* The gate's own bound is 10 ms; schedulers need more. */
#define BOUND_NS (3 * CLOCK_S)

struct block {
	unsigned char *memory;
	size_t bytes;
	bool mapped;
};

struct owner {
	pthread_mutex_t lock;
	struct block blocks[BLOCKS]; /* Guarded by lock. */
	_Atomic uint64_t dropped;
};

static struct owner owners[OWNERS];
static _Atomic uint64_t longest_ns, grown_bytes, refused, under_lock;

/*
 * A jump of the limit and a fork let everybody go who waits at the gate. So
 * in the last third the limit stays below what is used, nobody forks, and
 * who grows holds a lock: only the bound ends a wait.
 */
static bool
is_steady(void)
{
	return torture_left_percent() < 33;
}

/* Whether nobody has written into it. */
static bool
is_whole(const struct block *b)
{
	unsigned char mark = (unsigned char)((uintptr_t)b >> 4);

	return b->memory[0] == mark && b->memory[b->bytes - 1] == mark &&
	       b->memory[b->bytes / 2] == mark;
}

static size_t
drop(struct block *b)
{
	size_t bytes = b->bytes;

	if (!b->memory)
		return 0;
	torture_check(is_whole(b), "a block was written by somebody else");
	if (b->mapped)
		munmap(b->memory, bytes);
	else
		free(b->memory);
	b->memory = NULL;
	b->bytes = 0;
	return bytes;
}

/* Growth, timed; NULL where it is refused. */
static unsigned char *
grow(size_t bytes, bool map)
{
	uint64_t start = clock_now_ns(), ns;
	unsigned char *memory = NULL;

	if (!map) {
		memory = malloc(bytes);
	} else if (spw_pressure_grow(bytes) == 0) {
		memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (memory == MAP_FAILED)
			tap_bail_out("mmap: %s", strerror(errno));
	}
	ns = clock_now_ns() - start;
	torture_check(ns < BOUND_NS, "%zu bytes took %llu ms", bytes,
		      (unsigned long long)(ns / CLOCK_MS));
	for (uint64_t old = atomic_load(&longest_ns); old < ns;)
		if (atomic_compare_exchange_weak(&longest_ns, &old, ns))
			break;
	atomic_fetch_add(memory ? &grown_bytes : &refused, memory ? bytes : 1);
	return memory;
}

static void
fill(struct block *b, struct dice *dice)
{
	size_t bytes = 4096 + dice_below(dice, BLOCK_MAX);
	bool map = !HEAP || dice_below(dice, 3) == 0;
	bool reading = dice_below(dice, 8) == 0;

	if (reading)
		spw_read_lock();
	b->memory = grow(bytes, map);
	if (reading)
		spw_read_unlock();
	if (!b->memory)
		return;
	b->mapped = map;
	b->bytes = bytes;
	memset(b->memory, (unsigned char)((uintptr_t)b >> 4), bytes);
}

static void
grower(struct torture_thread *self)
{
	struct dice *dice = &self->dice;

	while (!torture_over()) {
		struct owner *o = &owners[dice_below(dice, OWNERS)];
		struct block *b = &o->blocks[dice_below(dice, BLOCKS)];

		if (is_steady() || dice_below(dice, 2)) {
			pthread_mutex_lock(&o->lock);
			if (b->memory)
				drop(b);
			else
				fill(b, dice);
			pthread_mutex_unlock(&o->lock);
			atomic_fetch_add(&under_lock, 1);
		} else {
			struct block mine = { 0 };

			fill(&mine, dice);
			drop(&mine);
		}
	}
}

static size_t
count(const struct spw_shrink *request, void *context)
{
	struct owner *o = context;
	size_t bytes = 0;

	(void)request;
	pthread_mutex_lock(&o->lock);
	for (int i = 0; i < BLOCKS; i++)
		bytes += o->blocks[i].bytes;
	pthread_mutex_unlock(&o->lock);
	return bytes;
}

static size_t
shrink(const struct spw_shrink *request, void *context)
{
	struct owner *o = context;
	size_t bytes = 0;

	pthread_mutex_lock(&o->lock);
	for (int i = 0; i < BLOCKS && bytes < request->target_bytes; i++)
		bytes += drop(&o->blocks[i]);
	pthread_mutex_unlock(&o->lock);
	atomic_fetch_add(&o->dropped, bytes);
	return bytes;
}

static uint64_t
resident_bytes(void)
{
	unsigned long size, resident = 0;
	char text[128] = "";
	FILE *file = fopen("/proc/self/statm", "r");

	if (!file || !fgets(text, sizeof text, file) ||
	    sscanf(text, "%lu %lu", &size, &resident) != 2)
		tap_bail_out("/proc/self/statm cannot be read");
	fclose(file);
	return resident * 4096;
}

/* Near, far, below what is used; refusing and not; waiting and not. */
static void
flipper(struct torture_thread *self)
{
	static const char *const others[] = { "oom:fail", "oom:kernel",
					      "gate:0", "gate:1ms",
					      "gate:10ms" };
	struct dice *dice = &self->dice;
	char low[64];

	while (!is_steady()) {
		char text[64];
		uint64_t limit = resident_bytes() * 3 / 4 +
				 dice_below(dice, 48 * MIB);

		snprintf(text, sizeof text, "limit:%llu",
			 (unsigned long long)limit);
		torture_check(spw_configure(dice_below(dice, 5) ?
						    text :
						    "limit:none") == 0,
			      "%s is refused", text);
		if (dice_below(dice, 8) == 0)
			spw_configure(others[dice_below(dice, 5)]);
		torture_pause(dice_below(dice, 10000));
	}
	snprintf(low, sizeof low, "limit:%llu,oom:kernel,gate:10ms",
		 (unsigned long long)(resident_bytes() / 2));
	torture_check(spw_configure(low) == 0, "%s is refused", low);
}

static bool
can_allocate(void)
{
	void *block = HEAP ? malloc(100000) : &owners;
	bool can = block != NULL;

	if (HEAP)
		free(block);
	return can;
}

/* A fork waits for nobody who waits at the gate. */
static void
forker(struct torture_thread *self)
{
	while (!is_steady()) {
		uint64_t start = clock_now_ns();
		pid_t pid = fork();
		int status;

		if (!pid)
			_exit(can_allocate() ? 0 : 1);
		if (pid < 0)
			tap_bail_out("fork: %s", strerror(errno));
		torture_check(clock_now_ns() - start < BOUND_NS,
			      "a fork took %llu ms",
			      (unsigned long long)((clock_now_ns() - start) /
						   CLOCK_MS));
		torture_check(waitpid(pid, &status, 0) == pid && status == 0,
			      "a child ended with status %#x", status);
		torture_pause(dice_below(&self->dice, 20000));
	}
}

int
main(int argc, char **argv)
{
	struct spw_stats stats = { .size = sizeof stats };
	struct spw_shrinker *shrinkers[OWNERS];
	uint64_t dropped = 0;

	(void)argc;
	unsetenv("SPILLWAY_CONF");
	torture_begin(argv, HEAP);
	if (spw_configure(QUIET) != 0)
		tap_bail_out("settings are refused");
	for (int i = 0; i < OWNERS; i++) {
		struct spw_shrinker_options options = {
			.size = sizeof options,
			.name = "owner",
			.tier = i % 2 ? SPW_TIER_COLD : SPW_TIER_WARM,
			.count = i < 3 ? count : NULL,
			.shrink = shrink,
			.context = &owners[i],
		};
		int error;

		pthread_mutex_init(&owners[i].lock, NULL);
		error = spw_shrinker_register(&shrinkers[i], &options);
		if (error)
			tap_bail_out("register: %s", spw_strerror(error));
	}
	torture_start(5, grower, NULL);
	torture_start(1, flipper, NULL);
	torture_start(1, forker, NULL);
	torture_join();
	spw_configure("limit:none,oom:kernel,gate:10ms");
	spw_stats(&stats);
	for (int i = 0; i < OWNERS; i++) {
		spw_shrinker_unregister(shrinkers[i]);
		dropped += owners[i].dropped;
		for (int b = 0; b < BLOCKS; b++)
			drop(&owners[i].blocks[b]);
	}
	tap_note("%llu MiB grown, %llu dropped, %llu refused, %llu waits, the "
		 "longest %llu us, growth at most %llu us",
		 (unsigned long long)(grown_bytes / MIB),
		 (unsigned long long)(dropped / MIB),
		 (unsigned long long)refused,
		 (unsigned long long)stats.gate_waits,
		 (unsigned long long)(stats.gate_wait_ns_max / CLOCK_US),
		 (unsigned long long)(longest_ns / CLOCK_US));
	tap_ok(under_lock > 0 && stats.gate_waits > 0,
	       "threads waited at the gate, some with a lock held");
	tap_ok(dropped > 0, "the shrinkers that want it got it");
	tap_is(torture_broken(), 0, "nobody waited long, nothing was lost");
	tap_is(stats.quarantined, 0, "no shrinker seemed to hang");
	return tap_done();
}
