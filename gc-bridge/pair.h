/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Returning many pieces of memory with two threads.
 *
 * Usage: pair_begin(bytes); pair_return(...) as often as need be;
 * pair_end().
 *
 * Caveats: one user at a time; whoever calls sees to it that nobody uses the
 * pieces until pair_return() comes back, or forks before pair_end().
 */
#ifndef GC_BRIDGE_PAIR_H
#define GC_BRIDGE_PAIR_H

#include <stddef.h>
#include <stdint.h>

struct pair_piece {
	char *at; /* page-aligned, as `bytes` is */
	size_t bytes;
};

/* About so much will be returned: whether a second thread is worth it. */
void pair_begin(size_t bytes);

/*
 * MADV_DONTNEED of the first pieces, until clock_now_ns() is until_ns; one at
 * least where there is one. Returns how many went; those behind are untouched.
 */
unsigned pair_return(const struct pair_piece *pieces, unsigned count,
		     uint64_t until_ns);

void pair_end(void);

#endif
