/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spillway stat: what a process with spillway knows and has done.
 *
 * Calls client.c for the answer, show.c for the text. --json prints the
 * process's own words.
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/reply.h"
#include "cli/show.h"

static const char help[] =
	"Usage: spillway stat [OPTION]... PID\n"
	"\n"
	"Prints a process's heap, the pressure it feels, what it has given\n"
	"back, its shrinkers and its sources.\n"
	"\n"
	"  -j, --json        one line of JSON, bytes and nanoseconds\n"
	"  -w, --watch=TIME  again every TIME (at least 10ms) until the\n"
	"                    process ends\n"
	"  -h, --help        this text\n"
	"\n"
	"Exit codes: 0 done, 2 usage, 3 no such process or not yours, 4 a\n"
	"process without spillway, 5 it died meanwhile, 124 no answer.\n";

#define WATCH_NS_MIN (10 * CLOCK_MS)

struct stat_options {
	bool json;
	uint64_t watch_ns;
	pid_t pid;
};

static int
parse_options(int argc, char **argv, struct stat_options *o)
{
	static const struct option names[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "watch", required_argument, NULL, 'w' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":jw:h", names, NULL)) != -1) {
		switch (c) {
		case 'j':
			o->json = true;
			break;
		case 'w':
			if (say_parse_ns("--watch", optarg, &o->watch_ns) != 0)
				return COMMAND_USAGE;
			if (o->watch_ns < WATCH_NS_MIN)
				return say_usage("--watch \"%s\" is less than "
						 "10ms",
						 optarg);
			break;
		case 'h':
			exit(say_end(say_help()));
		default:
			return say_bad_option(argc, argv, c);
		}
	}
	if (optind == argc)
		return say_usage("a PID is missing");
	if (optind + 1 < argc)
		return say_usage("\"%s\" is one argument too many",
				 argv[optind + 1]);
	return say_parse_pid(argv[optind], &o->pid);
}

static void
print_heap(const char *reply)
{
	char heap[64];

	reply_string(reply, "heap", heap, sizeof heap);
	if (!heap[0])
		show_line("heap", "the program's own malloc");
	else if (show_number(reply, "mapped_bytes") == UINT64_MAX)
		show_line("heap", "%s", heap);
	else
		show_line("heap", "%s: mapped %s, committed %s, in use %s",
			  heap, show_bytes(show_number(reply, "mapped_bytes")),
			  show_bytes(show_number(reply, "committed_bytes")),
			  show_bytes(show_number(reply, "active_bytes")));
	show_line("resident", "%s; could be given back %s",
		  show_bytes(show_number(reply, "resident_bytes")),
		  show_bytes(show_number(reply, "reclaimable_bytes")));
}

static unsigned long long
counter(const char *counters, const char *name)
{
	uint64_t number = show_number(counters, name);

	return number == UINT64_MAX ? 0 : (unsigned long long)number;
}

static void
print_counters(const char *c)
{
	if (!c)
		return;
	show_line("given back",
		  "%s in %llu passes (%llu gave nothing), last %s; %s by "
		  "madvise",
		  show_bytes(counter(c, "reclaimed_bytes")),
		  counter(c, "passes"), counter(c, "passes_futile"),
		  show_bytes(counter(c, "last_reclaimed_bytes")),
		  show_bytes(counter(c, "returned_bytes")));
	show_line("events", "%llu, slowest first byte after %s; %llu wake-ups",
		  counter(c, "events"), show_ns(counter(c, "response_ns_max")),
		  counter(c, "wakeups"));
	show_line("gate", "%llu waits, %s in all, longest %s",
		  counter(c, "gate_waits"), show_ns(counter(c, "gate_wait_ns")),
		  show_ns(counter(c, "gate_wait_ns_max")));
	if (counter(c, "quarantined"))
		show_line("quarantined", "%llu shrinkers that did not return",
			  counter(c, "quarantined"));
}

static void
print_shrinkers(const char *reply)
{
	const char *s = reply_first(reply_find(reply, "shrinkers"));
	uint64_t more = counter(reply, "shrinkers_not_shown");

	if (!s)
		return;
	printf("shrinkers\n  %-24s %-8s %12s %9s %10s %12s\n", "NAME", "TIER",
	       "GAVE", "CALLS", "LONGEST", "A MS");
	for (; s; s = reply_next(s)) {
		char name[64], tier[16];
		bool quarantined = false;

		reply_bool(s, "quarantined", &quarantined);
		printf("  %-24s %-8s %12s %9llu %10s %12s%s\n",
		       reply_string(s, "name", name, sizeof name),
		       reply_string(s, "tier", tier, sizeof tier),
		       show_bytes(counter(s, "reclaimed_bytes")),
		       counter(s, "calls"), show_ns(counter(s, "ns_max")),
		       show_bytes(counter(s, "yield_bytes_per_ms")),
		       quarantined ? "  QUARANTINED" : "");
	}
	if (more)
		printf("  and %llu more\n", (unsigned long long)more);
}

static void
print_collectors(const char *reply)
{
	const char *s = reply_first(reply_find(reply, "collectors"));

	if (!s)
		return;
	printf("collectors\n  %-10s %-10s %11s %6s %11s %11s %10s %10s\n",
	       "NAME", "STATE", "HEAP", "CALLS", "GAVE", "LAST GAVE", "LONGEST",
	       "AGO");
	for (; s; s = reply_next(s)) {
		char name[64], state[16];
		uint64_t ago = show_number(s, "ended_ns_ago");

		printf("  %-10s %-10s %11s %6llu %11s %11s %10s %10s\n",
		       reply_string(s, "name", name, sizeof name),
		       reply_string(s, "state", state, sizeof state),
		       show_bytes(counter(s, "heap_bytes")),
		       counter(s, "collections"),
		       show_bytes(counter(s, "gained_bytes")),
		       show_bytes(counter(s, "last_gain_bytes")),
		       show_ns(counter(s, "ns_max")),
		       ago == UINT64_MAX ? "never" : show_ns(ago));
	}
}

static void
print_text(const struct client *client)
{
	const char *reply = client->reply;
	char version[32];

	show_line("process", "%s, spillway %s",
		  client_process_name(client->pid),
		  reply_string(reply, "version", version, sizeof version));
	print_heap(reply);
	show_pressure(reply);
	print_counters(reply_find(reply, "counters"));
	print_shrinkers(reply);
	print_collectors(reply);
	show_sources(reply);
}

static void
pause_ns(uint64_t ns)
{
	struct timespec time = { .tv_sec = (time_t)(ns / CLOCK_S),
				 .tv_nsec = (long)(ns % CLOCK_S) };

	nanosleep(&time, NULL);
}

static int
stat_main(int argc, char **argv)
{
	struct stat_options options = { 0 };
	static struct client client;
	bool clear;
	int code = parse_options(argc, argv, &options);

	if (!code)
		code = client_open(&client, options.pid);
	if (code)
		return code;
	clear = options.watch_ns && !options.json && isatty(1);
	for (;;) {
		code = client_ask(&client, "stat");
		if (code)
			break;
		if (clear)
			fputs("\033[H\033[2J", stdout);
		if (options.json)
			puts(client.reply);
		else
			print_text(&client);
		if (!options.watch_ns || fflush(stdout) != 0)
			break;
		pause_ns(options.watch_ns);
		if (!options.json && !clear)
			putchar('\n');
	}
	client_close(&client);
	return code;
}

const struct command stat_command = {
	.name = "stat",
	.summary = "what a process with spillway knows and has done",
	.help = help,
	.main = stat_main,
};
