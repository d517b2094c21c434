/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading the JSON that a process answers.
 *
 * Usage: reply_number(text, "counters.passes", &n); for lists,
 * item = reply_find(text, "shrinkers"), item = reply_first(item),
 * reply_next(item).
 *
 * Caveats: the text is another process's word: reply_check() it once, which
 * proves it well-formed; the other functions rely on that. A value is a
 * pointer to where it begins in the text.
 */
#ifndef CLI_REPLY_H
#define CLI_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the text is one JSON object and nothing else, 32 levels at most. */
bool reply_check(const char *text);

/* The value at "key" or "key.key", or NULL. */
const char *reply_find(const char *object, const char *path);

/* The first value of an array, the one after; NULL at the end. */
const char *reply_first(const char *array);
const char *reply_next(const char *value);

/* False where it is missing, null, or of another kind. */
bool reply_number(const char *object, const char *path, uint64_t *number);
bool reply_bool(const char *object, const char *path, bool *value);

/* Copies a string without escapes, cut to fit; control characters become
 * '?', so that it may go to a terminal. "" where there is none. */
const char *reply_string(const char *object, const char *path, char *buffer,
			 size_t bytes);

#endif
