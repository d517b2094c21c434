/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ms and ma.
 *
 * Called by protocol.c and, for the answer to an ms, by update.c; calls the
 * store. The line of an ms is gone when its value has arrived, so what is to
 * be answered is noted in session->echo: one letter for each flag, behind an O
 * its word and a zero.
 */
#include <limits.h>

#include "examples/cached/change.h"
#include "examples/cached/commands.h"
#include "examples/cached/meta_flags.h"

#define BAD_FORMAT "CLIENT_ERROR bad command line format"

static void
note_echo(struct session *session, const struct meta_flags *flags)
{
	char *to = session->echo;

	for (const struct word *word = flags->first; word < flags->end; word++)
		switch (word->at[0]) {
		case 'O':
			memcpy(to, word->at, word->bytes);
			to += word->bytes;
			*to++ = '\0';
			break;
		case 'k':
		case 'c':
			*to++ = word->at[0];
			break;
		default:
			break;
		}
	session->echo_bytes = (unsigned)(to - session->echo);
}

static char *
write_echo(char *to, const struct session *session, bool stored)
{
	const struct store_write *write = &session->write;
	const char *end = session->echo + session->echo_bytes;

	for (const char *at = session->echo; at < end; at++)
		switch (*at) {
		case 'O':
			to = meta_flags_write_word(
				to, &(struct word){ at, strlen(at) });
			at += strlen(at);
			break;
		case 'k':
			to = meta_flags_write_key(to, &write->key,
						  write->marks & STORE_BINARY);
			break;
		default:
			to = meta_flags_write_number(
				to, 'c', stored ? write->unique : 0);
		}
	return to;
}

void
meta_set_done(struct session *session, enum store_result result)
{
	static const char code[][3] = {
		[STORE_DONE] = "HD",      [STORE_NOT_STORED] = "NS",
		[STORE_EXISTS] = "EX",    [STORE_NOT_FOUND] = "NF",
		[STORE_NO_NUMBER] = "NS", [STORE_NO_MEMORY] = "NS",
	};
	char *from = output_at(session->output), *to;

	if (result == STORE_DONE && session->noreply)
		return;
	memcpy(from, code[result], 2);
	to = write_echo(from + 2, session, result == STORE_DONE);
	memcpy(to, "\r\n", 2);
	output_advance(session->output, (size_t)(to + 2 - from));
}

/* False: there is no such mode. */
static bool
find_mode(char letter, enum store_mode *mode)
{
	switch (letter) {
	case '\0':
	case 'S':
		*mode = STORE_SET;
		return true;
	case 'E':
		*mode = STORE_ADD;
		return true;
	case 'A':
		*mode = STORE_APPEND;
		return true;
	case 'P':
		*mode = STORE_PREPEND;
		return true;
	case 'R':
		*mode = STORE_REPLACE;
		return true;
	default:
		return false;
	}
}

static void
fill_write(struct session *session, const struct meta_flags *flags,
	   size_t value_bytes, enum store_mode mode)
{
	struct store_write *write = &session->write;

	/* With a unique to compare, replace is a set: NF where it is not. */
	if (flags->has_unique && mode == STORE_REPLACE)
		mode = STORE_SET;
	*write = (struct store_write){
		.key = flags->key,
		.value_bytes = value_bytes,
		.mode = mode,
		.flags = flags->flags,
		.expires = flags->expires,
		.compare = flags->has_unique,
		.unique = flags->unique,
		.older_too = flags->invalidate,
		.marks = flags->binary ? STORE_BINARY : 0,
	};
	if (flags->binary) {
		memcpy(session->key, flags->key.at, flags->key.bytes);
		write->key.at = session->key;
	}
	session->meta = true;
	session->compares = flags->has_unique;
	session->noreply = flags->quiet;
	note_echo(session, flags);
}

enum verdict
meta_set(struct session *session, const struct words *words,
	 struct input *input, unsigned variant)
{
	const struct word *word = words->word;
	struct meta_flags flags;
	enum store_mode mode = STORE_SET;
	const char *error;
	int32_t bytes;

	(void)variant;
	if (words->count <= META_WORDS_MAX && words->count > 2 &&
	    word[1].bytes <= STORE_KEY_MAX && word_i32(&word[2], &bytes) &&
	    bytes >= 0 && bytes <= INT_MAX - 2) {
		error = meta_flags_read(&flags, words, 3);
	} else {
		session_say(session,
			    words->count > META_WORDS_MAX ?
				    "CLIENT_ERROR options flags too long" :
				    BAD_FORMAT);
		return VERDICT_NEXT;
	}
	if (!error && !find_mode(flags.mode, &mode))
		error = "CLIENT_ERROR invalid mode for ms M token";
	if (!error && flags.long_opaque)
		error = "CLIENT_ERROR opaque token too long";
	if (!error && !store_fits(&flags.key, flags.flags, (size_t)bytes)) {
		static const struct change_removal removal;

		counters_up(&session->counters->store_too_large);
		(void)change_remove(&flags.key, &removal);
		error = "SERVER_ERROR object too large for cache";
	}
	if (error) {
		session_say(session, error);
		return update_swallow(session, (size_t)bytes + 2);
	}
	fill_write(session, &flags, (size_t)bytes, mode);
	return update_begin(session, input);
}

static char *
arithmetic_write(char *to, const struct meta_flags *flags,
		 const struct change_number *change, uint32_t now)
{
	char digits[20];
	size_t bytes = (size_t)(word_write_u64(digits, change->number) -
				digits);
	uint32_t expires = change->old_expires;

	memcpy(to, flags->value ? "VA " : "HD", 3);
	to = flags->value ? word_write_u64(to + 3, bytes) : to + 2;
	for (const struct word *word = flags->first; word < flags->end; word++)
		switch (word->at[0]) {
		case 'c':
			to = meta_flags_write_number(to, 'c',
						     change->new_unique);
			break;
		case 't':
			to = meta_flags_write_ttl(to, expires, now);
			break;
		case 'T':
			expires = flags->expires;
			break;
		case 'O':
			to = meta_flags_write_word(to, word);
			break;
		case 'k':
			to = meta_flags_write_key(to, &flags->key,
						  flags->binary);
			break;
		default:
			break;
		}
	memcpy(to, "\r\n", 2);
	to += 2;
	if (!flags->value)
		return to;
	memcpy(to, digits, bytes);
	memcpy(to + bytes, "\r\n", 2);
	return to + bytes + 2;
}

static const char *
arithmetic_error(const struct words *words, struct meta_flags *flags)
{
	if (words->word[1].bytes > STORE_KEY_MAX)
		return BAD_FORMAT;
	if (words->count > META_WORDS_MAX)
		return "CLIENT_ERROR options flags too long";
	if (meta_flags_read(flags, words, 2))
		return "CLIENT_ERROR invalid or duplicate flag";
	if (flags->mode && !strchr("I+D-", flags->mode))
		return "CLIENT_ERROR invalid mode for ma M token";
	if (flags->long_opaque)
		return "CLIENT_ERROR opaque token too long";
	return NULL;
}

/* A number that there is, or that was made; of that even q is told. */
static void
arithmetic_done(struct session *session, const struct meta_flags *flags,
		const struct change_number *change)
{
	char *from = output_at(session->output);

	counters_up(change->down ? &session->counters->decr_hits :
				   &session->counters->incr_hits);
	if (!flags->quiet || change->created)
		output_advance(session->output,
			       (size_t)(arithmetic_write(from, flags, change,
							 session->now) -
					from));
}

static void
arithmetic_missed(struct session *session, const struct meta_flags *flags,
		  bool down, const char *code)
{
	char *from = output_at(session->output), *to;

	counters_up(down ? &session->counters->decr_misses :
			   &session->counters->incr_misses);
	memcpy(from, code, 2);
	to = meta_flags_write_echo(from + 2, flags);
	memcpy(to, "\r\n", 2);
	output_advance(session->output, (size_t)(to + 2 - from));
}

enum verdict
meta_arithmetic(struct session *session, const struct words *words,
		struct input *input, unsigned variant)
{
	struct meta_flags flags;
	struct change_number change;
	const char *error = arithmetic_error(words, &flags);

	(void)input, (void)variant;
	if (error) {
		session_say(session, error);
		return VERDICT_NEXT;
	}
	change = (struct change_number){
		.down = flags.mode == 'D' || flags.mode == '-',
		.by = flags.by,
		.compare = flags.has_unique,
		.unique = flags.unique,
		.vivify = flags.vivify,
		.initial = flags.initial,
		.vivify_expires = flags.vivify_expires,
		.set_expiry = flags.set_expiry,
		.expires = flags.expires,
		.marks = flags.binary ? STORE_BINARY : 0,
	};
	switch (change_number(&flags.key, &change)) {
	case STORE_DONE:
		arithmetic_done(session, &flags, &change);
		break;
	case STORE_NO_NUMBER:
		session_say(session, "CLIENT_ERROR cannot increment or "
				     "decrement non-numeric value");
		break;
	case STORE_NO_MEMORY:
		session_say(session, "SERVER_ERROR out of memory");
		break;
	case STORE_EXISTS:
		arithmetic_missed(session, &flags, change.down, "EX");
		break;
	default:
		arithmetic_missed(session, &flags, change.down, "NF");
	}
	return VERDICT_NEXT;
}
