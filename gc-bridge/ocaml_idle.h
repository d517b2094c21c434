/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An OCaml program that sleeps in a system call, collected meanwhile.
 *
 * Usage: if (ocaml_idle_enter()) { collect; ocaml_idle_leave(); }
 *
 * Caveats: opt-in; programs without OCaml's threads library alone.
 */
#ifndef GC_BRIDGE_OCAML_IDLE_H
#define GC_BRIDGE_OCAML_IDLE_H

#include <stdbool.h>

/* Installs the hooks, once; NULL, or why they cannot be. In a probe. */
const char *ocaml_idle_arm(void);

/* On our thread: true where the program is outside of its runtime, and stays
 * there until ocaml_idle_leave(). Never waits. */
bool ocaml_idle_enter(void);
void ocaml_idle_leave(void);

#endif
