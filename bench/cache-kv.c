/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Many entries: what a look, a copy and a put take in spillway's cache, in
 * cds_lfht, in a hash table under a mutex, and in an array, which is the two
 * loads that any of them takes.
 *
 * Each store runs in a child of its own, one after the other in each round:
 * `kv-fill` puts every key once, hot and cold mixed, then a sequence of keys
 * (Zipf 0.99, or uniform) that was drawn beforehand goes through `kv-peek` (the
 * value's first word is read where it is), `kv-copy` (the value is copied out),
 * both again with 64 keys asked for at a time where the store can do that
 * (`kv-peek-many`, `kv-copy-many`), and `kv-put` (it is replaced). The value of a row is time by operations,
 * less what the thread waited for a core;
 * p50 and p99, and the rows -p99.9, -p99.99 and -max, are of single operations:
 * one of 16 is timed alone, in a second pass. `-rate` says the same as the
 * row in millions a second, `-ratio` is the peer's time divided by spillway's.
 *
 * The cache is bounded (--max) so that kv-put finds it full and has to evict
 * what was replaced, for which the others have free().
 */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>

#include "bench/rounds.h"
#include "bench/store.h"
#include "bench/tick.h"
#include "bench/zipf.h"

#define STORES 4
#define TIMED_OF 16

static uint64_t keys = 1000000;
static uint64_t value_bytes = 1024;
static uint64_t operations = 4000000;
static uint64_t rounds = 3;
static uint64_t max_bytes;
static bool uniform;
static const char *only = "";

static uint32_t *sequence;

enum { FILL, PEEK, COPY, PEEK_MANY, COPY_MANY, PUT, PHASES };
static const char *const phase_names[PHASES] = { "kv-fill",      "kv-peek",
						 "kv-copy",      "kv-peek-many",
						 "kv-copy-many", "kv-put" };

/* Shared with the children. */
static struct result {
	uint64_t ns[PHASES], operations[PHASES], hits[PHASES];
	uint64_t rss, hits_after;
	struct bench_histogram times[PHASES]; /* of all rounds */
} * results;

static struct figures figures[STORES][PHASES], memory[STORES];

struct task {
	unsigned store;
	struct store *opened;
};

static bool
store_has(const struct store_type *type, unsigned phase)
{
	return (phase != PEEK_MANY && phase != COPY_MANY) ||
	       type->peek_many != NULL;
}

/* What is of many at a time has no latencies. */
static bool
is_timed(unsigned phase)
{
	return phase != PEEK_MANY && phase != COPY_MANY;
}

/* count operations of a kind; returns hits. */
static size_t
operate(const struct task *task, unsigned phase, const uint32_t *ids,
	size_t count)
{
	static char copy[STORE_VALUE_MAX];
	const struct store_type *type = store_types[task->store];

	switch (phase) {
	case PEEK:
		return type->peek(task->opened, ids, count);
	case COPY:
		return type->copy(task->opened, ids, count, copy);
	case PEEK_MANY:
		return type->peek_many(task->opened, ids, count);
	case COPY_MANY:
		return type->copy_many(task->opened, ids, count, copy);
	default:
		type->put(task->opened, ids, count, value_bytes);
		return count;
	}
}

static void
run_phase(const struct task *task, unsigned phase, const uint32_t *ids,
	  uint64_t count)
{
	struct result *result = &results[task->store];
	uint64_t begin;

	begin = bench_net_now_ns();
	result->hits[phase] = operate(task, phase, ids, count);
	result->ns[phase] = bench_net_now_ns() - begin;
	result->operations[phase] = count;
}

/* The latencies. Not for the fill: that is over with the first pass. */
static void
time_phase(const struct task *task, unsigned phase, const uint32_t *ids,
	   uint64_t count)
{
	struct bench_histogram *times = &results[task->store].times[phase];

	for (uint64_t i = 0; i + TIMED_OF <= count; i += TIMED_OF) {
		uint64_t begin, end;

		operate(task, phase, ids + i, TIMED_OF - 1);
		begin = tick_now();
		operate(task, phase, ids + i + TIMED_OF - 1, 1);
		end = tick_now();
		bench_histogram_add(times, tick_ns(begin, end));
	}
}

/* Puts, not counted, until a cache that is bounded has no fresh memory left. */
static void
fill_up(const struct task *task)
{
	for (uint64_t put = 0; put < keys / 2; put += operations)
		operate(task, PUT, sequence, operations);
}

static void
run_store(void *argument)
{
	struct task *task = argument;
	const struct store_type *type = store_types[task->store];
	uint32_t *all = bench_malloc(keys * sizeof *all);
	uint64_t rss;

	for (uint64_t i = 0; i < keys; i++)
		all[i] = (uint32_t)i; /* ranks are scattered over them */
	rss = bench_rss_bytes();
	task->opened = type->open(keys, max_bytes);
	run_phase(task, FILL, all, keys);
	rss = bench_rss_bytes() - rss;
	results[task->store].rss = rss;
	/* Once through, not counted: what is hot becomes known. */
	operate(task, PEEK, sequence, operations / 4);
	for (unsigned phase = PEEK; phase < PHASES; phase++) {
		if (!store_has(type, phase))
			continue;
		if (phase == PUT)
			fill_up(task);
		run_phase(task, phase, sequence, operations);
		if (is_timed(phase))
			time_phase(task, phase, sequence, operations);
		if (type == &store_spillway)
			store_spillway_note(task->opened, phase_names[phase]);
	}
	results[task->store].hits_after = operate(task, PEEK, sequence,
						  operations);
}

static void
measure(void)
{
	for (uint64_t round = 0; round < rounds; round++)
		for (unsigned i = 0; i < STORES; i++) {
			struct task task = { .store = i };
			const struct result *result = &results[i];

			if (strstr(store_types[i]->name, only) == NULL)
				continue;
			rounds_child(run_store, &task);
			for (unsigned phase = 0; phase < PHASES; phase++)
				if (store_has(store_types[i], phase))
					figures_add(
						&figures[i][phase],
						(double)result->ns[phase] /
							(double)result->operations
								[phase]);
			figures_add(&memory[i], (double)result->rss);
		}
}

static void
print_tail(unsigned store, unsigned phase, const char *params)
{
	static const struct {
		const char *name;
		double at;
	} tails[] = { { "p99.9", 0.999 }, { "p99.99", 0.9999 } };
	const struct bench_histogram *times = &results[store].times[phase];
	char row[64];

	for (unsigned i = 0; i < 2; i++) {
		snprintf(row, sizeof row, "%s-%s", phase_names[phase],
			 tails[i].name);
		bench_row(row, params,
			  (double)bench_histogram_at(times, tails[i].at), "ns",
			  -1, -1);
	}
	snprintf(row, sizeof row, "%s-max", phase_names[phase]);
	bench_row(row, params, (double)times->max, "ns", -1, -1);
}

static void
print_phase(unsigned store, unsigned phase, const char *params)
{
	const struct bench_histogram *times = &results[store].times[phase];
	const struct figures *one = &figures[store][phase];
	bool timed = times->count > 0;
	double ns = figures_at(one, 0.5);
	char row[64];

	bench_row(phase_names[phase], params, ns, "ns",
		  timed ? (double)bench_histogram_at(times, 0.5) : -1,
		  timed ? (double)bench_histogram_at(times, 0.99) : -1);
	snprintf(row, sizeof row, "%s-rate", phase_names[phase]);
	bench_row(row, params, 1e3 / ns, "M/s", -1, -1);
	if (timed)
		print_tail(store, phase, params);
	if (store != 0 && figures[0][phase].count > 0) {
		snprintf(row, sizeof row, "%s-ratio", phase_names[phase]);
		figures_ratio(row, params, one, &figures[0][phase]);
	}
	/* Who has no such call looks one by one. */
	if (store != 0 && phase == PEEK && figures[0][PEEK_MANY].count > 0)
		figures_ratio("kv-peek-many-ratio", params, one,
			      &figures[0][PEEK_MANY]);
}

static void
print(void)
{
	for (unsigned i = 0; i < STORES; i++) {
		const struct result *result = &results[i];
		char params[128];

		if (memory[i].count == 0)
			continue;
		snprintf(params, sizeof params,
			 "store=%s,keys=%llu,value=%llu,%s",
			 store_types[i]->name, (unsigned long long)keys,
			 (unsigned long long)value_bytes,
			 uniform ? "uniform" : "zipf");
		for (unsigned phase = 0; phase < PHASES; phase++)
			if (store_has(store_types[i], phase))
				print_phase(i, phase, params);
		bench_row("kv-hits", params,
			  100 * (double)result->hits[PEEK] /
				  (double)result->operations[PEEK],
			  "%", -1, -1);
		bench_row("kv-hits-after-put", params,
			  100 * (double)result->hits_after / (double)operations,
			  "%", -1, -1);
		bench_row("kv-rss", params, figures_at(&memory[i], 0.5), "B",
			  -1, -1);
	}
}

static void
make_sequence(void)
{
	struct zipf zipf;
	uint64_t random = 23;

	sequence = rounds_share(operations * sizeof *sequence);
	zipf_start(&zipf, keys, 0.99);
	for (uint64_t i = 0; i < operations; i++)
		sequence[i] = zipf_scatter(uniform ? bench_random_below(&random,
									keys) :
						     zipf_draw(&zipf, &random),
					   keys);
}

static int
check_options(void)
{
	bool known = false;

	for (unsigned i = 0; i < STORES; i++)
		known |= strstr(store_types[i]->name, only) != NULL;
	if (!known)
		fprintf(stderr,
			"cache-kv: --only '%s': no store is called so "
			"(spillway, lfht, mutex, array)\n",
			only);
	else if (value_bytes < 8 || value_bytes > STORE_VALUE_MAX)
		fprintf(stderr, "cache-kv: --value %llu is not in 8 to 1M\n",
			(unsigned long long)value_bytes);
	else if (keys == 0 || keys > UINT32_MAX || rounds == 0 ||
		 rounds > ROUNDS_MAX || operations < TIMED_OF)
		fputs("cache-kv: --keys 1 to 4G, --rounds 1 to 101, "
		      "--operations 16 and more\n",
		      stderr);
	else
		return 0;
	return 2;
}

int
main(int argc, char **argv)
{
	static const struct bench_option options[] = {
		{ "keys", "N", "entries (1000000; the full size is 4M)", &keys,
		  NULL, NULL },
		{ "value", "BYTES", "of a value (1024)", &value_bytes, NULL,
		  NULL },
		{ "uniform", NULL, "keys at random, not by Zipf's law", NULL,
		  NULL, &uniform },
		{ "operations", "N", "of each kind (4000000)", &operations,
		  NULL, NULL },
		{ "max", "SIZE", "bound of the cache (5/4 of what is put)",
		  &max_bytes, NULL, NULL },
		{ "rounds", "N", "at most 101 (3)", &rounds, NULL, NULL },
		{ "only", "STORE", "spillway, lfht, mutex or array (all)", NULL,
		  &only, NULL },
		{ 0 },
	};
	static const struct bench_program program = {
		.name = "cache-kv",
		.summary = "Look, copy and put among many entries, beside "
			   "cds_lfht and a mutex.",
		.options = options,
	};

	bench_start(&program, argc, argv);
	if (check_options() != 0)
		return 2;
	if (bench_smoke) {
		keys = 1000;
		operations = 2000;
		rounds = 1;
	}
	if (max_bytes == 0)
		max_bytes = keys * (value_bytes + 64) / 4 * 5 + (64u << 20);
	tick_start();
	make_sequence();
	results = rounds_share(STORES * sizeof *results);
	measure();
	print();
	return 0;
}
