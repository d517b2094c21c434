/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs whose surroundings change, or that take an unusual way.
 *
 *	changes lowered    its limit falls while it is idle
 *	changes moved      it is moved to a tighter group
 *	changes block      all that it frees was one malloc
 *	changes filter US  a seccomp filter, so long after its threads began
 *	changes probe      asks whether filters are known
 *	changes asking     a filter comes while a thread waits for memory
 *	changes locked     its memory is locked
 *	changes counting   a shrinker counts what it does not give
 *	changes claiming   and says that it gave it
 *	changes growing    spw_pressure_grow() of more than there can be
 *
 * Called by changes.t. Exit code 7 and "fine", or one line that says what
 * went wrong; "skip=REASON" where it cannot run. Who prints "ready" waits for
 * a line on standard input.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <spillway/spillway.h>

#include "tests/integration/process.h"

#define MIB ((size_t)1 << 20)
#define STEP_BYTES (4 * MIB)
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

void
process_check(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "changes: %s\n", what);
	_exit(1);
}

static void *
function(const char *name)
{
	void *found = dlsym(RTLD_DEFAULT, name);

	process_check(found != NULL, "spillway is not in the process");
	return found;
}

static void
await_line(void)
{
	char line[16];

	printf("ready\n");
	fflush(stdout);
	process_check(fgets(line, sizeof line, stdin) != NULL, "no line came");
}

/* So many blocks, touched and then freed. */
static void
heap_burst(size_t blocks, size_t block_bytes)
{
	char **all = calloc(blocks, sizeof *all);

	process_check(all != NULL, "calloc");
	for (size_t i = 0; i < blocks; i++) {
		all[i] = malloc(block_bytes);
		process_check(all[i] != NULL, "malloc");
		memset(all[i], 'b', block_bytes);
	}
	for (size_t i = 0; i < blocks; i++)
		free(all[i]);
	free(all);
}

static char *
map(size_t bytes)
{
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	process_check(memory != MAP_FAILED, "mmap");
	memset(memory, 'm', bytes);
	return memory;
}

/* Grows past the heap, as a runtime with a heap of its own does. */
static void
grow_by_mmap(size_t bytes, unsigned step_us)
{
	for (size_t done = 0; done < bytes; done += STEP_BYTES) {
		map(STEP_BYTES);
		usleep(step_us);
	}
}

static int
threads_now(void)
{
	DIR *folder = opendir("/proc/self/task");
	const struct dirent *entry;
	int threads = 0;

	process_check(folder != NULL, "/proc/self/task");
	while ((entry = readdir(folder)))
		threads += entry->d_name[0] != '.';
	closedir(folder);
	return threads;
}

/* ---- groups ---- */

static void
run_lowered(void)
{
	heap_burst(250, MIB);
	await_line();
	grow_by_mmap(160 * MIB, 10000);
}

static void
run_moved(void)
{
	char *kept = malloc(30 * MIB);

	process_check(kept != NULL, "malloc");
	memset(kept, 'k', 30 * MIB);
	await_line();
	heap_burst(1500, 100000);
	usleep(300000);
	grow_by_mmap(140 * MIB, 10000);
	free(kept);
}

static void
run_block(void)
{
	heap_burst(1, 300 * MIB);
	sleep(1);
	grow_by_mmap(300 * MIB, 5000);
}

/* ---- filters ---- */

#define KILL_FOR(name)                                          \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

/* For all threads; it kills for what spillway's threads sleep and read with. */
static void
filter_install(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		KILL_FOR(ppoll),
		KILL_FOR(pread64),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {
		.len = sizeof filter / sizeof *filter,
		.filter = filter,
	};

	process_check(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
		      "PR_SET_NO_NEW_PRIVS");
	process_check(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			       SECCOMP_FILTER_FLAG_TSYNC, &program),
		      "seccomp");
}

/* Not touched, which would give spillway's threads the time to start. */
static void
run_filter(unsigned after_us)
{
	char *first = malloc(64 * MIB), *second = malloc(32 * MIB);

	process_check(first && second, "malloc");
	if (after_us)
		usleep(after_us);
	filter_install();
	free(first);
	free(second);
	heap_burst(64, MIB);
	usleep(100000);
}

static void
run_probe(void)
{
	int before;

	heap_burst(1, 64 * MIB);
	usleep(100000);
	before = threads_now();
	process_check(before > 1, "spillway has no threads");
	process_check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) ==
				      -1 &&
			      errno == EFAULT,
		      "prctl of no filter");
	process_check(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL) ==
				      -1 &&
			      errno == EFAULT,
		      "seccomp of no filter");
	usleep(100000);
	process_check(threads_now() == before, "a probe ended the threads");
}

/* At a rate that takes longer than the test waits. */
static void *
ask_slowly(void *result)
{
	struct spw_reclaim_options options = {
		.size = sizeof options,
		.target_bytes = 150 * MIB,
		.rate_bytes_per_s = MIB,
	};
	int (*reclaim)(uint64_t *, const struct spw_reclaim_options *) =
		(int (*)(uint64_t *, const struct spw_reclaim_options *))
			function("spw_reclaim");
	uint64_t bytes;

	*(int *)result = reclaim(&bytes, &options);
	return NULL;
}

static void
run_asking(void)
{
	pthread_t thread;
	int result = 1;

	heap_burst(200, MIB);
	process_check(!pthread_create(&thread, NULL, ask_slowly, &result),
		      "pthread_create");
	usleep(300000);
	process_check(result == 1, "the request ended by itself");
	alarm(10); /* SIGALRM: it never ends */
	filter_install();
	pthread_join(thread, NULL);
	printf("result=%d\n", result);
	process_check(result < 0, "the request says that it was done");
}

/* ---- memory that is locked, or never given ---- */

static void
run_locked(void)
{
	char *page = map(4096);

	if (mlockall(MCL_CURRENT | MCL_FUTURE)) {
		printf("skip=mlockall: %s\n", strerror(errno));
		return;
	}
	if (madvise(page, 4096, MADV_DONTNEED_LOCKED)) {
		printf("skip=MADV_DONTNEED_LOCKED: %s\n", strerror(errno));
		return;
	}
	heap_burst(200, MIB);
	await_line();
}

static size_t
count_much(const struct spw_shrink *request, void *context)
{
	(void)request;
	(void)context;
	return 256 * MIB;
}

static size_t
give_nothing(const struct spw_shrink *request, void *context)
{
	(void)request;
	++*(atomic_int *)context;
	return 0;
}

static size_t
claim_all(const struct spw_shrink *request, void *context)
{
	++*(atomic_int *)context;
	return request->target_bytes;
}

/* What all threads have cost so far. */
static void
spent(double *cpu_seconds, long *wakeups)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	*cpu_seconds =
		(double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		(double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
	*wakeups = usage.ru_nvcsw;
}

static void
measure(size_t (*shrink)(const struct spw_shrink *, void *))
{
	static atomic_int asked;
	struct spw_shrinker_options options = {
		.size = sizeof options,
		.name = "counting",
		.tier = SPW_TIER_WARM,
		.count = count_much,
		.shrink = shrink,
		.context = &asked,
	};
	int (*shrinker_register)(struct spw_shrinker **,
				 const struct spw_shrinker_options *) =
		(int (*)(struct spw_shrinker **,
			 const struct spw_shrinker_options *))
			function("spw_shrinker_register");
	struct spw_shrinker *shrinker;
	double cpu, cpu_before;
	long wakeups, wakeups_before;

	process_check(!shrinker_register(&shrinker, &options),
		      "spw_shrinker_register");
	map(193 * MIB);
	spent(&cpu_before, &wakeups_before);
	sleep(5);
	spent(&cpu, &wakeups);
	printf("cpu=%.3f\nwakeups=%ld\nasked=%d\n",
	       (cpu - cpu_before) / 5 * 100, wakeups - wakeups_before,
	       atomic_load(&asked));
	process_check(atomic_load(&asked) > 0, "the shrinker was not asked");
}

static void
run_counting(void)
{
	measure(give_nothing);
}

static void
run_claiming(void)
{
	measure(claim_all);
}

static void
run_growing(void)
{
	int (*grow)(size_t) = (int (*)(size_t))function("spw_pressure_grow");
	char *heap = malloc(100 * MIB);

	process_check(heap != NULL, "malloc");
	memset(heap, 'h', 100 * MIB);
	process_check(grow(MIB) == 0, "a MiB does not fit");
	process_check(grow(200 * MIB) == -ENOMEM, "200 MiB more fit in 200");
	process_check(grow(SIZE_MAX) == -ENOMEM, "SIZE_MAX fits");
	process_check(grow(SIZE_MAX / 2 + 1) == -ENOMEM, "2^63 fits");
	usleep(100000);
	process_check(grow(MIB) == 0, "a MiB does not fit any more");
	free(heap);
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} modes[] = {
		{ "lowered", run_lowered },   { "moved", run_moved },
		{ "block", run_block },       { "probe", run_probe },
		{ "asking", run_asking },     { "locked", run_locked },
		{ "counting", run_counting }, { "claiming", run_claiming },
		{ "growing", run_growing },
	};
	const char *mode = argc > 1 ? argv[1] : "";
	bool known = !strcmp(mode, "filter") && argc > 2;

	if (known)
		run_filter((unsigned)strtoul(argv[2], NULL, 10));
	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
		if (strcmp(mode, modes[i].name) != 0)
			continue;
		known = true;
		modes[i].run();
	}
	if (!known)
		return 2;
	printf("fine\n");
	fflush(stdout);
	return 7;
}
