/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entries: a header of 8 bytes, the key, the value, one after the other in a
 * segment. Immutable once published, but for `heat`.
 *
 *	+0   value_bytes (30 bits), ENTRY_SOFT, ENTRY_EXTRA
 *	+4   key_bytes
 *	+6   heat: how often it was hit (4 bits), in which era last (12 bits)
 *	+8   with ENTRY_EXTRA: expiry and cost
 *	     the key, padded to 8; the value, padded to 8
 *
 * Usage: from the beginning of a sealed segment one follows the other:
 * entry_bytes() is the way to the next.
 *
 * Caveats: hits are counted exactly up to 8, then with a chance of 1 in 2, 3,
 * 4 ... up to 15 (after Morris), so that what is hot is not written. The
 * era, the cache's (era.h), makes the counter age. Ticks come from a coarse
 * clock.
 */
#ifndef CACHE_ENTRY_H
#define CACHE_ENTRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/clock.h"

#define ENTRY_SOFT (1u << 30)  /* the key is a handle (soft.c) */
#define ENTRY_EXTRA (1u << 31) /* expiry and cost follow the header */
#define ENTRY_VALUE_BITS (ENTRY_SOFT - 1)

#define ENTRY_COUNT_BITS 4
#define ENTRY_COUNT_MAX 15u
#define ENTRY_COUNT_EXACT 8u
#define ENTRY_ERA_BITS 12
#define ENTRY_TICK_NS (CLOCK_S / 16)

struct entry {
	uint32_t value_word; /* value_bytes | flags */
	uint16_t key_bytes;
	_Atomic uint16_t heat;
};

/* The header as it is read at once: value_word, key_bytes, heat. */
typedef uint64_t __attribute__((may_alias)) entry_header_t;
#define ENTRY_HEADER_KEY_SHIFT 32
#define ENTRY_HEADER_HEAT_SHIFT 48
_Static_assert(sizeof(struct entry) == sizeof(entry_header_t) &&
		       offsetof(struct entry, key_bytes) * 8 ==
			       ENTRY_HEADER_KEY_SHIFT &&
		       offsetof(struct entry, heat) * 8 ==
			       ENTRY_HEADER_HEAT_SHIFT &&
		       __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "entry_header_t");

struct entry_extra {
	uint32_t expiry_tick; /* 0: never */
	uint32_t cost_us;
};

static inline size_t
entry_round(size_t bytes)
{
	return (bytes + 7) & ~(size_t)7;
}

static inline uint64_t
entry_header(const struct entry *e)
{
	return __atomic_load_n((const entry_header_t *)(const void *)e,
			       __ATOMIC_RELAXED);
}

/* Of a key of so many bytes, and nothing else: no expiry, not a soft one. */
static inline bool
entry_header_is_plain(uint64_t header, size_t key_bytes)
{
	const uint64_t mask = ENTRY_SOFT | ENTRY_EXTRA |
			      0xffffull << ENTRY_HEADER_KEY_SHIFT;

	return (header & mask) == (uint64_t)key_bytes << ENTRY_HEADER_KEY_SHIFT;
}

static inline size_t
entry_value_bytes(const struct entry *e)
{
	return e->value_word & ENTRY_VALUE_BITS;
}

static inline unsigned char *
entry_key(const struct entry *e)
{
	return (unsigned char *)(uintptr_t)(e + 1) +
	       (e->value_word & ENTRY_EXTRA ? sizeof(struct entry_extra) : 0);
}

static inline unsigned char *
entry_value(const struct entry *e)
{
	return entry_key(e) + entry_round(e->key_bytes);
}

static inline struct entry_extra *
entry_extra(const struct entry *e)
{
	return (struct entry_extra *)(uintptr_t)(e + 1);
}

/* All of it, for lengths that were checked. */
static inline size_t
entry_bytes_of(size_t key_bytes, size_t value_bytes, bool extra)
{
	return sizeof(struct entry) + (extra ? sizeof(struct entry_extra) : 0) +
	       entry_round(key_bytes) + entry_round(value_bytes);
}

static inline size_t
entry_bytes(const struct entry *e)
{
	return entry_bytes_of(e->key_bytes, entry_value_bytes(e),
			      e->value_word & ENTRY_EXTRA);
}

static inline uint32_t
entry_count(const struct entry *e)
{
	return atomic_load_explicit(&e->heat, memory_order_relaxed) &
	       ENTRY_COUNT_MAX;
}

static inline uint32_t
entry_era(const struct entry *e)
{
	return atomic_load_explicit(&e->heat, memory_order_relaxed) >>
	       ENTRY_COUNT_BITS;
}

static inline uint16_t
entry_heat(uint32_t count, uint32_t era)
{
	return (uint16_t)(count | era << ENTRY_COUNT_BITS);
}

#endif
