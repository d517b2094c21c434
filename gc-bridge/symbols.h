/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Functions of whatever happens to be in the process.
 *
 * Usage: symbols_find("libgc.so", "GC_gcollect", &collect).
 *
 * Caveats: takes the loader's lock, which a thread may hold that allocates:
 * never on the reclaimer or the monitor. What is found is pinned: its library
 * can no longer be unloaded.
 */
#ifndef GC_BRIDGE_SYMBOLS_H
#define GC_BRIDGE_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Looks where the program itself would find it, then in libraries whose name
 * begins with `library` (they may have been opened RTLD_LOCAL). Puts the
 * address into *function; false (and NULL): not in the process.
 */
bool symbols_find(const char *library, const char *name, void *function);

/* The same in libraries of that name alone; not pinned. NULL. */
void *symbols_in(const char *library, const char *name);

/* A table of them: false, with the first missing name in *missing (may be
 * NULL), where one is not there. */
struct symbol {
	const char *name;
	void *function; /* where the address goes */
};
bool symbols_find_all(const char *library, const struct symbol *symbols,
		      size_t count, const char **missing);

/* Changes whenever a library was loaded. */
unsigned long long symbols_loads(void);

/* The object that `address` is in: its writable part, for what must not be
 * scanned. False where there is none. */
bool symbols_data_of(const void *address, char **start, char **end);

#endif
