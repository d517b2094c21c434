/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bridge to Node 18 and later (V8), unmodified, under the preload.
 *
 * Conditions: V8's, Node's and libuv's names are exported, as they are by the
 * distributions' node and by nodejs.org's; the preload, since isolates are
 * met where libuv waits for events (node_loop.c) or their heap grows
 * (mapped.c). Where there is no preload: the addon in examples/node.
 *
 * Why it is safe: calls into V8 from a foreign thread end 15 of 30 starts and
 * exits, because isolates that are half made or half gone cannot be told from
 * others. So the collection runs on the isolate's own thread, at two places:
 *  - in uv_run(), before it sleeps, in the event loop of the environment that
 *    is entered (no other loop), not before the second time: where any
 *    callback of libuv may call the collector;
 *  - where JavaScript is long at work, from RequestInterrupt(), where V8 does
 *    its own collections; node_isolate.c says why the isolate is there then
 *    (one that was never met requests that itself, where its heap grows).
 * There MemoryPressureNotification() is synchronous. A loop that sleeps is
 * woken by a real-time signal that nobody had a handler for, sent to threads
 * that the kernel says sleep in epoll: libuv begins again after EINTR. Nothing
 * keeps a thread: one that ends or exits meanwhile just does not answer.
 *
 * At level medium V8 marks in steps, and gives back within some 100 ms; where
 * it does not, because the program stands still, a small heap follows at once.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "gc-bridge/job.h"
#include "gc-bridge/node.h"
#include "gc-bridge/runtimes.h"
#include "pressure/errand.h"

/* How long isolates have to answer, and when JavaScript is interrupted. */
#define PATIENCE_NS (2 * CLOCK_S)
/* For the others, when one has: a worker that ends may never. */
#define OTHERS_NS (250 * CLOCK_MS)
#define LOOPS_NS (6 * CLOCK_MS)
#define ROUND_NS (3 * CLOCK_MS)
#define LONG_NS (50 * CLOCK_MS)
#define ROUND_NS_MAX (48 * CLOCK_MS)
/* Wakings of one thread in one request: to be armed, and to answer. */
#define WAKES_MAX 3
#define SLEEPERS_MAX 64
/* V8 unmaps from threads of its own, and marks in steps. */
#define SETTLE_NS (10 * CLOCK_MS)
#define SETTLED_NS (40 * CLOCK_MS)
#define STEPS_NS (400 * CLOCK_MS)
/* A program that moves less in this time stands still; a heap of that size is
 * collected at once in some 50 ms. */
#define STILL_NS (120 * CLOCK_MS)
#define STILL_BYTES (4ul << 20)
#define SHORT_PAUSE_BYTES (256ul << 20)
#define EPOLL_PWAIT2 441

struct sleeper {
	pid_t tid;
	unsigned wakes;
};

static int wake_signal; /* 0: none yet; -1: none is free */
/* Who slept before the first request was woken; others are met as they go by,
 * so that later requests disturb nobody else. */
static bool all_met;
static bool in_steps; /* the last request */

static int
probe(bool attached, const char **why)
{
	int error = node_isolate_find(why);

	(void)attached;
	if (!error && atomic_load(&node_watch) == NODE_NOTHING)
		atomic_store(&node_watch, NODE_ARM);
	return error;
}

/* ---- waking who sleeps ---- */

static void
woken(int number)
{
	(void)number;
}

static bool
is_ours(int number)
{
	struct sigaction now;

	return sigaction(number, NULL, &now) == 0 && now.sa_handler == woken;
}

/* A signal that does no harm, or -1. */
static int
find_signal(void)
{
	struct sigaction ours = { .sa_handler = woken,
				  .sa_flags = SA_RESTART | SA_ONSTACK };
	struct sigaction now;

	if (wake_signal > 0 && is_ours(wake_signal))
		return wake_signal;
	wake_signal = -1;
	for (int i = SIGRTMAX - 3; i > SIGRTMIN && wake_signal < 0; i--) {
		if (sigaction(i, NULL, &now) == 0 &&
		    !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL &&
		    sigaction(i, &ours, NULL) == 0)
			wake_signal = i;
	}
	return wake_signal;
}

/* Whether it sleeps in epoll; where the kernel does not say, who may. */
static bool
sleeps(pid_t tid)
{
	char path[64], text[256];
	long number;

	snprintf(path, sizeof path, "/proc/self/task/%d/syscall", (int)tid);
	if (file_read(path, text, sizeof text) <= 0)
		return tid == getpid() || node_isolate_on(tid);
	if (text[0] < '0' || text[0] > '9')
		return false; /* "running" */
	number = strtol(text, NULL, 10);
#ifdef SYS_epoll_wait
	if (number == SYS_epoll_wait)
		return true;
#endif
	return number == SYS_epoll_pwait || number == EPOLL_PWAIT2;
}

/* Whether it may be woken once more; counts. */
static bool
may_wake(struct sleeper *sleepers, pid_t tid)
{
	for (unsigned i = 0; i < SLEEPERS_MAX; i++) {
		if (sleepers[i].tid && sleepers[i].tid != tid)
			continue;
		sleepers[i].tid = tid;
		return sleepers[i].wakes++ < WAKES_MAX;
	}
	return false;
}

struct waking {
	struct sleeper *sleepers;
	int signal;
	unsigned count;
};

static void
wake_one(struct waking *w, pid_t tid)
{
	if (tid > 0 && (!all_met || node_isolate_on(tid)) && sleeps(tid) &&
	    may_wake(w->sleepers, tid) &&
	    syscall(SYS_tgkill, getpid(), tid, w->signal) == 0)
		w->count++;
}

/* An errand, and no readdir(3): that allocates. */
static void
wake_all(void *argument)
{
	_Alignas(struct dirent64) char entries[4096];
	int folder = open("/proc/self/task",
			  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ssize_t n;

	while (folder >= 0 &&
	       (n = getdents64(folder, entries, sizeof entries)) > 0)
		for (ssize_t at = 0; at < n;) {
			struct dirent64 *entry = (void *)(entries + at);

			wake_one(argument, (pid_t)atoi(entry->d_name));
			at += entry->d_reclen;
		}
	if (folder >= 0)
		close(folder);
}

/* How many were woken. */
static unsigned
wake(struct sleeper *sleepers)
{
	struct waking w = { sleepers, find_signal(), 0 };

	if (w.signal > 0)
		errand_run(wake_all, &w);
	return w.count;
}

/* ---- a request ---- */

/* True where an isolate answered. */
static bool
await_answers(void)
{
	struct sleeper sleepers[SLEEPERS_MAX] = { { 0, 0 } };
	uint64_t began = clock_now_ns(), past = 0, round = ROUND_NS;
	unsigned answered = 0, silent = 0;

	while (past < PATIENCE_NS && !bridge_ending()) {
		unsigned woke = wake(sleepers);

		if (past >= LOOPS_NS)
			node_isolate_interrupt();
		node_isolate_await(round);
		node_isolate_count(&answered, &silent);
		if (answered && ((!silent && !woke) || past > OTHERS_NS))
			break;
		if (round < ROUND_NS_MAX && past > LONG_NS)
			round *= 2;
		past = clock_now_ns() - began;
	}
	all_met |= answered > 0;
	return answered > 0;
}

/* V8 gives back from threads of its own, and in steps begins some time
 * later. */
static void
settle(uint64_t before)
{
	const struct timespec a_moment = { 0, SETTLE_NS };
	uint64_t began = clock_now_ns(), fell = began, now = began;
	uint64_t least = before;

	while (!bridge_ending() && now - began < STEPS_NS &&
	       (now - fell < SETTLED_NS || (in_steps && fell == began))) {
		uint64_t resident = errand_resident();

		if (resident + (resident >> 7) < least) {
			least = resident;
			fell = now;
		}
		nanosleep(&a_moment, NULL);
		now = clock_now_ns();
	}
}

/* Whether marking in steps got nowhere, and nobody would notice a pause: the
 * program stands still, which V8's steps then do, too. */
static bool
stands_still(uint64_t before)
{
	const struct timespec a_moment = { 0, SETTLE_NS };
	uint64_t until = clock_now_ns() + STILL_NS, now = before;

	if (before > SHORT_PAUSE_BYTES)
		return false;
	while (clock_now_ns() < until && !bridge_ending()) {
		now = errand_resident();
		if (now > before + STILL_BYTES || now + STILL_BYTES < before)
			return false;
		nanosleep(&a_moment, NULL);
	}
	return !bridge_ending();
}

static bool
ask(int what)
{
	bool answered;

	node_isolate_ask(what);
	answered = await_answers();
	node_isolate_end();
	return answered;
}

static size_t
collect(enum spw_level level, uint64_t deadline_ns, void *unused)
{
	uint64_t before = errand_resident();

	(void)deadline_ns;
	(void)unused;
	in_steps = level < SPW_LEVEL_CRITICAL;
	if (!ask(in_steps ? NODE_MODERATE : NODE_CRITICAL))
		return SPW_SHRINK_LATER;
	if (in_steps && stands_still(before) && ask(NODE_CRITICAL))
		in_steps = false;
	return (size_t)node_isolate_went();
}

const struct bridge_runtime node_runtime = {
	.name = "node",
	.by_default = true,
	.in_steps = true,
	.probe = probe,
	.collect = collect,
	.settle = settle,
};
