/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What torture tests share: a seed, a time, dice, threads, a watchdog.
 *
 * Usage:
 *	torture_begin(argv, true);	with the interposer as malloc
 *	torture_start(4, worker, NULL);
 *	torture_join();			ends when the time is over
 *	tap_ok(!torture_broken(), "...");
 *
 * SPW_TORTURE_SEED (a number) repeats the dice of a run; SPW_TORTURE_SECONDS
 * (2) says how long it lasts. Both are printed.
 *
 * Caveats: threads interleave as they like, so that a seed repeats what each
 * thread does, not what happens. What does not end 90 seconds after its time
 * is a deadlock: the process says so and aborts, for the sake of its core.
 */
#ifndef TESTS_TORTURE_TORTURE_H
#define TESTS_TORTURE_TORTURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads the environment, arms the watchdog. With `preloaded` the program
 * starts itself anew under libspillway-malloc.so, or skips all of it. */
void torture_begin(char **argv, bool preloaded);

uint64_t torture_seed(void);
uint64_t torture_seconds(void);

/* Whether the time is over; what is left of it, from 100 to 0 percent. */
bool torture_over(void);
unsigned torture_left_percent(void);

/* xorshift64*: the dice of one thread. */
struct dice {
	uint64_t state;
};
struct dice torture_dice(uint64_t which);
uint64_t dice_roll(struct dice *dice); /* 64 bits */

/* 0 to n - 1. */
static inline uint64_t
dice_below(struct dice *dice, uint64_t n)
{
	return dice_roll(dice) % n;
}

/* A random size up to bytes_max, most of them small. */
size_t dice_size(struct dice *dice, size_t bytes_max);

/* More threads: body gets `which`, counted from 0 over all calls. */
struct torture_thread {
	unsigned which;
	void *context;
	struct dice dice;
};
void torture_start(unsigned count, void (*body)(struct torture_thread *),
		   void *context);

/* Waits for the time to be over, then for all of them. */
void torture_join(void);

/* Children, one after the other until the time is over, each of which is to end
 * with 0; counted in *forks. */
void torture_fork(struct dice *dice, int (*child)(struct dice *dice),
		  _Atomic uint64_t *forks);

/* An invariant is broken: said (the first few times), and counted. */
#define torture_check(good, ...) \
	((good) ? (void)0 : torture_break(__FILE__, __LINE__, __VA_ARGS__))
void torture_break(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
uint64_t torture_broken(void);

/* Sleeps. */
void torture_pause(uint64_t us);

#endif
