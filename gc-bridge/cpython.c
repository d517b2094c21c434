/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bridge to CPython 3.7 and later: a static python3 or libpython.
 *
 * Conditions: its symbols are in the process, the main interpreter (the others
 * are left alone) is initialised and not finalizing.
 *
 * Why it is safe:
 *  - The collection runs on the main thread, as a pending call between two
 *    bytecodes, where a signal handler's Python code would run and where any
 *    allocation may collect. Only where the main thread does not get to one
 *    within PENDING_NS (it sleeps, or is in C code) our thread takes the GIL
 *    and collects; not where a toolkit is loaded whose objects must be freed
 *    by the thread that made them (Tcl aborts, Qt and GTK crash).
 *  - Whoever runs it holds the GIL and takes the request by compare and swap:
 *    it runs once, and a pending call that comes late finds it gone.
 *  - Finalizers on our thread let the main thread go on, whose gc.collect()
 *    would return at once: its pending call waits for the end, WAIT_NS at most
 *    (one may want a lock that it holds). So does the interpreter's end, which
 *    makes the calls that are pending; where none is, ours does not go in.
 *  - A thread that asks for the GIL while the interpreter finalizes is ended,
 *    or sleeps for ever: ours holds nothing then, and bridge.c expects it.
 *  - gc.disable() is respected at level medium. At critical the collector is
 *    enabled around the call and disabled again, under the GIL.
 * What is freed goes to malloc and comes back in the FREE tier, behind us.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/futex.h"
#include "gc-bridge/runtimes.h"
#include "gc-bridge/symbols.h"
#include "pressure/errand.h"

#define PENDING_NS (20 * CLOCK_MS)
#define PENDING_CRITICAL_NS (5 * CLOCK_MS)
#define WAIT_NS (2 * CLOCK_S)

static int (*is_initialized)(void);
static int (*ensure)(void);
static void (*release)(int state);
static void *(*let_go)(void);
static void (*go_on)(void *thread);
static intptr_t (*collect_now)(void);
static int (*add_pending)(int (*function)(void *), void *argument);
static const char *(*get_version)(void);
/* May be NULL: */
static int (*is_finalizing)(void);
static int (*gc_is_enabled)(void);
static int (*gc_enable)(void);
static int (*gc_disable)(void);

static bool main_thread_alone; /* a toolkit is loaded */
static _Atomic bool pending;   /* a call of ours is in the queue */

/* The request: WANTED -> TAKEN (by who runs it) -> NONE; a futex. ENTERING:
 * our thread will, and asks for the GIL. */
enum { NONE, WANTED, ENTERING, TAKEN };
static _Atomic uint32_t request;
static _Atomic int wanted_level;
static _Atomic uint64_t went; /* by the last, before others allocated */

static const struct symbol needed[] = {
	{ "Py_IsInitialized", &is_initialized },
	{ "PyGILState_Ensure", &ensure },
	{ "PyGILState_Release", &release },
	{ "PyEval_SaveThread", &let_go },
	{ "PyEval_RestoreThread", &go_on },
	{ "PyGC_Collect", &collect_now },
	{ "Py_AddPendingCall", &add_pending },
	{ "Py_GetVersion", &get_version },
};

static const char *const toolkits[] = { "Tcl_AsyncDelete", "qVersion",
					"gtk_init" };

/* Who ran it is not there. */
static void
fork_child(void)
{
	atomic_store(&request, NONE);
}

static int
probe(bool attached, const char **why)
{
	static _Atomic bool handlers_there;
	const char *version;
	void *found;

	(void)attached;
	if (!symbols_find_all("libpython", needed,
			      sizeof needed / sizeof *needed, NULL))
		return -ENOENT;
	version = get_version();
	if (strncmp(version, "3.", 2) != 0 || atoi(version + 2) < 7) {
		*why = "it is older than Python 3.7";
		return -EOPNOTSUPP;
	}
	if (!is_initialized())
		return -EAGAIN;
	if (!atomic_exchange(&handlers_there, true))
		pthread_atfork(NULL, NULL, fork_child);
	if (!symbols_find("libpython", "Py_IsFinalizing", &is_finalizing))
		symbols_find("libpython", "_Py_IsFinalizing", &is_finalizing);
	symbols_find("libpython", "PyGC_IsEnabled", &gc_is_enabled);
	symbols_find("libpython", "PyGC_Enable", &gc_enable);
	symbols_find("libpython", "PyGC_Disable", &gc_disable);
	for (size_t i = 0; i < sizeof toolkits / sizeof *toolkits; i++)
		main_thread_alone |= symbols_find(NULL, toolkits[i], &found);
	return 0;
}

/* With the GIL; false where the program wants no collection. */
static bool
run(void)
{
	bool disabled = gc_is_enabled && gc_enable && gc_disable &&
			!gc_is_enabled();

	if (disabled && atomic_load(&wanted_level) < SPW_LEVEL_CRITICAL)
		return false;
	if (disabled)
		gc_enable();
	collect_now();
	if (disabled)
		gc_disable();
	return true;
}

/* With the GIL, by who has taken it. */
static void
run_taken(void)
{
	uint64_t before = errand_resident(), after;

	if (!run())
		return;
	after = errand_resident();
	atomic_store(&went, before > after ? before - after : 0);
}

static void
end_request(void)
{
	atomic_store(&request, NONE);
	futex_wake(&request, FUTEX_ALL);
}

/* Until the request has left `state`, or it is time. */
static bool
await(uint32_t state, uint64_t until_ns)
{
	uint64_t now = clock_now_ns();

	while (atomic_load(&request) == state && now < until_ns) {
		futex_wait(&request, state, until_ns - now);
		now = clock_now_ns();
	}
	return atomic_load(&request) != state;
}

/* Until our thread has let the interpreter go: then it may also end. */
static void
wait_for_other(void)
{
	uint64_t until = clock_now_ns() + WAIT_NS;
	void *thread = let_go();

	await(ENTERING, until);
	await(TAKEN, until);
	go_on(thread);
}

/* On the main thread, between two bytecodes. */
static int
pending_call(void *unused)
{
	uint32_t seen = WANTED;

	(void)unused;
	atomic_store(&pending, false);
	if (atomic_compare_exchange_strong(&request, &seen, TAKEN)) {
		run_taken();
		end_request();
	} else if (seen != NONE) {
		wait_for_other();
	}
	return 0;
}

static bool
may_run(void)
{
	return is_initialized() && !(is_finalizing && is_finalizing());
}

/* On our thread, where the main thread did not come by. */
static void
run_here(void)
{
	uint32_t wanted = WANTED;
	bool may = !main_thread_alone && may_run() && atomic_load(&pending);
	int state;

	if (!atomic_compare_exchange_strong(&request, &wanted,
					    may ? ENTERING : NONE) ||
	    !may)
		return;
	state = ensure();
	atomic_store(&request, TAKEN);
	run_taken();
	release(state);
	end_request();
}

static size_t
collect(enum spw_level level, uint64_t deadline_ns, void *unused)
{
	uint64_t patience = level == SPW_LEVEL_CRITICAL ? PENDING_CRITICAL_NS :
							  PENDING_NS;

	(void)deadline_ns;
	(void)unused;
	if (!may_run())
		return 0;
	atomic_store(&wanted_level, (int)level);
	atomic_store(&went, SPW_SHRINK_LATER);
	atomic_store(&request, WANTED);
	if (!atomic_exchange(&pending, true) &&
	    add_pending(pending_call, NULL) != 0)
		atomic_store(&pending, false);
	if (!await(WANTED, clock_now_ns() + patience))
		run_here();
	while (atomic_load(&request) == TAKEN)
		await(TAKEN, clock_now_ns() + CLOCK_S);
	return (size_t)atomic_load(&went);
}

const struct bridge_runtime cpython_runtime = {
	.name = "cpython",
	.by_default = true,
	.probe = probe,
	.collect = collect,
};
