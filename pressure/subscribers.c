/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Subscriptions and eventfds for levels, and spw_pressure_read().
 *
 * The monitor notes that the level changed; the reclaimer walks the list and
 * calls. A subscription's state is a shrinker's in small: IDLE, RUNNING, DEAD;
 * unsubscribing waits while RUNNING, or is deferred from inside.
 *
 * `lock` guards the list; it is dropped around each callback, whose node
 * stays because only the reclaimer frees nodes.
 *
 * An eventfd lives in the program's descriptor table, where its number may
 * have been closed and reused: before each write, its identity (eventfd-id in
 * /proc/self/fdinfo) is compared with what it was. The kernel gives an id that
 * is free to the next eventfd: who is given a number again is told so (add()).
 */
#include "pressure/subscribers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <spillway/pressure.h>

#include "base/elsewhere.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/futex.h"
#include "base/lock.h"
#include "base/rcu.h"
#include "pressure/call.h"
#include "pressure/core.h"
#include "pressure/engine.h"
#include "pressure/errand.h"
#include "pressure/monitor.h"
#include "pressure/pass.h"

enum state { IDLE, RUNNING, DEAD, DYING /* unsubscribed inside its call */ };

struct spw_subscription {
	struct spw_subscription *next; /* Guarded by lock. */
	enum spw_level at_least;
	void (*notify)(const struct spw_pressure *, void *);
	void *context;
	int fd; /* -1: a callback */
	uint64_t fd_id;
	bool above; /* Reclaimer only: level as told. */
	_Atomic uint32_t state;
	_Atomic bool quarantined; /* a call did not return */
};

/* For the watchdog's message. */
static const char *const level_words[] = { "to none", "to low", "to medium",
					   "to critical" };

static struct base_lock lock = BASE_LOCK(BASE_RANK_SUBSCRIBERS);
static struct spw_subscription *list; /* Guarded by lock. */
static _Atomic unsigned count;
static _Atomic int level_noted;
static _Atomic bool pending;
static __thread struct spw_subscription *running_here;

SPW_EXPORT int
spw_pressure_read(struct spw_pressure *p)
{
	struct monitor_view view;

	ELSEWHERE(spw_pressure_read, p);
	if (!p || p->size != sizeof *p)
		return -EINVAL;
	if (!core_running() || !monitor_has_view()) {
		core_start();
		p->level = SPW_LEVEL_NONE;
		p->deficit_bytes = 0;
		p->headroom_bytes = p->limit_bytes = UINT64_MAX;
		p->usage_bytes = 0;
		if (!monitor_first_view(100 * CLOCK_MS))
			return 0;
	}
	monitor_view(&view);
	p->level = view.level.level;
	p->deficit_bytes = view.level.deficit_bytes;
	p->headroom_bytes = view.reading.headroom_bytes;
	p->limit_bytes = view.reading.limit_bytes;
	p->usage_bytes = view.reading.usage_bytes;
	return 0;
}

static void
add(struct spw_subscription *s)
{
	lock_fork_add(&lock);
	base_lock(&lock);
	/* Who had this number before has been closed. */
	for (struct spw_subscription *old = list; old; old = old->next)
		if (s->fd >= 0 && old->fd == s->fd)
			atomic_store(&old->state, DEAD);
	s->next = list;
	list = s;
	base_unlock(&lock);
	atomic_fetch_add(&count, 1);
	atomic_store(&pending, true);
	engine_notify();
}

SPW_EXPORT int
spw_pressure_subscribe(struct spw_subscription **out, enum spw_level at_least,
		       void (*notify)(const struct spw_pressure *, void *),
		       void *context)
{
	struct spw_subscription *s;

	ELSEWHERE(spw_pressure_subscribe, out, at_least, notify, context);
	if (!out || !notify || at_least < SPW_LEVEL_LOW ||
	    at_least > SPW_LEVEL_CRITICAL)
		return -EINVAL;
	*out = NULL;
	if (core_start() == -ENOTSUP)
		return -ENOTSUP;
	s = base_fault("subscribe") ? NULL : calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	s->at_least = at_least;
	s->notify = notify;
	s->context = context;
	s->fd = -1;
	*out = s; /* its first call may come before this returns */
	add(s);
	return 0;
}

SPW_EXPORT void
spw_pressure_unsubscribe(struct spw_subscription *s)
{
	uint32_t seen = IDLE;

	ELSEWHERE(spw_pressure_unsubscribe, s);
	if (!s)
		return;
	while (!atomic_compare_exchange_strong(&s->state, &seen, DEAD)) {
		if (seen == DEAD || seen == DYING)
			return;
		if (running_here == s) {
			atomic_store(&s->state, DYING);
			return; /* tell() goes on */
		}
		futex_wait(&s->state, RUNNING, FUTEX_FOREVER);
		seen = IDLE;
	}
	atomic_store(&pending, true);
	engine_notify(); /* which frees it */
}

/* Which eventfd this is, system-wide; 0: unknown. */
static uint64_t
eventfd_id(int fd)
{
	char path[64], text[512];
	uint64_t id = 0;
	ssize_t n;

	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	n = errand_read(path, text, sizeof text);
	if (n == -ETIMEDOUT) /* never to be taken for somebody else's */
		n = file_read(path, text, sizeof text);
	if (n > 0)
		file_field(text, "eventfd-id:", &id);
	return id;
}

SPW_EXPORT int
spw_pressure_fd(enum spw_level at_least)
{
	struct spw_subscription *s;
	int fd;

	ELSEWHERE(spw_pressure_fd, at_least);
	if (at_least < SPW_LEVEL_LOW || at_least > SPW_LEVEL_CRITICAL)
		return -EINVAL;
	if (core_start() == -ENOTSUP)
		return -ENOTSUP;
	s = base_fault("pressure_fd") ? NULL : calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0) {
		int error = -errno;
		free(s);
		return error;
	}
	s->at_least = at_least;
	s->fd = fd;
	s->fd_id = eventfd_id(fd);
	add(s);
	return fd;
}

void
subscribers_note(void)
{
	struct monitor_view view;

	monitor_view(&view);
	/* Noted also while nobody listens: who comes later is told of a change
	 * from here on, not from what the last one heard. */
	if (atomic_exchange(&level_noted, (int)view.level.level) !=
		    (int)view.level.level &&
	    atomic_load_explicit(&count, memory_order_relaxed)) {
		atomic_store(&pending, true);
		engine_notify();
	}
}

bool
subscribers_pending(void)
{
	return atomic_load(&pending);
}

static void
tell_fd(struct spw_subscription *s)
{
	uint64_t one = 1;

	if (!s->fd_id || eventfd_id(s->fd) != s->fd_id ||
	    (write(s->fd, &one, sizeof one) < 0 && errno == EBADF))
		atomic_store(&s->state, DEAD);
}

static void
tell(struct spw_subscription *s, const struct spw_pressure *now)
{
	bool above = now->level >= s->at_least;
	uint32_t seen = IDLE, call;

	if (above == s->above || atomic_load(&s->quarantined))
		return;
	s->above = above;
	if (s->fd >= 0) {
		if (above)
			tell_fd(s);
		return;
	}
	if (!atomic_compare_exchange_strong(&s->state, &seen, RUNNING))
		return;
	running_here = s;
	engine_call_prepare();
	call = call_begin("subscription", level_words[s->at_least],
			  &s->quarantined);
	s->notify(now, s->context);
	call_end(call);
	running_here = NULL;
	seen = RUNNING;
	if (!atomic_compare_exchange_strong(&s->state, &seen, IDLE)) {
		/* Not before now: an overtaken thread may be here, and the
		 * next one frees what is dead. */
		atomic_store(&pending, true);
		atomic_store(&s->state, DEAD);
		return;
	}
	futex_wake(&s->state, FUTEX_ALL);
}

/* Takes dead nodes off the list; the caller frees them outside the lock. */
static struct spw_subscription *
unlink_dead(void)
{
	struct spw_subscription *dead = NULL, **at;

	base_lock(&lock);
	for (at = &list; *at;) {
		struct spw_subscription *s = *at;

		if (atomic_load(&s->state) == DEAD) {
			*at = s->next;
			s->next = dead;
			dead = s;
		} else {
			at = &s->next;
		}
	}
	base_unlock(&lock);
	return dead;
}

void
subscribers_run(uint32_t generation)
{
	struct spw_pressure now = { .size = sizeof now };
	struct spw_subscription *s, *next;

	atomic_store(&pending, false);
	spw_pressure_read(&now);
	base_lock(&lock);
	s = list;
	base_unlock(&lock);
	/* Nodes are added in front and freed by this function alone, on the
	 * thread that has not been overtaken. */
	for (; s; s = s->next) {
		if (atomic_load(&s->state) != DEAD)
			tell(s, &now);
		if (engine_overtaken(generation))
			return;
	}
	s = unlink_dead();
	if (s)
		rcu_synchronize(); /* the watchdog may look at one */
	for (; s; s = next) {
		next = s->next;
		atomic_fetch_sub(&count, 1);
		free(s);
	}
}

void
subscribers_fork_child(void)
{
	/* The child has the parent's eventfds; only the parent writes them. */
	for (struct spw_subscription *s = list; s; s = s->next) {
		if (s->fd >= 0 || atomic_load(&s->state) == DYING)
			atomic_store(&s->state, DEAD);
		else if (atomic_load(&s->state) == RUNNING)
			atomic_store(&s->state, IDLE);
		s->above = false;
	}
	atomic_store(&level_noted, SPW_LEVEL_NONE);
}
