/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spillway pressure: what the memory around this shell looks like, through
 * the very code that senses it inside a process.
 *
 * Calls limits_*(), level_update() and sources_*() of pressure/ in this
 * process, which stands in the shell's cgroup; with a PID asks that process.
 * One reading knows no growth, so the watermarks are the least they can be.
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/settings.h"
#include "base/units.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/show.h"
#include "pressure/describe.h"
#include "pressure/json.h"
#include "pressure/level.h"
#include "pressure/limits.h"
#include "pressure/sources.h"

static const char help[] =
	"Usage: spillway pressure [OPTION]... [PID]\n"
	"\n"
	"Prints the memory limits over this shell, how near they are, and\n"
	"which sources of pressure work here and why the others do not.\n"
	"With a PID: what that process feels.\n"
	"\n"
	"  -j, --json   one line of JSON\n"
	"  -h, --help   this text\n"
	"\n"
	"Settings are read from $SPILLWAY_CONF, as a program would.\n"
	"\n"
	"Exit codes: 0 done, 2 usage; with a PID also 3 no such process or\n"
	"not yours, 4 a process without spillway, 5 it died meanwhile.\n";

struct pressure_options {
	bool json;
	pid_t pid; /* 0: here */
};

static int
parse_options(int argc, char **argv, struct pressure_options *o)
{
	static const struct option names[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":jh", names, NULL)) != -1) {
		switch (c) {
		case 'j':
			o->json = true;
			break;
		case 'h':
			exit(say_end(say_help()));
		default:
			return say_bad_option(argc, argv, c);
		}
	}
	if (optind + 1 < argc)
		return say_usage("\"%s\" is one argument too many",
				 argv[optind + 1]);
	return optind < argc ? say_parse_pid(argv[optind], &o->pid) : 0;
}

/* What is charged to a group now; UINT64_MAX where it cannot be read. */
static uint64_t
group_usage(const struct limits *limits, const struct limits_group *group)
{
	char path[LIMITS_PATH_BYTES + 32], text[64];
	uint64_t bytes;

	snprintf(path, sizeof path, "%s/%s", group->path,
		 limits->v2 ? "memory.current" : "memory.usage_in_bytes");
	if (file_read(path, text, sizeof text) <= 0 ||
	    units_parse_number(text, strspn(text, "0123456789"), &bytes) != 0)
		return UINT64_MAX;
	return bytes;
}

static void
write_groups(struct json *j, const struct limits *limits)
{
	json_string(j, "cgroup_version",
		    limits->groups_count ? limits->v2 ? "2" : "1" : NULL);
	json_bool(j, "ancestors_hidden", limits->hidden);
	json_open(j, "groups", '[');
	for (unsigned i = 0; i < limits->groups_count; i++) {
		const struct limits_group *group = &limits->groups[i];

		json_open(j, NULL, '{');
		json_string(j, "path", group->path);
		json_limit(j, "max_bytes", group->max_bytes);
		json_limit(j, "high_bytes", group->high_bytes);
		json_limit(j, "usage_bytes", group_usage(limits, group));
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void
print_groups(const struct limits *limits)
{
	if (limits->why[0])
		show_line("cgroup", "%s", limits->why);
	if (limits->hidden)
		show_line("cgroup", "a cgroup namespace hides what is above");
	if (!limits->groups_count)
		return;
	printf("limits       of cgroup v%d, own group first\n",
	       limits->v2 ? 2 : 1);
	for (unsigned i = 0; i < limits->groups_count; i++) {
		const struct limits_group *group = &limits->groups[i];
		uint64_t used = group_usage(limits, group);

		printf("  %-12s used %-12s", show_bytes(group->max_bytes),
		       used == UINT64_MAX ? "?" : show_bytes(used));
		if (group->high_bytes != UINT64_MAX)
			printf(" high %s", show_bytes(group->high_bytes));
		printf(" %s\n", group->path);
	}
}

/* 0 or an exit code; fills text with the JSON of what is sensed here. */
static int
sense_here(struct limits *limits, char *text, size_t bytes)
{
	struct level level = { 0 };
	struct level_input in = { 0 };
	struct level_output out;
	struct sources *sources;
	struct json j;

	settings_load();
	limits_open(limits, false); /* limits->why says what is missing */
	limits_read(limits, UINT64_MAX, &in.reading);
	in.now_ns = clock_now_ns();
	memset(&out, 0, sizeof out);
	level_update(&level, &in, &out);
	sources = sources_open(limits);
	json_begin(&j, text, bytes);
	json_open(&j, NULL, '{');
	describe_pressure(&j, &out, &in.reading);
	write_groups(&j, limits);
	describe_sources(&j);
	json_close(&j, '}');
	sources_close(sources);
	if (json_end(&j) > 0)
		return 0;
	say("the answer does not fit into %zu bytes", bytes);
	return COMMAND_LESS;
}

static int
pressure_main(int argc, char **argv)
{
	struct pressure_options options = { 0 };
	static struct client client;
	static struct limits limits;
	static char text[64 << 10];
	const char *reply = text;
	int code = parse_options(argc, argv, &options);

	if (code)
		return code;
	if (options.pid) {
		code = client_open(&client, options.pid);
		if (!code)
			code = client_ask(&client, "pressure");
		reply = client.reply;
	} else {
		code = sense_here(&limits, text, sizeof text);
	}
	if (code)
		return code;
	if (options.json) {
		puts(reply);
		return COMMAND_DONE;
	}
	show_pressure(reply);
	if (!options.pid) {
		print_groups(&limits);
		limits_close(&limits);
	}
	show_sources(reply);
	return COMMAND_DONE;
}

const struct command pressure_command = {
	.name = "pressure",
	.summary = "the limits over this shell, and what can be sensed here",
	.help = help,
	.main = pressure_main,
};
