/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bridge to Ruby 3.1 and 3.2 (MRI).
 *
 * Conditions: libruby's symbols are there, its VM has all that a job needs
 * (rb_cComplex comes after rb_cThread: a job that ran between GC and Thread of
 * a VM in the making ended the process), and the process is older than a
 * second: registering a job 3 ms after the start crashed 1 of 40. Ruby 3.3 has
 * other functions for it, and is not served.
 *
 * Why it is safe: rb_postponed_job_register_one() may be called from any
 * thread since 3.1 (ruby#5094); the job runs on the main thread with the GVL,
 * at a point where signal handlers run. Never a second one before the first
 * ran: that starved the program, 40 of 40. A main thread that sleeps is woken
 * by SIGVTALRM, Ruby's own no-op for that, where Ruby's handler is installed;
 * one that is in C code for long has the job wait.
 *
 * GC.start alone, unless gc:ruby-compact says that all extensions mark for a
 * moving collector; one that does not crashes later. Then, when the level is
 * critical, GC.compact in rounds, each of which gives back a part of the pages
 * that it emptied; at most a tenth of the time. It protects what it moved from
 * with mprotect(2), page by page: not where the kernel's bound of mappings
 * (65,530) would be near, beyond which Ruby ends the process.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/futex.h"
#include "base/log.h"
#include "base/settings.h"
#include "gc-bridge/detect.h"
#include "gc-bridge/job.h"
#include "gc-bridge/runtimes.h"
#include "gc-bridge/symbols.h"
#include "pressure/errand.h"

/* How long our thread stays with a job; it may run later. */
#define PATIENCE_NS (5 * CLOCK_S)
#define POKE_NS (20 * CLOCK_MS)
/* In struct rb_vm_struct of 3.1 and 3.2. */
#define MAIN_THREAD_WORD 5
#define COMPACT_WORD "ruby-compact"
#define COMPACT_PAGES_MAX 24000 /* of 16 KiB or more */
#define COMPACT_ROUNDS 4
/* Of a thread's interrupts, 36 bytes into its execution context, those that
 * are masked: by who runs a job; those that raise. */
#define INTERRUPT_MASK 36
#define MASKED_IN_JOB 0x0c
#define THAT_RAISE 0x12
#define COMPACT_SHARE 10 /* of the time: one part in so many */

static int (*register_job)(unsigned flags, void (*function)(void *),
			   void *argument);
static uintptr_t (*gc_start)(void);
static const uintptr_t *made; /* rb_cComplex, of the last classes there are */
static const char *version;   /* ruby_version, an array */

static void **const *current_vm; /* ruby_current_vm_ptr */
static uintptr_t (*wrap)(uintptr_t type, void *data, void (*mark)(void *),
			 void (*free)(void *));
static void (*keep)(uintptr_t object);

/* For compaction; VALUE and ID are uintptr_t. */
static uintptr_t (*protect)(uintptr_t (*function)(uintptr_t), uintptr_t value,
			    int *state);
static uintptr_t (*get_error)(void);
static void (*set_error)(uintptr_t error);
static uintptr_t (*intern)(const char *name);
static uintptr_t (*symbol_of)(uintptr_t name);
static uintptr_t (*call_method)(uintptr_t object, uintptr_t name, int count,
				const uintptr_t *arguments);
static size_t (*gc_stat)(uintptr_t key);
static uintptr_t (*call_block)(uintptr_t object, uintptr_t name, int count,
			       const uintptr_t *arguments,
			       uintptr_t (*block)(uintptr_t, uintptr_t, int,
						  const uintptr_t *, uintptr_t),
			       uintptr_t value);
static uintptr_t (*make_hash)(void);
static const char *(*source_file)(void);
static uintptr_t (*set_in_hash)(uintptr_t hash, uintptr_t key, uintptr_t value);
static const uintptr_t *threads, *objects; /* rb_cThread, rb_cObject */
static const uintptr_t *module;            /* rb_mGC */

enum { OPEN, HELD, SHUT };
static _Atomic uint32_t gate;    /* a futex */
static bool has_end;             /* of the job alone */
static _Atomic uint32_t waiting; /* a futex: 1 while a job is registered */
static _Atomic uint64_t went;
static bool can_compact;
static _Atomic bool shall_compact;           /* by the job */
static uint64_t compacted_ns, compacting_ns; /* of the job alone */

static const struct symbol needed[] = {
	{ "rb_postponed_job_register_one", &register_job },
	{ "rb_gc_start", &gc_start },
	{ "rb_cComplex", &made },
	{ "ruby_version", &version },
	{ "ruby_current_vm_ptr", &current_vm },
	{ "rb_data_object_wrap", &wrap },
	{ "rb_gc_register_mark_object", &keep },
};

static const struct symbol for_compaction[] = {
	{ "rb_protect", &protect },        { "rb_errinfo", &get_error },
	{ "rb_set_errinfo", &set_error },  { "rb_intern", &intern },
	{ "rb_id2sym", &symbol_of },       { "rb_funcallv", &call_method },
	{ "rb_gc_stat", &gc_stat },        { "rb_block_call", &call_block },
	{ "rb_hash_new", &make_hash },     { "rb_hash_aset", &set_in_hash },
	{ "rb_sourcefile", &source_file }, { "rb_cThread", &threads },
	{ "rb_cObject", &objects },        { "rb_mGC", &module },
};

/* ---- the VM's end ---- */

/*
 * A job that is registered where the VM was freed, or just is, ends the
 * process. So the first job makes an object that the VM frees last, before
 * itself: that shuts `gate`, which our thread, or a fork, holds meanwhile:
 *
 *	bridge's thread			main thread, fork
 *	OPEN -> HELD, or leave it	OPEN -> SHUT, or wait while HELD
 *	register, HELD -> OPEN		the VM is freed
 *
 * Before the first job the VM's pointer to its main thread tells.
 */

/* OPEN -> `into`: false where it is shut. */
static bool
take_gate(uint32_t into)
{
	uint32_t seen = OPEN;

	while (!atomic_compare_exchange_strong(&gate, &seen, into)) {
		if (seen == SHUT)
			return false;
		futex_wait(&gate, HELD, FUTEX_FOREVER);
		seen = OPEN;
	}
	return true;
}

static void
open_gate(void)
{
	uint32_t held = HELD;

	if (atomic_compare_exchange_strong(&gate, &held, OPEN))
		futex_wake(&gate, FUTEX_ALL);
}

/* Our object is freed: on the main thread, and the VM is next. */
static void
shut_gate(void *unused)
{
	(void)unused;
	take_gate(SHUT);
}

/* So that a child has no job that is half registered. */
static void
fork_prepare(void)
{
	take_gate(HELD);
}

/* False: the VM is gone, or going. */
static bool
register_run(void (*run)(void *))
{
	void *const *vm;
	bool done = false;

	if (!take_gate(HELD))
		return false;
	vm = *current_vm;
	if (vm && vm[MAIN_THREAD_WORD])
		done = register_job(0, run, NULL) != 0;
	open_gate();
	return done;
}

/* ---- our thread ---- */

static int
probe(bool attached, const char **why)
{
	static _Atomic bool handlers_there;

	(void)attached;
	if (!symbols_find_all("libruby", needed, sizeof needed / sizeof *needed,
			      NULL))
		return -ENOENT;
	if (strncmp(version, "3.1", 3) != 0 &&
	    strncmp(version, "3.2", 3) != 0) {
		*why = "it is neither Ruby 3.1 nor 3.2";
		return -EOPNOTSUPP;
	}
	if (!atomic_exchange(&handlers_there, true))
		pthread_atfork(fork_prepare, open_gate, open_gate);
	can_compact = symbols_find_all(
		"libruby", for_compaction,
		sizeof for_compaction / sizeof *for_compaction, NULL);
	return detect_is_young() || !*made ? -EAGAIN : 0;
}

/* Once. */
static void
tell(const char *why)
{
	static _Atomic bool told;

	if (!atomic_exchange(&told, true))
		log_write(SPW_LOG_WARNING, "gc ruby: not compacted: %s", why);
}

/* ---- on the main thread, with the GVL ---- */

/*
 * GC.compact is a method, and looks for interrupts at its end: what is raised
 * in this thread there (Timeout, Thread#raise and kill) would end here, and
 * never come to the program. So it waits: Thread.handle_interrupt does that
 * for its block, at whose end it looks, too; there the mask does. NULL: it is
 * not laid out as we know.
 */
static uint32_t *
get_mask(void)
{
	char **context; /* thread storage */
	uint32_t *mask;

	if (!symbols_find("libruby", "ruby_current_ec", &context) || !*context)
		return NULL;
	mask = (uint32_t *)(void *)(*context + INTERRUPT_MASK);
	return (*mask & MASKED_IN_JOB) == MASKED_IN_JOB ? mask : NULL;
}

static uintptr_t
compact_block(uintptr_t yielded, uintptr_t context, int count,
	      const uintptr_t *arguments, uintptr_t block)
{
	uint32_t *mask = get_mask();
	uintptr_t result;

	(void)yielded;
	(void)context;
	(void)count;
	(void)arguments;
	(void)block;
	result = call_method(*module, intern("compact"), 0, NULL);
	*mask |= THAT_RAISE; /* what finalizes objects takes it away */
	return result;
}

static uintptr_t
compact_once(uintptr_t unused)
{
	uintptr_t hash = make_hash();

	(void)unused;
	set_in_hash(hash, *objects, symbol_of(intern("never")));
	return call_block(*threads, intern("handle_interrupt"), 1, &hash,
			  compact_block, 0);
}

static uintptr_t
pages_of_heap(uintptr_t unused)
{
	(void)unused;
	return gc_stat(symbol_of(intern("heap_allocated_pages")));
}

/* False: it raised (a platform that cannot compact), and nobody saw it. */
static bool
quietly(uintptr_t (*function)(uintptr_t), uintptr_t *result)
{
	uintptr_t before = get_error();
	int state = 0;

	*result = protect(function, 0, &state);
	if (state != 0)
		set_error(before);
	return state == 0;
}

static void
compact_rounds(uintptr_t pages)
{
	uintptr_t fewer, result;

	for (int round = 0; round < COMPACT_ROUNDS && !bridge_ending();
	     round++) {
		if (!quietly(compact_once, &result)) {
			tell("GC.compact raised");
			break;
		}
		if (!quietly(pages_of_heap, &fewer) ||
		    fewer > pages - pages / 16)
			break;
		pages = fewer;
	}
}

static void
compact(void)
{
	uint64_t began = clock_now_ns();
	uintptr_t pages;
	uint32_t *mask;

	if (compacted_ns && atomic_load(&settings()->gc_interval_ns) &&
	    began - compacted_ns < compacting_ns * (COMPACT_SHARE - 1))
		return;
	if (!source_file()) /* rb_block_call() needs a frame of Ruby's */
		return;
	if (!quietly(pages_of_heap, &pages) || pages > COMPACT_PAGES_MAX) {
		tell("its heap has too many pages");
		return;
	}
	mask = get_mask();
	if (!mask) {
		tell("its interrupts are laid out differently");
		return;
	}
	*mask |= THAT_RAISE;
	compact_rounds(pages);
	*mask &= ~(uint32_t)THAT_RAISE;
	compacted_ns = clock_now_ns();
	compacting_ns = compacted_ns - began;
}

static void
run(void *unused)
{
	uint64_t before = errand_resident(), after;

	(void)unused;
	if (!has_end) {
		has_end = true;
		keep(wrap(0, &gate, NULL, shut_gate));
	}
	gc_start();
	if (atomic_load(&shall_compact))
		compact();
	after = errand_resident();
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

	(void)deadline_ns;
	(void)unused;
	if (detect_says(COMPACT_WORD) && !can_compact)
		tell("its functions are not all there");
	atomic_store(&shall_compact, level == SPW_LEVEL_CRITICAL &&
					     can_compact &&
					     detect_says(COMPACT_WORD));
	if (atomic_compare_exchange_strong(&waiting, &none, 1)) {
		atomic_store(&went, 0);
		if (!register_run(run)) {
			atomic_store(&waiting, 0);
			return SPW_SHRINK_LATER;
		}
	}
	while (atomic_load(&waiting) && atomic_load(&gate) != SHUT &&
	       clock_now_ns() < until) {
		futex_wait(&waiting, 1, POKE_NS);
		if (atomic_load(&waiting))
			poke_main();
	}
	return atomic_load(&waiting) ? SPW_SHRINK_LATER :
				       (size_t)atomic_load(&went);
}

const struct bridge_runtime ruby_runtime = {
	.name = "ruby",
	.opt_in = COMPACT_WORD,
	.by_default = true,
	.probe = probe,
	.collect = collect,
};
