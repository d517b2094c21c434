/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finding what was installed with the program.
 *
 * Called by run.c and demo.c. Folders that do not begin with a slash are
 * taken from the program's own; .libs is where libtool builds.
 */
#include "cli/place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef SPILLWAY_LIBDIR
#define SPILLWAY_LIBDIR "/usr/local/lib"
#endif
#ifndef SPILLWAY_LIBEXECDIR
#define SPILLWAY_LIBEXECDIR "/usr/local/libexec/spillway"
#endif

const char *const place_library_folders[] = {
	".", ".libs", "..", SPILLWAY_LIBDIR, "../lib", "../lib64", NULL,
};

const char *const place_helper_folders[] = {
	".", "..", SPILLWAY_LIBEXECDIR, "../libexec/spillway", NULL,
};

/* The folder of the running program; 0 or -errno. */
static int
own_folder(char folder[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", folder, PATH_MAX - 1);
	char *slash;

	if (n < 0)
		return -errno;
	folder[n] = '\0';
	slash = strrchr(folder, '/');
	if (!slash)
		return -ENOENT;
	*slash = '\0';
	return 0;
}

int
place_find(const char *name, const char *const *folders, char path[PATH_MAX])
{
	char own[PATH_MAX];
	char there[PATH_MAX];
	int known = own_folder(own) == 0;

	for (; *folders; folders++) {
		int absolute = **folders == '/';
		int n;

		if (!absolute && !known)
			continue;
		n = snprintf(there, sizeof there, "%s%s%s/%s",
			     absolute ? "" : own, absolute ? "" : "/", *folders,
			     name);
		if (n < PATH_MAX && access(there, R_OK) == 0 &&
		    realpath(there, path))
			return 0;
	}
	return -ENOENT;
}
