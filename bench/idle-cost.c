/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a preloaded malloc costs a process that does nothing: wake-ups a
 * second of all its threads, and CPU time.
 *
 * The program starts itself as a child, under the same preload, that holds a
 * live heap and pauses; then it reads the child's /proc/PID/task. With
 * --near the child gets SPILLWAY_CONF=limit: little above its heap, so that
 * a limit is near and nothing can be freed. For a limit that any allocator
 * feels, start the program in a memory cgroup (bench/run does).
 */
#include "bench/bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct counters {
	uint64_t run_ns;
	uint64_t wakeups;
	uint64_t threads;
};

static uint64_t heap_bytes = 64u << 20;
static uint64_t free_bytes;
static uint64_t seconds = 10;
static uint64_t settle_ms = 1500;
static uint64_t near_bytes;

static void __attribute__((noreturn)) be_idle(void)
{
	uint64_t block = 65536;
	void *last = NULL;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint64_t done = 0; done < heap_bytes + free_bytes; done += block) {
		void **page = bench_malloc(block);

		memset(page, 1, block);
		*page = last;
		last = page;
	}
	for (uint64_t done = 0; done < free_bytes; done += block) {
		void *next = *(void **)last;

		free(last);
		last = next;
	}
	bench_use(last);
	if (write(STDOUT_FILENO, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static pid_t
start_child(void)
{
	char heap[32], garbage[32], conf[160], byte;
	const char *arguments[] = { "idle-cost", "--child", "--heap", heap,
				    "--garbage", garbage,   NULL };
	const char *old = getenv("SPILLWAY_CONF");
	posix_spawn_file_actions_t actions;
	int ready[2];
	pid_t pid;

	snprintf(heap, sizeof heap, "%llu", (unsigned long long)heap_bytes);
	snprintf(garbage, sizeof garbage, "%llu",
		 (unsigned long long)free_bytes);
	if (near_bytes > 0) {
		snprintf(conf, sizeof conf, "%s%slimit:%lluM",
			 old != NULL ? old : "",
			 old != NULL && *old != '\0' ? "," : "",
			 (unsigned long long)((heap_bytes + near_bytes) >> 20));
		setenv("SPILLWAY_CONF", conf, 1);
	}
	if (pipe(ready) != 0)
		bench_die("pipe");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ready[1], STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, ready[0]);
	errno = posix_spawn(&pid, "/proc/self/exe", &actions, NULL,
			    (char **)arguments, environ);
	if (errno != 0)
		bench_die("posix_spawn of itself");
	posix_spawn_file_actions_destroy(&actions);
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		bench_die("the idle child died");
	return pid;
}

/* The number behind `key` in a status file; 0 where it is not there. */
static uint64_t
field(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at != NULL ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static bool
read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return false;
	length = read(fd, text, size - 1);
	close(fd);
	if (length < 0)
		return false;
	text[length] = '\0';
	return true;
}

static struct counters
read_counters(pid_t pid)
{
	struct counters sum = { 0 };
	char path[400], text[4096];
	struct dirent *entry;
	DIR *tasks;

	snprintf(path, sizeof path, "/proc/%ld/task", (long)pid);
	tasks = opendir(path);
	if (tasks == NULL)
		bench_die("%s", path);
	while ((entry = readdir(tasks)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		sum.threads++;
		snprintf(path, sizeof path, "/proc/%ld/task/%s/status",
			 (long)pid, entry->d_name);
		if (read_file(path, text, sizeof text))
			sum.wakeups += field(text,
					     "\nvoluntary_ctxt_switches:");
		snprintf(path, sizeof path, "/proc/%ld/task/%s/schedstat",
			 (long)pid, entry->d_name);
		if (read_file(path, text, sizeof text))
			sum.run_ns += strtoull(text, NULL, 10);
	}
	closedir(tasks);
	return sum;
}

int
main(int argc, char **argv)
{
	static const struct bench_option options[] = {
		{ "heap", "SIZE", "live heap of the idle process (64M)",
		  &heap_bytes, NULL, NULL },
		{ "garbage", "SIZE", "freed heap beside it (0)", &free_bytes,
		  NULL, NULL },
		{ "seconds", "N", "how long it is watched (10)", &seconds, NULL,
		  NULL },
		{ "settle", "MS", "before the watch begins (1500)", &settle_ms,
		  NULL, NULL },
		{ "near", "SIZE",
		  "spillway's limit: so much above the heap (0: none)",
		  &near_bytes, NULL, NULL },
		{ 0 },
	};
	static const struct bench_program program = {
		.name = "idle-cost",
		.summary = "Wake-ups and CPU time of an idle process.",
		.options = options,
	};
	struct counters before, after;
	uint64_t begin, ns;
	char params[96];
	pid_t pid;

	/* The child prints nothing but its ready byte. */
	if (argc > 1 && strcmp(argv[1], "--child") == 0) {
		heap_bytes = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
		free_bytes = argc > 5 ? strtoull(argv[5], NULL, 10) : 0;
		be_idle();
	}
	bench_start(&program, argc, argv);
	if (bench_smoke) {
		heap_bytes = 1u << 20;
		settle_ms = 0;
	}
	pid = start_child();
	bench_sleep_ns(settle_ms * 1000000u);
	before = read_counters(pid);
	begin = bench_now_ns();
	bench_sleep_ns(bench_smoke ? 5000000u : seconds * 1000000000u);
	after = read_counters(pid);
	ns = bench_now_ns() - begin;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	snprintf(params, sizeof params, "heap=%lluM,garbage=%lluM,near=%lluM",
		 (unsigned long long)(heap_bytes >> 20),
		 (unsigned long long)(free_bytes >> 20),
		 (unsigned long long)(near_bytes >> 20));
	bench_row("idle-wakeups", params,
		  (double)(after.wakeups - before.wakeups) * 1e9 / (double)ns,
		  "1/s", -1, -1);
	bench_row("idle-cpu", params,
		  (double)(after.run_ns - before.run_ns) * 100 / (double)ns,
		  "%", -1, -1);
	bench_row("idle-threads", params, (double)after.threads, "threads", -1,
		  -1);
	return 0;
}
