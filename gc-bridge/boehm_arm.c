/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What must happen to libgc on the program's own thread, and its elastic heap.
 *
 * boehm_arm() is called behind GC_init() (boehm_init.c) or by
 * spw_gc_attach("boehm"). It
 *  - lets threads register. GC_allow_register_threads() also starts marker
 *    threads, which a program without threads does not have; while it runs,
 *    GC_parallel says that they are there (8.2 looks at that), so that the
 *    program's first own thread starts them as ever.
 *  - takes our writable data out of the roots: a small collection would take
 *    182 us instead of 19 for the sake of jemalloc's tables.
 *  - hooks the heap's growth. The hook runs under libgc's lock on a thread of
 *    the program's: it starts our threads once, and tunes.
 *
 * Elastic: libgc collects when as much was allocated as two thirds of what
 * lives (free_space_divisor 3), however much memory there is. While headroom is
 * plenty, that is twice what lives (1), and no less than a part of the headroom
 * (GC_set_min_bytes_allocd); as the headroom shrinks, libgc's own values are
 * back. No more: objects do not move, so that what is spread over a heap many
 * times its size keeps all of it, whoever asks. Plain stores that libgc reads
 * under its lock. In that plenty a large heap also grows by huge pages, which
 * go back faster; the first sweep ends that (boehm_sweep.c).
 */
#include "gc-bridge/boehm.h"

#include <stdatomic.h>

#include "alloc/huge.h"
#include "base/settings.h"
#include "gc-bridge/bridge.h"
#include "gc-bridge/symbols.h"
#include "pressure/core.h"

/* Of the headroom, what may be allocated between two collections. */
#define HEADROOM_SHARE 8
#define LEAST_BYTES (16ul << 20)
#define MOST_BYTES (128ul << 20)
/* So many times the heap must be free: it may triple, and others grow. */
#define HEADROOM_HEAPS 8
/* A huge page more or less does not matter to a heap of this size. */
#define HUGE_HEAP_BYTES (64ul << 20)

_Atomic bool boehm_grows;

static _Atomic bool armed, threads_seen;
static _Atomic int arming; /* threads inside GC_init() */
static void (*next_resize)(boehm_word bytes);
static size_t min_before; /* libgc's own values */
static boehm_word divisor_before;
/* What this thread mapped last: of it libgc makes a part of its heap. */
static __thread struct {
	void *address;
	size_t bytes;
} mapped;

bool
boehm_is_armed(void)
{
	return atomic_load(&armed) || atomic_load(&threads_seen);
}

/* UINT64_MAX: nobody knows yet. */
static bool
is_plenty(uint64_t headroom_bytes)
{
	return headroom_bytes < UINT64_MAX &&
	       headroom_bytes / HEADROOM_HEAPS >= boehm()->get_heap_size();
}

void
boehm_tune(uint64_t headroom_bytes)
{
	const struct boehm *b = boehm();
	uint64_t part = headroom_bytes < UINT64_MAX ?
				headroom_bytes / HEADROOM_SHARE :
				0;

	if (!atomic_load(&boehm_grows) || !b->set_min_bytes_allocd)
		return;
	if (divisor_before)
		b->set_free_space_divisor(
			is_plenty(headroom_bytes) ? 1 : divisor_before);
	if (part < LEAST_BYTES) {
		b->set_min_bytes_allocd(min_before);
		return;
	}
	b->set_min_bytes_allocd(part < MOST_BYTES ? part : MOST_BYTES);
}

void
boehm_mapped(void *address, size_t bytes)
{
	mapped.address = address;
	mapped.bytes = bytes;
}

/* A part of the heap has a header at its head. */
static void
ask_for_huge(size_t heap_bytes, uint64_t headroom_bytes)
{
	if (heap_bytes >= HUGE_HEAP_BYTES && mapped.address &&
	    is_plenty(headroom_bytes) && boehm()->is_heap_ptr(mapped.address))
		huge_ask(mapped.address, mapped.bytes);
	mapped.address = NULL;
}

/* Under libgc's lock. */
static void
resized(boehm_word bytes)
{
	static _Atomic bool started;
	uint64_t headroom_bytes;

	if (next_resize)
		next_resize(bytes);
	if (bytes < settings()->start_bytes)
		return;
	/* Once: a second start, in a forked child, might meet a fork that
	 * holds our locks and waits for libgc's. */
	if (!core_running() && !atomic_exchange(&started, true))
		core_start();
	headroom_bytes = bridge_headroom();
	ask_for_huge(bytes, headroom_bytes);
	boehm_tune(headroom_bytes);
}

static void
hook_growth(void)
{
	const struct boehm *b = boehm();

	if (!b->get_on_heap_resize || !b->set_on_heap_resize ||
	    !b->get_min_bytes_allocd)
		return;
	min_before = b->get_min_bytes_allocd();
	if (!min_before)
		min_before = 1;
	if (b->get_free_space_divisor && b->set_free_space_divisor)
		divisor_before = b->get_free_space_divisor();
	next_resize = b->get_on_heap_resize();
	atomic_store(&boehm_grows, true);
	b->set_on_heap_resize(resized);
}

static void
allow_threads(void)
{
	const struct boehm *b = boehm();
	bool quiet = b->parallel && !*b->parallel && boehm_can_sweep();

	if (quiet)
		*b->parallel = 1;
	b->allow_register_threads();
	if (quiet)
		*b->parallel = 0;
}

void
boehm_exclude(void)
{
	static _Atomic bool excluded;
	char *start, *end;

	if (boehm_find() && boehm()->exclude_static_roots &&
	    symbols_data_of(&armed, &start, &end) &&
	    !atomic_exchange(&excluded, true))
		boehm()->exclude_static_roots(start, end);
}

void
boehm_arm(void)
{
	if (!boehm_find() || !boehm()->is_init_called() ||
	    atomic_exchange(&armed, true))
		return;
	allow_threads();
	boehm_exclude();
	hook_growth();
}

void
boehm_arming(bool begins)
{
	atomic_fetch_add(&arming, begins ? 1 : -1);
}

bool
boehm_is_arming(void)
{
	return atomic_load(&arming) > 0;
}

void
boehm_note_threads(void)
{
	atomic_store(&threads_seen, true);
}
