/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The index's protocol, explored: every interleaving of one look with what
 * writers do to a small chain (index_chain.h).
 *
 * A writer's run is a list of stores, each a moment. A look is a list of
 * loads (index_find), and may be at any of its loads in any moment: readers
 * write nothing, so a run and a look are all there is, and remembering where
 * looks have been makes the search exhaustive and short.
 *
 * Tested in each: who ends with a value has one that was the key's at some
 * moment of the look; who ends with nothing had a moment without one. So what
 * is there throughout is never missed, and what was removed before is never
 * found. Then steps are left out, one at a time, and the search must see it.
 *
 * Moments are sequentially consistent. On x86 that is what there is, since
 * loads are in order, stores are in order, and no look stores anything; for
 * other machines doc/CACHE-PROOF.md has the orders.
 */
#include <stdint.h>
#include <string.h>

#include "tests/tap.h"
#include "tests/unit/index_chain.h"

/* ---- a look, as index_find() ---- */

enum {
	TABLE_FIRST,
	HEADER_FIRST,
	HINT,
	SLOT_AGAIN,
	CHECK_TICKET,
	RELOAD_SLOT,
	NEXT_LINK,
	HEADER_AGAIN,
	TABLE_AGAIN,
	TABLE_LAST,
	HEADER_LAST,
	HIT,
	MISS
};

struct look {
	unsigned char pc, table, header, first, bucket, link, match, slot, i;
	unsigned char absent;  /* a moment without the key was seen */
	unsigned char beneath; /* a slot of the key turned out to be stale */
	unsigned char nothing; /* bytes are compared: no padding */
	uint32_t seen;         /* versions that were there meanwhile */
};

#define STATES_MAX (1u << 16)
static struct {
	struct look look;
	unsigned moment, run;
} states[STATES_MAX];
static unsigned run, kept;
static unsigned long wrong_hits, wrong_misses, misses_beneath, looks;

static bool
was_here(const struct look *at, unsigned moment)
{
	uint64_t hash = moment * 0x9e3779b97f4a7c15u;
	const unsigned char *bytes = (const unsigned char *)at;

	for (unsigned i = 0; i < sizeof *at; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3u;
	for (unsigned place = (unsigned)(hash >> 40) % STATES_MAX;;
	     place = (place + 1) % STATES_MAX) {
		if (states[place].run != run) {
			if (++kept > STATES_MAX / 2)
				tap_bail_out("too many states");
			states[place].run = run;
			states[place].moment = moment;
			memcpy(&states[place].look, at, sizeof *at);
			return false;
		}
		if (states[place].moment == moment &&
		    memcmp(&states[place].look, at, sizeof *at) == 0)
			return true;
	}
}

/* Tags say less than keys: two keys share this one's. */
static bool
tag_matches(unsigned slot)
{
	return slot && chain_key[slot] <= FIND + 1;
}

static void
next_match(struct look *l)
{
	l->slot = 0;
	for (l->i = 0; l->i < SLOTS; l->i++)
		if (l->match >> l->i & 1) {
			l->match ^= (unsigned char)(1u << l->i);
			l->pc = SLOT_AGAIN;
			return;
		}
	l->pc = l->link ? NEXT_LINK : HEADER_AGAIN;
	l->i = 0;
}

/* A slot that was loaded: looked into, or the next. */
static void
take_slot(struct look *l, unsigned slot)
{
	l->slot = (unsigned char)slot;
	if (tag_matches(slot))
		l->pc = CHECK_TICKET;
	else
		next_match(l);
}

static void
check_ticket(struct look *l, const unsigned char *words)
{
	if (words[TICKET(chain_segment[l->slot])]) {
		if (chain_key[l->slot] == FIND)
			l->pc = HIT;
		else
			next_match(l);
		return;
	}
	l->beneath = l->beneath || chain_key[l->slot] == FIND;
	if (chain_rules.no_second_slot)
		next_match(l);
	else
		l->pc = RELOAD_SLOT;
}

static void
load_hint(struct look *l, const unsigned char *words)
{
	if (tag_matches(words[SLOT(l->bucket, l->i)]))
		l->match |= (unsigned char)(1u << l->i);
	if (++l->i == SLOTS)
		next_match(l);
}

static bool
is_as_it_was(const struct look *l, unsigned header)
{
	unsigned unit = chain_rules.no_lock_look ? VERSION_ONE : LOCKED;

	return header / unit == l->header / unit;
}

/* One load. */
static void
step(struct look *l, const unsigned char *words)
{
	unsigned slot;

	switch (l->pc) {
	case TABLE_FIRST:
		l->table = words[TABLE];
		l->first = (unsigned char)chain_place(FIND, l->table);
		l->pc = HEADER_FIRST;
		return;
	case HEADER_FIRST:
		l->header = words[HEADER(l->first)];
		l->bucket = l->first;
		l->link = LINK(l->header);
		l->pc = HINT;
		return;
	case HINT:
		load_hint(l, words);
		return;
	case SLOT_AGAIN:
		take_slot(l, words[SLOT(l->bucket, l->i)]);
		return;
	case CHECK_TICKET:
		check_ticket(l, words);
		return;
	case RELOAD_SLOT:
		slot = words[SLOT(l->bucket, l->i)];
		if (slot == l->slot)
			next_match(l);
		else
			take_slot(l, slot);
		return;
	case NEXT_LINK:
		l->bucket = l->link;
		l->link = LINK(words[HEADER(l->bucket)]);
		l->pc = HINT;
		return;
	case HEADER_AGAIN:
		l->pc = TABLE_AGAIN;
		if (words[HEADER(l->first)] / VERSION_ONE !=
			    l->header / VERSION_ONE &&
		    !chain_rules.no_version_look)
			l->pc = TABLE_FIRST;
		break;
	case TABLE_AGAIN:
		l->pc = words[TABLE] == l->table || chain_rules.no_table_look ?
				MISS :
				TABLE_LAST;
		break;
	case TABLE_LAST: /* it may be the bucket all the same */
		l->pc = TABLE_FIRST;
		if (chain_place(FIND, words[TABLE]) == l->first &&
		    (!(l->header & LOCKED) || chain_rules.no_lock_look))
			l->pc = chain_rules.no_last_look ? MISS : HEADER_LAST;
		break;
	default:
		l->pc = is_as_it_was(l, words[HEADER(l->first)]) ? MISS :
								   TABLE_FIRST;
	}
	if (l->pc == TABLE_FIRST)
		l->table = l->header = l->first = l->bucket = l->link = 0;
}

static void
judge(const struct look *l)
{
	looks++;
	if (l->pc == HIT && !(l->seen >> chain_version[l->slot] & 1))
		wrong_hits++;
	if (l->pc == MISS && !l->absent && l->beneath &&
	    chain_rules.no_second_slot)
		misses_beneath++;
	else if (l->pc == MISS && !l->absent)
		wrong_misses++;
}

/* From here on, everything that may follow. */
static void
explore(struct look l, unsigned moment)
{
	for (;; moment++) {
		struct look next;

		if (chain_moments[moment].version)
			l.seen |= 1u << chain_moments[moment].version;
		else
			l.absent = 1;
		if (chain_moments[moment].early)
			l.seen |= 1u << chain_moments[moment].early;
		if (was_here(&l, moment))
			return;
		next = l;
		step(&next, chain_moments[moment].words);
		if (next.pc >= HIT)
			judge(&next);
		else
			explore(next, moment);
		if (moment == chain_count)
			return;
	}
}

static void
explore_run(void)
{
	struct look l;

	run++;
	kept = 0;
	memset(&l, 0, sizeof l);
	for (unsigned from = 0; from <= chain_count; from++)
		explore(l, from);
}

/* ---- runs ---- */

/* All runs of so many acts; how many. With closings: each of them also with
 * the first segment closed at every access. */
static unsigned
explore_all(unsigned acts, bool closings)
{
	unsigned kinds = 1, runs = 0;

	for (unsigned i = 0; i < acts; i++)
		kinds *= KINDS;
	wrong_hits = wrong_misses = misses_beneath = looks = 0;
	chain_failures = 0;
	for (unsigned setup = 0; setup < 8; setup++)
		for (unsigned which = 0; which < kinds; which++) {
			chain_close_at = closings ? 0 : ~0u;
			do {
				chain_up = setup & 1;
				chain_begin(setup / 2);
				for (unsigned i = 0, k = which; i < acts;
				     i++, k /= KINDS)
					chain_act(k % KINDS);
				explore_run();
				runs++;
			} while (chain_close_at != ~0u &&
				 chain_close_at++ < chain_accesses);
		}
	return runs;
}

static void
whole(unsigned acts, bool closings)
{
	unsigned runs = explore_all(acts, closings);

	tap_note("%u runs, %lu ends of looks, %lu resizes without room", runs,
		 looks, chain_failures);
	tap_is(wrong_misses, 0, "%u acts%s: what is there is not missed", acts,
	       closings ? ", a segment closed at any moment" : "");
	tap_is(wrong_hits, 0, "%u acts%s: what is found is or was just there",
	       acts, closings ? ", a segment closed at any moment" : "");
}

static void
without(const char *what, struct chain_rules less)
{
	chain_rules = less;
	explore_all(3, false);
	tap_ok(wrong_misses + wrong_hits > 0,
	       "without %s: %lu wrong misses, %lu wrong hits", what,
	       wrong_misses, wrong_hits);
	chain_rules = (struct chain_rules){ 0 };
}

int
main(void)
{
	whole(3, false);
	whole(2, true);
	without("a new version", (struct chain_rules){ .no_bump = true });
	without("the table before the clearing",
		(struct chain_rules){ .clear_first = true });
	without("a look at the table",
		(struct chain_rules){ .no_table_look = true });
	without("a look at the version",
		(struct chain_rules){ .no_version_look = true });
	without("a look at the lock",
		(struct chain_rules){ .no_lock_look = true });
	without("a last look at the header",
		(struct chain_rules){ .no_last_look = true });
	without("a new version after a resize",
		(struct chain_rules){ .no_new_resize = true });
	without("the copy before the clearing",
		(struct chain_rules){ .late_copy = true });
	without("the clearing", (struct chain_rules){ .keeps_copy = true });
	/* What was merged away beneath a look is found by looking again. */
	chain_rules.no_second_slot = true;
	whole(3, false);
	tap_ok(misses_beneath > 0, "what is merged away beneath a look is "
				   "missed by who does not look again");
	return tap_done();
}
