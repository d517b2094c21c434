/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a reader pays for a cache: hot reads, by one thread and by two.
 *
 * `read-raw` sums the 64 bytes of an object through a pointer, `read-soft`
 * through a soft reference, each in a read-side section of its own (with
 * section=16 in one of 16 reads). `read-key` looks up 16-byte keys in random
 * order and reads the value's first word, hashing included: in spillway's
 * cache, in cds_lfht and in a hash table under a mutex; `read-get` pins the
 * value by spw_cache_get() and lets it go.
 *
 * A round runs all subjects, one after the other, first with one thread, then
 * with two, each on a processor of its own where there are as many: a thread
 * that is moved finds another's cache and predictions; `-threads` is how much
 * more two do than one. `-pages-written` is how many pages of memory repeated
 * hits write to: the count of stores to what is shared, as far as the kernel
 * can tell (written.h).
 */
#include "bench/bench.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <spillway/soft.h>
#include <spillway/spillway.h>

#include "bench/rounds.h"
#include "bench/store.h"
#include "bench/written.h"

#define OBJECT_BYTES 64
#define SEQUENCE (1u << 16)
#define THREADS_MAX 2
#define TRIES 8

static uint64_t entries = 4096;
static uint64_t objects = 64;
static uint64_t reads = 500000;
static uint64_t rounds = 11;
static uint64_t warm = 6000;
static bool no_written;
static double most_waited;

static uint32_t *key_sequence, *object_sequence;
static const uint64_t **raw_objects;
static spw_soft_t *soft_objects;
static struct spw_cache *soft_cache;
static struct store *stores[8];

static inline void
take(const uint64_t *object)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < OBJECT_BYTES / 8; i++)
		sum += object[i];
	bench_use((void *)(uintptr_t)sum);
}

static void
read_raw(const struct store_type *type, uint64_t count, uint32_t from)
{
	(void)type;
	for (uint64_t i = 0; i < count; i++)
		take(raw_objects[object_sequence[(from + i) % SEQUENCE]]);
}

static void __attribute__((noreturn)) gone(void)
{
	errno = 0;
	bench_die("a soft reference came back empty: memory is short here");
}

static void
read_soft(const struct store_type *type, uint64_t count, uint32_t from)
{
	(void)type;
	for (uint64_t i = 0; i < count; i++) {
		uint32_t at = object_sequence[(from + i) % SEQUENCE];
		const uint64_t *object;

		spw_read_lock();
		object = spw_soft_read(soft_cache, soft_objects[at]);
		if (object == NULL)
			gone();
		take(object);
		spw_read_unlock();
	}
}

static void
read_soft16(const struct store_type *type, uint64_t count, uint32_t from)
{
	(void)type;
	for (uint64_t i = 0; i < count; i += 16) {
		spw_read_lock();
		for (uint32_t j = 0; j < 16; j++) {
			uint32_t at = object_sequence[(from + i + j) % SEQUENCE];
			const uint64_t *object = spw_soft_read(
				soft_cache, soft_objects[at]);

			if (object == NULL)
				gone();
			take(object);
		}
		spw_read_unlock();
	}
}

static struct store *
store_of(const struct store_type *type)
{
	for (unsigned i = 0; store_types[i] != NULL; i++)
		if (store_types[i] == type)
			return stores[i];
	abort();
}

static void
read_keys(const struct store_type *type, uint64_t count, uint32_t from)
{
	struct store *store = store_of(type);
	uint64_t hits = 0, left = count;

	while (left > 0) {
		uint64_t part = SEQUENCE - from;

		if (part > left)
			part = left;
		hits += type->peek(store, key_sequence + from, part);
		left -= part;
		from = 0;
	}
	errno = 0;
	if (hits != count)
		bench_die("%s: %llu of %llu reads missed", type->name,
			  (unsigned long long)(count - hits),
			  (unsigned long long)count);
}

/* Counted pins instead of sections. */
static void
read_pinned(const struct store_type *type, uint64_t count, uint32_t from)
{
	struct spw_cache *cache = (struct spw_cache *)store_of(type);

	for (uint64_t i = 0; i < count; i++) {
		uint32_t id = key_sequence[(from + i) % SEQUENCE];
		struct store_key key = store_key(id);
		struct spw_ref ref;
		int error = spw_cache_get(cache, &key, sizeof key, &ref);

		errno = 0;
		if (error != 0)
			bench_die("spw_cache_get: %s", spw_strerror(error));
		store_check("spillway", ref.value, id);
		spw_ref_put(&ref);
	}
}

static struct subject {
	const char *row;
	const char *params;
	void (*read)(const struct store_type *type, uint64_t count,
		     uint32_t from);
	const struct store_type *type;
	struct figures alone, together, ratio;
} subjects[] = {
	{ .row = "read-raw", .params = "bytes=64", .read = read_raw },
	{ .row = "read-soft",
	  .params = "bytes=64,section=1",
	  .read = read_soft },
	{ .row = "read-soft",
	  .params = "bytes=64,section=16",
	  .read = read_soft16 },
	{ .row = "read-key",
	  .params = "store=spillway",
	  .read = read_keys,
	  .type = &store_spillway },
	{ .row = "read-get",
	  .params = "store=spillway",
	  .read = read_pinned,
	  .type = &store_spillway },
	{ .row = "read-key",
	  .params = "store=lfht",
	  .read = read_keys,
	  .type = &store_lfht },
	{ .row = "read-key",
	  .params = "store=mutex",
	  .read = read_keys,
	  .type = &store_mutex },
};

#define SUBJECTS (sizeof subjects / sizeof subjects[0])

struct reader {
	const struct subject *subject;
	unsigned which;
	uint32_t from;
	pthread_barrier_t *start;
	uint64_t ns, waited_ns;
};

/* The which-th of the processors that the program may use. */
static void
stay_on(unsigned which)
{
	cpu_set_t allowed, mine;
	unsigned count;

	if (sched_getaffinity(getpid(), sizeof allowed, &allowed) != 0)
		return;
	count = (unsigned)CPU_COUNT(&allowed);
	for (unsigned cpu = 0, seen = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || seen++ != which % count)
			continue;
		CPU_ZERO(&mine);
		CPU_SET(cpu, &mine);
		sched_setaffinity(0, sizeof mine, &mine);
		return;
	}
}

static void *
reader_main(void *argument)
{
	struct reader *reader = argument;
	const struct subject *subject = reader->subject;
	uint64_t begin, waited;

	stay_on(reader->which);
	subject->read(subject->type, reads / 8, reader->from);
	pthread_barrier_wait(reader->start);
	begin = bench_now_ns();
	waited = bench_core_wait_ns();
	subject->read(subject->type, reads, reader->from);
	reader->waited_ns = bench_core_wait_ns() - waited;
	reader->ns = bench_now_ns() - begin;
	return NULL;
}

/*
 * ns of each thread for `reads`, less what it waited for a core; *waited: the
 * largest share of its time that one did.
 */
static double
run_once(const struct subject *subject, unsigned threads, double *waited)
{
	struct reader readers[THREADS_MAX];
	pthread_t ids[THREADS_MAX];
	pthread_barrier_t start;
	double rate = 0; /* of all together */

	*waited = 0;
	pthread_barrier_init(&start, NULL, threads);
	for (unsigned i = 0; i < threads; i++) {
		readers[i] = (struct reader){ .subject = subject,
					      .which = i,
					      .from = i * 4099 % SEQUENCE,
					      .start = &start };
		errno = pthread_create(&ids[i], NULL, reader_main, &readers[i]);
		if (errno != 0)
			bench_die("pthread_create");
	}
	for (unsigned i = 0; i < threads; i++) {
		const struct reader *reader = &readers[i];
		double share;

		pthread_join(ids[i], NULL);
		share = (double)reader->waited_ns / (double)reader->ns;
		rate += 1 / (double)(reader->ns - reader->waited_ns);
		if (share > *waited)
			*waited = share;
	}
	pthread_barrier_destroy(&start);
	return threads / rate;
}

/* Threads that take turns on a core do not meet: the best of some tries, by
 * how little they waited for cores. */
static double
run(const struct subject *subject, unsigned threads)
{
	double best = 0, least = 2;

	for (unsigned i = 0; i < TRIES && least > 0.02; i++) {
		double waited, ns = run_once(subject, threads, &waited);

		if (waited < least) {
			least = waited;
			best = ns;
		}
	}
	if (least > most_waited)
		most_waited = least;
	return best;
}

static void
make_sequences(void)
{
	uint64_t random = 17;

	key_sequence = bench_malloc(SEQUENCE * sizeof *key_sequence);
	object_sequence = bench_malloc(SEQUENCE * sizeof *object_sequence);
	for (uint32_t i = 0; i < SEQUENCE; i++) {
		key_sequence[i] = (uint32_t)bench_random_below(&random,
							       entries);
		object_sequence[i] = (uint32_t)bench_random_below(&random,
								  objects);
	}
}

static void
make_objects(void)
{
	int error;

	raw_objects = bench_malloc(objects * sizeof *raw_objects);
	soft_objects = bench_malloc(objects * sizeof *soft_objects);
	error = spw_cache_create(
		&soft_cache, &(struct spw_cache_options){
				     .size = sizeof(struct spw_cache_options),
				     .name = "bench-soft" });
	errno = 0;
	if (error != 0)
		bench_die("spw_cache_create: %s", spw_strerror(error));
	for (uint64_t i = 0; i < objects; i++) {
		void *fill, *raw = aligned_alloc(64, OBJECT_BYTES);

		if (raw == NULL)
			bench_die("aligned_alloc");
		memset(raw, (int)i, OBJECT_BYTES);
		raw_objects[i] = raw;
		spw_read_lock();
		error = spw_soft_alloc(soft_cache, OBJECT_BYTES,
				       &soft_objects[i], &fill);
		if (error == 0)
			memset(fill, (int)i, OBJECT_BYTES);
		spw_read_unlock();
		errno = 0;
		if (error != 0)
			bench_die("spw_soft_alloc: %s", spw_strerror(error));
	}
}

static void
make_stores(void)
{
	for (unsigned i = 0; store_types[i] != NULL; i++) {
		stores[i] = store_types[i]->open(entries, 0);
		for (uint32_t id = 0; id < entries; id++)
			store_types[i]->put(stores[i], &id, 1, 64);
		/* Until it is known what is hot. */
		for (uint64_t looks = 0; looks < warm * entries;
		     looks += SEQUENCE)
			store_types[i]->peek(stores[i], key_sequence, SEQUENCE);
	}
}

/* Hits that were repeated often enough to be known as hot. */
static void
print_written(const struct subject *subject, const char *params)
{
	char row[64];
	long nothing, pages;

	if (!written_start())
		return;
	written_clear();
	nothing = written_count();
	subject->read(subject->type, SEQUENCE, 0);
	written_clear();
	subject->read(subject->type, SEQUENCE, 0);
	pages = written_count() - nothing;
	snprintf(row, sizeof row, "%s-pages-written", subject->row);
	bench_row(row, params, pages > 0 ? (double)pages : 0, "pages", -1, -1);
}

static void
measure(void)
{
	for (uint64_t round = 0; round < rounds; round++)
		for (unsigned i = 0; i < SUBJECTS; i++) {
			struct subject *subject = &subjects[i];
			double one = run(subject, 1);
			double two = run(subject, 2);

			figures_add(&subject->alone, one / (double)reads);
			figures_add(&subject->together, two / (double)reads);
			figures_add(&subject->ratio, 2 * one / two);
		}
}

static void
print(void)
{
	char params[96], row[64];

	bench_note("in the worst of the runs that count a thread had no core "
		   "for %.0f %% of its time",
		   100 * most_waited);
	for (unsigned i = 0; i < SUBJECTS; i++) {
		const struct subject *subject = &subjects[i];
		int length = snprintf(params, sizeof params, "%s",
				      subject->params);

		if (subject->type != NULL)
			snprintf(params + length,
				 sizeof params - (size_t)length,
				 ",entries=%llu", (unsigned long long)entries);
		figures_row(subject->row, params, "ns", &subject->alone);
		snprintf(row, sizeof row, "%s-two", subject->row);
		figures_row(row, params, "ns", &subject->together);
		snprintf(row, sizeof row, "%s-threads", subject->row);
		figures_row(row, params, "x", &subject->ratio);
		if (i != 0 && !no_written)
			print_written(subject, params);
	}
}

int
main(int argc, char **argv)
{
	static const struct bench_option options[] = {
		{ "entries", "N", "keys in each store (4096)", &entries, NULL,
		  NULL },
		{ "objects", "N", "64-byte objects read raw and soft (64)",
		  &objects, NULL, NULL },
		{ "reads", "N", "of a subject in a round (500000)", &reads,
		  NULL, NULL },
		{ "rounds", "N", "at most 101 (11)", &rounds, NULL, NULL },
		{ "warm", "N", "looks a key before the first (6000)", &warm,
		  NULL, NULL },
		{ "no-written", NULL, "do not count written pages", NULL, NULL,
		  &no_written },
		{ 0 },
	};
	static const struct bench_program program = {
		.name = "cache-read",
		.summary = "Protected hot reads beside a raw pointer, cds_lfht "
			   "and a mutex.",
		.options = options,
	};

	bench_start(&program, argc, argv);
	if (entries == 0 || objects == 0 || reads == 0 || rounds == 0 ||
	    rounds > ROUNDS_MAX || entries > UINT32_MAX) {
		fputs("cache-read: --entries, --objects, --reads and --rounds "
		      "are at least 1, rounds at most 101\n",
		      stderr);
		return 2;
	}
	if (bench_smoke) {
		reads = 2000;
		rounds = 1;
		warm = 1;
	}
	make_sequences();
	make_objects();
	make_stores();
	measure();
	print();
	return 0;
}
