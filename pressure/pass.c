/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One reclaim pass.
 *
 *	collect references -> count -> tier by tier, cheapest first:
 *	  rounds of one step for each, best measured yield first, split by
 *	  count: call, drain the FREE tier behind it, sense again, credit;
 *	  until the tier gives nothing more
 *
 * Called by engine.c on the reclaimer thread; calls shrinkers and
 * monitor_sense(). Stops when nothing is left to want, when overtaken, or at
 * the end of the list.
 *
 * What a shrinker claims is not believed: what went is what our heap returned
 * to the kernel while it was drained, or the fall of this process's resident
 * memory, whichever is more. Only shrinkers of our own (exact) are taken at
 * their word. Memory that a callback frees lands in thread caches and dirty
 * pages first, so the FREE tier is drained after every call.
 *
 * No lock is held during calls; nothing is allocated.
 */
#include "pressure/pass.h"

#include "base/clock.h"
#include "base/log.h"
#include "pressure/call.h"
#include "pressure/core.h"
#include "pressure/errand.h"
#include "pressure/jobs.h"
#include "pressure/monitor.h"
#include "pressure/requests.h"
#include "pressure/share.h"
#include "pressure/shrinkers.h"

#define MIB (1ull << 20)
/* One madvise too long frees too late: 64 MiB did (reports/pressure). */
#define STEP_HARD_BYTES (4 * MIB)
#define STEP_SOFT_BYTES (16 * MIB)
/* Of a shrinker of the program: its call costs two readings. */
#define STEP_PROGRAM_BYTES (8 * MIB)
/* What a shrinker without a count is taken for, while it gives anything. */
#define UNKNOWN_BYTES (64 * MIB)
#define SENSE_NS (2 * CLOCK_MS)
#define HOLD_MIN_NS (100 * CLOCK_MS)
#define HOLD_MAX_NS (60 * CLOCK_S)
#define HOLD_HARD_NS (10 * CLOCK_MS)
/* Freed, but between what was kept: it will be reused, not returned. */
#define SCATTERED_NS (50 * CLOCK_MS)
#define LATER_SOFT_NS (1 * CLOCK_S)
#define LATER_HARD_NS (50 * CLOCK_MS)

/* Only one thread runs passes; what it found is read by the monitor.
 * UNKNOWN until a first pass has asked. */
static _Atomic uint64_t counted_bytes = UNKNOWN_BYTES;
static _Atomic uint64_t counted_resident_bytes; /* of the process, then */

uint64_t
pass_counted_bytes(void)
{
	struct monitor_view view;
	uint64_t counted, then;

	if (!shrinkers_count())
		return 0;
	monitor_view(&view);
	counted = atomic_load_explicit(&counted_bytes, memory_order_relaxed);
	then = atomic_load_explicit(&counted_resident_bytes,
				    memory_order_relaxed);
	if (then && shrinkers_has_grown(view.reading.resident_bytes, then))
		counted += view.reading.resident_bytes - then;
	return counted;
}

uint64_t
pass_dirty_bytes(void)
{
	const struct core_heap *heap = core_heap();
	uint64_t committed, active;

	if (!heap)
		return 0;
	committed = heap->committed_bytes();
	active = heap->active_bytes();
	return committed > active ? committed - active : 0;
}

static enum spw_tier
tier_max(enum spw_level level)
{
	switch (level) {
	case SPW_LEVEL_NONE:
		return SPW_TIER_FREE;
	case SPW_LEVEL_LOW:
		return SPW_TIER_COLD;
	case SPW_LEVEL_MEDIUM:
		return SPW_TIER_WARM;
	case SPW_LEVEL_CRITICAL:
		break;
	}
	return SPW_TIER_LAST;
}

static bool
is_hard(const struct pass *pass)
{
	return pass->level == SPW_LEVEL_CRITICAL && !pass->asked;
}

/* What is still wanted of this pass. */
static uint64_t
left(const struct pass *pass)
{
	uint64_t went = pass->got_bytes + pass->shown_bytes;
	uint64_t want;

	if (engine_overtaken(pass->generation))
		return 0;
	want = pass->left(pass);
	if (!pass->asked && !is_hard(pass) &&
	    pass->claimed_bytes >= 2 * pass->target_bytes)
		return 0; /* see note_hold() */
	if (pass->paced) {
		uint64_t slice = went < pass->target_bytes ?
					 pass->target_bytes - went :
					 0;
		if (want > slice)
			want = slice;
	}
	return want;
}

/*
 * Senses, and reads resident memory itself: where the monitor is late, or has
 * only just been started, its last reading is from before the call.
 */
static uint64_t
resident_now(void)
{
	monitor_sense(SENSE_NS);
	return errand_resident();
}

static struct spw_shrink
request_of(const struct pass *pass, uint64_t bytes)
{
	return (struct spw_shrink){
		.size = sizeof(struct spw_shrink),
		.target_bytes = bytes,
		.level = pass->level,
		.hard = is_hard(pass),
		.node = -1,
		.older_than_ns = pass->older_than_ns,
		.deadline_ns = clock_now_ns() + settings()->deadline_ns,
	};
}

/* Our own neither hang nor want locks of the program: 0. */
static uint32_t
begin_call(struct spw_shrinker *s)
{
	if (s->exact)
		return 0;
	engine_call_prepare();
	return call_begin("shrinker", s->name, &s->quarantined);
}

/* Calls `shrink` once: what it claims; its time goes into *ns. */
static uint64_t
call_shrink(struct pass *pass, struct spw_shrinker *s, uint64_t bytes,
	    uint64_t *ns)
{
	struct spw_shrink request = request_of(pass, bytes);
	uint64_t start = clock_now_ns();
	uint32_t call;
	size_t claimed;

	if (!shrinkers_enter(s))
		return 0;
	call = begin_call(s);
	claimed = s->shrink(&request, s->context);
	call_end(call);
	shrinkers_leave(s);
	*ns = clock_now_ns() - start;
	core_count(&s->calls, 1);
	core_count_max(&s->ns_max, *ns);
	return claimed;
}

/*
 * Dirty pages need not be resident: who asked for bytes from outside is told
 * by how much resident memory fell, though not less than half of what was
 * returned, since the program may be growing meanwhile.
 */
static uint64_t
resident_part(uint64_t got, uint64_t before, uint64_t after)
{
	uint64_t fell = before > after ? before - after : 0;

	if (fell < got / 2)
		return got / 2;
	return fell < got ? fell : got;
}

/* A shrinker of our own, in steps, sensing in between, up to `most`: bytes
 * returned. */
static uint64_t
ask_exact(struct pass *pass, struct spw_shrinker *s, uint64_t most)
{
	uint64_t step = is_hard(pass) ? STEP_HARD_BYTES : STEP_SOFT_BYTES;
	uint64_t went = 0, got, ns = 0;
	uint64_t resident = pass->asked ? resident_now() : 0;
	uint64_t want = most;

	while (want) {
		got = call_shrink(pass, s, want < step ? want : step, &ns);
		if (!got)
			break;
		if (pass->asked) {
			uint64_t before = resident;

			resident = resident_now();
			got = resident_part(got, before, resident);
		}
		went += got;
		pass->got_bytes += got;
		core_count(&s->reclaimed_bytes, got);
		engine_answered();
		if (!pass->asked)
			monitor_sense(SENSE_NS / 2);
		requests_progress(pass);
		jobs_run();
		want = left(pass);
		if (want > most - went)
			want = went < most ? most - went : 0;
	}
	return went;
}

/* Returns what is free in the heap after somebody freed: bytes. */
static uint64_t
drain_free(struct pass *pass, struct asked *list, unsigned count)
{
	uint64_t went = 0;

	for (unsigned i = 0; i < count && left(pass); i++)
		if (list[i].shrinker->tier == SPW_TIER_FREE &&
		    list[i].shrinker->exact)
			went += ask_exact(pass, list[i].shrinker, left(pass));
	return went;
}

static void
note_yield(struct spw_shrinker *s, uint64_t went, uint64_t ns)
{
	uint64_t ms = ns / CLOCK_MS + 1;
	uint64_t old = atomic_load(&s->yield_bytes_per_ms);

	atomic_store(&s->yield_bytes_per_ms,
		     old ? (3 * old + went / ms) / 4 : went / ms);
	core_count(&s->reclaimed_bytes, went);
}

/* Once more it gave nothing: how often in a row it had before. */
static uint32_t
note_futile(struct spw_shrinker *s, uint64_t resident)
{
	atomic_store(&s->futile_resident_bytes, resident);
	return atomic_fetch_add(&s->futile, 1);
}

/*
 * Futile calls are repeated ever more rarely. Where little of what was freed
 * could be returned, the program's next allocations will use it: asking on at
 * once would empty the cache for the sake of a few pages. Where headroom falls
 * meanwhile somebody else grows, and it is asked all the same.
 */
static void
note_hold(const struct pass *pass, struct spw_shrinker *s, uint64_t share,
	  uint64_t claimed, uint64_t went, uint64_t resident)
{
	uint32_t n;
	uint64_t hold;

	atomic_store(&s->hold_headroom_bytes, monitor_headroom());
	if ((went >= share / 100 && went > 0) || claimed >= share / 2) {
		bool scattered = went < claimed / 4;

		atomic_store(&s->futile, 0);
		atomic_store(&s->held_hard, false);
		atomic_store(&s->hold_until_ns,
			     scattered && !is_hard(pass) ?
				     clock_now_ns() + SCATTERED_NS :
				     0);
		return;
	}
	n = note_futile(s, resident);
	hold = n < 10 ? HOLD_MIN_NS << n : HOLD_MAX_NS;
	if (hold > HOLD_MAX_NS)
		hold = HOLD_MAX_NS;
	if (is_hard(pass) && hold > HOLD_HARD_NS)
		hold = HOLD_HARD_NS;
	atomic_store(&s->held_hard, is_hard(pass));
	atomic_store(&s->hold_until_ns, clock_now_ns() + hold);
}

/* What shrinkers promised for later is credited when it has come. */
static void
credit_later(struct asked *list, unsigned count)
{
	uint64_t resident = 0;

	for (unsigned i = 0; i < count; i++) {
		struct spw_shrinker *s = list[i].shrinker;
		uint64_t until = atomic_load(&s->later_until_ns);

		if (!until)
			continue;
		if (!resident)
			resident = resident_now();
		if (clock_now_ns() >= until)
			atomic_store(&s->later_until_ns, 0);
		if (resident >= s->later_resident_bytes)
			continue;
		core_count(&s->reclaimed_bytes,
			   s->later_resident_bytes - resident);
		s->later_resident_bytes = resident;
		atomic_store(&s->futile, 0);
	}
}

/* One of the program's shrinkers: asks, drains, measures, credits. */
static uint64_t
ask_program(struct pass *pass, struct asked *a, uint64_t share,
	    struct asked *all, unsigned all_count)
{
	const struct core_heap *heap = core_heap();
	struct spw_shrinker *s = a->shrinker;
	uint64_t before = resident_now(), after, claimed, went, ns = 0;
	uint64_t returned = pass->got_bytes + pass->shown_bytes;

	claimed = call_shrink(pass, s, share, &ns);
	if (engine_overtaken(pass->generation))
		return 0;
	if (heap && heap->flush_thread)
		heap->flush_thread();
	drain_free(pass, all, all_count);
	after = resident_now();
	returned = pass->got_bytes + pass->shown_bytes - returned;
	went = before > after ? before - after : 0;
	if (went > returned) /* it unmapped by itself */
		pass->got_bytes += went - returned;
	else
		went = returned;
	if (went)
		engine_answered();
	if (claimed == SPW_SHRINK_LATER) {
		s->later_resident_bytes = after;
		atomic_store(&s->later_until_ns,
			     clock_now_ns() + (is_hard(pass) ? LATER_HARD_NS :
							       LATER_SOFT_NS));
		note_futile(s, after); /* until it has come */
	} else {
		core_count(&s->claimed_bytes, claimed);
		pass->claimed_bytes += claimed;
		note_hold(pass, s, share, claimed, went, after);
	}
	note_yield(s, went, ns);
	if (a->count != UINT64_MAX)
		a->count -= claimed < a->count ? claimed : a->count;
	requests_progress(pass);
	jobs_run();
	return claimed == SPW_SHRINK_LATER ? 0 : went;
}

static bool
may_ask(const struct pass *pass, struct spw_shrinker *s)
{
	uint64_t now = clock_now_ns();

	if (atomic_load(&s->quarantined))
		return false;
	if (now < atomic_load(&s->later_until_ns))
		return false;
	return pass->asked || now >= atomic_load(&s->hold_until_ns) ||
	       monitor_has_worsened(atomic_load(&s->hold_headroom_bytes)) ||
	       (is_hard(pass) && !atomic_load(&s->held_hard));
}

/* Fills in what each could give; returns the sum of what is known. */
static uint64_t
count_all(struct pass *pass, struct asked *list, unsigned count)
{
	struct spw_shrink request = request_of(pass, pass->target_bytes);
	uint64_t sum = 0, programs = 0, resident = errand_resident();

	for (unsigned i = 0; i < count; i++) {
		struct spw_shrinker *s = list[i].shrinker;
		uint32_t call;

		list[i].count = UINT64_MAX;
		if (!s->count && shrinkers_may_have(s, resident))
			programs += UNKNOWN_BYTES;
		if (!s->count || !may_ask(pass, s) || !shrinkers_enter(s))
			continue;
		call = begin_call(s);
		list[i].count = s->count(&request, s->context);
		call_end(call);
		shrinkers_leave(s);
		if (engine_overtaken(pass->generation))
			return 0;
		sum += list[i].count;
		if ((!s->exact || s->tier > SPW_TIER_FREE) &&
		    shrinkers_may_have(s, resident))
			programs += (uint64_t)share_weight(&list[i]);
	}
	/* Who is not asked at this level may have something at the next: the
	 * monitor looks away where nobody has. */
	if (shrinkers_may_have_above(tier_max(pass->level), resident))
		programs += UNKNOWN_BYTES;
	atomic_store(&counted_bytes, programs);
	atomic_store(&counted_resident_bytes, resident);
	return sum;
}

/* A step of one; `end` of its tier. What went. */
static uint64_t
ask_one(struct pass *pass, struct asked *a, const struct asked *end,
	uint64_t want, struct asked *all, unsigned all_count)
{
	uint64_t share = share_of(a, end, want), went;

	if (a->shrinker->exact && a->shrinker->tier == SPW_TIER_FREE) {
		went = ask_exact(pass, a->shrinker, want);
		a->dry = true; /* drained after every call */
		return went;
	}
	if (a->shrinker->exact) { /* a cache */
		went = ask_exact(pass, a->shrinker, share);
		a->count -= went < a->count ? went : a->count;
	} else {
		if (share > STEP_PROGRAM_BYTES)
			share = STEP_PROGRAM_BYTES;
		went = ask_program(pass, a, share, all, all_count);
	}
	a->dry = went == 0;
	return went;
}

/*
 * One round over list[from, to), a tier: a step for each, so that the first
 * bytes are back while the rest is still being freed, and nobody gives more
 * than is still wanted. True when anything moved.
 */
static bool
ask_round(struct pass *pass, struct asked *list, unsigned count, unsigned from,
	  unsigned to)
{
	bool moved = false;

	for (unsigned i = from; i < to; i++) {
		struct asked *a = &list[i];
		uint64_t want = left(pass), went;

		if (!want)
			return false;
		if (a->dry || !a->count || !may_ask(pass, a->shrinker))
			continue;
		went = ask_one(pass, a, list + to, want, list, count);
		moved |= went > 0;
		if (engine_overtaken(pass->generation))
			return false;
	}
	return moved;
}

static void
ask_all(struct pass *pass, struct asked *list, unsigned count)
{
	unsigned from = 0, to;

	/* For a rest too small for a call nobody dearer is asked. */
	for (; from < count && left(pass) > (from ? SHARE_MIN_BYTES : 0);
	     from = to) {
		for (to = from + 1;
		     to < count &&
		     list[to].shrinker->tier == list[from].shrinker->tier;
		     to++)
			;
		while (ask_round(pass, list, count, from, to))
			;
	}
}

void (*_Atomic pass_begins)(void);

void
pass_run(struct pass *pass)
{
	void (*begins)(void) = atomic_load(&pass_begins);
	struct spw_shrinker *collected[SHRINKERS_PASS_MAX];
	struct asked list[SHRINKERS_PASS_MAX];
	uint64_t start = clock_now_ns();
	unsigned count;

	if (begins && pass->level >= SPW_LEVEL_MEDIUM)
		begins();
	count = shrinkers_collect(collected, SHRINKERS_PASS_MAX,
				  tier_max(pass->level));
	for (unsigned i = 0; i < count; i++)
		list[i] = (struct asked){ .shrinker = collected[i] };
	credit_later(list, count);
	count_all(pass, list, count);
	share_sort(list, count);
	ask_all(pass, list, count);
	shrinkers_release(collected, count);
	pass->ns = clock_now_ns() - start;
}

/* One call; what our own say, or by how much resident memory fell. */
static uint64_t
ask_inline(struct pass *pass, struct spw_shrinker *s, uint64_t want)
{
	const struct core_heap *heap = core_heap();
	struct spw_shrink request = request_of(pass, want);
	uint64_t before = s->exact ? 0 : errand_resident(), after;
	size_t got;

	if (!shrinkers_enter(s))
		return 0;
	got = s->shrink(&request, s->context);
	shrinkers_leave(s);
	if (s->exact)
		return got;
	if (heap && heap->flush_thread)
		heap->flush_thread();
	after = errand_resident();
	return before > after ? before - after : 0;
}

static uint64_t
drain_inline(struct pass *pass, struct asked *list, unsigned count,
	     uint64_t want)
{
	uint64_t went = 0;

	for (unsigned i = 0; i < count && went < want; i++)
		if (list[i].shrinker->exact)
			went += ask_inline(pass, list[i].shrinker, want - went);
	return went;
}

/* Behind each of the program's, ours: what it freed is dirty for them. */
uint64_t
pass_inline(const struct spw_reclaim_options *options, bool everybody)
{
	struct spw_shrinker *collected[SHRINKERS_PASS_MAX];
	struct asked list[SHRINKERS_PASS_MAX];
	struct pass pass = { .level = SPW_LEVEL_CRITICAL,
			     .asked = true,
			     .older_than_ns = options->older_than_ns };
	uint64_t target = options->target_bytes, went = 0;
	unsigned count = shrinkers_collect(collected, SHRINKERS_PASS_MAX,
					   SPW_TIER_LAST);

	for (unsigned i = 0; i < count; i++)
		list[i] = (struct asked){ .shrinker = collected[i] };
	share_sort(list, count);
	went = drain_inline(&pass, list, count, target);
	for (unsigned i = 0; everybody && i < count && went < target; i++) {
		if (list[i].shrinker->exact)
			continue;
		went += ask_inline(&pass, list[i].shrinker, target - went);
		if (went < target)
			went += drain_inline(&pass, list, count, target - went);
	}
	shrinkers_release(collected, count);
	return went;
}
