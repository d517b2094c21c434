/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The index: its size, and the memory of it.
 *
 * A table of n buckets, 2^level <= n < 2^(level + 1), grows by splitting
 * bucket n - 2^level into itself and bucket n, by bit `level` of the hash:
 * from level 14 on the tag in the slot has it, below the key is hashed anew.
 * It shrinks by the reverse. The order of stores is that of index.c: copy,
 * then table, then clear.
 *
 * Called by cache.c after a put (index_grow) and by evict.c when much has
 * gone (index_trim) or generations come round (index_sweep), all inside
 * writers' sections. One resize at a time: who finds resize_lock taken leaves
 * it to the other.
 *
 * Memory: one reservation of address space, made readable in pieces as the
 * table grows, purged from its end as it shrinks. Overflow buckets are a pool
 * of the same kind; 64 of them are a page and a word of pool_taken, so an
 * empty word is a page to purge. The lowest free one is taken first.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/rcu.h"
#include "cache/hash.h"
#include "cache/index.h"
#include "pressure/gate.h"

#define BUCKETS_MIN 64u /* a page */
#define BUCKETS_LIMIT (1u << 28)
#define COMMIT_BYTES (64ul << 10)
#define HUGE_BYTES (2ul << 20)
#define HUGE_FROM_BYTES (4ul << 20)
#define PAGE_BYTES 4096ul
#define POOL_PAGE_BUCKETS 64u
/* Entries for each bucket, times 4, beyond and below which it is resized:
 * a table of seven slots a bucket that is half split has 15 bytes an entry,
 * overflow included. */
#define GROW_LOAD 21u
#define TRIM_LOAD 16u

static size_t
pool_bitmap_bytes(const struct index *index)
{
	return index->overflow_max / 8;
}

static size_t
reservation_bytes(const struct index *index)
{
	return (size_t)(index->buckets_max + index->overflow_max) *
		       sizeof(struct bucket) +
	       pool_bitmap_bytes(index) + HUGE_BYTES;
}

/* For caches of all memory with entries of 100 bytes. */
static uint32_t
buckets_wanted(void)
{
	struct sysinfo machine;
	struct rlimit limit;
	uint64_t bytes = 1ull << 30;
	uint32_t buckets = 1u << 16;

	if (sysinfo(&machine) == 0)
		bytes = (uint64_t)machine.totalram * machine.mem_unit;
	if (getrlimit(RLIMIT_AS, &limit) == 0 &&
	    limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur / 4 < bytes)
		bytes = limit.rlim_cur / 4;
	while (buckets < BUCKETS_LIMIT && buckets < bytes / 512)
		buckets *= 2;
	return buckets;
}

static bool
reserve(struct index *index)
{
	void *p;

	index->overflow_max = index->buckets_max / 2;
	p = base_fault("cache_index") ?
		    MAP_FAILED :
		    mmap(NULL, reservation_bytes(index), PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return false;
	/* The first huge page begins with the first bucket. */
	index->mapping = p;
	p = (void *)(((uintptr_t)p + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1));
	index->buckets = p;
	index->overflow = index->buckets + index->buckets_max;
	index->pool_taken = (uint64_t *)(void *)(index->overflow +
						 index->overflow_max);
	return true;
}

static bool
make_ready(void *address, size_t bytes)
{
	if (base_fault("cache_index_grow") ||
	    mprotect(address, bytes, PROT_READ | PROT_WRITE) != 0)
		return false;
	gate_charge(bytes);
	return true;
}

int
index_open(struct index *index, uint32_t owner)
{
	*index = (struct index){
		.owner = owner,
		.pool_lock = BASE_LOCK(BASE_RANK_CACHE_POOL),
		.resize_lock = BASE_LOCK(BASE_RANK_CACHE_RESIZE),
	};
	for (index->buckets_max = buckets_wanted(); !reserve(index);
	     index->buckets_max /= 2)
		if (index->buckets_max <= 1u << 12)
			return -ENOMEM;
	if (base_fault("cache_index_open") ||
	    mprotect(index->buckets, BUCKETS_MIN * sizeof(struct bucket),
		     PROT_READ | PROT_WRITE) != 0 ||
	    mprotect(index->pool_taken, pool_bitmap_bytes(index),
		     PROT_READ | PROT_WRITE) != 0) {
		index_close(index);
		return -ENOMEM;
	}
	index->ready_bytes = BUCKETS_MIN * sizeof(struct bucket);
	index->pool_taken[0] = 1; /* 0 is no bucket */
	atomic_store(&index->table, BUCKETS_MIN);
	return 0;
}

void
index_close(struct index *index)
{
	munmap(index->mapping, reservation_bytes(index));
	index->buckets = NULL;
}

/* ---- the pool of overflow buckets ---- */

static bool
pool_make_ready(struct index *index, uint32_t which)
{
	size_t needed = (size_t)(which + 1) * sizeof(struct bucket);

	while (index->pool_ready_bytes < needed) {
		if (!make_ready((char *)index->overflow +
					index->pool_ready_bytes,
				COMMIT_BYTES))
			return false;
		index->pool_ready_bytes += COMMIT_BYTES;
	}
	return true;
}

uint32_t
index_pool_get(struct index *index)
{
	uint32_t words = index->overflow_max / POOL_PAGE_BUCKETS;
	uint32_t which = 0;

	base_lock(&index->pool_lock);
	while (index->pool_hint < words &&
	       !~index->pool_taken[index->pool_hint])
		index->pool_hint++;
	if (index->pool_hint < words) {
		uint64_t *word = &index->pool_taken[index->pool_hint];

		which = index->pool_hint * POOL_PAGE_BUCKETS +
			(uint32_t)__builtin_ctzll(~*word);
		if (pool_make_ready(index, which)) {
			if (!*word || (which < POOL_PAGE_BUCKETS && *word == 1))
				atomic_fetch_add(&index->pool_bytes,
						 PAGE_BYTES);
			*word |= 1ull << which % POOL_PAGE_BUCKETS;
			index->pool_used++;
		} else {
			which = 0;
		}
	}
	base_unlock(&index->pool_lock);
	return which;
}

void
index_pool_put(struct index *index, uint32_t which)
{
	uint32_t word = which / POOL_PAGE_BUCKETS;

	base_lock(&index->pool_lock);
	base_assert(index->pool_taken[word] >> which % POOL_PAGE_BUCKETS & 1);
	index->pool_taken[word] &= ~(1ull << which % POOL_PAGE_BUCKETS);
	index->pool_used--;
	if (word < index->pool_hint)
		index->pool_hint = word;
	base_unlock(&index->pool_lock);
}

/* Purges the pages in which no bucket is taken. */
void
index_pool_trim(struct index *index)
{
	size_t pages, kept = 0;

	base_lock(&index->pool_lock);
	pages = index->pool_ready_bytes / PAGE_BYTES;
	for (size_t i = 0; i < pages; i++) {
		size_t from = i;

		while (i < pages && !index->pool_taken[i])
			i++;
		if (i > from)
			madvise((char *)index->overflow + from * PAGE_BYTES,
				(i - from) * PAGE_BYTES, MADV_DONTNEED);
		kept += i < pages;
	}
	atomic_store(&index->pool_bytes, kept * PAGE_BYTES);
	base_unlock(&index->pool_lock);
}

/* ---- resizing ---- */

static uint32_t
level_of(uint32_t buckets)
{
	return 31 - (uint32_t)__builtin_clz(buckets);
}

/* Bit `level` of the hash of what the slot, a current one, points to. */
static bool
goes_up(uint64_t slot, uint32_t level)
{
	const struct entry *e;

	if (level >= SLOT_TAG_FROM)
		return slot_tag(slot) >> (level - SLOT_TAG_FROM) & 1;
	e = index_entry(slot);
	return hash_bytes(entry_key(e), e->key_bytes) >> level & 1;
}

/* Calls `each` for every current slot of a locked chain. */
static int
for_each(struct index *index, struct bucket *first,
	 int (*each)(struct index *, _Atomic uint64_t *, void *), void *context)
{
	struct bucket *b = first;
	uint64_t link;

	for (;;) {
		for (int i = 0; i < INDEX_SLOTS; i++) {
			uint64_t slot = atomic_load_explicit(
				&b->slots[i], memory_order_acquire);
			int error;

			if (!slot || !segment_is_current(index->owner, slot))
				continue;
			error = each(index, &b->slots[i], context);
			if (error)
				return error;
		}
		link = index_link(b);
		if (!link)
			return 0;
		b = &index->overflow[link];
	}
}

struct resize {
	struct bucket *to;
	uint32_t level;
	bool all; /* merging: whatever there is */
};

static int
copy_slot(struct index *index, _Atomic uint64_t *place, void *context)
{
	struct resize *r = context;
	uint64_t slot = atomic_load_explicit(place, memory_order_relaxed);

	return r->all || goes_up(slot, r->level) ?
		       index_append(index, r->to, slot) :
		       0;
}

static int
clear_slot(struct index *index, _Atomic uint64_t *place, void *context)
{
	struct resize *r = context;

	(void)index;
	if (r->all || goes_up(atomic_load_explicit(place, memory_order_relaxed),
			      r->level))
		atomic_store_explicit(place, 0, memory_order_release);
	return 0;
}

/* Takes one slot back out of a chain: a resize that could not be ended. */
static int
uncopy_slot(struct index *index, _Atomic uint64_t *place, void *context)
{
	struct resize *r = context;
	uint64_t slot = atomic_load_explicit(place, memory_order_relaxed);
	struct bucket *b = r->to;
	uint64_t link;

	for (;;) {
		for (int i = 0; i < INDEX_SLOTS; i++)
			if (atomic_load_explicit(&b->slots[i],
						 memory_order_relaxed) == slot)
				atomic_store_explicit(&b->slots[i], 0,
						      memory_order_release);
		link = index_link(b);
		if (!link)
			return 0;
		b = &index->overflow[link];
	}
}

/* With both locked: what is to move goes from one to the other. */
static bool
move_slots(struct index *index, struct bucket *from, struct resize *r,
	   uint64_t table_after)
{
	if (for_each(index, from, copy_slot, r) != 0) {
		for_each(index, from, uncopy_slot, r);
		index_compact(index, r->to);
		return false;
	}
	atomic_store_explicit(&index->table, table_after, memory_order_release);
	for_each(index, from, clear_slot, r);
	index_compact(index, from);
	index_bump(from);
	index_bump(r->to);
	return true;
}

static uint64_t
table_of(uint64_t before, uint32_t buckets)
{
	return ((before >> 32) + 1) << 32 | buckets;
}

/* With resize_lock held: more of the reservation can be used. */
static bool
extend_locked(struct index *index)
{
	char *at = (char *)index->buckets + index->ready_bytes;
	size_t bytes = COMMIT_BYTES;

	base_assert_held(&index->resize_lock);
	/* Up to a whole huge page, and from then on those. */
	if (index->ready_bytes >= HUGE_FROM_BYTES)
		bytes = HUGE_BYTES - index->ready_bytes % HUGE_BYTES;
	if (!make_ready(at, bytes))
		return false;
	if (bytes == HUGE_BYTES)
		madvise(at, bytes, MADV_HUGEPAGE);
	index->ready_bytes += bytes;
	return true;
}

/* With resize_lock held: one bucket more. */
static bool
split_locked(struct index *index)
{
	uint64_t table = atomic_load(&index->table);
	uint32_t n = index_buckets(table), level = level_of(n);
	struct bucket *low = &index->buckets[n - (1u << level)];
	struct bucket *high = &index->buckets[n];
	struct resize r = { .to = high, .level = level };
	bool done;

	base_assert_held(&index->resize_lock);
	if (n >= index->buckets_max)
		return false;
	if ((n + 1) * sizeof *high > index->ready_bytes &&
	    !extend_locked(index))
		return false;
	index_lock(low);
	index_lock(high);
	done = move_slots(index, low, &r, table_of(table, n + 1));
	index_unlock(high);
	index_unlock(low);
	return done;
}

/* With resize_lock held: one bucket less. */
static bool
merge_locked(struct index *index)
{
	uint64_t table = atomic_load(&index->table);
	uint32_t n = index_buckets(table) - 1;
	struct bucket *low = &index->buckets[n - (1u << level_of(n))];
	struct bucket *high = &index->buckets[n];
	struct resize r = { .to = low, .all = true };
	bool done;

	base_assert_held(&index->resize_lock);
	index_lock(low);
	index_lock(high);
	done = move_slots(index, high, &r, table_of(table, n));
	index_unlock(high);
	index_unlock(low);
	return done;
}

static uint64_t
load_of(const struct index *index, uint32_t per_bucket)
{
	return (uint64_t)index_buckets(atomic_load_explicit(
		       &index->table, memory_order_relaxed)) *
	       per_bucket / 4;
}

void
index_grow(struct index *index)
{
	if (base_likely(atomic_load_explicit(&index->entries,
					     memory_order_relaxed) <=
			load_of(index, GROW_LOAD)))
		return;
	if (!base_trylock(&index->resize_lock))
		return;
	/* Two for one that came: it catches up with what others left. */
	for (int i = 0; i < 2; i++)
		if (atomic_load(&index->entries) > load_of(index, GROW_LOAD) &&
		    !split_locked(index))
			break;
	base_unlock(&index->resize_lock);
}

bool
index_is_loose(const struct index *index)
{
	return atomic_load(&index->entries) < load_of(index, TRIM_LOAD) &&
	       index_buckets(atomic_load(&index->table)) > BUCKETS_MIN;
}

bool
index_trim(struct index *index, uint64_t until_ns)
{
	bool more = true;

	if (!base_trylock(&index->resize_lock))
		return true;
	while (more && clock_now_ns() < until_ns)
		for (int i = 0; i < 64 && more; i++)
			more = index_buckets(atomic_load(&index->table)) >
				       BUCKETS_MIN &&
			       atomic_load(&index->entries) <
				       load_of(index, GROW_LOAD - 2) &&
			       merge_locked(index);
	base_unlock(&index->resize_lock);
	return !more;
}

void
index_purge(struct index *index, uint32_t buckets)
{
	uint32_t now;
	size_t used;

	base_lock(&index->resize_lock);
	now = index_buckets(atomic_load(&index->table));
	used = (size_t)(now > buckets ? now : buckets) * sizeof(struct bucket);
	used = (used + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	if (index->ready_bytes > used)
		madvise((char *)index->buckets + used,
			index->ready_bytes - used, MADV_DONTNEED);
	base_unlock(&index->resize_lock);
	index_pool_trim(index);
}

uint64_t
index_bytes(const struct index *index)
{
	uint64_t bytes = (uint64_t)index_buckets(atomic_load_explicit(
				 &index->table, memory_order_relaxed)) *
			 sizeof(struct bucket);
	uint64_t unit = bytes > HUGE_FROM_BYTES ? HUGE_BYTES : PAGE_BYTES;

	return ((bytes + unit - 1) & ~(unit - 1)) +
	       atomic_load_explicit(&index->pool_bytes, memory_order_relaxed);
}

void
index_sweep(struct index *index, uint32_t from, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t n = index_buckets(atomic_load_explicit(
			&index->table, memory_order_acquire));
		struct bucket *b = &index->buckets[from + i];

		if (from + i >= n)
			return;
		index_lock(b);
		index_compact(index, b);
		index_unlock(b);
	}
}

void
index_fork_child(struct index *index)
{
	pthread_mutex_init(&index->resize_lock.mutex, NULL);
	pthread_mutex_init(&index->pool_lock.mutex, NULL);
}
