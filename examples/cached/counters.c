/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Adds up what the workers count.
 *
 * Called by the server (register) and by stats. A reset does not write to
 * other threads' counters: it remembers where they stood.
 */
#include "examples/cached/counters.h"

#include <pthread.h>
#include <stddef.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct counters *all;          /* guarded by lock */
static struct counters at_last_reset; /* guarded by lock */

void
counters_register(struct counters *counters)
{
	pthread_mutex_lock(&lock);
	counters->next = all;
	all = counters;
	pthread_mutex_unlock(&lock);
}

static void
sum_locked(struct counters *sum)
{
	*sum = (struct counters){ 0 };
	for (struct counters *one = all; one; one = one->next) {
#define X(name) sum->name += __atomic_load_n(&one->name, __ATOMIC_RELAXED);
		COUNTERS(X)
		X(closed_connections)
#undef X
	}
}

void
counters_sum(struct counters *sum)
{
	pthread_mutex_lock(&lock);
	sum_locked(sum);
#define X(name) sum->name -= at_last_reset.name;
	COUNTERS(X)
#undef X
	pthread_mutex_unlock(&lock);
}

void
counters_reset(void)
{
	pthread_mutex_lock(&lock);
	sum_locked(&at_last_reset);
	pthread_mutex_unlock(&lock);
}

uint64_t
counters_connections(void)
{
	struct counters sum;

	pthread_mutex_lock(&lock);
	sum_locked(&sum);
	pthread_mutex_unlock(&lock);
	return sum.total_connections - sum.closed_connections;
}
