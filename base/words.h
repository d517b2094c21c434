/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lists of words: "a|b|c".
 *
 * Usage: words_index("off|on", "on", 2) is 1.
 *
 * Caveats: allocation-free, locale-free, async-signal-safe.
 */
#ifndef BASE_WORDS_H
#define BASE_WORDS_H

#include <stddef.h>

/* The place of the word in the list; -1. */
int words_index(const char *words, const char *text, size_t length);

/* "a+c" as bits of the places of its words; -EINVAL where one is unknown,
 * empty or the list has more than 31. */
int words_set(const char *words, const char *text, size_t length,
	      unsigned *bits);

/* "a, b or c" into the buffer, cut where it is too small; returns it. */
const char *words_told(char *buffer, size_t bytes, const char *words);

#endif
