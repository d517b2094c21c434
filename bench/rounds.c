/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Children for rounds, and medians over them.
 */
#include "bench/rounds.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"

void *
rounds_share(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		bench_die("mmap of %zu bytes", bytes);
	return memory;
}

void
rounds_child(void (*run)(void *argument), void *argument)
{
	struct rusage usage;
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child < 0)
		bench_die("fork");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run(argument);
		fflush(stdout);
		_exit(0);
	}
	while (wait4(child, &status, 0, &usage) < 0)
		if (errno != EINTR)
			bench_die("wait4");
	errno = 0;
	if (WIFSIGNALED(status))
		bench_die("a child was killed by %s",
			  strsignal(WTERMSIG(status)));
	if (status != 0)
		exit(1); /* it has said why */
	if ((uint64_t)usage.ru_maxrss * 1024 > bench_child_peak_bytes)
		bench_child_peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
}

int
rounds_parts(const struct rounds_part *parts, const char *program,
	     const char *only)
{
	unsigned ran = 0;

	for (; parts->name; parts++)
		if (strstr(parts->name, only)) {
			parts->run();
			ran++;
		}
	if (!ran)
		fprintf(stderr, "%s: --only '%s': no such part\n", program,
			only);
	return ran ? 0 : 2;
}

void
figures_add(struct figures *figures, double value)
{
	if (figures->count < ROUNDS_MAX)
		figures->values[figures->count++] = value;
}

static int
compare(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return left < right ? -1 : left > right;
}

double
figures_at(const struct figures *figures, double fraction)
{
	struct figures sorted = *figures;

	if (sorted.count == 0)
		return 0;
	qsort(sorted.values, sorted.count, sizeof sorted.values[0], compare);
	return sorted.values[(unsigned)(fraction * (sorted.count - 1) + 0.5)];
}

void
figures_row(const char *name, const char *params, const char *unit,
	    const struct figures *figures)
{
	bench_row(name, params, figures_at(figures, 0.5), unit,
		  figures_at(figures, 0.5), figures_at(figures, 0.99));
}

void
figures_ratio(const char *name, const char *params, const struct figures *a,
	      const struct figures *b)
{
	struct figures ratio = { 0 };

	for (unsigned i = 0; i < a->count && i < b->count; i++)
		figures_add(&ratio, a->values[i] / b->values[i]);
	figures_row(name, params, "x", &ratio);
}
