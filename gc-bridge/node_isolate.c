/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Isolates: which there are, and how one collects, on its own thread.
 *
 * Called by node_loop.c on threads of JavaScript (node_isolate_pass) and by
 * node.c on the bridge's thread; calls V8 and Node through the names that
 * their headers' C++ has in the Itanium ABI. Local<T> is one pointer there and
 * comes in a register; HandleScope has its place made ready.
 *
 * A place in `places` is LIVE or HELD, or nobody's. Its thread makes it LIVE,
 * and GONE from Node's cleanup hook, which runs before the isolate goes and
 * waits while it is HELD: by the bridge's thread, for the one call that it
 * makes into a foreign isolate, RequestInterrupt(), allowed from any thread.
 *
 *	bridge's thread			isolate's thread
 *	LIVE -> HELD, or leave it	cleanup hook: LIVE -> GONE,
 *	RequestInterrupt(isolate)	  or wait while HELD
 *	HELD -> LIVE, wake		isolate is disposed of
 *
 * process.exit() runs no hook and disposes of no isolate either: an interrupt
 * that is requested then is never run.
 *
 * No malloc of ours, no lock; sequentially consistent.
 */
#include "gc-bridge/node.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/futex.h"
#include "gc-bridge/job.h"
#include "gc-bridge/symbols.h"
#include "pressure/errand.h"

#define PLACES 64
#define V8_OLDEST 10 /* Node 18's */
#define SCOPE_WORDS 8

enum { MODERATE = 1, CRITICAL = 2 }; /* v8::MemoryPressureLevel */

static void *(*try_get_current)(void);
static bool (*in_context)(void *isolate);
static void *(*get_context)(void *isolate);
static void *(*get_environment)(void *context);
static void (*open_scope)(void *scope, void *isolate);
static void (*close_scope)(void *scope);
static void (*add_hook)(void *isolate, void (*hook)(void *), void *argument);
static void (*request_interrupt)(void *isolate, void (*call)(void *, void *),
				 void *argument);
static void (*memory_pressure)(void *isolate, int level);
static const char *(*get_version)(void);
static void *(*get_loop)(void *isolate);
static int (*get_backend)(const void *loop);

static const struct symbol needed[] = {
	{ "_ZN2v87Isolate26MemoryPressureNotificationENS_"
	  "19MemoryPressureLevelE",
	  &memory_pressure },
	{ "_ZN2v87Isolate13TryGetCurrentEv", &try_get_current },
	{ "_ZN2v87Isolate9InContextEv", &in_context },
	{ "_ZN2v87Isolate17GetCurrentContextEv", &get_context },
	{ "_ZN4node21GetCurrentEnvironmentEN2v85LocalINS0_7ContextEEE",
	  &get_environment },
	{ "_ZN2v811HandleScopeC1EPNS_7IsolateE", &open_scope },
	{ "_ZN2v811HandleScopeD1Ev", &close_scope },
	{ "_ZN4node25AddEnvironmentCleanupHookEPN2v87IsolateEPFvPvES3_",
	  &add_hook },
	{ "_ZN2v87Isolate16RequestInterruptEPFvPS0_PvES2_",
	  &request_interrupt },
	{ "_ZN2v82V810GetVersionEv", &get_version },
	{ "_ZN4node19GetCurrentEventLoopEPN2v87IsolateE", &get_loop },
	{ "uv_backend_fd", &get_backend },
};

enum { FREE, GONE, MAKING, LIVE, HELD };

struct place {
	_Atomic uint32_t state; /* a futex */
	_Atomic pid_t tid;
	_Atomic uint32_t answered;    /* the request's number */
	_Atomic uint32_t interrupted; /* the same */
	/* Constant while LIVE or HELD. */
	_Atomic(void *) isolate;
	int epoll_fd;    /* of its environment's event loop */
	bool collecting; /* its own thread's */
};

_Atomic int node_watch;
bool node_loops_seen;

static struct place places[PLACES];
static _Atomic uint32_t request; /* its number */
static _Atomic uint32_t answers; /* a futex */
static _Atomic uint64_t went;
static _Atomic(void *) meeting; /* interrupted, to be met */

int
node_isolate_find(const char **why)
{
	const char *missing;

	if (!symbols_find_all("libnode.so", needed, 1, NULL))
		return -ENOENT;
	if (!symbols_find_all("libnode.so", needed,
			      sizeof needed / sizeof *needed, &missing)) {
		*why = "V8 is here, but not as Node has it";
		return -EOPNOTSUPP;
	}
	if (atoi(get_version()) < V8_OLDEST) {
		*why = "it is older than Node 18";
		return -EOPNOTSUPP;
	}
	if (!node_loops_seen) {
		*why = "its event loop is seen under the preload alone: use "
		       "the addon in examples/node";
		return -EOPNOTSUPP;
	}
	return 0;
}

/* ---- on the isolate's thread ---- */

/* Node's cleanup hook: nobody has the isolate when it returns. */
static void
gone(void *argument)
{
	struct place *p = argument;
	uint32_t live = LIVE;

	while (!atomic_compare_exchange_strong(&p->state, &live, GONE)) {
		futex_wait(&p->state, HELD, FUTEX_FOREVER);
		live = LIVE;
	}
}

/*
 * The descriptor of the event loop of the environment that the thread is in,
 * which it enters after the platform knows the isolate; -1 where it is in
 * none. There are other loops: spawnSync() has one, and a process that exits
 * runs that of its tracing when the platform is gone (23 of 100 aborted).
 */
static int
loop_of(void *isolate)
{
	void *scope[SCOPE_WORDS];
	void *context, *loop = NULL;

	if (!in_context(isolate))
		return -1;
	open_scope(scope, isolate);
	context = get_context(isolate);
	if (context && get_environment(context))
		loop = get_loop(isolate);
	close_scope(scope);
	return loop ? get_backend(loop) : -1;
}

/* Of the isolate that this thread is in: its place, or NULL. */
static struct place *
place_of(void *isolate)
{
	for (unsigned i = 0; i < PLACES; i++)
		if (atomic_load(&places[i].state) >= LIVE &&
		    atomic_load(&places[i].isolate) == isolate)
			return &places[i];
	return NULL;
}

/* Whether its environment was here, and is being cleaned up. */
static bool
is_leaving(void *isolate, pid_t tid)
{
	for (unsigned i = 0; i < PLACES; i++)
		if (atomic_load(&places[i].state) == GONE &&
		    atomic_load(&places[i].isolate) == isolate &&
		    atomic_load(&places[i].tid) == tid)
			return true;
	return false;
}

static struct place *
take_place(uint32_t from)
{
	for (unsigned i = 0; i < PLACES; i++) {
		uint32_t state = from;

		if (atomic_compare_exchange_strong(&places[i].state, &state,
						   MAKING))
			return &places[i];
	}
	return NULL;
}

static struct place *
arm(void *isolate, int epoll_fd)
{
	pid_t tid = (pid_t)syscall(SYS_gettid);
	struct place *p;

	if (epoll_fd < 0 || is_leaving(isolate, tid))
		return NULL;
	p = take_place(FREE);
	if (!p)
		p = take_place(GONE);
	if (!p)
		return NULL;
	atomic_store(&p->isolate, isolate);
	atomic_store(&p->tid, tid);
	atomic_store(&p->answered, 0);
	atomic_store(&p->interrupted, 0);
	p->epoll_fd = epoll_fd;
	add_hook(isolate, gone, p);
	atomic_store(&p->state, LIVE);
	return p;
}

/* Collects, once a request. */
static void
answer(struct place *p)
{
	uint32_t number = atomic_load(&request);
	int what = atomic_load(&node_watch);
	uint64_t before, after;

	if (what < NODE_MODERATE || p->collecting ||
	    atomic_load(&p->answered) == number)
		return;
	p->collecting = true;
	before = errand_resident();
	memory_pressure(atomic_load(&p->isolate),
			what == NODE_CRITICAL ? CRITICAL : MODERATE);
	after = errand_resident();
	p->collecting = false;
	if (before > after)
		atomic_fetch_add(&went, before - after);
	atomic_store(&p->answered, number);
	atomic_fetch_add(&answers, 1);
	futex_wake(&answers, FUTEX_ALL);
}

/* Where V8 looks at its stack guard: in a loop, at a function's start. */
static void
interrupted(void *isolate, void *argument)
{
	struct place *p = place_of(isolate);

	if (p && p == argument)
		answer(p);
}

void
node_isolate_pass(int epoll_fd)
{
	void *isolate = try_get_current();
	struct place *p;
	int saved = errno;

	if (!isolate)
		return;
	p = place_of(isolate);
	if (!p && loop_of(isolate) == epoll_fd)
		arm(isolate, epoll_fd); /* answers when it comes by again */
	else if (p && p->epoll_fd == epoll_fd)
		answer(p);
	errno = saved;
}

/* As interrupted(), for one that nobody has met yet. */
static void
met(void *isolate, void *unused)
{
	struct place *p = place_of(isolate);

	(void)unused;
	if (!p)
		p = arm(isolate, loop_of(isolate));
	if (p)
		answer(p);
}

void
node_isolate_grows(void)
{
	void *isolate = try_get_current();
	int saved = errno;

	if (isolate && !place_of(isolate) && in_context(isolate) &&
	    atomic_exchange(&meeting, isolate) != isolate)
		request_interrupt(isolate, met, NULL);
	errno = saved;
}

/* ---- on the bridge's thread ---- */

void
node_isolate_ask(int what)
{
	uint32_t number = atomic_load(&request) + 1;

	atomic_store(&went, 0);
	atomic_store(&meeting, NULL);
	atomic_store(&request, number ? number : 1); /* 0: never answered */
	atomic_store(&node_watch, what);
}

void
node_isolate_end(void)
{
	atomic_store(&node_watch, NODE_ARM);
}

void
node_isolate_interrupt(void)
{
	uint32_t number = atomic_load(&request);

	for (unsigned i = 0; i < PLACES; i++) {
		struct place *p = &places[i];
		uint32_t live = LIVE;

		if (atomic_load(&p->answered) == number ||
		    atomic_load(&p->interrupted) == number ||
		    !atomic_compare_exchange_strong(&p->state, &live, HELD))
			continue;
		atomic_store(&p->interrupted, number);
		request_interrupt(atomic_load(&p->isolate), interrupted, p);
		atomic_store(&p->state, LIVE);
		futex_wake(&p->state, FUTEX_ALL);
	}
}

void
node_isolate_count(unsigned *answered, unsigned *silent)
{
	uint32_t number = atomic_load(&request);

	*answered = *silent = 0;
	for (unsigned i = 0; i < PLACES; i++) {
		if (atomic_load(&places[i].state) < LIVE)
			continue;
		if (atomic_load(&places[i].answered) == number)
			(*answered)++;
		else
			(*silent)++;
	}
}

uint64_t
node_isolate_went(void)
{
	return atomic_load(&went);
}

void
node_isolate_await(uint64_t timeout_ns)
{
	futex_wait(&answers, atomic_load(&answers), timeout_ns);
}

bool
node_isolate_on(pid_t tid)
{
	for (unsigned i = 0; i < PLACES; i++)
		if (atomic_load(&places[i].state) >= LIVE &&
		    atomic_load(&places[i].tid) == tid)
			return true;
	return false;
}
