/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the demonstration and its two helpers share: a page of numbers.
 *
 * Usage: demo.c makes a memfd of this size, the helpers map it; each member
 * has one writer.
 *
 * Caveats: the page outlives a helper that is killed, so the last numbers are
 * those of the moment it died.
 */
#ifndef CLI_HOG_H
#define CLI_HOG_H

#include <stdatomic.h>
#include <stdint.h>

struct hog_report {
	/* Written by the demonstration. */
	_Atomic uint64_t neighbour_target_bytes;
	_Atomic uint64_t stop;
	/* Written by the hog. */
	_Atomic uint64_t lookups, hits;
	_Atomic uint64_t cache_bytes, entries;
	_Atomic uint64_t cache_bytes_min; /* once it has been shrunk */
	_Atomic uint64_t shrinks, given_bytes;
	_Atomic uint64_t stall_ns_max; /* of one lookup, with its insertion */
	_Atomic uint64_t has_shrinker;
	_Atomic uint64_t out_of_memory; /* malloc said no */
	/* Written by the neighbour. */
	_Atomic uint64_t neighbour_bytes;
};

#endif
