/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small chain of the cache's index, and what writers do to it: a model of
 * cache/index.c and index_size.c in which buckets have two slots.
 *
 * Usage: chain_begin(), then chain_act()s; chain_moments[0 .. chain_count]
 * are then what a reader may see, one store after the other.
 *
 * Caveats: none of the cache's code is in here. One thread.
 */
#ifndef TESTS_UNIT_INDEX_CHAIN_H
#define TESTS_UNIT_INDEX_CHAIN_H

#include <stdbool.h>

#define SLOTS 2
#define CHAINS 3 /* buckets 0 and 1 of the table; 2 is a stranger's */
#define POOL 2   /* overflow buckets: 3 and 4 */
#define BUCKETS (CHAINS + POOL)
#define SEGMENTS 8
#define MOMENTS_MAX 400
#define ENTRIES_MAX 64
#define FIND 1 /* the key that is looked for; others from 2 on */
#define KEYS 6

/* ---- memory: words, each read or written at once ---- */

enum { TABLE, FIRST_BUCKET };
#define HEADER(b) (FIRST_BUCKET + (b) * (SLOTS + 1))
#define SLOT(b, i) (HEADER(b) + 1 + (i))
#define TICKET(segment) (HEADER(BUCKETS) + (segment))
#define WORDS TICKET(SEGMENTS)

/* A header: link, whether it is locked by a resize, and the version. The
 * table: buckets, and above them how often resized. */
#define LINK(header) ((header) % 8)
#define LOCKED 8
#define VERSION_ONE 16

struct chain_moment {
	unsigned char words[WORDS];
	unsigned char version; /* of FIND that is there, 0: none */
	unsigned char early; /* one that is there in a bucket not linked yet */
};

/* Steps that can be left out. */
struct chain_rules {
	bool no_bump;       /* of the version, when a bucket is folded */
	bool clear_first;   /* before the table, in a resize */
	bool no_table_look; /* at the end of a miss */
	bool no_lock_look;  /* where the table has moved */
	bool no_last_look;  /* at the header, after that */
	bool no_new_resize; /* a version of its own after a resize */
	bool no_version_look;
	bool late_copy;      /* after the clearing, in a fold */
	bool keeps_copy;     /* no clearing in a resize */
	bool no_second_slot; /* when a slot turns out to be stale */
};

extern struct chain_rules chain_rules;
extern struct chain_moment chain_moments[MOMENTS_MAX];
extern unsigned chain_count; /* the last moment */
/* Loads and stores of writers; at which of them the first segment is closed. */
extern unsigned chain_accesses, chain_close_at;
extern unsigned long chain_failures; /* resizes for which there was no room */
extern unsigned chain_up; /* whether FIND's hash has the bit of a split */
/* Of entries, which slots are the numbers of; 0 is none. */
extern unsigned char chain_key[ENTRIES_MAX], chain_segment[ENTRIES_MAX];
extern unsigned char chain_version[ENTRIES_MAX];

enum {
	PUT,
	REMOVE,
	PUT_OTHER,
	REMOVE_OTHERS,
	SPLIT,
	MERGE,
	COMPACT,
	PURGE,
	STRANGER,
	EVICT,
	KINDS
};

/* A bucket with so many others and FIND, in overflow if need be. */
void chain_begin(unsigned others);
void chain_act(unsigned kind);
/* The bucket of a key. */
unsigned chain_place(unsigned key, unsigned table);

#endif
