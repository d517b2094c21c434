/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the program's companions are: the library to preload, the helper of
 * the demonstration.
 *
 * Usage: place_find("libspillway-malloc.so", place_library_folders, path).
 *
 * Caveats: in a build folder the companions lie beside the program, in an
 * installation in the folders that configure was given, or, where the whole
 * tree was moved, in the same relation to the program.
 */
#ifndef CLI_PLACE_H
#define CLI_PLACE_H

#include <limits.h>

/* Each is searched after the program's own folder; ends in NULL. */
extern const char *const place_library_folders[];
extern const char *const place_helper_folders[];

#define PLACE_LIBRARY "libspillway-malloc.so"
#define PLACE_HOG "spillway-demo-hog"

/* An absolute path: 0 or -ENOENT. */
int place_find(const char *name, const char *const *folders,
	       char path[PATH_MAX]);

#endif
