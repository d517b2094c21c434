/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a look at a cache may see: values that check themselves, and of each
 * key what its writers have done.
 *
 * Usage: a put or a remove is between claims_begin() and claims_end(); a look
 * between claims_before() and claims_judge(), on the value itself or a copy.
 *
 * Caveats: stamps come from one counter. A value has the stamp at which its
 * put began, the history of a key that of each writer's last put or remove
 * that has returned, and how many stamps it took. What was put by an
 * operation that had ended before another began, which ended before the look
 * began, must not be seen, whoever made them; nor what has expired. A put that
 * failed, or was aborted, is not ended: it must change nothing.
 * Thread-safe; one thread a writer. A forked child has a copy of all.
 */
#ifndef TESTS_TORTURE_CLAIMS_H
#define TESTS_TORTURE_CLAIMS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/torture/torture.h"

#define CLAIMS_WRITERS 5u
#define CLAIMS_KEYS 65536u

struct claims_value {
	uint64_t key, bytes, begin;
	uint64_t ttl_ns; /* 0: never */
	uint32_t writer, also_key;
	/* followed by a pattern of 8-byte words */
};

struct claims_before {
	uint64_t key, now_ns, cleared;
	uint64_t done[CLAIMS_WRITERS];
	uint64_t ended_ns[CLAIMS_WRITERS];
};

uint64_t claims_begin(void);
void claims_end(uint64_t key, uint32_t writer, uint64_t begin);
/* All keys are removed, by the one thread that clears. */
void claims_cleared(uint64_t begin);

void claims_before(struct claims_before *before, uint64_t key);
/* Whether any put or remove of the key had returned. */
bool claims_was_written(const struct claims_before *before);
/* A value that was found since: whole, of that key, and the last put. */
void claims_judge(const struct claims_before *before, const void *value,
		  size_t bytes);
/* Only that it is whole and of that key. */
bool claims_is_whole(const void *value, size_t bytes, uint64_t key);

/* Writes a value of sizeof(struct claims_value) and more. */
void claims_fill(void *to, const struct claims_value *head);

/* The name of a key, of 2 to 30 bytes: how many. */
size_t claims_name(char name[64], uint64_t key);
/* A random size of a value; `large` ones have segments of their own. */
size_t claims_size(struct dice *dice, bool large);
#define CLAIMS_BYTES_MAX (sizeof(struct claims_value) + 8 * 300000ul)

#endif
