/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pressure/shrinkers.c and pass.c through their public face: who may register,
 * who is asked in which order, and what unregistering waits for.
 */
#include "pressure/shrinkers.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <spillway/spillway.h>

#include "base/clock.h"
#include "base/fault.h"
#include "tests/tap.h"
#include "tests/unit/stock.h"

#define MIB (1ull << 20)

static char said[512];

static void
sink(enum spw_log_level level, const char *line, void *context)
{
	(void)level;
	(void)context;
	snprintf(said, sizeof said, "%s", line);
}

static bool
refused(struct spw_shrinker_options options, const char *word)
{
	struct spw_shrinker *shrinker = (void *)&options;
	int error = spw_shrinker_register(&shrinker, &options);

	if (error == -EINVAL && !shrinker && strstr(said, word))
		return true;
	tap_note("%d, \"%s\"", error, said);
	return false;
}

/* For what one page more or less decides. */
static void
exactly(bool good, const char *name)
{
#ifdef RCU_SEEN
	(void)good;
	tap_skip(1, "%s: TSan's own pages come while ours go", name);
#else
	tap_ok(good, "%s", name);
#endif
}

static void
options(void)
{
	static const char long_name[] =
		"0123456789012345678901234567890123456789012345678901234567890123";
	struct spw_shrinker_options good = {
		.size = sizeof good,
		.name = "good",
		.tier = SPW_TIER_WARM,
		.shrink = stock_shrink,
	};
	struct spw_shrinker_options o;
	struct spw_shrinker *shrinker;

	tap_is(spw_shrinker_register(NULL, &good), -EINVAL,
	       "a handle needs a place");
	tap_is(spw_shrinker_register(&shrinker, NULL), -EINVAL,
	       "options are needed");
	o = good;
	o.size--;
	tap_ok(refused(o, "options.size"), "a size unknown is named");
	o = good;
	o.name = NULL;
	tap_ok(refused(o, "name of 1 to 63"), "no name is named");
	o.name = "";
	tap_ok(refused(o, "name of 1 to 63"), "so is an empty one");
	o.name = long_name;
	tap_ok(refused(o, "name of 1 to 63"), "and one of 64 bytes");
	o = good;
	o.shrink = NULL;
	tap_ok(refused(o, "good: options.shrink"), "no shrink is named");
	o = good;
	o.tier = (enum spw_tier)41;
	tap_ok(refused(o, "good: options.tier"), "a tier above LAST is");
	o.tier = (enum spw_tier) - 1;
	tap_ok(refused(o, "good: options.tier"), "and one below FREE");
	spw_shrinker_unregister(NULL);
	tap_is(shrinkers_count(), 0, "nothing was registered");
	o = good;
	o.name = long_name + 1;
	tap_is(spw_shrinker_register(&shrinker, &o), 0, "63 bytes will do");
	tap_is(shrinkers_count(), 1, "and it is there");
	spw_shrinker_unregister(shrinker);
	tap_is(shrinkers_count(), 0, "and gone");
#if SPW_ASSERT_LEVEL >= 2
	fault_set("shrinker_register", 1, 1);
	tap_is(spw_shrinker_register(&shrinker, &good), -ENOMEM,
	       "no memory is said");
	fault_set(NULL, 0, 0);
#else
	tap_skip(1, "no fault injection in this build");
#endif
}

static void
order(void)
{
	struct stock cold = { 0 }, warm = { 0 }, unknown = { 0 }, last = { 0 };
	struct spw_shrinker *s[4];

	stock_fill(&cold, MIB);
	stock_fill(&warm, MIB);
	stock_fill(&unknown, MIB);
	stock_fill(&last, MIB);
	s[0] = stock_lend(&last, "moved", SPW_TIER_COLD, true);
	s[1] = stock_lend(&unknown, "unknown", SPW_TIER_WARM, false);
	s[2] = stock_lend(&warm, "warm", SPW_TIER_WARM, true);
	s[3] = stock_lend(&cold, "cold", SPW_TIER_COLD, true);
	tap_ok(stock_reclaim(UINT64_MAX) >= 4 * MIB - STOCK_BLUR,
	       "all comes back");
	tap_ok(cold.turn < warm.turn && cold.turn < unknown.turn,
	       "cheap tiers are asked first");
	tap_ok(last.turn > warm.turn && last.turn > unknown.turn,
	       "tier:moved=last moves it there");
	tap_ok(warm.bytes + unknown.bytes + cold.bytes + last.bytes == 0,
	       "nobody keeps any");
	stock_fill(&cold, MIB);
	stock_fill(&warm, MIB);
	warm.asked = cold.asked = 0;
	tap_ok(stock_reclaim(MIB / 2) >= MIB / 2 - STOCK_BLUR,
	       "half a MiB comes back");
	exactly(warm.bytes == MIB && !warm.asked && cold.asked,
		"and the dearer are not asked for what the cheaper gave");
	tap_ok(cold.request.size == sizeof cold.request &&
		       cold.request.node == -1 && !cold.request.hard &&
		       cold.request.level == SPW_LEVEL_CRITICAL &&
		       !cold.request.older_than_ns &&
		       cold.request.target_bytes <= MIB / 2 &&
		       cold.request.deadline_ns > clock_now_ns(),
	       "a request says how much, how and until when");
	for (int i = 0; i < 4; i++)
		spw_shrinker_unregister(s[i]);
	stock_empty(&cold);
	stock_empty(&warm);
	stock_empty(&unknown);
	stock_empty(&last);
}

/* ---- a shrinker that a test holds in its callback ---- */

static _Atomic bool held, let_go;
static _Atomic unsigned calls;
static struct spw_shrinker *inside;

static size_t
hold(const struct spw_shrink *request, void *context)
{
	(void)request;
	(void)context;
	calls++;
	held = true;
	while (!let_go)
		usleep(500);
	return 0;
}

static struct spw_shrinker *
lend(const char *name, size_t (*shrink)(const struct spw_shrink *, void *),
     enum spw_tier tier)
{
	struct spw_shrinker_options o = {
		.size = sizeof o,
		.name = name,
		.tier = tier,
		.shrink = shrink,
	};
	struct spw_shrinker *s;
	int error = spw_shrinker_register(&s, &o);

	if (error)
		tap_bail_out("%s: %s", name, spw_strerror(error));
	return s;
}

static bool
is_held(void)
{
	return held;
}

static void *
reclaim_thread(void *got)
{
	uint64_t bytes = stock_reclaim(UINT64_MAX);

	if (got)
		*(uint64_t *)got = bytes;
	return NULL;
}

static _Atomic bool unregistered;

static void *
unregister_thread(void *shrinker)
{
	spw_shrinker_unregister(shrinker);
	unregistered = true;
	return NULL;
}

/* Reclaims on another thread until `hold` is in its callback. */
static pthread_t
hold_one(void)
{
	pthread_t thread;

	held = let_go = false;
	calls = 0;
	pthread_create(&thread, NULL, reclaim_thread, NULL);
	tap_ok(stock_soon(is_held), "a callback is running");
	return thread;
}

static void
unregistering(void)
{
	struct spw_shrinker *s = lend("held", hold, SPW_TIER_WARM);
	struct stock late = { 0 };
	struct spw_shrinker *other;
	pthread_t reclaimer, unregisterer;
	unsigned before;

	reclaimer = hold_one();
	unregistered = false;
	pthread_create(&unregisterer, NULL, unregister_thread, s);
	usleep(50000);
	tap_ok(!unregistered, "unregistering waits for a call that runs");
	stock_fill(&late, MIB);
	other = stock_lend(&late, "late", SPW_TIER_COLD, true);
	tap_ok(!let_go && !unregistered, "registering does not");
	let_go = true;
	pthread_join(unregisterer, NULL);
	before = calls;
	pthread_join(reclaimer, NULL);
	stock_reclaim(UINT64_MAX);
	tap_ok(before >= 1 && calls == before,
	       "once it has returned there is no call any more");
	tap_is(late.bytes, 0, "who came during the pass is asked by the next");
	spw_shrinker_unregister(other);
	stock_empty(&late);
}

static struct spw_shrinker *child;

static size_t
leave_inside(const struct spw_shrink *request, void *context)
{
	(void)request;
	(void)context;
	calls++;
	spw_shrinker_unregister(inside);
	said[0] = 0;
	spw_shrinker_unregister(inside);
	child = lend("child", stock_shrink, SPW_TIER_LAST);
	spw_shrinker_unregister(child);
	return 0;
}

static void
from_inside(void)
{
	unsigned before = shrinkers_count();

	calls = 0;
	inside = lend("inside", leave_inside, SPW_TIER_WARM);
	stock_reclaim(UINT64_MAX);
	stock_reclaim(UINT64_MAX);
	tap_is(calls, 1, "unregistered from inside, it is called no more");
	tap_is_text(said, "error: shrinker inside: unregistered twice",
		    "a second time is refused");
	tap_is(shrinkers_count(), before,
	       "others may come and go in a callback");
}

static struct stock slow;

static void *
shrink_later(void *unused)
{
	(void)unused;
	usleep(50000);
	stock_empty(&slow);
	return NULL;
}

static size_t
later(const struct spw_shrink *request, void *context)
{
	pthread_t thread;

	(void)request;
	(void)context;
	if (++calls == 1 &&
	    pthread_create(&thread, NULL, shrink_later, NULL) == 0)
		pthread_detach(thread);
	return SPW_SHRINK_LATER;
}

static uint64_t
reclaimed_by(const char *name, struct shrinkers_line *copy)
{
	struct shrinkers_line lines[16];
	unsigned n = shrinkers_describe(lines, 16);

	for (unsigned i = 0; i < n; i++)
		if (strcmp(lines[i].name, name) == 0) {
			if (copy)
				*copy = lines[i];
			return lines[i].reclaimed_bytes;
		}
	return UINT64_MAX;
}

static bool
slow_is_empty(void)
{
	return !slow.bytes;
}

static void
promising(void)
{
	struct spw_shrinker *s;

	calls = 0;
	stock_fill(&slow, 16 * MIB);
	s = lend("slow", later, SPW_TIER_WARM);
	stock_reclaim(UINT64_MAX);
	stock_reclaim(UINT64_MAX);
	tap_is(calls, 1, "who said later is not asked again soon");
	tap_ok(reclaimed_by("slow", NULL) < 4 * MIB, "nor credited yet");
	stock_soon(slow_is_empty);
	usleep(20000);
	stock_reclaim(UINT64_MAX);
	tap_ok(reclaimed_by("slow", NULL) >= 12 * MIB &&
		       reclaimed_by("slow", NULL) < UINT64_MAX,
	       "what came later is credited then");
	spw_shrinker_unregister(s);
}

static void
lying(void)
{
	struct stock liar = { .lie_bytes = 64 * MIB }, honest = { 0 };
	struct spw_shrinker *s[2];
	struct shrinkers_line of_liar, of_honest;

	s[0] = stock_lend(&liar, "liar", SPW_TIER_WARM, true);
	tap_ok(stock_reclaim(16 * MIB) < 8 * MIB, "a claim is not believed");
	stock_fill(&honest, 16 * MIB);
	s[1] = stock_lend(&honest, "honest", SPW_TIER_WARM, true);
	stock_reclaim(8 * MIB);
	tap_ok(reclaimed_by("honest", &of_honest) >= 7 * MIB &&
		       reclaimed_by("liar", &of_liar) < 4 * MIB,
	       "what was measured is credited");
	tap_ok(of_honest.yield_bytes_per_ms > 2 * of_liar.yield_bytes_per_ms,
	       "and ranks them");
	stock_fill(&honest, 16 * MIB);
	liar.asked = 0;
	tap_ok(stock_reclaim(MIB) >= MIB - STOCK_BLUR,
	       "the next one gets its MiB");
	exactly(!liar.asked, "without the liar being asked");
	spw_shrinker_unregister(s[0]);
	spw_shrinker_unregister(s[1]);
	stock_empty(&honest);
}

static void
hanging(void)
{
	struct stock honest = { 0 };
	struct spw_shrinker *s[2];
	struct shrinkers_line line;
	struct spw_stats stats = { .size = sizeof stats };
	uint64_t start;

	stock_fill(&honest, 4 * MIB);
	s[0] = lend("stuck", hold, SPW_TIER_COLD);
	s[1] = stock_lend(&honest, "honest", SPW_TIER_WARM, true);
	for (unsigned i = 1; i <= 2; i++) {
		held = let_go = false;
		start = clock_now_ns();
		tap_ok(stock_reclaim(4 * MIB) >= 4 * MIB - STOCK_BLUR,
		       "a reclaim ends though a shrinker hangs");
		tap_ok(held && clock_now_ns() - start > 100 * CLOCK_MS,
		       "which was given time");
		spw_stats(&stats);
		tap_is(stats.quarantined, i, "it is quarantined");
		reclaimed_by("stuck", &line);
		tap_ok(line.quarantined, "as is shown");
		calls = 0;
		stock_fill(&honest, 4 * MIB);
		tap_ok(stock_reclaim(4 * MIB) >= 4 * MIB - STOCK_BLUR,
		       "later reclaims work");
		tap_is(calls, 0, "and ask it no more");
		let_go = true;
		spw_shrinker_unregister(s[0]);
		s[0] = lend("stuck", hold, SPW_TIER_COLD);
		stock_fill(&honest, 4 * MIB);
	}
	let_go = true;
	spw_shrinker_unregister(s[0]);
	spw_shrinker_unregister(s[1]);
	stock_empty(&honest);
}

/* ---- what one that hangs leaves behind ---- */

static struct stock patient;
static _Atomic bool ended;

static bool
nothing_wanted(void)
{
	struct spw_pressure now = { .size = sizeof now };

	return spw_pressure_read(&now) == 0 && !now.deficit_bytes;
}

static uint64_t
quarantines(void)
{
	struct spw_stats stats = { .size = sizeof stats };

	spw_stats(&stats);
	return stats.quarantined;
}

static uint64_t quarantines_before;

static bool
is_quarantined(void)
{
	return quarantines() > quarantines_before;
}

static bool
patient_is_asked(void)
{
	return patient.asked > 0;
}

static void
press(void)
{
	char limit[64];

	snprintf(limit, sizeof limit, "limit:%llu,soft:8M,hard:4M",
		 (unsigned long long)stock_resident() + MIB);
	tap_is(spw_configure(limit), 0, "pressure comes");
}

/* It hangs while the pressure that it was asked for goes away. */
static void
outlasting(void)
{
	struct spw_shrinker *s[2];

	quarantines_before = quarantines();
	held = let_go = false;
	stock_fill(&patient, 16 * MIB);
	s[0] = lend("stuck", hold, SPW_TIER_COLD);
	press();
	tap_ok(stock_soon(is_held), "a shrinker hangs");
	tap_is(spw_configure("limit:none"), 0, "the pressure goes away");
	tap_ok(stock_soon(nothing_wanted) && stock_soon(is_quarantined),
	       "and it is quarantined");
	let_go = true;
	s[1] = stock_lend(&patient, "patient", SPW_TIER_WARM, true);
	usleep(50000);
	patient.asked = 0;
	press();
	tap_ok(stock_soon(patient_is_asked),
	       "pressure that comes back is answered, unasked");
	tap_is(spw_configure("limit:none"), 0, "no more");
	stock_soon(nothing_wanted);
	spw_shrinker_unregister(s[0]);
	spw_shrinker_unregister(s[1]);
	stock_empty(&patient);
}

static _Atomic bool late_is_back;

/* Comes back when the next one hangs. */
static size_t
come_back_late(const struct spw_shrink *request, void *context)
{
	(void)request;
	(void)context;
	while (!held && !let_go)
		usleep(500);
	usleep(20000);
	late_is_back = true;
	return 0;
}

static void *
reclaim_and_end(void *got)
{
	*(uint64_t *)got = stock_reclaim(4 * MIB);
	ended = true;
	return NULL;
}

static bool
is_ended(void)
{
	return ended;
}

static void
coming_back(void)
{
	struct spw_shrinker *s[3];
	uint64_t before = quarantines(), got = 0;
	pthread_t thread;

	held = let_go = late_is_back = ended = false;
	stock_fill(&patient, 4 * MIB);
	s[0] = lend("late", come_back_late, SPW_TIER_COLD);
	s[1] = lend("stuck", hold, SPW_TIER_WARM);
	s[2] = stock_lend(&patient, "patient", SPW_TIER_LAST, true);
	pthread_create(&thread, NULL, reclaim_and_end, &got);
	tap_ok(stock_soon(is_ended) && late_is_back,
	       "one that comes back does not hide the next that hangs");
	tap_is(quarantines(), before + 2, "both are quarantined");
	let_go = true;
	pthread_join(thread, NULL);
	tap_ok(got >= 4 * MIB - STOCK_BLUR, "and the last one gives");
	for (unsigned i = 0; i < 3; i++)
		spw_shrinker_unregister(s[i]);
	stock_empty(&patient);
}

static struct stock osv;
static _Atomic bool osv_hard;

static size_t
osv_shrink(size_t target, bool hard)
{
	struct spw_shrink request = { .target_bytes = target };

	if (hard)
		osv_hard = true;
	return stock_shrink(&request, &osv);
}

static bool
was_hard(void)
{
	return osv_hard;
}

static void
from_osv(void)
{
	errno = 0;
	tap_ok(!osv_register_shrinker("osv", NULL) && errno == EINVAL,
	       "osv_register_shrinker needs a function");
	errno = 0;
	tap_ok(!osv_register_shrinker(NULL, osv_shrink) && errno == EINVAL,
	       "and a name");
	stock_fill(&osv, 64 * MIB);
	tap_ok(osv_register_shrinker("osv", osv_shrink), "both will do");
	tap_ok(stock_reclaim(MIB) >= MIB - STOCK_BLUR && osv.asked && !osv_hard,
	       "who is asked is asked softly");
	press();
	tap_ok(stock_soon(was_hard), "it is asked hard");
	tap_is(spw_configure("limit:none"), 0, "no more");
}

int
main(void)
{
	spw_log_set(SPW_LOG_ERROR, sink, NULL);
	stock_alone("deadline:50ms,tier:moved=last");
	options();
	order();
	unregistering();
	from_inside();
	promising();
	lying();
	hanging();
	outlasting();
	coming_back();
	from_osv();
	return tap_done();
}
