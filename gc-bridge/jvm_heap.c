/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A JVM's heap kept small while memory is short.
 *
 *	collect: ratios 5/10, full collection, ratios as before; then
 *	HOLD: G1 expands by one region, and only where collecting takes most of
 *	  the time; Parallel has no more than 40 % free; ZGC and Shenandoah stay
 *	  below what there is room for, and who allocates beside Shenandoah's
 *	  collection waits for it (its pacer)
 *	WALK, after gc-interval: (10 s; doubled, to 80, where memory ran short
 *	  soon after the last HOLD): G1 by one region still, but as soon as before
 *	FREE, as soon as there is room for all of -Xmx: as before; G1 doubles
 *	  its heap in a tenth of a second, which no watermark stops
 *
 * Why: a full collection of G1 (-Xmx160m, 16 MiB live) left 17 MiB in a heap
 * of 23; a millisecond later it was 69 again, and nothing had gone back.
 *
 * Why it is safe: Min- and MaxHeapFreeRatio and SoftMaxHeapSize are manageable
 * flags, which the VM expects to change; the others are read where a collection
 * begins or ends, or an allocation waits, and nowhere kept. All are aligned
 * words found by name in the VM's own table (jvm_structs.c), set within their
 * documented range, as async-profiler does. What somebody else set meanwhile is
 * left alone. -Xmx is not touched: no program gets an OutOfMemoryError from us.
 */
#include "gc-bridge/jvm_heap.h"

#include <stdatomic.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/settings.h"
#include "gc-bridge/bridge.h"
#include "gc-bridge/jvm_structs.h"
#include "pressure/errand.h"

#define HOLD_NS_LEAST (1 * CLOCK_S)
#define HOLD_DOUBLINGS_MAX 3
#define SIZE_LEAST (8ull << 20)
#define SOFT_MAX_LEAST (16ull << 20)
#define SOFT_MAX_STEP (2ull << 20)
#define SPREAD_NS (50 * CLOCK_MS)
#define PACE_MOST 1000.0
#define PACE_LEAST (4ull << 20)
#define PACED_PHASES 3 /* each may allocate what is said */

enum kind {
	WORD, /* 32 bits, or 64 whose upper half is 0 */
	SIZE,
	TRUTH,
};

/* What is lower than what we would set stays. */
struct flag {
	const char *name;
	enum kind kind;
	bool raises;
	uint64_t small, most; /* what we set; what it may be */
	volatile void *place;
	uint64_t before;
	bool is_held;
};

/* The larger of two that bound each other comes second. */
static struct flag ratios[] = {
	{ .name = "MinHeapFreeRatio", .small = 5, .most = 100 },
	{ .name = "MaxHeapFreeRatio", .small = 10, .most = 100 },
};
/* G1's: while collecting, in HOLD, in HOLD and WALK. */
static struct flag least[] = {
	{ .name = "MinHeapSize", .kind = SIZE, .small = SIZE_LEAST },
};
static struct flag when[] = {
	{ .name = "GCTimeRatio", .small = 1, .most = 10000 },
};
static struct flag step[] = {
	{ .name = "G1ExpandByPercentOfAvailable", .small = 0, .most = 100 },
	{ .name = "InitialHeapSize", .kind = SIZE, .small = SIZE_LEAST },
};
/* Parallel's: in HOLD and WALK, while collecting. */
static struct flag spare[] = {
	{ .name = "MinHeapFreeRatio", .small = 5, .most = 100 },
	{ .name = "MaxHeapFreeRatio", .small = 40, .most = 100 },
};
static struct flag resize[] = {
	{ .name = "UseAdaptiveSizePolicyWithSystemGC",
	  .kind = TRUTH,
	  .small = 1,
	  .most = 1,
	  .raises = true },
};
/* Shenandoah's, while collecting without room for what it copies. */
static struct flag stop[] = {
	{ .name = "ExplicitGCInvokesConcurrent",
	  .kind = TRUTH,
	  .small = 0,
	  .most = 1 },
};
/* ... in HOLD and WALK. */
static struct flag pace_delay = { .name = "ShenandoahPacingMaxDelay",
				  .small = 200,
				  .most = 100000,
				  .raises = true };
static struct flag pace_slack = { .name = "ShenandoahPacingCycleSlack",
				  .small = 1,
				  .most = 100 };
static volatile double *pace_rate; /* an aligned word as well */
static double pace_rate_before, pace_rate_ours;
#define COUNT(a) (sizeof(a) / sizeof *(a))

_Atomic bool jvm_heap_copies_beside;

static volatile uint64_t *soft_max;        /* of a collector that heeds it */
static const volatile uint64_t *committed; /* of Shenandoah's heap */
static uint64_t soft_max_before, soft_max_ours;
static uint64_t spread_ns, spread_bytes;
static bool is_serial, is_parallel, gives_late, holds_early;

static enum { FREE, HOLD, WALK } phase;
static const volatile uint64_t *heap_most; /* -Xmx */
static uint64_t held_ns, walks_ns;
static unsigned doublings;

static bool
is_set(const char *name)
{
	const bool *place = jvm_structs_flag(name);

	return place && *place;
}

static void
find(struct flag *flags, size_t count)
{
	const uint64_t *heap_bytes_max = jvm_structs_flag("MaxHeapSize");

	for (size_t i = 0; i < count; i++) {
		flags[i].place = jvm_structs_flag(flags[i].name);
		if (flags[i].kind == SIZE)
			flags[i].most = heap_bytes_max ? *heap_bytes_max : 0;
	}
}

static uint64_t
get(const struct flag *f)
{
	switch (f->kind) {
	case SIZE:
		return *(volatile uint64_t *)f->place;
	case TRUTH:
		return *(volatile uint8_t *)f->place;
	default:
		return *(volatile uint32_t *)f->place;
	}
}

static void
set(const struct flag *f, uint64_t value)
{
	switch (f->kind) {
	case SIZE:
		*(volatile uint64_t *)f->place = value;
		break;
	case TRUTH:
		*(volatile uint8_t *)f->place = (uint8_t)value;
		break;
	default:
		*(volatile uint32_t *)f->place = (uint32_t)value;
	}
}

static void
find_committed(void)
{
	char *const *heap = jvm_structs_static("Universe", "_collectedHeap");
	ptrdiff_t at = jvm_structs_offset("ShenandoahHeap", "_committed");

	if (heap && *heap && at >= 0)
		committed = (const volatile uint64_t *)(const void *)(*heap +
								      at);
}

void
jvm_heap_found(void)
{
	if (!jvm_structs_load())
		return;
	heap_most = jvm_structs_flag("MaxHeapSize");
	find(ratios, COUNT(ratios));
	is_serial = is_set("UseSerialGC");
	is_parallel = is_set("UseParallelGC");
	gives_late = is_set("UseG1GC") || is_set("UseShenandoahGC");
	if (is_set("UseG1GC")) {
		find(when, COUNT(when));
		find(step, COUNT(step));
		find(least, COUNT(least));
	}
	if (is_set("UseShenandoahGC") || is_set("UseZGC"))
		soft_max = jvm_structs_flag("SoftMaxHeapSize");
	if (is_set("UseShenandoahGC")) {
		atomic_store(&jvm_heap_copies_beside, true);
		find(stop, COUNT(stop));
		find_committed();
		find(&pace_delay, 1);
		find(&pace_slack, 1);
		pace_rate = jvm_structs_flag("ShenandoahPacingSurcharge");
	}
	if (is_parallel) {
		find(spare, COUNT(spare));
		find(resize, COUNT(resize));
	}
	holds_early = is_parallel || is_set("UseShenandoahGC");
}

bool
jvm_heap_shrinks_in_steps(void)
{
	return is_serial;
}

bool
jvm_heap_shrinks_for_program(void)
{
	return is_parallel && resize[0].place && !is_set("DisableExplicitGC");
}

bool
jvm_heap_gives_late(void)
{
	return gives_late;
}

static void
hold(struct flag *flags, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct flag *f = &flags[i];

		if (!f->place || f->is_held)
			continue;
		f->before = get(f);
		if (f->before > f->most || (!f->raises && f->before < f->small))
			continue;
		f->is_held = true;
		set(f, f->small);
	}
}

static void
release(struct flag *flags, size_t count)
{
	while (count-- > 0) {
		struct flag *f = &flags[count];

		if (f->is_held && get(f) == f->small)
			set(f, f->before);
		f->is_held = false;
	}
}

static uint64_t
hold_ns(void)
{
	uint64_t ns = atomic_load(&settings()->gc_interval_ns);

	return (ns > HOLD_NS_LEAST ? ns : HOLD_NS_LEAST) << doublings;
}

/* Shenandoah has who allocates while it collects wait, as what is free of -Xmx
 * becomes less; we say how much less there is. */
static void
pace(uint64_t free_bytes, uint64_t room_bytes)
{
	double rate;

	if (room_bytes < PACE_LEAST)
		room_bytes = PACE_LEAST;
	hold(&pace_delay, 1);
	hold(&pace_slack, 1);
	if (!pace_rate)
		return;
	if (!pace_rate_ours)
		pace_rate_before = *pace_rate;
	else if (*pace_rate != pace_rate_ours)
		return; /* somebody else's now */
	rate = pace_rate_before * (double)free_bytes / (double)room_bytes;
	if (rate < pace_rate_before)
		rate = pace_rate_before;
	pace_rate_ours = rate < PACE_MOST ? rate : PACE_MOST;
	*pace_rate = pace_rate_ours;
}

static void
unpace(void)
{
	release(&pace_slack, 1);
	release(&pace_delay, 1);
	if (pace_rate && pace_rate_ours && *pace_rate == pace_rate_ours)
		*pace_rate = pace_rate_before;
	pace_rate_ours = 0;
}

/* What there is room for. ZGC: half of the headroom may be grown into; without
 * any, a quarter shall go. Shenandoah: a quarter of what the heap may be is for
 * what it copies while it collects, an eighth for what is allocated. */
static uint64_t
room_for(uint64_t headroom_bytes)
{
	uint64_t resident = errand_resident(), room;

	/* A full collection commits all of -Xmx for a moment. */
	if (committed)
		return (headroom_bytes +
			(*committed < resident ? *committed : resident)) /
		       8 * 5;
	room = headroom_bytes / 2 + resident;
	return headroom_bytes ? room : room - room / 4;
}

/* Whether it holds regions that it should not. */
static bool
is_spread(void)
{
	return committed && soft_max_ours && *committed > soft_max_ours;
}

/* It is told so again soon, and more rarely where that did not help: regions
 * that are in use stay. */
static void
note_spread(void)
{
	uint64_t now = *committed;

	spread_ns = now != spread_bytes || !spread_ns ? SPREAD_NS :
							spread_ns * 2;
	if (spread_ns > hold_ns())
		spread_ns = hold_ns();
	spread_bytes = now;
}

static void
soften(uint64_t headroom_bytes)
{
	uint64_t room = room_for(headroom_bytes);

	if (!soft_max)
		return;
	if (!soft_max_ours)
		soft_max_before = *soft_max;
	else if (*soft_max != soft_max_ours)
		return; /* somebody else's now */
	if (!headroom_bytes && soft_max_ours && room > soft_max_ours)
		room = soft_max_ours;
	if (room < SOFT_MAX_LEAST)
		room = SOFT_MAX_LEAST;
	if (room > soft_max_before)
		room = soft_max_before;
	room &= ~(SOFT_MAX_STEP - 1);
	if (is_spread()) {
		note_spread();
		/* It uncommits when it is told another. */
		if (room == soft_max_ours)
			room -= SOFT_MAX_STEP;
	}
	soft_max_ours = room;
	*soft_max = room;
	if (committed && heap_most && *heap_most > room)
		pace(*heap_most - room, room / 5 / PACED_PHASES);
}

static void
harden(void)
{
	if (soft_max && soft_max_ours && *soft_max == soft_max_ours)
		*soft_max = soft_max_before;
	soft_max_ours = spread_ns = 0;
	unpace();
}

/* Longer the more often memory was short soon after the last one. */
static void
begin_hold(void)
{
	uint64_t now = clock_now_ns();

	if (phase != HOLD)
		doublings = !walks_ns || now - walks_ns >= hold_ns() ? 0 :
			    doublings < HOLD_DOUBLINGS_MAX ? doublings + 1 :
							     doublings;
	phase = HOLD;
	held_ns = now;
	hold(when, COUNT(when));
	hold(step, COUNT(step));
	hold(spare, COUNT(spare));
}

void
jvm_heap_collecting(bool begins)
{
	if (!begins) {
		release(stop, COUNT(stop));
		release(resize, COUNT(resize));
		release(ratios, COUNT(ratios));
		release(least, COUNT(least));
		return;
	}
	begin_hold();
	hold(ratios, COUNT(ratios));
	hold(least, COUNT(least));
	hold(resize, COUNT(resize));
	if (!bridge_headroom())
		hold(stop, COUNT(stop));
	soften(bridge_headroom());
}

/* Whether the heap may grow to -Xmx. */
static bool
fits(uint64_t headroom_bytes)
{
	return !heap_most || headroom_bytes >= *heap_most ||
	       headroom_bytes + errand_resident() >= *heap_most;
}

void
jvm_heap_tune(uint64_t headroom_bytes)
{
	uint64_t now = clock_now_ns();

	if (phase == FREE && holds_early && !headroom_bytes)
		begin_hold();
	if (phase == FREE)
		return;
	if (now - held_ns < hold_ns() || !fits(headroom_bytes)) {
		soften(headroom_bytes);
	} else {
		release(when, COUNT(when));
		release(step, COUNT(step));
		release(spare, COUNT(spare));
		harden();
		phase = FREE;
		walks_ns = now;
	}
	if (phase == HOLD && now - held_ns >= hold_ns() && headroom_bytes) {
		release(when, COUNT(when));
		phase = WALK;
		walks_ns = now;
	}
}

uint64_t
jvm_heap_again(void)
{
	uint64_t now = clock_now_ns(), until = held_ns + hold_ns();

	if (phase == FREE)
		return 0;
	if (is_spread())
		return spread_ns ? spread_ns : SPREAD_NS;
	return until > now ? until - now : hold_ns();
}
