/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The call into the program's code that is running now, if any.
 *
 * Usage: the pass brackets each call with call_begin() and call_end(); the
 * watchdog asks call_running(); a thread at the gate asks call_is_blocked().
 *
 * Caveats: allocation-free, lock-free, any thread. One call at a time, but
 * that a hung one that was overtaken may end late: it ends only itself.
 */
#ifndef PRESSURE_CALL_H
#define PRESSURE_CALL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct call {
	const char *kind, *name; /* static, and as long as the call */
	_Atomic bool *quarantined;
	uint64_t since_ns;
};

/* From the thread that makes the call: a number for call_end(). */
uint32_t call_begin(const char *kind, const char *name,
		    _Atomic bool *quarantined);
void call_end(uint32_t number);

/* The running call waits for this thread: whether it gets on is seen by that
 * thread's processor time. */
void call_runs_on(int tid);

/* Fills *call; false: none is running. */
bool call_running(struct call *call);

/* It hangs: it is nobody's any more (also in the child of a fork). */
void call_forget(void);

/* What a thread that waits saw; zeroed when it begins to wait. */
struct call_look {
	uint32_t number;
	uint64_t cpu_ns, at_ns;
};

/*
 * Whether a call is running that does not get on: it had no processor since
 * this thread last looked. One system call or none.
 */
bool call_is_blocked(struct call_look *look, uint64_t now_ns);

/* How long to let pass between two looks. */
#define CALL_LOOK_NS 500000

#endif
