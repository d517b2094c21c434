/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the bench programs share: arguments, time, histograms, memory in use,
 * and the lines they print.
 *
 * Usage: fill a struct bench_program, call bench_start() first in main(),
 * then bench_row() for each figure.
 *
 * Output: lines that begin with # say where and how it ran; then one header
 * line and rows of tab-separated `name params value unit p50 p99 rss_peak`.
 * p50 and p99 have the row's unit, rss_peak is in bytes, "-" means none.
 *
 * Caveats: not thread-safe, except bench_now_ns() and a histogram that one
 * thread owns. Nothing here calls spillway: these are plain malloc users.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One --name; exactly one of number, text and flag is set. */
struct bench_option {
	const char *name;
	const char *argument; /* shown in --help; NULL for a flag */
	const char *help;
	uint64_t *number; /* 10, 64K, 512M, 2G */
	const char **text;
	bool *flag;
};

/* A named workload; run() does one round, from nothing to nothing. */
struct bench_pattern {
	const char *name;
	const char *help;
	void (*run)(uint64_t seed);
	unsigned rounds;
	void (*prepare)(void); /* once, not timed; or NULL */
};

struct bench_program {
	const char *name;
	const char *summary;
	const struct bench_option *options; /* ends with .name NULL; or NULL */
	const struct bench_pattern *patterns; /* ends with .name NULL; or NULL */
};

/* Set by --smoke: do what takes about 10 ms, to prove that it works. */
extern bool bench_smoke;

/*
 * Reads the arguments and prints the # lines. Exits 0 after --help and 2 with
 * the name of a bad argument. Returns the pattern asked for, or NULL where
 * the program has none.
 */
const struct bench_pattern *bench_start(const struct bench_program *program,
					int argc, char **argv);

/* main() of a program that is nothing but patterns. */
int bench_patterns_main(const struct bench_program *program, int argc,
			char **argv);

/* One line of output. A percentile below zero is printed as "-". */
void bench_row(const char *name, const char *params, double value,
	       const char *unit, double p50, double p99);

/* Prints a # line. */
void bench_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says what failed, with errno where it is not 0, and exits with 1. */
void bench_die(const char *format, ...)
	__attribute__((format(printf, 1, 2), noreturn));

/* Monotonic. */
uint64_t bench_now_ns(void);
void bench_sleep_ns(uint64_t ns);

/* A neighbour grows, 4 MiB each 2 ms: 2 GB/s, as a busy machine can. False:
 * there is no address space. */
bool bench_grow(uint64_t bytes);

/*
 * How long the calling thread could have run and had no core, so far: what a
 * busy machine adds to a time. 0 where the kernel does not say.
 */
uint64_t bench_core_wait_ns(void);

/* The clock less bench_core_wait_ns(): for differences. */
uint64_t bench_net_now_ns(void);

/* Of this process; 0 where /proc does not say. */
uint64_t bench_rss_bytes(void);
uint64_t bench_rss_peak_bytes(void);
/* Of children, as far as a program gives it: the greater is in the rows. */
extern uint64_t bench_child_peak_bytes;

/* Keeps the compiler from dropping a malloc whose memory nobody reads. */
static inline void
bench_use(void *pointer)
{
	__asm__ volatile("" : : "r"(pointer) : "memory");
}

/* splitmix64: the same sequence for every allocator. */
static inline uint64_t
bench_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Of 0 ... bound - 1. */
static inline uint64_t
bench_random_below(uint64_t *state, uint64_t bound)
{
	return (uint64_t)(((unsigned __int128)bench_random(state) * bound) >>
			  64);
}

/* malloc, or an exit that says so. */
void *bench_malloc(size_t bytes);

/* Log-linear: 32 steps to each power of two, so an error of 3 %. */
#define BENCH_HISTOGRAM_STEPS 32
#define BENCH_HISTOGRAM_SLOTS (60 * BENCH_HISTOGRAM_STEPS)

struct bench_histogram {
	uint64_t count;
	uint64_t max;
	uint64_t slots[BENCH_HISTOGRAM_SLOTS];
};

void bench_histogram_add(struct bench_histogram *histogram, uint64_t value);

/* fraction 0.5 is the median; 0 where nothing was added. */
uint64_t bench_histogram_at(const struct bench_histogram *histogram,
			    double fraction);

#endif
