/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reclaim engine: requests in, passes on the reclaimer thread.
 *
 *	engine_want (monitor), requests.c
 *	  -> engine_thread: pass_run (pass.c) until the deficit is gone
 *	  -> gate_hopeless, hold-off
 *
 * One pass at a time. `generation` names the thread that may run passes: when
 * a shrinker hangs, the monitor raises it and the standby thread goes on with
 * the next generation; the hung one, when it ever returns, sees that it was
 * overtaken and ends. The standby is made before the first call into the
 * program's code, on the reclaimer, because a thread made by the monitor
 * would share the monitor's descriptor table.
 *
 * Hold-off: a pass that gave under 1 % of its target doubles the time until
 * the next one for the same cause, 100 ms to 60 s (systemd#38417: futile
 * trims at 100 % CPU); 10 ms at most when critical and something could go, and
 * until headroom has fallen: what grows at 300 MB/s has taken it in 100 ms.
 *
 * `work` is the futex the reclaimer sleeps on; whoever changes what it should
 * do bumps it afterwards (release).
 */
#include "pressure/engine.h"

#include "base/clock.h"
#include "base/futex.h"
#include "base/log.h"
#include "base/rcu.h"
#include "base/settings.h"
#include "pressure/call.h"
#include "pressure/core.h"
#include "pressure/gate.h"
#include "pressure/jobs.h"
#include "pressure/monitor.h"
#include "pressure/pass.h"
#include "pressure/requests.h"
#include "pressure/shrinkers.h"
#include "pressure/subscribers.h"

#define HOLD_MIN_NS (100 * CLOCK_MS)
#define HOLD_MAX_NS (60 * CLOCK_S)
#define HOLD_CRITICAL_NS (10 * CLOCK_MS)
/* A call of a shrinker may take so many deadlines before it counts as hung. */
#define HANG_DEADLINES 4
#define HOPELESS_BYTES (64 << 10)
#define FREED_BYTES (1 << 20)

static _Atomic uint32_t work;
static _Atomic uint32_t generation;
static _Atomic bool busy;
static _Atomic bool awake;       /* busy, at jobs, or at a last look */
static _Atomic uint32_t standby; /* the last generation that has a thread */
static __thread uint32_t generation_here;
static _Atomic int want_level;
static _Atomic uint64_t want_bytes;
static _Atomic uint64_t hold_until_ns;
static _Atomic uint64_t hold_headroom_bytes; /* when it began */
static _Atomic uint64_t passed_ns;           /* end of the last pass */
static _Atomic int passed_level; /* its level; NONE: pressure is over */
static uint64_t hold_ns;         /* Reclaimer only. */
static _Atomic uint32_t futile;
static _Atomic uint64_t raised_ns; /* when the level rose, until answered */

static void
bump(void)
{
	atomic_fetch_add_explicit(&work, 1, memory_order_release);
	futex_wake(&work, FUTEX_ALL);
}

bool
engine_is_ours(void)
{
	return rcu_thread_is_ours || shrinkers_inside();
}

bool
engine_busy(void)
{
	return atomic_load_explicit(&busy, memory_order_relaxed);
}

uint64_t
engine_passed_ns(void)
{
	return atomic_load_explicit(&passed_ns, memory_order_relaxed);
}

uint32_t
engine_futile_passes(void)
{
	return atomic_load_explicit(&futile, memory_order_relaxed);
}

bool
engine_is_throttled(void)
{
	struct monitor_view view;

	if (engine_futile_passes())
		return false; /* nothing else has helped */
	monitor_view(&view);
	return limits_is_throttled(&view.reading);
}

uint64_t
engine_reclaimable_bytes(void)
{
	return pass_dirty_bytes() + pass_counted_bytes();
}

/* ---- what the monitor wants ---- */

/*
 * A hold-off is for the level it was found at: a pass for a higher one asks
 * more. What was freed since the last pass cuts a long one short.
 */
static bool
want_now(void)
{
	uint64_t now = clock_now_ns();

	return atomic_load(&want_bytes) > 0 &&
	       (now >= atomic_load(&hold_until_ns) ||
		atomic_load(&want_level) > atomic_load(&passed_level) ||
		monitor_has_worsened(atomic_load(&hold_headroom_bytes)) ||
		(now - atomic_load(&passed_ns) >= HOLD_CRITICAL_NS &&
		 pass_dirty_bytes() >= FREED_BYTES));
}

void
engine_want(enum spw_level level, uint64_t deficit_bytes)
{
	int before = atomic_exchange(&want_level, (int)level);
	const struct core_heap *heap = core_heap();
	uint64_t now = clock_now_ns();

	atomic_store(&want_bytes, deficit_bytes);
	if ((int)level > before) {
		core_count(&core_counters.events, 1);
		atomic_store(&raised_ns, now);
	}
	if (level == SPW_LEVEL_NONE && heap && heap->plenty)
		heap->plenty();
	if (!deficit_bytes) {
		atomic_store(&passed_level, SPW_LEVEL_NONE);
		gate_hopeless(false);
		return;
	}
	if (engine_busy() || !want_now())
		return;
	gate_hopeless(false);
	bump();
}

void
engine_retry(void)
{
	atomic_store(&hold_until_ns, 0);
	bump();
}

void
engine_notify(void)
{
	bump();
}

bool
engine_works(void)
{
	return atomic_load(&awake) || want_now();
}

/* First bytes after the level rose: how long it took. */
void
engine_answered(void)
{
	uint64_t since = atomic_exchange(&raised_ns, 0);

	if (since)
		core_count_max(&core_counters.response_ns_max,
			       clock_now_ns() - since);
}

/* Only a critical pass has asked everybody: before, there is hope. */
static void
note_result(enum spw_level level, uint64_t target, uint64_t got)
{
	bool asked_all = level == SPW_LEVEL_CRITICAL;
	uint64_t hold = 0;

	atomic_store(&passed_ns, clock_now_ns());
	atomic_store(&passed_level, (int)level);
	if (got < target / 100 || got == 0) {
		hold_ns = hold_ns ? 2 * hold_ns : HOLD_MIN_NS;
		if (hold_ns > HOLD_MAX_NS)
			hold_ns = HOLD_MAX_NS;
		hold = hold_ns;
		if (level == SPW_LEVEL_CRITICAL && hold > HOLD_CRITICAL_NS &&
		    engine_reclaimable_bytes() > HOPELESS_BYTES)
			hold = HOLD_CRITICAL_NS;
		atomic_fetch_add(&futile, 1);
		core_count(&core_counters.passes_futile, 1);
		gate_hopeless(asked_all);
	} else {
		hold_ns = 0;
		atomic_store(&futile, 0);
		/* Not enough, and no more to be had at once: the next pass
		 * comes after a while, and where this one gave little who
		 * waits goes on. */
		if (atomic_load(&want_bytes)) {
			hold = HOLD_CRITICAL_NS;
			gate_hopeless(asked_all && got < target / 4);
		}
	}
	atomic_store(&hold_headroom_bytes, monitor_headroom());
	atomic_store(&hold_until_ns, hold ? clock_now_ns() + hold : 0);
}

static uint64_t
deficit_left(const struct pass *pass)
{
	(void)pass;
	return atomic_load_explicit(&want_bytes, memory_order_relaxed);
}

static void
run_deficit(uint32_t mine)
{
	struct pass pass = {
		.level = (enum spw_level)atomic_load(&want_level),
		.target_bytes = atomic_load(&want_bytes),
		.left = deficit_left,
		.generation = mine,
	};

	if (!pass.target_bytes || !want_now())
		return;
	if (core_heap() && core_heap()->scarce)
		core_heap()->scarce();
	pass_run(&pass);
	if (engine_overtaken(mine))
		return;
	core_count(&core_counters.passes, 1);
	core_count(&core_counters.reclaimed_bytes, pass.got_bytes);
	requests_note_last(pass.got_bytes);
	note_result(pass.level, pass.target_bytes, pass.got_bytes);
	log_write(SPW_LOG_INFO,
		  "pass: level %d, wanted %llu bytes, got %llu in %llu us",
		  (int)pass.level, (unsigned long long)pass.target_bytes,
		  (unsigned long long)pass.got_bytes,
		  (unsigned long long)(pass.ns / 1000));
	gate_wake();
}

void
engine_purge_inline(void)
{
	uint64_t want = atomic_load(&want_bytes);
	const struct spw_reclaim_options options = { .target_bytes = want };
	uint64_t got;

	if (!want || !want_now())
		return;
	got = pass_inline(&options, false);
	core_count(&core_counters.passes, 1);
	core_count(&core_counters.reclaimed_bytes, got);
	note_result((enum spw_level)atomic_load(&want_level), want, got);
}

/* ---- threads ---- */

bool
engine_overtaken(uint32_t mine)
{
	return atomic_load_explicit(&generation, memory_order_acquire) != mine;
}

void
engine_call_prepare(void)
{
	uint32_t mine = generation_here, last = mine;

	/* By compare and swap: who was overtaken makes no second standby. */
	if (atomic_compare_exchange_strong(&standby, &last, mine + 1) &&
	    core_spawn(engine_thread, (void *)(uintptr_t)(mine + 1)) != 0)
		atomic_store(&standby, mine);
}

static void
quarantine(const struct call *call, uint64_t bound_ns)
{
	if (atomic_exchange(call->quarantined, true))
		return;
	core_count(&core_counters.quarantined, 1);
	log_write(SPW_LOG_WARNING,
		  "%s %s did not return in %llu ms: quarantined", call->kind,
		  call->name, (unsigned long long)(bound_ns / CLOCK_MS));
}

void
engine_watch(void)
{
	uint32_t now = atomic_load(&generation);
	uint64_t bound = settings()->deadline_ns * HANG_DEADLINES;
	struct call call;

	/* It may return, be unregistered and freed while we look. */
	rcu_read_lock();
	if (call_running(&call) && bound &&
	    clock_now_ns() - call.since_ns >= bound &&
	    atomic_load(&standby) == now + 1) {
		quarantine(&call, bound);
		call_forget();
		/* Nobody is busy: the hung thread, once overtaken, will not
		 * say so. */
		atomic_store(&busy, false);
		atomic_compare_exchange_strong(&generation, &now, now + 1);
		requests_requeue();
		bump();
	}
	rcu_read_unlock();
}

/* Beside jobs. */
static bool
has_work(void)
{
	return requests_queued() || subscribers_pending() ||
	       shrinkers_pending() || want_now();
}

/* Returns false when this thread has been overtaken. */
static bool
sleep_for_work(uint32_t mine)
{
	for (;;) {
		uint32_t seen = atomic_load_explicit(&work,
						     memory_order_acquire);

		if ((int32_t)(atomic_load(&generation) - mine) > 0)
			return false;
		if (atomic_load(&generation) == mine) { /* not the standby */
			bool some = jobs_pending() || has_work();

			atomic_store(&awake, some);
			if (some)
				return true;
		}
		futex_wait(&work, seen, FUTEX_FOREVER);
	}
}

void *
engine_thread(void *argument)
{
	uint32_t mine = (uint32_t)(uintptr_t)argument;

	core_thread_starts("spw-reclaimer");
	generation_here = mine;
	while (sleep_for_work(mine)) {
		jobs_run();
		if (!has_work())
			continue;
		atomic_store(&busy, true);
		if (subscribers_pending())
			subscribers_run(mine);
		if (!engine_overtaken(mine))
			run_deficit(mine);
		requests_run(mine);
		if (engine_overtaken(mine))
			break;
		shrinkers_retire();
		atomic_store(&busy, false);
		/* A deficit that is left wants a fresh look, not a spin. */
		monitor_sense(10 * CLOCK_MS);
	}
	return NULL;
}

void
engine_stop(void)
{
	atomic_fetch_add_explicit(&generation, 1u << 16, memory_order_release);
	bump();
}

void
engine_fork_child(void)
{
	requests_fork_child();
	atomic_store(&generation, 0);
	atomic_store(&busy, false);
	atomic_store(&awake, false);
	atomic_store(&standby, 0);
	call_forget();
	atomic_store(&want_bytes, 0);
	atomic_store(&want_level, SPW_LEVEL_NONE);
	atomic_store(&hold_until_ns, 0);
	atomic_store(&passed_level, SPW_LEVEL_NONE);
	hold_ns = 0;
	atomic_store(&futile, 0);
}
