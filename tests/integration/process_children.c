/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * process fork, spawn and threads: children in all the ways there are, while
 * other threads allocate, and threads that allocate as late as they can.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/integration/process.h"

#define CHURNERS 3
#define FORKS 60
#define LATE_THREADS 200

static atomic_bool stop;

static void *
churn(void *unused)
{
	(void)unused;
	while (!atomic_load(&stop))
		process_work(4);
	return NULL;
}

static void
wait_for(pid_t pid, int code)
{
	int status;

	process_check(waitpid(pid, &status, 0) == pid, "waitpid");
	process_check(WIFEXITED(status) && WEXITSTATUS(status) == code,
		      "a child did not end as it should");
}

/* Every child allocates, the first of them forks again and grows. */
static void
child(int number)
{
	alarm(20);
	process_work(number % 20 == 0 ? 40 : 1);
	if (number % 20 == 0) {
		pid_t pid = fork();

		process_check(pid >= 0, "fork of a child");
		if (!pid) {
			process_work(40);
			_exit(6);
		}
		wait_for(pid, 6);
	}
	_exit(5);
}

void
process_fork(void)
{
	pthread_t threads[CHURNERS];

	process_work(40);
	for (int i = 0; i < CHURNERS; i++)
		process_check(!pthread_create(&threads[i], NULL, churn, NULL),
			      "pthread_create");
	for (int i = 0; i < FORKS; i++) {
		pid_t pid = fork();

		process_check(pid >= 0, "fork");
		if (!pid)
			child(i);
		wait_for(pid, 5);
		process_work(1);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < CHURNERS; i++)
		pthread_join(threads[i], NULL);
}

void
process_spawn(char *self)
{
	char mode[] = "small";
	char *const arguments[] = { self, mode, NULL };
	pthread_t thread;
	extern char **environ;

	process_work(40);
	process_check(!pthread_create(&thread, NULL, churn, NULL),
		      "pthread_create");
	for (int i = 0; i < 20; i++) {
		posix_spawn_file_actions_t actions;
		pid_t pid;

		posix_spawn_file_actions_init(&actions);
		posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", 1,
						 0);
		process_check(!posix_spawn(&pid, self, &actions, NULL,
					   arguments, environ),
			      "posix_spawn");
		posix_spawn_file_actions_destroy(&actions);
		wait_for(pid, 7);
		pid = vfork(); /* NOLINT(clang-analyzer-security*) */
		if (!pid) {
			execl("/bin/sh", "sh", "-c", "exit 9", NULL);
			_exit(127);
		}
		process_check(pid > 0, "vfork");
		wait_for(pid, 9);
		process_check(WEXITSTATUS(system("exit 3")) == 3, "system");
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
}

static pthread_key_t keys[3];
static atomic_int destroyed;

/* Allocates in every round of destructors that POSIX gives. */
static void
destroy(void *value)
{
	int *rounds = value;
	char *block = malloc(3000);

	process_check(block != NULL, "malloc in a destructor");
	memset(block, 1, 3000);
	free(block);
	atomic_fetch_add(&destroyed, 1);
	if (--*rounds > 0)
		pthread_setspecific(keys[0], rounds);
	else
		free(rounds);
}

static void *
late(void *unused)
{
	int *rounds = malloc(sizeof(*rounds));

	(void)unused;
	process_check(rounds != NULL, "malloc");
	*rounds = 3;
	pthread_setspecific(keys[0], rounds);
	for (int k = 1; k < 3; k++) {
		rounds = malloc(sizeof(*rounds));
		*rounds = 1;
		pthread_setspecific(keys[k], rounds);
	}
	process_work(1);
	return NULL;
}

static void *
beyond_main(void *unused)
{
	(void)unused;
	for (;;)
		process_work(1);
	return NULL;
}

static void
at_exit(void)
{
	process_work(8);
}

/* Threads of `beyond_main` still allocate while the process ends. */
void
process_late_threads(void)
{
	pthread_t threads[LATE_THREADS];
	int expected = LATE_THREADS * 5;

	process_work(40);
	for (int k = 0; k < 3; k++)
		process_check(!pthread_key_create(&keys[k], destroy),
			      "pthread_key_create");
	for (int i = 0; i < LATE_THREADS; i++) {
		process_check(!pthread_create(&threads[i], NULL, late, NULL),
			      "pthread_create");
		if (i >= 8)
			pthread_join(threads[i - 8], NULL);
	}
	for (int i = LATE_THREADS - 8; i < LATE_THREADS; i++)
		pthread_join(threads[i], NULL);
	process_check(atomic_load(&destroyed) == expected,
		      "destructors did not run");
	atexit(at_exit);
	for (int i = 0; i < 3; i++) {
		process_check(!pthread_create(&threads[0], NULL, beyond_main,
					      NULL),
			      "pthread_create");
		pthread_detach(threads[0]);
	}
}
