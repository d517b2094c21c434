/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The secret behind hash_bytes(): drawn once a process, before its first
 * cache; a forked child keeps it, since it keeps the index.
 *
 * No lock: the caller (cache.c) holds the list's.
 */
#include "cache/hash.h"

#include <sys/random.h>

#include "base/clock.h"

uint64_t hash_secret[4];

void
hash_seed(void)
{
	if (hash_secret[0])
		return;
	if (getrandom(hash_secret, sizeof hash_secret, GRND_NONBLOCK) !=
	    (ssize_t)sizeof hash_secret) {
		/* Early in a boot: better than a constant. */
		hash_secret[1] = clock_now_ns();
		hash_secret[2] = (uintptr_t)&hash_secret;
		hash_secret[3] = (uintptr_t)__builtin_frame_address(0);
	}
	/* A factor of zero would swallow the other. */
	for (int i = 0; i < 4; i++)
		hash_secret[i] |= 1ull << (7 * i + 1);
}
