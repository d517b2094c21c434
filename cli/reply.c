/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A JSON reader for small texts, without a tree: values are found by walking.
 *
 * Called by stat.c, reclaim.c, pressure.c and demo.c. skip_*() return where a
 * value ends, or NULL where it is not well-formed; after reply_check() they
 * do not fail.
 */
#include "cli/reply.h"

#include <string.h>

#include "base/units.h"

#define LEVELS_MAX 32

static const char *
skip_blanks(const char *at)
{
	return at + strspn(at, " \t\r\n");
}

static bool
is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
	       (c >= 'A' && c <= 'F');
}

static const char *
skip_string(const char *at)
{
	if (*at++ != '"')
		return NULL;
	for (; *at != '"'; at++) {
		if ((unsigned char)*at < 0x20)
			return NULL; /* the end too */
		if (*at != '\\')
			continue;
		at++;
		if (*at == 'u') {
			for (int i = 1; i <= 4; i++)
				if (!is_hex(at[i]))
					return NULL;
			at += 4;
		} else if (!*at || !strchr("\"\\/bfnrt", *at)) {
			return NULL;
		}
	}
	return at + 1;
}

static const char *
skip_scalar(const char *at)
{
	static const char *const words[] = { "true", "false", "null" };
	size_t length;

	if (*at == '"')
		return skip_string(at);
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strncmp(at, words[i], strlen(words[i])) == 0)
			return at + strlen(words[i]);
	length = strspn(at, "-+.eE0123456789");
	if (!length || !strchr("-0123456789", *at))
		return NULL;
	return at + length;
}

/* The value after "key": of an object's member, or NULL. */
static const char *
skip_key(const char *at)
{
	at = skip_string(at);
	if (!at)
		return NULL;
	at = skip_blanks(at);
	return *at == ':' ? skip_blanks(at + 1) : NULL;
}

static const char *
skip_value(const char *at)
{
	char closing[LEVELS_MAX];
	unsigned level = 0;

	for (;;) {
		if (*at == '{' || *at == '[') {
			char close = *at == '{' ? '}' : ']';

			if (level == LEVELS_MAX)
				return NULL;
			at = skip_blanks(at + 1);
			if (*at != close) {
				closing[level++] = close;
				if (close == '}')
					at = skip_key(at);
				if (!at)
					return NULL;
				continue;
			}
			at++;
		} else {
			at = skip_scalar(at);
			if (!at)
				return NULL;
		}
		/* A value has ended: of which list is it? */
		for (;; at++) {
			if (!level)
				return at;
			at = skip_blanks(at);
			if (*at != closing[level - 1])
				break;
			level--;
		}
		if (*at != ',')
			return NULL;
		at = skip_blanks(at + 1);
		if (closing[level - 1] == '}')
			at = skip_key(at);
		if (!at)
			return NULL;
	}
}

bool
reply_check(const char *text)
{
	const char *at = skip_blanks(text);

	if (*at != '{')
		return false;
	at = skip_value(at);
	return at && *skip_blanks(at) == '\0';
}

/* The value of one key of length bytes. */
static const char *
find_key(const char *object, const char *key, size_t length)
{
	const char *at = skip_blanks(object);

	if (*at != '{')
		return NULL;
	at = skip_blanks(at + 1);
	while (*at == '"') {
		bool same = strncmp(at + 1, key, length) == 0 &&
			    at[1 + length] == '"';

		at = skip_key(at);
		if (same || !at)
			return at;
		at = skip_value(at);
		if (!at)
			return NULL;
		at = skip_blanks(at);
		if (*at == ',')
			at = skip_blanks(at + 1);
	}
	return NULL;
}

const char *
reply_find(const char *object, const char *path)
{
	while (object && *path) {
		size_t length = strcspn(path, ".");

		object = find_key(object, path, length);
		path += length + (path[length] == '.');
	}
	return object;
}

const char *
reply_first(const char *array)
{
	if (!array || *array != '[')
		return NULL;
	array = skip_blanks(array + 1);
	return *array == ']' ? NULL : array;
}

const char *
reply_next(const char *value)
{
	value = skip_value(value);
	if (!value)
		return NULL;
	value = skip_blanks(value);
	return *value == ',' ? skip_blanks(value + 1) : NULL;
}

bool
reply_number(const char *object, const char *path, uint64_t *number)
{
	const char *at = reply_find(object, path);

	return at &&
	       units_parse_number(at, strspn(at, "0123456789"), number) == 0;
}

bool
reply_bool(const char *object, const char *path, bool *value)
{
	const char *at = reply_find(object, path);

	if (!at || (*at != 't' && *at != 'f'))
		return false;
	*value = *at == 't';
	return true;
}

const char *
reply_string(const char *object, const char *path, char *buffer, size_t bytes)
{
	const char *at = reply_find(object, path);
	size_t n = 0;

	if (at && *at == '"') {
		for (at++; *at != '"' && n + 1 < bytes; at++) {
			char c = *at;

			if (c == '\\') {
				c = *++at;
				if (c == 'u') {
					c = '?';
					at += 4;
				} else if (strchr("bfnrt", c)) {
					c = '?';
				}
			}
			buffer[n++] = (unsigned char)c == 0x7f ? '?' : c;
		}
	}
	buffer[n] = '\0';
	return buffer;
}
