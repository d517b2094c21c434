/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The texts that say where this process is: /proc/self/cgroup, mountinfo, and
 * a limit's file.
 *
 * Called by limits.c and by the fuzzer. Pure functions on text that ends in
 * NUL: no lock, no allocation, nothing is believed.
 */
#include <errno.h>
#include <string.h>

#include "base/units.h"
#include "pressure/limits.h"

/* v1 says "none" as the largest multiple of a page. */
#define V1_NONE_BYTES (INT64_MAX / 4096 * 4096)

/* The line that begins at `at`: its length without the newline. */
static size_t
line_length(const char *at)
{
	return strcspn(at, "\n");
}

/* Whether `word` is one of the comma-separated words of [list, list + n). */
static bool
has_word(const char *list, size_t n, const char *word)
{
	size_t length = strlen(word);

	while (n >= length) {
		size_t here = 0;

		while (here < n && list[here] != ',')
			here++;
		if (here == length && memcmp(list, word, length) == 0)
			return true;
		if (here == n)
			break;
		list += here + 1;
		n -= here + 1;
	}
	return false;
}

static int
copy(char *to, size_t bytes, const char *from, size_t length)
{
	if (length >= bytes)
		return -EINVAL;
	memcpy(to, from, length);
	to[length] = '\0';
	return 0;
}

int
limits_parse_cgroup(const char *text, char *path, size_t path_bytes)
{
	const char *unified = NULL;
	size_t unified_length = 0;

	/* "4:memory:/a/b" (v1), "0::/a/b" (v2); v1's wins in a hybrid. */
	for (const char *at = text; *at;) {
		size_t n = line_length(at);
		const char *first = memchr(at, ':', n);
		const char *second = first ? memchr(first + 1, ':',
						    n - (size_t)(first + 1 -
								 at)) :
					     NULL;

		if (second && second[1] == '/') {
			const char *to = second + 1;
			size_t length = n - (size_t)(to - at);

			if (has_word(first + 1, (size_t)(second - first - 1),
				     "memory"))
				return copy(path, path_bytes, to, length) ?
					       -EINVAL :
					       1;
			if (second == first + 1 && first == at + 1 &&
			    *at == '0') {
				unified = to;
				unified_length = length;
			}
		}
		at += n + (at[n] == '\n');
	}
	if (!unified)
		return -ENOENT;
	return copy(path, path_bytes, unified, unified_length) ? -EINVAL : 2;
}

/* Field `index` (from 0) of a line of space-separated fields. */
static const char *
field(const char *line, size_t n, unsigned index, size_t *length)
{
	const char *end = line + n;

	while (index-- > 0) {
		while (line < end && *line != ' ')
			line++;
		if (line == end)
			return NULL;
		line++;
	}
	*length = 0;
	while (line + *length < end && line[*length] != ' ')
		(*length)++;
	return *length ? line : NULL;
}

int
limits_parse_mountinfo(const char *text, bool v2, char *mount,
		       size_t mount_bytes, char *mount_root,
		       size_t mount_root_bytes)
{
	/* id parent dev root mount options [optional...] - type source super */
	for (const char *at = text; *at;) {
		size_t n = line_length(at), root_length = 0, mount_length = 0;
		size_t type_length = 0, super_length = 0;
		const char *root = field(at, n, 3, &root_length);
		const char *where = field(at, n, 4, &mount_length);
		const char *dash = NULL, *type = NULL, *super = NULL;

		for (size_t i = 0; i + 3 <= n; i++)
			if (memcmp(at + i, " - ", 3) == 0) {
				dash = at + i + 3;
				break;
			}
		if (dash) {
			size_t rest = n - (size_t)(dash - at);

			type = field(dash, rest, 0, &type_length);
			super = field(dash, rest, 2, &super_length);
		}
		if (root && where && type && super &&
		    (v2 ? type_length == 7 && !memcmp(type, "cgroup2", 7) :
			  type_length == 6 && !memcmp(type, "cgroup", 6) &&
				     has_word(super, super_length, "memory")))
			return copy(mount, mount_bytes, where, mount_length) ||
					       copy(mount_root,
						    mount_root_bytes, root,
						    root_length) ?
				       -EINVAL :
				       0;
		at += n + (at[n] == '\n');
	}
	return -ENOENT;
}

int
limits_parse_limit(const char *text, uint64_t *bytes)
{
	size_t digits = strspn(text, "0123456789");

	if (strncmp(text, "max", 3) == 0 &&
	    (text[3] == '\n' || text[3] == '\0')) {
		*bytes = UINT64_MAX;
		return 0;
	}
	if (!digits || (text[digits] && text[digits] != '\n') ||
	    units_parse_number(text, digits, bytes) != 0)
		return -EINVAL;
	if (*bytes >= V1_NONE_BYTES)
		*bytes = UINT64_MAX;
	return 0;
}
