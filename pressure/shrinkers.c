/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registry of shrinkers.
 *
 * spw_shrinker_register() links a node into an RCU list under `lock`; the
 * engine walks the list in a read-side section, takes a reference to each
 * live node and leaves the section before it calls anybody.
 *
 * Life of a node: IDLE <-> RUNNING (one caller at a time, by compare and
 * swap); unregistering moves IDLE to DEAD, waits while RUNNING, or, from
 * inside the callback, moves RUNNING to DYING, which shrinkers_leave() turns
 * into DEAD. A dead node is unlinked at once and freed by shrinkers_retire(),
 * on our own thread, after a grace period and once no pass refers to it.
 *
 * Invariant: a callback runs only between a successful IDLE -> RUNNING and
 * its end; so once DEAD is seen by the unregisterer, none runs or will run.
 * Memory order: the state's compare-and-swap is sequentially consistent.
 *
 * `lock` is held for list surgery alone: never while allocating, freeing or
 * calling. The list is our own (C11 atomics), since liburcu's has none that
 * a race detector could follow. Under threads:never retired nodes stay (some 300 bytes each):
 * there is no thread that may wait for a grace period.
 */
#include "pressure/shrinkers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <spillway/osv.h>

#include "base/elsewhere.h"
#include "base/fault.h"
#include "base/futex.h"
#include "base/lock.h"
#include "base/log.h"
#include "pressure/core.h"
#include "pressure/engine.h"

/* Retired ones that are worth a grace period where no pass comes. */
#define RETIRED_MANY 64

static struct base_lock lock = BASE_LOCK(BASE_RANK_REGISTRY);
static _Atomic(struct spw_shrinker *) registry;
/* Guarded by lock. */
static _Atomic(struct spw_shrinker *) *tail = &registry;
static struct spw_shrinker *retired; /* Guarded by lock. */
static unsigned retired_lately;      /* Guarded by lock. */
static uint64_t last_order;          /* Guarded by lock. */
static _Atomic unsigned registered;
/* So many that the reclaimer frees them without a pass. */
static _Atomic bool crowded;
/* The order of the last that a full pass had room for. */
static _Atomic uint64_t turn;

/* The shrinker whose callback runs on this thread. */
static __thread struct spw_shrinker *running_here;

/* Inside a read-side section, or with the lock held. */
static struct spw_shrinker *
follow(_Atomic(struct spw_shrinker *) *link)
{
	return atomic_load_explicit(link, memory_order_acquire);
}

static void
link_node(struct spw_shrinker *shrinker)
{
	lock_fork_add(&lock);
	base_lock(&lock);
	shrinker->order = shrinker->exact ? 0 : ++last_order;
	shrinker->back = tail;
	atomic_store_explicit(tail, shrinker, memory_order_release);
	tail = &shrinker->next;
	base_unlock(&lock);
}

/* Who is at a dead node goes on from it: its `next` stays. */
static void
unlink_node_locked(struct spw_shrinker *shrinker)
{
	struct spw_shrinker *next = follow(&shrinker->next);

	base_assert_held(&lock);
	atomic_store_explicit(shrinker->back, next, memory_order_release);
	if (next)
		next->back = shrinker->back;
	else
		tail = shrinker->back;
	shrinker->next_retired = retired;
	retired = shrinker;
}

/* Unlinks a dead node; it is freed later. */
static void
retire_node(struct spw_shrinker *shrinker)
{
	bool many;

	base_lock(&lock);
	unlink_node_locked(shrinker);
	many = ++retired_lately == RETIRED_MANY;
	base_unlock(&lock);
	atomic_fetch_sub(&registered, 1);
	if (many) {
		atomic_store(&crowded, true);
		engine_notify();
	}
}

void
shrinkers_add_own(struct spw_shrinker *shrinker)
{
	atomic_store(&shrinker->references, 1);
	shrinker->exact = true;
	link_node(shrinker);
}

int
shrinkers_check(const char *what, const char *name, enum spw_tier tier,
		const void *domain)
{
	if (!settings_is_name(name))
		return log_refuse(what, name,
				  "a name of 1 to 63 bytes is needed", -EINVAL);
	if ((int)tier < 0 || tier > SPW_TIER_LAST)
		return log_refuse(what, name, "options.tier is not 0 to 40",
				  -EINVAL);
	if (domain)
		return log_refuse(what, name, "domains are not there yet",
				  -EINVAL);
	return 0;
}

static int
refuse(const char *name, const char *why)
{
	return log_refuse("shrinker", name, why, -EINVAL);
}

static int
check_options(const struct spw_shrinker_options *o)
{
	if (!o)
		return refuse(NULL, "options are NULL");
	if (o->size != sizeof *o)
		return refuse(NULL, "options.size is not sizeof(struct "
				    "spw_shrinker_options)");
	if (!o->shrink)
		return refuse(o->name, "options.shrink is NULL");
	return shrinkers_check("shrinker", o->name, o->tier, NULL);
}

static int
register_one(struct spw_shrinker **out,
	     const struct spw_shrinker_options *options, bool exact)
{
	struct spw_shrinker *s;
	int error;

	if (!out)
		return refuse(NULL, "nowhere to put the handle");
	*out = NULL;
	error = check_options(options);
	if (error)
		return error;
	error = core_start();
	if (error == -ENOTSUP)
		return error;
	s = base_fault("shrinker_register") ? NULL : calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	strcpy(s->name, options->name);
	s->tier = settings_tier_of(options->name, options->tier);
	s->count = options->count;
	s->shrink = options->shrink;
	s->context = options->context;
	s->exact = exact;
	atomic_store(&s->references, 1);
	atomic_fetch_add(&registered, 1);
	*out = s; /* its first call may come before this returns */
	link_node(s);
	return 0;
}

SPW_EXPORT int
spw_shrinker_register(struct spw_shrinker **out,
		      const struct spw_shrinker_options *options)
{
	ELSEWHERE(spw_shrinker_register, out, options);
	return register_one(out, options, false);
}

int
shrinkers_register_exact(struct spw_shrinker **out,
			 const struct spw_shrinker_options *options)
{
	return register_one(out, options, true);
}

SPW_EXPORT void
spw_shrinker_unregister(struct spw_shrinker *s)
{
	ELSEWHERE(spw_shrinker_unregister, s);
	if (!s)
		return;
	for (;;) {
		uint32_t seen = SHRINKER_IDLE;

		if (atomic_compare_exchange_strong(&s->state, &seen,
						   SHRINKER_DEAD))
			break;
		if (seen == SHRINKER_RUNNING && running_here == s) {
			if (atomic_compare_exchange_strong(&s->state, &seen,
							   SHRINKER_DYING))
				return; /* shrinkers_leave() goes on */
			continue;
		}
		if (seen != SHRINKER_RUNNING) {
			log_write(SPW_LOG_ERROR,
				  "shrinker %s: unregistered twice", s->name);
			return;
		}
		futex_wait(&s->state, SHRINKER_RUNNING, FUTEX_FOREVER);
	}
	retire_node(s);
}

/* OSv's face: one function, soft or hard. */
static size_t
osv_shrink(const struct spw_shrink *request, void *context)
{
	size_t (*shrink)(size_t, bool);

	memcpy(&shrink, &context, sizeof shrink);
	return shrink(request->target_bytes > SIZE_MAX ?
			      SIZE_MAX :
			      (size_t)request->target_bytes,
		      request->hard);
}

SPW_EXPORT void *
osv_register_shrinker(const char *name, size_t (*shrink)(size_t, bool))
{
	struct spw_shrinker *s;
	struct spw_shrinker_options options = {
		.size = sizeof options,
		.name = name,
		.tier = SPW_TIER_WARM,
		.shrink = shrink ? osv_shrink : NULL,
	};
	int error;

	ELSEWHERE(osv_register_shrinker, name, shrink);
	memcpy(&options.context, &shrink, sizeof shrink);
	error = spw_shrinker_register(&s, &options);
	if (error) {
		errno = -error;
		return NULL;
	}
	return s;
}

static bool
is_live(struct spw_shrinker *s)
{
	uint32_t state = atomic_load(&s->state);

	return state == SHRINKER_IDLE || state == SHRINKER_RUNNING;
}

/* References to those of [first, last] that the array still has room for. */
static unsigned
collect_some(struct spw_shrinker **array, unsigned n, unsigned array_max,
	     enum spw_tier tier_max, uint64_t first, uint64_t last)
{
	struct spw_shrinker *s;

	for (s = follow(&registry); s; s = follow(&s->next)) {
		if (n == array_max)
			break;
		if (s->order < first || s->order > last || s->tier > tier_max ||
		    !is_live(s))
			continue;
		atomic_fetch_add(&s->references, 1);
		array[n++] = s;
	}
	return n;
}

unsigned
shrinkers_collect(struct spw_shrinker **array, unsigned array_max,
		  enum spw_tier tier_max)
{
	uint64_t from = atomic_load(&turn);
	unsigned n = 0;

	rcu_read_lock();
	n = collect_some(array, n, array_max, tier_max, 0, 0); /* our own */
	n = collect_some(array, n, array_max, tier_max, from + 1, UINT64_MAX);
	n = collect_some(array, n, array_max, tier_max, 1, from);
	if (n == array_max)
		atomic_store(&turn, array[n - 1]->order);
	rcu_read_unlock();
	return n;
}

bool
shrinkers_may_have(const struct spw_shrinker *s, uint64_t resident_bytes)
{
	return !atomic_load(&s->futile) ||
	       shrinkers_has_grown(resident_bytes,
				   atomic_load(&s->futile_resident_bytes));
}

bool
shrinkers_may_have_above(enum spw_tier tier, uint64_t resident_bytes)
{
	struct spw_shrinker *s;

	rcu_read_lock();
	for (s = follow(&registry); s; s = follow(&s->next))
		if (s->tier > tier && is_live(s) &&
		    !atomic_load(&s->quarantined) &&
		    shrinkers_may_have(s, resident_bytes))
			break;
	rcu_read_unlock();
	return s != NULL;
}

void
shrinkers_release(struct spw_shrinker **array, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		atomic_fetch_sub(&array[i]->references, 1);
}

bool
shrinkers_enter(struct spw_shrinker *s)
{
	uint32_t idle = SHRINKER_IDLE;

	if (!atomic_compare_exchange_strong(&s->state, &idle, SHRINKER_RUNNING))
		return false;
	s->outer = running_here;
	running_here = s;
	return true;
}

void
shrinkers_leave(struct spw_shrinker *s)
{
	uint32_t was;

	running_here = s->outer;
	was = SHRINKER_RUNNING;
	if (atomic_compare_exchange_strong(&s->state, &was, SHRINKER_IDLE)) {
		futex_wake(&s->state, FUTEX_ALL);
		return;
	}
	base_assert(was == SHRINKER_DYING);
	atomic_store(&s->state, SHRINKER_DEAD);
	retire_node(s);
}

/* 1 is a time that has passed: the pass still credits what came. */
void
shrinkers_came(struct spw_shrinker *s)
{
	uint64_t until = atomic_load(&s->later_until_ns);

	if (until)
		atomic_compare_exchange_strong(&s->later_until_ns, &until, 1);
	atomic_store(&s->hold_until_ns, 0);
	atomic_store(&s->futile, 0);
}

bool
shrinkers_inside(void)
{
	return running_here != NULL;
}

void
shrinkers_retire(void)
{
	struct spw_shrinker *list, *next, **keep;

	atomic_store(&crowded, false);
	base_lock(&lock);
	list = retired;
	retired = NULL;
	retired_lately = 0;
	base_unlock(&lock);
	if (!list)
		return;
	rcu_synchronize();
	/* A pass on another thread may still refer to some. */
	keep = &list;
	for (struct spw_shrinker *s = list; s; s = next) {
		next = s->next_retired;
		if (atomic_load(&s->references) == 1) {
			*keep = next;
			free(s);
		} else {
			keep = &s->next_retired;
		}
	}
	if (!list)
		return;
	base_lock(&lock);
	*keep = retired;
	retired = list;
	base_unlock(&lock);
}

bool
shrinkers_pending(void)
{
	return atomic_load(&crowded);
}

unsigned
shrinkers_count(void)
{
	return atomic_load(&registered);
}

unsigned
shrinkers_describe(struct shrinkers_line *lines, unsigned lines_max)
{
	struct spw_shrinker *s;
	unsigned n = 0;

	rcu_read_lock();
	for (s = follow(&registry); s; s = follow(&s->next)) {
		struct shrinkers_line *l = &lines[n];

		if (n == lines_max)
			break;
		memcpy(l->name, s->name, sizeof l->name);
		l->tier = s->tier;
		l->quarantined = atomic_load(&s->quarantined);
		l->reclaimed_bytes = atomic_load(&s->reclaimed_bytes);
		l->calls = atomic_load(&s->calls);
		l->ns_max = atomic_load(&s->ns_max);
		l->yield_bytes_per_ms = atomic_load(&s->yield_bytes_per_ms);
		n++;
	}
	rcu_read_unlock();
	return n;
}

void
shrinkers_fork_child(void)
{
	struct spw_shrinker *s, *next;

	base_lock(&lock);
	for (s = follow(&registry); s; s = next) {
		next = follow(&s->next);
		atomic_store(&s->references, 1);
		switch (atomic_load(&s->state)) {
		case SHRINKER_RUNNING:
			atomic_store(&s->state, SHRINKER_IDLE);
			break;
		case SHRINKER_DYING: /* its callback does not return here */
			atomic_store(&s->state, SHRINKER_DEAD);
			unlink_node_locked(s);
			atomic_fetch_sub(&registered, 1);
			break;
		}
	}
	for (s = retired; s; s = s->next_retired)
		atomic_store(&s->references, 1);
	base_unlock(&lock);
}
