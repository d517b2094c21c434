/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Huge pages of our heap: asked for where the user says so (huge:on), split
 * where a part is returned, and refused while memory is scarce.
 *
 * Usage: huge_ask() when mapping, huge_split() before returning, huge_scarce()
 * when a pass begins, huge_plenty() when pressure is over.
 *
 * Caveats: huge_ask() and huge_split() are fit for hooks. The other two make
 * one prctl(2), which waits for the address space's lock: not for hooks.
 */
#ifndef ALLOC_HUGE_H
#define ALLOC_HUGE_H

#include <stddef.h>
#include <stdint.h>

#define HUGE_BYTES (2ul << 20)

/* Asks for huge pages for what is aligned in that range. */
void huge_ask(void *address, size_t bytes);

/* Splits the huge pages that [from, to) cuts through, where there may be any. */
void huge_split(uintptr_t from, uintptr_t to);

/* Idempotent; the second takes back what the first did. */
void huge_scarce(void);
void huge_plenty(void);

#endif
