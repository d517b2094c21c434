/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finding and inspecting a program.
 *
 * Called by run.c; calls elf.c for what the file says of itself. A script is
 * followed to its interpreter (as the kernel does, four deep), and through
 * env(1), which is what most scripts name.
 */
#include "cli/target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cli/elf.h"

#define SCRIPT_DEPTH_MAX 4

/* One place to look at: 0 or -errno. */
static int
check_file(const char *path)
{
	struct stat status;

	if (stat(path, &status) != 0)
		return -errno;
	if (S_ISDIR(status.st_mode))
		return -EISDIR;
	/* faccessat with real ids would misjudge a setuid caller. */
	if (!S_ISREG(status.st_mode) ||
	    faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0)
		return -EACCES;
	return 0;
}

int
target_find(const char *command, char path[PATH_MAX])
{
	const char *folders = getenv("PATH");
	int worst = -ENOENT;

	snprintf(path, PATH_MAX, "%s", command);
	if (!*command)
		return -ENOENT;
	if (strlen(command) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (strchr(command, '/'))
		return check_file(command);
	if (!folders)
		folders = "/bin:/usr/bin";
	for (const char *at = folders;; at++) {
		size_t length = strcspn(at, ":");
		char place[PATH_MAX];
		int n = snprintf(place, sizeof place, "%.*s%s%s", (int)length,
				 at, length ? "/" : "./", command);
		int error = n < PATH_MAX ? check_file(place) : -ENAMETOOLONG;

		if (!error) {
			memcpy(path, place, sizeof place);
			return 0;
		}
		if (error == -EACCES) {
			memcpy(path, place, sizeof place);
			worst = error;
		}
		at += length;
		if (!*at)
			return worst;
	}
}

/* The words of a #! line: interpreter and the one argument, both cut out. */
static bool
script_words(char *line, char **interpreter, char **argument)
{
	char *end;

	if (strncmp(line, "#!", 2) != 0)
		return false;
	line[strcspn(line, "\n")] = '\0';
	*interpreter = line + 2 + strspn(line + 2, " \t");
	end = *interpreter + strcspn(*interpreter, " \t");
	*argument = end + strspn(end, " \t");
	*end = '\0';
	for (end = *argument + strlen(*argument);
	     end > *argument && (end[-1] == ' ' || end[-1] == '\t'); end--)
		end[-1] = '\0';
	return **interpreter != '\0';
}

/* What env(1) will start: the first word that is no option or assignment. */
static const char *
env_command(char *argument)
{
	char *rest;

	for (char *word = strtok_r(argument, " \t", &rest); word;
	     word = strtok_r(NULL, " \t", &rest))
		if (word[0] != '-' && !strchr(word, '='))
			return word;
	return NULL;
}

static bool
is_named(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');

	return strcmp(slash ? slash + 1 : path, name) == 0;
}

/* Follows #!; t->path becomes the program that will run. */
static int
follow_script(struct target *t)
{
	for (int depth = 0; depth < SCRIPT_DEPTH_MAX; depth++) {
		char line[512], next[PATH_MAX];
		char *interpreter, *argument;
		const char *command;
		int fd = open(t->path, O_RDONLY | O_CLOEXEC);
		ssize_t n;

		if (fd < 0)
			return -errno;
		n = read(fd, line, sizeof line - 1);
		close(fd);
		if (n < 0)
			return -errno;
		line[n] = '\0';
		if (!script_words(line, &interpreter, &argument))
			return 0;
		command = is_named(interpreter, "env") ? env_command(argument) :
							 NULL;
		if (target_find(command ? command : interpreter, next) != 0) {
			snprintf(t->why, sizeof t->why,
				 "its interpreter \"%s\" cannot be run",
				 command ? command : interpreter);
			return command ? 0 : -ENOENT;
		}
		memcpy(t->path, next, sizeof next);
	}
	return -ELOOP;
}

/*
 * Whether exec(2) will raise privileges, which has the loader ignore an
 * LD_PRELOAD with a slash in it.
 */
static bool
raises_privileges(const char *path, const char **what)
{
	struct stat status;
	struct statvfs mount;
	char capability[64];

	if (stat(path, &status) != 0 ||
	    prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ||
	    (statvfs(path, &mount) == 0 && (mount.f_flag & ST_NOSUID)))
		return false;
	if ((status.st_mode & S_ISUID) && status.st_uid != getuid()) {
		*what = "setuid";
		return true;
	}
	if ((status.st_mode & S_ISGID) && (status.st_mode & S_IXGRP) &&
	    status.st_gid != getgid()) {
		*what = "setgid";
		return true;
	}
	if (getuid() != 0 && getxattr(path, "security.capability", capability,
				      sizeof capability) > 0) {
		*what = "with file capabilities";
		return true;
	}
	return false;
}

static void
judge(struct target *t, const struct elf *e)
{
	const char *what;

	if (!e->is_elf) {
		if (!t->why[0])
			snprintf(t->why, sizeof t->why,
				 "neither a program nor a script with #!: "
				 "/bin/sh gets it");
		t->preload_works = true;
		return;
	}
	if (e->other_machine) {
		t->preload_harmful = true;
		snprintf(t->why, sizeof t->why,
			 "built for another machine (%s): the preload cannot "
			 "work",
			 e->other_machine);
	} else if (e->is_static) {
		snprintf(t->why, sizeof t->why, "%s: the preload cannot work",
			 e->is_go ? "a static Go program with a heap of its "
				    "own" :
				    "static");
	} else if (e->other_libc) {
		t->preload_harmful = true;
		snprintf(t->why, sizeof t->why,
			 "made for another C library (%s, loader %s): the "
			 "preload cannot work",
			 e->other_libc, e->loader);
	} else if (raises_privileges(t->path, &what)) {
		snprintf(t->why, sizeof t->why,
			 "%s: the loader ignores LD_PRELOAD", what);
	} else {
		t->preload_works = true;
		if (e->is_go)
			snprintf(t->why, sizeof t->why,
				 "a Go program: the preload serves its C "
				 "code only, Go's heap is its own "
				 "(set GOMEMLIMIT)");
	}
}

int
target_inspect(const char *path, struct target *t)
{
	struct elf e;
	int error;

	memset(t, 0, sizeof *t);
	t->preload_works = true;
	snprintf(t->path, sizeof t->path, "%s", path);
	error = follow_script(t);
	if (error)
		return error;
	error = elf_read(t->path, &e);
	if (error)
		return error;
	t->preload_works = false;
	judge(t, &e);
	if (e.is_elf && e.loader[0] && access(e.loader, F_OK) != 0) {
		snprintf(t->why, sizeof t->why, "its loader %s is missing",
			 e.loader);
		return -ENOENT;
	}
	return 0;
}
