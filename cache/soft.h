/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table behind soft references: from a handle to a slot.
 *
 * Usage: soft_move() from a merge; the rest is spillway/soft.h.
 *
 * Caveats: a handle is the slot's number and, above it, how often that number
 * was given out, of which the slot's tag has the low 15 bits.
 */
#ifndef CACHE_SOFT_H
#define CACHE_SOFT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <spillway/soft.h>

#include "base/lock.h"

struct turn;

struct soft_table {
	struct spw_soft_view view; /* what is read inline */
	struct turn *turns;        /* of each number; Guarded by lock */
	struct base_lock lock;
	uint32_t used;      /* Guarded by lock: numbers below were given once */
	uint32_t free;      /* so is this: the first free number, 0: none */
	size_t ready_bytes; /* and this */
};

/* The tag of its slot. */
uint32_t soft_tag(uint64_t handle);

/* Whether the handle's slot is that one; and to another place. */
bool soft_is_at(const struct spw_cache *c, uint64_t handle, uint64_t slot);
bool soft_move(struct spw_cache *c, uint64_t handle, uint64_t from,
	       uint64_t to);
/* Removes stale slots. */
void soft_sweep(struct spw_cache *c);
/* Once the cache has its owner. */
void soft_init(struct spw_cache *c);
void soft_close(struct soft_table *table);
uint64_t soft_bytes(struct soft_table *table);
void soft_fork_child(struct soft_table *table);

#endif
