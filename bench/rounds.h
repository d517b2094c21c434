/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rounds of programs that hold their peers themselves: each subject runs once
 * a round, one after the other, so that a slow minute hits all alike.
 *
 * Usage: rounds_child() runs one subject in a process of its own, whose memory
 * is gone afterwards; results go through rounds_share()d memory. A struct
 * figures keeps a figure's rounds: figures_add(), figures_row().
 *
 * Caveats: call rounds_child() before the calling process has used spillway or
 * started a thread.
 */
#ifndef BENCH_ROUNDS_H
#define BENCH_ROUNDS_H

#include <stddef.h>
#include <stdint.h>

#define ROUNDS_MAX 101

/* Zeroed, and shared with children. */
void *rounds_share(size_t bytes);

/* Returns when the child has ended; exits with 1 where it failed. */
void rounds_child(void (*run)(void *argument), void *argument);

/* What --only chooses from; the last has no name. */
struct rounds_part {
	const char *name;
	void (*run)(void);
};

/* Runs those whose names have `only` in them. The exit code: 2, and a line
 * that says so, where none has. */
int rounds_parts(const struct rounds_part *parts, const char *program,
		 const char *only);

struct figures {
	unsigned count;
	double values[ROUNDS_MAX];
};

void figures_add(struct figures *figures, double value);
double figures_at(const struct figures *figures, double fraction);

/* A row of the median; p50 and p99 are of the rounds. */
void figures_row(const char *name, const char *params, const char *unit,
		 const struct figures *figures);

/* The same of a / b, round by round. */
void figures_ratio(const char *name, const char *params,
		   const struct figures *a, const struct figures *b);

#endif
