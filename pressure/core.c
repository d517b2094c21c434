/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Starting, forking, stopping; and the numbers.
 *
 * core_start() is called by the gate when the heap has outgrown start: and by
 * every public function that needs threads. It starts the monitor first, then
 * the reclaimer, both with signals blocked and small stacks.
 *
 * fork: the order of the prepare handlers is liburcu, then every ranked lock;
 * jemalloc's own handlers, older than ours, run after them, as POSIX runs
 * prepare handlers last-in first-out. liburcu first, because its lock is held
 * while a grace period waits for readers, and a reader may want a ranked one
 * (the first allocation of a thread in a tagged arena does); so no thread
 * registers with liburcu while it holds a ranked lock. In the child nothing
 * runs: state STOPPED, to be started anew by the next growth.
 *
 * `state` moves STOPPED -> STARTING -> RUNNING under start_lock; readers look
 * at it without.
 */
#include "pressure/core.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/elsewhere.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/rcu.h"
#include "base/settings.h"
#include "pressure/engine.h"
#include "pressure/gate.h"
#include "pressure/jobs.h"
#include "pressure/monitor.h"
#include "pressure/requests.h"
#include "pressure/shrinkers.h"
#include "pressure/subscribers.h"

/* Enough for a shrinker's callback of the program. */
#define STACK_BYTES (256ul << 10)
#define SLICE_NS (100 * CLOCK_US)
/* No more than this can be mapped, whoever says so. */
#define GROW_MAX (1ull << 47)
#define FIRST_VIEW_NS (100 * CLOCK_MS)
#define SANDBOX_WAIT_NS (1 * CLOCK_S)

enum core_state { STOPPED, STARTING, RUNNING, NEVER };

struct core_counters core_counters;

static struct base_lock start_lock = BASE_LOCK(BASE_RANK_START);
static _Atomic int state = STOPPED;
static _Atomic bool loaded, sandboxed, handlers_there;
static _Atomic(const struct core_heap *) heap;
static _Atomic(const struct core_fork *) above; /* core_fork_add() */
static void (*on_start)(void);
static pid_t started_in; /* Guarded by start_lock. */
/* Written under start_lock, but where a sandbox comes. It may be there without
 * a reclaimer, which could not be had. */
static _Atomic bool monitor_there;

/* Our threads, for core_sandboxed(): monitor, reclaimer, standbys, helpers.
 * One that has ended is replaced by a later one. */
#define THREADS_MAX 16
static _Atomic int threads[THREADS_MAX];
static _Atomic int threads_to_come; /* made, but not in `threads` yet */

void
core_on_start(void (*start)(void))
{
	on_start = start;
}

void
core_fork_add(const struct core_fork *hooks)
{
	atomic_store(&above, hooks);
}

void
core_heap_set(const struct core_heap *new_heap)
{
	atomic_store(&heap, new_heap);
}

const struct core_heap *
core_heap(void)
{
	return atomic_load_explicit(&heap, memory_order_relaxed);
}

static void
fork_prepare(void)
{
	const struct core_heap *h = core_heap();

	gate_fork(true);
	if (h && h->fork_prepare)
		h->fork_prepare();
	rcu_fork_prepare();
	if (atomic_load(&above))
		atomic_load(&above)->prepare();
	lock_fork_prepare();
}

static void
fork_parent(void)
{
	const struct core_heap *h = core_heap();

	lock_fork_parent();
	if (atomic_load(&above))
		atomic_load(&above)->parent();
	rcu_fork_parent();
	if (h && h->fork_parent)
		h->fork_parent();
	gate_fork(false);
}

static void
fork_child(void)
{
	const struct core_heap *h = core_heap();

	lock_fork_child();
	rcu_fork_child();
	if (h && h->fork_child)
		h->fork_child();
	rcu_thread_is_ours = false;
	if (atomic_load(&state) != NEVER)
		atomic_store(&state, STOPPED);
	monitor_fork_child();
	engine_fork_child();
	shrinkers_fork_child();
	subscribers_fork_child();
	jobs_fork_child();
	if (atomic_load(&above))
		atomic_load(&above)->child();
	gate_reset();
	memset(&core_counters, 0, sizeof core_counters);
	memset(threads, 0, sizeof threads);
	atomic_store(&threads_to_come, 0);
	monitor_there = false;
}

/* Without one that is asked for where thread-local storage needs more. */
static int
create(void *(*body)(void *), void *argument, size_t stack_bytes)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int error;

	if (pthread_attr_init(&attributes) != 0)
		return ENOMEM;
	if (stack_bytes)
		pthread_attr_setstacksize(&attributes, stack_bytes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	error = pthread_create(&thread, &attributes, body, argument);
	pthread_attr_destroy(&attributes);
	return error;
}

int
core_spawn(void *(*body)(void *), void *argument)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	atomic_fetch_add(&threads_to_come, 1);
	error = create(body, argument, STACK_BYTES);
	if (error == EINVAL)
		error = create(body, argument, 0);
	if (error)
		atomic_fetch_sub(&threads_to_come, 1);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

static bool
is_alive(int tid)
{
	return tid && syscall(SYS_tgkill, getpid(), tid, 0) == 0;
}

static void
remember_thread(void)
{
	int mine = (int)syscall(SYS_gettid);

	for (int i = 0; i < THREADS_MAX; i++) {
		int tid = atomic_load(&threads[i]);

		if (!is_alive(tid) &&
		    atomic_compare_exchange_strong(&threads[i], &tid, mine))
			return;
	}
}

/* Waits until they have ended, but not for one that hangs in a callback. */
static void
await_threads(uint64_t timeout_ns)
{
	uint64_t until = clock_now_ns() + timeout_ns;

	while (atomic_load(&threads_to_come) && clock_now_ns() < until)
		usleep(200);
	for (int i = 0; i < THREADS_MAX; i++)
		while (is_alive(atomic_load(&threads[i])) &&
		       clock_now_ns() < until)
			usleep(200);
}

/*
 * Asks for short slices: EEVDF (Linux 6.12) then lets the thread run soon
 * after it is woken, also where all cores are busy. Needs no privilege; older
 * kernels ignore it. Not for a higher priority: the program's threads would
 * lose their processor for 14 ms of a large reclaim.
 */
void
core_thread_starts(const char *name)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attributes = { .size = 48, .runtime = SLICE_NS };

	rcu_thread_is_ours = true;
	remember_thread();
	atomic_fetch_sub(&threads_to_come, 1);
	prctl(PR_SET_NAME, name, 0, 0, 0);
	attributes.nice = getpriority(PRIO_PROCESS, 0);
	syscall(SYS_sched_setattr, 0, &attributes, 0);
}

static void
load_settings(void)
{
	if (!atomic_exchange(&loaded, true))
		settings_load();
}

/* With start_lock held: threads, or the reason why not. */
static int
start_locked(void)
{
	int error = 0;

	base_assert_held(&start_lock);
	/* A vfork child has our memory but is not us. */
	if (started_in && started_in != getpid() && !handlers_there)
		return -EAGAIN;
	atomic_store(&state, STARTING);
	started_in = getpid();
	if (!atomic_exchange(&handlers_there, true) &&
	    pthread_atfork(fork_prepare, fork_parent, fork_child) != 0)
		atomic_store(&handlers_there, false);
	settings_started_set(monitor_look);
	if (settings()->threads == SETTINGS_THREADS_AUTO) {
		if (!monitor_there)
			error = core_spawn(monitor_thread, NULL);
		if (!error) {
			monitor_there = true;
			error = core_spawn(engine_thread, NULL);
		}
	}
	if (error) {
		log_write(SPW_LOG_ERROR, "cannot start a thread: %s",
			  strerror(-error));
		atomic_store(&state, STOPPED);
		return -EAGAIN;
	}
	atomic_store(&state, RUNNING);
	return 0;
}

int
core_start(void)
{
	int now = atomic_load_explicit(&state, memory_order_acquire);
	int error = 0;

	if (now == RUNNING || now == STARTING)
		return 0;
	if (now == NEVER)
		return -ENOTSUP;
	load_settings();
	if (settings()->off) {
		atomic_store(&state, NEVER);
		gate_off();
		return -ENOTSUP;
	}
	if (atomic_load(&sandboxed))
		return -EAGAIN;
	/* Registers this thread with liburcu while nothing is short. */
	rcu_read_lock();
	rcu_read_unlock();
	/* Adding locks to what a fork takes wants none of them held. */
	lock_fork_add(&start_lock);
	jobs_begin();
	if (on_start)
		on_start();
	base_lock(&start_lock);
	if (atomic_load(&state) == STOPPED)
		error = start_locked();
	base_unlock(&start_lock);
	return error;
}

bool
core_has_monitor(void)
{
	return atomic_load_explicit(&monitor_there, memory_order_acquire);
}

bool
core_running(void)
{
	return atomic_load_explicit(&state, memory_order_acquire) == RUNNING;
}

void
core_sandboxed(void)
{
	const struct core_heap *h = core_heap();

	if (atomic_exchange(&sandboxed, true))
		return;
	if (core_running() && settings()->threads == SETTINGS_THREADS_AUTO) {
		atomic_store(&monitor_there, false);
		monitor_stop();
		engine_stop();
		await_threads(SANDBOX_WAIT_NS);
		requests_abandon();
		log_write(SPW_LOG_INFO, "a seccomp filter comes: ended");
	}
	atomic_store(&state, NEVER);
	gate_off();
	if (h && h->let_go)
		h->let_go();
}

SPW_EXPORT int
spw_stats(struct spw_stats *s)
{
	const struct core_heap *h = core_heap();
	struct core_counters *c = &core_counters;

	ELSEWHERE(spw_stats, s);
	if (!s || s->size != sizeof *s)
		return -EINVAL;
	s->mapped_bytes = h ? h->mapped_bytes() : 0;
	s->committed_bytes = h ? h->committed_bytes() : 0;
	s->active_bytes = h ? h->active_bytes() : 0;
	s->reclaimed_bytes = atomic_load(&c->reclaimed_bytes);
	s->returned_bytes = atomic_load(&c->returned_bytes);
	s->passes = atomic_load(&c->passes);
	s->passes_futile = atomic_load(&c->passes_futile);
	s->events = atomic_load(&c->events);
	s->gate_waits = atomic_load(&c->gate_waits);
	s->gate_wait_ns_max = atomic_load(&c->gate_wait_ns_max);
	s->gate_wait_ns = atomic_load(&c->gate_wait_ns);
	s->response_ns_max = atomic_load(&c->response_ns_max);
	s->quarantined = atomic_load(&c->quarantined);
	s->wakeups = atomic_load(&c->wakeups);
	return 0;
}

/* Whether there may be room once all that can go has gone. */
static bool
fits(size_t bytes)
{
	struct monitor_view view;
	uint64_t room;

	if (!monitor_first_view(FIRST_VIEW_NS))
		return true;
	monitor_view(&view);
	room = view.reading.headroom_bytes;
	return bytes <= room || bytes - room <= engine_reclaimable_bytes();
}

SPW_EXPORT int
spw_pressure_grow(size_t bytes)
{
	ELSEWHERE(spw_pressure_grow, bytes);
	if (core_start() == -ENOTSUP)
		return 0;
	if (settings()->oom == SETTINGS_OOM_FAIL && !fits(bytes))
		return -ENOMEM;
	gate_charge(bytes < GROW_MAX ? bytes : GROW_MAX);
	return gate_enter(bytes) ? 0 : -ENOMEM;
}
