/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bridge to Ruby 3.1 and 3.2 (MRI).
 *
 * Conditions: libruby's symbols are there, its VM exists (rb_mGC is set) and
 * the process is older than a second: registering a job 3 ms after the start
 * crashed 1 of 40. Ruby 3.3 has other functions for it, and is not served.
 *
 * Why it is safe: rb_postponed_job_register_one() may be called from any
 * thread since 3.1 (ruby#5094); the job runs on the main thread with the GVL,
 * at a point where signal handlers run. Never a second one before the first
 * ran: that starved the program, 40 of 40. A main thread that sleeps is woken
 * by SIGVTALRM, Ruby's own no-op for that, where Ruby's handler is installed;
 * one that is in C code for long has the job wait.
 *
 * GC.start alone. GC.compact gives more and is unsafe with extensions that do
 * not mark for it; a program that knows may call it from a shrinker.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/futex.h"
#include "gc-bridge/detect.h"
#include "gc-bridge/job.h"
#include "gc-bridge/runtimes.h"
#include "gc-bridge/symbols.h"

/* How long our thread stays with a job; it may run later. */
#define PATIENCE_NS (5 * CLOCK_S)
#define POKE_NS (20 * CLOCK_MS)

static int (*register_job)(unsigned flags, void (*function)(void *),
			   void *argument);
static uintptr_t (*gc_start)(void);
static const uintptr_t *module; /* rb_mGC */
static const char *version;     /* ruby_version, an array */

static _Atomic uint32_t waiting; /* a futex: 1 while a job is registered */
static _Atomic uint64_t went;

static const struct symbol needed[] = {
	{ "rb_postponed_job_register_one", &register_job },
	{ "rb_gc_start", &gc_start },
	{ "rb_mGC", &module },
	{ "ruby_version", &version },
};

static int
probe(bool attached, const char **why)
{
	(void)attached;
	if (!symbols_find_all("libruby", needed, sizeof needed / sizeof *needed,
			      NULL))
		return -ENOENT;
	if (strncmp(version, "3.1", 3) != 0 &&
	    strncmp(version, "3.2", 3) != 0) {
		*why = "it is neither Ruby 3.1 nor 3.2";
		return -EOPNOTSUPP;
	}
	return detect_is_young() || !*module ? -EAGAIN : 0;
}

/* On the main thread, with the GVL. */
static void
run(void *unused)
{
	uint64_t before = job_resident(), after;

	(void)unused;
	gc_start();
	after = job_resident();
	atomic_store(&went, before > after ? before - after : 0);
	atomic_store(&waiting, 0);
	futex_wake(&waiting, FUTEX_ALL);
}

/* It may sleep in a system call. */
static void
poke_main(void)
{
	struct sigaction now;

	if (sigaction(SIGVTALRM, NULL, &now) == 0 &&
	    now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN)
		syscall(SYS_tgkill, getpid(), getpid(), SIGVTALRM);
}

static size_t
collect(enum spw_level level, uint64_t deadline_ns, void *unused)
{
	uint64_t until = clock_now_ns() + PATIENCE_NS;
	uint32_t none = 0;

	(void)level;
	(void)deadline_ns;
	(void)unused;
	if (atomic_compare_exchange_strong(&waiting, &none, 1)) {
		atomic_store(&went, 0);
		if (!register_job(0, run, NULL)) {
			atomic_store(&waiting, 0);
			return SPW_SHRINK_LATER;
		}
	}
	while (atomic_load(&waiting) && clock_now_ns() < until) {
		futex_wait(&waiting, 1, POKE_NS);
		if (atomic_load(&waiting))
			poke_main();
	}
	return atomic_load(&waiting) ? SPW_SHRINK_LATER :
				       (size_t)atomic_load(&went);
}

const struct bridge_runtime ruby_runtime = {
	.name = "ruby",
	.by_default = true,
	.probe = probe,
	.collect = collect,
};
