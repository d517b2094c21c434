/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mutexes with a rank. The enum below *is* the lock order: a thread may take
 * a lock only while every lock it holds has a lower rank.
 *
 * Usage: static struct base_lock lock = BASE_LOCK(BASE_RANK_REGISTRY);
 *
 * Caveats:
 *  - threads: not recursive. Builds with SPW_ASSERT_LEVEL 2 assert the order
 *    and base_assert_held().
 *  - fork: lock_fork_add() puts a lock on the list that lock_fork_prepare()
 *    takes in order of rank; the child gets it unlocked.
 *  - Nothing that runs under pressure takes a lock that an allocating path
 *    holds: no lock of this list is held while user code or malloc runs,
 *    except PASS (held by the thread that runs a pass, taken by nobody who
 *    allocates) and PURGE (taken inside a pass and by fork alone).
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>

#include "base/assert.h"

enum base_rank {
	BASE_RANK_START,         /* starting the core and its threads */
	BASE_RANK_SETTINGS,      /* spw_configure */
	BASE_RANK_ARENA_LIST,    /* creating and destroying tagged arenas */
	BASE_RANK_REGISTRY,      /* the list of shrinkers */
	BASE_RANK_SUBSCRIBERS,   /* the list of subscriptions */
	BASE_RANK_REQUEST,       /* queue of reclaim requests */
	BASE_RANK_CACHE_LIST,    /* creating and destroying caches */
	BASE_RANK_CACHE_REQUEST, /* spw_cache_shrink, one at a time */
	BASE_RANK_CACHE_EVICT,   /* one eviction at a time; over grace periods,
				  * so that fork does not take it */
	BASE_RANK_CACHE_SHARD,   /* an open segment, a few stores; of caches, */
	BASE_RANK_CACHE_SWEEP,   /* as what follows: fork waits for writers, */
	BASE_RANK_CACHE_RESIZE,  /* and takes none of them */
	BASE_RANK_CACHE_POOL,
	BASE_RANK_CACHE_WINDOW,  /* which segments are taken */
	BASE_RANK_JOBS,          /* the list of jobs */
	BASE_RANK_PURGE,         /* one purge at a time, none during a fork */
	BASE_RANK_THREAD_CACHES, /* list of explicit tcaches of threads */
	BASE_RANK_GC_SOFT,       /* free soft references */
	BASE_RANK_LOG,           /* the sink */
	BASE_RANK_COUNT
};

struct base_lock {
	pthread_mutex_t mutex;
	enum base_rank rank;
	struct base_lock *next_at_fork;
};

#define BASE_LOCK(r)                                            \
	{                                                       \
		.mutex = PTHREAD_MUTEX_INITIALIZER, .rank = (r) \
	}

void base_lock(struct base_lock *lock);
bool base_trylock(struct base_lock *lock);
void base_unlock(struct base_lock *lock);

/* Adds a lock (of static storage) to what a fork takes. Idempotent. To be
 * called with no lock of this list held. */
void lock_fork_add(struct base_lock *lock);
void lock_fork_prepare(void);
void lock_fork_parent(void);
void lock_fork_child(void);

/* Whether the calling thread holds the lock; true where nobody keeps count. */
bool lock_is_held(const struct base_lock *lock);
#define base_assert_held(lock) base_assert_walk(lock_is_held(lock))

#endif
