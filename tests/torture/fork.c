/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Children by fork, vfork and posix_spawn from several threads at once, while
 * others allocate, reclaim, register, and use and drop tagged arenas.
 *
 * A child allocates plain and tagged memory, frees what its parent made,
 * grows past start: (so that it gets threads of its own), registers, reclaims
 * what it freed, and forks again or ends. Each is given WAIT_NS: whoever is
 * not there then is stuck on a lock that somebody held when it was born.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <spillway/spillway.h>

#include "base/clock.h"
#include "tests/tap.h"
#include "tests/torture/torture.h"

#define WAIT_NS (40 * CLOCK_S)
#define CHILD_ALARM_S 60
#define BLOCKS 256
#define GROWTH_BYTES (6ul << 20) /* above start:4M */
#define FINE 7

static struct spw_arena *tagged, *reclaimable;
static _Atomic(char *) blocks[BLOCKS];
static _Atomic(char *) root;
static _Atomic uint64_t forks, spawns, vforks, drops;
static char self_path[] = "/proc/self/exe";

/* A child says by its exit code where it failed. */
enum { NO_MALLOC = 20, NO_TAGGED, BROKEN, NO_REGISTER, NO_RECLAIM, NO_CHILD };

static size_t
count(const struct spw_shrink *request, void *context)
{
	(void)request;
	(void)context;
	return 1 << 20;
}

static size_t
shrink(const struct spw_shrink *request, void *asked)
{
	(void)request;
	atomic_fetch_add((_Atomic unsigned *)asked, 1);
	return 0;
}

static struct spw_shrinker *
lend(_Atomic unsigned *asked)
{
	struct spw_shrinker_options options = {
		.size = sizeof options,
		.name = "lender",
		.tier = SPW_TIER_WARM,
		.count = count,
		.shrink = shrink,
		.context = asked,
	};
	struct spw_shrinker *s;

	return spw_shrinker_register(&s, &options) == 0 ? s : NULL;
}

/* True when it ended with FINE in time. */
static bool
await(pid_t pid, const char *what)
{
	uint64_t start = clock_now_ns();
	int status;
	pid_t got;

	while ((got = waitpid(pid, &status, WNOHANG)) == 0) {
		if (clock_now_ns() - start > WAIT_NS) {
			torture_check(false, "%s %d does not end", what,
				      (int)pid);
			kill(pid, SIGABRT);
			waitpid(pid, &status, 0);
			return false;
		}
		torture_pause(300);
	}
	if (got == pid && WIFEXITED(status) && WEXITSTATUS(status) == FINE)
		return true;
	torture_check(false, "%s ended with status %#x", what, status);
	return false;
}

static void
use_inherited(struct dice *dice)
{
	for (int i = 0; i < BLOCKS; i++) {
		char *block = atomic_exchange(&blocks[i], NULL);

		if (!block)
			continue;
		if (block[0] != 'b')
			_exit(BROKEN);
		if (dice_below(dice, 2))
			free(block);
		else
			spw_free(block);
	}
}

static void
grow_past_start(void)
{
	static char *grown[64];

	for (int i = 0; i < 64; i++) {
		grown[i] = malloc(GROWTH_BYTES / 64);
		if (!grown[i])
			_exit(NO_MALLOC);
		memset(grown[i], i, GROWTH_BYTES / 64);
	}
	for (int i = 0; i < 64; i++) {
		if (grown[i][4711] != i)
			_exit(BROKEN);
		free(grown[i]);
	}
}

static void
register_and_reclaim(void)
{
	_Atomic unsigned asked = 0;
	struct spw_shrinker *s = lend(&asked);
	uint64_t got;

	if (!s)
		_exit(NO_REGISTER);
	if (spw_reclaim(&got, NULL) != 0 || !asked)
		_exit(NO_RECLAIM);
	spw_shrinker_unregister(s);
}

/* What a child does; `depth` more below it. */
__attribute__((noreturn)) static void
live(struct dice *dice, int depth)
{
	uint64_t doings = dice_roll(dice);
	char *mine;

	alarm(CHILD_ALARM_S);
	mine = malloc(1 + doings % 100000);
	if (!mine)
		_exit(NO_MALLOC);
	free(mine);
	if (doings & 0x100000)
		use_inherited(dice);
	mine = spw_arena_malloc(doings & 1 ? tagged : reclaimable, 5000);
	if (!mine)
		_exit(NO_TAGGED);
	memset(mine, 1, 5000);
	if (doings & 2)
		grow_past_start();
	if (doings & 4)
		register_and_reclaim();
	if (depth > 0 && (doings & 8)) {
		pid_t pid = fork();

		if (!pid)
			live(dice, depth - 1);
		if (pid < 0 || !await(pid, "a grandchild"))
			_exit(NO_CHILD);
	}
	_exit(FINE);
}

static void
forker(struct torture_thread *self)
{
	struct dice *dice = &self->dice;

	while (!torture_over()) {
		pid_t pid;

		dice_roll(dice);
		pid = fork();
		if (!pid)
			live(dice, 2);
		if (pid < 0) {
			torture_check(false, "fork: %s", strerror(errno));
			return;
		}
		await(pid, "a child");
		atomic_fetch_add(&forks, 1);
	}
}

static void
spawner(struct torture_thread *self)
{
	extern char **environ;
	char word[] = "small";
	char *const arguments[] = { self_path, word, NULL };

	while (!torture_over()) {
		pid_t pid;
		int error;

		if (dice_below(&self->dice, 2)) {
			error = posix_spawn(&pid, self_path, NULL, NULL,
					    arguments, environ);
			torture_check(!error, "posix_spawn: %s",
				      strerror(error));
			if (error || !await(pid, "a spawned one"))
				return;
			atomic_fetch_add(&spawns, 1);
			continue;
		}
		pid = vfork(); /* NOLINT(clang-analyzer-security*) */
		if (!pid) {
			execve(self_path, arguments, environ);
			_exit(127);
		}
		torture_check(pid > 0, "vfork: %s", strerror(errno));
		if (pid < 0 || !await(pid, "a child of vfork"))
			return;
		atomic_fetch_add(&vforks, 1);
	}
}

static void
churner(struct torture_thread *self)
{
	struct dice *dice = &self->dice;

	while (!torture_over()) {
		size_t bytes = 1 + dice_size(dice, 200000);
		char *block = dice_below(dice, 3) ?
				      malloc(bytes) :
				      spw_arena_malloc(tagged, bytes);

		if (!block) {
			torture_check(false, "no memory for %zu bytes", bytes);
			return;
		}
		block[0] = 'b';
		free(atomic_exchange(&blocks[dice_below(dice, BLOCKS)], block));
	}
}

/* Threads that never had a cache of these arenas: they make one, in a
 * read-side section, while somebody forks and the reclaimer waits for a
 * grace period. */
static void *
short_reader(void *unused)
{
	char *block;

	(void)unused;
	spw_read_lock();
	block = spw_arena_malloc(reclaimable, 3000);
	if (block) {
		memset(block, 'r', 3000);
		atomic_store(&root, block);
		torture_check(block[2999] == 'r', "memory is not ours");
	}
	spw_read_unlock();
	return NULL;
}

static void
reader(struct torture_thread *self)
{
	(void)self;
	while (!torture_over()) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, short_reader, NULL) == 0)
			pthread_join(thread, NULL);
	}
}

static void
drop(void *unused)
{
	(void)unused;
	atomic_store(&root, NULL);
	atomic_fetch_add(&drops, 1);
}

static void
registrar(struct torture_thread *self)
{
	static _Atomic unsigned asked;

	while (!torture_over()) {
		struct spw_shrinker *s = lend(&asked);

		torture_check(s != NULL, "cannot register");
		torture_pause(dice_below(&self->dice, 300));
		spw_shrinker_unregister(s);
	}
}

static void
presser(struct torture_thread *self)
{
	while (!torture_over()) {
		uint64_t got;
		int error = spw_reclaim(&got, NULL);

		torture_check(!error, "spw_reclaim: %s", spw_strerror(error));
		torture_pause(dice_below(&self->dice, 500));
	}
}

static struct spw_arena *
create(const char *name, unsigned flags)
{
	struct spw_arena_options options = {
		.size = sizeof options,
		.name = name,
		.drop = drop,
		.flags = flags,
	};
	struct spw_arena *arena;
	int error = spw_arena_create(&arena, &options);

	if (error)
		tap_bail_out("create: %s", spw_strerror(error));
	return arena;
}

int
main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "small") == 0) {
		grow_past_start();
		return FINE;
	}
	setenv("SPILLWAY_CONF", "cgroup:off,machine:off,psi:off,start:4M", 1);
	torture_begin(argv, true);
	tagged = create("tagged", 0);
	reclaimable = create("reclaimable", SPW_ARENA_RECLAIMABLE);
	torture_start(2, forker, NULL);
	torture_start(1, spawner, NULL);
	torture_start(2, churner, NULL);
	torture_start(4, reader, NULL);
	torture_start(1, registrar, NULL);
	torture_start(2, presser, NULL);
	torture_join();
	tap_note("%llu forks, %llu spawned, %llu by vfork, %llu drops",
		 (unsigned long long)forks, (unsigned long long)spawns,
		 (unsigned long long)vforks, (unsigned long long)drops);
	tap_ok(forks > 0 && spawns > 0 && vforks > 0 && drops > 0,
	       "children were made in every way, while an arena was dropped");
	tap_is(torture_broken(), 0, "each of them lived and ended in time");
	return tap_done();
}
