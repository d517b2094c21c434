/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The gate: where our heap grows.
 *
 * Usage: hooks that commit memory call gate_charge(); allocating paths call
 * gate_enter() before they take any lock of the heap.
 *
 * Caveats:
 *  - gate_charge() is for hooks: it allocates nothing, takes no lock, makes
 *    at most one system call (tgkill), and that only when credit runs out.
 *  - gate_enter() may sleep, 10 ms at most (SPILLWAY_CONF=gate:), never inside
 *    a read-side section, on spillway's own threads, or while a fork waits.
 *    Where threads must be started it starts them.
 */
#ifndef PRESSURE_GATE_H
#define PRESSURE_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"

enum gate_state {
	GATE_OPEN, /* plenty */
	GATE_LOOK, /* credit is out: somebody must sense */
	GATE_OFF,  /* SPILLWAY_CONF=off: never anything */
};

extern _Atomic uint32_t gate_state;
extern _Atomic int64_t gate_credit;
extern _Atomic uint64_t gate_charged_bytes; /* since the start */

void gate_ring(void);
bool gate_wait(size_t bytes);

/* Our heap commits (recommits) bytes. */
static inline void
gate_charge(size_t bytes)
{
	int64_t left = atomic_fetch_sub_explicit(&gate_credit, (int64_t)bytes,
						 memory_order_relaxed) -
		       (int64_t)bytes;

	atomic_fetch_add_explicit(&gate_charged_bytes, bytes,
				  memory_order_relaxed);
	if (base_unlikely(left < 0))
		gate_ring();
}

/*
 * Before memory is asked of the heap: true to go on, false to fail with
 * ENOMEM (oom:fail and nothing left to give).
 */
static inline bool
gate_enter(size_t bytes)
{
	uint32_t state = atomic_load_explicit(&gate_state,
					      memory_order_relaxed);

	/* What takes more than there is credit for looks before, not after. */
	if (base_likely(state == GATE_OFF ||
			(state == GATE_OPEN &&
			 (int64_t)bytes <=
				 atomic_load_explicit(&gate_credit,
						      memory_order_relaxed))))
		return true;
	return gate_wait(bytes);
}

/* Starts our threads; where there are none to be had, later. Not in hooks. */
void gate_start(void);

/* What a reading allows. Called by who senses. */
void gate_publish(int64_t credit_bytes, int64_t slack_bytes);

/* A pass gave nothing: waiting is pointless until told otherwise. */
void gate_hopeless(bool hopeless);
bool gate_is_hopeless(void);

/* Wakes whoever waits, to look again. */
void gate_wake(void);

/* Sum of what threads at the gate want. */
uint64_t gate_waiting_bytes(void);

/* A fork is waiting: nobody may sleep here. */
void gate_fork(bool waiting);
bool gate_fork_waits(void);

/* Off, or back to the state of a process that has not grown yet. */
void gate_off(void);
void gate_reset(void);

#endif
