/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A bridge: a collector as a shrinker, with a thread of its own.
 *
 * Usage: bridge_add() for what was found or registered; the rest happens when
 * a pass asks.
 *
 * Caveats: the reclaimer never waits for a collector longer than the call's
 * deadline, takes no lock here and allocates nothing (but for making the
 * bridge's thread, once).
 */
#ifndef GC_BRIDGE_BRIDGE_H
#define GC_BRIDGE_BRIDGE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include <spillway/gc.h>

#define BRIDGES_MAX 16
#define BRIDGE_NAME_BYTES 64

/* A runtime that we know. All but `probe` and `heap` runs on the bridge's
 * thread; `heap` on any. */
struct bridge_runtime {
	const char *name;
	const char *opt_in;  /* another word of gc: that allows it, or NULL */
	bool by_default;     /* gc:auto asks it */
	bool fork_waits;     /* for a collection that is running */
	bool gives_unmarked; /* at level LOW it gives without a mark */
	bool in_steps;       /* below CRITICAL it makes no long pause */
	/*
	 * Whether it is in the process, and ready: 0, -ENOENT, -EAGAIN (not
	 * ready yet), -EOPNOTSUPP with the reason for people in *why. Runs on
	 * the scout, or in spw_gc_attach() (attached: on a thread of the
	 * program's).
	 */
	int (*probe)(bool attached, const char **why);
	size_t (*collect)(enum spw_level level, uint64_t deadline_ns,
			  void *context);
	/* Behind it: waits until what it freed has gone, where that takes a
	 * while; before_bytes were resident. May be NULL. */
	void (*settle)(uint64_t before_bytes);
	size_t (*heap)(void *context);
	void (*tune)(uint64_t headroom_bytes, void *context);
	/* Nanoseconds until tune is called though no level changed; 0: never.
	 * May be NULL. */
	uint64_t (*tune_again)(void);
	/* Takes the signals that its threads must get out of the set. */
	void (*open_signals)(sigset_t *blocked);
};

/*
 * Makes a bridge. 0 and *gc, -ENOSPC, -ENOMEM, -ENOTSUP, -EEXIST (a bridge of
 * that name is there). runtime: NULL where a program registers.
 */
int bridge_add(struct spw_gc **gc, const struct spw_gc_options *options,
	       const struct bridge_runtime *runtime);

/* As spw_gc_unregister(). */
int bridge_remove(struct spw_gc *gc);

/* Whether there is a bridge of that name. */
bool bridge_has(const char *name);

/* As spw_gc_stats(). */
int bridge_stats(const char *name, struct spw_gc_stats *stats);

/* The i-th bridge: false where there is none. For `spillway stat`. */
struct bridge_line {
	char name[BRIDGE_NAME_BYTES];
	const char *state; /* static */
	struct spw_gc_stats stats;
};
bool bridge_describe(unsigned i, struct bridge_line *line);

/* Bytes that may still be taken, as monitor and limits have it. */
uint64_t bridge_headroom(void);

/* Thread of a bridge, or of the scout: nothing waits for memory on it. */
void bridge_thread_starts(const char *name, const struct bridge_runtime *r);

/* Makes a thread, all signals blocked. 0 or -errno. */
int bridge_spawn(void *(*body)(void *), void *argument);

/* The process ends, or is about to fork. */
bool bridge_ending(void);

#endif
