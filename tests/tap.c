/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TAP lines from a buffer on the stack.
 *
 * Every line is put together by vsnprintf(3), which allocates nothing for
 * plain conversions, and leaves in one write(2), so that lines of several
 * threads do not mix. The counters are atomic; the number in a line is the
 * order of tests' ends.
 */
#include "tests/tap.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TAP_LINE 1000

static atomic_uint planned;
static atomic_uint done;
static atomic_uint failed;

static void
put(const char *line, size_t length)
{
	while (length > 0) {
		ssize_t written = write(STDOUT_FILENO, line, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			_exit(99); /* nobody can hear how the tests end */
		line += written;
		length -= (size_t)written;
	}
}

/* `before` and the formatted words, on one line. */
static void
put_line(const char *before, const char *format, va_list arguments)
{
	char line[TAP_LINE];
	char words[TAP_LINE];
	int length;

	vsnprintf(words, sizeof words, format, arguments);
	for (char *c = words; *c; c++) {
		if (*c == '\n')
			*c = ' ';
	}
	length = snprintf(line, sizeof line - 1, "%s%s", before, words);
	if (length < 0)
		length = 0;
	if ((size_t)length > sizeof line - 2)
		length = sizeof line - 2;
	line[length++] = '\n';
	put(line, (size_t)length);
}

void
tap_plan(unsigned tests)
{
	char line[32];

	atomic_store(&planned, tests);
	put(line, (size_t)snprintf(line, sizeof line, "1..%u\n", tests));
}

static void
result(bool good, const char *file, int line, const char *format,
       va_list arguments)
{
	unsigned number = atomic_fetch_add(&done, 1) + 1;
	char before[40];

	snprintf(before, sizeof before, "%sok %u - ", good ? "" : "not ",
		 number);
	put_line(before, format, arguments);
	if (good)
		return;
	atomic_fetch_add(&failed, 1);
	tap_note("failed at %s:%d", file, line);
}

bool
tap_report(bool good, const char *file, int line, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	result(good, file, line, format, arguments);
	va_end(arguments);
	return good;
}

bool
tap_compare(intmax_t got, intmax_t wanted, const char *file, int line,
	    const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	result(got == wanted, file, line, format, arguments);
	va_end(arguments);
	if (got != wanted)
		tap_note("got %jd, wanted %jd", got, wanted);
	return got == wanted;
}

bool
tap_compare_strings(const char *got, const char *wanted, const char *file,
		    int line, const char *format, ...)
{
	bool same = got && wanted ? strcmp(got, wanted) == 0 : got == wanted;
	va_list arguments;

	va_start(arguments, format);
	result(same, file, line, format, arguments);
	va_end(arguments);
	if (!same) {
		tap_note("got    \"%s\"", got ? got : "(NULL)");
		tap_note("wanted \"%s\"", wanted ? wanted : "(NULL)");
	}
	return same;
}

void
tap_skip(unsigned tests, const char *why, ...)
{
	for (; tests > 0; tests--) {
		unsigned number = atomic_fetch_add(&done, 1) + 1;
		char before[40];
		va_list arguments;

		snprintf(before, sizeof before, "ok %u # SKIP ", number);
		va_start(arguments, why);
		put_line(before, why, arguments);
		va_end(arguments);
	}
}

void
tap_skip_all(const char *why, ...)
{
	va_list arguments;

	va_start(arguments, why);
	put_line("1..0 # SKIP ", why, arguments);
	va_end(arguments);
	exit(0);
}

void
tap_note(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	put_line("# ", format, arguments);
	va_end(arguments);
}

void
tap_bail_out(const char *why, ...)
{
	va_list arguments;

	va_start(arguments, why);
	put_line("Bail out! ", why, arguments);
	va_end(arguments);
	exit(99);
}

int
tap_done(void)
{
	unsigned ended = atomic_load(&done);
	unsigned wanted = atomic_load(&planned);

	if (wanted == 0)
		tap_plan(ended);
	else if (ended != wanted)
		tap_note("planned %u tests but %u ended", wanted, ended);
	if (atomic_load(&failed) > 0)
		tap_note("failed %u of %u", atomic_load(&failed), ended);
	return atomic_load(&failed) > 0 || (wanted && ended != wanted);
}
