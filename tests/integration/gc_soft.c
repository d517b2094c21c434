/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Soft references and root regions of Boehm's collector, in a program that is
 * linked with libspillway and libgc, for gc-boehm.t (which compiles it).
 *
 * Prints a line for each thing that went wrong; exit code 0 where none did.
 */
#define GC_THREADS
#include <errno.h>
#include <gc.h>
#include <pthread.h>
#include <spillway/spillway.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOFT 4000
#define BYTES 16384

static struct spw_gc_soft *soft[SOFT];
static void **held; /* every tenth, by the program itself */
static int wrong;

static void
check(int good, const char *what)
{
	if (good)
		return;
	wrong++;
	printf("wrong: %s\n", what);
}

static void __attribute__((noinline)) make(void)
{
	held = GC_MALLOC_UNCOLLECTABLE(SOFT * sizeof(void *));
	for (int i = 0; i < SOFT; i++) {
		int *object = GC_MALLOC_ATOMIC(BYTES);

		object[0] = i;
		object[BYTES / 4 - 1] = ~i;
		if (spw_gc_soft_new(&soft[i], object) != 0)
			check(0, "a soft reference is made");
		held[i] = i % 10 == 0 ? object : NULL;
	}
}

/* How many there are; those are whole. */
static int __attribute__((noinline)) count(void)
{
	int there = 0;

	for (int i = 0; i < SOFT; i++) {
		int *object = spw_gc_soft_get(soft[i]);

		there += object != NULL;
		check(!object ||
			      (object[0] == i && object[BYTES / 4 - 1] == ~i),
		      "what is there is whole");
		check(object || i % 10, "what the program holds stays");
	}
	return there;
}

static void *volatile stop;

static void *
reader(void *unused)
{
	while (!stop)
		count();
	return unused;
}

/* A pointer that lives in malloc's memory alone. */
static void
roots(void)
{
	void **elsewhere = malloc(8 * sizeof *elsewhere);
	struct spw_gc_region region = { elsewhere, 8 * sizeof *elsewhere };
	struct spw_gc_region bad = { (char *)elsewhere + 1, 8 };

	check(spw_gc_roots_set(&bad, 1) == -EINVAL, "a crooked region");
	check(spw_gc_roots_set(&region, 1) == 0, "a region is set");
	for (int i = 0; i < 8; i++) {
		elsewhere[i] = GC_MALLOC(BYTES);
		memset(elsewhere[i], 'x', BYTES);
	}
	for (int i = 0; i < 100; i++)
		memset(GC_MALLOC(BYTES), 'y', BYTES);
	GC_gcollect();
	for (int i = 0; i < 2000; i++)
		memset(GC_MALLOC(BYTES), 'z', BYTES);
	for (int i = 0; i < 8; i++)
		check(((char *)elsewhere[i])[BYTES - 1] == 'x',
		      "what a region points to stays");
	check(spw_gc_roots_set(NULL, 0) == 0, "regions go");
	GC_gcollect();
}

static void
wipe(int depth)
{
	volatile char page[4096];

	memset((char *)page, 0, sizeof page);
	if (depth)
		wipe(depth - 1);
}

int
main(void)
{
	pthread_t thread;
	uint64_t got;
	int there;

	GC_INIT();
	if (!getenv("LD_PRELOAD"))
		check(spw_gc_soft_new(&soft[0], GC_MALLOC(8)) == -ENOTSUP,
		      "nothing before the collector is attached");
	check(spw_gc_attach("boehm") == 0, "it is attached");
	make();
	wipe(8);
	GC_gcollect();
	check(count() == SOFT, "ordinary collections keep all");
	pthread_create(&thread, NULL, reader, NULL);
	spw_reclaim(&got, NULL);
	stop = held;
	pthread_join(thread, NULL);
	wipe(8);
	spw_reclaim(&got, NULL);
	there = count();
	check(there >= SOFT / 10, "what is held is there");
	printf("%d of %d left\n", there, SOFT);
	for (int i = 0; i < SOFT; i++)
		spw_gc_soft_free(soft[i]);
	GC_gcollect();
	check(spw_gc_soft_new(&soft[0], held[0]) == 0, "slots are used again");
	spw_gc_soft_free(soft[0]);
	spw_gc_soft_free(NULL);
	roots();
	return wrong != 0 || there > SOFT / 2;
}
