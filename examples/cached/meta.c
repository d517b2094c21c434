/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mg, md, mn and me.
 *
 * Called by protocol.c; calls the store. An mg that only looks is as cheap as
 * a get; one that may change something (N, T, R, or a stale item that somebody
 * must be sent to renew) goes through change_visit().
 */
#include <stdio.h>

#include "examples/cached/change.h"
#include "examples/cached/commands.h"
#include "examples/cached/meta_flags.h"

#define BAD_FORMAT "CLIENT_ERROR bad command line format"
#define LONG_OPAQUE "CLIENT_ERROR opaque token too long"

/* What an mg answers: the item as it was before. */
struct view {
	const struct meta_flags *flags;
	struct store_item item;
	size_t value_bytes;
	bool created, won;
};

/* The first line of a hit. */
static char *
view_write(char *to, const struct view *view, uint32_t now)
{
	const struct meta_flags *flags = view->flags;
	const struct store_item *item = &view->item;
	uint32_t expires = item->expires;

	memcpy(to, flags->value ? "VA " : "HD", 3);
	to = flags->value ? word_write_u64(to + 3, view->value_bytes) : to + 2;
	for (const struct word *word = flags->first; word < flags->end; word++)
		switch (word->at[0]) {
		case 'T':
			expires = flags->expires;
			break;
		case 's':
			to = meta_flags_write_number(to, 's',
						     view->value_bytes);
			break;
		case 't':
			to = meta_flags_write_ttl(to, expires, now);
			break;
		case 'c':
			to = meta_flags_write_number(to, 'c', item->unique);
			break;
		case 'f':
			to = meta_flags_write_number(to, 'f', item->flags);
			break;
		case 'l':
			to = meta_flags_write_number(to, 'l',
						     now - (item->access >> 1));
			break;
		case 'h':
			to = meta_flags_write_number(to, 'h', item->access & 1);
			break;
		case 'O':
			to = meta_flags_write_word(to, word);
			break;
		case 'k':
			to = meta_flags_write_key(to, &flags->key,
						  item->marks & STORE_BINARY);
			break;
		default:
			break;
		}
	if (item->marks & STORE_WON) {
		memcpy(to, " Z", 2);
		to += 2;
	}
	if (item->marks & STORE_STALE) {
		memcpy(to, " X", 2);
		to += 2;
	}
	if (view->won) {
		memcpy(to, " W", 2);
		to += 2;
	}
	memcpy(to, "\r\n", 2);
	return to + 2;
}

static void
send_hold(struct session *session, const struct view *view,
	  struct store_hold *hold)
{
	char *from = output_at(session->output);
	char *to = view_write(from, view, session->now);

	output_advance(session->output, (size_t)(to - from));
	if (!view->flags->value) {
		store_release(hold);
		return;
	}
	output_value(session->output, hold);
	output_text(session->output, "\r\n", 2);
}

static bool
wants_visit(const struct store_item *item)
{
	return (item->marks & (STORE_STALE | STORE_WON)) == STORE_STALE;
}

enum look {
	LOOK_HIT,
	LOOK_MISS,
	LOOK_VISIT, /* something is to be changed */
	LOOK_HOLD,  /* the value is too large to be copied */
};

/* Answers where nothing is to be changed and the value is small. */
static enum look
look(struct session *session, struct view *view)
{
	const struct meta_flags *flags = view->flags;
	const struct store_item *item;
	char *from = output_at(session->output), *to;
	enum look found = LOOK_HIT;

	store_enter();
	item = store_peek(&flags->key, session->now, &view->value_bytes);
	if (!item)
		found = LOOK_MISS;
	else if (wants_visit(item))
		found = LOOK_VISIT;
	else if (flags->value && view->value_bytes > OUTPUT_COPY_MAX)
		found = LOOK_HOLD;
	else {
		memcpy(&view->item, item, STORE_HEADER);
		to = view_write(from, view, session->now);
		if (flags->value) {
			memcpy(to, store_value(item), view->value_bytes);
			to += view->value_bytes;
			memcpy(to, "\r\n", 2);
			to += 2;
		}
		if (!flags->no_hit)
			store_hit(item, session->now);
		output_advance(session->output, (size_t)(to - from));
	}
	store_leave();
	return found;
}

static enum store_result
visit(struct session *session, struct view *view)
{
	const struct meta_flags *flags = view->flags;
	struct change_visit change = {
		.set_expiry = flags->set_expiry,
		.expires = flags->expires,
		.vivify = flags->vivify,
		.vivify_expires = flags->vivify_expires,
		.recache = flags->recache ? flags->recache_before : 0,
		.recache_last = flags->expiry_first,
		.claims = true,
		.quiet = flags->no_hit,
		.marks = flags->binary ? STORE_BINARY : 0,
	};
	struct store_hold hold;
	enum store_result result = change_visit(&flags->key, &change, &hold);

	if (result != STORE_DONE)
		return result;
	view->item = change.before;
	view->value_bytes = hold.value_bytes;
	view->created = change.created;
	view->won = change.won;
	send_hold(session, view, &hold);
	return STORE_DONE;
}

static enum store_result
hold(struct session *session, struct view *view)
{
	struct store_hold held;
	enum store_result result = store_get(&view->flags->key, session->now,
					     &held);

	if (result != STORE_DONE)
		return result;
	memcpy(&view->item, held.item, STORE_HEADER);
	view->value_bytes = held.value_bytes;
	if (!view->flags->no_hit)
		store_hit(held.item, session->now);
	send_hold(session, view, &held);
	return STORE_DONE;
}

static bool
get_hits(struct session *session, struct view *view)
{
	const struct meta_flags *flags = view->flags;
	enum look found = LOOK_VISIT;

	if (!flags->set_expiry && !flags->vivify && !flags->recache)
		found = look(session, view);
	if (found == LOOK_VISIT)
		return visit(session, view) == STORE_DONE;
	if (found == LOOK_HOLD)
		return hold(session, view) == STORE_DONE;
	return found == LOOK_HIT;
}

static void
send_miss(struct session *session, const struct meta_flags *flags)
{
	char *from = output_at(session->output), *to;

	if (flags->quiet)
		return;
	memcpy(from, "EN", 2);
	to = meta_flags_write_echo(from + 2, flags);
	memcpy(to, "\r\n", 2);
	output_advance(session->output, (size_t)(to + 2 - from));
}

enum verdict
meta_get(struct session *session, const struct words *words,
	 struct input *input, unsigned variant)
{
	struct counters *counters = session->counters;
	struct meta_flags flags;
	struct view view = { .flags = &flags };
	const char *error;
	bool hit;

	(void)input, (void)variant;
	if (words->word[1].bytes > STORE_KEY_MAX)
		error = BAD_FORMAT;
	else if (words->count > META_WORDS_MAX)
		error = "CLIENT_ERROR options flags are too long";
	else {
		error = meta_flags_read(&flags, words, 2);
		if (!error && flags.long_opaque)
			error = LONG_OPAQUE;
	}
	if (error) {
		session_say(session, error);
		return VERDICT_NEXT;
	}
	hit = get_hits(session, &view);
	if (!hit)
		send_miss(session, &flags);
	counters_up(hit ? &counters->get_hits : &counters->get_misses);
	if (flags.set_expiry) {
		counters_up(&counters->cmd_touch);
		counters_up(hit ? &counters->touch_hits :
				  &counters->touch_misses);
	}
	return VERDICT_NEXT;
}

enum verdict
meta_delete(struct session *session, const struct words *words,
	    struct input *input, unsigned variant)
{
	struct meta_flags flags;
	struct change_removal removal;
	const char *error = NULL;
	enum store_result result;
	char *from, *to;

	(void)input, (void)variant;
	if (words->word[1].bytes > STORE_KEY_MAX)
		error = BAD_FORMAT;
	else if (words->count > META_WORDS_MAX)
		error = "CLIENT_ERROR options flags too long";
	else if (meta_flags_read(&flags, words, 2))
		error = "CLIENT_ERROR invalid or duplicate flag";
	else if (flags.long_opaque)
		error = LONG_OPAQUE;
	if (error) {
		session_say(session, error);
		return VERDICT_NEXT;
	}
	removal = (struct change_removal){
		.compare = flags.has_unique,
		.unique = flags.unique,
		.stale = flags.invalidate,
		.set_expiry = flags.set_expiry,
		.expires = flags.expires,
	};
	result = change_remove(&flags.key, &removal);
	counters_up(result == STORE_DONE ? &session->counters->delete_hits :
					   &session->counters->delete_misses);
	if (result == STORE_DONE && flags.quiet)
		return VERDICT_NEXT;
	from = output_at(session->output);
	memcpy(from,
	       result == STORE_DONE   ? "HD" :
	       result == STORE_EXISTS ? "EX" :
					"NF",
	       2);
	to = meta_flags_write_echo(from + 2, &flags);
	memcpy(to, "\r\n", 2);
	output_advance(session->output, (size_t)(to + 2 - from));
	return VERDICT_NEXT;
}

enum verdict
meta_nothing(struct session *session, const struct words *words,
	     struct input *input, unsigned variant)
{
	(void)words, (void)input, (void)variant;
	session_say(session, "MN");
	return VERDICT_NEXT;
}

/* For people: all that is known of an item but its value. */
enum verdict
meta_debug(struct session *session, const struct words *words,
	   struct input *input, unsigned variant)
{
	struct meta_flags flags;
	struct store_hold held;
	const struct store_item *item;
	char *from = output_at(session->output), *to = from;

	(void)input, (void)variant;
	counters_up(&session->counters->cmd_meta);
	if (words->count < 2 || words->word[1].bytes > STORE_KEY_MAX ||
	    words->count > META_WORDS_MAX ||
	    meta_flags_read(&flags, words, 2)) {
		session_say(session, BAD_FORMAT);
		return VERDICT_NEXT;
	}
	if (store_get(&flags.key, session->now, &held) != STORE_DONE) {
		session_say(session, "EN");
		return VERDICT_NEXT;
	}
	item = held.item;
	memcpy(to, "ME", 2);
	to = meta_flags_write_word(to + 2, &words->word[1]);
	to += snprintf(to, 256,
		       " exp=%d la=%u cas=%llu fetch=%s cls=1 size=%zu\r\n",
		       item->expires ? (int)(item->expires - session->now) : -1,
		       session->now - (item->access >> 1),
		       (unsigned long long)item->unique,
		       item->access & 1 ? "yes" : "no",
		       STORE_HEADER + flags.key.bytes + held.value_bytes);
	output_advance(session->output, (size_t)(to - from));
	store_release(&held);
	return VERDICT_NEXT;
}
