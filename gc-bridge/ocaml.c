/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bridge to OCaml 4.10 to 4.14: native programs, and ocamlrun.
 *
 * Conditions: the runtime's symbols are visible. ocamlopt links the runtime
 * into each program and exports it (-Wl,-E, for natdynlink); strip(1) leaves
 * that. A program linked without it (-output-obj in a C program that is not
 * linked with -rdynamic) is told, and left alone; one that is static never
 * sees us. OCaml code runs already: a module is initialised.
 *
 * Why it is safe: the collection runs on the program's own thread, with the
 * master lock where there are threads, behind a slice of the major collector
 * (caml_major_slice_end_hook), where the runtime itself empties the minor heap
 * and compacts (caml_compact_heap_maybe). Our thread only asks for a slice,
 * by the two stores with which a signal handler asks for attention on any
 * thread. The program may overwrite them in the same moment: the request is
 * repeated until it is taken. A program that sleeps in a system call, or
 * computes without allocating, is served when it allocates again; with
 * ocaml-idle one that sleeps at once (ocaml_idle.c).
 *
 * Objects move: a program that forbids that (max_overhead of a million) is
 * not asked, as the heap shrinks by compaction alone. Finalisers are left to
 * the program. OCAMLRUNPARAM=c frees the heap at exit below our stores: no.
 */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/futex.h"
#include "base/log.h"
#include "gc-bridge/detect.h"
#include "gc-bridge/ocaml_idle.h"
#include "gc-bridge/runtimes.h"
#include "gc-bridge/symbols.h"
#include "pressure/core.h"
#include "pressure/errand.h"

/* How long our thread stays with a request; it may be served later. */
#define PATIENCE_NS (5 * CLOCK_S)
#define REPEAT_NS (10 * CLOCK_MS)
/* caml_gc_phase between two cycles. */
#define PHASE_IDLE 3
#define NEVER_COMPACT 1000000
#define IDLE_WORD "ocaml-idle"

static void (*request_slice)(void);
static void (*empty_minor_heap)(void);
static void (*finish_cycle)(void);
static void (*compact)(intptr_t policy);
static void (*_Atomic *slice_end)(void);
static void **state; /* Caml_state */
static void **heap_start;
static const uintptr_t *overhead_max; /* caml_percent_max */
static const int *phase;
static const int *cleans_up; /* caml_cleanup_on_exit */
/* One of the two: of native code, and of bytecode. */
static const intptr_t *modules, *bytecode_data;

static void (*_Atomic next_hook)(void); /* who was there before us */
static _Atomic uint32_t waiting;        /* a futex: 1 while one is asked for */
static _Atomic int wanted_level;
static _Atomic uint64_t went;

static const struct symbol needed[] = {
	{ "caml_request_major_slice", &request_slice },
	{ "caml_empty_minor_heap", &empty_minor_heap },
	{ "caml_finish_major_cycle", &finish_cycle },
	{ "caml_compact_heap", &compact },
	{ "caml_major_slice_end_hook", &slice_end },
	{ "Caml_state", &state },
	{ "caml_heap_start", &heap_start },
	{ "caml_percent_max", &overhead_max },
	{ "caml_gc_phase", &phase },
	{ "caml_cleanup_on_exit", &cleans_up },
};

/* ---- a runtime whose symbols are hidden ---- */

/* Looks for a word of the runtime's in a part of a file. */
static bool
has_word(int fd, off_t from, size_t bytes)
{
	static const char word[] = "CAMLRUNPARAM";
	char text[16384];
	size_t kept = 0, most;
	ssize_t got;

	while (bytes > 0) {
		most = sizeof text - kept;
		got = pread(fd, text + kept, most < bytes ? most : bytes, from);
		if (got <= 0)
			return false;
		if (memmem(text, kept + (size_t)got, word, sizeof word))
			return true;
		from += got;
		bytes -= (size_t)got;
		got += (ssize_t)kept;
		kept = (size_t)got < sizeof word ? (size_t)got : sizeof word;
		memmove(text, text + (size_t)got - kept, kept);
	}
	return false;
}

#define RODATA_BYTES_MAX (1 << 20)

/* Of the program's file, the read-only data: not mapped memory, of which
 * this would make pages resident. */
static bool
is_hidden_in(int fd)
{
	ElfW(Ehdr) header;
	ElfW(Shdr) section, names;
	char name[9];

	if (pread(fd, &header, sizeof header, 0) != sizeof header ||
	    header.e_shentsize != sizeof section ||
	    header.e_shstrndx >= header.e_shnum ||
	    pread(fd, &names, sizeof names,
		  (off_t)(header.e_shoff + header.e_shstrndx * sizeof names)) !=
		    sizeof names)
		return false;
	for (unsigned i = 0; i < header.e_shnum; i++) {
		if (pread(fd, &section, sizeof section,
			  (off_t)(header.e_shoff + i * sizeof section)) !=
			    sizeof section ||
		    pread(fd, name, sizeof name,
			  (off_t)(names.sh_offset + section.sh_name)) !=
			    sizeof name)
			return false;
		if (memcmp(name, ".rodata", 8) == 0)
			return section.sh_size <= RODATA_BYTES_MAX &&
			       has_word(fd, (off_t)section.sh_offset,
					section.sh_size);
	}
	return false;
}

/* An errand. */
static void
look_into_program(void *hidden)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	*(bool *)hidden = is_hidden_in(fd);
	close(fd);
}

static bool
is_hidden(void)
{
	static bool known, hidden; /* probes come one at a time */

	if (!known)
		known = errand_run(look_into_program, &hidden);
	return hidden;
}

/* ---- the program's thread ---- */

/* What lives in malloc: chunks of the heap that are freed stay with it until
 * the tier of free memory is asked, behind us. */
static uint64_t
active(void)
{
	const struct core_heap *heap = core_heap();

	return heap ? heap->active_bytes() : errand_resident();
}

static void
run(void)
{
	uint64_t before = active(), after;
	bool full = atomic_load(&wanted_level) >= SPW_LEVEL_CRITICAL;

	empty_minor_heap();
	/* What died since the running cycle marked it takes another. */
	if (*phase != PHASE_IDLE && full)
		finish_cycle();
	finish_cycle();
	compact(-1);
	after = active();
	atomic_store(&went, before > after ? before - after : 0);
}

/* Behind a slice: with the runtime, at a point at which it compacts. */
static void
slice_ended(void)
{
	void (*theirs)(void) = atomic_load(&next_hook);

	if (theirs)
		theirs();
	if (atomic_load(&waiting) != 1 || *overhead_max >= NEVER_COMPACT)
		return;
	atomic_store(&waiting, 2);
	run();
	atomic_store(&waiting, 0);
	futex_wake(&waiting, FUTEX_ALL);
}

/* ---- our thread ---- */

static bool
is_ready(void)
{
	if (!*state || !*heap_start)
		return false;
	return (modules && *modules > 0) || (bytecode_data && *bytecode_data);
}

static int
probe(bool attached, const char **why)
{
	void (*theirs)(void);
	const char *idle;

	(void)attached;
	if (!symbols_find_all("libasmrun", needed,
			      sizeof needed / sizeof *needed, NULL) &&
	    !symbols_find_all("libcamlrun", needed,
			      sizeof needed / sizeof *needed, NULL)) {
		*why = "its symbols are hidden, or it is not OCaml 4.10 to "
		       "4.14 (link it with -ccopt -Wl,-E)";
		return is_hidden() ? -EOPNOTSUPP : -ENOENT;
	}
	symbols_find(NULL, "caml_globals_inited", &modules);
	symbols_find(NULL, "caml_global_data", &bytecode_data);
	if (!is_ready())
		return -EAGAIN;
	if (*cleans_up) {
		*why = "it frees its heap at exit (OCAMLRUNPARAM=c)";
		return -EOPNOTSUPP;
	}
	theirs = atomic_load(slice_end);
	if (theirs != slice_ended) {
		atomic_store(&next_hook, theirs);
		atomic_store(slice_end, slice_ended);
	}
	idle = detect_says(IDLE_WORD) ? ocaml_idle_arm() : NULL;
	if (idle)
		log_write(SPW_LOG_WARNING, "gc ocaml: not while it sleeps: %s",
			  idle);
	return 0;
}

/* While the program sleeps, on our thread. */
static void
run_meanwhile(void)
{
	uint32_t asked = 1;

	if (!ocaml_idle_enter())
		return;
	if (atomic_compare_exchange_strong(&waiting, &asked, 2)) {
		run();
		atomic_store(&waiting, 0);
	}
	ocaml_idle_leave();
}

static size_t
collect(enum spw_level level, uint64_t deadline_ns, void *unused)
{
	uint64_t until = clock_now_ns() + PATIENCE_NS;
	uint32_t none = 0, seen;

	(void)deadline_ns;
	(void)unused;
	if (*overhead_max >= NEVER_COMPACT)
		return SPW_SHRINK_LATER;
	atomic_store(&wanted_level, (int)level);
	if (atomic_compare_exchange_strong(&waiting, &none, 1))
		atomic_store(&went, 0);
	while ((seen = atomic_load(&waiting)) != 0 && clock_now_ns() < until &&
	       !bridge_ending()) {
		if (seen == 1)
			request_slice();
		futex_wait(&waiting, seen, REPEAT_NS);
		if (detect_says(IDLE_WORD))
			run_meanwhile();
	}
	return atomic_load(&waiting) ? SPW_SHRINK_LATER :
				       (size_t)atomic_load(&went);
}

const struct bridge_runtime ocaml_runtime = {
	.name = "ocaml",
	.by_default = true,
	.opt_in = IDLE_WORD,
	.probe = probe,
	.collect = collect,
};
