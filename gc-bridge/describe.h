/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Collectors in the answer of `spillway stat`.
 *
 * Usage: describe_start() once there may be some.
 *
 * Caveats: runs on the monitor; allocation-free.
 */
#ifndef GC_BRIDGE_DESCRIBE_H
#define GC_BRIDGE_DESCRIBE_H

void describe_start(void);

#endif
