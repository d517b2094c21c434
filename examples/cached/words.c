/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Splits lines at spaces, reads and writes numbers and base64.
 *
 * Called by the commands; calls nobody. The odd rules (only a space separates,
 * "+1" and "\t1" are numbers, and a number may end in white space or a zero
 * byte) are those of memcached, because tests compare byte by byte.
 */
#include "examples/cached/words.h"

bool
word_next(const char **at, const char *end, struct word *word)
{
	const char *from = *at, *to;

	while (from < end && *from == ' ')
		from++;
	if (from == end) {
		*at = end;
		return false;
	}
	to = memchr(from, ' ', (size_t)(end - from));
	if (!to)
		to = end;
	word->at = from;
	word->bytes = (size_t)(to - from);
	*at = to;
	return true;
}

void
words_split(struct words *words, const char *line, size_t bytes)
{
	const char *end = line + bytes;

	words->count = 0;
	while (words->count < WORDS_MAX &&
	       word_next(&line, end, &words->word[words->count]))
		words->count++;
}

static bool
is_white(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Sign and magnitude of the number that the word begins with. */
static bool
parse(const struct word *word, bool *negative, uint64_t *magnitude)
{
	const char *at = word->at, *end = at + word->bytes, *digits;
	uint64_t n = 0;

	while (at < end && is_white(*at))
		at++;
	*negative = at < end && *at == '-';
	if (at < end && (*at == '-' || *at == '+'))
		at++;
	for (digits = at; at < end && *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*at - '0'), &n))
			return false;
	if (at == digits || (at < end && *at && !is_white(*at)))
		return false;
	*magnitude = n;
	return true;
}

bool
word_u64(const struct word *word, uint64_t *number)
{
	bool negative;

	return parse(word, &negative, number) && (!negative || *number == 0);
}

bool
word_u32(const struct word *word, uint32_t *number)
{
	uint64_t wide;

	if (!word_u64(word, &wide))
		return false;
	*number = (uint32_t)wide;
	return true;
}

bool
word_i64(const struct word *word, int64_t *number)
{
	bool negative;
	uint64_t magnitude;

	if (!parse(word, &negative, &magnitude) || magnitude > INT64_MAX)
		return false;
	*number = negative ? -(int64_t)magnitude : (int64_t)magnitude;
	return true;
}

bool
word_i32(const struct word *word, int32_t *number)
{
	int64_t wide;

	if (!word_i64(word, &wide) || wide < INT32_MIN || wide > INT32_MAX)
		return false;
	*number = (int32_t)wide;
	return true;
}

char *
word_write_u64(char *to, uint64_t number)
{
	char digits[20];
	unsigned n = 0;

	do {
		digits[n++] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	while (n)
		*to++ = digits[--n];
	return to;
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			       "abcdefghijklmnopqrstuvwxyz0123456789+/";

/* Of one letter: its six bits, 64 for padding, -1 for anything else. */
static int
six_bits(char c)
{
	const char *at;

	if (c == '=')
		return 64;
	at = c ? strchr(alphabet, c) : NULL;
	return at ? (int)(at - alphabet) : -1;
}

size_t
word_from_base64(char *to, const char *from, size_t bytes)
{
	size_t n = 0;

	if (bytes % 4)
		return 0;
	for (size_t i = 0; i < bytes; i += 4) {
		unsigned bits = 0, padding = 0;

		for (unsigned j = 0; j < 4; j++) {
			int six = six_bits(from[i + j]);

			if (six < 0 || (six < 64 && padding) ||
			    (six == 64 && (j < 2 || i + 4 < bytes)))
				return 0;
			padding += six == 64;
			bits = bits << 6 | (six & 63);
		}
		to[n++] = (char)(bits >> 16);
		if (padding < 2)
			to[n++] = (char)(bits >> 8);
		if (padding < 1)
			to[n++] = (char)bits;
	}
	return n;
}

char *
word_to_base64(char *to, const char *from, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 3) {
		size_t left = bytes - i;
		unsigned bits = (unsigned char)from[i] << 16;

		if (left > 1)
			bits |= (unsigned char)from[i + 1] << 8;
		if (left > 2)
			bits |= (unsigned char)from[i + 2];
		*to++ = alphabet[bits >> 18];
		*to++ = alphabet[bits >> 12 & 63];
		*to++ = left > 1 ? alphabet[bits >> 6 & 63] : '=';
		*to++ = left > 2 ? alphabet[bits & 63] : '=';
	}
	return to;
}
