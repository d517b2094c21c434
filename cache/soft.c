/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Soft references: a table of slots, whose numbers are the handles.
 *
 *	handle: [turn 32][number 32], a turn is never 0
 *	slot:   as of a key, the tag being the low 15 bits of the turn; in the
 *	        table the segment comes first, which takes a reader less
 *
 * spw_soft_alloc() bumps a segment as a put does, the handle for a key;
 * spw_soft_read() is a load, a compare and the ticket; a merge moves the slot
 * by compare and swap, which fails when it was freed meanwhile.
 *
 * The table is address space of its own, made readable in pieces; a freed
 * number is the next that is given, its link in `turns` while it is free.
 * `lock` guards giving and freeing, never reading.
 */
#include "cache/soft.h"

#include <errno.h>
#include <sys/mman.h>

#include <spillway/soft.h>

#include "base/elsewhere.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/rcu.h"
#include "cache/cache.h"
#include "pressure/gate.h"

#define NUMBERS_MAX (1u << 28)
#define COMMIT_BYTES (64ul << 10)
#define ALIGNMENT 16u
#define FIRST_BITS (64 - SLOT_SEGMENT_BITS - SLOT_OFFSET_BITS)

/* Of each number: how often it was given; while it is free, also the next
 * free one. */
struct turn {
	uint32_t count;
	uint32_t next; /* UINT32_MAX: it is in use */
};

#define IN_USE UINT32_MAX

static uint32_t
number_of(uint64_t handle)
{
	return (uint32_t)handle;
}

uint32_t
soft_tag(uint64_t handle)
{
	return (uint32_t)(handle >> 32) & ((1u << SLOT_TAG_BITS) - 1);
}

/* What is compiled into programs knows slots and entries by these. */
_Static_assert(offsetof(struct spw_cache, soft) == 0 &&
		       offsetof(struct soft_table, view) == 0 &&
		       sizeof(struct entry) == 8 &&
		       offsetof(struct entry, heat) == 6 && SLOT_UNIT == 8 &&
		       SLOT_OFFSET_BITS == 18 && SLOT_SEGMENT_BITS == 19 &&
		       SLOT_GENERATION_BITS == 12,
	       "spw_soft_read_inline()");

/* Readable before there is a table: number 0 is no handle. */
static const uint64_t no_slot;

static _Atomic uint64_t *
slots_of(const struct soft_table *table)
{
	const uint64_t *slots = __atomic_load_n(&table->view.slots,
						__ATOMIC_ACQUIRE);

	return slots == &no_slot ? NULL : (_Atomic uint64_t *)(uintptr_t)slots;
}

void
soft_init(struct spw_cache *c)
{
	struct soft_table *table = &c->soft;

	table->view = (struct spw_soft_view){
		.slots = &no_slot,
		.tickets =
			(const uint32_t *)(const void *)segment_window.tickets,
		.window = segment_window.base,
		.hottest = atomic_load(&c->eras.hottest),
		/* Debug builds read by the function, which asserts: of no
		 * segment is this the owner. */
		.owner = SPW_ASSERT_LEVEL < 2 ?
				 segment_ticket(c->index.owner, 0) :
				 UINT32_MAX,
	};
	table->lock = (struct base_lock)BASE_LOCK(BASE_RANK_CACHE_POOL);
	table->used = 1; /* 0 is no handle */
}

static size_t
slots_bytes(void)
{
	return NUMBERS_MAX * sizeof(uint64_t);
}

void
soft_close(struct soft_table *table)
{
	void *slots = slots_of(table);

	if (!slots)
		return;
	munmap(slots, slots_bytes());
	munmap(table->turns, NUMBERS_MAX * sizeof(struct turn));
}

static void *
reserve(size_t bytes)
{
	void *p = base_fault("soft_table") ?
			  MAP_FAILED :
			  mmap(NULL, bytes, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			       0);

	return p == MAP_FAILED ? NULL : p;
}

static int
open_locked(struct soft_table *table)
{
	void *slots = reserve(slots_bytes());

	base_assert_held(&table->lock);
	if (!slots)
		return -ENOMEM;
	table->turns = reserve(NUMBERS_MAX * sizeof(struct turn));
	if (!table->turns) {
		munmap(slots, slots_bytes());
		return -ENOMEM;
	}
	__atomic_store_n(&table->view.slots, (const uint64_t *)slots,
			 __ATOMIC_RELEASE);
	return 0;
}

static int
commit_locked(struct soft_table *table, uint32_t number)
{
	size_t needed = (number + 1) * sizeof(uint64_t);

	base_assert_held(&table->lock);
	if (number >= NUMBERS_MAX)
		return -ENOMEM;
	while (table->ready_bytes < needed) {
		char *slots = (char *)(uintptr_t)slots_of(table) +
			      table->ready_bytes;
		char *turns = (char *)table->turns + table->ready_bytes;

		if (base_fault("soft_commit") ||
		    mprotect(slots, COMMIT_BYTES, PROT_READ | PROT_WRITE) !=
			    0 ||
		    mprotect(turns, COMMIT_BYTES, PROT_READ | PROT_WRITE) != 0)
			return -ENOMEM;
		gate_charge(2 * COMMIT_BYTES);
		table->ready_bytes += COMMIT_BYTES;
	}
	return 0;
}

/* A number nobody has: the handle, or 0. */
static uint64_t
handle_get(struct soft_table *table)
{
	uint64_t handle = 0;
	uint32_t number;
	int error = 0;

	base_lock(&table->lock);
	if (!slots_of(table))
		error = open_locked(table);
	number = table->free ? table->free : table->used;
	if (!error)
		error = commit_locked(table, number);
	if (!error) {
		struct turn *turn = &table->turns[number];

		if (number == table->free)
			table->free = turn->next;
		else
			table->used++;
		turn->next = IN_USE;
		if (++turn->count == 0)
			turn->count = 1;
		handle = (uint64_t)turn->count << 32 | number;
	}
	base_unlock(&table->lock);
	return handle;
}

static void
handle_put(struct soft_table *table, uint64_t handle)
{
	struct turn *turn = &table->turns[number_of(handle)];

	base_lock(&table->lock);
	turn->next = table->free;
	table->free = number_of(handle);
	base_unlock(&table->lock);
}

static _Atomic uint64_t *
place_of(const struct spw_cache *c, uint64_t handle)
{
	return &slots_of(&c->soft)[number_of(handle)];
}

/* A slot as it is in the table, and back; 0 is 0. */
static uint64_t
stored(uint64_t slot)
{
	return slot << FIRST_BITS | slot >> (64 - FIRST_BITS);
}

static uint64_t
unstored(uint64_t slot)
{
	return slot >> FIRST_BITS | slot << (64 - FIRST_BITS);
}

/* From now on nobody else can free it: false, it was not given out. */
static bool
handle_end(struct soft_table *table, uint64_t handle)
{
	uint32_t number = number_of(handle);
	bool live;

	base_lock(&table->lock);
	live = number && number < table->used &&
	       table->turns[number].count == handle >> 32 &&
	       table->turns[number].next == IN_USE;
	if (live)
		table->turns[number].next = 0;
	base_unlock(&table->lock);
	return live;
}

/* An empty entry, which a walk steps over. */
static uint32_t
write_filler(const struct space *space, uint32_t offset)
{
	struct entry *e = (struct entry *)(void *)(segment_address(
							   space->segment) +
						   offset);

	e->value_word = 0;
	e->key_bytes = 0;
	atomic_store_explicit(&e->heat, 0, memory_order_relaxed);
	return offset + (uint32_t)sizeof *e;
}

/* The entry in a place of `room` bytes, its value aligned: where. */
static uint32_t
write_entry(const struct spw_cache *c, const struct space *space, size_t room,
	    size_t bytes, uint64_t handle)
{
	uint32_t offset = space->offset_bytes, at;
	struct entry *e;

	if (offset % ALIGNMENT)
		offset = write_filler(space, offset);
	e = (struct entry *)(void *)(segment_address(space->segment) + offset);
	e->value_word = (uint32_t)bytes | ENTRY_SOFT;
	e->key_bytes = sizeof handle;
	atomic_store_explicit(&e->heat, era_heat(&c->eras, 0),
			      memory_order_relaxed);
	memcpy(entry_key(e), &handle, sizeof handle);
	for (at = offset + (uint32_t)entry_bytes(e);
	     at < space->offset_bytes + room;)
		at = write_filler(space, at);
	return offset;
}

SPW_EXPORT int
spw_soft_alloc(struct spw_cache *c, size_t bytes, spw_soft_t *soft, void **fill)
{
	const struct entry empty = { 0 };
	size_t room;
	struct space space;
	uint64_t handle, slot;
	uint32_t offset;
	int error;

	ELSEWHERE(spw_soft_alloc, c, bytes, soft, fill);
	if (!c || !soft || !fill)
		return -EINVAL;
	base_assert_walk(rcu_is_reading());
	*soft = 0;
	*fill = NULL;
	if (bytes > SPW_CACHE_VALUE_MAX ||
	    (c->max_bytes && bytes > c->max_bytes))
		return -E2BIG;
	room = entry_bytes_of(sizeof handle, bytes, false);
	handle = handle_get(&c->soft);
	if (!handle)
		return -ENOMEM;
	if (room <= SPACE_SHARED_MAX)
		room += sizeof(struct entry); /* to align it */
	error = cache_place(c, &empty, room, &space);
	if (error) {
		handle_put(&c->soft, handle);
		return error;
	}
	offset = write_entry(c, &space, room, bytes, handle);
	slot = slot_make(space.segment, space.generation, offset,
			 soft_tag(handle));
	/* Not one of the index: the books of its segment leave it out. */
	atomic_fetch_add(&segment_at(space.segment)->dead_entries, 1);
	atomic_store_explicit(place_of(c, handle), stored(slot),
			      memory_order_release);
	if (room > SPACE_SHARED_MAX)
		space_seal_run(c, space.segment, room);
	writer_leave();
	*fill = entry_value(index_entry(slot));
	*soft = handle;
	return 0;
}

__attribute__((noinline, cold)) static const void *
read_elsewhere(struct spw_cache *c, spw_soft_t soft)
{
	ELSEWHERE(spw_soft_read, c, soft);
	return NULL;
}

SPW_EXPORT const void *(spw_soft_read)(struct spw_cache *c, spw_soft_t soft)
{
	uint64_t found, slot;
	struct entry *e;
	bool current;

	if (base_unlikely(elsewhere_is))
		return read_elsewhere(c, soft);
	base_assert_walk(rcu_is_reading());
	if (!soft)
		return NULL;
	do {
		found = atomic_load_explicit(place_of(c, soft),
					     memory_order_acquire);
		slot = unstored(found);
		current = segment_is_current(c->index.owner, slot);
		/* Moved, and closed behind us: as in index_find(). */
	} while (base_unlikely(
		atomic_load_explicit(place_of(c, soft), memory_order_acquire) !=
		found));
	if (base_unlikely(!current || slot_tag(slot) != soft_tag(soft) ||
			  !slot))
		return NULL;
	e = index_entry(slot);
	/* The tag is a part of the turn: the entry has all of the handle. */
	if (base_unlikely(hash_read64((unsigned char *)(e + 1)) != soft))
		return NULL;
	era_touch(&c->eras, e, &writer_here.dice);
	return (char *)(e + 1) + sizeof(uint64_t);
}

SPW_EXPORT void
spw_soft_free(struct spw_cache *c, spw_soft_t soft)
{
	uint64_t slot;
	bool live;

	ELSEWHERE(spw_soft_free, c, soft);
	if (!c || !soft)
		return;
	live = handle_end(&c->soft, soft);
	base_assert_walk(live);
	if (!live) {
		log_write(SPW_LOG_ERROR,
			  "cache %s: a soft reference is freed twice", c->name);
		return;
	}
	writer_enter();
	slot = unstored(atomic_exchange(place_of(c, soft), 0));
	if (slot && segment_is_current(c->index.owner, slot))
		cache_forget_bytes(c, slot);
	writer_leave();
	handle_put(&c->soft, soft);
}

bool
soft_is_at(const struct spw_cache *c, uint64_t handle, uint64_t slot)
{
	return atomic_load_explicit(place_of(c, handle),
				    memory_order_relaxed) == stored(slot);
}

bool
soft_move(struct spw_cache *c, uint64_t handle, uint64_t from, uint64_t to)
{
	uint64_t expected = stored(from);

	/* As in spw_soft_alloc(). Of the old one, the copy has gone along. */
	atomic_fetch_add(&segment_at(slot_segment(to))->dead_entries, 1);
	if (atomic_compare_exchange_strong(place_of(c, handle), &expected,
					   stored(to))) {
		cache_forget_bytes(c, from);
		return true;
	}
	atomic_fetch_sub(&segment_at(slot_segment(to))->dead_entries, 1);
	return false;
}

void
soft_sweep(struct spw_cache *c)
{
	_Atomic uint64_t *slots = slots_of(&c->soft);
	uint32_t used;

	if (!slots)
		return;
	base_lock(&c->soft.lock);
	used = c->soft.used;
	base_unlock(&c->soft.lock);
	for (uint32_t i = 1; i < used; i++) {
		uint64_t slot = atomic_load_explicit(&slots[i],
						     memory_order_relaxed);

		/* Fails where it was moved or freed meanwhile: it is no
		 * longer stale then. */
		if (slot && !segment_is_current(c->index.owner, unstored(slot)))
			atomic_compare_exchange_strong(&slots[i], &slot, 0);
	}
}

uint64_t
soft_bytes(struct soft_table *table)
{
	uint64_t bytes;

	base_lock(&table->lock);
	bytes = table->ready_bytes + table->ready_bytes; /* slots, turns */
	base_unlock(&table->lock);
	return bytes;
}

void
soft_fork_child(struct soft_table *table)
{
	pthread_mutex_init(&table->lock.mutex, NULL);
}
