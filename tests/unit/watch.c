/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pressure/watch.c: limits of real groups that are changed, and files that
 * are not there.
 */
#include "pressure/watch.h"

#include <stdio.h>
#include <string.h>

#include "base/settings.h"
#include "tests/tap.h"
#include "tests/unit/fixture.h"

#define MIB (1ull << 20)

static struct limits limits;
static struct watch watch;

static void
group(const char *path, bool v2)
{
	memset(&limits, 0, sizeof limits);
	limits.v2 = v2;
	limits.groups_count = 1;
	snprintf(limits.groups[0].path, sizeof limits.groups[0].path, "%s",
		 path);
}

static void
files(void)
{
	fixture_begin();
	fixture_file("/g/memory.max", "max\n");
	fixture_file("/g/memory.high", "max\n");
	fixture_file("/g/memory.current", "1\n");
	group(fixture_path("/g"), true);
	watch_open(&watch, &limits);
	tap_is(watch.files, 2, "v2 has two limits");
	tap_ok(!watch_read(&watch), "nothing was written");
	fixture_file("/g/memory.current", "2\n");
	tap_ok(!watch_read(&watch), "usage is no limit");
	fixture_file("/g/memory.high", "104857600\n");
	tap_ok(watch_read(&watch), "memory.high is seen");
	tap_ok(!watch_read(&watch), "once");
	fixture_file("/g/memory.max", "104857600\n");
	tap_ok(watch_read(&watch), "memory.max is seen");
	fixture_remove("/g");
	tap_ok(!watch_read(&watch), "files that go are no change");
	watch_close(&watch);
	watch_open(&watch, &limits);
	tap_ok(watch.fd < 0 && strstr(watch.why, "memory.max: No such file"),
	       "no files: said: %s", watch.why);
	limits.groups_count = 0;
	watch_open(&watch, &limits);
	tap_ok(watch.fd < 0 && strstr(watch.why, "no control group"),
	       "no group: said");
}

static void
a_real_group(void)
{
	const char *why, *path;
	char limit[4096];
	FILE *file;

	fixture_end();
	path = fixture_group_begin(300 * MIB, &why);
	if (!path) {
		tap_skip(2, "%s", why);
		return;
	}
	group(path, false);
	watch_open(&watch, &limits);
	tap_ok(watch.fd >= 0 && !watch_read(&watch), "a real v1 group");
	snprintf(limit, sizeof limit, "%s/memory.limit_in_bytes", path);
	file = fopen(limit, "w");
	if (!file || fprintf(file, "209715200\n") < 0 || fclose(file) != 0)
		tap_bail_out("%s cannot be written", limit);
	tap_ok(watch_read(&watch), "tells that its limit was changed");
	watch_close(&watch);
	fixture_group_end();
}

int
main(void)
{
	files();
	a_real_group();
	return tap_done();
}
