/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A JSON writer that needs no memory of its own.
 *
 * Called by describe.c, control.c and cli/; calls nothing. A comma is due
 * wherever the text does not end in an opening bracket or a colon, so no
 * stack of levels is kept. Invariant: used < bytes, text[used] is NUL, and
 * once something did not fit nothing more is written until json_rewind().
 */
#include "pressure/json.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

static void
put_bytes(struct json *j, const char *bytes, size_t length)
{
	if (j->overflow || length >= j->bytes - j->used) {
		j->overflow = true;
		return;
	}
	memcpy(j->text + j->used, bytes, length);
	j->used += length;
	j->text[j->used] = '\0';
}

static void
put_char(struct json *j, char c)
{
	put_bytes(j, &c, 1);
}

/*
 * Length of the UTF-8 sequence at `at` (RFC 3629: no surrogates, nothing
 * longer than need be, nothing over U+10FFFF), or 0.
 */
static size_t
sequence_length(const unsigned char *at)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t length;

	if (at[0] < 0x80)
		return 1;
	if (at[0] >= 0xc2 && at[0] <= 0xdf)
		length = 2;
	else if (at[0] >= 0xe0 && at[0] <= 0xef)
		length = 3;
	else if (at[0] >= 0xf0 && at[0] <= 0xf4)
		length = 4;
	else
		return 0;
	if (at[0] == 0xe0)
		low = 0xa0;
	else if (at[0] == 0xed)
		high = 0x9f;
	else if (at[0] == 0xf0)
		low = 0x90;
	else if (at[0] == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i < length; i++) {
		if (at[i] < low || at[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return length;
}

static void
put_quoted(struct json *j, const char *value)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *at = (const unsigned char *)value;

	put_char(j, '"');
	while (*at) {
		size_t length = sequence_length(at);

		if (*at == '"' || *at == '\\') {
			put_char(j, '\\');
			put_char(j, (char)*at);
		} else if (*at < 0x20 || *at == 0x7f) {
			char escape[] = { '\\',
					  'u',
					  '0',
					  '0',
					  digits[*at >> 4],
					  digits[*at & 15] };
			put_bytes(j, escape, sizeof escape);
		} else if (length == 0) {
			put_bytes(j, "\xef\xbf\xbd", 3);
		} else {
			put_bytes(j, (const char *)at, length);
		}
		at += length ? length : 1;
	}
	put_char(j, '"');
}

static void
put_key(struct json *j, const char *key)
{
	char last = j->used ? j->text[j->used - 1] : '[';

	if (last != '{' && last != '[' && last != ':')
		put_char(j, ',');
	if (!key)
		return;
	put_quoted(j, key);
	put_char(j, ':');
}

static void
put_number(struct json *j, uint64_t number, unsigned digits_min)
{
	char digits[24];
	size_t at = sizeof digits;

	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number || sizeof digits - at < digits_min);
	put_bytes(j, digits + at, sizeof digits - at);
}

void
json_begin(struct json *j, char *text, size_t bytes)
{
	base_assert(bytes > 0);
	*j = (struct json){ .text = text, .bytes = bytes };
	text[0] = '\0';
}

int
json_end(struct json *j)
{
	return j->overflow ? -EFBIG : (int)j->used;
}

void
json_open(struct json *j, const char *key, char bracket)
{
	base_assert(bracket == '{' || bracket == '[');
	put_key(j, key);
	put_char(j, bracket);
}

void
json_close(struct json *j, char bracket)
{
	base_assert(bracket == '}' || bracket == ']');
	put_char(j, bracket);
}

void
json_number(struct json *j, const char *key, uint64_t number)
{
	put_key(j, key);
	put_number(j, number, 1);
}

void
json_limit(struct json *j, const char *key, uint64_t number)
{
	if (number == UINT64_MAX)
		json_string(j, key, NULL);
	else
		json_number(j, key, number);
}

void
json_thousandths(struct json *j, const char *key, uint64_t number)
{
	put_key(j, key);
	put_number(j, number / 1000, 1);
	put_char(j, '.');
	put_number(j, number % 1000, 3);
}

void
json_bool(struct json *j, const char *key, bool value)
{
	put_key(j, key);
	put_bytes(j, value ? "true" : "false", value ? 4 : 5);
}

void
json_string(struct json *j, const char *key, const char *value)
{
	put_key(j, key);
	if (value)
		put_quoted(j, value);
	else
		put_bytes(j, "null", 4);
}

size_t
json_mark(const struct json *j)
{
	return j->used;
}

void
json_rewind(struct json *j, size_t mark)
{
	base_assert(mark <= j->used);
	j->used = mark;
	j->text[mark] = '\0';
	j->overflow = false;
}
