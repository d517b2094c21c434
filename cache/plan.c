/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which segments go first, and which entries are worth a copy.
 *
 * A plan looks at a few entries at the beginning of every sealed segment of a
 * cache (entries are in order of time, so these are like the rest), gives
 * each a score, and sorts segments by their mean. `threshold` is the score
 * that at least half of all bytes do not exceed, more where more is to go: in
 * a segment that is merged, what exceeds it stays. Half, because a cache from
 * which an eighth is wanted gets it from a quarter of its segments, at a
 * quarter of the copying, and what it loses is the tail of the distribution
 * either way (Segcache merges for the same reason).
 *
 * A score is the logarithm of what an entry is worth: how often it was hit
 * (entry.h: the counter is one already), what it costs to make, less what it
 * takes up; a little more for what was read or written just now. A merge
 * halves the count of what stays (evict.c), which is ageing.
 *
 * One plan at a time, of one cache; guarded by evict's lock, as all here.
 */
#include "base/clock.h"
#include "base/rcu.h"
#include "cache/cache.h"

#define FRESH_NS (200 * CLOCK_MS)
#define STICKY_NS (2 * CLOCK_S)
#define SCORES 64u
#define SCORE_LARGE_BYTES 12u /* log2: beyond a page, size counts */
#define COST_FREE_US 10u      /* log2: dearer than a millisecond counts */
#define RANKS 256u
#define RANK_YOUNG (RANKS - 1)
#define RANK_COLD 6u /* mostly never hit */
#define SAMPLES 16u
#define SAMPLES_SURE 64u
#define SHARE_MIN_PERCENT 50u
#define SHARE_ENOUGH_PERCENT 35u
/* The youngest so many are last: what is in them had no chance yet. */
#define YOUNG_PART 8u

static struct plan {
	const struct spw_cache *cache;
	uint64_t made_ns, older_than_ns;
	uint32_t count, next;
	uint32_t threshold;
	uint32_t era;
	uint32_t old_eras;      /* asked for what was not read for so many; 0 */
	uint64_t bytes[SCORES]; /* sampled, of each */
	uint64_t ages[SPW_CACHE_AGES], heats[SPW_CACHE_HEATS]; /* the same */
	uint32_t rank_count[RANKS];
	uint32_t order[SEGMENTS_MAX];
} plan;

static uint32_t
log2_of(uint64_t value)
{
	return value ? 63 - (uint32_t)__builtin_clzll(value) : 0;
}

static uint32_t
score_of(const struct entry *e)
{
	uint32_t count = entry_count(e), age = entry_age(e, plan.era);
	int score = (int)count * 2 + (age <= 1);
	uint32_t size = log2_of(entry_bytes(e));

	if (cache_is_expired(e))
		return 0;
	if (plan.old_eras)
		return age >= plan.old_eras ? 0 : SCORES - 1;
	if (e->value_word & ENTRY_EXTRA) {
		uint32_t cost = log2_of(entry_extra(e)->cost_us);

		if (cost > COST_FREE_US)
			score += (int)(cost - COST_FREE_US) * 2;
	}
	if (size > SCORE_LARGE_BYTES)
		score -= (int)(size - SCORE_LARGE_BYTES);
	if (score < 0)
		return 0;
	return score < (int)SCORES ? (uint32_t)score : SCORES - 1;
}

bool
plan_keeps(const struct entry *e)
{
	return score_of(e) > plan.threshold;
}

/* What the statistics say of an entry. */
static void
estimate(const struct entry *e, size_t bytes)
{
	static const uint32_t eras[SPW_CACHE_AGES - 1] = { 1, 4, 20, 60, 240 };
	uint32_t age = entry_age(e, plan.era), heat = entry_count(e);
	unsigned a = 0;

	while (a < SPW_CACHE_AGES - 1 && age >= eras[a])
		a++;
	heat = heat <= 1 ? heat : log2_of(heat) + 1;
	if (heat >= SPW_CACHE_HEATS)
		heat = SPW_CACHE_HEATS - 1;
	plan.ages[a] += bytes;
	plan.heats[heat] += bytes;
}

/* The scores of the first entries of a segment, into bytes_by_score too;
 * their mean, times 4. */
static uint32_t
sample(uint32_t index, unsigned samples, uint64_t bytes_by_score[SCORES],
       bool estimates)
{
	const char *at = segment_address(index);
	const char *end = at + segment_at(index)->filled_bytes;
	uint64_t sum = 0, bytes = 0;

	for (unsigned i = 0; i < samples && at < end; i++) {
		const struct entry *e = (const struct entry *)(const void *)at;
		size_t own = entry_bytes(e);
		uint32_t score = score_of(e);

		sum += score * own;
		bytes += own;
		bytes_by_score[score] += own;
		if (estimates)
			estimate(e, own);
		at += own;
	}
	return bytes ? (uint32_t)(4 * sum / bytes) : 0;
}

static bool
may_go(const struct spw_cache *c, uint32_t index)
{
	const struct segment *s = segment_at(index);
	uint32_t ticket = atomic_load_explicit(&segment_window.tickets[index],
					       memory_order_acquire);

	return ticket >> SLOT_GENERATION_BITS == c->index.owner &&
	       atomic_load_explicit(&s->state, memory_order_acquire) ==
		       SEGMENT_SEALED &&
	       segment_is_settled(s) && !atomic_load(&s->pins);
}

/* What is dead needs no copy: the segment is as good as cold. */
static uint32_t
rank_of(const struct spw_cache *c, const struct segment *s, uint32_t mean)
{
	uint64_t dead = atomic_load_explicit(&s->dead_bytes,
					     memory_order_relaxed);
	uint64_t seals = atomic_load_explicit(&c->seals, memory_order_relaxed);
	uint32_t segments = atomic_load_explicit(&c->segments,
						 memory_order_relaxed);
	uint32_t rank;

	if (dead >= s->filled_bytes)
		return 0;
	rank = (uint32_t)(mean * (s->filled_bytes - dead) / s->filled_bytes);
	if (rank >= RANK_YOUNG)
		rank = RANK_YOUNG - 1;
	if (seals - s->sealed_order <= segments / YOUNG_PART &&
	    rank * 2 > RANK_COLD)
		return RANK_YOUNG;
	return rank;
}

static void
set_threshold(uint64_t target_bytes, uint64_t held_bytes, bool sticky)
{
	uint32_t before = plan.threshold, percent = SHARE_MIN_PERCENT;
	uint64_t all = 0, sum = 0;
	uint32_t score = 0;

	if (held_bytes && target_bytes < held_bytes &&
	    target_bytes * 100 / held_bytes > percent)
		percent = (uint32_t)(target_bytes * 100 / held_bytes);
	else if (target_bytes >= held_bytes)
		percent = 100;
	for (uint32_t i = 0; i < SCORES; i++)
		all += plan.bytes[i];
	for (; score < SCORES - 1; score++) {
		uint64_t with = sum + plan.bytes[score];

		if (with * 100 >= all * percent) {
			/* Where the step is large, less may be enough. */
			if (score && percent < 100 &&
			    sum * 100 >= all * SHARE_ENOUGH_PERCENT)
				score--;
			break;
		}
		sum = with;
	}
	/* What the last plan kept, the next would drop: not at once. */
	if (sticky && percent == SHARE_MIN_PERCENT && before < score)
		score = before;
	plan.threshold = score;
	if (plan.old_eras)
		plan.threshold = 0;
}

/* From what was sampled to what there is. */
static void
publish(_Atomic uint64_t *to, const uint64_t *sampled, unsigned count,
	uint64_t held_bytes)
{
	uint64_t all = 0;

	for (unsigned i = 0; i < count; i++)
		all += sampled[i];
	for (unsigned i = 0; i < count; i++)
		atomic_store_explicit(&to[i],
				      all ? (uint64_t)((double)sampled[i] *
						       (double)held_bytes /
						       (double)all) :
					    0,
				      memory_order_relaxed);
}

/* Ranks them all; how many bytes they have. */
static uint64_t
rank_all(struct spw_cache *c)
{
	uint32_t high = segment_high();
	uint64_t held = 0, cold = 0;

	memset(plan.rank_count, 0, sizeof plan.rank_count);
	for (uint32_t i = 1; i < high; i++) {
		struct segment *s = segment_at(i);
		uint32_t mean;

		if (!may_go(c, i))
			continue;
		mean = sample(i, SAMPLES, plan.bytes, true);
		s->rank = (uint8_t)rank_of(c, s, mean);
		plan.rank_count[s->rank]++;
		held += s->filled_bytes;
		if (s->rank < RANK_COLD)
			cold += s->filled_bytes;
	}
	atomic_store_explicit(&c->cold_bytes, cold, memory_order_relaxed);
	return held;
}

/* By rank: a counting sort, since qsort(3) allocates. */
static void
sort_all(const struct spw_cache *c)
{
	uint32_t high = segment_high(), at[RANKS], sum = 0;

	for (uint32_t i = 0; i < RANKS; i++) {
		at[i] = sum;
		sum += plan.rank_count[i];
	}
	plan.count = 0;
	for (uint32_t i = 1; i < high; i++) {
		uint32_t *place = &at[segment_at(i)->rank];

		/* It may have become fit to go since they were counted. */
		if (!may_go(c, i) || plan.count == sum || *place >= sum)
			continue;
		plan.order[(*place)++] = i;
		plan.count++;
	}
	/* Or unfit: holes would be read as segments. */
	if (plan.count < sum)
		plan.count = sum;
}

void
plan_make(struct spw_cache *c, const struct evict_ask *ask)
{
	uint64_t now = clock_now_ns(), held;
	bool sticky = plan.cache == c && now - plan.made_ns < STICKY_NS &&
		      plan.older_than_ns == ask->older_than_ns;

	memset(plan.bytes, 0, sizeof plan.bytes);
	memset(plan.order, 0, segment_high() * sizeof plan.order[0]);
	memset(plan.ages, 0, sizeof plan.ages);
	memset(plan.heats, 0, sizeof plan.heats);
	plan.cache = c;
	plan.made_ns = now;
	plan.older_than_ns = ask->older_than_ns;
	plan.old_eras = (uint32_t)(ask->older_than_ns / ENTRY_ERA_NS);
	if (ask->older_than_ns && !plan.old_eras)
		plan.old_eras = 1;
	plan.era = writer_era_refresh();
	plan.next = 0;
	rcu_read_lock();
	held = rank_all(c);
	rcu_read_unlock();
	sort_all(c);
	set_threshold(ask->target_bytes, held, sticky);
	publish(c->age_bytes, plan.ages, SPW_CACHE_AGES, held);
	publish(c->heat_bytes, plan.heats, SPW_CACHE_HEATS, held);
}

bool
plan_is_for(const struct spw_cache *c, const struct evict_ask *ask)
{
	return plan.cache == c && plan.older_than_ns == ask->older_than_ns &&
	       clock_now_ns() - plan.made_ns < FRESH_NS;
}

void
plan_forget(const struct spw_cache *c)
{
	if (plan.cache == c)
		plan.cache = NULL;
}

uint32_t
plan_next(struct spw_cache *c, const struct evict_ask *ask)
{
	while (plan.next < plan.count) {
		uint32_t index = plan.order[plan.next];
		uint32_t rank = index ? segment_at(index)->rank : 0;

		if (ask->cold_only && rank >= RANK_COLD)
			return 0;
		if (plan.old_eras && rank >= 4 * (SCORES - 1) - 1)
			return 0; /* all of its sample was read since */
		plan.next++;
		if (index && may_go(c, index))
			return index;
	}
	return 0;
}

bool
plan_is_hopeless(uint32_t index)
{
	uint64_t bytes[SCORES] = { 0 };

	sample(index, SAMPLES_SURE, bytes, false);
	for (uint32_t i = plan.threshold + 1; i < SCORES; i++)
		if (bytes[i])
			return false;
	return true;
}
