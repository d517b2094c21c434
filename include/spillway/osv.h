/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * OSv's shrinker interface with its exact signature, so that a program
 * written for it links unchanged.
 *
 * Usage: osv_register_shrinker("my cache", my_shrink);
 *
 * Caveats: as in spillway/shrinker.h. There is no way to unregister, as in
 * OSv. The tier is WARM unless SPILLWAY_CONF=tier:NAME=... says otherwise.
 *
 * Source: OSv, include/osv/mempool.hh and modules/memory-hog.
 */
#ifndef SPILLWAY_OSV_H
#define SPILLWAY_OSV_H

#include <spillway/export.h>

SPW_BEGIN_DECLS

/*
 * shrink frees up to `target` bytes and returns how many went. hard = false
 * is preemptive: it may put the work off. hard = true: a thread waits.
 * Returns an opaque, non-NULL handle, or NULL with errno set (EINVAL, ENOMEM,
 * ENOTSUP).
 */
void *osv_register_shrinker(const char *name,
			    size_t (*shrink)(size_t target, bool hard));

SPW_END_DECLS

#endif
