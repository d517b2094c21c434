/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A JVM's heap kept small while memory is short.
 *
 *	collect: ratios 5/10, full collection, ratios as before; then
 *	HOLD: G1 expands by one region, and only where collecting takes most of
 *	  the time; ZGC and Shenandoah stay below what there is room for
 *	WALK, after gc-interval: (10 s; doubled, to 80, where memory ran short
 *	  soon after the last HOLD): by one region still, but as soon as before
 *	FREE, as soon as there is room for all of -Xmx: as before; G1 doubles
 *	  its heap in a tenth of a second, which no watermark stops
 *
 * Why: a full collection of G1 (-Xmx160m, 16 MiB live) left 17 MiB in a heap
 * of 23; a millisecond later it was 69 again, because collecting took more
 * than GCTimeRatio allows, and nothing had gone back to the system. Seen from
 * the limit it had given nothing, so it was asked more rarely, and killed.
 *
 * Why it is safe: Min- and MaxHeapFreeRatio and SoftMaxHeapSize are manageable
 * flags, which the VM expects to change (jcmd sets them, with the same store);
 * GCTimeRatio, G1ExpandByPercentOfAvailable and InitialHeapSize are read by G1
 * where a young collection ends, and MinHeapSize (-Xms) where a full one does,
 * and nowhere kept. All are aligned words found by name in the VM's own table
 * (jvm_structs.c), set within their documented range, as async-profiler does.
 * What somebody else set meanwhile is left alone. -Xmx is not touched: no
 * program gets an OutOfMemoryError from us.
 */
#include "gc-bridge/jvm_heap.h"

#include <stdatomic.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/settings.h"
#include "gc-bridge/job.h"
#include "gc-bridge/jvm_structs.h"

#define HOLD_NS_LEAST (1 * CLOCK_S)
#define HOLD_DOUBLINGS_MAX 3
#define SIZE_LEAST (8ull << 20)
#define SOFT_MAX_LEAST (16ull << 20)

/* A size_t, or a flag of 32 bits, or of 64 whose upper half is 0. */
struct flag {
	const char *name;
	bool is_size;
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
	{ .name = "MinHeapSize", .is_size = true, .small = SIZE_LEAST },
};
static struct flag when[] = {
	{ .name = "GCTimeRatio", .small = 1, .most = 10000 },
};
static struct flag step[] = {
	{ .name = "G1ExpandByPercentOfAvailable", .small = 0, .most = 100 },
	{ .name = "InitialHeapSize", .is_size = true, .small = SIZE_LEAST },
};
#define COUNT(a) (sizeof(a) / sizeof *(a))

static volatile uint64_t *soft_max;        /* of a collector that heeds it */
static const volatile uint64_t *committed; /* of Shenandoah's heap */
static uint64_t soft_max_before, soft_max_ours;
static bool is_serial, gives_late;

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
		if (flags[i].is_size)
			flags[i].most = heap_bytes_max ? *heap_bytes_max : 0;
	}
}

static uint64_t
get(const struct flag *f)
{
	return f->is_size ? *(volatile uint64_t *)f->place :
			    *(volatile uint32_t *)f->place;
}

static void
set(const struct flag *f, uint64_t value)
{
	if (f->is_size)
		*(volatile uint64_t *)f->place = value;
	else
		*(volatile uint32_t *)f->place = (uint32_t)value;
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
	gives_late = is_set("UseG1GC") || is_set("UseShenandoahGC");
	if (is_set("UseG1GC")) {
		find(when, COUNT(when));
		find(step, COUNT(step));
		find(least, COUNT(least));
	}
	if (is_set("UseShenandoahGC") || is_set("UseZGC"))
		soft_max = jvm_structs_flag("SoftMaxHeapSize");
	if (is_set("UseShenandoahGC"))
		find_committed();
}

bool
jvm_heap_shrinks_in_steps(void)
{
	return is_serial;
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
		if (f->before > f->most || (f->is_size && f->before < f->small))
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

/* What there is room for: half of the headroom may be grown into; without
 * any, a quarter shall go. */
static void
soften(uint64_t headroom_bytes)
{
	uint64_t room = headroom_bytes / 2 +
			(committed ? *committed : job_resident());

	if (!soft_max)
		return;
	if (!soft_max_ours)
		soft_max_before = *soft_max;
	else if (*soft_max != soft_max_ours)
		return; /* somebody else's now */
	if (!headroom_bytes) {
		room -= room / 4;
		if (soft_max_ours && room > soft_max_ours)
			room = soft_max_ours;
	}
	if (room < SOFT_MAX_LEAST)
		room = SOFT_MAX_LEAST;
	if (room > soft_max_before)
		room = soft_max_before;
	soft_max_ours = room & ~((2ull << 20) - 1);
	*soft_max = soft_max_ours;
}

static void
harden(void)
{
	if (soft_max && soft_max_ours && *soft_max == soft_max_ours)
		*soft_max = soft_max_before;
	soft_max_ours = 0;
}

void
jvm_heap_collecting(bool begins)
{
	uint64_t now = clock_now_ns();

	if (!begins) {
		release(ratios, COUNT(ratios));
		release(least, COUNT(least));
		return;
	}
	if (phase != HOLD)
		doublings = !walks_ns || now - walks_ns >= hold_ns() ? 0 :
			    doublings < HOLD_DOUBLINGS_MAX ? doublings + 1 :
							     doublings;
	phase = HOLD;
	held_ns = now;
	hold(ratios, COUNT(ratios));
	hold(least, COUNT(least));
	hold(when, COUNT(when));
	hold(step, COUNT(step));
}

/* Whether the heap may grow to -Xmx. */
static bool
fits(uint64_t headroom_bytes)
{
	return !heap_most || headroom_bytes >= *heap_most ||
	       headroom_bytes + job_resident() >= *heap_most;
}

void
jvm_heap_tune(uint64_t headroom_bytes)
{
	uint64_t now = clock_now_ns();

	if (phase == FREE)
		return;
	if (now - held_ns < hold_ns() || !fits(headroom_bytes)) {
		soften(headroom_bytes);
	} else {
		release(when, COUNT(when));
		release(step, COUNT(step));
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
	return until > now ? until - now : hold_ns();
}
