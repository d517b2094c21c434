/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which pages of this process were written since the last look: what is left
 * to see of stores where a virtual machine has no counters for cache lines.
 *
 * Usage: if (written_start()) { written_clear(); ...; written_count(); }
 *
 * Caveats: needs Linux 6.7 (PAGEMAP_SCAN, asynchronous write protection by
 * userfaultfd) and the right to use it; where they are missing,
 * written_start() notes it and returns false. Counts private memory that was
 * there at written_clear(), the own stack included: compare with a count
 * around nothing.
 */
#ifndef BENCH_WRITTEN_H
#define BENCH_WRITTEN_H

#include <stdbool.h>

bool written_start(void);
void written_clear(void);
long written_count(void);

#endif
