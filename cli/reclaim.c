/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spillway reclaim: asks a process for memory.
 *
 * Calls client.c. The bytes that went are printed on standard output, alone,
 * also when it ends early; progress goes to a terminal on standard error.
 * SIGINT and SIGTERM half-close the connection, which cancels between two
 * slices and still gets the result; another one, AGAIN_NS later or more (as
 * timeout(1) and terminals may send two), ends the wait for it.
 * The timeout is the process's to keep; this side waits a little longer, for
 * a process that has been stopped.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/units.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/reply.h"

static const char help[] =
	"Usage: spillway reclaim [OPTION]... PID SIZE|max\n"
	"\n"
	"Asks a process to give back SIZE bytes (64M, 1.5G), or all it can.\n"
	"Prints the bytes that went.\n"
	"\n"
	"  -t, --timeout=TIME     end after TIME (250ms, 5s) with what it has\n"
	"  -o, --older-than=TIME  only what was not used for so long (5m)\n"
	"  -r, --rate=SIZE/s      no faster than that (10M/s)\n"
	"  -q, --quiet            no progress on a terminal\n"
	"  -h, --help             this text\n"
	"\n"
	"SIGINT ends it with what it has.\n"
	"\n"
	"Exit codes: 0 all that was asked for, 1 less, 2 usage, 3 no such\n"
	"process or not yours, 4 a process without spillway, 5 it died\n"
	"meanwhile, 124 the time was up.\n";

#define GRACE_NS (2 * CLOCK_S)
#define AGAIN_NS (300 * CLOCK_MS)

struct reclaim_options {
	struct spw_reclaim_options request;
	bool quiet;
	pid_t pid;
};

static volatile sig_atomic_t interrupted;

static void
on_signal(int number)
{
	(void)number;
	interrupted = interrupted + 1;
}

/* "10M/s"; the "/s" may be left out. */
static int
parse_rate(const char *text, uint64_t *rate)
{
	char size[64];
	size_t length = strlen(text);

	if (length > 2 && strcmp(text + length - 2, "/s") == 0)
		length -= 2;
	if (length >= sizeof size)
		return say_usage("--rate \"%s\" is not a size", text);
	memcpy(size, text, length);
	size[length] = '\0';
	return say_parse_bytes("--rate", size, rate);
}

static int
parse_arguments(int argc, char **argv, struct reclaim_options *o)
{
	if (argc - optind < 2)
		return say_usage(optind == argc ? "PID and SIZE are missing" :
						  "SIZE (or max) is missing");
	if (argc - optind > 2)
		return say_usage("\"%s\" is one argument too many",
				 argv[optind + 2]);
	if (say_parse_pid(argv[optind], &o->pid) != 0)
		return COMMAND_USAGE;
	if (strcmp(argv[optind + 1], "max") == 0) {
		o->request.target_bytes = UINT64_MAX;
		return 0;
	}
	return say_parse_bytes("SIZE", argv[optind + 1],
			       &o->request.target_bytes);
}

static int
parse_options(int argc, char **argv, struct reclaim_options *o)
{
	static const struct option names[] = {
		{ "timeout", required_argument, NULL, 't' },
		{ "older-than", required_argument, NULL, 'o' },
		{ "rate", required_argument, NULL, 'r' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct spw_reclaim_options *r = &o->request;
	int c, code = 0;

	opterr = 0;
	while (!code &&
	       (c = getopt_long(argc, argv, ":t:o:r:qh", names, NULL)) != -1) {
		switch (c) {
		case 't':
			code = say_parse_ns("--timeout", optarg,
					    &r->timeout_ns);
			break;
		case 'o':
			code = say_parse_ns("--older-than", optarg,
					    &r->older_than_ns);
			break;
		case 'r':
			code = parse_rate(optarg, &r->rate_bytes_per_s);
			break;
		case 'q':
			o->quiet = true;
			break;
		case 'h':
			exit(say_end(say_help()));
		default:
			code = say_bad_option(argc, argv, c);
		}
	}
	return code ? code : parse_arguments(argc, argv, o);
}

static int
send_request(struct client *client, const struct spw_reclaim_options *r)
{
	char request[256], target[32] = "max";

	if (r->target_bytes != UINT64_MAX)
		snprintf(target, sizeof target, "%" PRIu64, r->target_bytes);
	snprintf(request, sizeof request,
		 "reclaim target=%s timeout_ns=%" PRIu64
		 " older_than_ns=%" PRIu64 " rate=%" PRIu64,
		 target, r->timeout_ns, r->older_than_ns, r->rate_bytes_per_s);
	return client_send(client, request);
}

static void
show_progress(const struct reclaim_options *o, uint64_t bytes, bool last)
{
	char got[UNITS_BYTES], wanted[UNITS_BYTES];

	if (o->quiet || !isatty(2))
		return;
	units_format_bytes(got, bytes);
	if (o->request.target_bytes == UINT64_MAX)
		fprintf(stderr, "\r\033[K%s given back", got);
	else
		fprintf(stderr, "\r\033[K%s of %s given back", got,
			units_format_bytes(wanted, o->request.target_bytes));
	if (last)
		fputc('\n', stderr);
}

static int
end_code(const char *status, const struct client *client)
{
	if (strcmp(status, "done") == 0)
		return COMMAND_DONE;
	if (strcmp(status, "timeout") == 0)
		return COMMAND_TIMEOUT;
	if (strcmp(status, "less") != 0 && strcmp(status, "cancelled") != 0)
		say("process %s: %s", client_process_name(client->pid), status);
	return COMMAND_LESS;
}

/* Until the result, or what stands for it. */
static int
follow(struct client *client, const struct reclaim_options *o,
       uint64_t *reclaimed)
{
	uint64_t timeout = o->request.timeout_ns;
	uint64_t until = timeout ? clock_now_ns() + timeout + GRACE_NS :
				   UINT64_MAX;
	uint64_t cancelled_ns = 0;
	int seen = 0;
	char status[64];

	for (;;) {
		uint64_t now = clock_now_ns();
		int code;

		if (interrupted > seen && !cancelled_ns) {
			cancelled_ns = now;
			shutdown(client->fd, SHUT_WR);
			until = now + GRACE_NS;
		} else if (interrupted > seen &&
			   now - cancelled_ns >= AGAIN_NS) {
			return COMMAND_LESS;
		}
		seen = interrupted;
		if (now >= until) {
			say("process %s does not answer",
			    client_process_name(client->pid));
			return cancelled_ns ? COMMAND_LESS : COMMAND_TIMEOUT;
		}
		/* In steps, as a signal may come just before the wait. */
		code = client_receive(client, 100 * CLOCK_MS);
		if (code == -EAGAIN || code == -EINTR)
			continue;
		if (code)
			return code;
		if (reply_number(client->reply, "progress", reclaimed)) {
			show_progress(o, *reclaimed, false);
			continue;
		}
		if (!reply_number(client->reply, "reclaimed", reclaimed))
			continue;
		return end_code(reply_string(client->reply, "status", status,
					     sizeof status),
				client);
	}
}

static int
reclaim_main(int argc, char **argv)
{
	struct reclaim_options options = { 0 };
	struct sigaction action = { .sa_handler = on_signal };
	static struct client client;
	uint64_t reclaimed = 0;
	int code = parse_options(argc, argv, &options);

	if (!code)
		code = client_open(&client, options.pid);
	if (code)
		return code;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	code = send_request(&client, &options.request);
	if (!code)
		code = follow(&client, &options, &reclaimed);
	show_progress(&options, reclaimed, true);
	printf("%" PRIu64 "\n", reclaimed);
	client_close(&client);
	return code;
}

const struct command reclaim_command = {
	.name = "reclaim",
	.summary = "ask a process to give memory back",
	.help = help,
	.main = reclaim_main,
};
