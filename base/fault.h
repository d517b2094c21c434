/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fault injection: every allocation and system call that may fail asks here
 * first, so that tests can make it fail.
 *
 * Usage: if (base_fault("arena_create")) return -ENOMEM;
 *
 * Caveats: in builds with SPW_ASSERT_LEVEL below 2 it is a constant false.
 * Thread-safe, allocation-free; fault_set() is for one thread at a time.
 */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

#if SPW_ASSERT_LEVEL >= 2
bool base_fault(const char *site);
#else
#define base_fault(site) ((void)(site), false)
#endif

/*
 * Makes the calls at `site` (NULL: any) fail with a chance of 1 in `one_in`
 * from the given seed; 0 switches it off. The same seed gives the same calls
 * of one thread. `site` is borrowed until the next call. Returns the seed.
 */
uint64_t fault_set(const char *site, unsigned one_in, uint64_t seed);
uint64_t fault_count(void); /* how many were made to fail since then */

/* Makes the n-th call at any site fail, counted from 1 and from now on, and no
 * other; 0 switches it off. With n from 1 up until fault_count() stays 0, each
 * call of a program has failed once. */
void fault_set_nth(uint64_t n);
const char *fault_site(void); /* of the last that failed; NULL: none */

#endif
