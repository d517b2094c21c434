/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gc-bridge/pair.c: what it says that it returned is returned, the rest is
 * untouched, and whoever goes on to write is not returned from under.
 *
 * Seeded; threads interleave as they like.
 */
#include "gc-bridge/pair.h"

#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "tests/tap.h"

#define PAGE 4096ul
#define PAGES 16384ul /* 64 MiB: more than a second thread is worth */
#define PIECES 32
#define CALLS 400

static char *heap;
static uint64_t state = 20261122;
static unsigned broken, partly;

static uint64_t
below(uint64_t n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (state >> 33) % n;
}

/* Pieces of some pages, one behind the other, with gaps. */
static unsigned
cut(struct pair_piece *pieces)
{
	unsigned n = (unsigned)below(PIECES + 1);
	char *at = heap;

	for (unsigned i = 0; i < n; i++) {
		at += below(3) * PAGE;
		pieces[i] = (struct pair_piece){ at, (1 + below(24)) * PAGE };
		memset(at, 1, pieces[i].bytes);
		at += pieces[i].bytes;
	}
	return n;
}

/* Writes what went, as an allocator would; looks again a call later. */
static void
call(void)
{
	static struct pair_piece last[PIECES];
	static unsigned last_count;
	struct pair_piece pieces[PIECES];
	unsigned n, went;

	for (unsigned i = 0; i < last_count; i++)
		broken += last[i].at[0] != 2 ||
			  last[i].at[last[i].bytes - 1] != 2;
	n = cut(pieces);
	went = pair_return(pieces, n, clock_now_ns() + below(4) * 20000);
	broken += went > n || (n && !went);
	for (unsigned i = 0; i < n; i++) {
		char is = i < went ? 0 : 1;

		broken += pieces[i].at[0] != is ||
			  pieces[i].at[pieces[i].bytes - 1] != is;
		memset(pieces[i].at, 2, pieces[i].bytes);
	}
	partly += went && went < n;
	memcpy(last, pieces, sizeof last);
	last_count = n;
}

static void
calls(const char *how)
{
	broken = partly = 0;
	for (unsigned i = 0; i < CALLS; i++)
		call();
	tap_ok(!broken, "%s: %u calls return what they say, no more", how,
	       CALLS);
	tap_ok(partly > 0, "%s: some when their time was over", how);
}

int
main(void)
{
	tap_plan(7);
	heap = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (heap == MAP_FAILED)
		tap_bail_out("no memory");
	pair_begin(PAGE);
	calls("alone");
	pair_end();
	for (unsigned i = 0; i < 2; i++) {
		pair_begin(PAGES * PAGE);
		calls(i ? "a second time" : "in a pair");
		pair_end();
	}
	pair_begin(PAGES * PAGE);
	pair_end();
	pair_end();
	tap_ok(true, "beginning and ending with nothing in between ends");
	return tap_done();
}
