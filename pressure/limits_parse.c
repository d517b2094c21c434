/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The texts that say where this process is and how much is used:
 * /proc/self/cgroup, mountinfo, meminfo, statm, and a group's files.
 *
 * Called by limits.c, limits_find.c and the fuzzer. Pure functions on text
 * that ends in NUL: no lock, no allocation, nothing is believed.
 */
#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/units.h"
#include "pressure/limits.h"

/* v1 says "none" as the largest multiple of a page, of 64 KiB at most. */
#define NONE_BYTES (INT64_MAX / 65536 * 65536)

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

static bool
is_octal(const char *at)
{
	return at[0] >= '0' && at[0] <= '3' && at[1] >= '0' && at[1] <= '7' &&
	       at[2] >= '0' && at[2] <= '7';
}

/* As copy(), of a path in which blanks are written as "\040". */
static int
copy_path(char *to, size_t bytes, const char *from, size_t length)
{
	size_t n = 0;

	for (size_t i = 0; i < length; i++) {
		char c = from[i];

		if (c == '\\' && i + 3 < length && is_octal(from + i + 1)) {
			c = (char)((from[i + 1] - '0') << 6 |
				   (from[i + 2] - '0') << 3 |
				   (from[i + 3] - '0'));
			i += 3;
		}
		if (!c || n + 1 >= bytes)
			return -EINVAL;
		to[n++] = c;
	}
	to[n] = '\0';
	return 0;
}

struct mount_line {
	const char *root, *point;
	size_t root_length, point_length;
};

/* Takes a line of mountinfo apart; whether it mounts the controller. */
static bool
mounts_memory(const char *line, size_t n, bool v2, struct mount_line *mount)
{
	/* id parent dev root point options [optional...] - type source super */
	const char *dash = NULL, *type, *super;
	size_t type_length = 0, super_length = 0, rest;

	mount->root = field(line, n, 3, &mount->root_length);
	mount->point = field(line, n, 4, &mount->point_length);
	for (size_t i = 0; i + 3 <= n && !dash; i++)
		if (memcmp(line + i, " - ", 3) == 0)
			dash = line + i + 3;
	if (!mount->root || !mount->point || !dash)
		return false;
	rest = n - (size_t)(dash - line);
	type = field(dash, rest, 0, &type_length);
	super = field(dash, rest, 2, &super_length);
	if (!type || !super)
		return false;
	if (v2)
		return type_length == 7 && !memcmp(type, "cgroup2", 7);
	return type_length == 6 && !memcmp(type, "cgroup", 6) &&
	       has_word(super, super_length, "memory");
}

int
limits_parse_mountinfo(const char *text, bool v2, char *mount,
		       size_t mount_bytes, char *mount_root,
		       size_t mount_root_bytes)
{
	struct mount_line line = { 0 };
	int found = -ENOENT;

	for (const char *at = text; *at;) {
		size_t n = line_length(at);

		if (mounts_memory(at, n, v2, &line)) {
			bool whole = line.root_length == 1; /* "/" */
			int error = 0;

			if (found != 0 || whole)
				error = copy_path(mount, mount_bytes,
						  line.point,
						  line.point_length) ||
					copy_path(mount_root, mount_root_bytes,
						  line.root, line.root_length);
			found = error ? -EINVAL : 0;
			if (whole && !error)
				return 0;
		}
		at += n + (at[n] == '\n');
	}
	return found;
}

int
limits_parse_usage(const char *text, uint64_t *bytes)
{
	size_t digits = strspn(text, "0123456789");

	if (!digits || (text[digits] && text[digits] != '\n') ||
	    units_parse_number(text, digits, bytes) != 0)
		return -EINVAL;
	return 0;
}

int
limits_parse_limit(const char *text, uint64_t *bytes)
{
	if (strncmp(text, "max", 3) == 0 &&
	    (text[3] == '\n' || text[3] == '\0')) {
		*bytes = UINT64_MAX;
		return 0;
	}
	if (limits_parse_usage(text, bytes) != 0)
		return -EINVAL;
	if (*bytes >= NONE_BYTES)
		*bytes = UINT64_MAX;
	return 0;
}

static uint64_t
sum(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t
field_or_0(const char *text, const char *key)
{
	uint64_t number;

	return file_field(text, key, &number) == 0 ? number : 0;
}

/*
 * The two file lists hold no shared memory and nothing locked; pages given up
 * by MADV_FREE are on the inactive one, and rightly count.
 */
uint64_t
limits_parse_stat(const char *text, bool v2)
{
	static const char *const v1_keys[] = { "total_inactive_file",
					       "total_active_file",
					       "total_dirty",
					       "total_writeback" };
	static const char *const v2_keys[] = { "inactive_file", "active_file",
					       "file_dirty", "file_writeback" };
	const char *const *keys = v2 ? v2_keys : v1_keys;
	uint64_t file = sum(field_or_0(text, keys[0]),
			    field_or_0(text, keys[1]));
	uint64_t busy = sum(field_or_0(text, keys[2]),
			    field_or_0(text, keys[3]));

	file -= busy < file ? busy : file;
	return sum(file, v2 ? field_or_0(text, "slab_reclaimable") : 0);
}

static int
kib_field(const char *text, const char *key, uint64_t *bytes)
{
	uint64_t kib;

	if (file_field(text, key, &kib) != 0 || kib > UINT64_MAX / 1024)
		return -EINVAL;
	*bytes = kib * 1024;
	return 0;
}

int
limits_parse_meminfo(const char *text, uint64_t *total, uint64_t *available)
{
	if (kib_field(text, "MemTotal:", total) != 0 ||
	    kib_field(text, "MemAvailable:", available) != 0)
		return -EINVAL;
	return 0;
}

/* size resident shared text lib data dt */
int
limits_parse_statm(const char *text, uint64_t pages[7])
{
	for (unsigned i = 0; i < 7; i++) {
		size_t digits = strspn(text, "0123456789");

		if (units_parse_number(text, digits, &pages[i]) != 0)
			return -EINVAL;
		text += digits;
		text += *text == ' ';
	}
	return 0;
}
