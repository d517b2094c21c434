/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lists of words, as settings have them.
 *
 * Called by settings.c; calls nothing, keeps nothing.
 */
#include "base/words.h"

#include <errno.h>
#include <string.h>

int
words_index(const char *words, const char *text, size_t length)
{
	for (int i = 0;; i++) {
		size_t n = strcspn(words, "|");

		if (n == length && memcmp(words, text, n) == 0)
			return i;
		if (!words[n])
			return -1;
		words += n + 1;
	}
}

int
words_set(const char *words, const char *text, size_t length, unsigned *bits)
{
	unsigned set = 0;

	for (;;) {
		const char *plus = memchr(text, '+', length);
		size_t n = plus ? (size_t)(plus - text) : length;
		int i = words_index(words, text, n);

		if (i < 0 || i > 30)
			return -EINVAL;
		set |= 1u << i;
		if (!plus)
			break;
		text += n + 1;
		length -= n + 1;
	}
	*bits = set;
	return 0;
}

const char *
words_told(char *buffer, size_t bytes, const char *words)
{
	size_t n = 0;

	for (; *words && n + 5 < bytes; words++) {
		const char *joint = strchr(words + 1, '|') ? ", " : " or ";

		if (*words != '|') {
			buffer[n++] = *words;
		} else {
			memcpy(buffer + n, joint, strlen(joint));
			n += strlen(joint);
		}
	}
	buffer[n] = '\0';
	return buffer;
}
