/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Workloads on Boehm's collector that know nothing of spillway, for bench/gc,
 * which compiles this where <gc.h> is there (cc -O2 -rdynamic gc-boehm.c -lgc).
 *
 * Usage: gc-boehm trees DEPTH | live MIB CHURN-MIB | pause N |
 *	event list|table LIVE-MIB GARBAGE-MIB GO | burst GARBAGE-MIB GO
 *
 * Each prints one line: seconds and a sum (trees, live), microseconds p50 and
 * p99 (pause), or "ready", and once GO exists the number of objects that live
 * (burst) or (event): the longest gap in milliseconds that a thread saw which
 * allocates all the while; the objects that live; the longest hold of libgc's
 * lock by a call that was made under it, in milliseconds; the same on the
 * processor alone; how many; the bytes of free blocks then and at "ready". What
 * lives hangs on one list, which only one thread can follow, or on a table,
 * as a cache's does, which libgc's markers share.
 *
 * GC_call_with_alloc_lock() is libgc's, with a clock: it is found here first.
 */
#define _GNU_SOURCE
#define GC_THREADS
#include <dlfcn.h>
#include <gc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double
seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double
now(void)
{
	return seconds(CLOCK_MONOTONIC);
}

/* Guarded by libgc's lock. */
static double longest_hold, longest_work;
static long holds;

struct held {
	GC_fn_type function;
	void *data;
};

static void *
hold(void *argument)
{
	struct held *h = argument;
	double start = now(), worked = seconds(CLOCK_THREAD_CPUTIME_ID);
	void *result = h->function(h->data);

	worked = seconds(CLOCK_THREAD_CPUTIME_ID) - worked;
	if (worked > longest_work)
		longest_work = worked;
	if (now() - start > longest_hold)
		longest_hold = now() - start;
	holds++;
	return result;
}

void *
GC_call_with_alloc_lock(GC_fn_type function, void *data)
{
	static _Atomic(void *) real;
	struct held h = { function, data };
	void *next = atomic_load(&real);

	if (!next) {
		next = dlsym(RTLD_NEXT, "GC_call_with_alloc_lock");
		atomic_store(&real, next);
	}
	return ((void *(*)(GC_fn_type, void *))next)(hold, &h);
}

struct tree {
	struct tree *left, *right;
};

static struct tree *
grow(int depth)
{
	struct tree *t = GC_MALLOC(sizeof *t);

	if (depth > 0) {
		t->left = grow(depth - 1);
		t->right = grow(depth - 1);
	}
	return t;
}

static long
count(const struct tree *t)
{
	return t->left ? 1 + count(t->left) + count(t->right) : 1;
}

/* The binary trees of the benchmarks game. */
static void
trees(int depth)
{
	double start = now();
	struct tree *kept = grow(depth);
	long all = 0;

	for (int d = 4; d <= depth; d += 4)
		for (int i = 1 << (depth - d + 4); i > 0; i--)
			all += count(grow(d));
	all += count(kept);
	printf("%.3f %ld\n", now() - start, all);
}

struct small {
	struct small *next;
	long value;
	char filling[48];
};

/* A heap that lives long, and garbage beside it. */
static void
live(long live_mib, long churn_mib)
{
	long many = (live_mib << 20) / (long)sizeof(struct small);
	long rounds = (churn_mib << 20) / (long)sizeof(struct small);
	struct small **table = GC_MALLOC((size_t)many * sizeof(void *));
	unsigned long random = 1, all = 0;
	double start;

	for (long i = 0; i < many; i++)
		table[i] = GC_MALLOC(sizeof(struct small));
	start = now();
	for (long i = 0; i < rounds; i++) {
		struct small *s = GC_MALLOC(sizeof *s);

		random = random * 6364136223846793005ul + 1;
		s->value = (long)(random >> 40);
		if (random >> 60 == 0)
			table[(random >> 20) % (unsigned long)many] = s;
		all += (unsigned long)s->value;
	}
	printf("%.3f %lu\n", now() - start, all);
}

static int
compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Collections of a heap of 100 KiB. */
static void
pauses(int n)
{
	void **kept = GC_MALLOC(100 * sizeof(void *));
	double *took = GC_MALLOC_ATOMIC((size_t)n * sizeof *took);

	for (int i = 0; i < 100; i++)
		kept[i] = GC_MALLOC(1000);
	for (int i = 0; i < n; i++) {
		double start = now();

		GC_gcollect();
		took[i] = (now() - start) * 1e6;
	}
	qsort(took, (size_t)n, sizeof *took, compare);
	printf("%.1f %.1f\n", took[n / 2], took[n * 99 / 100]);
}

struct node {
	struct node *next;
	char filling[1000];
};

static struct node **garbage;
static volatile int over;
static double gap;

static void __attribute__((noinline)) fill(struct node **place, long bytes)
{
	*place = NULL;
	for (long b = 0; b < bytes; b += (long)sizeof(struct node)) {
		struct node *n = GC_MALLOC(sizeof *n);

		n->next = *place;
		*place = n;
	}
}

static void *
allocate(void *unused)
{
	double last = now();

	while (!over) {
		double then;

		GC_MALLOC(64);
		then = now();
		if (then - last > gap)
			gap = then - last;
		usleep(200);
		last = now();
	}
	return unused;
}

/* What lives, in so many lists of a KiB and more; and what was dropped. */
static struct node **
live_and_garbage(long live_mib, long lists, long garbage_mib)
{
	struct node **kept = GC_MALLOC((size_t)lists * sizeof(void *));

	garbage = GC_MALLOC((size_t)garbage_mib * sizeof(void *));
	for (long i = 0; i < lists; i++)
		fill(&kept[i], (live_mib << 20) / lists);
	for (long i = 0; i < garbage_mib; i++)
		fill(&garbage[i], 1 << 20);
	for (long i = 0; i < garbage_mib; i++)
		garbage[i] = NULL;
	return kept;
}

static void
wait_for(const char *go)
{
	puts("ready");
	fflush(stdout);
	while (access(go, F_OK) != 0)
		usleep(10000);
}

static long
length(struct node *const *kept, long lists)
{
	long many = 0;

	for (long i = 0; i < lists; i++)
		for (const struct node *n = kept[i]; n; n = n->next)
			many++;
	return many;
}

static void
event(const char *shape, long live_mib, long garbage_mib, const char *go)
{
	long lists = strcmp(shape, "table") == 0 ? live_mib << 10 : 1;
	struct node **kept = live_and_garbage(live_mib, lists, garbage_mib);
	size_t before = GC_get_free_bytes();
	pthread_t thread;

	pthread_create(&thread, NULL, allocate, NULL);
	wait_for(go);
	over = 1;
	pthread_join(thread, NULL);
	printf("%.3f %ld %.3f %.3f %ld %zu %zu\n", gap * 1e3,
	       length(kept, lists), longest_hold * 1e3, longest_work * 1e3,
	       holds, GC_get_free_bytes(), before);
}

static void
burst(long garbage_mib, const char *go)
{
	struct node **kept = live_and_garbage(64, 1, garbage_mib);

	wait_for(go);
	printf("%ld\n", length(kept, 1));
}

int
main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	GC_INIT();
	if (strcmp(what, "trees") == 0 && argc == 3)
		trees(atoi(argv[2]));
	else if (strcmp(what, "live") == 0 && argc == 4)
		live(atol(argv[2]), atol(argv[3]));
	else if (strcmp(what, "pause") == 0 && argc == 3)
		pauses(atoi(argv[2]));
	else if (strcmp(what, "event") == 0 && argc == 6)
		event(argv[2], atol(argv[3]), atol(argv[4]), argv[5]);
	else if (strcmp(what, "burst") == 0 && argc == 4)
		burst(atol(argv[2]), argv[3]);
	else
		return 2;
	return 0;
}
