/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What becomes of a segment that is closed.
 *
 *	batch_add -> segment_close: what is left of its slots is stale
 *	batch_end -> segment_grace: once for all
 *	  -> segment_return and space_give, or space_spare_give
 *
 * Called by evict.c, with its lock held.
 *
 * Books: what is dead in a segment is counted when it is closed and a grace
 * period is over, so that each writer who saw it current has counted too:
 * entries of the cache -= entries of the segment - dead of them.
 */
#include "cache/batch.h"

#include "cache/cache.h"
#include "pressure/core.h"

/* Too large for a small stack. */
static struct {
	uint32_t segments[BATCH_MAX];
	unsigned count;
	uint64_t bytes;
} batch;

static void
settle_books(struct spw_cache *c, uint32_t index)
{
	const struct segment *s = segment_at(index);
	uint32_t gone = s->entries - atomic_load(&s->dead_entries);

	atomic_fetch_sub(&c->dead_bytes, atomic_load(&s->dead_bytes));
	atomic_fetch_sub(&c->index.entries, gone);
	core_count(&c->evicted_entries, gone);
}

/* Whose grace period is over: neighbours go in one madvise(2). */
static uint64_t
return_batch(struct spw_cache *c)
{
	uint64_t bytes = 0;
	uint32_t from = 0, count = 0;

	for (unsigned i = 0; i < batch.count; i++) {
		uint32_t index = batch.segments[i];

		if (index != from + count) {
			if (count)
				segment_return(from, count);
			from = index;
			count = 0;
		}
		count += segment_at(index)->run;
		bytes += segment_at(index)->charged_bytes;
	}
	if (count)
		segment_return(from, count);
	for (unsigned i = 0; i < batch.count; i++)
		space_give(c, batch.segments[i]);
	core_count(&c->released_bytes, bytes);
	return bytes;
}

/* By index: insertion into what a plan has mixed. Shell's sort, in place. */
static void
sort_batch(void)
{
	for (unsigned gap = batch.count / 2; gap; gap /= 2)
		for (unsigned i = gap; i < batch.count; i++) {
			uint32_t moving = batch.segments[i];
			unsigned j = i;

			for (; j >= gap && batch.segments[j - gap] > moving;
			     j -= gap)
				batch.segments[j] = batch.segments[j - gap];
			batch.segments[j] = moving;
		}
}

/* After its grace period: what is pinned leaves the batch. */
static void
drop_pinned(struct spw_cache *c)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < batch.count; i++) {
		uint32_t index = batch.segments[i];
		struct segment *s = segment_at(index);
		uint32_t run = s->run, charged = s->charged_bytes;

		settle_books(c, index);
		atomic_fetch_sub(&c->closing, 1);
		if (segment_orphan(index)) {
			batch.segments[kept++] = index;
			continue;
		}
		atomic_fetch_sub(&c->segments, run);
		atomic_fetch_sub(&c->resident_bytes, charged);
	}
	batch.count = kept;
}

/* To the reserve, as many as it wants; runs are of no use there. */
static uint64_t
keep_spares(struct spw_cache *c, unsigned spares)
{
	uint64_t kept = 0;
	unsigned rest = 0;

	for (unsigned i = 0; i < batch.count; i++) {
		uint32_t index = batch.segments[i];
		const struct segment *s = segment_at(index);

		if (spares && s->run == 1 &&
		    s->charged_bytes == SEGMENT_BYTES &&
		    space_spare_give(c, index)) {
			core_count(&c->recycled_bytes, SEGMENT_BYTES);
			kept += SEGMENT_BYTES;
			spares--;
		} else {
			batch.segments[rest++] = index;
		}
	}
	batch.count = rest;
	return kept;
}

uint64_t
batch_end(struct spw_cache *c, unsigned spares)
{
	uint64_t went;

	if (!batch.count)
		return 0;
	segment_grace();
	drop_pinned(c);
	went = keep_spares(c, spares);
	sort_batch();
	went += return_batch(c);
	batch.count = 0;
	batch.bytes = 0;
	return went;
}

void
batch_add(struct spw_cache *c, uint32_t index)
{
	atomic_fetch_add(&c->closing, 1);
	if (!segment_close(index)) {
		atomic_fetch_sub(&c->closing, 1);
		return;
	}
	batch.segments[batch.count++] = index;
	batch.bytes += segment_at(index)->charged_bytes;
}

void
batch_adopt_closed(struct spw_cache *c)
{
	uint32_t high = segment_high();

	if (!atomic_load(&c->closing))
		return;
	for (uint32_t i = 1; i < high && batch.count < BATCH_MAX; i++) {
		const struct segment *s = segment_at(i);

		if (atomic_load(&s->state) != SEGMENT_CLOSED ||
		    s->owner != c->index.owner)
			continue;
		batch.segments[batch.count++] = i;
		batch.bytes += s->charged_bytes;
	}
}

unsigned
batch_count(void)
{
	return batch.count;
}

uint64_t
batch_bytes(void)
{
	return batch.bytes;
}

void
batch_rehearse(void)
{
	batch.segments[BATCH_MAX - 1] = 0;
}

void
batch_forget(void)
{
	batch.count = 0;
	batch.bytes = 0;
}
