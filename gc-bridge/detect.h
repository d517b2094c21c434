/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which runtimes are in the process: the scout.
 *
 * Usage: detect_start() once, then passes look by themselves.
 *
 * Caveats: the loader is asked on the scout's thread alone, because a thread
 * that allocates may hold its lock.
 */
#ifndef GC_BRIDGE_DETECT_H
#define GC_BRIDGE_DETECT_H

#include <stdbool.h>

#include "gc-bridge/bridge.h"

/* From now on passes look for runtimes. A store; allocates nothing. */
void detect_start(void);

/* The same, and looks at once, on the calling thread. */
void detect_auto(void);

/* As spw_gc_attach(), with a name. */
int detect_attach(const char *name);

/* Within the first second of the process (never where gc-interval:0). */
bool detect_is_young(void);

/* Whether gc: allows it; NULL: any at all. */
bool detect_allows(const struct bridge_runtime *runtime);

/* Whether gc: names this word. */
bool detect_says(const char *word);

#endif
