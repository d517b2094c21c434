/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Patterns of several threads: memory freed by another thread than the one
 * that allocated it, threads that come and go, servers with mixed lifetimes.
 *
 * Two threads work at any time. Synchronisation is by join or by one
 * single-producer ring, so that malloc is what the time goes to.
 */
#include "bench/bench.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

static pthread_t
spawn(void *(*start)(void *), void *argument)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, start, argument);

	if (error != 0)
		bench_die("pthread_create: error %d", error);
	return thread;
}

/* cross-thread: one thread allocates, the other frees. */
#define RING 65536
#define CROSS_OBJECTS 200000

static void *ring[RING];
static _Atomic size_t ring_head, ring_tail;

static void *
cross_consume(void *argument)
{
	size_t tail = atomic_load(&ring_tail);
	size_t end = tail + CROSS_OBJECTS;

	(void)argument;
	while (tail < end) {
		size_t head = atomic_load_explicit(&ring_head,
						   memory_order_acquire);

		if (head == tail) {
			sched_yield();
			continue;
		}
		for (; tail < head; tail++)
			free(ring[tail % RING]);
		atomic_store_explicit(&ring_tail, tail, memory_order_release);
	}
	return NULL;
}

static void
run_cross(uint64_t seed)
{
	pthread_t consumer = spawn(cross_consume, NULL);
	size_t head = atomic_load(&ring_head);
	size_t end = head + CROSS_OBJECTS;

	while (head < end) {
		size_t tail = atomic_load_explicit(&ring_tail,
						   memory_order_acquire);
		size_t stop = tail + RING < end ? tail + RING : end;

		if (head == stop) {
			sched_yield();
			continue;
		}
		if (stop > head + 1024)
			stop = head + 1024;
		for (; head < stop; head++) {
			size_t bytes = 16 + bench_random_below(&seed, 496);
			char *object = bench_malloc(bytes);

			object[0] = object[bytes - 1] = 1;
			ring[head % RING] = object;
		}
		atomic_store_explicit(&ring_head, head, memory_order_release);
	}
	pthread_join(consumer, NULL);
}

/* thread-churn: short threads, two at a time, a little memory each. */
#define CHURN_THREADS 100
#define CHURN_OBJECTS 400

static void *
churn_thread(void *argument)
{
	uint64_t random = (uint64_t)(uintptr_t)argument;
	char *objects[CHURN_OBJECTS];

	for (size_t i = 0; i < CHURN_OBJECTS; i++) {
		size_t bytes = 16 + bench_random_below(&random, 1008);

		objects[i] = bench_malloc(bytes);
		objects[i][0] = objects[i][bytes - 1] = 1;
	}
	for (size_t i = 0; i < CHURN_OBJECTS; i++)
		free(objects[i]);
	return NULL;
}

static void
run_churn(uint64_t seed)
{
	for (unsigned i = 0; i < CHURN_THREADS; i += 2) {
		pthread_t one = spawn(churn_thread,
				      (void *)(uintptr_t)(seed + i));
		pthread_t two = spawn(churn_thread,
				      (void *)(uintptr_t)(seed + i + 1));

		pthread_join(one, NULL);
		pthread_join(two, NULL);
	}
}

/* thread-bulk: short threads that fill and free half a mebibyte each. */
#define BULK_OBJECTS 250

static void *
bulk_thread(void *argument)
{
	uint64_t random = (uint64_t)(uintptr_t)argument;
	char *objects[BULK_OBJECTS];

	for (size_t i = 0; i < BULK_OBJECTS; i++) {
		size_t bytes = 64 + bench_random_below(&random, 8128);

		objects[i] = bench_malloc(bytes);
		for (size_t at = 0; at < bytes; at += 1024)
			objects[i][at] = 1;
	}
	for (size_t i = 0; i < BULK_OBJECTS; i++)
		free(objects[i]);
	return NULL;
}

static void
run_bulk(uint64_t seed)
{
	for (unsigned i = 0; i < 40; i += 2) {
		pthread_t one = spawn(bulk_thread,
				      (void *)(uintptr_t)(seed + i));
		pthread_t two = spawn(bulk_thread,
				      (void *)(uintptr_t)(seed + i + 1));

		pthread_join(one, NULL);
		pthread_join(two, NULL);
	}
}

/* server: two sessions replace objects; each is taken over by new threads. */
#define SERVER_SLOTS 1000

struct session {
	char *slots[SERVER_SLOTS];
	uint64_t random;
	unsigned steps;
};

static struct session sessions[2];

static void *
server_thread(void *argument)
{
	struct session *session = argument;

	for (unsigned step = 0; step < session->steps; step++) {
		size_t at = bench_random_below(&session->random, SERVER_SLOTS);
		size_t bytes = 8 + bench_random_below(&session->random, 992);

		free(session->slots[at]);
		session->slots[at] = bench_malloc(bytes);
		session->slots[at][0] = session->slots[at][bytes - 1] = 1;
	}
	return NULL;
}

/* Sessions change threads five times a round, so frees are often foreign. */
static void
run_server(uint64_t seed)
{
	for (size_t i = 0; i < 2; i++) {
		sessions[i].random = seed + i;
		sessions[i].steps = 20000;
	}
	for (unsigned turn = 0; turn < 5; turn++) {
		pthread_t one = spawn(server_thread, &sessions[turn % 2]);
		pthread_t two = spawn(server_thread, &sessions[1 - turn % 2]);

		pthread_join(one, NULL);
		pthread_join(two, NULL);
	}
}

/* steady: two threads that live long, no sharing at all. */
static void
run_steady(uint64_t seed)
{
	pthread_t one, two;

	for (size_t i = 0; i < 2; i++) {
		sessions[i].random = seed + i;
		sessions[i].steps = 600000;
	}
	if (bench_smoke)
		sessions[0].steps = sessions[1].steps = 50000;
	one = spawn(server_thread, &sessions[0]);
	two = spawn(server_thread, &sessions[1]);
	pthread_join(one, NULL);
	pthread_join(two, NULL);
}

static const struct bench_pattern patterns[] = {
	{ "cross-thread", "one thread allocates 16 to 512 bytes, one frees",
	  run_cross, 60 },
	{ "thread-churn", "threads that come and go, 200 KB each", run_churn,
	  100 },
	{ "thread-bulk", "threads that come and go, 1 MB each", run_bulk, 80 },
	{ "server", "two sessions handed from thread to thread", run_server,
	  60 },
	{ "steady", "two long threads replacing 8 to 1000 bytes", run_steady,
	  12 },
	{ 0 },
};

int
main(int argc, char **argv)
{
	static const struct bench_program program = {
		.name = "threads",
		.summary = "Patterns of two threads at a time.",
		.patterns = patterns,
	};

	return bench_patterns_main(&program, argc, argv);
}
