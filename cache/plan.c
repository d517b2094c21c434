/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which segments go first, and which entries are worth a copy.
 *
 * A plan looks at a few entries at the beginning of every sealed segment of a
 * cache (entries are in order of time, so these are like the rest), gives
 * each a score, and sorts segments by the mean of every second one; what is
 * dead in them counts as nothing. The threshold is the score below which as
 * much lies as is to go, of all live bytes, as the other half of them tells;
 * of what is exactly there a part goes, by chance, so that it comes out even.
 * At least SHARE_MIN_PERCENT goes of what is merged, and more where who inserts
 * had to wait, so that a little that is wanted comes from the few coldest
 * segments and not, at much copying, from all (Segcache merges for the same
 * reason); what is dead counts towards it. For a shrink that is a share of the
 * coldest segments; for who inserts, and is in a hurry, half of it, but of all
 * of them, which lets more of the coldest go.
 *
 * A score is what an entry is worth: how often it was hit (its counter, as it
 * has aged), what it costs to make, less what it takes up, the latter two as
 * logarithms. Counters age with the hits that others have (era.h).
 *
 * A plan of a large cache takes its time. So that the first bytes need not wait
 * for it, a sketch is the same of a few segments, good for one of them.
 *
 * One plan at a time, of one cache; guarded by evict's lock, as all here.
 */
#include "base/clock.h"
#include "base/rcu.h"
#include "cache/cache.h"
#include "cache/cut.h"

#define FRESH_NS (200 * CLOCK_MS)
/* A plan is out when a share of so many segments was filled since: what has
 * come is colder than what it has left. */
#define FRESH_PART 64u
#define SCORE_LARGE_BYTES 12u /* log2: beyond a page, size counts */
#define COST_FREE_US 10u      /* log2: dearer than a millisecond counts */
/* A plan for less than such a part of what is wanted is none. */
#define WANTED_PART 4u
/* The first to go, by which a plan for little is made. */
#define COLDEST_PART 32u
#define COLDEST_MIN 8u
#define RANKS 256u
#define RANK_YOUNG (RANKS - 1)
#define RANKS_DEAD 4u
#define RANK_COLD (RANKS_DEAD + 6u) /* mostly never hit */
#define SAMPLES 16u
#define SAMPLES_SURE 64u
#define SHARE_MIN_PERCENT 20u
#define SHARE_INSERT_PERCENT 10u
#define SHARE_MORE_PERCENT 30u /* at most, where somebody waits */
#define SHARE_UP_PERCENT 10u
#define SHARE_DOWN_PERCENT 1u
/* The youngest so many are last: what is in them had no chance yet. */
#define YOUNG_PART 8u
/* Of a sketch, which is worth it where a large part of many is wanted by who
 * was not asked lately. */
#define SKETCH_SEGMENTS 32u
#define SKETCH_WORTH 4u
#define SKETCH_PART 128u
#define REHEARSED_SEGMENTS (16u << 10) /* 32 GiB of cache */

static struct plan {
	const struct spw_cache *cache;
	uint64_t older_than_ns;
	uint64_t seals;  /* of the cache, by then */
	uint64_t now_ns; /* coarse, when it was made */
	uint32_t era;    /* the same: scores stay comparable */
	uint64_t dice;
	uint32_t count, next;
	uint32_t step; /* it is of every so many'th segment; 1: no sketch */
	struct cut cut;
	bool dead_only;             /* as asked: whatever lives is kept */
	uint64_t wanted_bytes;      /* the same */
	uint64_t bytes[CUT_SCORES]; /* sampled, of each */
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
score_of(const struct spw_cache *c, const struct entry *e)
{
	uint32_t size = log2_of(entry_bytes(e)), seconds;
	uint32_t count = era_count(&c->eras, e, plan.era);
	int score = (int)count * 2;

	if (cache_is_expired(e))
		return 0;
	seconds = era_seconds(&c->eras, e, plan.era, plan.now_ns);
	if (plan.older_than_ns)
		return seconds * CLOCK_S >= plan.older_than_ns ? 0 :
								 CUT_SCORES - 1;
	if (e->value_word & ENTRY_EXTRA) {
		uint32_t cost = log2_of(entry_extra(e)->cost_us);

		if (cost > COST_FREE_US)
			score += (int)(cost - COST_FREE_US) * 2;
	}
	if (size > SCORE_LARGE_BYTES)
		score -= (int)(size - SCORE_LARGE_BYTES);
	score += count && !seconds; /* in this era */
	if (score < 0)
		return 0;
	return score < (int)CUT_SCORES ? (uint32_t)score : CUT_SCORES - 1;
}

bool
plan_keeps(const struct spw_cache *c, const struct entry *e)
{
	uint32_t score;

	if (cache_is_expired(e))
		return false;
	score = score_of(c, e);
	if (score != plan.cut.threshold)
		return score > plan.cut.threshold;
	return era_roll(&plan.dice) >> 56 < plan.cut.kept;
}

/* What the statistics say of an entry. */
static void
estimate(const struct spw_cache *c, const struct entry *e, size_t bytes)
{
	static const uint32_t seconds[SPW_CACHE_AGES - 1] = { 15, 60, 300, 900,
							      3600 };
	uint32_t age = era_seconds(&c->eras, e, plan.era, plan.now_ns);
	uint32_t heat = era_count(&c->eras, e, plan.era);
	unsigned a = 0;

	while (a < SPW_CACHE_AGES - 1 && age >= seconds[a])
		a++;
	heat = heat <= 1 ? heat : log2_of(heat) + 1;
	if (heat >= SPW_CACHE_HEATS)
		heat = SPW_CACHE_HEATS - 1;
	plan.ages[a] += bytes;
	plan.heats[heat] += bytes;
}

/* Whether the slot of an entry is still its own: samples are few enough to
 * ask the index. */
static bool
is_live(const struct spw_cache *c, uint32_t index, const struct entry *e)
{
	const struct segment *s = segment_at(index);

	return !atomic_load_explicit(&s->dead_bytes, memory_order_relaxed) ||
	       merge_is_live(c, index, e);
}

/* The first entries of a segment, one after the other; NULL: that was all. */
struct walk {
	const char *at, *end;
	size_t bytes; /* of the one that was given last */
};

static struct walk
walk_of(uint32_t index)
{
	const char *at = segment_address(index);

	return (struct walk){ at, at + segment_at(index)->filled_bytes, 0 };
}

static const struct entry *
walk_next(struct walk *walk)
{
	const struct entry *e = (const struct entry *)(const void *)walk->at;

	if (walk->at >= walk->end)
		return NULL;
	walk->bytes = entry_bytes(e);
	walk->at += walk->bytes;
	return e;
}

/*
 * Of the first entries of a segment every second ranks it, from the first on,
 * and the others tell what scores there are: by those that chose a segment it
 * looks colder than it is, and all that is left warmer. One that is alone does
 * both.
 */
static bool
ranks(unsigned i)
{
	return i % 2 == 0;
}

static bool
tells(const struct walk *walk, unsigned i)
{
	return i % 2 || (i == 0 && walk->at >= walk->end);
}

/* Adds the bytes of the live among its first entries, each to its score: of all
 * of them, or of those that tell. */
static void
add_scores(const struct spw_cache *c, uint32_t index, unsigned samples,
	   bool all, uint64_t bytes[CUT_SCORES])
{
	struct walk walk = walk_of(index);
	const struct entry *e;

	for (unsigned i = 0; i < samples && (e = walk_next(&walk)); i++)
		if ((all || tells(&walk, i)) && is_live(c, index, e))
			bytes[score_of(c, e)] += walk.bytes;
}

/* The mean score, times 4, of those that rank, where the dead count as 0. What
 * the others tell is added to the plan. */
static uint32_t
mean_of(const struct spw_cache *c, uint32_t index)
{
	struct walk walk = walk_of(index);
	const struct entry *e;
	uint64_t sum = 0, bytes = 0;

	for (unsigned i = 0; i < SAMPLES && (e = walk_next(&walk)); i++) {
		bool live = is_live(c, index, e);
		uint32_t score = live ? score_of(c, e) : 0;

		if (live)
			estimate(c, e, walk.bytes);
		if (live && tells(&walk, i))
			plan.bytes[score] += walk.bytes;
		if (ranks(i)) {
			sum += score * walk.bytes;
			bytes += walk.bytes;
		}
	}
	return bytes ? (uint32_t)(4 * sum / bytes) : 0;
}

static bool
is_its(const struct spw_cache *c, uint32_t index)
{
	uint32_t ticket = atomic_load_explicit(&segment_window.tickets[index],
					       memory_order_acquire);

	return ticket >> SLOT_GENERATION_BITS == c->index.owner;
}

static bool
may_go(const struct spw_cache *c, uint32_t index)
{
	const struct segment *s = segment_at(index);

	return is_its(c, index) &&
	       atomic_load_explicit(&s->state, memory_order_acquire) ==
		       SEGMENT_SEALED &&
	       segment_is_settled(s) && !atomic_load(&s->pins);
}

static uint64_t
dead_bytes(const struct segment *s)
{
	uint64_t dead = atomic_load_explicit(&s->dead_bytes,
					     memory_order_relaxed);

	return dead < s->filled_bytes ? dead : s->filled_bytes;
}

static uint32_t
rank_of(const struct spw_cache *c, const struct segment *s, uint32_t mean)
{
	uint64_t seals = atomic_load_explicit(&c->seals, memory_order_relaxed);
	uint32_t segments = atomic_load_explicit(&c->segments,
						 memory_order_relaxed);
	bool young = seals - s->sealed_order <= segments / YOUNG_PART;

	/* First what is mostly dead, the deadest before: one that was sealed
	 * before anybody filled anything in. */
	if (!s->filled_bytes)
		return 0;
	if (dead_bytes(s) * 2 >= s->filled_bytes)
		return (uint32_t)((s->filled_bytes - dead_bytes(s)) * 2 *
				  (RANKS_DEAD - 1) / s->filled_bytes);
	mean += RANKS_DEAD;
	if (young && mean * 2 > RANK_COLD + RANKS_DEAD)
		return RANK_YOUNG;
	return mean < RANK_YOUNG ? mean : RANK_YOUNG - 1;
}

void
plan_pace(struct spw_cache *c)
{
	uint64_t waits = atomic_load_explicit(&c->waits, memory_order_relaxed);
	uint32_t more = atomic_load_explicit(&c->share_more_percent,
					     memory_order_relaxed);

	if (waits != c->waits_then)
		more += SHARE_UP_PERCENT;
	else if (more)
		more -= SHARE_DOWN_PERCENT;
	c->waits_then = waits;
	if (more > SHARE_MORE_PERCENT)
		more = SHARE_MORE_PERCENT;
	atomic_store_explicit(&c->share_more_percent, more,
			      memory_order_relaxed);
}

struct held {
	uint64_t bytes, dead;
	uint64_t cold; /* of bytes, as segments are ranked */
};

/* So much of that is to go: what is dead goes first. */
static double
part_of(const struct held *held, uint64_t wanted_bytes)
{
	if (wanted_bytes <= held->dead || held->bytes <= held->dead)
		return 0;
	return (double)(wanted_bytes - held->dead) /
	       (double)(held->bytes - held->dead);
}

/* Of those that go first, about as many as a plan lasts for. */
static struct held
look_at_coldest(const struct spw_cache *c, uint64_t bytes[CUT_SCORES])
{
	uint32_t count = plan.count / COLDEST_PART + COLDEST_MIN;
	struct held held = { 0 };

	for (uint32_t i = 0; i < count && i < plan.count; i++) {
		uint32_t index = plan.order[i];

		if (!index || !may_go(c, index))
			continue;
		add_scores(c, index, SAMPLES, false, bytes);
		held.bytes += segment_at(index)->filled_bytes;
		held.dead += dead_bytes(segment_at(index));
	}
	return held;
}

static struct cut
make_cut(const struct spw_cache *c, const struct held *held, bool inserting)
{
	uint32_t more = atomic_load_explicit(&c->share_more_percent,
					     memory_order_relaxed);
	uint32_t least = more +
			 (inserting ? SHARE_INSERT_PERCENT : SHARE_MIN_PERCENT);
	uint64_t share = held->bytes * least / 100, wanted = plan.wanted_bytes;
	uint64_t bytes[CUT_SCORES] = { 0 }; /* of the first to go */
	struct cut cut, coldest;
	struct held first;

	if (plan.dead_only)
		return cut_at(plan.bytes, 0);
	if (plan.older_than_ns)
		return (struct cut){ 0, 0 };
	if (inserting && wanted < share)
		return cut_at(plan.bytes, part_of(held, share));
	first = look_at_coldest(c, bytes);
	cut = cut_at(plan.bytes, part_of(held, wanted));
	coldest = cut_at(bytes, part_of(&first, first.bytes * least / 100));
	return cut_is_lower(&cut, &coldest) ? coldest : cut;
}

/* Whether a sample of a segment has nothing that stays. One that has nothing
 * live at all says nothing about the rest: what was put together is removed
 * together. */
bool
plan_is_hopeless(const struct spw_cache *c, uint32_t index)
{
	const struct segment *s = segment_at(index);
	uint64_t bytes[CUT_SCORES] = { 0 };
	uint32_t i = 0;

	add_scores(c, index, SAMPLES_SURE, true, bytes);
	while (i < CUT_SCORES && !bytes[i])
		i++;
	if (i == CUT_SCORES)
		return dead_bytes(s) >= s->filled_bytes;
	for (i = plan.cut.threshold + (plan.cut.kept ? 0 : 1); i < CUT_SCORES;
	     i++)
		if (bytes[i])
			return false;
	return true;
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

/* Once around those of a cache that a plan is of. */
struct round {
	uint32_t at, high, left; /* left out, before the next */
};

static struct round
round_begin(void)
{
	return (struct round){ 1, segment_high(), 0 };
}

/* One that may go; 0: that was all. */
static uint32_t
round_next(const struct spw_cache *c, struct round *round)
{
	while (round->at < round->high) {
		uint32_t index = round->at++;

		if (!is_its(c, index))
			continue;
		if (round->left) {
			round->left--;
			continue;
		}
		round->left = plan.step - 1;
		if (may_go(c, index))
			return index;
	}
	return 0;
}

/* Ranks them; what they hold. */
static struct held
rank_all(struct spw_cache *c)
{
	struct round round = round_begin();
	struct held held = { 0 };
	uint32_t i;

	memset(plan.rank_count, 0, sizeof plan.rank_count);
	while ((i = round_next(c, &round)) != 0) {
		struct segment *s = segment_at(i);

		s->rank = (uint8_t)rank_of(c, s, mean_of(c, i));
		plan.rank_count[s->rank]++;
		held.bytes += s->filled_bytes;
		held.dead += dead_bytes(s);
		if (s->rank < RANK_COLD)
			held.cold += s->filled_bytes;
	}
	return held;
}

/* By rank: a counting sort, since qsort(3) allocates. */
static void
sort_all(const struct spw_cache *c)
{
	struct round round = round_begin();
	uint32_t at[RANKS], sum = 0, i;

	for (i = 0; i < RANKS; i++) {
		at[i] = sum;
		sum += plan.rank_count[i];
	}
	memset(plan.order, 0, sum * sizeof plan.order[0]);
	while ((i = round_next(c, &round)) != 0) {
		uint32_t *place = &at[segment_at(i)->rank];

		/* One that has become fit to go since they were counted may
		 * take another's place, which is in the next plan then. */
		if (*place < sum)
			plan.order[(*place)++] = i;
	}
	plan.count = sum;
}

/* In all, not just now. */
static uint64_t
wanted_of(const struct evict_ask *ask)
{
	return ask->target_bytes > ask->deficit_bytes ? ask->target_bytes :
							ask->deficit_bytes;
}

/* Of every so many'th segment; what they hold. */
static struct held
make(struct spw_cache *c, const struct evict_ask *ask, uint32_t step)
{
	struct held held;

	memset(plan.bytes, 0, sizeof plan.bytes);
	memset(plan.ages, 0, sizeof plan.ages);
	memset(plan.heats, 0, sizeof plan.heats);
	cache_look_at_era(c);
	plan.cache = c;
	c->planned_ns = clock_now_ns();
	plan.now_ns = writer_clock_ns();
	plan.era = atomic_load(&c->eras.now);
	plan.older_than_ns = ask->older_than_ns;
	plan.dead_only = ask->dead_only;
	plan.wanted_bytes = wanted_of(ask);
	plan.next = 0;
	plan.step = step;
	plan.seals = atomic_load(&c->seals);
	rcu_read_lock();
	held = rank_all(c);
	sort_all(c);
	plan.cut = make_cut(c, &held, ask->inserting);
	rcu_read_unlock();
	return held;
}

void
plan_make(struct spw_cache *c, const struct evict_ask *ask)
{
	struct held held = make(c, ask, 1);
	uint64_t live = held.bytes - held.dead;

	atomic_store_explicit(&c->cold_bytes, held.cold, memory_order_relaxed);
	publish(c->age_bytes, plan.ages, SPW_CACHE_AGES, live);
	publish(c->heat_bytes, plan.heats, SPW_CACHE_HEATS, live);
}

bool
plan_sketch(struct spw_cache *c, const struct evict_ask *ask)
{
	uint32_t segments = atomic_load_explicit(&c->segments,
						 memory_order_relaxed);

	if (segments < SKETCH_SEGMENTS * SKETCH_WORTH ||
	    wanted_of(ask) / SEGMENT_BYTES < segments / SKETCH_PART ||
	    clock_now_ns() - c->planned_ns < FRESH_NS)
		return false;
	make(c, ask, segments / SKETCH_SEGMENTS);
	return true;
}

void
plan_rehearse(void)
{
	memset(plan.order, 0, REHEARSED_SEGMENTS * sizeof plan.order[0]);
	plan.cache = NULL;
}

bool
plan_is_for(const struct spw_cache *c, const struct evict_ask *ask)
{
	uint64_t since = atomic_load_explicit(&c->seals, memory_order_relaxed) -
			 plan.seals;

	return plan.cache == c && plan.step == 1 &&
	       plan.older_than_ns == ask->older_than_ns &&
	       plan.dead_only == ask->dead_only &&
	       plan.wanted_bytes >= wanted_of(ask) / WANTED_PART &&
	       since <= plan.count / FRESH_PART + 1 &&
	       clock_now_ns() - c->planned_ns < FRESH_NS;
}

void
plan_forget(const struct spw_cache *c)
{
	if (plan.cache == c || !c)
		plan.cache = NULL;
}

uint32_t
plan_next(struct spw_cache *c, const struct evict_ask *ask)
{
	while (plan.next < plan.count) {
		uint32_t index = plan.order[plan.next];
		uint32_t rank = index ? segment_at(index)->rank : 0;

		if ((ask->cold_only && rank >= RANK_COLD) ||
		    (ask->dead_only && rank >= RANKS_DEAD))
			return 0;
		if (plan.older_than_ns && rank >= RANK_YOUNG - 4)
			return 0; /* all of its sample was read since */
		plan.next++;
		if (index && may_go(c, index))
			return index;
	}
	return 0;
}
