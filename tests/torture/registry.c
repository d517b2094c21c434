/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shrinkers come and go, inside callbacks and outside, lie, hang, promise and
 * leave twice, while others reclaim and the limit jumps.
 *
 * Each registration has a `life` of its own, which its callbacks write:
 *  - none runs after spw_shrinker_unregister() has returned outside of it;
 *  - none runs twice at a time;
 *  - whoever stays is asked, also where there are more than one pass takes.
 *
 * Who takes the handle out of its life (an exchange) unregisters it, so that
 * nobody does it twice by accident; a second time on purpose is from inside
 * the callback, where the handle is certainly alive.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include <spillway/spillway.h>

#include "base/clock.h"
#include "base/fault.h"
#include "tests/tap.h"
#include "tests/torture/torture.h"
#include "tests/unit/stock.h"

#define REGISTRARS 3
#define SLOTS 12
#define LIVES 8192 /* a power of two: reused when that many came since */
#define CROWD 300  /* more than a pass asks at once */
#define MIB (1ull << 20)

enum manner {
	HONEST,   /* gives nothing, says so */
	LIAR,     /* counts and claims anything */
	SLOW,     /* is late now and then */
	HANGS,    /* beyond any deadline, sometimes */
	LATER,    /* promises */
	LEAVES,   /* unregisters itself, sometimes twice */
	MIDWIFE,  /* registers another and unregisters it */
	MURDERER, /* unregisters somebody else's */
	MANNERS,
};

struct life {
	_Atomic(struct spw_shrinker *) handle;
	_Atomic int inside;
	_Atomic bool gone; /* unregistering has returned */
	_Atomic unsigned asked;
	_Atomic uint64_t dice;
	enum manner manner;
};

static struct life lives[LIVES];
static _Atomic unsigned lives_used;
static _Atomic(struct life *) slots[REGISTRARS * SLOTS];
static _Atomic uint64_t registered, unregistered, calls, murdered, left;
static _Atomic bool calm;

static uint64_t
roll(struct life *life)
{
	struct dice dice = { .state = atomic_load(&life->dice) | 1 };
	uint64_t got = dice_roll(&dice);

	atomic_store(&life->dice, dice.state);
	return got;
}

static void
leave(struct life *life)
{
	struct spw_shrinker *handle = atomic_exchange(&life->handle, NULL);

	if (!handle)
		return;
	spw_shrinker_unregister(handle);
	atomic_store(&life->gone, true);
	atomic_fetch_add(&unregistered, 1);
}

/* From inside its callback, so that `gone` is not to be set. */
static void
leave_inside(struct life *life, bool twice)
{
	struct spw_shrinker *handle = atomic_exchange(&life->handle, NULL);

	if (!handle)
		return;
	spw_shrinker_unregister(handle);
	if (twice)
		spw_shrinker_unregister(handle);
	atomic_fetch_add(&unregistered, 1);
	atomic_fetch_add(&left, 1);
}

static void enter_life(struct life *life);
static struct life *register_life(enum manner manner, enum spw_tier tier,
				  uint64_t dice);

static void
behave(struct life *life)
{
	uint64_t dice = roll(life);
	struct life *other;

	switch (life->manner) {
	case SLOW:
		torture_pause(dice % 2000);
		break;
	case HANGS:
		if (!calm && dice % 8 == 0)
			torture_pause(60000 + dice % 100000);
		break;
	case LEAVES:
		if (dice % 4 == 0)
			leave_inside(life, dice & 16);
		break;
	case MIDWIFE:
		other = register_life(HONEST, SPW_TIER_LAST, dice);
		if (other)
			leave(other);
		break;
	case MURDERER:
		other = atomic_exchange(&slots[dice % (REGISTRARS * SLOTS)],
					NULL);
		/* It must not wait for itself. */
		if (other && other != life) {
			leave(other);
			atomic_fetch_add(&murdered, 1);
		} else if (other) {
			leave_inside(life, false);
		}
		break;
	default:
		break;
	}
}

static void
enter_life(struct life *life)
{
	torture_check(!atomic_load(&life->gone),
		      "a callback begins after unregistering returned");
	torture_check(atomic_fetch_add(&life->inside, 1) == 0,
		      "a callback runs twice at a time");
	atomic_fetch_add(&calls, 1);
}

static void
leave_life(struct life *life)
{
	atomic_fetch_sub(&life->inside, 1);
	torture_check(!atomic_load(&life->gone),
		      "unregistering returned while a callback ran");
}

static size_t
count(const struct spw_shrink *request, void *context)
{
	struct life *life = context;
	size_t bytes = 4096;

	(void)request;
	enter_life(life);
	if (life->manner == LIAR)
		bytes = roll(life) >> (roll(life) % 64);
	else if (life->manner == SLOW || life->manner == HANGS)
		behave(life);
	leave_life(life);
	return bytes;
}

static size_t
shrink(const struct spw_shrink *request, void *context)
{
	struct life *life = context;
	size_t bytes = 0;

	enter_life(life);
	torture_check(request->size == sizeof *request &&
			      request->target_bytes > 0,
		      "a request for nothing");
	atomic_fetch_add(&life->asked, 1);
	behave(life);
	if (life->manner == LIAR)
		bytes = roll(life) >> (roll(life) % 64);
	else if (life->manner == LATER)
		bytes = SPW_SHRINK_LATER;
	leave_life(life);
	return bytes;
}

/* The longest unused: who stays for long is passed over. */
static struct life *
next_life(void)
{
	struct life *life;

	do
		life = &lives[atomic_fetch_add(&lives_used, 1) % LIVES];
	while (atomic_load(&life->inside) || atomic_load(&life->handle));
	return life;
}

/* NULL where a fault was injected. */
static struct life *
register_life(enum manner manner, enum spw_tier tier, uint64_t dice)
{
	struct life *life = next_life();
	struct spw_shrinker_options options = {
		.size = sizeof options,
		.name = "life",
		.tier = tier,
		.count = dice & 1 ? count : NULL,
		.shrink = shrink,
		.context = life,
	};
	struct spw_shrinker *handle;
	int error;

	atomic_store(&life->gone, false);
	atomic_store(&life->asked, 0);
	atomic_store(&life->dice, dice);
	life->manner = manner;
	error = spw_shrinker_register(&handle, &options);
	torture_check(!error || (error == -ENOMEM && fault_count() > 0),
		      "spw_shrinker_register: %s", spw_strerror(error));
	if (error)
		return NULL;
	atomic_store(&life->handle, handle);
	atomic_fetch_add(&registered, 1);
	return life;
}

static void
registrar(struct torture_thread *self)
{
	static const enum spw_tier tiers[] = { SPW_TIER_FREE, SPW_TIER_COLD,
					       SPW_TIER_GARBAGE, SPW_TIER_WARM,
					       SPW_TIER_LAST };
	struct dice *dice = &self->dice;
	unsigned mine = self->which * SLOTS;

	while (!torture_over()) {
		_Atomic(struct life *) *slot =
			&slots[mine + dice_below(dice, SLOTS)];
		struct life *life = atomic_exchange(slot, NULL), *before;

		if (life) {
			leave(life);
		} else {
			uint64_t odds = dice_below(dice, 40);

			/* Those that hang cost time: few of them. */
			life = register_life(odds == HANGS ? HANGS :
					     odds % MANNERS == HANGS ?
							     HONEST :
							     odds % MANNERS,
					     tiers[dice_below(dice, 5)],
					     dice_roll(dice));
			before = atomic_exchange(slot, life);
			if (before)
				leave(before);
		}
		if (dice_below(dice, 4) == 0)
			torture_pause(dice_below(dice, 500));
	}
	for (unsigned i = mine; i < mine + SLOTS; i++) {
		struct life *life = atomic_exchange(&slots[i], NULL);

		if (life)
			leave(life);
	}
}

static void
reclaimer(struct torture_thread *self)
{
	struct dice *dice = &self->dice;

	while (!torture_over()) {
		struct spw_reclaim_options options = {
			.size = sizeof options,
			.target_bytes = dice_below(dice, 3) ?
						1 + dice_below(dice, 64 * MIB) :
						UINT64_MAX,
			.timeout_ns = dice_below(dice, 2) *
				      dice_below(dice, 20 * CLOCK_MS),
			.older_than_ns = dice_below(dice, 8) ? 0 : CLOCK_S,
			.rate_bytes_per_s = dice_below(dice, 8) ? 0 : 64 * MIB,
		};
		uint64_t got;
		int error = spw_reclaim(&got, &options);

		torture_check(!error || error == -ETIMEDOUT, "spw_reclaim: %s",
			      spw_strerror(error));
		torture_pause(dice_below(dice, 1000));
	}
}

/* The limit jumps from plenty to less than there is. */
static void
flipper(struct torture_thread *self)
{
	struct dice *dice = &self->dice;

	while (!torture_over()) {
		char text[64];
		uint64_t limit = stock_resident() + dice_below(dice, 64 * MIB);

		snprintf(text, sizeof text, "limit:%llu",
			 (unsigned long long)limit);
		torture_check(spw_configure(dice_below(dice, 4) ?
						    text :
						    "limit:none") == 0,
			      "spw_configure refuses %s", text);
		torture_pause(dice_below(dice, 5000));
	}
	spw_configure("limit:none");
}

struct subscriber {
	_Atomic int inside;
	_Atomic bool gone;
};

static void
notify(const struct spw_pressure *now, void *context)
{
	struct subscriber *s = context;

	torture_check(!atomic_load(&s->gone), "told after unsubscribing");
	torture_check(atomic_fetch_add(&s->inside, 1) == 0,
		      "told twice at a time");
	torture_check(now->level <= SPW_LEVEL_CRITICAL, "an unknown level");
	torture_pause(100);
	atomic_fetch_sub(&s->inside, 1);
	torture_check(!atomic_load(&s->gone), "unsubscribed while being told");
}

static void
subscriber(struct torture_thread *self)
{
	static struct subscriber states[4096];
	struct dice *dice = &self->dice;

	for (unsigned i = 0; !torture_over(); i++) {
		struct subscriber *s = &states[i % 4096];
		struct spw_subscription *handle;
		enum spw_level at = (enum spw_level)(1 + dice_below(dice, 3));
		int error;

		torture_check(!atomic_load(&s->inside), "told for ever");
		atomic_store(&s->gone, false);
		error = spw_pressure_subscribe(&handle, at, notify, s);
		torture_check(!error || (error == -ENOMEM && fault_count() > 0),
			      "spw_pressure_subscribe: %s",
			      spw_strerror(error));
		if (error)
			continue;
		torture_pause(dice_below(dice, 3000));
		spw_pressure_unsubscribe(handle);
		atomic_store(&s->gone, true);
	}
}

/* Everybody who stays is asked, also behind those that fill a pass. */
static void
crowd(void)
{
	static struct life *all[CROWD];
	unsigned never = 0, n = 0;
	struct dice dice = torture_dice(1000);

	atomic_store(&calm, true);
	for (; n < CROWD; n++) {
		all[n] = register_life(HONEST, SPW_TIER_WARM, dice_roll(&dice));
		if (!all[n])
			break;
	}
	tap_is(n, CROWD, "a crowd registers");
	for (int i = 0; i < 20; i++) {
		uint64_t got;
		int error = spw_reclaim(&got, NULL);

		torture_check(!error, "spw_reclaim: %s", spw_strerror(error));
	}
	for (unsigned i = 0; i < n; i++)
		never += !atomic_load(&all[i]->asked);
	tap_is(never, 0, "and each of it is asked sooner or later");
	for (unsigned i = 0; i < n; i++)
		leave(all[i]);
}

int
main(int argc, char **argv)
{
	struct life *stays;
	uint64_t before;

	(void)argc;
	torture_begin(argv, false);
	stock_alone("deadline:10ms,soft:8M,hard:4M");
	stays = register_life(HONEST, SPW_TIER_WARM, 1);
	if (!stays)
		tap_bail_out("cannot register");
#if SPW_ASSERT_LEVEL >= 2
	fault_set(NULL, 50, torture_seed());
#endif
	torture_start(REGISTRARS, registrar, NULL);
	torture_start(2, reclaimer, NULL);
	torture_start(1, flipper, NULL);
	torture_start(1, subscriber, NULL);
	torture_join();
	tap_note("%llu registered, %llu calls, %llu left inside, %llu by "
		 "others, %llu faults",
		 (unsigned long long)registered, (unsigned long long)calls,
		 (unsigned long long)left, (unsigned long long)murdered,
		 (unsigned long long)fault_count());
	fault_set(NULL, 0, 0);
	tap_ok(atomic_load(&stays->asked) > 0, "who stays is asked");
	before = torture_broken();
	crowd();
	leave(stays);
	tap_is(registered, unregistered, "all that came have gone");
	tap_ok(calls > 0 && left > 0, "callbacks ran, and left from inside");
	tap_is(before, 0, "no callback too late, and none twice at a time");
	tap_is(torture_broken() - before, 0, "nor in the crowd");
	return tap_done();
}
