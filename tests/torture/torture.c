/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The common part of torture tests; see torture.h.
 *
 * Under the interposer everything here would be measured too: nothing is
 * allocated but what pthread_create() does.
 */
#include "tests/torture/torture.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/tap.h"

#define THREADS_MAX 64
#define WATCHDOG_S 90
#define BREAKS_SHOWN 5
#define SECONDS_DEFAULT 2

static uint64_t seed, seconds, end_ns;
static _Atomic uint64_t broken;

static struct {
	pthread_t thread;
	void (*body)(struct torture_thread *);
	struct torture_thread self;
} threads[THREADS_MAX];
static unsigned threads_count;

static void
bark(int signal)
{
	static const char line[] =
		"Bail out! no end 90 s after the time was over: deadlock\n";

	(void)signal;
	if (write(1, line, sizeof line - 1) < 0)
		_exit(98);
	abort();
}

static uint64_t
from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	char *end;
	unsigned long long value;

	if (!text || !*text)
		return otherwise;
	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || *end || *text == '-')
		tap_bail_out("%s=%s is no number", name, text);
	return value;
}

/* Starts over with the interposer as malloc. */
static void
preload(char **argv)
{
	static const char *const variables[] = { "SPILLWAY_BUILD",
						 "abs_top_builddir" };
	const char *before = getenv("LD_PRELOAD"), *folder = NULL;
	char path[PATH_MAX];

	if (before && strstr(before, "libspillway-malloc.so"))
		return;
	for (int i = 0; i < 2 && !folder; i++)
		folder = getenv(variables[i]);
	snprintf(path, sizeof path, "%s/.libs/libspillway-malloc.so",
		 folder ? folder : ".");
	if (access(path, R_OK) != 0)
		tap_skip_all("no %s: set SPILLWAY_BUILD", path);
	if (setenv("LD_PRELOAD", path, 1) != 0)
		tap_bail_out("setenv: %s", strerror(errno));
	execv("/proc/self/exe", argv);
	tap_bail_out("cannot start itself anew: %s", strerror(errno));
}

void
torture_begin(char **argv, bool preloaded)
{
	if (preloaded)
		preload(argv);
	seed = from_environment("SPW_TORTURE_SEED",
				clock_now_ns() ^ (uint64_t)getpid() << 40);
	seconds = from_environment("SPW_TORTURE_SECONDS", SECONDS_DEFAULT);
	tap_note("SPW_TORTURE_SEED=%llu SPW_TORTURE_SECONDS=%llu",
		 (unsigned long long)seed, (unsigned long long)seconds);
	signal(SIGALRM, bark);
	alarm((unsigned)(seconds + WATCHDOG_S));
	end_ns = clock_now_ns() + seconds * CLOCK_S;
}

uint64_t
torture_seed(void)
{
	return seed;
}

uint64_t
torture_seconds(void)
{
	return seconds;
}

bool
torture_over(void)
{
	return clock_now_ns() >= end_ns;
}

unsigned
torture_left_percent(void)
{
	uint64_t now = clock_now_ns();

	return now >= end_ns || !seconds ?
		       0 :
		       (unsigned)((end_ns - now) / (seconds * CLOCK_S / 100));
}

struct dice
torture_dice(uint64_t which)
{
	/* splitmix64, so that neighbouring seeds have nothing in common */
	uint64_t z = seed + (which + 1) * 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (struct dice){ .state = (z ^ (z >> 31)) | 1 };
}

uint64_t
dice_roll(struct dice *dice)
{
	uint64_t x = dice->state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	dice->state = x;
	return x * 0x2545f4914f6cdd1dull;
}

size_t
dice_size(struct dice *dice, size_t bytes_max)
{
	uint64_t roll = dice_roll(dice);
	size_t bytes = 1 + (roll >> 8) % bytes_max;

	/* Nine of ten: below 1 KiB. One of ten: anything. */
	return roll % 10 ? 1 + bytes % 1024 : bytes;
}

static void *
enter_thread(void *argument)
{
	unsigned *which = argument;

	threads[*which].body(&threads[*which].self);
	return NULL;
}

void
torture_start(unsigned count, void (*body)(struct torture_thread *),
	      void *context)
{
	for (unsigned i = 0; i < count; i++) {
		unsigned n = threads_count;
		int error;

		if (n == THREADS_MAX)
			tap_bail_out("more than %d threads", THREADS_MAX);
		threads[n].body = body;
		threads[n].self.which = n;
		threads[n].self.context = context;
		threads[n].self.dice = torture_dice(n);
		error = pthread_create(&threads[n].thread, NULL, enter_thread,
				       &threads[n].self.which);
		if (error)
			tap_bail_out("pthread_create: %s", strerror(error));
		threads_count++;
	}
}

void
torture_join(void)
{
	for (unsigned i = 0; i < threads_count; i++)
		pthread_join(threads[i].thread, NULL);
	threads_count = 0;
}

void
torture_break(const char *file, int line, const char *format, ...)
{
	char words[400];
	va_list arguments;

	if (atomic_fetch_add(&broken, 1) >= BREAKS_SHOWN)
		return;
	va_start(arguments, format);
	vsnprintf(words, sizeof words, format, arguments);
	va_end(arguments);
	tap_note("%s:%d: %s", file, line, words);
}

uint64_t
torture_broken(void)
{
	return atomic_load(&broken);
}

void
torture_pause(uint64_t us)
{
	struct timespec t = { .tv_sec = (time_t)(us / 1000000),
			      .tv_nsec = (long)(us % 1000000 * 1000) };

	nanosleep(&t, NULL);
}

void
torture_fork(struct dice *dice, int (*child)(struct dice *dice),
	     _Atomic uint64_t *forks)
{
	while (!torture_over()) {
		pid_t pid = fork();
		int status = 0;

		if (pid == 0) {
			alarm(60);
			_exit(child(dice));
		}
		torture_check(pid > 0, "fork: %d", errno);
		if (pid > 0) {
			waitpid(pid, &status, 0);
			torture_check(status == 0, "a child ends with %x",
				      status);
			atomic_fetch_add(forks, 1);
		}
		torture_pause(10000 + dice_below(dice, 30000));
	}
}
