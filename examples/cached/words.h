/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A command line as words, and words as numbers, by memcached's rules.
 *
 * Usage: words_split(&words, line, bytes); word_u64(&words.word[2], &n).
 *
 * Caveats: nothing is copied: words point into the line. No state, no locks.
 */
#ifndef EXAMPLES_CACHED_WORDS_H
#define EXAMPLES_CACHED_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* No command but the gets has as many; what follows is not looked at. */
#define WORDS_MAX 23

struct word {
	const char *at;
	size_t bytes;
};

#define WORD_EMPTY ((struct word){ "", 0 })

struct words {
	unsigned count;
	struct word word[WORDS_MAX];
};

void words_split(struct words *words, const char *line, size_t bytes);

/* The next word from *at, which moves behind it; false: there is none. */
bool word_next(const char **at, const char *end, struct word *word);

/* The whole word is a decimal number; white space before it and a plus sign
 * are let through, as strtol(3) does. u32 takes 64 bits and keeps the lower
 * half, as memcached does with flags. */
bool word_i32(const struct word *word, int32_t *number);
bool word_i64(const struct word *word, int64_t *number);
bool word_u32(const struct word *word, uint32_t *number);
bool word_u64(const struct word *word, uint64_t *number);

/* Writes decimal digits, returns behind the last; 20 bytes at the most. */
char *word_write_u64(char *to, uint64_t number);

/* Returns how many bytes they are, 0: no base64. `to` may be `from`. */
size_t word_from_base64(char *to, const char *from, size_t bytes);
/* Four bytes for each begun three; returns behind the last. */
char *word_to_base64(char *to, const char *from, size_t bytes);

static inline bool
word_is(const struct word *word, const char *text)
{
	return word->bytes == strlen(text) &&
	       memcmp(word->at, text, word->bytes) == 0;
}

#endif
