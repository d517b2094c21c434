/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A call that no exception leaves.
 *
 * Usage: if (guard_call(body, argument) != 0) somebody threw.
 *
 * Caveats: on x86-64; elsewhere an exception ends the process as it does in
 * any C code. pthread_exit(3) and cancellation pass through. longjmp(3) past
 * it is undefined, as past any thread's first frame.
 */
#ifndef GC_BRIDGE_GUARD_H
#define GC_BRIDGE_GUARD_H

/* 0, or 1 where body threw. */
int guard_call(void (*body)(void *), void *argument);

#endif
