/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a program is, before it is run: whether an LD_PRELOAD reaches it.
 *
 * Usage: target_find() where it is, target_inspect() what it is.
 *
 * Caveats: looks at files as they are now; exec(2) has the last word.
 */
#ifndef CLI_TARGET_H
#define CLI_TARGET_H

#include <limits.h>
#include <stdbool.h>

#define TARGET_WHY_BYTES (PATH_MAX + 256)

struct target {
	char path[PATH_MAX]; /* what the words are about: the program, or
				 * the interpreter of a script */
	bool preload_works;
	bool preload_harmful;       /* leave the library out for children too */
	char why[TARGET_WHY_BYTES]; /* empty: nothing to say */
};

/*
 * Looks for a command as execvp(3) does: 0, -ENOENT, -EACCES (found, not
 * executable), -EISDIR, -ENOTDIR, -ENAMETOOLONG, -ELOOP. On errors path is
 * what was looked at last.
 */
int target_find(const char *command, char path[PATH_MAX]);

/*
 * 0; -ENOENT: a script's interpreter or a program's loader is missing (why
 * says which); -EIO and the like where it cannot be read, which is no reason
 * not to run it.
 */
int target_inspect(const char *path, struct target *target);

#endif
