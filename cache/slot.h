/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slots: where an entry lies and what its key's hash looks like, in 8 bytes.
 *
 *	63      49 48        37 36      18 17           0
 *	[tag  15 ][generation 12][segment 19][offset/8 18]
 *
 * Usage: slot_make() when an entry is written; readers compare tags first.
 *
 * Caveats: 0 is no slot: segment 0 is never used, a generation is never 0. A
 * slot whose generation is not its segment's is stale: it reads as nothing,
 * and may be overwritten by whoever holds its bucket.
 */
#ifndef CACHE_SLOT_H
#define CACHE_SLOT_H

#include <stdint.h>

#define SLOT_UNIT 8u /* bytes: what offsets count */
#define SLOT_OFFSET_BITS 18
#define SLOT_SEGMENT_BITS 19
#define SLOT_GENERATION_BITS 12
#define SLOT_TAG_BITS 15

/* Generations run from 1 to this; a test build takes 2 bits of them. */
#ifndef SPW_CACHE_GENERATION_BITS
#define SPW_CACHE_GENERATION_BITS SLOT_GENERATION_BITS
#endif
#define SLOT_GENERATION_MAX ((1u << SPW_CACHE_GENERATION_BITS) - 1)

/* The tag is made of these bits of the hash, so that a bucket that is split
 * at one of the levels from here on need not look at keys. */
#define SLOT_TAG_FROM 14

static inline uint32_t
slot_tag_of_hash(uint64_t hash)
{
	return (uint32_t)(hash >> SLOT_TAG_FROM) & ((1u << SLOT_TAG_BITS) - 1);
}

static inline uint64_t
slot_make(uint32_t segment, uint32_t generation, uint32_t offset_bytes,
	  uint32_t tag)
{
	return (uint64_t)(offset_bytes / SLOT_UNIT) |
	       (uint64_t)segment << SLOT_OFFSET_BITS |
	       (uint64_t)generation << (SLOT_OFFSET_BITS + SLOT_SEGMENT_BITS) |
	       (uint64_t)tag << (64 - SLOT_TAG_BITS);
}

static inline uint32_t
slot_tag(uint64_t slot)
{
	return (uint32_t)(slot >> (64 - SLOT_TAG_BITS));
}

static inline uint32_t
slot_segment(uint64_t slot)
{
	return (uint32_t)(slot >> SLOT_OFFSET_BITS) &
	       ((1u << SLOT_SEGMENT_BITS) - 1);
}

static inline uint32_t
slot_generation(uint64_t slot)
{
	return (uint32_t)(slot >> (SLOT_OFFSET_BITS + SLOT_SEGMENT_BITS)) &
	       ((1u << SLOT_GENERATION_BITS) - 1);
}

/* Segment and offset at once: bytes from the window's beginning. */
static inline uint64_t
slot_place_bytes(uint64_t slot)
{
	return (slot & ((1ull << (SLOT_OFFSET_BITS + SLOT_SEGMENT_BITS)) - 1)) *
	       SLOT_UNIT;
}

#endif
