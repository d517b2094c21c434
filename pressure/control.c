/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket's serving side.
 *
 * Called by the monitor alone (control_fill, _handle, _tick); calls
 * listener.c for the socket itself, the engine for reclaim requests, and
 * json.c and describe.c for answers. No locks: all state belongs to the
 * monitor. A reclaim is never waited for: its ticket is polled in
 * control_tick(), which the monitor calls every 100 ms while one runs, and at
 * once when the reclaimer rings.
 *
 * Life of a client: fd >= 0 while connected. A ticket outlives the connection
 * (fd -1, ticket >= 0) until the engine has seen the cancellation, so that
 * its slot is freed. After end of input the client's descriptor is no longer
 * polled for input, or poll(2) would never sleep again.
 */
#include "pressure/control.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/settings.h"
#include "pressure/core.h"
#include "pressure/describe.h"
#include "pressure/engine.h"
#include "pressure/json.h"
#include "pressure/listener.h"
#include "pressure/monitor.h"
#include "pressure/requests.h"
#include "pressure/shrinkers.h"

#define PROGRESS_NS (100 * CLOCK_MS)
/* A client that is silent for so long makes room for another. */
#define IDLE_NS (60 * CLOCK_S)
/* accept(2) failed for want of something: try again after. */
#define ACCEPT_AGAIN_NS CLOCK_S
/* Kept free for what comes behind the list of shrinkers. */
#define TAIL_BYTES 5120

struct client {
	int fd;     /* -1: not connected */
	int ticket; /* -1: no reclaim under way */
	bool input_ended;
	bool result_due; /* the end could not be sent yet */
	int result;
	uint64_t reclaimed_bytes;
	uint64_t target_bytes;
	uint64_t heard_ns;
	uint64_t told_ns;
};

static int listener = -1;
static uint64_t accept_after_ns;
static struct client clients[CONTROL_CLIENTS_MAX];
static char answer[CONTROL_MESSAGE_BYTES];
static struct shrinkers_line lines[SHRINKERS_PASS_MAX];

/* ---- answers ---- */

static void
drop(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->result_due = false;
	if (c->ticket >= 0)
		requests_cancel(c->ticket);
}

/* 0, -EAGAIN (the peer does not read), or the connection is dropped. */
static int
send_answer(struct client *c, struct json *j)
{
	static const char too_long[] = "{\"error\":\"answer too long\"}";
	bool fits = json_end(j) > 0;
	ssize_t n;

	if (c->fd < 0)
		return -ENOTCONN;
	n = send(c->fd, fits ? j->text : too_long,
		 fits ? j->used : sizeof too_long - 1,
		 MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n >= 0)
		return 0;
	if (errno == EAGAIN)
		return -EAGAIN;
	drop(c);
	return -ENOTCONN;
}

static void
send_error(struct client *c, const char *why)
{
	struct json j;

	json_begin(&j, answer, sizeof answer);
	json_open(&j, NULL, '{');
	json_string(&j, "error", why);
	json_close(&j, '}');
	if (send_answer(c, &j) == -EAGAIN)
		drop(c);
}

static void
write_counters(struct json *j, const struct spw_stats *s)
{
	json_open(j, "counters", '{');
	json_number(j, "reclaimed_bytes", s->reclaimed_bytes);
	json_number(j, "returned_bytes", s->returned_bytes);
	json_number(j, "last_reclaimed_bytes", spw_reclaim_last());
	json_number(j, "passes", s->passes);
	json_number(j, "passes_futile", s->passes_futile);
	json_number(j, "events", s->events);
	json_number(j, "gate_waits", s->gate_waits);
	json_number(j, "gate_wait_ns", s->gate_wait_ns);
	json_number(j, "gate_wait_ns_max", s->gate_wait_ns_max);
	json_number(j, "response_ns_max", s->response_ns_max);
	json_number(j, "quarantined", s->quarantined);
	json_number(j, "wakeups", s->wakeups);
	json_close(j, '}');
}

/* As many as fit; the rest are counted. */
static void
write_shrinkers(struct json *j)
{
	unsigned n = shrinkers_describe(lines, SHRINKERS_PASS_MAX);
	unsigned i;

	json_open(j, "shrinkers", '[');
	for (i = 0; i < n; i++) {
		const struct shrinkers_line *l = &lines[i];
		size_t before = json_mark(j);

		json_open(j, NULL, '{');
		json_string(j, "name", l->name);
		json_string(j, "tier", settings_tier_name(l->tier));
		json_bool(j, "quarantined", l->quarantined);
		json_number(j, "reclaimed_bytes", l->reclaimed_bytes);
		json_number(j, "calls", l->calls);
		json_number(j, "ns_max", l->ns_max);
		json_number(j, "yield_bytes_per_ms", l->yield_bytes_per_ms);
		json_close(j, '}');
		if (json_mark(j) > j->bytes - TAIL_BYTES) {
			json_rewind(j, before);
			break;
		}
	}
	json_close(j, ']');
	json_number(j, "shrinkers_not_shown", n - i);
}

void (*_Atomic control_more)(struct json *json);

/* What was counted at the last pass, and what nobody counts, are guesses: no
 * more than is resident. */
static uint64_t
reclaimable_bytes(const struct limits_reading *reading)
{
	uint64_t bytes = engine_reclaimable_bytes();

	return reading->resident_bytes && bytes > reading->resident_bytes ?
		       reading->resident_bytes :
		       bytes;
}

static void
answer_state(struct client *c, enum control_verb verb)
{
	const struct core_heap *heap = core_heap();
	void (*more)(struct json *) = atomic_load(&control_more);
	struct spw_stats stats = { .size = sizeof stats };
	struct monitor_view view;
	struct json j;

	monitor_view(&view);
	spw_stats(&stats);
	json_begin(&j, answer, sizeof answer);
	json_open(&j, NULL, '{');
	json_number(&j, "pid", (uint64_t)getpid());
	json_string(&j, "version", spw_version());
	if (verb == CONTROL_STAT) {
		json_string(&j, "heap", heap ? heap->name : NULL);
		json_limit(&j, "mapped_bytes",
			   heap ? stats.mapped_bytes : UINT64_MAX);
		json_limit(&j, "committed_bytes",
			   heap ? stats.committed_bytes : UINT64_MAX);
		json_limit(&j, "active_bytes",
			   heap ? stats.active_bytes : UINT64_MAX);
		json_number(&j, "reclaimable_bytes",
			    reclaimable_bytes(&view.reading));
	}
	json_number(&j, "resident_bytes", view.reading.resident_bytes);
	describe_pressure(&j, &view.level, &view.reading);
	if (verb == CONTROL_STAT) {
		write_counters(&j, &stats);
		write_shrinkers(&j);
		if (more)
			more(&j);
	}
	describe_sources(&j);
	json_close(&j, '}');
	if (send_answer(c, &j) == -EAGAIN)
		drop(c);
}

static void
answer_ping(struct client *c)
{
	struct json j;

	json_begin(&j, answer, sizeof answer);
	json_open(&j, NULL, '{');
	json_bool(&j, "pong", true);
	json_number(&j, "pid", (uint64_t)getpid());
	json_string(&j, "version", spw_version());
	json_close(&j, '}');
	if (send_answer(c, &j) == -EAGAIN)
		drop(c);
}

static void
begin_reclaim(struct client *c, const struct spw_reclaim_options *options)
{
	int ticket;

	if (c->ticket >= 0 || c->result_due) {
		send_error(c, "a reclaim is under way on this connection");
		return;
	}
	ticket = requests_submit(options);
	if (ticket == -EBUSY) {
		send_error(c, "too many reclaims are under way");
		return;
	}
	if (ticket < 0) {
		send_error(c, spw_strerror(ticket));
		return;
	}
	c->ticket = ticket;
	c->target_bytes = options->target_bytes;
	c->reclaimed_bytes = 0;
	c->told_ns = clock_now_ns();
}

static const char *
status_word(const struct client *c)
{
	if (c->result == -ETIMEDOUT)
		return "timeout";
	if (c->result == -ECANCELED)
		return "cancelled";
	if (c->result < 0)
		return spw_strerror(c->result);
	if (c->target_bytes != UINT64_MAX &&
	    c->reclaimed_bytes < c->target_bytes)
		return "less";
	return "done";
}

static void
send_result(struct client *c)
{
	struct json j;

	json_begin(&j, answer, sizeof answer);
	json_open(&j, NULL, '{');
	json_number(&j, "reclaimed", c->reclaimed_bytes);
	json_string(&j, "status", status_word(c));
	json_close(&j, '}');
	c->result_due = send_answer(c, &j) == -EAGAIN;
	if (!c->result_due && c->input_ended)
		drop(c);
}

static void
send_progress(struct client *c)
{
	struct json j;

	json_begin(&j, answer, sizeof answer);
	json_open(&j, NULL, '{');
	json_number(&j, "progress", c->reclaimed_bytes);
	json_close(&j, '}');
	send_answer(c, &j); /* one that does not fit is followed by another */
}

bool
control_tick(void)
{
	uint64_t now = clock_now_ns();
	bool waiting = false;

	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *c = &clients[i];

		if (c->ticket >= 0) {
			c->result = requests_poll(c->ticket,
						  &c->reclaimed_bytes);
			if (c->result != 0) {
				c->ticket = -1;
				c->result_due = true;
			} else if (now - c->told_ns >= PROGRESS_NS) {
				c->told_ns = now;
				send_progress(c);
			}
		}
		if (c->result_due)
			send_result(c);
		waiting |= c->ticket >= 0 || c->result_due;
	}
	return waiting;
}

/* ---- connections ---- */

static void
handle_request(struct client *c)
{
	static char text[1024];
	struct control_request request;
	ssize_t n = recv(c->fd, text, sizeof text, MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			drop(c);
		return;
	}
	c->heard_ns = clock_now_ns();
	if (n == 0) {
		c->input_ended = true;
		if (c->ticket >= 0)
			requests_cancel(c->ticket);
		else if (!c->result_due)
			drop(c);
		return;
	}
	if ((size_t)n > sizeof text) {
		send_error(c, "request too long");
		return;
	}
	control_parse(text, (size_t)n, &request);
	switch (request.verb) {
	case CONTROL_BAD:
		send_error(c, request.why);
		break;
	case CONTROL_STAT:
	case CONTROL_PRESSURE:
		answer_state(c, request.verb);
		break;
	case CONTROL_RECLAIM:
		begin_reclaim(c, &request.reclaim);
		break;
	case CONTROL_PING:
		answer_ping(c);
		break;
	}
}

/* A slot that is free, or whose client has long been silent. */
static struct client *
find_slot(uint64_t now)
{
	struct client *idle = NULL;

	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *c = &clients[i];

		if (c->ticket >= 0)
			continue;
		if (c->fd < 0)
			return c;
		if (!idle || c->heard_ns < idle->heard_ns)
			idle = c;
	}
	if (!idle || now - idle->heard_ns < IDLE_NS)
		return NULL;
	drop(idle);
	return idle;
}

static void
accept_client(void)
{
	uint64_t now = clock_now_ns();
	struct client stranger = { .ticket = -1 };
	struct client *c;
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			accept_after_ns = now + ACCEPT_AGAIN_NS;
		return;
	}
	stranger.fd = fd;
	if (!listener_peer_allowed(fd)) {
		send_error(&stranger, "only the same user and root may ask");
		drop(&stranger);
		return;
	}
	c = find_slot(now);
	if (!c) {
		send_error(&stranger, "too many clients");
		drop(&stranger);
		return;
	}
	*c = (struct client){ .fd = fd, .ticket = -1, .heard_ns = now };
}

int
control_open(void)
{
	/* What is in here may be a parent's: forget it. */
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		clients[i] = (struct client){ .fd = -1, .ticket = -1 };
	accept_after_ns = 0;
	listener = -1;
	if (!(settings()->sources & SETTINGS_CONTROL))
		return 0;
	listener = listener_open();
	if (listener < 0) {
		log_write(SPW_LOG_WARNING, "control socket: %s",
			  spw_strerror(listener));
		return listener;
	}
	return 0;
}

void
control_close(void)
{
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		drop(&clients[i]);
	if (listener >= 0) {
		close(listener);
		listener_remove();
	}
	listener = -1;
}

unsigned
control_fill(struct pollfd *polls, unsigned polls_max)
{
	unsigned n = 0;

	base_assert(polls_max >= CONTROL_POLLS_MAX);
	if (listener >= 0 && clock_now_ns() >= accept_after_ns)
		polls[n++] = (struct pollfd){ .fd = listener,
					      .events = POLLIN };
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		const struct client *c = &clients[i];

		if (c->fd >= 0)
			polls[n++] = (struct pollfd){
				.fd = c->fd,
				.events = c->input_ended ? 0 : POLLIN,
			};
	}
	return n;
}

static struct client *
find_client(int fd)
{
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (clients[i].fd == fd)
			return &clients[i];
	return NULL;
}

void
control_handle(const struct pollfd *polls, unsigned count)
{
	bool knock = false;

	for (unsigned i = 0; i < count; i++) {
		struct client *c;

		if (!polls[i].revents)
			continue;
		if (polls[i].fd == listener) {
			knock = true;
			continue;
		}
		c = find_client(polls[i].fd);
		if (!c)
			continue;
		if (polls[i].revents & POLLIN)
			handle_request(c);
		else
			drop(c);
	}
	/* Last: a new client may get the number of one that just went. */
	if (knock)
		accept_client();
}
