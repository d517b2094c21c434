/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program on Boehm's collector that knows nothing of spillway, for gc-boehm.t
 * (which compiles it, where <gc.h> is there).
 *
 * Usage: gc_boehm burst LIVE GARBAGE GO    MiB; idles until GO exists
 *        gc_boehm churn SECONDS            threads that make garbage
 *        gc_boehm final N GO               which thread runs finalizers
 *        gc_boehm fork N GO                children that collect
 *        gc_boehm short                    a few MiB, and the end
 *        gc_boehm elastic LIVE ROUNDS      a long-lived heap and churn
 */
#define GC_THREADS
#include <gc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct node {
	struct node *next;
	unsigned long value;
	char filling[1000];
};

static int __attribute__((noinline))
fill(struct node **place, long bytes, unsigned long seed)
{
	*place = NULL;
	for (long b = 0; b < bytes; b += (long)sizeof(struct node)) {
		struct node *n = GC_MALLOC(sizeof *n);

		n->next = *place;
		n->value = seed++;
		*place = n;
	}
	return 0;
}

static unsigned long
sum(const struct node *n)
{
	unsigned long total = 0;

	for (; n; n = n->next)
		total = total * 31 + n->value;
	return total;
}

static void
wait_for(const char *file)
{
	puts("ready");
	fflush(stdout);
	while (access(file, F_OK) != 0)
		usleep(10000);
}

static struct node **all;

static int
burst(char **words)
{
	struct node *live;
	long garbage = atol(words[1]);

	all = GC_MALLOC((size_t)garbage * sizeof(struct node *));
	fill(&live, atol(words[0]) << 20, 1);
	for (long i = 0; i < garbage; i++)
		fill(&all[i], 1 << 20, 7);
	for (long i = 0; i < garbage; i++)
		all[i] = NULL;
	wait_for(words[2]);
	printf("%lu\n", sum(live));
	return 3;
}

/* The sum does not depend on when anything is collected. */
static void *
churner(void *argument)
{
	struct node *kept[64] = { NULL };
	unsigned long rounds = *(unsigned long *)argument, total = 0;

	for (unsigned long i = 0; i < rounds; i++) {
		if (kept[i % 64])
			total = total * 31 + sum(kept[i % 64]);
		fill(&kept[i % 64], 64 << 10, i);
	}
	return (void *)total;
}

static int
churn(char **words)
{
	unsigned long rounds = (unsigned long)(atof(words[0]) * 4000);
	pthread_t threads[3];
	unsigned long total = 0;
	void *one;

	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, churner, &rounds);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], &one);
		total = total * 31 + (unsigned long)one;
	}
	printf("%lu\n", total);
	return 3;
}

static pthread_t first;
static unsigned long here, elsewhere;

static void
finalize(void *object, void *unused)
{
	(void)object;
	(void)unused;
	if (pthread_equal(pthread_self(), first))
		here++;
	else
		elsewhere++;
}

static int __attribute__((noinline)) make_final(long n)
{
	for (long i = 0; i < n; i++)
		GC_register_finalizer(GC_MALLOC(4096), finalize, NULL, NULL,
				      NULL);
	return 0;
}

static int
final(char **words)
{
	long n = atol(words[0]);

	first = pthread_self();
	make_final(n);
	wait_for(words[1]);
	for (int i = 0; i < 100000; i++)
		GC_MALLOC(64);
	GC_gcollect();
	GC_invoke_finalizers();
	printf("%d elsewhere %lu\n", here > (unsigned long)n / 2, elsewhere);
	return 3;
}

static int
forks(char **words)
{
	struct node *live;
	int bad = 0;

	fill(&live, 32 << 20, 1);
	puts("ready");
	fflush(stdout);
	for (long i = atol(words[0]); i > 0; i--) {
		pid_t child = fork();
		int status = -1;

		if (child == 0) {
			struct node *more;

			alarm(20);
			fill(&more, 8 << 20, 1);
			GC_gcollect();
			_exit(sum(live) == sum(live) && more ? 0 : 1);
		}
		waitpid(child, &status, 0);
		bad += status != 0;
		fill(&live, 32 << 20, 1);
	}
	printf("%d %lu\n", bad, sum(live));
	return 3;
}

static int
shortly(void)
{
	struct node *live;

	fill(&live, 24 << 20, 1);
	printf("%lu\n", sum(live));
	return 3;
}

struct small {
	struct small *next;
	long value;
	char filling[48];
};

static int
elastic(char **words)
{
	long many = (atol(words[0]) << 20) / (long)sizeof(struct small);
	long rounds = atol(words[1]) << 14;
	struct small **table = GC_MALLOC((size_t)many * sizeof(struct small *));
	unsigned long random = 1, total = 0;

	for (long i = 0; i < many; i++)
		table[i] = GC_MALLOC(sizeof(struct small));
	for (long i = 0; i < rounds; i++) {
		struct small *s = GC_MALLOC(sizeof *s);

		random = random * 6364136223846793005ul + 1;
		s->value = (long)(random >> 40);
		if (random >> 60 == 0)
			table[(random >> 20) % (unsigned long)many] = s;
		total += (unsigned long)s->value;
	}
	printf("%lu\n", total);
	return 3;
}

int
main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	GC_INIT();
	if (strcmp(mode, "burst") == 0 && argc == 5)
		return burst(argv + 2);
	if (strcmp(mode, "churn") == 0 && argc == 3)
		return churn(argv + 2);
	if (strcmp(mode, "final") == 0 && argc == 4)
		return final(argv + 2);
	if (strcmp(mode, "fork") == 0 && argc == 4)
		return forks(argv + 2);
	if (strcmp(mode, "short") == 0)
		return shortly();
	if (strcmp(mode, "elastic") == 0 && argc == 4)
		return elastic(argv + 2);
	fprintf(stderr, "gc_boehm: see its first comment\n");
	return 2;
}
