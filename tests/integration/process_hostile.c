/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * process seccomp, seccomp-kill, close and lowest: programs that take away
 * what a library lives on, namely system calls and descriptors.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/integration/process.h"

#define ALLOW(name)                                             \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/*
 * What malloc and the end of a program need, and nothing else. With `kill`
 * the process has been large before and is killed for any other call.
 * `direct` takes the other of the two ways to install a filter.
 */
void
process_seccomp(bool kill, bool direct)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		ALLOW(read),
		ALLOW(write),
		ALLOW(exit),
		ALLOW(exit_group),
		ALLOW(futex),
		ALLOW(brk),
		ALLOW(mmap),
		ALLOW(munmap),
		ALLOW(mremap),
		ALLOW(mprotect),
		ALLOW(madvise),
		ALLOW(clock_gettime),
		ALLOW(rt_sigreturn),
		ALLOW(newfstatat),
		ALLOW(getrandom),
		BPF_STMT(BPF_RET | BPF_K, kill ? SECCOMP_RET_KILL_PROCESS :
						 SECCOMP_RET_ERRNO | EPERM),
	};
	struct sock_fprog program = {
		.len = sizeof(filter) / sizeof(*filter),
		.filter = filter,
	};

	process_work(kill ? 64 : 1);
	usleep(50000);
	process_check(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
		      "PR_SET_NO_NEW_PRIVS");
	if (direct)
		process_check(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0,
				       &program),
			      "seccomp");
	else
		process_check(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER,
				     &program),
			      "PR_SET_SECCOMP");
	for (int i = 0; i < 5; i++)
		process_work(64);
}

static void
close_from_3(void)
{
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
}

/*
 * Closes every descriptor twice, once before and once after spillway's
 * threads can have started, and takes the numbers for files of its own: each
 * must hold what was written to it, byte for byte.
 */
void
process_close_all(const char *folder)
{
	enum { FILES = 40 };
	int files[FILES];
	char path[4096];
	char text[64];
	struct stat st;

	close_from_3();
	process_work(64);
	usleep(100000);
	close_from_3();
	for (int i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "%s/file%d", folder, i);
		files[i] = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
		process_check(files[i] == 3 + i, "a number is taken");
	}
	for (int round = 0; round < 20; round++) {
		process_work(48);
		for (int i = 0; i < FILES; i++)
			process_check(write(files[i], "0123456789", 10) == 10,
				      "write");
	}
	for (int i = 0; i < FILES; i++) {
		process_check(!fstat(files[i], &st) && st.st_size == 200,
			      "a file has another size");
		process_check(pread(files[i], text, 20, 180) == 20 &&
				      !memcmp(text, "01234567890123456789", 20),
			      "a file holds something else");
		process_check(!close(files[i]), "close");
	}
}

static _Atomic bool enough;

/* open(2) gives the lowest number that is free: while nobody else opens
 * anything, always the same. */
static void *
open_and_close(void *times)
{
	int lowest = open("/dev/null", O_RDONLY);

	process_check(lowest >= 0 && !close(lowest), "/dev/null");
	for (; !enough; ++*(unsigned long *)times)
		for (int i = 0; i < 2; i++) {
			int fd = open("/dev/null", O_RDONLY);

			process_check(fd == lowest, "a number is taken");
			process_check(!close(fd), "close");
		}
	return NULL;
}

/* Counts on that while the process grows, is short of memory, and shrinks. */
void
process_lowest(void)
{
	unsigned long times = 0;
	pthread_t thread;

	process_check(!pthread_create(&thread, NULL, open_and_close, &times),
		      "pthread_create");
	for (int i = 0; i < 20; i++) {
		process_work(64);
		usleep(20000);
	}
	enough = true;
	process_check(!pthread_join(thread, NULL), "pthread_join");
	process_check(times > 1000, "few were opened");
}
