/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Soft references to objects of Boehm's collector.
 *
 * spw_gc_soft_*() on threads of the program's; boehm_soft_weaken() and
 * _strengthen() around a collection, on the bridge's thread.
 *
 * A slot holds the object twice: `strong`, which the collector sees (slots are
 * uncollectable memory of its own), and `hidden`, its complement, which it
 * does not see and zeroes when the object goes (a disappearing link). Under
 * pressure slots that were not read since the last time lose `strong`; what
 * nobody else holds is collected, the rest gets `strong` back.
 *
 * A reader that saw `strong` has the object in a register, where the collector
 * looks. One that finds NULL asks under libgc's lock, where no collection
 * runs; so does _strengthen(). `lock` guards the list of free slots and is
 * never held while libgc is called: a finalizer may free a slot.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include <spillway/gc.h>

#include "base/elsewhere.h"
#include "base/lock.h"
#include "base/log.h"
#include "gc-bridge/boehm.h"

#define CHUNK_SLOTS 255
#define FREED UINT32_MAX

struct spw_gc_soft {
	_Atomic(void *) strong;
	void *hidden; /* ~object; 0: it went. Guarded by libgc's lock. */
	_Atomic uint32_t stamp;
	struct spw_gc_soft *next; /* free. Guarded by lock. */
};

struct chunk {
	struct chunk *next;
	struct spw_gc_soft slots[CHUNK_SLOTS];
};

static struct base_lock lock = BASE_LOCK(BASE_RANK_GC_SOFT);
static struct spw_gc_soft *unused; /* Guarded by lock. */
static _Atomic(struct chunk *) chunks;
static _Atomic uint32_t epoch = 1;

/* In debug builds a freed slot is found, and named. */
static void
check(uint32_t stamp, const char *what)
{
#if SPW_ASSERT_LEVEL >= 2
	if (stamp == FREED)
		log_write(SPW_LOG_ERROR, "gc boehm: soft reference %s", what);
#endif
	(void)what;
	base_assert_walk(stamp != FREED);
}

static bool
is_there(void)
{
	return boehm_find() && boehm_is_armed() &&
	       boehm()->malloc_uncollectable &&
	       boehm()->general_register_disappearing_link &&
	       boehm()->unregister_disappearing_link;
}

static void
use_again(struct spw_gc_soft *slot)
{
	base_lock(&lock);
	slot->next = unused;
	unused = slot;
	base_unlock(&lock);
}

static bool
make_chunk(void)
{
	struct chunk *c = boehm()->malloc_uncollectable(sizeof *c);

	if (!c)
		return false;
	lock_fork_add(&lock);
	memset(c, 0, sizeof *c);
	for (unsigned i = 0; i < CHUNK_SLOTS; i++)
		atomic_store(&c->slots[i].stamp, FREED);
	c->next = atomic_load(&chunks);
	while (!atomic_compare_exchange_weak(&chunks, &c->next, c))
		;
	for (unsigned i = 0; i < CHUNK_SLOTS; i++)
		use_again(&c->slots[i]);
	return true;
}

static struct spw_gc_soft *
take_slot(void)
{
	struct spw_gc_soft *slot;

	do {
		base_lock(&lock);
		slot = unused;
		if (slot)
			unused = slot->next;
		base_unlock(&lock);
	} while (!slot && make_chunk());
	return slot;
}

SPW_EXPORT int
spw_gc_soft_new(struct spw_gc_soft **out, void *object)
{
	struct spw_gc_soft *slot;

	ELSEWHERE(spw_gc_soft_new, out, object);
	if (!out)
		return -EINVAL;
	*out = NULL;
	if (!is_there())
		return -ENOTSUP;
	if (!object || boehm()->base(object) != object)
		return -EINVAL;
	slot = take_slot();
	if (!slot)
		return -ENOMEM;
	slot->hidden = (void *)~(uintptr_t)object;
	if (boehm()->general_register_disappearing_link(&slot->hidden, object) >
	    1) {
		use_again(slot);
		return -ENOMEM;
	}
	atomic_store(&slot->stamp, atomic_load(&epoch));
	atomic_store(&slot->strong, object);
	*out = slot;
	return 0;
}

/* Under libgc's lock. */
static void *
reveal(void *argument)
{
	struct spw_gc_soft *slot = argument;
	void *object = slot->hidden ? (void *)~(uintptr_t)slot->hidden : NULL;

	atomic_store_explicit(&slot->strong, object, memory_order_relaxed);
	return object;
}

SPW_EXPORT void *
spw_gc_soft_get(struct spw_gc_soft *slot)
{
	uint32_t now = atomic_load_explicit(&epoch, memory_order_relaxed);
	uint32_t stamp;
	void *object;

	ELSEWHERE(spw_gc_soft_get, slot);
	stamp = atomic_load_explicit(&slot->stamp, memory_order_relaxed);
	check(stamp, "read after free");
	if (base_unlikely(stamp != now))
		atomic_store_explicit(&slot->stamp, now, memory_order_relaxed);
	object = atomic_load_explicit(&slot->strong, memory_order_acquire);
	if (base_likely(object != NULL))
		return object;
	return boehm()->call_with_alloc_lock(reveal, slot);
}

SPW_EXPORT void
spw_gc_soft_free(struct spw_gc_soft *slot)
{
	ELSEWHERE(spw_gc_soft_free, slot);
	if (!slot)
		return;
	check(atomic_load(&slot->stamp), "freed twice");
	atomic_store(&slot->stamp, FREED);
	boehm()->unregister_disappearing_link(&slot->hidden);
	slot->hidden = NULL;
	atomic_store(&slot->strong, NULL);
	use_again(slot);
}

void
boehm_soft_weaken(bool all)
{
	uint32_t now = atomic_fetch_add(&epoch, 1);

	for (struct chunk *c = atomic_load(&chunks); c; c = c->next)
		for (unsigned i = 0; i < CHUNK_SLOTS; i++) {
			struct spw_gc_soft *s = &c->slots[i];
			uint32_t stamp = atomic_load(&s->stamp);

			if (stamp != FREED && (all || stamp != now))
				atomic_store(&s->strong, NULL);
		}
}

/* Under libgc's lock, a chunk at a time. */
static void *
strengthen(void *argument)
{
	struct chunk *c = argument;

	for (unsigned i = 0; i < CHUNK_SLOTS; i++)
		if (atomic_load(&c->slots[i].stamp) != FREED)
			reveal(&c->slots[i]);
	return NULL;
}

void
boehm_soft_strengthen(void)
{
	for (struct chunk *c = atomic_load(&chunks); c; c = c->next)
		boehm()->call_with_alloc_lock(strengthen, c);
}
