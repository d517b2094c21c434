/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads the command line.
 *
 * Called by main.c. Every message names what was wrong and what would be
 * right; options of memcached's that make no sense here are named as such.
 */
#include "examples/cached/settings.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "examples/cached/store.h"

#define THREADS_MAX 256
#define CONNECTIONS_MAX 1000000

struct settings settings = {
	.addresses = "127.0.0.1",
	.port = "11211",
	.path_mode = 0700,
	.connections_max = 1024,
	.item_bytes_max = (size_t)1 << 20,
};

static const char help[] =
	"Usage: spillway-cached [OPTION]...\n"
	"\n"
	"A cache server that speaks memcached's text protocol and has no\n"
	"memory option: it keeps what fits into the memory that nobody else\n"
	"needs, and gives it back, the cold first, when somebody does.\n"
	"\n"
	"  -p, --port=PORT         TCP port (default 11211)\n"
	"  -l, --listen=ADDRESSES  names or addresses, separated by commas\n"
	"                          (default 127.0.0.1; there are no passwords:\n"
	"                          think before you say 0.0.0.0)\n"
	"  -s, --unix-socket=PATH  a unix socket instead of TCP\n"
	"  -a, --unix-mask=MODE    its mode, octal (default 700)\n"
	"  -t, --threads=N         threads (default: online processors)\n"
	"  -c, --conn-limit=N      connections at a time (default 1024)\n"
	"  -I, --max-item-size=N   of one item with its key; k, m and g count\n"
	"                          (default 1m; 1k to 1023m)\n"
	"  -v, --verbose           say what goes wrong with connections;\n"
	"                          -vv: and every command\n"
	"  -h, --help              this text\n"
	"  -V, --version           the version\n"
	"\n"
	"Commands: get gets gat gats set add replace append prepend cas delete\n"
	"incr decr touch flush_all stats version verbosity quit, and the meta\n"
	"commands mg ms md ma mn me.\n"
	"\n"
	"SIGTERM and SIGINT end it. SPILLWAY_CONF (see spillway(7)) is for the\n"
	"library: limit:400M is a limit from outside, log:info says why memory\n"
	"goes.\n"
	"\n"
	"Exit status: 0 it was ended by a signal, 1 it could not start, 2 the\n"
	"command line is wrong.\n";

void
settings_print_help(void)
{
	fputs(help, stdout);
}

static bool
complain(const char *problem, const char *value)
{
	fprintf(stderr,
		"spillway-cached: \"%s\" %s\n"
		"spillway-cached: --help lists the options\n",
		value, problem);
	return false;
}

static bool
read_number(const char *text, unsigned long least, unsigned long most,
	    unsigned *number)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (!*text || *end || strchr(text, '-') || n < least || n > most)
		return false;
	*number = (unsigned)n;
	return true;
}

static bool
read_size(const char *text)
{
	static const char units[] = "kmg";
	char *end;
	unsigned long n = strtoul(text, &end, 10), most = 1023ul << 20;
	unsigned shift = 0;

	if (*end) {
		const char *unit = strchr(units, *end | 0x20);

		if (!unit || end[1])
			n = 0;
		else
			shift = 10 * (unsigned)(unit - units + 1);
	}
	if (strchr(text, '-') || n > most >> shift || n << shift < 1024)
		return complain("for --max-item-size is no size from 1k to "
				"1023m",
				text);
	settings.item_bytes_max = n << shift;
	return true;
}

static bool
read_option(int letter, const char *value)
{
	unsigned port;
	char *end;

	switch (letter) {
	case 'p':
		settings.port = value;
		return read_number(value, 1, 65535, &port) ||
		       complain("for --port is no number from 1 to 65535",
				value);
	case 'l':
		settings.addresses = value;
		return true;
	case 's':
		settings.path = value;
		return (*value &&
			strlen(value) <
				sizeof((struct sockaddr_un *)0)->sun_path) ||
		       complain("for --unix-socket is empty or longer than "
				"107 bytes",
				value);
	case 'a':
		settings.path_mode = (unsigned)strtoul(value, &end, 8);
		return (*value && !*end && settings.path_mode <= 0777) ||
		       complain("for --unix-mask is no octal mode up to 777",
				value);
	case 't':
		return read_number(value, 1, THREADS_MAX, &settings.threads) ||
		       complain("for --threads is no number from 1 to 256",
				value);
	case 'c':
		return read_number(value, 1, CONNECTIONS_MAX,
				   &settings.connections_max) ||
		       complain("for --conn-limit is no number from 1 to "
				"1000000",
				value);
	case 'I':
		return read_size(value);
	case 'v':
		settings.verbose++;
		return true;
	case 'h':
		settings.say_help = true;
		return true;
	case 'V':
		settings.say_version = true;
		return true;
	case 'm':
		fputs("spillway-cached: there is no -m: it takes the memory "
		      "that nobody needs;\n"
		      "spillway-cached: SPILLWAY_CONF=limit:SIZE sets a limit "
		      "from outside\n",
		      stderr);
		return false;
	default: /* getopt_long(3) has said it */
		fputs("spillway-cached: --help lists the options\n", stderr);
		return false;
	}
}

bool
settings_read(int argc, char **argv)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' },
		{ "listen", required_argument, NULL, 'l' },
		{ "unix-socket", required_argument, NULL, 's' },
		{ "unix-mask", required_argument, NULL, 'a' },
		{ "threads", required_argument, NULL, 't' },
		{ "conn-limit", required_argument, NULL, 'c' },
		{ "max-item-size", required_argument, NULL, 'I' },
		{ "memory-limit", required_argument, NULL, 'm' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	int letter;

	settings.threads = online < 1           ? 1 :
			   online > THREADS_MAX ? THREADS_MAX :
						  (unsigned)online;
	while ((letter = getopt_long(argc, argv, "p:l:s:a:t:c:I:m:vhV", options,
				     NULL)) != -1)
		if (!read_option(letter, optarg))
			return false;
	if (optind < argc)
		return complain("is no option", argv[optind]);
	return true;
}
