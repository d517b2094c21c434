/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The extent hooks of tagged arenas.
 *
 * Usage: hooks_fill(body) before the jemalloc arena is created with
 * body->hooks.
 *
 * Caveats: the hooks run under jemalloc's locks; see arena_hooks.c.
 */
#ifndef ALLOC_ARENA_HOOKS_H
#define ALLOC_ARENA_HOOKS_H

#include "alloc/arena_body.h"

void hooks_fill(struct arena_body *body);

#endif
