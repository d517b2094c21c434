/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segments: 2 MiB each, of one window of address space for all caches.
 *
 * Usage: segment_take(), segment_open(), fill, segment_seal(), and at last
 * segment_close(), a grace period, segment_return() and segment_give().
 *
 * Caveats:
 *  - a segment's ticket says whose it is and in which generation: readers
 *    compare it with their slot inside a read-side section, and what it then
 *    holds stays until the section ends. Ticket 0: nobody's.
 *  - values that do not fit into one have a run of neighbours, of which the
 *    first alone has a ticket.
 *  - the window's memory becomes readable and writable when a segment is first
 *    taken and stays so: the kernel allows 65,530 mappings only.
 */
#ifndef CACHE_SEGMENT_H
#define CACHE_SEGMENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "cache/slot.h"

#define SEGMENT_BYTES (2ul << 20)
#define SEGMENTS_MAX (1u << SLOT_SEGMENT_BITS)
#define SEGMENT_OWNERS_MAX 65536u

struct spw_cache;

enum segment_state {
	SEGMENT_FREE,
	SEGMENT_TAKEN,  /* somebody's, without a ticket: a spare */
	SEGMENT_OPEN,   /* being filled */
	SEGMENT_SEALED, /* full: may be evicted */
	SEGMENT_CLOSED, /* no ticket any more, readers may be inside */
	SEGMENT_ORPHAN, /* the same, and only pins keep it */
	SEGMENT_TAIL,   /* of a run, but the first */
};

struct segment {
	_Atomic uint32_t pins; /* spw_ref and reservations */
	_Atomic uint32_t dead_bytes;
	_Atomic uint32_t dead_entries;
	_Atomic uint32_t state; /* enum segment_state */
	uint32_t run;           /* how many segments; 1 */
	uint32_t generation;    /* of its last ticket */
	_Atomic uint32_t owner; /* of its last ticket */
	/* What follows is the filler's until it is sealed. */
	uint32_t filled_bytes;
	uint32_t entries;
	uint32_t charged_bytes; /* told to the gate, may be resident */
	uint32_t sealed_grace;  /* grace periods that had begun by then */
	uint8_t ready;          /* readable and writable */
	uint8_t advice;         /* SEGMENT_PAGES_* as last advised */
	uint8_t rank;           /* how warm it is (plan.c) */
	uint64_t sealed_order;  /* the cache's n-th */
};

enum { SEGMENT_PAGES_ANY, SEGMENT_PAGES_HUGE, SEGMENT_PAGES_SMALL };

/* Written once, before the first cache exists. */
struct segment_window {
	char *base;
	_Atomic uint32_t *tickets; /* owner << 12 | generation */
	struct segment *table;
	uint32_t count;
};
extern struct segment_window segment_window;

static inline struct segment *
segment_at(uint32_t index)
{
	base_assert_walk(index > 0 && index < segment_window.count);
	return &segment_window.table[index];
}

static inline char *
segment_address(uint32_t index)
{
	return segment_window.base + (size_t)index * SEGMENT_BYTES;
}

static inline uint32_t
segment_ticket(uint32_t owner, uint32_t generation)
{
	return owner << SLOT_GENERATION_BITS | generation;
}

/* Whether the slot of a cache of this owner points to what is there. Acquire:
 * pairs with segment_open(). */
static inline bool
segment_is_current(uint32_t owner, uint64_t slot)
{
	return atomic_load_explicit(&segment_window.tickets[slot_segment(slot)],
				    memory_order_acquire) ==
	       segment_ticket(owner, slot_generation(slot));
}

/* First of all, with no lock held. Idempotent. */
void segment_begin(void);

/* Reserves the window: 0 or -ENOMEM. Idempotent, for one thread at a time. */
int segment_window_open(void);

/* One above the highest index that was ever taken. */
uint32_t segment_high(void);

/* How many tickets were given out, of all caches. */
uint64_t segment_opens(void);

/* A run of free neighbours: the first one's index, or 0. */
uint32_t segment_take(uint32_t run, bool huge);

/* Gives it a ticket; returns the generation. */
uint32_t segment_open(uint32_t index, uint32_t owner);

/* It was not needed: nobody has a slot of it, it is TAKEN again. */
void segment_unopen(uint32_t index);

/* No more is filled in. */
void segment_seal(uint32_t index, uint32_t filled_bytes, uint32_t entries,
		  uint64_t order);

/* From here on its slots are stale; false: somebody else did that. */
bool segment_close(uint32_t index);

/* Waits for a grace period: for spillway's own threads. */
void segment_grace(void);
/* Whether one has passed since the segment was sealed. */
bool segment_is_settled(const struct segment *s);

/* All of its memory at once, outside of every section: a page fault inside is
 * one that a grace period waits for. */
void segment_populate(uint32_t index);
/* Memory back to the kernel: of whole segments, neighbours. */
void segment_return(uint32_t index, uint32_t count);
/* The segment itself, and its run's rest. */
void segment_give(uint32_t index);

/* Pins: inside a read-side section in which its ticket was seen. False:
 * there were none before. */
void segment_pin(uint32_t index);
void segment_unpin(uint32_t index);
/* After close and a grace period: true when nobody has it pinned and the
 * caller may return it; else the last who unpins does. */
bool segment_orphan(uint32_t index);

/* Numbers of caches; 0: none is left. */
uint32_t segment_owner_get(void);
void segment_owner_put(uint32_t owner);
uint32_t segment_owner_pinned(uint32_t owner);

void segment_fork_child(void);

#endif
