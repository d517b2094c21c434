/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gc-bridge through its public face, with runtimes made up here: one that
 * collects, one that throws, one that hangs, one that calls back. Whatever
 * they do, the rest of reclaim goes on.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unwind.h>

#include <spillway/spillway.h>

#include "base/clock.h"
#include "base/rcu.h"
#include "gc-bridge/guard.h"
#include "tests/tap.h"
#include "tests/unit/stock.h"

#define MIB (1ull << 20)

static char said[512], all_said[8192];
static pthread_mutex_t said_lock = PTHREAD_MUTEX_INITIALIZER;

static void
sink(enum spw_log_level level, const char *line, void *context)
{
	(void)level;
	(void)context;
	pthread_mutex_lock(&said_lock);
	snprintf(said, sizeof said, "%s", line);
	strncat(all_said, line, sizeof all_said - strlen(all_said) - 1);
	pthread_mutex_unlock(&said_lock);
}

static bool
was_said(const char *words)
{
	bool was;

	pthread_mutex_lock(&said_lock);
	was = strstr(all_said, words) != NULL;
	if (!was)
		tap_note("said: %s", all_said);
	pthread_mutex_unlock(&said_lock);
	return was;
}

/* ---- a runtime ---- */

enum mood { WELL, THROWS, HANGS, CALLS_BACK, LEAVES, ENDS_THREAD };

struct runtime {
	struct stock stock;
	_Atomic int mood;
	_Atomic unsigned asked, tuned;
	_Atomic int level, error;
	_Atomic bool go_on;
	pthread_t on;
	struct spw_gc *gc;
};

static _Unwind_Exception_Class class_of_test = 0x7370696c6c777900;

static void
destroy(_Unwind_Reason_Code why, struct _Unwind_Exception *exception)
{
	(void)why;
	(void)exception;
}

/* What a C++ throw comes down to. */
static void throw(void)
{
	static _Thread_local struct _Unwind_Exception exception;

	memset(&exception, 0, sizeof exception);
	exception.exception_class = class_of_test;
	exception.exception_cleanup = destroy;
	_Unwind_RaiseException(&exception);
}

static size_t
collect(enum spw_level level, uint64_t deadline_ns, void *context)
{
	struct runtime *r = context;
	struct spw_shrink request = { .target_bytes = SIZE_MAX };
	uint64_t got;

	(void)deadline_ns;
	r->asked++;
	r->level = (int)level;
	r->on = pthread_self();
	switch (atomic_load(&r->mood)) {
	case THROWS:
		throw();
		break;
	case HANGS:
		while (!r->go_on)
			usleep(1000);
		break;
	case CALLS_BACK:
		r->error = spw_reclaim(&got, NULL);
		break;
	case LEAVES:
		r->error = spw_gc_unregister(r->gc);
		break;
	case ENDS_THREAD:
		pthread_exit(NULL);
	default:
		break;
	}
	return stock_shrink(&request, &r->stock);
}

static size_t
heap(void *context)
{
	struct runtime *r = context;

	return r->stock.bytes;
}

static void
tune(uint64_t headroom_bytes, void *context)
{
	struct runtime *r = context;

	(void)headroom_bytes;
	r->tuned++;
}

static int
enroll(struct runtime *r, const char *name)
{
	struct spw_gc_options o = { .size = sizeof o,
				    .name = name,
				    .collect = collect,
				    .heap = heap,
				    .tune = tune,
				    .context = r };

	return spw_gc_register(&r->gc, &o);
}

static struct spw_gc_stats
stats_of(const char *name)
{
	struct spw_gc_stats s = { .size = sizeof s };

	if (spw_gc_stats(name, &s) != 0)
		tap_note("no stats of %s", name);
	return s;
}

/* ---- tests ---- */

static bool
refused(struct spw_gc_options o, const char *words)
{
	struct spw_gc *gc = (void *)&o;
	int error = spw_gc_register(&gc, &o);

	if (error == -EINVAL && !gc && strstr(said, words))
		return true;
	tap_note("%d, \"%s\"", error, said);
	return false;
}

static void
options(void)
{
	struct spw_gc_options good = { .size = sizeof good,
				       .name = "good",
				       .collect = collect };
	struct spw_gc_options o = good;
	struct spw_gc_stats s = { .size = sizeof s };

	tap_is(spw_gc_register(NULL, &good), -EINVAL, "a handle needs a place");
	o.size++;
	tap_ok(refused(o, "options.size"), "a size unknown is named");
	o = good;
	o.name = "";
	tap_ok(refused(o, "name of 1 to 63"), "no name is named");
	o = good;
	o.collect = NULL;
	tap_ok(refused(o, "good: options.collect"), "no collect is named");
	tap_is(spw_gc_unregister(NULL), 0, "none to unregister is none");
	tap_is(spw_gc_attach("modula"), -EINVAL, "no such runtime");
	tap_ok(strstr(said, "modula") != NULL, "which is named");
	tap_is(spw_gc_attach("boehm"), -ENOENT, "libgc is not in this process");
	tap_is(spw_gc_stats("good", &s), -ENOENT, "nothing to tell of");
}

static void
it_collects(void)
{
	static struct runtime r;
	struct spw_gc_stats s;
	uint64_t got;

	stock_fill(&r.stock, 64 * MIB);
	tap_is(enroll(&r, "well"), 0, "a collector registers");
	tap_is(r.tuned, 1, "and is told how much there is");
	tap_is(enroll(&(struct runtime){ 0 }, "well"), -EINVAL,
	       "a second of that name does not");
	got = stock_reclaim(UINT64_MAX);
	tap_is(r.asked, 1, "it is asked once for all there is");
	tap_ok(got >= 60 * MIB, "its bytes are credited (%llu)",
	       (unsigned long long)got);
	tap_is(r.level, SPW_LEVEL_CRITICAL, "who asks asks for everything");
	tap_ok(!pthread_equal(r.on, pthread_self()), "on another thread");
	s = stats_of("well");
	tap_is(s.collections, 1, "it is counted");
	tap_ok(s.last_gain_bytes >= 60 * MIB, "with its gain");
	stock_reclaim(UINT64_MAX);
	tap_is(r.asked, 1, "nothing has grown: not asked again");
	tap_ok(stats_of("well").refused > 0, "which is counted, too");
	stock_fill(&r.stock, 64 * MIB);
	stock_reclaim(UINT64_MAX);
	tap_is(r.asked, 2, "what has grown is");
	tap_is(spw_gc_unregister(r.gc), 0, "it unregisters");
	stock_fill(&r.stock, 64 * MIB);
	stock_reclaim(UINT64_MAX);
	tap_is(r.asked, 2, "and is asked no more");
	stock_empty(&r.stock);
}

/* One that misbehaves, beside a shrinker that does not. */
static void
beside(struct runtime *bad, const char *name, const char *what)
{
	static struct stock stock;
	struct spw_shrinker *shrinker;

	stock_fill(&stock, 16 * MIB);
	stock_fill(&bad->stock, 32 * MIB);
	shrinker = stock_lend(&stock, "beside", SPW_TIER_WARM, true);
	if (!bad->gc && enroll(bad, name) != 0)
		tap_bail_out("%s does not register", name);
	stock_reclaim(UINT64_MAX);
	tap_is(bad->asked, 1, "%s: asked", what);
	tap_is(stock.bytes, 0, "%s: the others give all the same", what);
	spw_shrinker_unregister(shrinker);
	stock_empty(&stock);
}

static void
it_throws(void)
{
#if defined(__x86_64__) && !defined(RCU_SEEN)
	static struct runtime r = { .mood = THROWS };

	beside(&r, "thrower", "one that throws");
	tap_ok(was_said("gc thrower: its collect threw"), "it is named");
	stock_reclaim(UINT64_MAX);
	tap_is(r.asked, 1, "and asked no more");
	tap_is(spw_gc_unregister(r.gc), 0, "it can leave");
	stock_empty(&r.stock);
#else
	tap_skip(5, "what is thrown is caught on x86-64 alone");
#endif
}

static bool hang_was_said(void);
static struct runtime hangs = { .mood = HANGS };

static bool
hang_was_said(void)
{
	uint64_t got;

	spw_reclaim(&got, NULL);
	pthread_mutex_lock(&said_lock);
	bool was = strstr(all_said, "gc hangs: its collection did not end") !=
		   NULL;
	pthread_mutex_unlock(&said_lock);
	return was;
}

static bool
has_returned(void)
{
	pthread_mutex_lock(&said_lock);
	bool was = strstr(all_said, "gc hangs: it returned after all") != NULL;
	pthread_mutex_unlock(&said_lock);
	return was;
}

static void
it_hangs(void)
{
	uint64_t start = clock_now_ns();

	beside(&hangs, "hangs", "one that hangs");
	tap_ok(clock_now_ns() - start < 5 * CLOCK_S, "the pass went on");
	tap_ok(stock_soon(hang_was_said), "it is named");
	tap_is(spw_gc_unregister(hangs.gc), -ETIMEDOUT,
	       "unregistering waits for it, but not for ever");
	hangs.go_on = true;
	tap_ok(stock_soon(has_returned), "its return is noticed");
	stock_empty(&hangs.stock);
}

static void
it_calls_back(void)
{
	static struct runtime r = { .mood = CALLS_BACK };

	beside(&r, "caller", "one that calls back");
	tap_is(r.error, -EDEADLK, "spw_reclaim() from inside is refused");
	tap_is(spw_gc_unregister(r.gc), 0, "it can leave");
	stock_empty(&r.stock);
}

static struct runtime leaves = { .mood = LEAVES };

/* The pass does not wait for its call to end. */
static bool
call_is_over(void)
{
	return leaves.stock.bytes == 0;
}

static void
it_leaves(void)
{
	beside(&leaves, "leaver", "one that leaves");
	tap_ok(stock_soon(call_is_over), "its call ends");
	tap_is(leaves.error, 0, "from inside its own call");
	stock_fill(&leaves.stock, 64 * MIB);
	stock_reclaim(UINT64_MAX);
	tap_is(leaves.asked, 1, "is asked no more");
	stock_empty(&leaves.stock);
}

static void
it_ends_our_thread(void)
{
	static struct runtime r = { .mood = ENDS_THREAD };

	beside(&r, "ender", "one that ends our thread");
	tap_ok(was_said("gc ender: its runtime ended our thread"),
	       "it is named");
	tap_is(spw_gc_unregister(r.gc), 0, "it can leave");
	stock_empty(&r.stock);
}

static void
two_of_them(void)
{
	static struct runtime one, two;

	stock_fill(&one.stock, 32 * MIB);
	stock_fill(&two.stock, 32 * MIB);
	if (enroll(&one, "one") != 0 || enroll(&two, "two") != 0)
		tap_bail_out("two do not register");
	stock_reclaim(UINT64_MAX);
	tap_ok(one.asked == 1 && two.asked == 1, "both are asked");
	tap_ok(!pthread_equal(one.on, two.on), "each on its own thread");
	spw_gc_unregister(one.gc);
	spw_gc_unregister(two.gc);
	stock_empty(&one.stock);
	stock_empty(&two.stock);
}

static void
a_fork(void)
{
	static struct runtime r;
#ifndef RCU_SEEN
	pid_t child;
	int status = -1;
#endif

	stock_fill(&r.stock, 32 * MIB);
	if (enroll(&r, "forker") != 0)
		tap_bail_out("it does not register");
	stock_reclaim(UINT64_MAX);
#ifdef RCU_SEEN
	tap_skip(1, "TSan: no threads in the child of a fork");
#else
	child = fork();
	if (child == 0) {
		unsigned before = r.asked;

		alarm(20);
		stock_fill(&r.stock, 32 * MIB);
		stock_reclaim(UINT64_MAX);
		_exit(r.asked == before + 1 ? 0 : 1);
	}
	waitpid(child, &status, 0);
	tap_is(status, 0, "a child's collector is asked there");
#endif
	stock_fill(&r.stock, 32 * MIB);
	stock_reclaim(UINT64_MAX);
	tap_is(r.asked, 2, "and the parent's here");
	spw_gc_unregister(r.gc);
	stock_empty(&r.stock);
}

static void
as_many_as_there_is_room_for(void)
{
	static struct runtime many[17];
	char name[16];
	int error = 0, n;

	for (n = 0; n < 17 && !error; n++) {
		snprintf(name, sizeof name, "many-%d", n);
		error = enroll(&many[n], name);
	}
	tap_is(error, -ENOSPC, "there is room for %d", n - 1);
	for (n = 0; n < 17 && many[n].gc; n++)
		spw_gc_unregister(many[n].gc);
}

int
main(void)
{
	stock_alone("deadline:100ms");
	spw_log_set(SPW_LOG_INFO, sink, NULL);
	options();
	it_collects();
	it_throws();
	it_hangs();
	it_calls_back();
	it_leaves();
	it_ends_our_thread();
	two_of_them();
	a_fork();
	as_many_as_there_is_room_for();
	return tap_done();
}
