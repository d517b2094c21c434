/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events for burst-return and malloc-tail.
 *
 * The neighbour is forked before the heap is big, so that it neither shares
 * the burst's pages nor pays for copying its page tables; it waits on a pipe.
 * Commands are started by posix_spawn for the same reason.
 */
#include "bench/event.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <spillway/reclaim.h>

#include "bench/bench.h"

extern char **environ;

static enum { NONE, SELF, GROW, COMMAND } kind;
static const char *command;
static pid_t neighbour = -1;
static int to_neighbour = -1, from_neighbour = -1;

static bool
purge_spillway(void)
{
	int (*reclaim)(uint64_t *, const struct spw_reclaim_options *);
	uint64_t bytes = 0;

	reclaim = (int (*)(uint64_t *, const struct spw_reclaim_options *))
		dlsym(RTLD_DEFAULT, "spw_reclaim");
	return reclaim != NULL && reclaim(&bytes, NULL) == 0;
}

static bool
purge_jemalloc(void)
{
	int (*control)(const char *, void *, size_t *, void *, size_t);

	control = (int (*)(const char *, void *, size_t *, void *,
			   size_t))dlsym(RTLD_DEFAULT, "mallctl");
	/* 4096 is MALLCTL_ARENAS_ALL. */
	return control != NULL &&
	       control("arena.4096.purge", NULL, NULL, NULL, 0) == 0;
}

static bool
purge_mimalloc(void)
{
	void (*collect)(bool) = (void (*)(bool))dlsym(RTLD_DEFAULT,
						      "mi_collect");

	if (collect != NULL)
		collect(true);
	return collect != NULL;
}

static bool
purge_tcmalloc(void)
{
	void (*release)(void) = (void (*)(void))dlsym(
		RTLD_DEFAULT, "MallocExtension_ReleaseFreeMemory");

	if (release != NULL)
		release();
	return release != NULL;
}

static bool
purge_glibc(void)
{
	int (*trim)(size_t) = (int (*)(size_t))dlsym(RTLD_DEFAULT,
						     "malloc_trim");

	if (trim != NULL)
		trim(0);
	return trim != NULL;
}

/* In the order of preference. */
static const struct {
	const char *name;
	bool (*purge)(void);
} purges[] = {
	{ "spw_reclaim", purge_spillway },
	{ "mallctl", purge_jemalloc },
	{ "mi_collect", purge_mimalloc },
	{ "MallocExtension_ReleaseFreeMemory", purge_tcmalloc },
	{ "malloc_trim", purge_glibc },
};

#define PURGES (sizeof purges / sizeof purges[0])

/* malloc_trim is the last, and alone where the malloc is glibc's. */
uint64_t
event_purge_all(void)
{
	uint64_t purged = 0;

	for (size_t i = 0; i < PURGES; i++) {
		uint64_t rss;

		if (!purges[i].purge())
			continue;
		rss = bench_rss_bytes();
		if (i < PURGES - 1 || purged == 0)
			purged = rss;
		bench_note("RSS after %s: %.2f MiB", purges[i].name,
			   (double)rss / 1048576);
	}
	return purged;
}

static void __attribute__((noreturn))
neighbour_main(int from_parent, int to_parent, uint64_t bytes)
{
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (read(from_parent, &byte, 1) != 1)
		_exit(0);
	if (!bench_grow(bytes))
		_exit(1);
	if (write(to_parent, &byte, 1) != 1)
		_exit(1);
	while (read(from_parent, &byte, 1) == 1)
		;
	_exit(0);
}

static void
prepare_neighbour(const char *size)
{
	int down[2], up[2];
	char *end;
	uint64_t bytes = strtoull(size, &end, 10);

	bytes <<= *end == 'G' ? 30 : *end == 'M' ? 20 : *end == 'K' ? 10 : 0;
	if (bytes == 0) {
		fprintf(stderr, "event 'grow:%s' names no size\n", size);
		exit(2);
	}
	if (bench_smoke)
		bytes = 1u << 20;
	if (pipe(down) != 0 || pipe(up) != 0)
		bench_die("pipe");
	fflush(stdout);
	neighbour = fork();
	if (neighbour < 0)
		bench_die("fork");
	if (neighbour == 0) {
		close(down[1]);
		close(up[0]);
		neighbour_main(down[0], up[1], bytes);
	}
	close(down[0]);
	close(up[1]);
	to_neighbour = down[1];
	from_neighbour = up[0];
}

const char *
event_kind(const char *text)
{
	if (strcmp(text, "none") == 0)
		return "none";
	if (strcmp(text, "self") == 0)
		return "self";
	return strncmp(text, "grow:", 5) == 0 ? "grow" : "command";
}

void
event_prepare(const char *text)
{
	command = text;
	if (strcmp(text, "none") == 0)
		kind = NONE;
	else if (strcmp(text, "self") == 0)
		kind = SELF;
	else if (strncmp(text, "grow:", 5) == 0) {
		kind = GROW;
		prepare_neighbour(text + 5);
	} else
		kind = COMMAND;
}

static int
fire_command(void)
{
	enum { VARIABLES = 256 };
	static char *variables[VARIABLES + 2];
	static char own_pid[32];
	const char *arguments[] = { "sh", "-c", command, NULL };
	size_t count = 0;
	pid_t child;
	int status = 0;

	for (char **at = environ; *at != NULL && count < VARIABLES; at++)
		if (strncmp(*at, "LD_PRELOAD=", 11) != 0 &&
		    strncmp(*at, "PID=", 4) != 0)
			variables[count++] = *at;
	snprintf(own_pid, sizeof own_pid, "PID=%ld", (long)getpid());
	variables[count++] = own_pid;
	variables[count] = NULL;
	errno = posix_spawn(&child, "/bin/sh", NULL, NULL, (char **)arguments,
			    variables);
	if (errno != 0)
		bench_die("posix_spawn of /bin/sh");
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			bench_die("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int
event_fire(void)
{
	char byte = 1;

	switch (kind) {
	case NONE:
		break;
	case SELF:
		for (size_t i = 0; i < PURGES; i++)
			if (purges[i].purge())
				break;
		break;
	case GROW:
		if (write(to_neighbour, &byte, 1) != 1 ||
		    read(from_neighbour, &byte, 1) != 1)
			bench_die("the neighbour died");
		break;
	case COMMAND:
		return fire_command();
	}
	return 0;
}

void
event_end(void)
{
	if (neighbour < 0)
		return;
	close(to_neighbour);
	waitpid(neighbour, NULL, 0);
	neighbour = -1;
}
