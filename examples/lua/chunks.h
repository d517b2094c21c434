/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Compiled chunks, kept while there is memory.
 *
 * Usage: chunks_open(), then chunks_install(L): load() goes by it.
 *
 * Caveats: none; what is gone is compiled again.
 */
#ifndef EXAMPLES_LUA_CHUNKS_H
#define EXAMPLES_LUA_CHUNKS_H

#include <lua.h>

/* 0, or what spw_cache_create() says. */
int chunks_open(void);
void chunks_close(void);

void chunks_install(lua_State *L);

struct chunks_numbers {
	unsigned long hits, misses, kept_bytes;
};
void chunks_read(struct chunks_numbers *numbers);

#endif
