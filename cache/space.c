/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where entries are written: open segments, the reserve, and whether a cache
 * may grow.
 *
 *	space_alloc: bump the thread's shard; full?
 *	  -> space_obtain, outside of every section: the reserve, else fresh
 *	     memory where the gate has credit, else wait for the reclaimer
 *	  -> space_install: sweep what generations need, open, into the shard
 *
 * A cache grows while the gate has credit, which is headroom above the soft
 * watermark; beyond it recycles: the reclaimer keeps a few segments ready
 * whose grace period is over (evict_refill), so that who inserts waits for no
 * grace period, and for the reclaimer only when the reserve is dry: bounded
 * (gate:), and neither with a lock nor inside a section. After that it takes
 * fresh memory: a put does not fail while any is to be had.
 *
 * A shard's lock is held for a few stores. Entries are written after it has
 * been released, inside the section that will publish them: a segment is
 * scanned only a grace period after it was sealed (evict.c).
 *
 * Generations: a stale slot must be gone from the index before its segment has
 * been opened SLOT_GENERATION_MAX times more. Each open sweeps a share of the
 * index that is proportional to the opens since the last one, so that a whole
 * sweep ends every SWEEP_OPENS of them; where that was not enough, all of it.
 */
#include <sys/sysinfo.h>

#include "base/clock.h"
#include "base/futex.h"
#include "cache/cache.h"
#include "pressure/core.h"
#include "pressure/gate.h"

#define CHARGE_BYTES (64u << 10)
/* From here on huge pages. */
#define HUGE_FROM_BYTES (4ull << 20)
#define SHARD_SEGMENTS 8u /* at least, for each shard */
#define SWEEP_OPENS (SLOT_GENERATION_MAX / 4 + 1)
#define NAP_NS (1 * CLOCK_MS)
#define WAITS_MAX 100u
#define LITTER_WAIT_PART 2

static struct shard *
my_shard(struct spw_cache *c)
{
	return &c->shards[writer_number() &
			  atomic_load_explicit(&c->shards_mask,
					       memory_order_relaxed)];
}

/* Of the merges. */
static struct shard *
merged_shard(struct spw_cache *c)
{
	return &c->shards[CACHE_SHARDS_MAX];
}

/* Tells the gate, and our own books, what is going to be touched. */
static void
charge(struct spw_cache *c, struct segment *s, uint32_t bytes)
{
	s->charged_bytes += bytes;
	atomic_fetch_add_explicit(&c->resident_bytes, bytes,
				  memory_order_relaxed);
	gate_charge(bytes);
}

/* Who asks for numbers reads it without the lock that merges hold. */
static void
note(uint32_t *place, uint32_t value)
{
	__atomic_store_n(place, value, __ATOMIC_RELAXED);
}

/* With the shard's lock held: room for an entry, or false. */
static bool
bump(struct spw_cache *c, struct shard *shard, size_t bytes,
     struct space *space)
{
	struct segment *s;

	if (!shard->segment || shard->filled_bytes + bytes > SEGMENT_BYTES)
		return false;
	*space = (struct space){ shard->segment, shard->generation,
				 shard->filled_bytes };
	note(&shard->filled_bytes, shard->filled_bytes + (uint32_t)bytes);
	shard->entries++;
	s = segment_at(shard->segment);
	while (s->charged_bytes < shard->filled_bytes)
		charge(c, s, CHARGE_BYTES);
	return true;
}

/* With the shard's lock held. */
static void
seal(struct spw_cache *c, struct shard *shard)
{
	if (!shard->segment)
		return;
	segment_seal(shard->segment, shard->filled_bytes, shard->entries,
		     atomic_fetch_add(&c->seals, 1));
	note(&shard->segment, 0);
	cache_look_at_era(c);
	atomic_store_explicit(&c->starved, false, memory_order_relaxed);
}

void
space_write_header(struct spw_cache *c, const struct space *space,
		   const struct entry *header)
{
	struct entry *e = (struct entry *)(void *)(segment_address(
							   space->segment) +
						   space->offset_bytes);

	e->value_word = header->value_word;
	e->key_bytes = header->key_bytes;
	atomic_store_explicit(&e->heat, era_heat(&c->eras, 0),
			      memory_order_relaxed);
}

bool
space_alloc(struct spw_cache *c, const struct entry *header, size_t bytes,
	    struct space *space)
{
	struct shard *shard = my_shard(c);
	bool there;

	base_lock(&shard->lock);
	there = bump(c, shard, bytes, space);
	if (there) /* what walks a segment needs it, published or not */
		space_write_header(c, space, header);
	base_unlock(&shard->lock);
	return there;
}

/* ---- generations ---- */

static void
sweep(struct spw_cache *c, uint32_t buckets, uint32_t count)
{
	if (c->sweep_next == 0)
		c->sweep_begun = segment_opens();
	index_sweep(&c->index, c->sweep_next, count);
	c->sweep_next += count;
	if (c->sweep_next < buckets)
		return;
	soft_sweep(c);
	c->swept_since = c->sweep_begun;
	c->sweep_next = 0;
}

/* Inside a writer's section. Returns the generation. */
static uint32_t
open_swept(struct spw_cache *c, uint32_t segment)
{
	uint32_t buckets, share, generation;
	uint64_t opens;

	base_lock(&c->sweep_lock);
	opens = segment_opens() + 1;
	buckets = index_buckets(atomic_load(&c->index.table));
	share = (uint32_t)(buckets * (opens - c->sweep_last) / SWEEP_OPENS) + 1;
	sweep(c, buckets, share < buckets ? share : buckets);
	/* Others open meanwhile: it may be ahead. */
	while ((int64_t)(opens - c->swept_since) >= SLOT_GENERATION_MAX)
		sweep(c, buckets, buckets);
	c->sweep_last = opens;
	generation = segment_open(segment, c->index.owner);
	base_unlock(&c->sweep_lock);
	return generation;
}

/* ---- the reserve ---- */

uint32_t
space_spares_wanted(const struct spw_cache *c)
{
	uint32_t segments = atomic_load_explicit(&c->segments,
						 memory_order_relaxed);
	uint32_t wanted = segments / 16;
	/* Half as many where nobody had to wait lately. */
	unsigned part = atomic_load_explicit(&c->share_more_percent,
					     memory_order_relaxed) ?
				1 :
				2;
	uint32_t few = CACHE_SPARES_FEW / part, many = segments / 128 / part;

	if (wanted < 1)
		return 1;
	if (wanted > few)
		wanted = many > few ? many : few;
	return wanted < CACHE_SPARES_MAX ? wanted : CACHE_SPARES_MAX;
}

uint32_t
space_spare_take(struct spw_cache *c)
{
	for (unsigned i = 0; i < CACHE_SPARES_MAX; i++) {
		uint32_t segment = atomic_load_explicit(&c->spares[i],
							memory_order_relaxed);

		if (segment &&
		    atomic_compare_exchange_strong(&c->spares[i], &segment, 0))
			return segment;
	}
	return 0;
}

bool
space_spare_give(struct spw_cache *c, uint32_t segment)
{
	for (unsigned i = 0; i < CACHE_SPARES_MAX; i++) {
		uint32_t none = 0;

		if (atomic_compare_exchange_strong(&c->spares[i], &none,
						   segment)) {
			atomic_fetch_add(&c->news, 1);
			futex_wake(&c->news, 1);
			return true;
		}
	}
	return false;
}

unsigned
space_spares(const struct spw_cache *c)
{
	unsigned count = 0;

	for (unsigned i = 0; i < CACHE_SPARES_MAX; i++)
		count += atomic_load_explicit(&c->spares[i],
					      memory_order_relaxed) != 0;
	return count;
}

/* ---- growing ---- */

/* Fresh address space; its memory is charged as it is filled, or at once where
 * it is a huge page. */
static uint32_t
take_fresh(struct spw_cache *c, uint32_t run, bool shared)
{
	bool huge = atomic_load_explicit(&c->huge, memory_order_relaxed) &&
		    (shared || run > 1);
	uint32_t segment = 0;

	if (settings()->oom != SETTINGS_OOM_FAIL || !gate_is_hopeless())
		segment = segment_take(run, huge);
	if (!segment) {
		atomic_store(&c->dry, true);
		return 0;
	}
	segment_at(segment)->owner = c->index.owner;
	atomic_fetch_add(&c->segments, run);
	if (huge && shared) {
		charge(c, segment_at(segment), SEGMENT_BYTES);
		segment_populate(segment);
	}
	if (grow_held_bytes(c) >= HUGE_FROM_BYTES &&
	    !atomic_load_explicit(&c->huge, memory_order_relaxed))
		atomic_store(&c->huge, true);
	return segment;
}

/* Until a spare comes, none will come, or the bound is over. `anything`: also
 * of what is live. */
static uint32_t
wait_for_spare(struct spw_cache *c, bool anything)
{
	uint64_t start = clock_now_ns(), now = start;
	uint64_t bound = settings()->gate_ns, waited;
	uint32_t segment = 0;

	while (now - start < bound && !gate_fork_waits()) {
		uint32_t seen = atomic_load(&c->news);
		uint64_t left = bound - (now - start);

		segment = space_spare_take(c);
		if (segment || atomic_load(&c->starved))
			break;
		offer_refill(c, anything);
		futex_wait(&c->news, seen, left < NAP_NS ? left : NAP_NS);
		now = clock_now_ns();
	}
	waited = clock_now_ns() - start;
	core_count(&c->waits, 1);
	core_count_max(&c->wait_ns_max, waited);
	return segment;
}

uint32_t
space_obtain(struct spw_cache *c)
{
	bool may_wait = !rcu_thread_is_ours && !rcu_is_reading();
	uint32_t segment;
	bool allowed, grow;

	if (base_unlikely(!core_running()) && may_wait)
		core_start(); /* a forked child's first */
	/* Where most of it is dead, that is worth a wait. */
	allowed = grow_is_allowed(c, SEGMENT_BYTES, may_wait);
	grow = allowed && !grow_is_littered(c, LITTER_WAIT_PART);
	segment = space_spare_take(c);
	if ((!grow || grow_is_littered(c, LITTER_PART)) &&
	    space_spares(c) < space_spares_wanted(c))
		offer_refill(c, !allowed);
	if (!segment && grow)
		segment = take_fresh(c, 1, true);
	if (!segment && may_wait)
		segment = wait_for_spare(c, !allowed);
	if (!segment)
		segment = take_fresh(c, 1, true);
	/* Nothing fresh is to be had, but something may be evicted. */
	for (unsigned i = 0; !segment && may_wait && i < WAITS_MAX; i++) {
		segment = wait_for_spare(c, true);
		if (!segment && atomic_load(&c->starved))
			break;
	}
	return segment;
}

void
space_give(struct spw_cache *c, uint32_t segment)
{
	struct segment *s = segment_at(segment);

	atomic_fetch_sub(&c->segments, s->run);
	atomic_fetch_sub(&c->resident_bytes, s->charged_bytes);
	segment_give(segment);
}

/* One that was opened and is not needed: nobody has a slot of it. */
static void
take_back(struct spw_cache *c, uint32_t segment)
{
	segment_unopen(segment);
	if (space_spare_give(c, segment))
		return;
	segment_return(segment, 1);
	space_give(c, segment);
}

static void
fill(struct shard *shard, uint32_t segment, uint32_t generation)
{
	note(&shard->segment, segment);
	shard->generation = generation;
	note(&shard->filled_bytes, 0);
	shard->entries = 0;
}

/* One shard for each processor, once the cache is worth it. */
static void
spread(struct spw_cache *c)
{
	static _Atomic uint32_t processors;
	uint32_t segments = atomic_load_explicit(&c->segments,
						 memory_order_relaxed);
	uint32_t shards = 1;

	if (!atomic_load_explicit(&processors, memory_order_relaxed))
		atomic_store(&processors, (uint32_t)get_nprocs());
	while (shards < atomic_load_explicit(&processors,
					     memory_order_relaxed) &&
	       shards < CACHE_SHARDS_MAX && shards * SHARD_SEGMENTS < segments)
		shards *= 2;
	if (shards - 1 >
	    atomic_load_explicit(&c->shards_mask, memory_order_relaxed))
		atomic_store(&c->shards_mask, shards - 1);
}

void
space_install(struct spw_cache *c, uint32_t segment)
{
	uint32_t generation = open_swept(c, segment);
	struct shard *shard;
	bool needed;

	spread(c);
	shard = my_shard(c);
	base_lock(&shard->lock);
	/* Another thread of this shard may have been quicker. */
	needed = !shard->segment || shard->filled_bytes > SEGMENT_BYTES / 2;
	if (needed) {
		seal(c, shard);
		fill(shard, segment, generation);
	}
	base_unlock(&shard->lock);
	if (!needed)
		take_back(c, segment);
}

/* ---- values with segments of their own ---- */

static uint32_t
run_of(size_t bytes)
{
	return (uint32_t)((bytes + SEGMENT_BYTES - 1) / SEGMENT_BYTES);
}

uint32_t
space_obtain_run(struct spw_cache *c, size_t bytes)
{
	bool may_wait = !rcu_thread_is_ours && !rcu_is_reading();
	uint32_t segment;

	if (base_unlikely(!core_running()) && may_wait)
		core_start();
	if (!grow_is_allowed(c, bytes, may_wait) && may_wait)
		offer_shrink(c, bytes);
	segment = take_fresh(c, run_of(bytes), false);
	if (!segment)
		return 0;
	charge(c, segment_at(segment),
	       (uint32_t)((bytes + CHARGE_BYTES - 1) & ~(CHARGE_BYTES - 1ul)));
	return segment;
}

void
space_open_run(struct spw_cache *c, uint32_t segment)
{
	open_swept(c, segment);
}

void
space_seal_run(struct spw_cache *c, uint32_t segment, size_t bytes)
{
	segment_seal(segment, (uint32_t)bytes, 1,
		     atomic_fetch_add(&c->seals, 1));
}

/* ---- merging ---- */

/* So that the next entry's value is aligned to 16. */
static void
align(struct spw_cache *c, struct shard *shard)
{
	const struct entry filler = { 0 };
	struct space space;

	if (shard->filled_bytes % (2 * sizeof filler) &&
	    bump(c, shard, sizeof filler, &space)) {
		space_write_header(c, &space, &filler);
		shard->entries--;
	}
}

bool
space_alloc_merged(struct spw_cache *c, size_t bytes, bool aligned,
		   struct space *space)
{
	struct shard *shard = merged_shard(c);
	uint32_t segment;

	if (aligned)
		align(c, shard);
	if (bump(c, shard, bytes, space))
		return true;
	segment = space_spare_take(c);
	if (!segment && !grow_is_tight(SEGMENT_BYTES))
		segment = take_fresh(c, 1, true);
	if (!segment)
		return false;
	c->merge_taken_bytes += SEGMENT_BYTES;
	seal(c, shard);
	fill(shard, segment, open_swept(c, segment));
	return bump(c, shard, bytes, space);
}

void
space_seal_all(struct spw_cache *c)
{
	seal(c, merged_shard(c));
	for (unsigned i = 0; i < CACHE_SHARDS_MAX; i++) {
		struct shard *shard = &c->shards[i];

		base_lock(&shard->lock);
		seal(c, shard);
		base_unlock(&shard->lock);
	}
}

void
space_init(struct spw_cache *c)
{
	for (unsigned i = 0; i <= CACHE_SHARDS_MAX; i++)
		c->shards[i].lock = (struct base_lock)BASE_LOCK(
			BASE_RANK_CACHE_SHARD);
	c->sweep_lock = (struct base_lock)BASE_LOCK(BASE_RANK_CACHE_SWEEP);
	c->sweep_begun = c->swept_since = c->sweep_last = segment_opens();
}

/* What the parent's other threads were about to do with a segment, nobody does
 * here: books are made anew from the segments' states. */
static void
settle_child(struct spw_cache *c)
{
	uint64_t entries = 0, resident = 0, dead = 0;
	uint32_t high = segment_high(), segments = 0, closing = 0;

	for (uint32_t i = 1; i < high; i++) {
		struct segment *s = segment_at(i);
		uint32_t state = atomic_load(&s->state);
		bool spare = false;

		if (s->owner != c->index.owner || state == SEGMENT_FREE ||
		    state == SEGMENT_TAIL || state == SEGMENT_ORPHAN)
			continue;
		for (unsigned k = 0; k < CACHE_SPARES_MAX; k++)
			spare |= atomic_load(&c->spares[k]) == i;
		if (state == SEGMENT_TAKEN && !spare) {
			segment_return(i, s->run);
			segment_give(i);
			continue;
		}
		if ((state == SEGMENT_OPEN || state == SEGMENT_SEALED) &&
		    !atomic_load(&segment_window.tickets[i]))
			atomic_store(&s->state, state = SEGMENT_CLOSED);
		closing += state == SEGMENT_CLOSED;
		segments += s->run;
		dead += atomic_load(&s->dead_bytes);
		resident += s->charged_bytes;
		if (state == SEGMENT_SEALED || state == SEGMENT_CLOSED)
			entries += s->entries - atomic_load(&s->dead_entries);
	}
	for (unsigned i = 0; i <= CACHE_SHARDS_MAX; i++) {
		struct shard *shard = &c->shards[i];

		if (!shard->segment)
			continue;
		entries += shard->entries -
			   atomic_load(
				   &segment_at(shard->segment)->dead_entries);
	}
	atomic_store(&c->dead_bytes, dead);
	atomic_store(&c->index.entries, entries);
	atomic_store(&c->segments, segments);
	atomic_store(&c->resident_bytes, resident);
	atomic_store(&c->closing, closing);
}

void
space_fork_child(struct spw_cache *c)
{
	for (unsigned i = 0; i <= CACHE_SHARDS_MAX; i++)
		pthread_mutex_init(&c->shards[i].lock.mutex, NULL);
	pthread_mutex_init(&c->sweep_lock.mutex, NULL);
	settle_child(c);
}

/* Of merges': as of a moment ago, or so. */
static uint64_t
live_bytes(const struct shard *shard)
{
	uint32_t segment = __atomic_load_n(&shard->segment, __ATOMIC_RELAXED);
	uint32_t filled = __atomic_load_n(&shard->filled_bytes,
					  __ATOMIC_RELAXED);
	uint32_t dead;

	if (!segment)
		return 0;
	dead = atomic_load(&segment_at(segment)->dead_bytes);
	return filled > dead ? filled - dead : 0;
}

uint64_t
space_live_bytes(struct spw_cache *c)
{
	uint32_t high = segment_high();
	uint64_t bytes = 0;

	for (uint32_t i = 1; i < high; i++) {
		const struct segment *s = segment_at(i);
		uint32_t ticket = atomic_load(&segment_window.tickets[i]);

		if (ticket >> SLOT_GENERATION_BITS == c->index.owner &&
		    atomic_load(&s->state) == SEGMENT_SEALED)
			bytes += s->filled_bytes - atomic_load(&s->dead_bytes);
	}
	for (unsigned i = 0; i < CACHE_SHARDS_MAX; i++) {
		struct shard *shard = &c->shards[i];

		base_lock(&shard->lock);
		bytes += live_bytes(shard);
		base_unlock(&shard->lock);
	}
	bytes += live_bytes(merged_shard(c));
	return bytes;
}
