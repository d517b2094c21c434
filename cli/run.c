/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spillway run: starts a program under libspillway-malloc.so.
 *
 * Looks first at what the program is (target.c) and says where a preload
 * cannot reach it; then exec(2)s, so that exit code, signals and PID are the
 * program's own. A program that cannot be preloaded runs all the same; the
 * library stays in the environment for programs that it starts, unless it
 * would do harm there (another machine, another C library).
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/settings.h"
#include "cli/command.h"
#include "cli/place.h"
#include "cli/target.h"

static const char help[] =
	"Usage: spillway run [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
	"\n"
	"Runs PROGRAM with spillway in place of its malloc.\n"
	"\n"
	"  -c, --conf=SETTINGS  added to $SPILLWAY_CONF; see spillway(7)\n"
	"  -l, --limit=SIZE     the same as --conf=limit:SIZE\n"
	"      --gc=NAMES       which collectors in PROGRAM are asked for\n"
	"                       memory: off, auto, or boehm,cpython,...\n"
	"      --library=FILE   this libspillway-malloc.so\n"
	"      --check          only say whether it will work for PROGRAM:\n"
	"                       exit code 0, or 1 with the reason\n"
	"  -q, --quiet          do not say when the preload cannot work\n"
	"  -h, --help           this text\n"
	"\n"
	"A program that a preload cannot reach (static, setuid, another C\n"
	"library, another machine) is run plain, and that is said.\n"
	"\n"
	"Exit codes: the program's; 125 a mistake in the options of run, 126\n"
	"PROGRAM cannot be executed, 127 it is not there.\n";

static void
print_settings(void)
{
	const struct settings_key *key;

	printf("\nSettings, KEY:VALUE with commas between:\n");
	for (unsigned i = 0; (key = settings_key(i)) != NULL; i++)
		printf("  %-9s %s [%s]\n            %s\n", key->name,
		       key->values, key->start_value, key->help);
}

struct run_options {
	const char *conf;
	const char *limit;
	const char *gc;
	const char *library;
	bool check;
	bool quiet;
};

static int
parse_options(int argc, char **argv, struct run_options *o)
{
	static const struct option names[] = {
		{ "conf", required_argument, NULL, 'c' },
		{ "limit", required_argument, NULL, 'l' },
		{ "gc", required_argument, NULL, 'g' },
		{ "library", required_argument, NULL, 'L' },
		{ "check", no_argument, NULL, 'C' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:c:l:qh", names, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->conf = optarg;
			break;
		case 'l':
			o->limit = optarg;
			break;
		case 'g':
			o->gc = optarg;
			break;
		case 'L':
			o->library = optarg;
			break;
		case 'C':
			o->check = true;
			break;
		case 'q':
			o->quiet = true;
			break;
		case 'h':
			say_help();
			print_settings();
			exit(say_end(COMMAND_DONE));
		default:
			return say_bad_option(argc, argv, c);
		}
	}
	return 0;
}

/* Settings are tried here, so that a slip is named before the program runs. */
static int
check_settings(const char *option, const char *text)
{
	static struct settings scratch;
	char bad[SETTINGS_BAD_BYTES] = "";

	scratch = *settings();
	if (settings_parse(&scratch, text, false, bad) == 0)
		return 0;
	return say_usage("%s: %s", option, bad);
}

/* Adds to a variable; 0 or -ENOMEM. */
static int
append_variable(const char *name, const char *separator, const char *value)
{
	const char *old = getenv(name);
	char *joined;
	int error;

	if (!old || !*old)
		return setenv(name, value, 1) == 0 ? 0 : -ENOMEM;
	if (asprintf(&joined, "%s%s%s", old, separator, value) < 0)
		return -ENOMEM;
	error = setenv(name, joined, 1) == 0 ? 0 : -ENOMEM;
	free(joined);
	return error;
}

/* --gc=a,b is the setting gc:a+b. */
static int
set_gc(const char *names)
{
	char text[128];
	int n = snprintf(text, sizeof text, "gc:%s", names);

	if (n < 0 || (size_t)n >= sizeof text)
		return say_usage("--gc: too many names");
	for (char *at = text; *at; at++)
		if (*at == ',')
			*at = '+';
	n = check_settings("--gc", text);
	if (!n && append_variable("SPILLWAY_CONF", ",", text))
		n = say_usage("--gc: out of memory");
	return n;
}

static int
set_settings(const struct run_options *o)
{
	char limit[128];
	const char *old = getenv("SPILLWAY_CONF");
	int code = 0;

	/* What is added to something wrong would be ignored with it. */
	if (old && (o->conf || o->limit || o->gc))
		code = check_settings("SPILLWAY_CONF", old);
	if (!code && o->conf) {
		code = check_settings("--conf", o->conf);
		if (!code && append_variable("SPILLWAY_CONF", ",", o->conf))
			code = say_usage("--conf: out of memory");
	}
	if (!code && o->limit) {
		uint64_t bytes;

		code = say_parse_bytes("--limit", o->limit, &bytes);
		snprintf(limit, sizeof limit, "limit:%llu",
			 (unsigned long long)bytes);
		if (!code && append_variable("SPILLWAY_CONF", ",", limit))
			code = say_usage("--limit: out of memory");
	}
	if (!code && o->gc)
		code = set_gc(o->gc);
	return code ? COMMAND_RUN_FAILED : 0;
}

static int
find_library(const char *wanted, char path[PATH_MAX])
{
	if (wanted) {
		if (realpath(wanted, path) && access(path, R_OK) == 0)
			return 0;
		say("--library \"%s\": %s", wanted, strerror(errno));
		return COMMAND_RUN_FAILED;
	}
	if (place_find(PLACE_LIBRARY, place_library_folders, path) != 0) {
		say("there is no " PLACE_LIBRARY " beside this program or "
		    "where it is installed; name it with --library");
		return COMMAND_RUN_FAILED;
	}
	return 0;
}

/* Whose malloc wins where several are preloaded: the first one's. */
static void
warn_of_rival(const char *preload)
{
	static const char *const rivals[] = { "jemalloc", "tcmalloc",
					      "mimalloc", "snmalloc",
					      "libmesh",  "libhoard" };

	for (size_t i = 0; i < sizeof rivals / sizeof rivals[0]; i++)
		if (strstr(preload, rivals[i]))
			say("LD_PRELOAD already holds %s, which comes first: "
			    "its malloc is used",
			    rivals[i]);
}

static int
set_preload(const char *library)
{
	const char *there = getenv("LD_PRELOAD");

	/* The loader splits at both, and knows no escape. */
	if (strpbrk(library, " :")) {
		say("LD_PRELOAD cannot hold a path with a blank or a colon: "
		    "\"%s\"",
		    library);
		return COMMAND_RUN_FAILED;
	}
	if (there && strstr(there, PLACE_LIBRARY))
		return 0;
	if (there)
		warn_of_rival(there);
	if (append_variable("LD_PRELOAD", ":", library) != 0) {
		say("out of memory");
		return COMMAND_RUN_FAILED;
	}
	return 0;
}

static int
cannot_find(const char *command, const char *path, int error)
{
	switch (error) {
	case -ENOENT:
	case -ENOTDIR:
		say("\"%s\" is not there%s", command,
		    strchr(command, '/') ? "" : " (in no folder of $PATH)");
		return COMMAND_NOT_FOUND;
	case -EISDIR:
		say("\"%s\" is a folder", path);
		return COMMAND_NOT_RUNNABLE;
	case -EACCES:
		say("\"%s\" may not be executed", path);
		return COMMAND_NOT_RUNNABLE;
	default:
		say("\"%s\": %s", path, strerror(-error));
		return COMMAND_NOT_RUNNABLE;
	}
}

static void
say_why(const char *path, const struct target *t, const char *then)
{
	if (strcmp(path, t->path) == 0)
		say("\"%s\": %s%s", path, t->why, then);
	else
		say("\"%s\" is run by \"%s\": %s%s", path, t->path, t->why,
		    then);
}

static int
check_only(const char *path, const struct target *t, int error)
{
	if (error == -ENOENT) {
		say_why(path, t, "");
		return COMMAND_NOT_FOUND;
	}
	if (error)
		say("\"%s\" cannot be looked into (%s)", t->path,
		    strerror(-error));
	else if (t->why[0])
		say_why(path, t, "");
	if (t->preload_works)
		printf("%s: spillway works here\n", path);
	else
		printf("%s: would be run plain\n", path);
	return t->preload_works ? COMMAND_DONE : COMMAND_LESS;
}

static int
run_main(int argc, char **argv)
{
	struct run_options options = { 0 };
	static struct target target;
	char path[PATH_MAX], library[PATH_MAX];
	int error, code;

	if (parse_options(argc, argv, &options) != 0)
		return COMMAND_RUN_FAILED;
	if (optind >= argc) {
		say_usage("the program to run is missing");
		return COMMAND_RUN_FAILED;
	}
	code = set_settings(&options);
	if (code)
		return code;
	error = target_find(argv[optind], path);
	if (error)
		return cannot_find(argv[optind], path, error);
	error = target_inspect(path, &target);
	if (options.check)
		return check_only(path, &target, error);
	if (error == -ENOENT) {
		say_why(path, &target, "");
		return COMMAND_NOT_FOUND;
	}
	if (!options.quiet && target.why[0])
		say_why(path, &target,
			target.preload_works ? "" : "; running it plain");
	if (!target.preload_harmful) {
		code = find_library(options.library, library);
		if (!code)
			code = set_preload(library);
		if (code)
			return code;
	}
	execvp(path, argv + optind);
	error = -errno;
	say("\"%s\": %s", path, strerror(-error));
	return error == -ENOENT ? COMMAND_NOT_FOUND : COMMAND_NOT_RUNNABLE;
}

const struct command run_command = {
	.name = "run",
	.summary = "run a program with spillway in place of its malloc",
	.help = help,
	.main = run_main,
};
