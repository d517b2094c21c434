/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spw_reclaim() and the engine's tickets: bytes asked for and given, and all
 * that ends it: a timeout, a signal, a rate, a place where it may not wait.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <spillway/spillway.h>

#include "base/clock.h"
#include "base/rcu.h"
#include "pressure/engine.h"
#include "pressure/requests.h"
#include "tests/tap.h"
#include "tests/unit/stock.h"

#define MIB (1ull << 20)
/* A machine with busy cores is late, but not that late. */
#define LATE_NS (20 * CLOCK_S)
#define THREADS 12

static struct stock stock;

static int
reclaim(uint64_t *got, uint64_t target, uint64_t timeout_ns)
{
	struct spw_reclaim_options options = {
		.size = sizeof options,
		.target_bytes = target,
		.timeout_ns = timeout_ns,
	};

	*got = 4711;
	return spw_reclaim(got, &options);
}

/* Gives little at a time, and slowly. */
static size_t
slow_shrink(const struct spw_shrink *request, void *context)
{
	struct spw_shrink less = *request;

	usleep(10000);
	if (less.target_bytes > 256 << 10)
		less.target_bytes = 256 << 10;
	return stock_shrink(&less, context);
}

static struct spw_shrinker *
lend(size_t (*shrink)(const struct spw_shrink *, void *))
{
	struct spw_shrinker_options options = {
		.size = sizeof options,
		.name = "stock",
		.tier = SPW_TIER_WARM,
		.count = stock_count,
		.shrink = shrink,
		.context = &stock,
	};
	struct spw_shrinker *shrinker;
	int error = spw_shrinker_register(&shrinker, &options);

	if (error)
		tap_bail_out("register: %s", spw_strerror(error));
	return shrinker;
}

static void
bad_options(void)
{
	struct spw_reclaim_options o = { .size = sizeof o - 1,
					 .target_bytes = MIB };
	uint64_t got = 4711;

	tap_is(spw_reclaim(&got, &o), -EINVAL, "a size unknown is refused");
	tap_is(got, 0, "and gave nothing");
	o.size = 0;
	tap_is(spw_reclaim(NULL, &o), -EINVAL, "also with nowhere to say so");
	tap_is(reclaim(&got, 0, 0), 0, "nothing asked for is no error");
	tap_is(got, 0, "and gives nothing");
	tap_is(reclaim(&got, MIB, 0), 0, "nor is it that nobody has any");
	tap_ok(got < MIB, "which gives next to nothing (%llu)",
	       (unsigned long long)got);
}

static void
bytes(void)
{
	struct spw_reclaim_options o = { .size = sizeof o,
					 .target_bytes = MIB,
					 .older_than_ns = 300 * CLOCK_S };
	struct spw_shrinker *s;
	uint64_t got;

	stock_fill(&stock, 16 * MIB);
	s = lend(stock_shrink);
	tap_is(reclaim(&got, 4 * MIB, 0), 0, "4 of 16 MiB are asked for");
	tap_ok(got >= 4 * MIB - STOCK_BLUR && got <= 8 * MIB,
	       "as many are given (%llu)", (unsigned long long)got);
	tap_ok(stock.bytes <= 12 * MIB + STOCK_BLUR && stock.bytes >= 8 * MIB,
	       "and went (%llu are left)", (unsigned long long)stock.bytes);
	tap_is(spw_reclaim_last(), got, "the last attempt's are remembered");
	tap_is(stock.request.older_than_ns, 0, "of any age");
	tap_is(spw_reclaim(&got, &o), 0, "only what is old is asked for");
	tap_is(stock.request.older_than_ns, 300 * CLOCK_S,
	       "the shrinker is told so");
	tap_is(spw_reclaim(NULL, NULL), 0, "without options: all");
	tap_is(stock.bytes, 0, "that there is");
	tap_ok(spw_reclaim_last() >= 6 * MIB, "as is remembered");
	spw_shrinker_unregister(s);
}

static void
timeouts(void)
{
	struct spw_shrinker *s;
	uint64_t got, start, ns;

	stock_fill(&stock, 64 * MIB); /* 2.5 s, were it asked for all */
	s = lend(slow_shrink);
	start = clock_now_ns();
	tap_is(reclaim(&got, UINT64_MAX, 200 * CLOCK_MS), -ETIMEDOUT,
	       "a timeout ends it");
	ns = clock_now_ns() - start;
	tap_ok(ns >= 200 * CLOCK_MS && ns < LATE_NS,
	       "not before, and after (%llu ms)",
	       (unsigned long long)(ns / CLOCK_MS));
	tap_ok(got > 0 && got < 64 * MIB && stock.bytes > 0,
	       "with what was done (%llu)", (unsigned long long)got);
	tap_ok(got <= 64 * MIB - stock.bytes + STOCK_BLUR,
	       "not more than that");
	tap_is(reclaim(&got, MIB, LATE_NS), 0, "one that is not reached");
	tap_ok(got >= MIB - STOCK_BLUR, "does not");
	spw_shrinker_unregister(s);
}

static void
rates(void)
{
	struct spw_reclaim_options o = { .size = sizeof o,
					 .target_bytes = 4 * MIB,
					 .rate_bytes_per_s = 16 * MIB };
	struct spw_shrinker *s;
	uint64_t got, start, ns;

	stock_fill(&stock, 16 * MIB);
	s = lend(stock_shrink);
	start = clock_now_ns();
	tap_is(spw_reclaim(&got, &o), 0, "4 MiB at 16 MiB/s");
	ns = clock_now_ns() - start;
	tap_ok(got >= 4 * MIB - STOCK_BLUR && got <= 6 * MIB, "are given");
	tap_ok(ns >= 150 * CLOCK_MS && ns < LATE_NS,
	       "in a quarter of a second (%llu ms)",
	       (unsigned long long)(ns / CLOCK_MS));
	tap_ok(stock.request.target_bytes <= 2 * MIB,
	       "a tenth of a second's at a time");
	o.rate_bytes_per_s = 1;
	o.timeout_ns = 200 * CLOCK_MS;
	start = clock_now_ns();
	tap_is(spw_reclaim(&got, &o), -ETIMEDOUT,
	       "a timeout ends the waiting for a rate");
	tap_ok(clock_now_ns() - start < LATE_NS, "in time");
	spw_shrinker_unregister(s);
}

/* ---- signals ---- */

static pthread_t asker;
static _Atomic unsigned handled;

static void
handle(int signal)
{
	(void)signal;
	handled++;
}

static bool
was_asked(void)
{
	return stock.asked >= 3;
}

static bool
was_handled(void)
{
	return handled > 0;
}

static void *
interrupt(void *unused)
{
	(void)unused;
	if (stock_soon(was_asked))
		pthread_kill(asker, SIGUSR1);
	return NULL;
}

static void *
interrupt_once(void *unused)
{
	interrupt(unused);
	stock_soon(was_handled);
	return NULL;
}

static int
reclaim_interrupted(int flags, uint64_t target, uint64_t *got)
{
	struct sigaction action = { .sa_handler = handle, .sa_flags = flags };
	pthread_t thread;
	int error;

	sigaction(SIGUSR1, &action, NULL);
	asker = pthread_self();
	stock.asked = 0;
	handled = 0;
	pthread_create(&thread, NULL, flags ? interrupt_once : interrupt, NULL);
	error = reclaim(got, target, 0);
	pthread_join(thread, NULL);
	return error;
}

static void
signals(void)
{
	struct spw_shrinker *s;
	uint64_t got;
	unsigned asked;

	stock_fill(&stock, 64 * MIB);
	s = lend(slow_shrink);
	tap_is(reclaim_interrupted(0, UINT64_MAX, &got), -EINTR,
	       "a signal that is handled ends it");
	tap_is(handled, 1, "once it was handled");
	tap_ok(got > 0 && got < 64 * MIB && stock.bytes > 0,
	       "with what was done (%llu)", (unsigned long long)got);
	asked = stock.asked;
	usleep(100000);
	tap_is(stock.asked, asked, "and nobody is asked any more");
	tap_is(reclaim_interrupted(SA_RESTART, 4 * MIB, &got), 0,
	       "one whose handler has SA_RESTART does not");
	tap_ok(handled == 1 && got >= 4 * MIB - STOCK_BLUR,
	       "though it was handled");
	tap_is(reclaim(&got, MIB, 0), 0, "the next one is as ever");
	spw_shrinker_unregister(s);
}

/* ---- where it may not wait ---- */

static int inside;
static uint64_t got_inside;

static size_t
ask_inside(const struct spw_shrink *request, void *context)
{
	if (!inside)
		inside = reclaim(&got_inside, MIB, 0);
	return stock_shrink(request, context);
}

static void
from_inside(void)
{
	struct spw_shrinker *s;
	uint64_t got;

	stock_fill(&stock, 4 * MIB);
	s = lend(ask_inside);
	tap_is(reclaim(&got, UINT64_MAX, 0), 0, "a shrinker that asks itself");
	tap_is(inside, -EDEADLK, "is refused");
	tap_is(got_inside, 0, "and given nothing");
	tap_ok(got >= 4 * MIB - STOCK_BLUR, "while it gives");
	spw_read_lock();
	tap_is(reclaim(&got, MIB, 0), -EDEADLK,
	       "so is who asks inside a read-side section");
	spw_read_unlock();
	tap_is(reclaim(&got, MIB, 0), 0, "but not after it");
	spw_shrinker_unregister(s);
}

/* ---- tickets ---- */

static void *
reclaim_thread(void *result)
{
	uint64_t got;

	*(int *)result = reclaim(&got, 256 << 10, 0);
	return NULL;
}

static void
many(void)
{
	pthread_t threads[THREADS];
	int results[THREADS], bad = 0;
	struct spw_shrinker *s;

	stock_fill(&stock, 16 * MIB);
	s = lend(slow_shrink);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, reclaim_thread, &results[i]);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		bad += results[i] != 0;
	}
	tap_is(bad, 0, "%d may ask at once, though there are %d tickets",
	       THREADS, REQUESTS_MAX);
	tap_ok(stock.bytes <= 16 * MIB - THREADS * (256ull << 10) + STOCK_BLUR,
	       "and each is given its own");
	spw_shrinker_unregister(s);
}

static bool
poll_until_done(int ticket, int *result, uint64_t *got)
{
	uint64_t start = clock_now_ns();

	while ((*result = requests_poll(ticket, got)) == 0) {
		if (clock_now_ns() - start > LATE_NS)
			return false;
		usleep(1000);
	}
	return true;
}

static void
tickets(void)
{
	struct spw_reclaim_options o = { .size = sizeof o };
	int all[REQUESTS_MAX], result = 0, ended = 0;
	struct spw_shrinker *s;
	uint64_t got;

	tap_is(requests_submit(&o), -EINVAL, "no target is no request");
	stock_fill(&stock, 64 * MIB);
	s = lend(slow_shrink);
	o.target_bytes = UINT64_MAX;
	stock.asked = 0;
	for (int i = 0; i < REQUESTS_MAX; i++)
		all[i] = requests_submit(&o);
	tap_is(requests_submit(&o), -EBUSY, "one too many is told so");
	tap_ok(stock_soon(was_asked) && engine_busy(), "one is under way");
	tap_is(requests_poll(all[0], &got), 0, "and polled while it is");
	for (int i = 0; i < REQUESTS_MAX; i++)
		requests_cancel(all[i]);
	for (int i = 0; i < REQUESTS_MAX; i++)
		ended += poll_until_done(all[i], &result, &got) &&
			 result == -ECANCELED;
	tap_is(ended, REQUESTS_MAX, "all can be cancelled");
	tap_ok(stock.bytes > 0, "before the end");
	spw_shrinker_unregister(s);
	all[0] = requests_submit(&o);
	tap_ok(poll_until_done(all[0], &result, &got) && result == 1,
	       "later ones end by themselves");
}

/* ---- in a child, before anything runs here ---- */

static int
exit_code_of(int (*body)(void))
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		alarm(20);
		_exit(body());
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) :
				   1000 + WTERMSIG(status);
}

static int
with_off(void)
{
	uint64_t got;

	if (spw_configure("off") != 0)
		return 1;
	if (reclaim(&got, MIB, 0) != -ENOTSUP)
		return 2;
	return got == 0 ? 0 : 3;
}

static int
without_threads(void)
{
	uint64_t got;

	if (spw_configure("threads:never") != 0)
		return 1;
	stock_fill(&stock, 4 * MIB);
	lend(ask_inside);
	if (reclaim(&got, MIB, 0) != 0)
		return 2;
	if (stock.bytes > 3 * MIB)
		return 3;
	return inside == -EDEADLK ? 0 : 4;
}

static int
in_child(void)
{
	uint64_t got;

	if (reclaim(&got, MIB, 0) != 0)
		return 1;
	if (got < MIB - STOCK_BLUR)
		return 2;
	return stock.bytes <= 3 * MIB + STOCK_BLUR ? 0 : 3;
}

static void
forking(void)
{
	struct spw_shrinker *s;

	stock_fill(&stock, 4 * MIB);
	s = lend(stock_shrink);
	stock_reclaim(4096);
	tap_is(exit_code_of(in_child), 0, "a forked child can ask for its own");
	tap_ok(stock.bytes > 3 * MIB, "which is not the parent's");
	spw_shrinker_unregister(s);
}

int
main(void)
{
	stock_alone(NULL);
	tap_is(exit_code_of(with_off), 0, "SPILLWAY_CONF=off refuses");
	tap_is(exit_code_of(without_threads), 0,
	       "threads:never asks in the thread itself, and refuses inside");
	bad_options();
	bytes();
	timeouts();
	rates();
	signals();
	from_inside();
	many();
	tickets();
	forking();
	stock_empty(&stock);
	return tap_done();
}
