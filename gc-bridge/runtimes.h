/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The runtimes that we know, one file each.
 *
 * Usage: for (i = 0; runtimes[i]; i++) runtimes[i]->probe(...).
 *
 * Caveats: each file opens with its conditions and its proof of safety. The
 * names are those of SETTINGS_GC_WORDS.
 */
#ifndef GC_BRIDGE_RUNTIMES_H
#define GC_BRIDGE_RUNTIMES_H

#include "gc-bridge/bridge.h"

extern const struct bridge_runtime boehm_runtime, cpython_runtime, jvm_runtime,
	lua_runtime, node_runtime, ocaml_runtime, php_runtime, ruby_runtime;

/* Ends with NULL. */
extern const struct bridge_runtime *const runtimes[];

#endif
