/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One client's conversation: what the protocol keeps between two reads.
 *
 * Usage: protocol_run(&session, &input) eats commands from the input and
 * writes answers to session.output, until it says why it stopped.
 *
 * Caveats: one thread at a time.
 */
#ifndef EXAMPLES_CACHED_SESSION_H
#define EXAMPLES_CACHED_SESSION_H

#include "examples/cached/counters.h"
#include "examples/cached/output.h"
#include "examples/cached/store.h"
#include "examples/cached/words.h"

/* A longer line is garbage, unless it is a get of many keys. */
#define SESSION_LINE_MAX 2048
#define SESSION_GET_LINE_MAX ((size_t)4 << 20)
/* A value up to this is awaited in the input, where it begins to arrive with
 * others; a larger one goes straight into the store. */
#define SESSION_AWAITED_MAX ((size_t)16 << 10)
#define SESSION_OPAQUE_MAX 32
/* What an ms command wants back: one opaque, k, b, c. */
#define SESSION_ECHO_MAX 64

enum verdict {
	VERDICT_NEXT,  /* the command is done */
	VERDICT_MORE,  /* input is missing */
	VERDICT_FULL,  /* the output must be sent first */
	VERDICT_CLOSE, /* send what is there and hang up */
};

enum session_state {
	SESSION_COMMANDS,
	SESSION_GETTING,  /* within the keys of a get */
	SESSION_VALUE,    /* a large value arrives */
	SESSION_SWALLOWS, /* what follows a refused command */
};

struct input {
	const char *at, *end;
};

struct session {
	/* The worker's, set before each run. */
	struct output *output;
	struct counters *counters;
	uint32_t now;

	enum session_state state;
	int id; /* for messages */
	bool noreply;
	/* SESSION_GETTING */
	bool with_unique, touches;
	uint32_t expires;
	/* SESSION_VALUE: where the rest goes and how much, its CR LF aside;
	 * SESSION_SWALLOWS: how much. */
	char *value_to;
	size_t missing;
	struct store_write write;
	bool meta, compares;
	unsigned echo_bytes;
	char echo[SESSION_ECHO_MAX];
	char key[STORE_KEY_MAX];
};

/* One line. */
static inline void
session_say(struct session *session, const char *text)
{
	size_t bytes = strlen(text);
	char *to = output_at(session->output);

	memcpy(to, text, bytes);
	memcpy(to + bytes, "\r\n", 2);
	output_advance(session->output, bytes + 2);
}

/* The same unless the client wants no reply. */
static inline void
session_reply(struct session *session, const char *text)
{
	if (!session->noreply)
		session_say(session, text);
}

#endif
