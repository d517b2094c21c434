/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The model of writers: each store that index.c and index_size.c make, in
 * their order, is a moment. What they do under a bucket's lock is in one
 * piece here; only the closing of a segment, which takes no such lock, may
 * come in between (chain_close_at).
 *
 * A failed resize takes its copies back; that is modelled, too. Of the pool
 * the lowest free bucket is taken, at once, as in index_pool_get().
 */
#include "tests/unit/index_chain.h"

#include <string.h>

#include "tests/tap.h"

struct chain_rules chain_rules;
unsigned long chain_failures;
struct chain_moment chain_moments[MOMENTS_MAX];
unsigned chain_count, chain_accesses, chain_close_at, chain_up;
unsigned char chain_key[ENTRIES_MAX], chain_segment[ENTRIES_MAX];
unsigned char chain_version[ENTRIES_MAX];
static unsigned entries, filling, versions, putting;
static unsigned char *now; /* the words of the last moment */

static bool
is_current(unsigned slot)
{
	return slot && now[TICKET(chain_segment[slot])];
}

unsigned
chain_place(unsigned key, unsigned table)
{
	bool up = key == FIND ? chain_up : key % 2;

	return table % 4 == 2 && up;
}

/* A new moment, in which one word has changed. */
static void
change(unsigned word, unsigned value)
{
	if (chain_count + 1 >= MOMENTS_MAX)
		tap_bail_out("a run is too long");
	chain_moments[chain_count + 1] = chain_moments[chain_count];
	now = chain_moments[++chain_count].words;
	now[word] = (unsigned char)value;
	/* A look that is late in a bucket of before may find what is put. */
	if (value == putting && word < TICKET(0) &&
	    (word - FIRST_BUCKET) % (SLOTS + 1))
		chain_moments[chain_count].early = chain_version[value];
}

/* Its entries are no more. */
static void
close_segment(unsigned segment)
{
	if (!now[TICKET(segment)])
		return;
	change(TICKET(segment), 0);
	for (unsigned e = 1; e <= entries; e++)
		if (chain_key[e] == FIND && chain_segment[e] == segment &&
		    chain_version[e] == chain_moments[chain_count].version)
			chain_moments[chain_count].version = 0;
}

/* Eviction closes the first segment at one access of a writer or another. */
static void
somebody_closes(void)
{
	if (chain_accesses++ == chain_close_at)
		close_segment(1);
}

static unsigned
load(unsigned word)
{
	somebody_closes();
	return now[word];
}

static void
store(unsigned word, unsigned value)
{
	somebody_closes();
	change(word, value);
}

static unsigned
entry_new(unsigned key, unsigned version)
{
	if (++entries >= ENTRIES_MAX)
		tap_bail_out("too many entries");
	chain_key[entries] = (unsigned char)key;
	chain_segment[entries] = (unsigned char)filling;
	chain_version[entries] = (unsigned char)version;
	return entries;
}

/* ---- writers, as in index.c ---- */

static void
set_link(unsigned bucket, unsigned link)
{
	unsigned header = load(HEADER(bucket));

	store(HEADER(bucket), header - LINK(header) + link);
}

/* The lowest that no chain has; 0: none. */
static unsigned
pool_get(void)
{
	for (unsigned b = CHAINS; b < BUCKETS; b++) {
		bool taken = false;

		for (unsigned other = 0; other < BUCKETS; other++)
			taken = taken || LINK(now[HEADER(other)]) == b;
		if (!taken)
			return b;
	}
	return 0;
}

static bool
extend(unsigned last, unsigned slot)
{
	unsigned b = pool_get();

	if (!b)
		return false;
	set_link(b, 0);
	for (unsigned i = 1; i < SLOTS; i++)
		store(SLOT(b, i), 0);
	store(SLOT(b, 0), slot);
	set_link(last, b);
	return true;
}

static bool
append(unsigned bucket, unsigned slot)
{
	for (unsigned b = bucket;; b = LINK(load(HEADER(b)))) {
		for (unsigned i = 0; i < SLOTS; i++)
			if (!is_current(load(SLOT(b, i)))) {
				store(SLOT(b, i), slot);
				return true;
			}
		if (!LINK(load(HEADER(b))))
			return extend(b, slot);
	}
}

/* The word of a key's slot, 0: none; *free: where it could go. */
static unsigned
look(unsigned bucket, unsigned key, unsigned *free, unsigned *last)
{
	*free = 0;
	for (unsigned b = bucket;; b = LINK(load(HEADER(b)))) {
		*last = b;
		for (unsigned i = 0; i < SLOTS; i++) {
			unsigned slot = load(SLOT(b, i));

			if (is_current(slot) && chain_key[slot] == key)
				return SLOT(b, i);
			if (!is_current(slot) && !*free)
				*free = SLOT(b, i);
		}
		if (!LINK(load(HEADER(b))))
			return 0;
	}
}

static void
put(unsigned bucket, unsigned key)
{
	unsigned slot = entry_new(key, ++versions), free, last;
	unsigned there = look(bucket, key, &free, &last);

	bool done = true;

	putting = key == FIND ? slot : 0;
	if (there || free)
		store(there ? there : free, slot);
	else
		done = extend(last, slot);
	putting = 0;
	if (key == FIND && done)
		chain_moments[chain_count].version = chain_version[slot];
	chain_moments[chain_count].early = 0;
}

static void
take_out(unsigned bucket, unsigned key)
{
	unsigned free, last, there = look(bucket, key, &free, &last);

	if (!there)
		return;
	store(there, 0);
	if (key == FIND)
		chain_moments[chain_count].version = 0;
}

static void
bump(unsigned bucket)
{
	store(HEADER(bucket), load(HEADER(bucket)) + VERSION_ONE);
}

static void
fold(unsigned bucket, unsigned before, unsigned last)
{
	unsigned slots[SLOTS];

	for (unsigned i = 0; i < SLOTS; i++) {
		slots[i] = load(SLOT(last, i));
		if (slots[i] && !chain_rules.late_copy)
			append(bucket, slots[i]);
	}
	if (!chain_rules.no_bump)
		bump(bucket);
	set_link(before, 0);
	for (unsigned i = 0; i < SLOTS; i++)
		store(SLOT(last, i), 0);
	for (unsigned i = 0; i < SLOTS && chain_rules.late_copy; i++)
		if (slots[i])
			append(bucket, slots[i]);
}

static void
compact(unsigned bucket)
{
	for (unsigned b = bucket;; b = LINK(load(HEADER(b)))) {
		for (unsigned i = 0; i < SLOTS; i++)
			if (!is_current(load(SLOT(b, i))) && now[SLOT(b, i)])
				store(SLOT(b, i), 0);
		if (!LINK(load(HEADER(b))))
			break;
	}
	while (LINK(load(HEADER(bucket)))) {
		unsigned before = bucket, b = LINK(load(HEADER(bucket)));
		unsigned free = 0, used = 0;

		while (LINK(load(HEADER(b)))) {
			before = b;
			b = LINK(load(HEADER(b)));
		}
		for (unsigned at = bucket; at != b; at = LINK(now[HEADER(at)]))
			for (unsigned i = 0; i < SLOTS; i++)
				free += !now[SLOT(at, i)];
		for (unsigned i = 0; i < SLOTS; i++)
			used += now[SLOT(b, i)] != 0;
		if (used > free)
			return;
		fold(bucket, before, b);
	}
}

enum { COPY, CLEAR, UNCOPY };

static void
take_back(unsigned bucket, unsigned slot)
{
	for (unsigned b = bucket;; b = LINK(load(HEADER(b)))) {
		for (unsigned i = 0; i < SLOTS; i++)
			if (load(SLOT(b, i)) == slot)
				store(SLOT(b, i), 0);
		if (!LINK(load(HEADER(b))))
			return;
	}
}

/* For what is to leave a chain. False: no room. */
static bool
each_leaving(unsigned from, unsigned to, unsigned table, unsigned what)
{
	for (unsigned b = from;; b = LINK(load(HEADER(b)))) {
		for (unsigned i = 0; i < SLOTS; i++) {
			unsigned slot = load(SLOT(b, i));

			if (!is_current(slot) ||
			    chain_place(chain_key[slot], table) != to)
				continue;
			if (what == COPY && !append(to, slot))
				return false;
			if (what == CLEAR)
				store(SLOT(b, i), 0);
			if (what == UNCOPY)
				take_back(to, slot);
		}
		if (!LINK(load(HEADER(b))))
			return true;
	}
}

static void
lock_both(void)
{
	for (unsigned b = 0; b < 2; b++)
		store(HEADER(b), load(HEADER(b)) + LOCKED);
}

static void
unlock_both(void)
{
	for (unsigned b = 2; b-- > 0;)
		store(HEADER(b), load(HEADER(b)) - LOCKED);
}

/* To one bucket or to two. */
static void
resize(unsigned buckets)
{
	unsigned table = load(TABLE), after = table - table % 4 + 4 + buckets;
	unsigned from = buckets == 1, to = !from;

	if (table % 4 == buckets)
		return;
	lock_both();
	if (!each_leaving(from, to, after, COPY)) {
		chain_failures++;
		each_leaving(from, to, after, UNCOPY);
		compact(to);
		unlock_both();
		return;
	}
	if (!chain_rules.clear_first)
		store(TABLE, after);
	if (!chain_rules.keeps_copy)
		each_leaving(from, to, after, CLEAR);
	if (chain_rules.clear_first)
		store(TABLE, after);
	compact(from);
	if (!chain_rules.no_new_resize) {
		bump(from);
		bump(to);
	}
	unlock_both();
}

/* What is behind the last bucket becomes zeros, in any order: this one. */
static void
purge(void)
{
	if (load(TABLE) % 4 != 1)
		return;
	for (unsigned word = SLOT(1, SLOTS - 1); word >= HEADER(1); word--)
		store(word, 0);
}

/* Merges the oldest segment into the one that is filled, and closes it. Who
 * closes others waits meanwhile (evict_lock). */
static void
merge_oldest(void)
{
	unsigned oldest = 1, known = entries;

	while (oldest < filling && !now[TICKET(oldest)])
		oldest++;
	if (filling + 1 >= SEGMENTS)
		return;
	filling++;
	for (unsigned e = 1; e <= known; e++)
		for (unsigned b = 0; b < BUCKETS; b++)
			for (unsigned i = 0; i < SLOTS; i++)
				if (now[SLOT(b, i)] == e &&
				    chain_segment[e] == oldest && is_current(e))
					change(SLOT(b, i),
					       entry_new(chain_key[e],
							 chain_version[e]));
	if (now[TICKET(oldest)])
		change(TICKET(oldest), 0);
}

void
chain_act(unsigned kind)
{
	unsigned home = chain_place(FIND, now[TABLE]);

	switch (kind) {
	case PUT:
		put(home, FIND);
		break;
	case REMOVE:
		take_out(home, FIND);
		break;
	case PUT_OTHER:
		put(chain_place(4, now[TABLE]), 4);
		put(chain_place(5, now[TABLE]), 5);
		break;
	case REMOVE_OTHERS:
		for (unsigned key = FIND + 1; key < KEYS; key++)
			take_out(chain_place(key, now[TABLE]), key);
		break;
	case SPLIT:
	case MERGE:
		resize(kind == SPLIT ? 2 : 1);
		break;
	case COMPACT:
		compact(home);
		break;
	case PURGE:
		purge();
		break;
	case STRANGER: /* takes an overflow bucket, ours of before perhaps */
		extend(2, entry_new(FIND + 1, ++versions));
		break;
	default:
		merge_oldest();
	}
}

/* A full chain: others first, so that the key is in the overflow. */
void
chain_begin(unsigned others)
{
	unsigned closes_at = chain_close_at;

	chain_close_at = ~0u;
	memset(&chain_moments[0], 0, sizeof chain_moments[0]);
	chain_count = chain_accesses = entries = versions = 0;
	filling = 1;
	now = chain_moments[0].words;
	now[TABLE] = 1;
	for (unsigned segment = 0; segment < SEGMENTS; segment++)
		now[TICKET(segment)] = 1;
	for (unsigned key = 0; key < others; key++)
		put(0, FIND + 1 + key);
	put(0, FIND);
	chain_moments[0] = chain_moments[chain_count];
	chain_count = chain_accesses = 0;
	now = chain_moments[0].words;
	filling = 2;
	chain_close_at = closes_at;
}
