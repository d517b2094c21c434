/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program whose signal handler maps memory while its main thread is in
 * malloc: as profilers and runtimes do. What starts our threads must not do
 * so in there. Ends with code 0, or by SIGKILL of whoever waits for it.
 *
 * Usage: signal_maps [stack]: on a signal stack of its own, too.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MAP_BYTES (192ul << 10)
#define MAPS 400
#define BLOCKS 64

static volatile sig_atomic_t maps;

/* Address space alone: 75 MiB in all. */
static void
handler(int number)
{
	(void)number;
	if (maps < MAPS &&
	    mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		maps++;
}

int
main(int argc, char **argv)
{
	const struct itimerval often = { { 0, 40 }, { 0, 40 } };
	static char stack[256 << 10];
	stack_t own = { .ss_sp = stack, .ss_size = sizeof stack };
	struct sigaction action = { .sa_handler = handler };
	static void *blocks[BLOCKS];
	unsigned seed = (unsigned)getpid();
	unsigned long rounds = 0;

	action.sa_flags = SA_RESTART;
	if (argc > 1 && strcmp(argv[1], "stack") == 0) {
		sigaltstack(&own, NULL);
		action.sa_flags |= SA_ONSTACK;
	}
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	/* Under 16 MiB in all: it is the handler that crosses the mark. */
	while (maps < MAPS) {
		void **block = &blocks[rand_r(&seed) % BLOCKS];

		free(*block);
		*block = malloc(16384 + (size_t)rand_r(&seed) % 131072);
		rounds++;
	}
	printf("%lu\n", rounds);
	fflush(stdout);
	_exit(0);
}
