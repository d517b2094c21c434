/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A grace period waits for every section that has begun, in whichever thread,
 * and for no longer; both ways, the quick one and liburcu's, and where readers
 * have to fence.
 *
 * A part of it is a torture of 3 s: readers follow a pointer to a record that
 * is spoiled a grace period after it was replaced. Needs SPW_ASSERT_LEVEL 2.
 */
#include "base/rcu.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "tests/tap.h"

#define INSIDE_NS (30 * CLOCK_MS)
#define LONG_NS (5 * CLOCK_MS) /* longer than what is waited for quickly */
#define READERS 4
#define LIVES 200
#define RECORDS 8
#define TORTURE_NS (1 * CLOCK_S)

static _Atomic int inside, stop;

static void
sleep_ns(uint64_t ns)
{
	nanosleep(&(struct timespec){ .tv_nsec = (long)ns }, NULL);
}

static pthread_t
start(void *(*body)(void *), void *argument)
{
	pthread_t thread;

	errno = pthread_create(&thread, NULL, body, argument);
	if (errno)
		tap_bail_out("no thread: %s", strerror(errno));
	return thread;
}

/* ---- it waits ---- */

static void *
stay(void *left_at)
{
	rcu_read_lock();
	rcu_read_lock(); /* nested: the inner one does not end it */
	rcu_read_unlock();
	atomic_store(&inside, 1);
	sleep_ns(INSIDE_NS);
	*(uint64_t *)left_at = clock_now_ns();
	rcu_read_unlock();
	return NULL;
}

static void
waits(const char *how)
{
	uint64_t left_at = 0, over_at;
	pthread_t thread;

	atomic_store(&inside, 0);
	thread = start(stay, &left_at);
	while (!atomic_load(&inside))
		sched_yield();
	rcu_synchronize();
	over_at = clock_now_ns();
	pthread_join(thread, NULL);
	tap_ok(over_at >= left_at, "%s: it waits for who is inside", how);
}

/* ---- it ends ---- */

static void *
leave_and_enter(void *unused)
{
	(void)unused;
	while (!atomic_load(&stop)) {
		rcu_read_lock();
		atomic_fetch_add(&inside, 1);
		for (uint64_t until = clock_now_ns() + LONG_NS;
		     clock_now_ns() < until;)
			continue;
		rcu_read_unlock();
	}
	return NULL;
}

/* Who leaves a section only to enter the next: hardly ever seen outside, but
 * where the scheduler stops it there, several grace periods end meanwhile. */
static void
ends(void)
{
	pthread_t thread;
	int before, during = 0, periods = 0;

	atomic_store(&stop, 0);
	atomic_store(&inside, 0);
	thread = start(leave_and_enter, NULL);
	while (!atomic_load(&inside))
		sched_yield();
	before = atomic_load(&inside);
	for (; during < 5 && periods < 1000; periods++) {
		rcu_synchronize();
		during = atomic_load(&inside) - before;
	}
	atomic_store(&stop, 1);
	pthread_join(thread, NULL);
	tap_ok(during >= 5,
	       "one who is always inside: %d sections ended in "
	       "%d grace periods",
	       during, periods);
}

/* ---- threads come and go, the child has its own ---- */

static void *
live(void *unused)
{
	rcu_read_lock();
	rcu_read_unlock();
	return unused;
}

static void
lives(void)
{
	for (int i = 0; i < LIVES; i++)
		pthread_join(start(live, NULL), NULL);
	rcu_synchronize();
	waits("after 200 threads that ended");
}

static void
forks(void)
{
	uint64_t unused;
	pthread_t thread;
	pid_t child;
	int status = -1;

	atomic_store(&inside, 0);
	thread = start(stay, &unused);
	while (!atomic_load(&inside))
		sched_yield();
	rcu_fork_prepare();
	child = fork();
	if (child == 0) {
		rcu_fork_child();
		alarm(5);
		/* Who is inside there is not here. */
		rcu_synchronize();
		rcu_read_lock();
		rcu_read_unlock();
		_exit(0);
	}
	rcu_fork_parent();
	if (child > 0)
		waitpid(child, &status, 0);
	pthread_join(thread, NULL);
	tap_ok(child > 0 && status == 0, "a child waits for its own alone");
}

/* ---- nothing is taken away from under a reader ---- */

static struct record {
	_Atomic uint64_t good;
} records[RECORDS];
static _Atomic(struct record *) current;
static _Atomic uint64_t looks, wrong;

static void *
follow(void *argument)
{
	uint64_t mine = 0, seed = (uintptr_t)argument;

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		const struct record *r;

		rcu_read_lock();
		r = atomic_load_explicit(&current, memory_order_acquire);
		for (unsigned i = 0; i <= (mine + seed) % 64; i++)
			if (!atomic_load_explicit(&r->good,
						  memory_order_relaxed))
				atomic_fetch_add(&wrong, 1);
		rcu_read_unlock();
		mine++;
	}
	atomic_fetch_add(&looks, mine);
	return NULL;
}

static void
torture(const char *how)
{
	uint64_t until = clock_now_ns() + TORTURE_NS, rounds = 0;
	pthread_t threads[READERS];

	atomic_store(&stop, 0);
	atomic_store(&looks, 0);
	for (int i = 0; i < RECORDS; i++)
		atomic_store(&records[i].good, i == 0);
	atomic_store(&current, &records[0]);
	for (uintptr_t i = 0; i < READERS; i++)
		threads[i] = start(follow, (void *)(i * 17));
	for (; clock_now_ns() < until; rounds++) {
		struct record *old = atomic_load(&current);
		struct record *next = &records[(rounds + 1) % RECORDS];

		atomic_store(&next->good, 1);
		atomic_store(&current, next);
		rcu_synchronize();
		atomic_store(&old->good, 0);
	}
	atomic_store(&stop, 1);
	for (int i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	tap_ok(!atomic_load(&wrong) && atomic_load(&looks) > rounds,
	       "%s: %llu looks during %llu grace periods, %llu wrong", how,
	       (unsigned long long)atomic_load(&looks),
	       (unsigned long long)rounds,
	       (unsigned long long)atomic_load(&wrong));
}

/* ---- where there is no membarrier(2) ---- */

static void *
read_publicly(void *unused)
{
	bool first, nested, still, over;

	(void)unused;
	spw_read_lock();
	first = rcu_is_reading();
	spw_read_lock();
	nested = rcu_is_reading();
	spw_read_unlock();
	still = rcu_is_reading();
	spw_read_unlock();
	over = !rcu_is_reading();
	tap_ok(first && nested && still && over && !spw_thread_view.reader,
	       "fences: sections nest, none of them takes the quick way");
	return NULL;
}

/* No thread but this one is there, which has no section. */
static void
fences(void)
{
	urcu_bp_has_sys_membarrier = 0;
	pthread_join(start(read_publicly, NULL), NULL);
	waits("fences");
	lives();
	torture("fences");
}

int
main(void)
{
	rcu_thread_is_ours = true;
	waits("quick");
	ends();
	lives();
	forks();
	torture("quick");
	fault_set("rcu_quick", 1, 1);
	waits("liburcu");
	torture("liburcu");
	fences();
	return tap_done();
}
