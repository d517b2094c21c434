/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registry of shrinkers, as the reclaim engine and the control socket see
 * it. (The public face is spillway/shrinker.h.)
 *
 * Usage: shrinkers_collect() takes references for one pass, shrinkers_enter()
 * and _leave() bracket one call, shrinkers_release() ends the pass.
 *
 * Caveats: traversed under RCU; registering never waits for a pass.
 * shrinkers_collect() and _describe() allocate nothing.
 */
#ifndef PRESSURE_SHRINKERS_H
#define PRESSURE_SHRINKERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <spillway/shrinker.h>

#include "base/rcu.h"
#include "base/settings.h"

/* How many shrinkers one pass may ask; the next one begins behind them. */
#define SHRINKERS_PASS_MAX 128
/* Less than that is how resident bytes are counted. */
#define SHRINKERS_GROWN_BYTES (1ull << 20)

enum shrinker_state {
	SHRINKER_IDLE,
	SHRINKER_RUNNING, /* a callback is running */
	SHRINKER_DEAD,    /* unregistered */
	SHRINKER_DYING,   /* unregistered from inside its callback */
};

struct spw_shrinker {
	_Atomic(struct spw_shrinker *) next; /* in the registry; RCU */
	_Atomic(struct spw_shrinker *)
		*back; /* what points here; Guarded by lock. */
	struct spw_shrinker *next_retired;
	struct spw_shrinker *outer;  /* While RUNNING: called from its call. */
	_Atomic uint32_t state;      /* enum shrinker_state; a futex */
	_Atomic uint32_t references; /* passes that hold it, and its owner */
	_Atomic bool quarantined;
	enum spw_tier tier;
	size_t (*count)(const struct spw_shrink *, void *);
	size_t (*shrink)(const struct spw_shrink *, void *);
	void *context;
	bool exact;     /* ours: its word needs no check by usage */
	uint64_t order; /* of registration; 0: ours */
	/* Written by the thread that runs the pass alone. */
	_Atomic uint64_t yield_bytes_per_ms; /* measured, EWMA */
	_Atomic uint64_t reclaimed_bytes;
	_Atomic uint64_t claimed_bytes; /* what it said */
	_Atomic uint64_t calls;
	_Atomic uint64_t ns_max;
	_Atomic uint64_t later_until_ns;      /* SPW_SHRINK_LATER pending */
	uint64_t later_resident_bytes;        /* of the process, back then */
	_Atomic uint64_t hold_until_ns;       /* gave nothing: not before */
	_Atomic uint64_t hold_headroom_bytes; /* then: nor until less */
	_Atomic uint32_t futile;              /* in a row */
	_Atomic bool held_hard; /* it gave nothing where it was critical */
	/* Of the process, when it gave nothing. */
	_Atomic uint64_t futile_resident_bytes;
	char name[SETTINGS_NAME_BYTES];
};

/* What options of a shrinker, an arena and a cache have in common: 0, or
 * -EINVAL and a message about the `what` of that name. */
int shrinkers_check(const char *what, const char *name, enum spw_tier tier,
		    const void *domain);

/* The engine's own: no allocation, static storage, never unregistered. */
void shrinkers_add_own(struct spw_shrinker *shrinker);

/* spw_shrinker_register() for memory of ours whose callbacks call nobody and
 * whose word needs no check. */
int shrinkers_register_exact(struct spw_shrinker **shrinker,
			     const struct spw_shrinker_options *options);

/* References to the live ones of tier <= tier_max: how many. */
unsigned shrinkers_collect(struct spw_shrinker **array, unsigned array_max,
			   enum spw_tier tier_max);
void shrinkers_release(struct spw_shrinker **array, unsigned count);

/* Whether a process with so many bytes resident had fewer then: what it has got
 * since may be its shrinkers'. */
static inline bool
shrinkers_has_grown(uint64_t resident_bytes, uint64_t then_bytes)
{
	return resident_bytes >= then_bytes + SHRINKERS_GROWN_BYTES;
}

/* Whether it gave something when it was last asked, or was never asked, or the
 * process has grown since; now it has so many bytes resident. */
bool shrinkers_may_have(const struct spw_shrinker *shrinker,
			uint64_t resident_bytes);
/* So may one of a dearer tier. */
bool shrinkers_may_have_above(enum spw_tier tier, uint64_t resident_bytes);

/* False when it was unregistered or is running: skip it. */
bool shrinkers_enter(struct spw_shrinker *shrinker);
void shrinkers_leave(struct spw_shrinker *shrinker);
/* Whether the calling thread is in between. */
bool shrinkers_inside(void);

/* What it promised for later has come (or will not): it may be asked again. */
void shrinkers_came(struct spw_shrinker *shrinker);

/* Whether there is so much to free that no pass should be waited for. */
bool shrinkers_pending(void);

/* Frees what was unregistered; waits for a grace period if there is any. */
void shrinkers_retire(void);

/* Number of live shrinkers that are not the engine's own. */
unsigned shrinkers_count(void);

/* In the child of a fork: no call is running. */
void shrinkers_fork_child(void);

struct shrinkers_line {
	char name[SETTINGS_NAME_BYTES];
	enum spw_tier tier;
	bool quarantined;
	uint64_t reclaimed_bytes, calls, ns_max, yield_bytes_per_ms;
};
unsigned shrinkers_describe(struct shrinkers_line *lines, unsigned lines_max);

#endif
