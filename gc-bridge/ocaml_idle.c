/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who has the runtime of an OCaml program that has one thread.
 *
 *	caml_enter_blocking_section() -> entered: FREE
 *	caml_leave_blocking_section() -> leaves: waits while OURS; PROGRAM
 *	ocaml.c:collect -> ocaml_idle_enter: FREE -> OURS, collects
 *
 * Around a system call that may sleep a program says that it does not touch
 * the heap, so that another thread may collect: the two hooks are where the
 * threads library has its master lock. We put a lock of ours there where that
 * library is not in the program; where it is, its threads could come in by
 * the old hook unseen. The hook for leaving is there before the other: who
 * leaves without having entered finds PROGRAM, which is right.
 *
 * Opt-in (ocaml-idle), because a binding in C that was never run with threads
 * may break that word: keep a pointer into the heap across the call, or free
 * a library's object in a finaliser that only its thread may free. Not before
 * OCaml 4.13, whose signal handlers ran OCaml code inside the section.
 *
 * A fork inside the section waits for a collection, and has it wait.
 */
#include "gc-bridge/ocaml_idle.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/futex.h"
#include "gc-bridge/symbols.h"

enum { PROGRAM, FREE, OURS };

static _Atomic uint32_t owner; /* a futex */
static bool is_armed, holds_for_fork;
static void (*_Atomic enter_before)(void);
static void (*_Atomic leave_before)(void);

/* True where it was free. */
static bool
take_for_program(void)
{
	uint32_t seen = FREE;

	while (!atomic_compare_exchange_strong(&owner, &seen, PROGRAM)) {
		if (seen == PROGRAM)
			return false;
		futex_wait(&owner, OURS, FUTEX_FOREVER);
		seen = FREE;
	}
	return true;
}

static void
entered(void)
{
	atomic_load (&enter_before)();
	atomic_store(&owner, FREE);
}

static void
leaves(void)
{
	take_for_program();
	atomic_load (&leave_before)();
}

static void
fork_prepare(void)
{
	holds_for_fork = take_for_program();
}

static void
fork_over(void)
{
	if (holds_for_fork)
		atomic_store(&owner, FREE);
	holds_for_fork = false;
}

const char *
ocaml_idle_arm(void)
{
	static const char *const affine[] = { "Tcl_AsyncDelete", "qVersion",
					      "gtk_init" };
	void (*_Atomic *enter)(void);
	void (*_Atomic *leave)(void);
	void *found;

	if (is_armed)
		return NULL;
	if (!symbols_find(NULL, "caml_enter_blocking_section_hook", &enter) ||
	    !symbols_find(NULL, "caml_leave_blocking_section_hook", &leave))
		return "its hooks are not there";
	if (symbols_find(NULL, "caml_try_leave_blocking_section_hook", &found))
		return "it is older than OCaml 4.13";
	if (symbols_find(NULL, "caml_thread_initialize", &found))
		return "the program has threads";
	for (size_t i = 0; i < sizeof affine / sizeof *affine; i++)
		if (symbols_find(NULL, affine[i], &found))
			return "a toolkit is loaded whose objects belong to "
			       "a thread";
	if (pthread_atfork(fork_prepare, fork_over, fork_over) != 0)
		return "out of memory";
	is_armed = true;
	atomic_store(&leave_before, atomic_load(leave));
	atomic_store(&enter_before, atomic_load(enter));
	atomic_store(leave, leaves);
	atomic_store(enter, entered);
	return NULL;
}

bool
ocaml_idle_enter(void)
{
	uint32_t seen = FREE;

	return is_armed && atomic_compare_exchange_strong(&owner, &seen, OURS);
}

void
ocaml_idle_leave(void)
{
	atomic_store(&owner, FREE);
	futex_wake(&owner, FUTEX_ALL);
}
