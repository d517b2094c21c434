/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Edit distance over short words, for messages.
 *
 * Called by the settings and the program `spillway` when a word is unknown;
 * calls nothing. One row of the usual table is enough: row[j] is the distance
 * between the letters seen so far and the first j letters of the word, and
 * `corner` the value that row[j] had one letter earlier.
 */
#include "base/nearest.h"

#include <stdbool.h>
#include <string.h>

#define LETTERS 16

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static unsigned
distance(const char *text, size_t length, const char *word)
{
	unsigned row[LETTERS + 1];
	size_t word_length = strlen(word);

	if (length > LETTERS || word_length > LETTERS)
		return LETTERS;
	for (unsigned j = 0; j <= word_length; j++)
		row[j] = j;
	for (unsigned i = 0; i < length; i++) {
		unsigned corner = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < word_length; j++) {
			unsigned best = corner + (lower(text[i]) != word[j]);

			corner = row[j + 1];
			if (corner + 1 < best)
				best = corner + 1;
			if (row[j] + 1 < best)
				best = row[j] + 1;
			row[j + 1] = best;
		}
	}
	return row[word_length];
}

const char *
nearest_word(const char *text, size_t length, const char *(*word)(unsigned i))
{
	unsigned nearest_distance = 3;
	const char *nearest = NULL;
	const char *known;

	for (unsigned i = 0; (known = word(i)) != NULL; i++) {
		bool is_short = length < 5 || strlen(known) < 5;
		unsigned d = distance(text, length, known);

		if (d < nearest_distance && d <= (is_short ? 1 : 2)) {
			nearest_distance = d;
			nearest = known;
		}
	}
	return nearest;
}
