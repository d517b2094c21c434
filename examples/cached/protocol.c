/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finds lines in the input and the command for each.
 *
 * Called by connections; calls a function for each command (retrieve.c,
 * update.c, meta.c, simple.c, stats.c). All that has arrived is worked off at
 * once, and answers gather in the output until it is full or input is missing:
 * a client that sends a hundred commands in one packet costs two system calls.
 */
#include "examples/cached/protocol.h"

#include <stdio.h>

#include "examples/cached/commands.h"
#include "examples/cached/settings.h"

struct command {
	const char *name;
	unsigned words_min, words_max; /* fewer or more: ERROR */
	protocol_command *run;
	unsigned variant;
};

static const struct command commands[] = {
	{ "set", 5, 6, update_classic, STORE_SET },
	{ "mg", 2, WORDS_MAX, meta_get, 0 },
	{ "ms", 2, WORDS_MAX, meta_set, 0 },
	{ "md", 2, WORDS_MAX, meta_delete, 0 },
	{ "ma", 2, WORDS_MAX, meta_arithmetic, 0 },
	{ "mn", 1, WORDS_MAX, meta_nothing, 0 },
	{ "me", 1, WORDS_MAX, meta_debug, 0 },
	{ "add", 5, 6, update_classic, STORE_ADD },
	{ "replace", 5, 6, update_classic, STORE_REPLACE },
	{ "append", 5, 6, update_classic, STORE_APPEND },
	{ "prepend", 5, 6, update_classic, STORE_PREPEND },
	{ "cas", 6, 7, update_classic, UPDATE_CAS },
	{ "delete", 2, 4, simple_delete, 0 },
	{ "incr", 3, 4, simple_arithmetic, 0 },
	{ "decr", 3, 4, simple_arithmetic, 1 },
	{ "touch", 3, 4, simple_touch, 0 },
	{ "flush_all", 1, 3, simple_flush_all, 0 },
	{ "version", 1, WORDS_MAX, simple_version, 0 },
	{ "verbosity", 2, 3, simple_verbosity, 0 },
	{ "quit", 1, WORDS_MAX, simple_quit, 0 },
	{ "shutdown", 1, WORDS_MAX, simple_shutdown, 0 },
	{ "stats", 1, WORDS_MAX, stats_command, 0 },
};
#define COMMANDS (sizeof commands / sizeof commands[0])

/* One of the gets, with at least one more word: how it is to be done. */
static bool
begin_get(struct session *session, const char **at, const char *end)
{
	struct word word;
	const char *next = *at;

	if (!word_next(&next, end, &word))
		return false;
	if (word_is(&word, "get"))
		session->with_unique = session->touches = false;
	else if (word_is(&word, "gets"))
		session->with_unique = true, session->touches = false;
	else if (word_is(&word, "gat"))
		session->with_unique = false, session->touches = true;
	else if (word_is(&word, "gats"))
		session->with_unique = session->touches = true;
	else
		return false;
	*at = next;
	return word_next(&next, end, &word);
}

static enum verdict
dispatch(struct session *session, struct input *input, const char *line,
	 const char *end)
{
	struct words words;

	words_split(&words, line, (size_t)(end - line));
	for (size_t i = 0; words.count && i < COMMANDS; i++) {
		const struct command *command = &commands[i];

		if (!word_is(&words.word[0], command->name))
			continue;
		if (words.count < command->words_min ||
		    words.count > command->words_max)
			break;
		return command->run(session, &words, input, command->variant);
	}
	session_say(session, "ERROR");
	return VERDICT_NEXT;
}

/* Where the line ends, for its words; `newline` is behind it. */
static const char *
end_of_words(const char *line, const char *newline)
{
	const char *end = newline, *zero;

	if (end - line > 1 && end[-1] == '\r')
		end--;
	zero = memchr(line, '\0', (size_t)(end - line));
	return zero ? zero : end;
}

/* A line without an end: only a get may be that long. */
static enum verdict
unfinished(const struct input *input)
{
	size_t bytes = (size_t)(input->end - input->at);
	const char *at = input->at;

	if (bytes <= SESSION_LINE_MAX)
		return VERDICT_MORE;
	while (at < input->at + 100 && *at == ' ')
		at++;
	if (bytes > SESSION_GET_LINE_MAX ||
	    (memcmp(at, "get ", 4) != 0 && memcmp(at, "gets ", 5) != 0))
		return VERDICT_CLOSE;
	return VERDICT_MORE;
}

static enum verdict
run_line(struct session *session, struct input *input)
{
	const char *line = input->at, *newline, *end;
	enum verdict verdict;

	if (line == input->end)
		return VERDICT_MORE;
	newline = memchr(line, '\n', (size_t)(input->end - line));
	if (!newline)
		return unfinished(input);
	end = end_of_words(line, newline);
	if (session->state == SESSION_GETTING)
		return retrieve_run(session, input, end, newline + 1);
	session->noreply = false;
	if (settings_verbose() > 1)
		fprintf(stderr, "<%d %.*s\n", session->id, (int)(end - line),
			line);
	if (begin_get(session, &input->at, end))
		return retrieve_begin(session, input, end, newline + 1);
	input->at = newline + 1;
	verdict = dispatch(session, input, line, end);
	if (verdict == VERDICT_MORE && session->state == SESSION_COMMANDS)
		input->at = line;
	return verdict;
}

static enum verdict
swallow(struct session *session, struct input *input)
{
	size_t there = (size_t)(input->end - input->at);

	if (there < session->missing) {
		session->missing -= there;
		input->at = input->end;
		return VERDICT_MORE;
	}
	input->at += session->missing;
	session->state = SESSION_COMMANDS;
	return VERDICT_NEXT;
}

enum verdict
protocol_run(struct session *session, struct input *input)
{
	enum verdict verdict = VERDICT_NEXT;

	while (verdict == VERDICT_NEXT) {
		if (!output_room(session->output))
			return VERDICT_FULL;
		if (session->state == SESSION_SWALLOWS)
			verdict = swallow(session, input);
		else if (session->state == SESSION_VALUE)
			verdict = update_arrives(session, input);
		else
			verdict = run_line(session, input);
	}
	return verdict;
}

void
protocol_end(struct session *session)
{
	if (session->state == SESSION_VALUE)
		store_abandon(&session->write);
	session->state = SESSION_COMMANDS;
}
