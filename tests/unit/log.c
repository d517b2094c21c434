/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a line goes: nowhere, descriptor 2, the program's sink. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/tap.h"

#define PIPE_BYTES 65536
static int from_2;

struct caught {
	unsigned lines, odd;
	enum spw_log_level level;
	char line[LOG_LINE_BYTES];
};

static void catch (enum spw_log_level level, const char *line, void *context)
{
	struct caught *caught = context;

	caught->lines++;
	caught->level = level;
	caught->odd += strchr(line, '\n') != NULL;
	strncpy(caught->line, line, sizeof caught->line - 1);
}

/* What was written to descriptor 2 since the last time. */
static const char *
said(void)
{
	static char text[PIPE_BYTES];
	ssize_t n = read(from_2, text, sizeof text - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void
levels(void)
{
	log_write(SPW_LOG_ERROR, "unheard");
	tap_is_text(said(), "", "by default nothing is said");
	tap_ok(!log_wanted(SPW_LOG_ERROR), "and no message is wanted");
	log_complain("%s is wrong", "it");
	tap_is_text(said(), "spillway: error: it is wrong\n",
		    "what the user wrote wrong is said all the same");
	log_level_set(SPW_LOG_INFO);
	log_write(SPW_LOG_ERROR, "e %d", 1);
	log_write(SPW_LOG_WARNING, "w %d", 2);
	log_write(SPW_LOG_INFO, "i %d", 3);
	log_write(SPW_LOG_DEBUG, "d %d", 4);
	tap_is_text(said(),
		    "spillway: error: e 1\nspillway: warning: w 2\n"
		    "spillway: i 3\n",
		    "a level takes what is as grave or graver");
	log_level_set(SPW_LOG_DEBUG);
	log_write(SPW_LOG_DEBUG, "d");
	tap_is_text(said(), "spillway: debug: d\n", "debug takes all");
	log_level_set(SPW_LOG_OFF);
}

static void
sinks(void)
{
	struct caught caught = { 0 };

	spw_log_set(SPW_LOG_WARNING, catch, &caught);
	log_write(SPW_LOG_INFO, "no");
	log_write(SPW_LOG_WARNING, "shrinker %s hangs", "x");
	tap_ok(caught.lines == 1 && caught.level == SPW_LOG_WARNING,
	       "a sink gets what its level takes");
	tap_is_text(caught.line, "warning: shrinker x hangs",
		    "one line without name and newline");
	log_complain("bad");
	tap_is(caught.lines, 2, "complaints go to the sink too");
	log_level_set(SPW_LOG_DEBUG);
	log_write(SPW_LOG_DEBUG, "no");
	tap_is(caught.lines, 2, "the setting does not touch a sink's level");
	tap_is_text(said(), "", "nothing reaches descriptor 2 meanwhile");
	spw_log_set(SPW_LOG_OFF, NULL, NULL);
	log_write(SPW_LOG_DEBUG, "d");
	tap_is_text(said(), "spillway: debug: d\n",
		    "without a sink the setting holds again");
	tap_is(caught.lines, 2, "and the sink is asked no more");
	log_level_set(SPW_LOG_OFF);
}

static void
long_lines(void)
{
	struct caught caught = { 0 };
	char text[2 * LOG_LINE_BYTES];
	const char *line;

	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	log_complain("%s", text);
	line = said();
	tap_is(strlen(line), LOG_LINE_BYTES - 1, "a long line is cut");
	tap_ok(strcmp(line + strlen(line) - 4, "...\n") == 0,
	       "and ends in dots and a newline");
	spw_log_set(SPW_LOG_ERROR, catch, &caught);
	log_complain("%s", text);
	spw_log_set(SPW_LOG_OFF, NULL, NULL);
	tap_ok(caught.lines == 1 && !caught.odd &&
		       strcmp(caught.line + strlen(caught.line) - 3, "...") ==
			       0,
	       "also for a sink");
}

static void *
with_own_descriptor(void *fd)
{
	log_descriptor_set(*(int *)fd);
	log_complain("from a thread");
	log_descriptor_set(-1);
	log_complain("to nobody");
	return NULL;
}

static void
descriptors_of_threads(void)
{
	int pipes[2];
	char text[64] = "";
	pthread_t thread;

	if (pipe(pipes) != 0 ||
	    pthread_create(&thread, NULL, with_own_descriptor, &pipes[1]))
		tap_bail_out("no pipe or thread");
	pthread_join(thread, NULL);
	tap_ok(read(pipes[0], text, sizeof text - 1) > 0 &&
		       strcmp(text, "spillway: error: from a thread\n") == 0,
	       "a thread may have a descriptor of its own");
	tap_is_text(said(), "", "which is then not 2, and may be none");
	log_complain("from main");
	tap_is_text(said(), "spillway: error: from main\n",
		    "other threads are not touched by it");
	close(pipes[0]);
	close(pipes[1]);
}

static void *
chatter(void *unused)
{
	(void)unused;
	for (int i = 0; i < 100; i++)
		log_complain("one two three four");
	return NULL;
}

static void
lines_stay_whole(void)
{
	static const char line[] = "spillway: error: one two three four\n";
	pthread_t threads[4];
	unsigned lines = 0;
	const char *text;

	for (int i = 0; i < 4; i++)
		if (pthread_create(&threads[i], NULL, chatter, NULL) != 0)
			tap_bail_out("no thread");
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (text = said(); strncmp(text, line, sizeof line - 1) == 0;
	     text += sizeof line - 1)
		lines++;
	tap_is(lines, 400, "lines of four threads do not mix");
	tap_is_text(text, "", "and nothing else is said");
}

int
main(void)
{
	int pipes[2];

	if (pipe2(pipes, O_NONBLOCK) != 0 || dup2(pipes[1], 2) != 2)
		tap_bail_out("no pipe: %s", strerror(errno));
	close(pipes[1]);
	from_2 = pipes[0];
	levels();
	sinks();
	long_lines();
	descriptors_of_threads();
	lines_stay_whole();
	return tap_done();
}
