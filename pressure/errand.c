/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Errands: one box, into which one thread at a time puts a function.
 *
 *	FREE -> TAKEN -> ASKED -> RUNNING -> DONE -> FREE
 *	  errand_run() ^^^^^^^    ^^^^^^^^^^^^^^^ the monitor
 *
 * Who put it in takes it out again: when it is DONE, or, where the monitor is
 * not at it yet and the time is over, from ASKED. The box is the futex on
 * which both kinds of waiters sleep: for DONE, and for FREE.
 *
 * Memory order: what is run sees what was written before errand_run(), and
 * the caller sees what it wrote: release on ASKED and DONE, acquire on leaving
 * them.
 */
#include "pressure/errand.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/futex.h"
#include "pressure/monitor.h"

#define WAIT_NS (100 * CLOCK_MS)
#define LOOK_NS (10 * CLOCK_MS) /* a wake-up went to another waiter */

enum { FREE, TAKEN, ASKED, RUNNING, DONE };

static _Atomic uint32_t box;
static void (*box_what)(void *); /* of who took it, from TAKEN to DONE */
static void *box_argument;

static bool
move(uint32_t from, uint32_t to)
{
	return atomic_compare_exchange_strong_explicit(
		&box, &from, to, memory_order_acq_rel, memory_order_acquire);
}

static void
put(uint32_t state)
{
	atomic_store_explicit(&box, state, memory_order_release);
	futex_wake(&box, FUTEX_ALL);
}

/* Until it is FREE and ours, or the time is over. */
static bool
take(uint64_t until)
{
	uint32_t now;

	while (!move(FREE, TAKEN)) {
		if (clock_now_ns() >= until)
			return false;
		now = atomic_load(&box);
		if (now != FREE)
			futex_wait(&box, now, LOOK_NS);
	}
	return true;
}

/* Whether it was run; the box is ours until then. */
static bool
await(uint64_t until)
{
	uint32_t now;

	while ((now = atomic_load_explicit(&box, memory_order_acquire)) !=
	       DONE) {
		if (now == ASKED && clock_now_ns() >= until &&
		    move(ASKED, TAKEN))
			return false;
		futex_wait(&box, now, LOOK_NS);
	}
	return true;
}

bool
errand_run(void (*what)(void *argument), void *argument)
{
	uint64_t until = clock_now_ns() + WAIT_NS;
	bool ran;

	if (!monitor_answers(WAIT_NS)) {
		what(argument);
		return true;
	}
	if (!take(until))
		return false;
	box_what = what;
	box_argument = argument;
	atomic_store_explicit(&box, ASKED, memory_order_release);
	monitor_ring();
	ran = await(until);
	put(FREE);
	return ran;
}

void
errand_serve(void)
{
	if (atomic_load_explicit(&box, memory_order_relaxed) != ASKED ||
	    !move(ASKED, RUNNING))
		return;
	box_what(box_argument);
	put(DONE);
}

struct reading {
	const char *path;
	char *buffer;
	size_t bytes;
	ssize_t n;
};

static void
read_file(void *argument)
{
	struct reading *r = argument;

	r->n = file_read(r->path, r->buffer, r->bytes);
}

ssize_t
errand_read(const char *path, char *buffer, size_t bytes)
{
	struct reading r = { path, buffer, bytes, -ETIMEDOUT };

	errand_run(read_file, &r);
	return r.n;
}

static void
read_resident(void *bytes)
{
	*(uint64_t *)bytes = monitor_read_resident();
}

uint64_t
errand_resident(void)
{
	struct monitor_view view;
	uint64_t bytes;

	if (errand_run(read_resident, &bytes))
		return bytes;
	monitor_view(&view);
	return view.reading.resident_bytes;
}

void
errand_fork_child(void)
{
	atomic_store(&box, FREE);
}
