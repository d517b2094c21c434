/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Eviction: segments are merged, or dropped, and their memory goes back to the
 * kernel or into the reserve.
 *
 *	evict_release, evict_refill
 *	  -> plan.c: the coldest segments
 *	  -> merge.c: what is worth it is copied, its slot moved
 *	  -> batch.c: it is closed, waits for a grace period, and goes
 *
 * Runs on the reclaimer (offer.c), one at a time: evict_lock; under
 * threads:never in the thread that wants memory. Allocates nothing, and waits
 * for a grace period with no lock that anybody else takes.
 *
 * Invariant: what is closed here is in the batch until its grace period is over,
 * and the batch is empty when the lock is left.
 */
#include "base/clock.h"
#include "base/futex.h"
#include "base/rcu.h"
#include "cache/batch.h"
#include "cache/cache.h"
#include "pressure/core.h"
#include "pressure/gate.h"

#define BATCH_MERGED 32u
#define BATCH_REFILL 8u /* who waits for a spare waits for the batch */
#define TRIM_NS (1 * CLOCK_MS)
#define TRIM_SLICES 4u
#define REHEARSED_STACK_BYTES (16u << 10)
#define REHEARSED_PAGE_BYTES 4096u

static struct base_lock evict_lock = BASE_LOCK(BASE_RANK_CACHE_EVICT);

/* ---- what is asked for ---- */

static bool
is_over(const struct evict_ask *ask)
{
	return gate_fork_waits() ||
	       (ask->deadline_ns && clock_now_ns() >= ask->deadline_ns);
}

static bool
is_hopeless(const struct spw_cache *c, uint32_t index)
{
	bool hopeless;

	rcu_read_lock();
	hopeless = plan_is_hopeless(c, index);
	rcu_read_unlock();
	return hopeless;
}

static uint64_t
spares_bytes(const struct spw_cache *c)
{
	return (uint64_t)space_spares(c) * SEGMENT_BYTES;
}

/* Whether it may go, what is to be kept of it being elsewhere. Where it cannot be
 * copied that is lost, unless nothing that lives, or is young, may be. */
static bool
is_emptied(struct spw_cache *c, const struct evict_ask *ask, uint32_t index)
{
	if (ask->drop || is_hopeless(c, index))
		return true;
	if (merge_has_room(c, index))
		return merge_segment(c, index);
	return !ask->dead_only && !ask->older_than_ns;
}

/* Fills the batch up to so many bytes; false: the plan has no more. */
static bool
fill_batch(struct spw_cache *c, const struct evict_ask *ask, uint64_t bytes,
	   unsigned most)
{
	while (batch_count() < most && batch_bytes() < bytes) {
		uint32_t index = plan_next(c, ask);

		if (!index)
			return false;
		if (is_emptied(c, ask, index))
			batch_add(c, index);
		if (!ask->drop && is_over(ask))
			break;
	}
	return true;
}

static uint64_t
return_spares(struct spw_cache *c, uint64_t bytes)
{
	uint64_t went = 0;
	uint32_t index;

	while (went < bytes && (index = space_spare_take(c)) != 0) {
		went += segment_at(index)->charged_bytes;
		segment_return(index, 1);
		space_give(c, index);
	}
	core_count(&c->released_bytes, went);
	return went;
}

/* All but so many bytes of them, at most to the target: before anything that
 * is of use to somebody. */
static uint64_t
return_spares_above(struct spw_cache *c, uint64_t kept, uint64_t target)
{
	uint64_t there = spares_bytes(c);

	if (there <= kept)
		return 0;
	return return_spares(c, there - kept < target ? there - kept : target);
}

/* A few slices of merges; true: there are no more. What they took off goes
 * after a grace period: a writer who is late may hold a bucket of it. */
static bool
trim_slices(struct spw_cache *c, unsigned slices)
{
	bool done = false;
	uint32_t buckets;

	while (slices-- && !done && !gate_fork_waits()) {
		writer_enter();
		done = index_trim(&c->index, clock_now_ns() + TRIM_NS);
		writer_leave();
	}
	buckets = index_buckets(atomic_load(&c->index.table));
	segment_grace();
	index_purge(&c->index, buckets);
	return done;
}

/* A slice with each step; where more is wanted on until it is there, and some
 * goes back meanwhile: a large table takes long, and memory is wanted now. */
static uint64_t
trim_index(struct spw_cache *c, uint64_t wanted_bytes)
{
	uint64_t before = index_bytes(&c->index), after;
	bool done;

	if (!index_is_loose(&c->index))
		return 0;
	do {
		done = trim_slices(c, wanted_bytes ? TRIM_SLICES : 1);
		after = index_bytes(&c->index);
		if (after > before)
			return 0; /* somebody inserts */
	} while (before - after < wanted_bytes && !done && !gate_fork_waits());
	return before - after;
}

/* The next batch of merges copies into what this one leaves. */
static unsigned
spares_for_merging(const struct evict_ask *ask, unsigned most)
{
	return ask->drop ? 0 : (most + 1) / 2;
}

/* A fork finds nothing half sealed. */
static void
seal_all(struct spw_cache *c)
{
	writer_enter();
	space_seal_all(c);
	writer_leave();
}

/* What merges took is to be given back on top. */
static uint64_t
goal(const struct spw_cache *c, uint64_t target)
{
	return target < UINT64_MAX - c->merge_taken_bytes ?
		       target + c->merge_taken_bytes :
		       UINT64_MAX;
}

/* What is left of it when that is taken off. */
static uint64_t
net(const struct spw_cache *c, uint64_t went)
{
	return went > c->merge_taken_bytes ? went - c->merge_taken_bytes : 0;
}

/*
 * Segments until the target, or the plan, or the time is out. Batches of
 * merges grow from one segment on, so that the first bytes are back soon and
 * few grace periods are waited for later. A plan that is out is made anew from
 * what is left while that gives anything, at last with what was being filled,
 * which is settled only after a grace period.
 */
static uint64_t
release_segments(struct spw_cache *c, const struct evict_ask *ask)
{
	uint64_t target = ask->target_bytes, went = 0, of_plan = 0;
	struct evict_ask rest = *ask;
	unsigned most = 1;
	bool sealed = false;

	c->merge_taken_bytes = 0;
	while (went < goal(c, target) && !is_over(ask)) {
		bool more = fill_batch(c, ask, goal(c, target) - went,
				       ask->drop ? BATCH_MAX : most);
		uint64_t got = batch_end(c, spares_for_merging(ask, most));

		went += got;
		of_plan += got;
		if (most < BATCH_MERGED)
			most *= 2;
		if (more)
			continue;
		if ((!of_plan && sealed) || ask->cold_only)
			break;
		/* Again where that was merged into what is open now. */
		sealed = !of_plan;
		if (sealed)
			seal_all(c);
		segment_grace();
		of_plan = 0;
		rest.target_bytes = goal(c, target) - went;
		rest.deficit_bytes = 0;
		plan_make(c, &rest);
	}
	return net(c, went);
}

static void
lock(void)
{
	base_lock(&evict_lock);
	base_assert(batch_count() == 0);
}

static void
unlock(void)
{
	base_assert(batch_count() == 0);
	base_unlock(&evict_lock);
}

/* What was closed and forgotten: by evict_clear(), or by a thread that a fork
 * did not take along. */
static uint64_t
end_closed(struct spw_cache *c)
{
	uint64_t went = 0;

	while (atomic_load(&c->closing)) {
		batch_adopt_closed(c);
		if (!batch_count())
			break; /* on their way */
		went += batch_end(c, 0);
	}
	return went;
}

/* Locks; the bytes of what was found closed, which have gone. */
static uint64_t
begin(struct spw_cache *c)
{
	lock();
	return end_closed(c);
}

/* One segment, by a sketch: the first bytes do not wait for a plan. */
static uint64_t
release_first(struct spw_cache *c, const struct evict_ask *ask)
{
	if (ask->older_than_ns || !plan_sketch(c, ask))
		return 0;
	c->merge_taken_bytes = 0;
	fill_batch(c, ask, SEGMENT_BYTES, 1);
	return net(c, batch_end(c, 0));
}

static void
have_plan(struct spw_cache *c, const struct evict_ask *ask)
{
	if (plan_is_for(c, ask))
		return;
	segment_grace(); /* what was sealed lately may go, too */
	plan_make(c, ask);
}

uint64_t
evict_release(struct spw_cache *c, const struct evict_ask *ask)
{
	struct evict_ask rest = *ask;
	uint64_t spares, went;

	went = begin(c);
	/* First what takes no thought. */
	if (!ask->older_than_ns)
		went += return_spares_above(
			c, ask->drop ? 0 : CACHE_SPARES_FEW * SEGMENT_BYTES,
			ask->target_bytes);
	spares = spares_bytes(c);
	if (!went)
		went = release_first(c, ask);
	if (went < ask->target_bytes) {
		have_plan(c, ask);
		rest.target_bytes -= went;
		went += release_segments(c, &rest);
	}
	/* What merges copied into was kept for that alone; the rest of the
	 * reserve goes where it is needed. */
	if (spares_bytes(c) > spares)
		return_spares(c, spares_bytes(c) - spares);
	if (went < ask->target_bytes && !ask->older_than_ns)
		went += return_spares(c, ask->target_bytes - went);
	/* After the cold the warm are asked: that is quicker. */
	went += trim_index(c, went < ask->target_bytes && !ask->cold_only ?
				      ask->target_bytes - went :
				      0);
	unlock();
	return went;
}

static unsigned
spares_missing(const struct spw_cache *c)
{
	unsigned there = space_spares(c), wanted = space_spares_wanted(c);

	return wanted > there ? wanted - there : 0;
}

bool
evict_refill(struct spw_cache *c, bool dead_only)
{
	struct evict_ask ask = { .dead_only = dead_only, .inserting = true };
	unsigned missing, most;
	bool more = true;

	begin(c);
	have_plan(c, &ask);
	plan_pace(c);
	missing = spares_missing(c);
	/* A small cache has no room for many copies at a time. */
	most = space_spares_wanted(c);
	if (most > BATCH_REFILL)
		most = BATCH_REFILL;
	if (missing)
		more = fill_batch(c, &ask, missing * SEGMENT_BYTES, most);
	if (!more && !batch_count()) {
		segment_grace();
		plan_make(c, &ask);
		more = fill_batch(c, &ask, missing * SEGMENT_BYTES, most);
	}
	if (missing && !batch_count() && !more) {
		atomic_store(&c->starved, true);
		atomic_fetch_add(&c->news, 1);
		futex_wake(&c->news, FUTEX_ALL);
	}
	batch_end(c, missing);
	trim_index(c, 0); /* what a shrink has left of it */
	unlock();
	return !spares_missing(c) || !more;
}

/*
 * A pass over nothing: code, stack and books are there when memory is short.
 * Above memory.high a thread that touches a page for the first time sleeps for
 * up to 2 s.
 */
void
evict_rehearse(struct spw_cache *c)
{
	struct evict_ask ask = { .drop = true };
	volatile char stack[REHEARSED_STACK_BYTES];

	for (size_t i = 0; i < sizeof stack; i += REHEARSED_PAGE_BYTES)
		stack[i] = 0;
	begin(c);
	have_plan(c, &ask);
	batch_rehearse();
	plan_rehearse();
	unlock();
}

void
evict_clear(struct spw_cache *c)
{
	uint32_t high;

	lock(); /* no slot is moved meanwhile */
	/* Who is writing now is put before or after: either is right. */
	seal_all(c);
	high = segment_high();
	for (uint32_t i = 1; i < high; i++) {
		const struct segment *s = segment_at(i);

		if (atomic_load(&segment_window.tickets[i]) >>
				    SLOT_GENERATION_BITS !=
			    c->index.owner ||
		    atomic_load(&s->state) != SEGMENT_SEALED)
			continue;
		atomic_fetch_add(&c->closing, 1);
		if (!segment_close(i))
			atomic_fetch_sub(&c->closing, 1);
	}
	unlock();
}

uint64_t
evict_closed(struct spw_cache *c)
{
	uint64_t went = begin(c);

	unlock();
	return went;
}

void
evict_destroy(struct spw_cache *c)
{
	uint32_t high = segment_high();

	lock();
	plan_forget(c);
	return_spares(c, UINT64_MAX);
	for (uint32_t i = 1; i < high; i++) {
		const struct segment *s = segment_at(i);
		uint32_t state = atomic_load(&s->state);

		if (s->owner != c->index.owner ||
		    (state != SEGMENT_OPEN && state != SEGMENT_SEALED &&
		     state != SEGMENT_CLOSED))
			continue;
		segment_close(i);
		if (segment_orphan(i)) {
			segment_return(i, s->run);
			space_give(c, i);
		}
	}
	unlock();
}

void
evict_fork_child(void)
{
	pthread_mutex_init(&evict_lock.mutex, NULL);
	plan_forget(NULL);
	batch_forget();
}
