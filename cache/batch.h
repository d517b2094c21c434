/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segments on their way out, which wait for one grace period together.
 *
 * Usage: batch_add() each, then batch_end(): their memory is the kernel's, or a
 * spare's.
 *
 * Caveats: one batch, of one cache at a time; guarded by evict's lock, and empty
 * when that is left. batch_end() waits for a grace period: in no section, and
 * with no lock that anybody else takes.
 */
#ifndef CACHE_BATCH_H
#define CACHE_BATCH_H

#include <stdint.h>

#define BATCH_MAX 512u

struct spw_cache;

/* Closes it; one that somebody else has closed is left to him. */
void batch_add(struct spw_cache *c, uint32_t index);
/* Those that are closed and in no batch, up to BATCH_MAX. */
void batch_adopt_closed(struct spw_cache *c);
unsigned batch_count(void);
/* That they are charged with. */
uint64_t batch_bytes(void);
/* Waits, and gives to the kernel, or to the reserve what it wants: the bytes of
 * both. */
uint64_t batch_end(struct spw_cache *c, unsigned spares);
/* Touches all that a batch takes. */
void batch_rehearse(void);
/* In the child of a fork. */
void batch_forget(void);

#endif
