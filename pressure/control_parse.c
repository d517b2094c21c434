/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The requests of the control socket: text from another process, which may hold
 * anything. The protocol is in control.h.
 *
 * Called by control.c, and by tests and fuzzing. Pure functions.
 */
#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "pressure/control.h"

static void
refuse(struct control_request *request, const char *why, const char *word,
       size_t length)
{
	request->verb = CONTROL_BAD;
	snprintf(request->why, sizeof request->why, "%s: \"%.*s\"", why,
		 (int)(length < 40 ? length : 40), word);
}

static bool
is_word(const char *word, size_t length, const char *text)
{
	return strlen(text) == length && memcmp(word, text, length) == 0;
}

enum key { KEY_TARGET, KEY_TIMEOUT, KEY_OLDER_THAN, KEY_RATE, KEY_COUNT };

static const char *const keys[KEY_COUNT] = {
	[KEY_TARGET] = "target",
	[KEY_TIMEOUT] = "timeout_ns",
	[KEY_OLDER_THAN] = "older_than_ns",
	[KEY_RATE] = "rate",
};

/* One KEY=VALUE; false when it was refused. */
static bool
parse_argument(const char *word, size_t length, unsigned *seen,
	       struct control_request *request)
{
	struct spw_reclaim_options *o = &request->reclaim;
	uint64_t *into[KEY_COUNT] = { &o->target_bytes, &o->timeout_ns,
				      &o->older_than_ns, &o->rate_bytes_per_s };
	const char *equals = memchr(word, '=', length);
	size_t key_length = equals ? (size_t)(equals - word) : length;
	size_t value_length = equals ? length - key_length - 1 : 0;
	unsigned key = 0;

	while (key < KEY_COUNT && !is_word(word, key_length, keys[key]))
		key++;
	if (!equals || key == KEY_COUNT) {
		refuse(request, "unknown key", word, length);
		return false;
	}
	if (*seen & (1u << key)) {
		refuse(request, "given twice", word, key_length);
		return false;
	}
	*seen |= 1u << key;
	if (key == KEY_TARGET && is_word(equals + 1, value_length, "max")) {
		o->target_bytes = UINT64_MAX;
		return true;
	}
	if (units_parse_number(equals + 1, value_length, into[key]) != 0 ||
	    (key == KEY_TARGET && !o->target_bytes)) {
		refuse(request, "bad value", word, length);
		return false;
	}
	return true;
}

/* The next word of text[*at..length): its length; 0 at the end. */
static size_t
next_word(const char *text, size_t length, size_t *at)
{
	size_t end;

	while (*at < length && text[*at] == ' ')
		(*at)++;
	for (end = *at; end < length && text[end] != ' '; end++)
		;
	return end - *at;
}

void
control_parse(const char *text, size_t length, struct control_request *request)
{
	static const struct {
		const char *word;
		enum control_verb verb;
	} verbs[] = { { "stat", CONTROL_STAT },
		      { "pressure", CONTROL_PRESSURE },
		      { "reclaim", CONTROL_RECLAIM },
		      { "ping", CONTROL_PING } };
	size_t at = 0, n;
	unsigned seen = 0;

	memset(request, 0, sizeof *request);
	request->reclaim.size = sizeof request->reclaim;
	if (memchr(text, '\0', length)) {
		refuse(request, "a NUL in the request", "", 0);
		return;
	}
	n = next_word(text, length, &at);
	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
		if (is_word(text + at, n, verbs[i].word))
			request->verb = verbs[i].verb;
	if (request->verb == CONTROL_BAD) {
		refuse(request, "unknown request", text + at, n);
		return;
	}
	for (at += n; (n = next_word(text, length, &at)) != 0; at += n) {
		if (request->verb != CONTROL_RECLAIM) {
			refuse(request, "takes no argument", text + at, n);
			return;
		}
		if (!parse_argument(text + at, n, &seen, request))
			return;
	}
	if (request->verb == CONTROL_RECLAIM && !(seen & (1u << KEY_TARGET)))
		refuse(request, "no target= in", "reclaim", 7);
}
