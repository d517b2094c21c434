/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The lock order is asserted, and a forked child finds every lock free.
 * Needs SPW_ASSERT_LEVEL 2. Broken orders are tried in children.
 */
#include "base/lock.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/tap.h"

static struct base_lock low = BASE_LOCK(BASE_RANK_START);
static struct base_lock middle = BASE_LOCK(BASE_RANK_REGISTRY);
static struct base_lock middle_too = BASE_LOCK(BASE_RANK_REGISTRY);
static struct base_lock high = BASE_LOCK(BASE_RANK_LOG);

/* The child's exit code, or minus the signal that ended it. */
static int
in_child(int (*body)(void))
{
	int status = 0;
	pid_t child = fork();

	if (child < 0)
		tap_bail_out("no child: %s", strerror(errno));
	if (child == 0) {
		struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		close(2); /* the assertion's words are expected */
		alarm(20);
		_exit(body());
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int
rising(void)
{
	base_lock(&low);
	base_lock(&middle);
	base_lock(&high);
	base_unlock(&middle); /* any order of leaving will do */
	base_unlock(&high);
	base_lock(&middle);
	base_unlock(&middle);
	base_unlock(&low);
	return 0;
}

static int
falling(void)
{
	base_lock(&high);
	base_lock(&low);
	return 0;
}

static int
equal(void)
{
	base_lock(&middle);
	base_lock(&middle_too);
	return 0;
}

static int
falling_try(void)
{
	base_lock(&high);
	return base_trylock(&low);
}

static int
unlock_unheld(void)
{
	base_unlock(&low);
	return 0;
}

static int
assert_unheld(void)
{
	base_assert_held(&low);
	return 0;
}

static int
assert_held(void)
{
	base_lock(&low);
	base_assert_held(&low);
	return 0;
}

static int
leave_all_held(void)
{
	return lock_is_held(&low) || lock_is_held(&high);
}

static void
the_order_is_asserted(void)
{
	tap_is(in_child(rising), 0, "rising ranks are the order");
	tap_is(in_child(falling), -SIGABRT, "a falling rank aborts");
	tap_is(in_child(equal), -SIGABRT, "two locks of one rank abort");
	tap_is(in_child(falling_try), -SIGABRT,
	       "trying a falling rank aborts as well");
	tap_is(in_child(unlock_unheld), -SIGABRT,
	       "unlocking what is not held aborts");
	tap_is(in_child(assert_unheld), -SIGABRT,
	       "base_assert_held sees that a lock is not held");
	tap_is(in_child(assert_held), 0, "and that it is");
	tap_is(in_child(leave_all_held), 0, "a lock not taken is not held");
}

static void *
try_low(void *taken)
{
	*(bool *)taken = base_trylock(&low);
	if (*(bool *)taken)
		base_unlock(&low);
	return NULL;
}

static bool
others_can_take_low(void)
{
	bool taken = false;
	pthread_t thread;

	if (pthread_create(&thread, NULL, try_low, &taken) != 0)
		tap_bail_out("no thread");
	pthread_join(thread, NULL);
	return taken;
}

static void
locks_lock(void)
{
	tap_ok(others_can_take_low(), "a free lock can be taken");
	base_lock(&low);
	tap_ok(lock_is_held(&low), "who takes it holds it");
	tap_ok(!others_can_take_low(), "a taken lock cannot");
	base_unlock(&low);
	tap_ok(!lock_is_held(&low), "who leaves it holds it no more");
	tap_ok(others_can_take_low(), "and others can take it again");
}

static int
locks_are_free(void)
{
	bool all = base_trylock(&low) && base_trylock(&middle) &&
		   base_trylock(&high);
	return all ? 0 : 1;
}

static int turn;
static pthread_mutex_t turn_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;

static void
wait_turn(int wanted, int next)
{
	pthread_mutex_lock(&turn_lock);
	while (turn != wanted)
		pthread_cond_wait(&turned, &turn_lock);
	turn = next;
	pthread_cond_broadcast(&turned);
	pthread_mutex_unlock(&turn_lock);
}

static _Atomic bool was_left;

/* Holds a lock when somebody else forks, and lets go a little later. */
static void *
hold(void *lock)
{
	base_lock(lock);
	wait_turn(0, 1);
	usleep(20000);
	was_left = true;
	base_unlock(lock);
	return NULL;
}

static int
free_and_left(void)
{
	return locks_are_free() == 0 && was_left ? 0 : 1;
}

static void
fork_waits_for(struct base_lock *lock, const char *which)
{
	pthread_t holder;
	int code;

	turn = 0;
	was_left = false;
	if (pthread_create(&holder, NULL, hold, lock) != 0)
		tap_bail_out("no thread");
	wait_turn(1, 2);
	code = in_child(free_and_left);
	pthread_join(holder, NULL);
	tap_is(code, 0, "a fork waits for who holds the %s lock", which);
}

static void
fork_takes_all(void)
{
	/* Out of order and twice, as callers do. */
	lock_fork_add(&high);
	lock_fork_add(&low);
	lock_fork_add(&middle);
	lock_fork_add(&low);
	pthread_atfork(lock_fork_prepare, lock_fork_parent, lock_fork_child);
	tap_is(in_child(locks_are_free), 0,
	       "a child of a quiet process finds the locks free");
	tap_is(locks_are_free(), 0, "and so does the parent");
	base_unlock(&low);
	base_unlock(&middle);
	base_unlock(&high);

	fork_waits_for(&low, "lowest");
	fork_waits_for(&middle, "middle");
	fork_waits_for(&high, "highest");
	tap_is(in_child(rising), 0, "children of children are sound");
}

int
main(void)
{
	if (SPW_ASSERT_LEVEL < 2)
		tap_skip_all("built without the lock order's assertions");
	the_order_is_asserted();
	locks_lock();
	fork_takes_all();
	return tap_done();
}
