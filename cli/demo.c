/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spillway demo: the same cache-hungry program twice under the same limit,
 * first without and then with spillway.
 *
 * Calls act.c for each run, bars.c for the table. The program is the helper
 * spillway-demo-hog (hog.c), a process of its own, because this one holds
 * spillway's core and would answer for osv_register_shrinker itself.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/settings.h"
#include "base/units.h"
#include "cli/act.h"
#include "cli/command.h"
#include "cli/group.h"
#include "cli/place.h"
#include "pressure/json.h"

static const char help[] =
	"Usage: spillway demo [OPTION]...\n"
	"\n"
	"Runs a program with an unlimited cache beside a neighbour that grows,\n"
	"in a small memory cgroup: first without, then with spillway.\n"
	"\n"
	"  -l, --limit=SIZE  of the cgroup (256M; at least 64M)\n"
	"  -s, --seconds=N   for each run at most (18; 6 to 600)\n"
	"      --no-cgroup   do without a cgroup: limit: and RLIMIT_DATA\n"
	"  -j, --json        no bars, one line of JSON at the end\n"
	"  -h, --help        this text\n"
	"\n"
	"Without permission to make a memory cgroup it does without, and says\n"
	"so. NO_COLOR is heeded.\n"
	"\n"
	"Exit codes: 0 the program survived with spillway, 1 it did not or\n"
	"could not be run, 2 usage, 130 or 143 interrupted.\n";

#define LIMIT_BYTES (256ull << 20)
#define LIMIT_BYTES_MIN (64ull << 20)
#define SECONDS 18
#define SECONDS_MIN 6
#define SECONDS_MAX 600

struct demo_options {
	struct act_setting setting;
	bool no_cgroup;
	bool json;
};

static int
parse_seconds(const char *text, uint64_t *seconds)
{
	if (units_parse_number(text, strlen(text), seconds) != 0 ||
	    *seconds < SECONDS_MIN || *seconds > SECONDS_MAX)
		return say_usage("--seconds \"%s\" is not a number from %d "
				 "to %d",
				 text, SECONDS_MIN, SECONDS_MAX);
	return 0;
}

static int
parse_limit(const char *text, uint64_t *bytes)
{
	if (say_parse_bytes("--limit", text, bytes) != 0)
		return COMMAND_USAGE;
	if (*bytes < LIMIT_BYTES_MIN)
		return say_usage("--limit \"%s\" is less than 64M", text);
	return 0;
}

static int
parse_options(int argc, char **argv, struct demo_options *o)
{
	static const struct option names[] = {
		{ "limit", required_argument, NULL, 'l' },
		{ "seconds", required_argument, NULL, 's' },
		{ "no-cgroup", no_argument, NULL, 'n' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c, code = 0;

	opterr = 0;
	while (!code &&
	       (c = getopt_long(argc, argv, ":l:s:jh", names, NULL)) != -1) {
		switch (c) {
		case 'l':
			code = parse_limit(optarg, &o->setting.limit_bytes);
			break;
		case 's':
			code = parse_seconds(optarg, &o->setting.seconds);
			break;
		case 'n':
			o->no_cgroup = true;
			break;
		case 'j':
			o->json = true;
			break;
		case 'h':
			exit(say_end(say_help()));
		default:
			code = say_bad_option(argc, argv, c);
		}
	}
	if (!code && optind < argc)
		code = say_usage("\"%s\" is one argument too many",
				 argv[optind]);
	return code;
}

static int
find_companions(struct act_setting *s)
{
	if (place_find(PLACE_HOG, place_helper_folders, s->hog) != 0) {
		say(PLACE_HOG " is not there: neither beside this program nor "
			      "where it is installed");
		return COMMAND_LESS;
	}
	if (place_find(PLACE_LIBRARY, place_library_folders, s->library) != 0) {
		say(PLACE_LIBRARY " is not there: neither beside this program "
				  "nor where it is installed");
		return COMMAND_LESS;
	}
	return 0;
}

/* Whether a group can be had; removes it again. */
static void
choose_setting(struct demo_options *o)
{
	struct act_setting *s = &o->setting;
	static struct group group;
	char limit[UNITS_BYTES];

	s->shown = !o->json;
	units_format_bytes(limit, s->limit_bytes);
	if (!o->no_cgroup && group_create(&group, s->limit_bytes) == 0) {
		s->grouped = true;
		if (s->shown)
			printf("A program with an unlimited cache and a "
			       "neighbour share %s:\n%s (cgroup v%d, no "
			       "swap).\n",
			       limit, group.path, group.v2 ? 2 : 1);
		group_remove(&group);
	} else if (s->shown) {
		printf("%s%sA program with an unlimited cache alone, %s: "
		       "without spillway by\nRLIMIT_DATA, with spillway by "
		       "limit:. No neighbour: it would not share the limit.\n",
		       group.why, group.why[0] ? ".\n" : "", limit);
	}
}

static void
write_result(struct json *j, const char *key, const struct bars_result *r)
{
	json_open(j, key, '{');
	json_bool(j, "survived", r->survived);
	json_string(j, "ended", r->ended);
	json_number(j, "ended_ns", r->ended_ns);
	json_number(j, "lookups", r->lookups);
	json_number(j, "hits", r->hits);
	json_thousandths(j, "hit_rate", r->hits_thousandths);
	json_thousandths(j, "hit_rate_last_second", r->hits_last_thousandths);
	json_number(j, "peak_bytes", r->peak_bytes);
	json_number(j, "cache_bytes", r->cache_bytes);
	json_limit(j, "cache_bytes_min", r->cache_bytes_min);
	json_number(j, "neighbour_bytes", r->neighbour_bytes);
	json_number(j, "given_bytes", r->given_bytes);
	json_limit(j, "returned_bytes", r->returned_bytes);
	json_number(j, "stall_ns_max", r->stall_ns_max);
	json_close(j, '}');
}

static void
print_json(const struct act_setting *s, const struct bars_result *without,
	   const struct bars_result *with)
{
	char text[4096];
	struct json j;

	json_begin(&j, text, sizeof text);
	json_open(&j, NULL, '{');
	json_number(&j, "limit_bytes", s->limit_bytes);
	json_number(&j, "seconds", s->seconds);
	json_bool(&j, "cgroup", s->grouped);
	write_result(&j, "without", without);
	write_result(&j, "with", with);
	json_close(&j, '}');
	puts(text);
}

static int
demo_main(int argc, char **argv)
{
	static struct demo_options options;
	struct bars_result without = { 0 }, with = { 0 };
	struct act_setting *s = &options.setting;
	int code;

	s->limit_bytes = LIMIT_BYTES;
	s->seconds = SECONDS;
	code = parse_options(argc, argv, &options);
	if (!code)
		code = find_companions(s);
	if (code)
		return code;
	act_signals();
	settings_load();
	choose_setting(&options);
	code = act_play(s, false, &without);
	if (!code && !act_interrupted())
		code = act_play(s, true, &with);
	if (act_interrupted()) {
		say("interrupted");
		return 128 + act_interrupted();
	}
	if (code)
		return code;
	if (options.json)
		print_json(s, &without, &with);
	else
		bars_table(&without, &with);
	return with.survived ? COMMAND_DONE : COMMAND_LESS;
}

const struct command demo_command = {
	.name = "demo",
	.summary = "watch a program survive that would be killed without",
	.help = help,
	.main = demo_main,
};
