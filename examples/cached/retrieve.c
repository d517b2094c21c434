/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * get, gets, gat and gats.
 *
 * Called by protocol.c; calls the store. The hot path of the server: a look
 * inside a read-side section, and a small value copied from the cache into the
 * output. A large one is held, and sent from where it is.
 */
#include "examples/cached/change.h"
#include "examples/cached/commands.h"

static char *
value_line(char *to, const struct word *key, const struct store_item *item,
	   size_t value_bytes, bool with_unique)
{
	memcpy(to, "VALUE ", 6);
	to += 6;
	memcpy(to, key->at, key->bytes);
	to += key->bytes;
	*to++ = ' ';
	to = word_write_u64(to, item->flags);
	*to++ = ' ';
	to = word_write_u64(to, value_bytes);
	if (with_unique) {
		*to++ = ' ';
		to = word_write_u64(to, item->unique);
	}
	memcpy(to, "\r\n", 2);
	return to + 2;
}

static void
send_hold(struct session *session, const struct word *key,
	  const struct store_item *head, struct store_hold *hold)
{
	struct output *output = session->output;
	char *from = output_at(output);

	output_advance(output,
		       (size_t)(value_line(from, key, head, hold->value_bytes,
					   session->with_unique) -
				from));
	output_value(output, hold);
	output_text(output, "\r\n", 2);
}

/* A small value; false where it is large, or not there: *value_bytes is 0. */
static bool
send_copy(struct session *session, const struct word *key, size_t *value_bytes)
{
	const struct store_item *item;
	char *from = output_at(session->output), *to;

	*value_bytes = 0;
	store_enter();
	item = store_peek(key, session->now, value_bytes);
	if (!item || *value_bytes > OUTPUT_COPY_MAX) {
		store_leave();
		return false;
	}
	store_hit(item, session->now);
	to = value_line(from, key, item, *value_bytes, session->with_unique);
	memcpy(to, store_value(item), *value_bytes);
	store_leave();
	memcpy(to + *value_bytes, "\r\n", 2);
	output_advance(session->output, (size_t)(to + *value_bytes + 2 - from));
	return true;
}

static void
get(struct session *session, const struct word *key)
{
	struct store_hold hold;
	size_t value_bytes;

	if (send_copy(session, key, &value_bytes))
		counters_up(&session->counters->get_hits);
	else if (value_bytes &&
		 store_get(key, session->now, &hold) == STORE_DONE) {
		store_hit(hold.item, session->now);
		send_hold(session, key, hold.item, &hold);
		counters_up(&session->counters->get_hits);
	} else
		counters_up(&session->counters->get_misses);
}

static void
get_and_touch(struct session *session, const struct word *key)
{
	struct change_visit visit = { .set_expiry = true,
				      .expires = session->expires };
	struct store_hold hold;

	counters_up(&session->counters->cmd_touch);
	if (change_visit(key, &visit, &hold) == STORE_DONE) {
		send_hold(session, key, &visit.before, &hold);
		counters_up(&session->counters->touch_hits);
		counters_up(&session->counters->get_hits);
	} else {
		counters_up(&session->counters->touch_misses);
		counters_up(&session->counters->get_misses);
	}
}

/* A key that is too long spoils the whole command. */
static bool
keys_fit(const char *at, const char *end)
{
	struct word key;

	if (end - at <= STORE_KEY_MAX)
		return true;
	while (word_next(&at, end, &key))
		if (key.bytes > STORE_KEY_MAX)
			return false;
	return true;
}

enum verdict
retrieve_begin(struct session *session, struct input *input,
	       const char *line_end, const char *next)
{
	const char *error = NULL;

	if (session->touches) {
		struct word word;
		int64_t exptime;

		(void)word_next(&input->at, line_end, &word);
		if (word_i64(&word, &exptime))
			session->expires = store_expiry(exptime);
		else
			error = "CLIENT_ERROR invalid exptime argument";
	}
	if (!error && !keys_fit(input->at, line_end))
		error = "CLIENT_ERROR bad command line format";
	if (!error)
		return retrieve_run(session, input, line_end, next);
	session_say(session, error);
	input->at = next;
	return VERDICT_NEXT;
}

enum verdict
retrieve_run(struct session *session, struct input *input, const char *line_end,
	     const char *next)
{
	const char *at = input->at;
	struct word key;

	while (word_next(&at, line_end, &key)) {
		if (!output_room(session->output)) {
			session->state = SESSION_GETTING;
			return VERDICT_FULL;
		}
		if (session->touches)
			get_and_touch(session, &key);
		else
			get(session, &key);
		input->at = at;
	}
	output_text(session->output, "END\r\n", 5);
	session->state = SESSION_COMMANDS;
	input->at = next;
	return VERDICT_NEXT;
}
