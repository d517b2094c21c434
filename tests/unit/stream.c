/* SPDX-License-Identifier: BSD-2-Clause */
/* Streamed copies, of every length and alignment: what was there is there, and
 * what lies beside it too. */
#include "cache/stream.h"

#include <stdbool.h>

#include "tests/tap.h"

#define LENGTH_MAX 700u
#define ROOM 1024u

static unsigned char source[ROOM], place[ROOM], wanted[ROOM];

static bool
is_copied(size_t to, size_t from, size_t bytes)
{
	memset(place, 0xa5, sizeof place);
	memcpy(wanted, place, sizeof wanted);
	for (size_t i = 0; i < bytes; i++)
		wanted[to + i] = source[from + i];
	stream_ahead(source + from, bytes);
	stream_copy(place + to, source + from, bytes);
	stream_end();
	return memcmp(place, wanted, sizeof place) == 0;
}

int
main(void)
{
	unsigned wrong = 0;

	for (size_t i = 0; i < ROOM; i++)
		source[i] = (unsigned char)(i * 31 + i / 256);
	for (size_t bytes = 0; bytes <= LENGTH_MAX; bytes++)
		for (size_t at = 0; at < 2 * STREAM_LINE; at++)
			wrong += !is_copied(at, at * 5 % STREAM_LINE, bytes);
	tap_is(wrong, 0, "copies of up to %u bytes are what was there",
	       LENGTH_MAX);
	return tap_done();
}
