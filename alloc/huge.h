/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Huge pages: asked for where the user says so (huge:on) and for large heaps of
 * libgc, split where a part is returned, refused while memory is scarce, and
 * never used for bookkeeping.
 *
 * Usage: huge_spare_static() first of all, huge_ask() or huge_spare() when
 * mapping, huge_split() before returning, huge_scarce() when a pass begins,
 * huge_plenty() when pressure is over.
 *
 * Caveats: huge_ask(), huge_spare() and huge_split() are fit for hooks. The
 * last two make one prctl(2), which waits for the address space's lock: not for
 * hooks.
 */
#ifndef ALLOC_HUGE_H
#define ALLOC_HUGE_H

#include <stddef.h>
#include <stdint.h>

#define HUGE_BYTES (2ul << 20)

/* Asks for huge pages for that range of pages, where it has room for one. */
void huge_ask(void *address, size_t bytes);

/* No huge pages for that range, of which a page here and there is used; and
 * none for static memory of this library. */
void huge_spare(void *address, size_t bytes);
void huge_spare_static(void);

/* Splits the huge pages that [from, to) cuts through, where there may be any. */
void huge_split(uintptr_t from, uintptr_t to);

/* Idempotent; the second takes back what the first did. */
void huge_scarce(void);
void huge_plenty(void);

#endif
