/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The commands of one line and one answer.
 *
 * Called by protocol.c; calls the store.
 */
#include <stdio.h>

#include <spillway/spillway.h>

#include "examples/cached/change.h"
#include "examples/cached/commands.h"
#include "examples/cached/settings.h"

#define BAD_FORMAT "CLIENT_ERROR bad command line format"

static void
find_noreply(struct session *session, const struct words *words)
{
	session->noreply = word_is(&words->word[words->count - 1], "noreply");
}

enum verdict
simple_delete(struct session *session, const struct words *words,
	      struct input *input, unsigned variant)
{
	static const struct change_removal removal;
	const struct word *word = words->word;
	bool zero = words->count > 2 && word_is(&word[2], "0");

	(void)input, (void)variant;
	find_noreply(session, words);
	if (words->count == 2)
		session->noreply = false;
	if (!(words->count == 2 ||
	      (words->count == 3 && (zero || session->noreply)) ||
	      (words->count == 4 && zero && session->noreply)))
		session_reply(session,
			      BAD_FORMAT ".  Usage: delete <key> [noreply]");
	else if (word[1].bytes > STORE_KEY_MAX)
		session_reply(session, BAD_FORMAT);
	else if (change_remove(&word[1], &removal) == STORE_DONE) {
		counters_up(&session->counters->delete_hits);
		session_reply(session, "DELETED");
	} else {
		counters_up(&session->counters->delete_misses);
		session_reply(session, "NOT_FOUND");
	}
	return VERDICT_NEXT;
}

static void
count_arithmetic(struct counters *counters, bool down, bool hit)
{
	if (hit)
		counters_up(down ? &counters->decr_hits : &counters->incr_hits);
	else
		counters_up(down ? &counters->decr_misses :
				   &counters->incr_misses);
}

enum verdict
simple_arithmetic(struct session *session, const struct words *words,
		  struct input *input, unsigned variant)
{
	const struct word *word = words->word;
	struct change_number change = { .down = variant };
	const char *answer;
	char digits[21];

	(void)input;
	find_noreply(session, words);
	if (word[1].bytes > STORE_KEY_MAX)
		answer = BAD_FORMAT;
	else if (!word_u64(&word[2], &change.by))
		answer = "CLIENT_ERROR invalid numeric delta argument";
	else
		switch (change_number(&word[1], &change)) {
		case STORE_DONE:
			*word_write_u64(digits, change.number) = '\0';
			count_arithmetic(session->counters, variant, true);
			answer = digits;
			break;
		case STORE_NO_NUMBER:
			answer = "CLIENT_ERROR cannot increment or decrement "
				 "non-numeric value";
			break;
		case STORE_NO_MEMORY:
			answer = "SERVER_ERROR out of memory";
			break;
		default:
			count_arithmetic(session->counters, variant, false);
			answer = "NOT_FOUND";
		}
	session_reply(session, answer);
	return VERDICT_NEXT;
}

enum verdict
simple_touch(struct session *session, const struct words *words,
	     struct input *input, unsigned variant)
{
	const struct word *word = words->word;
	struct change_visit visit = { .set_expiry = true };
	struct store_hold hold;
	int64_t exptime;
	const char *answer = "NOT_FOUND";

	(void)input, (void)variant;
	find_noreply(session, words);
	if (word[1].bytes > STORE_KEY_MAX)
		answer = BAD_FORMAT;
	else if (!word_i64(&word[2], &exptime))
		answer = "CLIENT_ERROR invalid exptime argument";
	else {
		counters_up(&session->counters->cmd_touch);
		visit.expires = store_expiry(exptime);
		if (change_visit(&word[1], &visit, &hold) == STORE_DONE) {
			store_release(&hold);
			counters_up(&session->counters->touch_hits);
			answer = "TOUCHED";
		} else
			counters_up(&session->counters->touch_misses);
	}
	session_reply(session, answer);
	return VERDICT_NEXT;
}

enum verdict
simple_flush_all(struct session *session, const struct words *words,
		 struct input *input, unsigned variant)
{
	int64_t delay = 0;

	(void)input, (void)variant;
	find_noreply(session, words);
	counters_up(&session->counters->cmd_flush);
	if (words->count != (session->noreply ? 2 : 1) &&
	    !word_i64(&words->word[1], &delay)) {
		session_reply(session, "CLIENT_ERROR invalid exptime argument");
		return VERDICT_NEXT;
	}
	store_clear_at(delay > 0 ? store_expiry(delay) : 0);
	session_reply(session, "OK");
	return VERDICT_NEXT;
}

enum verdict
simple_version(struct session *session, const struct words *words,
	       struct input *input, unsigned variant)
{
	char text[64];
	int bytes = snprintf(text, sizeof text, "VERSION %s-spillway-%s",
			     COMMANDS_PROTOCOL, spw_version());

	(void)words, (void)input, (void)variant, (void)bytes;
	session_say(session, text);
	return VERDICT_NEXT;
}

enum verdict
simple_verbosity(struct session *session, const struct words *words,
		 struct input *input, unsigned variant)
{
	uint32_t level;

	(void)input, (void)variant;
	find_noreply(session, words);
	if (!word_u32(&words->word[1], &level)) {
		session_reply(session, BAD_FORMAT);
		return VERDICT_NEXT;
	}
	__atomic_store_n(&settings.verbose, level, __ATOMIC_RELAXED);
	session_reply(session, "OK");
	return VERDICT_NEXT;
}

enum verdict
simple_quit(struct session *session, const struct words *words,
	    struct input *input, unsigned variant)
{
	(void)session, (void)words, (void)input, (void)variant;
	return VERDICT_CLOSE;
}

enum verdict
simple_shutdown(struct session *session, const struct words *words,
		struct input *input, unsigned variant)
{
	(void)words, (void)input, (void)variant;
	session_say(session, "ERROR: shutdown not enabled");
	return VERDICT_NEXT;
}
