/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ranked mutexes and what a fork does with them.
 *
 * Called by every folder; calls pthread mutexes. A thread's held ranks are a
 * bit mask in thread-local storage, kept in builds with SPW_ASSERT_LEVEL 2
 * alone: taking a lock asserts that no equal or higher bit is set.
 *
 * The fork list is sorted by rank when a lock is added, under add_lock, and
 * never shrinks, so that the fork handlers walk it without a lock of their
 * own. The child re-initialises every mutex: the thread that held it is the
 * thread that forked, but glibc's mutexes know their owner by thread id.
 */
#include "base/lock.h"

#if SPW_ASSERT_LEVEL >= 2
static __thread unsigned held_ranks;
#endif

static pthread_mutex_t add_lock = PTHREAD_MUTEX_INITIALIZER;
static struct base_lock *fork_list;

static void
note_taken(const struct base_lock *lock)
{
#if SPW_ASSERT_LEVEL >= 2
	base_assert((held_ranks >> lock->rank) == 0);
	held_ranks |= 1u << lock->rank;
#else
	(void)lock;
#endif
}

static void
note_left(const struct base_lock *lock)
{
#if SPW_ASSERT_LEVEL >= 2
	base_assert(held_ranks & (1u << lock->rank));
	held_ranks &= ~(1u << lock->rank);
#else
	(void)lock;
#endif
}

void
base_lock(struct base_lock *lock)
{
	pthread_mutex_lock(&lock->mutex);
	note_taken(lock);
}

bool
base_trylock(struct base_lock *lock)
{
	if (pthread_mutex_trylock(&lock->mutex) != 0)
		return false;
	note_taken(lock);
	return true;
}

void
base_unlock(struct base_lock *lock)
{
	note_left(lock);
	pthread_mutex_unlock(&lock->mutex);
}

bool
lock_is_held(const struct base_lock *lock)
{
#if SPW_ASSERT_LEVEL >= 2
	return held_ranks & (1u << lock->rank);
#else
	(void)lock;
	return true;
#endif
}

void
lock_fork_add(struct base_lock *lock)
{
	struct base_lock **at;

#if SPW_ASSERT_LEVEL >= 2
	base_assert(held_ranks == 0); /* a fork takes add_lock first */
#endif
	pthread_mutex_lock(&add_lock);
	for (at = &fork_list; *at; at = &(*at)->next_at_fork)
		if (*at == lock)
			break;
	if (!*at) {
		at = &fork_list;
		while (*at && (*at)->rank <= lock->rank)
			at = &(*at)->next_at_fork;
		lock->next_at_fork = *at;
		*at = lock;
	}
	pthread_mutex_unlock(&add_lock);
}

void
lock_fork_prepare(void)
{
	pthread_mutex_lock(&add_lock);
	for (struct base_lock *l = fork_list; l; l = l->next_at_fork)
		pthread_mutex_lock(&l->mutex);
}

void
lock_fork_parent(void)
{
	for (struct base_lock *l = fork_list; l; l = l->next_at_fork)
		pthread_mutex_unlock(&l->mutex);
	pthread_mutex_unlock(&add_lock);
}

void
lock_fork_child(void)
{
	for (struct base_lock *l = fork_list; l; l = l->next_at_fork)
		pthread_mutex_init(&l->mutex, NULL);
	pthread_mutex_init(&add_lock, NULL);
}
