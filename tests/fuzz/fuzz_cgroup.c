/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes against the parsers of /proc/self/cgroup, mountinfo, a cgroup's files,
 * meminfo and statm.
 *
 * One text goes through all of them. A path that is taken fits, ends, and does
 * not depend on how much room there was; what does not fit in less room is
 * refused; a text taken after a line that says nothing is taken as before.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pressure/limits.h"
#include "pressure/notify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool good)
{
	if (!good)
		abort();
}

/* In a heap block of exactly that size, so that ASan sees a byte too far. */
static char *
room(size_t bytes)
{
	char *block = malloc(bytes);

	if (!block)
		abort();
	memset(block, '?', bytes);
	return block;
}

static void
check_cgroup(const char *text)
{
	char *path = room(LIMITS_PATH_BYTES), *exact;
	int which = limits_parse_cgroup(text, path, LIMITS_PATH_BYTES);
	size_t bytes;

	must(which == 1 || which == 2 || which == -ENOENT || which == -EINVAL);
	if (which > 0) {
		bytes = strnlen(path, LIMITS_PATH_BYTES) + 1;
		must(bytes <= LIMITS_PATH_BYTES);
		must(path[0] == '/' && !strchr(path, '\n'));
		must(strstr(text, path) != NULL);
		exact = room(bytes);
		must(limits_parse_cgroup(text, exact, bytes) == which);
		must(strcmp(exact, path) == 0);
		must(limits_parse_cgroup(text, exact, bytes - 1) == -EINVAL);
		free(exact);
	}
	free(path);
}

static void
check_mountinfo(const char *text, bool v2)
{
	char *mount = room(LIMITS_PATH_BYTES), *root = room(LIMITS_PATH_BYTES);
	char *exact_mount, *exact_root;
	int found = limits_parse_mountinfo(text, v2, mount, LIMITS_PATH_BYTES,
					   root, LIMITS_PATH_BYTES);

	must(found == 0 || found == -ENOENT || found == -EINVAL);
	if (found == 0) {
		size_t m = strnlen(mount, LIMITS_PATH_BYTES) + 1;
		size_t r = strnlen(root, LIMITS_PATH_BYTES) + 1;

		must(m > 1 && m <= LIMITS_PATH_BYTES);
		must(r > 1 && r <= LIMITS_PATH_BYTES);
		exact_mount = room(m);
		exact_root = room(r);
		/* With less room a later line may be found instead. */
		if (limits_parse_mountinfo(text, v2, exact_mount, m, exact_root,
					   r) == 0)
			must(strnlen(exact_mount, m) < m &&
			     strnlen(exact_root, r) < r);
		free(exact_mount);
		free(exact_root);
	}
	free(mount);
	free(root);
}

static void
check_numbers(const char *text)
{
	uint64_t usage = 4711, limit = 4711, high, max, oom, total, available;
	uint64_t pages[7], digits;
	int as_usage = limits_parse_usage(text, &usage);
	int as_limit = limits_parse_limit(text, &limit);

	must(as_usage == 0 || as_usage == -EINVAL);
	must(as_limit == 0 || as_limit == -EINVAL);
	if (as_usage == 0) { /* what is used is a limit too, or none */
		must(as_limit == 0 && (limit == usage || limit == UINT64_MAX));
		digits = strtoull(text, NULL, 10);
		must(digits == usage);
	} else {
		must(as_limit != 0 || strncmp(text, "max", 3) == 0);
	}
	if (notify_parse_events(text, &high, &max, &oom) == 0)
		must(strstr(text, "high") && strstr(text, "max") &&
		     (!oom || strstr(text, "oom")));
	limits_parse_stat(text, false);
	limits_parse_stat(text, true);
	limits_parse_statm(text, pages);
	if (limits_parse_meminfo(text, &total, &available) == 0)
		must(total % 1024 == 0 && available % 1024 == 0 &&
		     strstr(text, "MemTotal:") &&
		     strstr(text, "MemAvailable:"));
}

/* A first line that says nothing changes nothing. */
static void
check_prefixed(const char *text, size_t size)
{
	static const char before[] = "9 nothing:\n";
	char *longer = room(size + sizeof before);
	char paths[2][LIMITS_PATH_BYTES], roots[2][LIMITS_PATH_BYTES];
	uint64_t numbers[2][3];
	int found[2];

	memset(paths, 0, sizeof paths);
	memset(roots, 0, sizeof roots);
	memset(numbers, 0, sizeof numbers);
	memcpy(longer, before, sizeof before - 1);
	memcpy(longer + sizeof before - 1, text, size + 1);
	for (int i = 0; i < 2; i++)
		found[i] = limits_parse_cgroup(i ? longer : text, paths[i],
					       sizeof paths[i]);
	must(found[0] == found[1] && strcmp(paths[0], paths[1]) == 0);
	for (int i = 0; i < 2; i++)
		found[i] = limits_parse_mountinfo(i ? longer : text, true,
						  paths[i], sizeof paths[i],
						  roots[i], sizeof roots[i]);
	must(found[0] == found[1]);
	must(found[0] || (strcmp(paths[0], paths[1]) == 0 &&
			  strcmp(roots[0], roots[1]) == 0));
	must(limits_parse_stat(text, true) == limits_parse_stat(longer, true));
	for (int i = 0; i < 2; i++)
		found[i] = notify_parse_events(i ? longer : text,
					       &numbers[i][0], &numbers[i][1],
					       &numbers[i][2]);
	must(found[0] == found[1]);
	must(found[0] || memcmp(numbers[0], numbers[1], sizeof *numbers) == 0);
	free(longer);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = room(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	check_cgroup(text);
	check_mountinfo(text, false);
	check_mountinfo(text, true);
	check_numbers(text);
	check_prefixed(text, strlen(text));
	free(text);
	return 0;
}
