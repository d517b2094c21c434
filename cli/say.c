/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How commands speak: messages, help, and what is wrong with an argument.
 *
 * Called by every command; calls base/units.c. Messages name the command and
 * the offending word, in quotes.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "cli/command.h"

static const struct command *current;

void
say_begin(const struct command *command)
{
	current = command;
}

static void
say_words(const char *format, va_list arguments)
{
	fflush(stdout);
	fprintf(stderr, "spillway%s%s: ", current ? " " : "",
		current ? current->name : "");
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
}

void
say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say_words(format, arguments);
	va_end(arguments);
}

int
say_usage(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say_words(format, arguments);
	va_end(arguments);
	fprintf(stderr, "Try 'spillway%s%s --help'.\n", current ? " " : "",
		current ? current->name : "");
	return COMMAND_USAGE;
}

int
say_bad_option(int argc, char *const *argv, int returned)
{
	const char *word = optind > 0 && optind <= argc ? argv[optind - 1] : "";

	if (returned == ':')
		return say_usage("%s needs a value", word);
	if (optopt && strncmp(word, "--", 2) != 0)
		return say_usage("unknown option -%c", optopt);
	if (optopt)
		return say_usage("%s takes no value", word);
	return say_usage("unknown option %s", word);
}

int
say_help(void)
{
	fputs(current->help, stdout);
	return COMMAND_DONE;
}

int
say_end(int code)
{
	if (fflush(stdout) != 0 || ferror(stdout)) {
		say("cannot write the output: %s", strerror(errno));
		return code ? code : COMMAND_LESS;
	}
	return code;
}

int
say_parse_pid(const char *text, pid_t *pid)
{
	uint64_t number;

	if (units_parse_number(text, strlen(text), &number) != 0 ||
	    number == 0 || number > INT_MAX)
		return say_usage("\"%s\" is not a PID", text);
	*pid = (pid_t)number;
	return 0;
}

int
say_parse_bytes(const char *what, const char *text, uint64_t *bytes)
{
	char reason[UNITS_REASON_BYTES];

	if (units_parse_bytes(text, strlen(text), bytes) != 0)
		return say_usage("%s \"%s\": %s", what, text,
				 units_explain(reason, UNITS_BYTES_KIND, text,
					       strlen(text)));
	if (!*bytes)
		return say_usage("%s \"%s\" must be more than nothing", what,
				 text);
	return 0;
}

int
say_parse_ns(const char *what, const char *text, uint64_t *ns)
{
	char reason[UNITS_REASON_BYTES];

	if (units_parse_ns(text, strlen(text), ns) != 0)
		return say_usage("%s \"%s\": %s", what, text,
				 units_explain(reason, UNITS_NS_KIND, text,
					       strlen(text)));
	if (!*ns)
		return say_usage("%s \"%s\" must be more than nothing", what,
				 text);
	return 0;
}
