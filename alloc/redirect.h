/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The budget of a purge of the embedded jemalloc.
 *
 * Usage: redirect_budget(16 << 20); purge; redirect_budget(0).
 *
 * Caveats: per thread. The other functions of redirect.c are jemalloc's to
 * call and have no declaration here.
 */
#ifndef ALLOC_REDIRECT_H
#define ALLOC_REDIRECT_H

#include <stddef.h>

/*
 * Limits what this thread's next purges take from the dirty extents, oldest
 * first: jemalloc itself knows only "all". 0 lifts the limit.
 */
void redirect_budget(size_t bytes);

#endif
