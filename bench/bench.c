/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The common half of every bench program: arguments, clock, histogram, rows.
 *
 * Called by each program's main(); calls libc alone. It allocates nothing
 * between the first and the last round of a pattern, so that what is measured
 * is the workload's own malloc.
 *
 * The commit that is printed comes from $BENCH_COMMIT (bench/run sets it), else
 * from the build.
 */
#include "bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#ifndef BENCH_COMMIT
#define BENCH_COMMIT "unknown"
#endif

bool bench_smoke;
uint64_t bench_child_peak_bytes;

static uint64_t rounds_asked;
static uint64_t seed = 1;
static bool header_printed;

static const struct bench_option common_options[] = {
	{ "smoke", NULL, "run for about 10 ms, to prove that it works", NULL,
	  NULL, &bench_smoke },
	{ "seed", "N", "of the random sequence (default 1)", &seed, NULL,
	  NULL },
	{ 0 },
};

static const struct bench_option pattern_options[] = {
	{ "rounds", "N", "how many rounds (default: the pattern's own)",
	  &rounds_asked, NULL, NULL },
	{ 0 },
};

uint64_t
bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void
bench_sleep_ns(uint64_t ns)
{
	struct timespec left = { .tv_sec = (time_t)(ns / 1000000000u),
				 .tv_nsec = (long)(ns % 1000000000u) };

	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

bool
bench_grow(uint64_t bytes)
{
	char *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED)
		return false;
	for (uint64_t at = 0; at < bytes; at += 4096) {
		pages[at] = 1;
		if (at % (4u << 20) == 0)
			bench_sleep_ns(2000000);
	}
	return true;
}

uint64_t
bench_core_wait_ns(void)
{
	static __thread int schedstat = -1;
	char text[96];
	const char *second;
	ssize_t length;

	/* Of the thread that opens it; a child of a fork opens its own. */
	static __thread pid_t opener;
	if (schedstat < 0 || opener != getpid()) {
		opener = getpid();
		schedstat = open("/proc/thread-self/schedstat",
				 O_RDONLY | O_CLOEXEC);
	}
	length = pread(schedstat, text, sizeof text - 1, 0);
	if (length <= 0)
		return 0;
	text[length] = '\0';
	second = strchr(text, ' ');
	return second != NULL ? strtoull(second, NULL, 10) : 0;
}

uint64_t
bench_net_now_ns(void)
{
	return bench_now_ns() - bench_core_wait_ns();
}

uint64_t
bench_rss_bytes(void)
{
	char text[128];
	unsigned long long pages = 0;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return 0;
	length = read(fd, text, sizeof text - 1);
	close(fd);
	if (length <= 0)
		return 0;
	text[length] = '\0';
	if (sscanf(text, "%*u %llu", &pages) != 1)
		return 0;
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t
bench_rss_peak_bytes(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) != 0)
		return 0;
	return (uint64_t)usage.ru_maxrss * 1024;
}

void *
bench_malloc(size_t bytes)
{
	void *pointer = malloc(bytes);

	if (pointer == NULL)
		bench_die("malloc(%zu)", bytes);
	return pointer;
}

void
bench_note(const char *format, ...)
{
	va_list arguments;

	fputs("# ", stdout);
	va_start(arguments, format);
	vfprintf(stdout, format, arguments);
	va_end(arguments);
	fputc('\n', stdout);
}

void
bench_die(const char *format, ...)
{
	int error = errno;
	va_list arguments;

	fflush(stdout);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	if (error != 0)
		fprintf(stderr, ": %s", strerror(error));
	fputc('\n', stderr);
	exit(1);
}

static void
print_percentile(double value)
{
	if (value < 0)
		fputs("\t-", stdout);
	else
		printf("\t%.6g", value);
}

void
bench_row(const char *name, const char *params, double value, const char *unit,
	  double p50, double p99)
{
	uint64_t peak = bench_rss_peak_bytes();

	if (!header_printed) {
		puts("name\tparams\tvalue\tunit\tp50\tp99\trss_peak");
		header_printed = true;
	}
	printf("%s\t%s\t%.6g\t%s", name, params, value, unit);
	print_percentile(p50);
	print_percentile(p99);
	if (peak < bench_child_peak_bytes)
		peak = bench_child_peak_bytes;
	printf("\t%llu\n", (unsigned long long)peak);
	fflush(stdout);
}

/* Which slot a value falls into. */
static size_t
slot_of(uint64_t value)
{
	unsigned shift;
	size_t slot;

	if (value < BENCH_HISTOGRAM_STEPS)
		return (size_t)value;
	shift = 63u - (unsigned)__builtin_clzll(value) - 5;
	slot = (size_t)(shift + 1) * BENCH_HISTOGRAM_STEPS +
	       (size_t)((value >> shift) - BENCH_HISTOGRAM_STEPS);
	return slot < BENCH_HISTOGRAM_SLOTS ? slot : BENCH_HISTOGRAM_SLOTS - 1;
}

/* The middle of what falls into a slot. */
static uint64_t
slot_value(size_t slot)
{
	unsigned shift;

	if (slot < BENCH_HISTOGRAM_STEPS)
		return slot;
	shift = (unsigned)(slot / BENCH_HISTOGRAM_STEPS) - 1;
	return ((uint64_t)(slot % BENCH_HISTOGRAM_STEPS + BENCH_HISTOGRAM_STEPS)
		<< shift) +
	       ((1ull << shift) >> 1);
}

void
bench_histogram_add(struct bench_histogram *histogram, uint64_t value)
{
	histogram->slots[slot_of(value)]++;
	histogram->count++;
	if (value > histogram->max)
		histogram->max = value;
}

uint64_t
bench_histogram_at(const struct bench_histogram *histogram, double fraction)
{
	uint64_t rank = (uint64_t)(fraction * (double)histogram->count);
	uint64_t seen = 0;

	if (histogram->count == 0)
		return 0;
	for (size_t slot = 0; slot < BENCH_HISTOGRAM_SLOTS; slot++) {
		seen += histogram->slots[slot];
		if (seen > rank)
			return slot_value(slot) < histogram->max ?
				       slot_value(slot) :
				       histogram->max;
	}
	return histogram->max;
}

static void
print_options(const struct bench_option *option)
{
	for (; option != NULL && option->name != NULL; option++) {
		char left[40];

		snprintf(left, sizeof left, "--%s%s%s", option->name,
			 option->argument != NULL ? " " : "",
			 option->argument != NULL ? option->argument : "");
		printf("  %-22s %s\n", left, option->help);
	}
}

static void
print_help(const struct bench_program *program)
{
	printf("Usage: %s [OPTION]...%s\n%s\n\n", program->name,
	       program->patterns != NULL ? " PATTERN" : "", program->summary);
	if (program->patterns != NULL) {
		puts("Patterns:");
		for (const struct bench_pattern *pattern = program->patterns;
		     pattern->name != NULL; pattern++)
			printf("  %-22s %s\n", pattern->name, pattern->help);
		puts("");
	}
	puts("Options:");
	print_options(program->options);
	if (program->patterns != NULL)
		print_options(pattern_options);
	print_options(common_options);
	puts("  --help                 this text\n\n"
	     "Prints # lines, then tab-separated\n"
	     "name params value unit p50 p99 rss_peak (bytes).");
}

static void __attribute__((noreturn, format(printf, 2, 3)))
usage_error(const struct bench_program *program, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s: ", program->name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, " (see %s --help)\n", program->name);
	exit(2);
}

/* "64", "64K", "512M", "2G"; false where it is none of these. */
static bool
parse_number(const char *text, uint64_t *number)
{
	static const char units[] = "KMGT";
	char *end;
	const char *unit;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*number = strtoull(text, &end, 10);
	if (errno != 0)
		return false;
	if (*end == '\0')
		return true;
	unit = strchr(units, *end);
	if (unit == NULL || end[1] != '\0')
		return false;
	unsigned shift = 10 * (unsigned)(unit - units + 1);
	if (*number > UINT64_MAX >> shift)
		return false;
	*number <<= shift;
	return true;
}

static const struct bench_option *
find_option(const struct bench_option *option, const char *name)
{
	for (; option != NULL && option->name != NULL; option++)
		if (strcmp(option->name, name) == 0)
			return option;
	return NULL;
}

/* Takes argv[at] as an option; returns how many arguments it used. */
static int
take_option(const struct bench_program *program, int at, int argc, char **argv)
{
	const char *name = argv[at] + 2;
	const struct bench_option *option;

	option = find_option(program->options, name);
	if (option == NULL && program->patterns != NULL)
		option = find_option(pattern_options, name);
	if (option == NULL)
		option = find_option(common_options, name);
	if (option == NULL)
		usage_error(program, "unknown option '%s'", argv[at]);
	if (option->flag != NULL) {
		*option->flag = true;
		return 1;
	}
	if (at + 1 >= argc)
		usage_error(program, "'%s' needs %s", argv[at],
			    option->argument);
	if (option->text != NULL)
		*option->text = argv[at + 1];
	else if (!parse_number(argv[at + 1], option->number))
		usage_error(program, "'%s' for '%s' is not a number",
			    argv[at + 1], argv[at]);
	return 2;
}

static const struct bench_pattern *
find_pattern(const struct bench_program *program, const char *name)
{
	const struct bench_pattern *pattern = program->patterns;

	if (pattern == NULL)
		usage_error(program, "unexpected argument '%s'", name);
	for (; pattern->name != NULL; pattern++)
		if (strcmp(pattern->name, name) == 0)
			return pattern;
	usage_error(program, "unknown pattern '%s'", name);
}

static void
print_head(int argc, char **argv)
{
	struct utsname machine;
	const char *commit = getenv("BENCH_COMMIT");
	const char *preload = getenv("LD_PRELOAD");

	if (uname(&machine) == 0)
		bench_note("host %s, %ld cpus, kernel %s", machine.nodename,
			   sysconf(_SC_NPROCESSORS_ONLN), machine.release);
	bench_note("commit %s", commit != NULL ? commit : BENCH_COMMIT);
	bench_note("preload %s",
		   preload != NULL && *preload != '\0' ? preload : "none");
	fputs("# flags", stdout);
	for (int at = 0; at < argc; at++)
		printf(" %s", argv[at]);
	putchar('\n');
}

const struct bench_pattern *
bench_start(const struct bench_program *program, int argc, char **argv)
{
	const struct bench_pattern *pattern = NULL;

	for (int at = 1; at < argc;) {
		if (strcmp(argv[at], "--help") == 0 ||
		    strcmp(argv[at], "-h") == 0) {
			print_help(program);
			exit(0);
		}
		if (strncmp(argv[at], "--", 2) == 0) {
			at += take_option(program, at, argc, argv);
			continue;
		}
		if (pattern != NULL)
			usage_error(program, "a second pattern '%s'", argv[at]);
		pattern = find_pattern(program, argv[at]);
		at++;
	}
	if (program->patterns != NULL && pattern == NULL)
		usage_error(program, "which PATTERN?");
	print_head(argc, argv);
	fflush(stdout);
	return pattern;
}

int
bench_patterns_main(const struct bench_program *program, int argc, char **argv)
{
	static struct bench_histogram rounds;
	const struct bench_pattern *pattern = bench_start(program, argc, argv);
	uint64_t count = rounds_asked != 0 ? rounds_asked : pattern->rounds;
	uint64_t begin, last;
	struct rusage usage;
	char params[64];

	if (bench_smoke)
		count = 1;
	if (pattern->prepare != NULL)
		pattern->prepare();
	begin = last = bench_now_ns();
	for (uint64_t round = 0; round < count; round++) {
		uint64_t now;

		pattern->run(seed + round * 0x10001u);
		now = bench_now_ns();
		bench_histogram_add(&rounds, now - last);
		last = now;
	}
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		bench_note("cpu user %ld.%03ld s, system %ld.%03ld s, "
			   "faults %ld",
			   (long)usage.ru_utime.tv_sec,
			   (long)usage.ru_utime.tv_usec / 1000,
			   (long)usage.ru_stime.tv_sec,
			   (long)usage.ru_stime.tv_usec / 1000,
			   usage.ru_minflt);
	snprintf(params, sizeof params, "rounds=%llu",
		 (unsigned long long)count);
	bench_row(pattern->name, params, (double)(last - begin) / 1e6, "ms",
		  (double)bench_histogram_at(&rounds, 0.5) / 1e6,
		  (double)bench_histogram_at(&rounds, 0.99) / 1e6);
	return 0;
}
