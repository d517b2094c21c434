/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor thread: sense, judge, publish, sleep.
 *
 *	limits_read -> level_update -> publish -> gate_publish, engine_want
 *	sources_arm, then poll on sources, control socket and the bell
 *
 * Started by core.c. It never works and never waits for work: what takes
 * long (registering a v1 threshold, shrinking, starting a second reclaimer)
 * happens on other threads. Between two looks it reads files for those
 * (errand.c).
 *
 * The bell is a signal that is blocked in this thread and directed at it, so
 * that a hook can ring with one tgkill(2) and the program can neither see it
 * nor close it, unlike an eventfd in the program's descriptor table; here it
 * is read from a signalfd.
 *
 * The view is published under a sequence lock: one writer (who senses),
 * readers retry. `view_sequence` doubles as the futex for monitor_sense().
 */
#include "pressure/monitor.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/futex.h"
#include "base/log.h"
#include "base/rcu.h"
#include "base/settings.h"
#include "pressure/control.h"
#include "pressure/core.h"
#include "pressure/engine.h"
#include "pressure/errand.h"
#include "pressure/gate.h"
#include "pressure/sources.h"
#include "pressure/subscribers.h"

#define BELL_SIGNAL SIGURG
/* Limits are read again, 50 us: after this time, or when the heap grew so
 * much since, whichever is first. */
#define REFRESH_NS (200 * CLOCK_MS)
#define REFRESH_BYTES (32ull << 20)
/* Committed so recently that the program may not have touched it yet. */
#define RECENT_NS (20 * CLOCK_MS)
#define NOTHING_BYTES (1 << 20)
#define IDLE_MAX_NS (400 * CLOCK_MS)
#define LOOK_NS (2 * CLOCK_S)
#define PASS_POLL_NS (8 * CLOCK_MS)
#define SOON_NS CLOCK_MS
#define WATCHDOG_NS (100 * CLOCK_MS)
#define POLLS_MAX (1 + SOURCES_POLLS_MAX + CONTROL_POLLS_MAX)

/* Guarded by being used by one senser: the thread, or whoever holds
 * sense_lock under threads:never. */
static struct limits limits;
static struct level level;
static uint64_t refreshed_ns, refreshed_charged_bytes, sensed_ns;
static uint64_t recent_ns, recent_charged, recent_charged_before;
static uint64_t net_below_bytes;
static struct sources *sources;

static struct monitor_view view;
static _Atomic uint32_t view_sequence;
static _Atomic uint32_t sense_wanted, sense_done;

static _Atomic int bell_thread; /* tid; 0: nobody to ring */
static _Atomic bool bell_rung;
static _Atomic bool looks_soon; /* by itself: who rings sends no signal */
static _Atomic bool stop;
static _Atomic int sense_lock;

void
monitor_ring(void)
{
	int tid = atomic_load_explicit(&bell_thread, memory_order_acquire);
	int saved = errno;

	if (tid && !atomic_exchange(&bell_rung, true) &&
	    !atomic_load(&looks_soon))
		syscall(SYS_tgkill, getpid(), tid, BELL_SIGNAL);
	errno = saved;
}

bool
monitor_answers(uint64_t timeout_ns)
{
	const struct timespec a_moment = { 0, CLOCK_MS / 10 };
	uint64_t until = 0;
	int tid;

	while (!(tid = atomic_load_explicit(&bell_thread,
					    memory_order_acquire))) {
		uint64_t now = clock_now_ns();

		if (!core_has_monitor() || (until && now >= until))
			return false;
		if (!until)
			until = now + timeout_ns;
		nanosleep(&a_moment, NULL);
	}
	return tid != (int)syscall(SYS_gettid);
}

/* The descriptor means something in the monitor's own table alone. */
uint64_t
monitor_read_resident(void)
{
	bool here = atomic_load_explicit(&bell_thread, memory_order_relaxed) ==
		    (int)syscall(SYS_gettid);

	return limits_read_resident(here ? limits.statm_fd : -1);
}

void
monitor_look(void)
{
	atomic_fetch_add(&sense_wanted, 1);
	monitor_ring();
}

/*
 * The sequence lock, as Linux's seqlock:
 *	writer			reader
 *	sequence odd		s = sequence (acquire), even?
 *	fence(release)		copy
 *	write			fence(acquire)
 *	sequence even (rel.)	sequence still s?
 */
static void
publish_view(const struct monitor_view *fresh)
{
	uint32_t s = atomic_load_explicit(&view_sequence, memory_order_relaxed);
	const uint64_t *from = (const uint64_t *)(const void *)fresh;
	_Atomic uint64_t *to = (_Atomic uint64_t *)(void *)&view;

	atomic_store_explicit(&view_sequence, s + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	for (size_t i = 0; i < sizeof view / sizeof *from; i++)
		atomic_store_explicit(&to[i], from[i], memory_order_relaxed);
	atomic_store_explicit(&view_sequence, s + 2, memory_order_release);
}

void
monitor_view(struct monitor_view *copy)
{
	_Static_assert(sizeof view % sizeof(uint64_t) == 0, "whole words");
	_Atomic uint64_t *from = (_Atomic uint64_t *)(void *)&view;
	uint64_t *to = (uint64_t *)(void *)copy;
	uint32_t s;

	do {
		s = atomic_load_explicit(&view_sequence, memory_order_acquire);
		for (size_t i = 0; i < sizeof view / sizeof *to; i++)
			to[i] = atomic_load_explicit(&from[i],
						     memory_order_relaxed);
		atomic_thread_fence(memory_order_acquire);
	} while ((s & 1) || s != atomic_load_explicit(&view_sequence,
						      memory_order_relaxed));
}

uint64_t
monitor_headroom(void)
{
	struct monitor_view now;

	monitor_view(&now);
	return now.reading.headroom_bytes;
}

bool
monitor_has_worsened(uint64_t since_bytes)
{
	struct monitor_view now;
	uint64_t step;

	monitor_view(&now);
	step = now.level.hard_bytes / 4;
	return since_bytes > step &&
	       now.reading.headroom_bytes < since_bytes - step;
}

bool
monitor_has_view(void)
{
	return atomic_load_explicit(&view_sequence, memory_order_acquire) > 1;
}

bool
monitor_first_view(uint64_t timeout_ns)
{
	uint64_t until = clock_now_ns() + timeout_ns;

	while (!monitor_has_view()) {
		if (settings()->threads == SETTINGS_THREADS_NEVER)
			monitor_sense_inline();
		else if (clock_now_ns() >= until)
			return false;
		else
			futex_wait(&view_sequence, 0, CLOCK_MS);
	}
	return true;
}

/* Our committed bytes of the last RECENT_NS or so. */
static uint64_t
recently_charged(uint64_t now, uint64_t charged)
{
	if (now - recent_ns >= RECENT_NS) {
		recent_charged_before = now - recent_ns < 2 * RECENT_NS ?
						recent_charged :
						charged;
		recent_charged = charged;
		recent_ns = now;
	}
	return charged - recent_charged_before;
}

static uint64_t
heap_free_bytes(void)
{
	const struct core_heap *heap = core_heap();
	uint64_t mapped = heap ? heap->mapped_bytes() : 0;
	uint64_t active = heap ? heap->active_bytes() : 0;

	return mapped > active ? mapped - active : 0;
}

/* One look: reading, level, publication. Returns when to look again. */
static uint64_t
sense(const struct sources_news *news)
{
	struct monitor_view fresh;
	struct level_input in;
	uint32_t wanted = atomic_load(&sense_wanted);

	memset(&fresh, 0, sizeof fresh);
	memset(&in, 0, sizeof in);
	in.now_ns = sensed_ns = clock_now_ns();
	in.charged_bytes = atomic_load(&gate_charged_bytes);
	if (in.now_ns - refreshed_ns >= REFRESH_NS || news->limits_changed ||
	    in.charged_bytes - refreshed_charged_bytes >= REFRESH_BYTES) {
		refreshed_ns = in.now_ns;
		refreshed_charged_bytes = in.charged_bytes;
		limits_refresh(&limits);
		if (sources)
			sources_follow(sources, &limits);
	}
	in.recent_bytes = recently_charged(in.now_ns, in.charged_bytes);
	limits.heap_free_bytes = heap_free_bytes();
	limits_read(&limits, net_below_bytes, &in.reading);
	if (sources && sources_switched_off(sources) &&
	    in.reading.kind != LIMITS_OWN)
		in.reading.limit_bytes = in.reading.headroom_bytes = UINT64_MAX;
	in.reclaimable_bytes = engine_reclaimable_bytes();
	in.waiting_bytes = gate_waiting_bytes();
	in.futile_passes = engine_futile_passes();
	in.stall_us = news->stall_us;
	in.asked = news->asked;
	in.crossed = news->limit;
	in.covered = sources && sources_cover_usage(sources);
	in.unhooked = !core_heap();
	level_update(&level, &in, &fresh.level);
	fresh.reading = in.reading;
	/* Subtracting page cache costs 3 us: only where it may matter. */
	net_below_bytes = fresh.level.soft_bytes * 3;
	if (limits_is_throttled(&fresh.reading) && fresh.level.deficit_bytes)
		atomic_store(&looks_soon, true);
	publish_view(&fresh);
	gate_publish(fresh.level.credit_bytes, fresh.level.slack_bytes);
	engine_want(fresh.level.level, fresh.level.deficit_bytes);
	atomic_store_explicit(&sense_done, wanted, memory_order_release);
	futex_wake(&sense_done, FUTEX_ALL);
	return fresh.level.poll_ns;
}

void
monitor_sense(uint64_t timeout_ns)
{
	uint32_t ticket = atomic_fetch_add(&sense_wanted, 1) + 1;
	uint64_t until = clock_now_ns() + timeout_ns;

	if (!atomic_load(&bell_thread))
		return;
	monitor_ring();
	for (;;) {
		uint32_t done = atomic_load_explicit(&sense_done,
						     memory_order_acquire);
		uint64_t now;

		if ((int32_t)(done - ticket) >= 0)
			return;
		now = clock_now_ns();
		if (now >= until)
			return;
		futex_wait(&sense_done, done, until - now);
	}
}

void
monitor_sense_inline(void)
{
	static const struct sources_news no_news;
	static bool opened;

	if (atomic_exchange(&sense_lock, 1))
		return; /* somebody is at it */
	if (!opened) {
		limits_open(&limits, false);
		opened = true;
	}
	sense(&no_news);
	atomic_store(&sense_lock, 0);
	engine_purge_inline();
}

/* A descriptor table of our own: what the program opens, closes and reuses
 * is none of our business, nor ours of its. */
static void
leave_descriptors(void)
{
	bool keep_2 = log_wanted(SPW_LOG_ERROR);

	if (syscall(SYS_unshare, CLONE_FILES) != 0) {
		log_write(SPW_LOG_WARNING,
			  "monitor: no descriptor table of its own: %s",
			  strerror(errno));
		return;
	}
	syscall(SYS_close_range, 3u, ~0u, 0u);
	close(0);
	close(1);
	if (!keep_2) {
		close(2);
		log_descriptor_set(-1);
	}
}

static int
open_bell(void)
{
	sigset_t bell;

	sigemptyset(&bell);
	sigaddset(&bell, BELL_SIGNAL);
	return signalfd(-1, &bell, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* The headrooms at which v1 should wake us: well before, before, at soft,
 * and between soft and hard. */
static void
arm(const struct monitor_view *now)
{
	uint64_t limit = now->reading.limit_bytes;
	uint64_t soft = now->level.soft_bytes, hard = now->level.hard_bytes;
	uint64_t at[4] = { limit / 4, limit / 6, soft, (soft + hard) / 2 };

	if (limit == UINT64_MAX)
		return;
	if (at[1] < soft + soft / 2)
		at[1] = soft + soft / 2;
	sources_arm(sources, &limits, &now->reading, at, 4);
}

static void
sleep_for_news(int bell, uint64_t ns, struct sources_news *news)
{
	struct pollfd polls[POLLS_MAX];
	unsigned from_sources, from_control;
	struct timespec timeout = { .tv_sec = (time_t)(ns / CLOCK_S),
				    .tv_nsec = (long)(ns % CLOCK_S) };
	struct signalfd_siginfo rings[2];

	memset(news, 0, sizeof *news);
	polls[0] = (struct pollfd){ .fd = bell, .events = POLLIN };
	from_sources = sources_fill(sources, polls + 1, SOURCES_POLLS_MAX);
	from_control = control_fill(polls + 1 + from_sources,
				    CONTROL_POLLS_MAX);
	if (ppoll(polls, 1 + from_sources + from_control, &timeout, NULL) > 0) {
		if (polls[0].revents)
			while (read(bell, rings, sizeof rings) > 0)
				;
		sources_handle(sources, polls + 1, from_sources, news);
		control_handle(polls + 1 + from_sources, from_control);
	}
	atomic_store(&bell_rung, false);
	errand_serve(); /* after that: who comes later rings again */
	core_count(&core_counters.wakeups, 1);
}

/*
 * Near a limit with nothing to give, each look is for nothing: only whether
 * there is something again, in our own counters, until LOOK_NS are over.
 */
static bool
idle_at_limit(const struct monitor_view *now, const struct sources_news *news)
{
	static const struct sources_news none;

	return now->level.level > SPW_LEVEL_NONE &&
	       engine_reclaimable_bytes() < NOTHING_BYTES &&
	       memcmp(news, &none, sizeof none) == 0 && !gate_waiting_bytes() &&
	       atomic_load(&sense_wanted) == atomic_load(&sense_done) &&
	       !atomic_load(&stop) && !engine_busy() &&
	       !atomic_load(&looks_soon) &&
	       clock_now_ns() - sensed_ns < LOOK_NS;
}

/* How long to sleep there: ever longer while the heap does not move. */
static uint64_t
idle_ns(uint64_t ns)
{
	static uint64_t last_moved, quiet_ns;
	uint64_t moved = atomic_load(&gate_charged_bytes) +
			 engine_reclaimable_bytes();

	if (moved != last_moved || quiet_ns < ns)
		quiet_ns = ns;
	else if (quiet_ns < IDLE_MAX_NS)
		quiet_ns *= 2;
	last_moved = moved;
	return quiet_ns;
}

/* A pass has us look after each of its steps; who hangs is to be seen. */
static uint64_t
beside_pass_ns(uint64_t ns)
{
	if (ns < PASS_POLL_NS)
		return PASS_POLL_NS;
	return ns < WATCHDOG_NS ? ns : WATCHDOG_NS;
}

/*
 * A signal is memory that the kernel charges, and above memory.high the
 * reclaimer would sleep for having rung: while it works we look often instead.
 * Who rings sets bell_rung, then reads looks_soon; here it is the other way
 * round, so that one of both sees the other (sequentially consistent).
 */
static uint64_t
soon_ns(uint64_t ns)
{
	if (!atomic_load(&looks_soon))
		return ns;
	if (engine_works())
		return ns < SOON_NS ? ns : SOON_NS;
	atomic_store(&looks_soon, false);
	return atomic_load(&bell_rung) ? 0 : ns;
}

void *
monitor_thread(void *unused)
{
	struct sources_news news;
	struct monitor_view now;
	uint64_t ns, stall_us;
	int bell;

	(void)unused;
	core_thread_starts("spw-monitor");
	leave_descriptors();
	bell = open_bell();
	if (bell < 0)
		log_write(SPW_LOG_WARNING, "monitor: no signalfd: %s",
			  strerror(errno));
	if (limits_open(&limits, true) != 0)
		log_write(SPW_LOG_INFO, "limits: %s", limits.why);
	refreshed_ns = clock_now_ns();
	sources = sources_open(&limits);
	memset(&news, 0, sizeof news);
	atomic_store_explicit(&bell_thread, (int)syscall(SYS_gettid),
			      memory_order_release);
	control_open();
	while (!atomic_load(&stop)) {
		ns = sense(&news);
		engine_watch();
		subscribers_note();
		monitor_view(&now);
		arm(&now);
		if (control_tick() && ns > 100 * CLOCK_MS)
			ns = 100 * CLOCK_MS;
		if (engine_busy())
			ns = beside_pass_ns(ns);
		if (bell < 0 && ns > 10 * CLOCK_MS)
			ns = 10 * CLOCK_MS;
		ns = soon_ns(ns);
		/* A wanted reading that came in meanwhile is not slept over */
		if (atomic_load(&sense_wanted) != atomic_load(&sense_done))
			ns = 0;
		sleep_for_news(bell, ns, &news);
		while (idle_at_limit(&now, &news))
			sleep_for_news(bell, idle_ns(ns), &news);
		stall_us = sources_stall_us(sources);
		if (stall_us > news.stall_us)
			news.stall_us = stall_us;
	}
	atomic_store(&bell_thread, 0);
	atomic_store(&looks_soon, false);
	errand_serve();
	control_close();
	sources_close(sources);
	sources = NULL;
	limits_close(&limits);
	if (bell >= 0)
		close(bell);
	return NULL;
}

void
monitor_stop(void)
{
	atomic_store(&stop, true);
	monitor_ring();
}

void
monitor_fork_child(void)
{
	atomic_store(&bell_thread, 0);
	atomic_store(&bell_rung, false);
	atomic_store(&looks_soon, false);
	atomic_store(&view_sequence, 0);
	atomic_store(&stop, false);
	atomic_store(&sense_lock, 0);
	errand_fork_child();
	memset(&level, 0, sizeof level);
	recent_ns = 0;
	sources = NULL;
	/* The parent's monitor had these in a table that is not ours. */
	if (limits.keep_open)
		memset(&limits, 0, sizeof limits);
}
