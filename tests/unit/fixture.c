/* SPDX-License-Identifier: BSD-2-Clause */
/* Made-up kernel files, and a real cgroup: see fixture.h. */
#include "tests/unit/fixture.h"

#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/settings.h"
#include "pressure/limits.h"
#include "tests/tap.h"

#define V1_MOUNT "/sys/fs/cgroup/memory"

static char folder[64];
static char home[LIMITS_PATH_BYTES + 64]; /* our v1 group */
static char group[LIMITS_PATH_BYTES + 128];

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

const char *
fixture_begin(void)
{
	fixture_end();
	strcpy(folder, "/tmp/spillway-fixture-XXXXXX");
	if (!mkdtemp(folder))
		tap_bail_out("no folder: %s", strerror(errno));
	strcpy(settings()->root, folder);
	return folder;
}

void
fixture_end(void)
{
	if (folder[0])
		nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	folder[0] = settings()->root[0] = '\0';
}

const char *
fixture_path(const char *path)
{
	static char full[4096];

	snprintf(full, sizeof full, "%s%s", folder, path);
	return full;
}

void
fixture_file(const char *path, const char *format, ...)
{
	char full[4096], *slash;
	va_list arguments;
	FILE *file;

	strcpy(full, fixture_path(path));
	for (slash = strchr(full + strlen(folder) + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(full, 0700) != 0 && errno != EEXIST)
			tap_bail_out("no folder %s: %s", full, strerror(errno));
		*slash = '/';
	}
	file = fopen(full, "w");
	if (!file)
		tap_bail_out("cannot write %s: %s", full, strerror(errno));
	va_start(arguments, format);
	vfprintf(file, format, arguments);
	va_end(arguments);
	if (fclose(file) != 0)
		tap_bail_out("cannot write %s: %s", full, strerror(errno));
}

void
fixture_remove(const char *path)
{
	nftw(fixture_path(path), remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int
write_group(const char *directory, const char *name, const char *text)
{
	char path[sizeof group + 64];

	snprintf(path, sizeof path, "%s/%s", directory, name);
	return file_write(path, text, strlen(text));
}

const char *
fixture_group_begin(unsigned long long limit_bytes, const char **why)
{
	char text[65536], path[LIMITS_PATH_BYTES], number[32];

	*why = "no v1 memory controller";
	if (file_read("/proc/self/cgroup", text, sizeof text) <= 0 ||
	    limits_parse_cgroup(text, path, sizeof path) != 1)
		return NULL;
	snprintf(home, sizeof home, V1_MOUNT "%s",
		 strcmp(path, "/") == 0 ? "" : path);
	if (access(home, F_OK) != 0)
		strcpy(home, V1_MOUNT);
	snprintf(group, sizeof group, "%s/spillway-unit-%d", home,
		 (int)getpid());
	snprintf(number, sizeof number, "%llu", limit_bytes);
	if (mkdir(group, 0700) != 0) {
		*why = "no right to make a memory cgroup";
		group[0] = '\0';
		return NULL;
	}
	if (write_group(group, "memory.limit_in_bytes", number) != 0) {
		*why = "no right to limit a memory cgroup";
		fixture_group_end();
		return NULL;
	}
	return group;
}

int
fixture_group_enter(void)
{
	return write_group(group, "cgroup.procs", "0");
}

void
fixture_group_end(void)
{
	if (!group[0])
		return;
	write_group(home, "cgroup.procs", "0");
	/* Pages that are still on their way out keep it for a moment. */
	for (int i = 0; i < 50 && rmdir(group) != 0 && errno == EBUSY; i++)
		usleep(20000);
	group[0] = '\0';
}
