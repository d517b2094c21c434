/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rate filter: a collection costs the program a pause, and may give nothing.
 *
 * Called by bridge.c alone, on the reclaimer (due) and on the bridge's thread
 * (note) while no other looks; calls nothing.
 *
 * While memory is short, one is due when four times the last one's duration
 * are over, and a tenth of the interval (10 s), doubled for each in a row that
 * gained under 5 % (EVE#4294; FACTS-GC): a fifth of the time at most. Growth is
 * not asked for: a program that has dropped all and idles grows no more, and
 * at the hard watermark it is too late (Lua takes 0.9 s, where a neighbour of
 * 25 MB/s leaves 0.5).
 *
 * A program that makes garbage fills the whole headroom within a second, and
 * shall not be killed for the sake of one (CPython: 500 MB/s of cycles). So
 * where the heap has grown by 50 MiB and half of what the last collection
 * gained, the next is due after its duration times live heap by gain, twice at
 * most; at critical any pause is better than the end, and an eighth of the heap
 * is growth enough; but after one that gained little, only when eight times
 * its duration is over (doubled again each time): a concurrent collector may
 * have lost a race that it wins next time (Shenandoah). Where the last was
 * below critical, one is due as soon as it is critical. One that makes no long
 * pause (V8 marks in steps) is due for an eighth at every level, and twice a
 * second at most.
 */
#include "gc-bridge/policy.h"

#include "base/clock.h"

#define MIB (1ull << 20)
#define GROWTH_BYTES (50 * MIB)
#define GROWTH_CRITICAL_BYTES (4 * MIB)
#define GROWTH_ASKED_BYTES (1 * MIB)
#define POOR_DOUBLINGS_MAX 6
#define BUSY_SHARE 4 /* so many times its duration, doubled where poor */
#define INTERVAL_PART 10
#define STEPS_NS (500 * CLOCK_MS)
/* Not twice in one pass, whatever the interval. */
#define PASS_NS (40 * CLOCK_MS)

uint64_t
policy_growth(const struct policy *p, uint64_t heap_bytes)
{
	return heap_bytes > p->heap_bytes ? heap_bytes - p->heap_bytes : 0;
}

static uint64_t
larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* What is worth a collection where memory is short in earnest. */
static uint64_t
growth_needed(const struct policy *p)
{
	uint64_t part = p->heap_bytes / 8;

	if (part > GROWTH_BYTES)
		part = GROWTH_BYTES;
	return larger(larger(part, GROWTH_CRITICAL_BYTES), p->gain_bytes / 5);
}

/* Where a collection mostly finds garbage it may come soon, where it mostly
 * marks what lives rarely. */
static uint64_t
pays_after(const struct policy *p)
{
	double share = (double)p->heap_bytes / ((double)p->gain_bytes + 1);

	return (uint64_t)((double)p->took_ns * (share < 2 ? share : 2));
}

bool
policy_due(const struct policy *p, const struct policy_now *now)
{
	uint64_t grown = policy_growth(p, now->heap_bytes);
	uint64_t since = now->now_ns - p->ended_ns;
	uint64_t rest = larger(now->interval_ns / INTERVAL_PART,
			       p->took_ns * BUSY_SHARE);
	uint32_t doublings = p->poor < POOR_DOUBLINGS_MAX ? p->poor :
							    POOR_DOUBLINGS_MAX;

	if (!p->ended_ns)
		return true;
	if (!now->interval_ns)
		return since >= PASS_NS * (now->asked && !grown ? 10 : 1);
	if (now->asked)
		return grown >= GROWTH_ASKED_BYTES;
	if (now->level == SPW_LEVEL_CRITICAL && grown >= growth_needed(p) &&
	    (!p->poor || since >= p->took_ns * BUSY_SHARE << doublings))
		return true;
	if (now->level == SPW_LEVEL_CRITICAL && p->level < now->level &&
	    since >= p->took_ns)
		return true;
	if (since >= rest << doublings)
		return true;
	if (now->level == SPW_LEVEL_CRITICAL)
		return false;
	if (now->in_steps)
		return grown >= growth_needed(p) && since >= STEPS_NS;
	return !p->poor && since >= pays_after(p) &&
	       grown >= larger(GROWTH_BYTES, p->gain_bytes / 2);
}

void
policy_fell(struct policy *p, uint64_t heap_bytes)
{
	if (!p->ended_ns || heap_bytes >= p->heap_bytes)
		return;
	p->gain_bytes += p->heap_bytes - heap_bytes;
	if (p->gain_bytes >= (heap_bytes + p->gain_bytes) / 20)
		p->poor = 0;
	p->heap_bytes = heap_bytes;
}

void
policy_note(struct policy *p, enum spw_level level, uint64_t began_ns,
	    uint64_t ended_ns, uint64_t heap_before_bytes,
	    uint64_t heap_after_bytes)
{
	p->level = level;
	p->took_ns = ended_ns - began_ns;
	p->ended_ns = ended_ns;
	p->gain_bytes = heap_before_bytes > heap_after_bytes ?
				heap_before_bytes - heap_after_bytes :
				0;
	p->heap_bytes = heap_after_bytes;
	if (p->gain_bytes < heap_before_bytes / 20)
		p->poor++;
	else
		p->poor = 0;
}
