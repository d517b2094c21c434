/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * set, add, replace, append, prepend and cas; and the value of an ms.
 *
 * Called by protocol.c and meta_set.c; calls the store. A value that is in the
 * input is copied from there. One that has only begun to arrive is awaited
 * there if it is small; a large one is received straight into the memory of
 * the cache that was reserved for it, by the connection (session->value_to).
 */
#include <limits.h>

#include "examples/cached/change.h"
#include "examples/cached/commands.h"

static const char *
result_text(enum store_result result)
{
	switch (result) {
	case STORE_DONE:
		return "STORED";
	case STORE_EXISTS:
		return "EXISTS";
	case STORE_NOT_FOUND:
		return "NOT_FOUND";
	case STORE_NO_MEMORY:
		return "SERVER_ERROR out of memory storing object";
	case STORE_NOT_STORED:
	case STORE_NO_NUMBER:
		break;
	}
	return "NOT_STORED";
}

/* An old value must not be taken for the one that could not be stored. */
static void
drop_old(struct session *session)
{
	static const struct change_removal removal;

	if (session->write.mode == STORE_SET && !session->write.compare)
		(void)change_remove(&session->write.key, &removal);
}

static void
count(struct session *session, enum store_result result)
{
	struct counters *counters = session->counters;

	counters_up(&counters->cmd_set);
	if (result == STORE_NO_MEMORY)
		counters_up(&counters->store_no_memory);
	else if (session->compares && result == STORE_DONE)
		counters_up(&counters->cas_hits);
	else if (session->compares && result == STORE_EXISTS)
		counters_up(&counters->cas_badval);
	else if (session->compares && result == STORE_NOT_FOUND)
		counters_up(&counters->cas_misses);
}

static void
finish(struct session *session, enum store_result result)
{
	count(session, result);
	if (result == STORE_NO_MEMORY)
		drop_old(session);
	if (session->meta && result != STORE_NO_MEMORY)
		meta_set_done(session, result);
	else
		session_reply(session, result_text(result));
}

static void
refuse_chunk(struct session *session)
{
	if (session->meta)
		session->noreply = false;
	session_reply(session, "CLIENT_ERROR bad data chunk");
}

enum verdict
update_swallow(struct session *session, size_t bytes)
{
	session->state = SESSION_SWALLOWS;
	session->missing = bytes;
	return VERDICT_NEXT;
}

static bool
is_tail(const char *at)
{
	return at[0] == '\r' && at[1] == '\n';
}

enum verdict
update_arrives(struct session *session, struct input *input)
{
	size_t there = (size_t)(input->end - input->at);
	size_t take = there < session->missing ? there : session->missing;

	if (take)
		memcpy(session->value_to, input->at, take);
	session->value_to += take;
	session->missing -= take;
	input->at += take;
	if (session->missing || input->end - input->at < 2)
		return VERDICT_MORE;
	session->state = SESSION_COMMANDS;
	if (is_tail(input->at))
		finish(session, store_finish(&session->write));
	else {
		store_abandon(&session->write);
		refuse_chunk(session);
	}
	input->at += 2;
	return VERDICT_NEXT;
}

enum verdict
update_begin(struct session *session, struct input *input)
{
	struct store_write *write = &session->write;
	size_t bytes = write->value_bytes;
	const char *value = input->at;

	if ((size_t)(input->end - value) >= bytes + 2) {
		input->at += bytes + 2;
		if (is_tail(value + bytes))
			finish(session, store_put(write, value));
		else
			refuse_chunk(session);
		return VERDICT_NEXT;
	}
	if (bytes <= SESSION_AWAITED_MAX)
		return VERDICT_MORE;
	memmove(session->key, write->key.at, write->key.bytes);
	write->key.at = session->key;
	session->value_to = store_begin(write);
	if (!session->value_to) {
		finish(session, STORE_NO_MEMORY);
		return update_swallow(session, bytes + 2);
	}
	session->missing = bytes;
	session->state = SESSION_VALUE;
	return update_arrives(session, input);
}

enum verdict
update_classic(struct session *session, const struct words *words,
	       struct input *input, unsigned variant)
{
	const struct word *word = words->word;
	bool cas = variant == UPDATE_CAS;
	struct store_write *write = &session->write;
	uint64_t unique = 0;
	uint32_t flags;
	int64_t exptime;
	int32_t bytes;

	session->noreply = word_is(&word[words->count - 1], "noreply");
	if (word[1].bytes > STORE_KEY_MAX || !word_u32(&word[2], &flags) ||
	    !word_i64(&word[3], &exptime) || !word_i32(&word[4], &bytes) ||
	    (cas && !word_u64(&word[5], &unique)) || bytes < 0 ||
	    bytes > INT_MAX - 2) {
		session_reply(session, "CLIENT_ERROR bad command line format");
		return VERDICT_NEXT;
	}
	*write = (struct store_write){
		.key = word[1],
		.value_bytes = (size_t)bytes,
		.mode = cas ? STORE_SET : (enum store_mode)variant,
		.flags = flags,
		.expires = store_expiry(exptime),
		.compare = cas,
		.unique = unique,
	};
	session->meta = false;
	session->compares = cas;
	if (store_fits(&word[1], flags, (size_t)bytes))
		return update_begin(session, input);
	counters_up(&session->counters->store_too_large);
	drop_old(session);
	session_reply(session, "SERVER_ERROR object too large for cache");
	return update_swallow(session, (size_t)bytes + 2);
}
