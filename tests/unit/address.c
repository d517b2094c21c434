/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pressure/address.c: where a control socket is.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pressure/address.h"
#include "tests/tap.h"

static void
start_times(void)
{
	static const char fields[] =
		" S 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 "
		"21 4711 23 24\n";
	char text[256];
	uint64_t ticks = 0;

	snprintf(text, sizeof text, "1 (sh)%s", fields);
	/* State is field 3, so the 22nd is the 20th after the name. */
	tap_ok(address_parse_start_time(text, &ticks) == 0 && ticks == 20,
	       "field 22 is found");
	snprintf(text, sizeof text, "1 (a) b (c)) 1 2)%s", fields);
	tap_ok(address_parse_start_time(text, &ticks) == 0 && ticks == 20,
	       "a name with blanks and parentheses misleads nobody");
	tap_is(address_parse_start_time("1 (sh) S 2 3", &ticks), -EINVAL,
	       "too few fields are refused");
	tap_is(address_parse_start_time("", &ticks), -EINVAL,
	       "an empty text is refused");
	tap_ok(address_start_time(getpid(), &ticks) == 0 && ticks > 0,
	       "our own start time is read");
	tap_is(address_start_time(0x7ffffff0, &ticks), -ENOENT,
	       "a process that is not has none");
}

/* The environment in /proc is that of exec, so this runs itself again. */
static void
candidates(char *self)
{
	struct address address;
	char folder[] = "XDG_RUNTIME_DIR=/the/folder";
	char filler[3000];
	char *environment[] = { filler, folder, NULL };
	char answer[256] = "";
	int ends[2];
	pid_t child;

	memset(filler, 'x', sizeof filler);
	memcpy(filler, "XDG_RUNTIME_DIRECTORY=", 22);
	filler[sizeof filler - 1] = '\0';
	if (pipe(ends) != 0 || (child = fork()) < 0)
		tap_bail_out("no pipe or no child");
	if (child == 0) {
		dup2(ends[1], 1);
		execle(self, self, "show", (char *)NULL, environment);
		_exit(1);
	}
	close(ends[1]);
	waitpid(child, NULL, 0);
	tap_ok(read(ends[0], answer, sizeof answer - 1) > 0,
	       "a child of ours answers");
	close(ends[0]);
	snprintf(filler, sizeof filler, "/the/folder/spillway/%d.sock",
		 (int)child);
	tap_is_text(answer, filler,
		    "$XDG_RUNTIME_DIR is found behind a name it begins");
	tap_is(address_candidate(getpid(), 3, &address), -ENOENT,
	       "there are three candidates");
	tap_ok(address_candidate(getpid(), 2, &address) == 0 &&
		       address.abstract && address.name.sun_path[0] == '\0' &&
		       strncmp(address.name.sun_path + 1, "spillway/", 9) == 0,
	       "the last is an abstract name");
	memset(filler, 'y', 200);
	filler[200] = '\0';
	tap_is(address_below(filler, 1, &address), -ENAMETOOLONG,
	       "a folder too long for a socket is refused");
}

int
main(int argc, char **argv)
{
	struct address address;

	if (argc > 1) {
		if (address_candidate(getpid(), 0, &address) == 0)
			fputs(address.name.sun_path, stdout);
		return 0;
	}
	start_times();
	candidates(argv[0]);
	return tap_done();
}
