/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether a cache may grow.
 *
 * Called by space.c and offer.c. A cache grows while the gate has credit,
 * which is headroom above the soft watermark, and while it is below its own
 * max_bytes; beyond that it recycles, as it does where a quarter of it is dead:
 * what was replaced or removed. Where credit is out somebody has to look
 * again: who may wait does, for LOOK_NS, and then not again for FULL_NS.
 *
 * No lock; all of it is hints.
 */
#include "base/clock.h"
#include "cache/cache.h"
#include "pressure/engine.h"
#include "pressure/gate.h"
#include "pressure/monitor.h"

/* So small that it may always have a little more. */
#define SMALL_BYTES (8ull << 20)
#define LOOK_NS (2 * CLOCK_MS)
#define FULL_NS (50 * CLOCK_MS)
#define PLENTY_BYTES (32ll << 20)
#define NEAR_BYTES (16ull << 20) /* what may be taken between two looks */
#define LITTER_MIN_BYTES (16ull << 20)
#define COOL_NS (2 * CLOCK_S)
#define WAS_PLENTY_BYTES (256ull << 20)

/* Nobody inflates while a pass shrinks, nor soon after: it would be back. But
 * where there is plenty all of a sudden, a limit was lifted. */
static bool
has_credit(size_t bytes)
{
	int64_t credit = atomic_load_explicit(&gate_credit,
					      memory_order_relaxed);
	uint64_t passed;

	if (credit < (int64_t)bytes || engine_busy())
		return false;
	passed = engine_passed_ns();
	return !passed || credit >= PLENTY_BYTES ||
	       clock_now_ns() - passed >= COOL_NS;
}

uint64_t
grow_held_bytes(const struct spw_cache *c)
{
	return atomic_load_explicit(&c->resident_bytes, memory_order_relaxed) +
	       index_bytes(&c->index);
}

/* By the last reading, where none came in time: much more than anybody grows
 * by meanwhile. */
static bool
was_plenty(void)
{
	struct monitor_view view;

	monitor_view(&view);
	return !engine_busy() && view.level.level == SPW_LEVEL_NONE &&
	       view.reading.headroom_bytes >=
		       view.level.soft_bytes + WAS_PLENTY_BYTES;
}

bool
grow_is_allowed(struct spw_cache *c, size_t bytes, bool look)
{
	uint64_t held = grow_held_bytes(c), now;
	bool late = false;

	if (c->max_bytes && held + bytes > c->max_bytes)
		return false;
	if (has_credit(bytes))
		return true;
	now = writer_clock_ns();
	if (!look ||
	    now < atomic_load_explicit(&c->full_until_ns, memory_order_relaxed))
		return held < SMALL_BYTES && !gate_is_hopeless();
	if (settings()->threads == SETTINGS_THREADS_NEVER) {
		gate_enter(bytes);
	} else {
		uint64_t start = clock_now_ns();

		gate_ring();
		monitor_sense(LOOK_NS);
		late = clock_now_ns() - start >= LOOK_NS;
	}
	if (has_credit(bytes) || (late && was_plenty()))
		return true;
	if (!late)
		atomic_store_explicit(&c->full_until_ns, now + FULL_NS,
				      memory_order_relaxed);
	return held < SMALL_BYTES && !gate_is_hopeless();
}

bool
grow_is_tight(uint64_t bytes)
{
	struct monitor_view view;
	const struct limits_reading *r = &view.reading;

	monitor_view(&view);
	if (limits_is_throttled(r))
		return true;
	return r->kind != LIMITS_NONE && r->kind != LIMITS_OWN &&
	       r->kind != LIMITS_V2_HIGH &&
	       r->headroom_bytes < view.level.hard_bytes / 2 + bytes;
}

/* A view is some milliseconds old: where it says that a limit may be near,
 * another one. */
bool
grow_has_room(uint64_t bytes)
{
	if (!grow_is_tight(2 * bytes + NEAR_BYTES))
		return true;
	monitor_sense(LOOK_NS);
	return !grow_is_tight(bytes);
}

bool
grow_is_littered(const struct spw_cache *c, unsigned part)
{
	uint64_t dead = atomic_load_explicit(&c->dead_bytes,
					     memory_order_relaxed);

	return dead >= LITTER_MIN_BYTES &&
	       dead >= atomic_load_explicit(&c->resident_bytes,
					    memory_order_relaxed) /
			       part;
}
