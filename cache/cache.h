/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A cache, as the files of this folder see it.
 *
 * Usage: read doc/ARCHITECTURE.md, "Walk 4: one cache entry's life".
 *
 * Caveats: who may touch what is said beside each member; the order of locks
 * is base/lock.h's.
 */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <spillway/cache.h>

#include "base/lock.h"
#include "base/settings.h"
#include "cache/era.h"
#include "cache/hash.h"
#include "cache/index.h"
#include "cache/segment.h"
#include "cache/soft.h"
#include "cache/writer.h"
#include "pressure/jobs.h"

#define CACHE_SHARDS_MAX 8u
/* In reserve: a 16th of the cache up to FEW, later on a 128th: what is
 * inserted while the reclaimer merges, and waits for a grace period. */
#define CACHE_SPARES_FEW 8u
#define CACHE_SPARES_MAX 32u

/* A segment being filled. Guarded by lock; of the last shard, by evict's. */
struct shard {
	struct base_lock lock;
	uint32_t segment; /* 0: none */
	uint32_t generation;
	uint32_t filled_bytes;
	uint32_t entries;
} __attribute__((aligned(64)));

/* A thread looks at the clock once in so many hits, and at everybody's hits
 * once in so many. Powers of two. */
#define CACHE_HITS_LOOK 16u
#define CACHE_HITS_SUM 4096u

/* Of one thread, or of several where there are many: plain increments. */
struct cache_counters {
	_Atomic uint64_t hits, misses, refaults, puts;
} __attribute__((aligned(64)));

/* A request of spw_cache_shrink(), one at a time. */
struct cache_request {
	struct base_lock lock;  /* of those who ask */
	_Atomic uint32_t state; /* 0 idle, 1 asked, 2 done: a futex */
	uint64_t target_bytes;  /* written before state is 1 */
	uint64_t got_bytes;     /* before it is 2 */
};

struct spw_cache {
	struct soft_table soft; /* first: spw_soft_read_inline() */
	struct index index;
	struct era_clock eras;
	uint64_t max_bytes;
	_Atomic uint32_t shards_mask;    /* how many are in use, less 1 */
	_Atomic bool huge;               /* large enough for huge pages */
	_Atomic uint64_t resident_bytes; /* that its segments may have */
	_Atomic uint32_t segments;
	_Atomic uint64_t seals;      /* segments sealed so far: their order */
	_Atomic uint64_t dead_bytes; /* of its segments */
	_Atomic uint64_t full_until_ns; /* not worth asking for more before */
	/* Past their grace period, with their memory, ready to be filled. */
	_Atomic uint32_t spares[CACHE_SPARES_MAX];
	_Atomic uint32_t news; /* a futex: a spare came, or none will */
	_Atomic bool starved;  /* nothing was left to evict */
	_Atomic bool dry;      /* address space or memory could not be had */
	/* What the job is asked for: any room, or only what is dead. */
	_Atomic bool wants_room, wants_dead;
	struct shard shards[CACHE_SHARDS_MAX + 1];

	/* Sweeping stale slots before generations come round (space.c). */
	struct base_lock sweep_lock;
	uint32_t sweep_next;  /* Guarded by sweep_lock, as what follows. */
	uint64_t sweep_begun; /* segment_opens() when this sweep began */
	uint64_t swept_since; /* when the last one that has ended did */
	uint64_t sweep_last;  /* at the last step */

	struct job job; /* refills the spares, serves the request */
	struct cache_request request;
	struct spw_shrinker *cold, *warm;
	_Atomic uint64_t cold_bytes; /* as of the last plan */
	_Atomic uint32_t closing;    /* closed segments before their end */
	uint64_t merge_taken_bytes;  /* by merges; guarded by evict's lock */
	uint64_t planned_ns;         /* or sketched, the last time; the same */
	/* That goes of what is merged (plan.c): 0 where nobody waits. */
	_Atomic uint32_t share_more_percent;
	uint64_t waits_then; /* `waits` when that was set; evict's, too */

	_Atomic uint64_t evicted_entries, merged_bytes, released_bytes;
	_Atomic uint64_t recycled_bytes, waits, wait_ns_max, copied_gets;
	_Atomic uint64_t age_bytes[SPW_CACHE_AGES];
	_Atomic uint64_t heat_bytes[SPW_CACHE_HEATS];
	struct spw_cache *next; /* in the list; guarded by its lock */
	/* Of a thread's number, 1 and more; of 0 the hits stay as they are. */
	struct cache_counters counters[WRITER_SLOTS + 1];
	char name[SETTINGS_NAME_BYTES];
};

static inline void
cache_count(_Atomic uint64_t *mine)
{
	atomic_store_explicit(
		mine, atomic_load_explicit(mine, memory_order_relaxed) + 1,
		memory_order_relaxed);
}

/* The bytes of a current slot of this cache are of no use any more. */
static inline void
cache_forget_bytes(struct spw_cache *c, uint64_t slot)
{
	uint32_t bytes = (uint32_t)entry_bytes(index_entry(slot));

	atomic_fetch_add_explicit(&segment_at(slot_segment(slot))->dead_bytes,
				  bytes, memory_order_relaxed);
	atomic_fetch_add_explicit(&c->dead_bytes, bytes, memory_order_relaxed);
}

/* Nor is the entry one of the index. */
static inline void
cache_forget(struct spw_cache *c, uint64_t slot)
{
	cache_forget_bytes(c, slot);
	atomic_fetch_add_explicit(&segment_at(slot_segment(slot))->dead_entries,
				  1, memory_order_relaxed);
}

static inline bool
cache_is_expired(const struct entry *e)
{
	uint32_t expiry;

	if (base_likely(!(e->value_word & ENTRY_EXTRA)))
		return false;
	expiry = entry_extra(e)->expiry_tick;
	return expiry &&
	       (int32_t)((uint32_t)(writer_clock_ns() / ENTRY_TICK_NS) -
			 expiry) >= 0;
}

static inline struct cache_counters *
cache_counters(struct spw_cache *c)
{
	return &c->counters[writer_number() + 1];
}

/* Whether an era is over, hits included. */
void cache_look_at_era(struct spw_cache *c);
/* The same, for the hit of that number: rarely, where nobody puts anything. */
void cache_look_on_hit(struct spw_cache *c, uint64_t hits);

/* A hit on the calling thread: every 16th looks at the clock too. */
static inline void
cache_hit(struct spw_cache *c, struct entry *e)
{
	struct cache_counters *mine = cache_counters(c);
	uint64_t hits = atomic_load_explicit(&mine->hits, memory_order_relaxed);

	if (base_unlikely(hits % CACHE_HITS_LOOK == CACHE_HITS_LOOK - 1))
		cache_look_on_hit(c, hits);
	era_touch(&c->eras, e, &writer_here.dice);
	cache_count(&mine->hits);
}

/* The same where that takes no call: false, and nothing was done. So that
 * looking keeps no registers for it. */
static inline bool
cache_hit_near(struct spw_cache *c, struct entry *e, uint32_t heat)
{
	struct writer_thread *here = &writer_here;
	_Atomic uint64_t *mine = &c->counters[here->number].hits;
	uint64_t hits = atomic_load_explicit(mine, memory_order_relaxed);

	/* A thread without a number finds such hits, too. */
	if (base_unlikely(hits % CACHE_HITS_LOOK == CACHE_HITS_LOOK - 1) ||
	    base_unlikely(!era_touch_near(&c->eras, e, heat, &here->dice)))
		return false;
	atomic_store_explicit(mine, hits + 1, memory_order_relaxed);
	return true;
}

/* The entry of a key, touched and counted, or NULL. Inside a section. */
static inline struct entry *
cache_look(struct spw_cache *c, const void *key, size_t key_bytes,
	   uint64_t *slot)
{
	struct entry *e = index_find(&c->index, hash_bytes(key, key_bytes), key,
				     key_bytes, slot);

	if (base_likely(e && !cache_is_expired(e))) {
		cache_hit(c, e);
		return e;
	}
	cache_count(&cache_counters(c)->misses);
	return NULL;
}

/* ---- cache.c ---- */

struct space;
/* A place with the header written in it. 0: inside a writer's section from
 * here on; or -ENOMEM. */
int cache_place(struct spw_cache *c, const struct entry *header, size_t bytes,
		struct space *space);
/* Inside a writer's section: the key's slot is this from now on. */
void cache_publish(struct spw_cache *c, uint64_t hash, const void *key,
		   size_t key_bytes, uint64_t slot);

/* ---- space.c: where entries are written ---- */

struct space {
	uint32_t segment, generation, offset_bytes;
};

/* Inside a writer's section: bytes in the thread's open segment, with the
 * header written there; false: a segment is to be had first. */
bool space_alloc(struct spw_cache *c, const struct entry *header, size_t bytes,
		 struct space *space);
/* Outside of any section: a segment, maybe after a wait; 0: none. */
uint32_t space_obtain(struct spw_cache *c);
/* Inside a writer's section: opens it for this thread. */
void space_install(struct spw_cache *c, uint32_t segment);
/* An entry that has segments of its own, up to the limit of values: outside
 * of any section, opened and ready to be written; 0: none. */
uint32_t space_obtain_run(struct spw_cache *c, size_t bytes);
/* The same inside a writer's section, once the entry is written. */
void space_seal_run(struct spw_cache *c, uint32_t segment, size_t bytes);
void space_open_run(struct spw_cache *c, uint32_t segment);

/* Bytes in the merge's segment: guarded by evict's lock; false: none. */
bool space_alloc_merged(struct spw_cache *c, size_t bytes, bool aligned,
			struct space *space);

/* Seals what is being filled, so that it can be evicted. */
void space_seal_all(struct spw_cache *c);
/* A spare out of the reserve, or 0; and into it, false: it is full. */
uint32_t space_spare_take(struct spw_cache *c);
bool space_spare_give(struct spw_cache *c, uint32_t segment);
/* How many there are, and should be. */
unsigned space_spares(const struct spw_cache *c);
uint32_t space_spares_wanted(const struct spw_cache *c);
/* A segment, whose memory was returned, leaves the cache. */
void space_give(struct spw_cache *c, uint32_t segment);
void space_write_header(struct spw_cache *c, const struct space *space,
			const struct entry *header);
/* Of keys, values and headers that are not known to be dead. */
uint64_t space_live_bytes(struct spw_cache *c);
void space_init(struct spw_cache *c);
void space_fork_child(struct spw_cache *c);

/* Entries beyond this many bytes have segments of their own. */
#define SPACE_SHARED_MAX (256ul << 10)

/* ---- grow.c ---- */

/* What may be resident of it, index included. */
uint64_t grow_held_bytes(const struct spw_cache *c);
/* Whether a `part`-th of it is dead, and should be used first. */
#define LITTER_PART 4
bool grow_is_littered(const struct spw_cache *c, unsigned part);
/* Whether it may hold so much more. */
bool grow_is_allowed(struct spw_cache *c, size_t bytes, bool look);
/* Whether with so many bytes more a limit is near at which the kernel kills or
 * says no, as last sensed (never by limit:); or who is charged sleeps, above
 * memory.high. */
bool grow_is_tight(uint64_t bytes);
/* Whether who reclaims may take so many. Waits for the monitor, 2 ms at most. */
bool grow_has_room(uint64_t bytes);

/* ---- evict.c ---- */

struct evict_ask {
	uint64_t target_bytes;
	uint64_t deficit_bytes; /* that is yet to go, of which this is a part */
	uint64_t older_than_ns; /* only what was not read for so long; 0: all */
	uint64_t deadline_ns;   /* CLOCK_MONOTONIC; 0: none */
	bool drop;              /* whole segments at once, nothing is copied */
	bool cold_only;         /* what was never hit */
	bool dead_only;         /* what is mostly dead: nothing live is lost */
	bool inserting;         /* somebody is, who wants few copies */
};

/* Gives memory back: bytes. On spillway's own threads, or inline under
 * threads:never; outside of any section. */
uint64_t evict_release(struct spw_cache *c, const struct evict_ask *ask);
/* A batch for the reserve, of what is mostly dead or of anything. False: it
 * wants more, and there is more. */
bool evict_refill(struct spw_cache *c, bool dead_only);
/* For the reclaimer, before the first time. */
void evict_rehearse(struct spw_cache *c);
/* Everything, now: slots go stale at once, memory goes later. */
void evict_clear(struct spw_cache *c);
/* What is closed by evict_clear() and has waited long enough. */
uint64_t evict_closed(struct spw_cache *c);
/* Nobody uses it any more: all at once, no grace period. */
void evict_destroy(struct spw_cache *c);
void evict_fork_child(void);

/* ---- merge.c: what stays of a segment ---- */

/* Whether what lies there is what index or handle have. Inside a section. */
bool merge_is_live(const struct spw_cache *c, uint32_t segment,
		   const struct entry *e);
/* Whether there is room for what it may copy. */
bool merge_has_room(const struct spw_cache *c, uint32_t segment);
/* Copies what plan_keeps(). False: no room; the segment stays as it is.
 * Under evict's lock, outside of any section. */
bool merge_segment(struct spw_cache *c, uint32_t segment);

/* ---- plan.c: which segments go first ---- */

void plan_make(struct spw_cache *c, const struct evict_ask *ask);
/* Of a few segments: good for one that is to go at once, and for nobody who
 * asks plan_is_for(). False: it is not worth it. */
bool plan_sketch(struct spw_cache *c, const struct evict_ask *ask);
/* Whether merges keep up with who inserts, for the plans to come. */
void plan_pace(struct spw_cache *c);
/* Touches what a plan of a usual cache takes. */
void plan_rehearse(void);
bool plan_is_for(const struct spw_cache *c, const struct evict_ask *ask);
/* The next segment in the plan that can still go, or 0. */
uint32_t plan_next(struct spw_cache *c, const struct evict_ask *ask);
void plan_forget(const struct spw_cache *c); /* NULL: whosever it is */
/* Whether an entry is worth its copy. */
bool plan_keeps(const struct spw_cache *c, const struct entry *e);
/* Whether a sample finds nothing in it that is. Inside a section. */
bool plan_is_hopeless(const struct spw_cache *c, uint32_t segment);

/* ---- offer.c: what the reclaim engine sees of a cache ---- */

void offer_init(struct spw_cache *c);
int offer_register(struct spw_cache *c, enum spw_tier tier);
void offer_fork_child(struct spw_cache *c);
void offer_unregister(struct spw_cache *c);
/* Has the reclaimer look what there is to do. */
void offer_post(struct spw_cache *c);
/* And refill the reserve: of anything, or of what is mostly dead. */
void offer_refill(struct spw_cache *c, bool anything);
uint64_t offer_shrink(struct spw_cache *c, uint64_t bytes);

#endif
