/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writing JSON into a buffer: what the control socket answers and what the
 * program prints with --json.
 *
 * Usage: json_begin(), json_open(j, NULL, '{'), json_number(j, "pid", 1),
 * json_close(j, '}'), json_end().
 *
 * Caveats: allocation-free, async-signal-safe, locale-free. A key of NULL
 * means an element of an array, or the outermost value. What does not fit is
 * not written: json_end() says so, json_rewind() goes back before it.
 */
#ifndef PRESSURE_JSON_H
#define PRESSURE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json {
	char *text;
	size_t bytes;
	size_t used;
	bool overflow;
};

void json_begin(struct json *json, char *text, size_t bytes);

/* Length of the text, which ends in NUL; -EFBIG where it did not fit. */
int json_end(struct json *json);

/* '{' or '[', and '}' or ']'. */
void json_open(struct json *json, const char *key, char bracket);
void json_close(struct json *json, char bracket);

void json_number(struct json *json, const char *key, uint64_t number);
/* UINT64_MAX, which means none or unknown, becomes null. */
void json_limit(struct json *json, const char *key, uint64_t number);
void json_thousandths(struct json *json, const char *key, uint64_t number);
void json_bool(struct json *json, const char *key, bool value);
/* Escapes; bytes that are not UTF-8 become U+FFFD. NULL becomes null. */
void json_string(struct json *json, const char *key, const char *value);

/* Where we are, to come back to when an element does not fit. */
size_t json_mark(const struct json *json);
void json_rewind(struct json *json, size_t mark);

#endif
