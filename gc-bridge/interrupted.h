/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether the calling function was called by a signal handler.
 *
 * Usage: if (interrupted_by_signal()) do nothing that takes a lock;
 *
 * Caveats: some ten microseconds. In doubt it says yes.
 */
#ifndef GC_BRIDGE_INTERRUPTED_H
#define GC_BRIDGE_INTERRUPTED_H

#include <stdbool.h>

bool interrupted_by_signal(void);

#endif
