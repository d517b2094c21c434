/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The window of segments: which are taken, whose they are, who pins them.
 *
 * Called by space.c (take, open, seal), evict.c (close, grace, return, give)
 * and ref.c (pins). Calls mmap, mprotect and madvise; allocates nothing else.
 *
 * Invariant: a segment is reused, or its memory returned, only after its
 * ticket was taken away and a grace period has passed since, and nobody has
 * it pinned:
 *
 *	reader (in a section)		reclaimer
 *	ticket == its slot's (acquire)	ticket = 0
 *	reads; maybe pins++		grace period: the section has ended
 *	leaves the section		state = ORPHAN; pins == 0?
 *	...
 *	--pins == 0; state == ORPHAN?
 *
 * The last two are sequentially consistent: one of both sees that it is the
 * last, and a compare-and-swap of the state decides where both do.
 *
 * `taken` is guarded by window_lock, which is held for a search in a bitmap
 * and nothing else: no page is touched under it.
 */
#include "cache/segment.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/fault.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/rcu.h"
#include "pressure/core.h"

#ifndef MADV_POPULATE_WRITE /* Linux 5.14; an older one says no */
#define MADV_POPULATE_WRITE 23
#endif

#define WORD_BITS 64u
#define COUNT_MIN 16u

struct segment_window segment_window;

static struct base_lock window_lock = BASE_LOCK(BASE_RANK_CACHE_WINDOW);
static uint64_t taken[SEGMENTS_MAX / WORD_BITS]; /* Guarded by window_lock. */
static uint32_t lowest_word;                     /* so is this */
static _Atomic uint32_t high;
static _Atomic uint64_t opens;
static _Atomic uint32_t grace_begun, grace_over;

static struct owner {
	_Atomic uint32_t held; /* the cache itself, and each orphan */
	_Atomic uint32_t pinned;
} owners[SEGMENT_OWNERS_MAX];

static void *
reserve(size_t bytes, int protection)
{
	void *p = base_fault("segment_window") ?
			  MAP_FAILED :
			  mmap(NULL, bytes, protection,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			       0);

	return p == MAP_FAILED ? NULL : p;
}

/* How much address space may be had: a quarter where it is limited. */
static uint32_t
count_wanted(void)
{
	struct rlimit limit;
	uint64_t count = SEGMENTS_MAX;

	if (getrlimit(RLIMIT_AS, &limit) == 0 &&
	    limit.rlim_cur != RLIM_INFINITY &&
	    limit.rlim_cur / 4 / SEGMENT_BYTES < count)
		count = limit.rlim_cur / 4 / SEGMENT_BYTES;
	return count < COUNT_MIN ? COUNT_MIN : (uint32_t)count;
}

static bool
open_arrays(uint32_t count)
{
	size_t tickets_bytes = count * sizeof segment_window.tickets[0];
	size_t table_bytes = count * sizeof segment_window.table[0];

	segment_window.tickets = reserve(tickets_bytes, PROT_READ | PROT_WRITE);
	segment_window.table = reserve(table_bytes, PROT_READ | PROT_WRITE);
	if (segment_window.tickets && segment_window.table)
		return true;
	if (segment_window.tickets)
		munmap(segment_window.tickets, tickets_bytes);
	if (segment_window.table)
		munmap(segment_window.table, table_bytes);
	return false;
}

void
segment_begin(void)
{
	lock_fork_add(&window_lock);
}

int
segment_window_open(void)
{
	uint32_t count = count_wanted();
	uintptr_t start;
	char *base = NULL;

	if (segment_window.base)
		return 0;
	for (; count >= COUNT_MIN; count /= 2) {
		base = reserve((size_t)count * SEGMENT_BYTES, PROT_NONE);
		if (base)
			break;
	}
	if (!base)
		return -ENOMEM;
	start = ((uintptr_t)base + SEGMENT_BYTES - 1) & ~(SEGMENT_BYTES - 1);
	if (start != (uintptr_t)base)
		count--; /* the last would stand out */
	if (!open_arrays(count)) {
		munmap(base, (size_t)count * SEGMENT_BYTES);
		return -ENOMEM;
	}
	taken[0] = 1; /* 0 is no segment */
	atomic_store(&high, 1);
	segment_window.count = count;
	segment_window.base = (char *)start;
	return 0;
}

uint32_t
segment_high(void)
{
	return atomic_load_explicit(&high, memory_order_acquire);
}

uint64_t
segment_opens(void)
{
	return atomic_load_explicit(&opens, memory_order_relaxed);
}

static bool
is_taken(uint32_t index)
{
	return taken[index / WORD_BITS] >> index % WORD_BITS & 1;
}

static void
mark(uint32_t index, uint32_t run, bool as_taken)
{
	for (uint32_t i = index; i < index + run; i++) {
		uint64_t bit = 1ull << i % WORD_BITS;

		if (as_taken)
			taken[i / WORD_BITS] |= bit;
		else
			taken[i / WORD_BITS] &= ~bit;
	}
}

/* With window_lock held. */
static uint32_t
find_locked(uint32_t run)
{
	uint32_t words = (segment_window.count + WORD_BITS - 1) / WORD_BITS;
	uint32_t found = 0;

	base_assert_held(&window_lock);
	while (lowest_word < words && !~taken[lowest_word])
		lowest_word++;
	for (uint32_t i = lowest_word * WORD_BITS; i < segment_window.count;
	     i++) {
		if (!(i % WORD_BITS) && !~taken[i / WORD_BITS]) {
			i += WORD_BITS - 1;
			found = 0;
			continue;
		}
		found = is_taken(i) ? 0 : found + 1;
		if (found == run)
			return i + 1 - run;
	}
	return 0;
}

/* Where the machine has huge pages for who asks. */
static void
advise(uint32_t index, uint8_t wanted)
{
	struct segment *s = segment_at(index);

	if (s->advice == wanted)
		return;
	s->advice = wanted;
	madvise(segment_address(index), SEGMENT_BYTES,
		wanted == SEGMENT_PAGES_HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

static bool
make_ready(uint32_t index, uint32_t run)
{
	for (uint32_t i = index; i < index + run; i++) {
		struct segment *s = segment_at(i);

		if (s->ready)
			continue;
		if (base_fault("segment_take") ||
		    mprotect(segment_address(i), SEGMENT_BYTES,
			     PROT_READ | PROT_WRITE) != 0)
			return false;
		s->ready = true;
	}
	return true;
}

uint32_t
segment_take(uint32_t run, bool huge)
{
	uint32_t index;

	base_lock(&window_lock);
	index = find_locked(run);
	if (index)
		mark(index, run, true);
	if (index + run > atomic_load(&high))
		atomic_store_explicit(&high, index + run, memory_order_release);
	base_unlock(&window_lock);
	if (!index)
		return 0;
	for (uint32_t i = index; i < index + run; i++)
		atomic_store(&segment_at(i)->state,
			     i == index ? SEGMENT_TAKEN : SEGMENT_TAIL);
	segment_at(index)->run = run;
	if (!make_ready(index, run)) {
		segment_give(index);
		return 0;
	}
	for (uint32_t i = index; i < index + run; i++)
		advise(i, huge && (run == 1 || i + 1 < index + run) ?
				  SEGMENT_PAGES_HUGE :
				  SEGMENT_PAGES_SMALL);
	return index;
}

uint32_t
segment_open(uint32_t index, uint32_t owner)
{
	struct segment *s = segment_at(index);

	base_assert(atomic_load(&s->state) == SEGMENT_TAKEN);
	base_assert(atomic_load(&s->pins) == 0);
	base_assert(atomic_load(&segment_window.tickets[index]) == 0);
	s->generation = s->generation % SLOT_GENERATION_MAX + 1;
	s->owner = owner;
	s->filled_bytes = 0;
	s->entries = 0;
	atomic_store_explicit(&s->dead_bytes, 0, memory_order_relaxed);
	atomic_store_explicit(&s->dead_entries, 0, memory_order_relaxed);
	atomic_fetch_add_explicit(&opens, 1, memory_order_relaxed);
	atomic_store_explicit(&s->state, SEGMENT_OPEN, memory_order_relaxed);
	atomic_store_explicit(&segment_window.tickets[index],
			      segment_ticket(owner, s->generation),
			      memory_order_release);
	return s->generation;
}

void
segment_unopen(uint32_t index)
{
	atomic_store(&segment_window.tickets[index], 0);
	atomic_store(&segment_at(index)->state, SEGMENT_TAKEN);
}

void
segment_seal(uint32_t index, uint32_t filled_bytes, uint32_t entries,
	     uint64_t order)
{
	struct segment *s = segment_at(index);

	s->filled_bytes = filled_bytes;
	s->entries = entries;
	s->sealed_order = order;
	s->sealed_grace = atomic_load(&grace_begun);
	atomic_store_explicit(&s->state, SEGMENT_SEALED, memory_order_release);
}

bool
segment_close(uint32_t index)
{
	if (!atomic_exchange(&segment_window.tickets[index], 0))
		return false;
	atomic_store(&segment_at(index)->state, SEGMENT_CLOSED);
	return true;
}

void
segment_grace(void)
{
	uint32_t mine = atomic_fetch_add(&grace_begun, 1) + 1;

	rcu_synchronize();
	atomic_store(&grace_over, mine);
}

bool
segment_is_settled(const struct segment *s)
{
	return (int32_t)(atomic_load(&grace_over) - s->sealed_grace) > 0;
}

void
segment_populate(uint32_t index)
{
	int error = errno;

	madvise(segment_address(index), SEGMENT_BYTES, MADV_POPULATE_WRITE);
	errno = error;
}

void
segment_return(uint32_t index, uint32_t count)
{
	size_t bytes = count * SEGMENT_BYTES;

	madvise(segment_address(index), bytes, MADV_DONTNEED);
	core_count(&core_counters.returned_bytes, bytes);
}

void
segment_give(uint32_t index)
{
	uint32_t run = segment_at(index)->run;

	for (uint32_t i = index; i < index + run; i++)
		atomic_store(&segment_at(i)->state, SEGMENT_FREE);
	segment_at(index)->charged_bytes = 0;
	base_lock(&window_lock);
	mark(index, run, false);
	if (index / WORD_BITS < lowest_word)
		lowest_word = index / WORD_BITS;
	base_unlock(&window_lock);
}

void
segment_pin(uint32_t index)
{
	struct segment *s = segment_at(index);

	if (!atomic_fetch_add(&s->pins, 1))
		atomic_fetch_add(&owners[s->owner].pinned, 1);
}

/* Whoever gets it from ORPHAN back to TAKEN has it for himself. */
static bool
claim_orphan(struct segment *s)
{
	uint32_t orphan = SEGMENT_ORPHAN;

	return atomic_load(&s->state) == SEGMENT_ORPHAN &&
	       !atomic_load(&s->pins) &&
	       atomic_compare_exchange_strong(&s->state, &orphan,
					      SEGMENT_TAKEN);
}

void
segment_unpin(uint32_t index)
{
	struct segment *s = segment_at(index);
	uint32_t owner = s->owner;
	uint32_t before = atomic_fetch_sub(&s->pins, 1);

	base_assert(before > 0); /* a ref was put twice */
	if (before > 1)
		return;
	atomic_fetch_sub(&owners[owner].pinned, 1);
	if (claim_orphan(s)) {
		owner = s->owner;
		segment_return(index, s->run);
		segment_give(index);
		segment_owner_put(owner);
	}
}

bool
segment_orphan(uint32_t index)
{
	struct segment *s = segment_at(index);

	atomic_fetch_add(&owners[s->owner].held, 1);
	atomic_store(&s->state, SEGMENT_ORPHAN);
	if (!claim_orphan(s))
		return false;
	segment_owner_put(s->owner);
	return true;
}

uint32_t
segment_owner_get(void)
{
	for (uint32_t i = 1; i < SEGMENT_OWNERS_MAX; i++) {
		uint32_t nobody = 0;

		if (!atomic_load_explicit(&owners[i].held,
					  memory_order_relaxed) &&
		    atomic_compare_exchange_strong(&owners[i].held, &nobody, 1))
			return i;
	}
	return 0;
}

void
segment_owner_put(uint32_t owner)
{
	uint32_t before = atomic_fetch_sub(&owners[owner].held, 1);

	base_assert(before > 0);
}

uint32_t
segment_owner_pinned(uint32_t owner)
{
	return atomic_load_explicit(&owners[owner].pinned,
				    memory_order_relaxed);
}

/* Nobody waits for a grace period here, and readers are this thread alone. */
void
segment_fork_child(void)
{
	atomic_store(&grace_over, atomic_load(&grace_begun));
}
