/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mmap(2) as an unmodified program calls it, and mprotect(2), by which V8's
 * heap grows: so that memory which a runtime maps for its heap wakes spillway
 * as malloc's growth does.
 *
 * Only in libspillway-malloc.so. Passes on to the kernel unchanged; what was
 * mapped to be written counts against the gate's credit, as a hook would:
 * one atomic subtraction, and when credit is out one signal to the monitor.
 * Where no monitor runs yet it is started here, since a runtime that maps all
 * of its heap may never come by malloc: once, only where the process's malloc
 * is ours (another one may call mmap with a lock held that making a thread
 * wants), and not in a signal handler, which may have interrupted malloc (4 of
 * 20 such programs hung). Below the hard watermark the caller waits
 * as in malloc, for 10 ms at most: with a lock of its runtime held, maybe that
 * which the collector wants, but it gets on with a mapping each 10 ms where it
 * would have filled the rest at 500 MB/s (CPython).
 *
 * It does not count as our heap's growth (gate_charged_bytes), since what is
 * mapped may never be touched; nor do our own heap's mappings, which are
 * charged when they are committed: they come from this library's own code.
 */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <spillway/export.h>

#include "base/clock.h"
#include "base/settings.h"
#include "gc-bridge/boehm.h"
#include "gc-bridge/interrupted.h"
#include "gc-bridge/jvm_heap.h"
#include "gc-bridge/node.h"
#include "pressure/core.h"
#include "pressure/gate.h"

/* No mapping counts for more: reservations are mapped writable, too. */
#define COUNT_MAX (64l << 20)
/* Smaller ones are no heap; liburcu maps its tables with a lock held that
 * starting wants. */
#define COUNT_MIN (128ul << 10)

/* This library's code, by the linker. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char __etext[] __attribute__((visibility("hidden")));

#ifdef mmap64
#undef mmap64
#endif
void *mmap64(void *address, size_t bytes, int protection, int flags, int fd,
	     off_t offset);

static bool
is_ours(const void *address)
{
	return (const char *)address >= __ehdr_start &&
	       (const char *)address < __etext;
}

static bool
may_start(void)
{
	static _Atomic int ours; /* 0: not asked yet; 1 yes, -1 no */

	if (!atomic_load(&ours)) {
		const void *theirs = dlsym(RTLD_DEFAULT, "malloc");

		atomic_store(&ours, is_ours(theirs) ? 1 : -1);
	}
	return atomic_load(&ours) > 0;
}

/* Starting, and sensing in the hooks, take locks of the heap. */
static bool
in_handler(void)
{
	int saved = errno;
	stack_t stack;
	bool is = sigaltstack(NULL, &stack) != 0 ||
		  (stack.ss_flags & SS_ONSTACK) || interrupted_by_signal();

	errno = saved;
	return is;
}

/* A JVM that collects beside the program, and takes memory for that: who
 * allocates waits from the soft watermark on, who collects never. */
static void
brake(void)
{
	const struct timespec step = { .tv_nsec = CLOCK_MS };
	uint64_t until = clock_now_ns() + settings()->gate_ns;
	int saved = errno;

	if (jvm_is_collector())
		return;
	while (atomic_load(&gate_credit) <= 0 && !gate_fork_waits() &&
	       clock_now_ns() < until)
		nanosleep(&step, NULL);
	errno = saved;
}

static inline void
count(const void *caller, size_t bytes, int protection, int flags)
{
	int64_t by = bytes < COUNT_MAX ? (int64_t)bytes : COUNT_MAX;

	if (bytes < COUNT_MIN || !(protection & PROT_WRITE) ||
	    !(flags & MAP_ANONYMOUS) || is_ours(caller))
		return;
	if (atomic_load_explicit(&node_watch, memory_order_relaxed) > NODE_ARM)
		node_isolate_grows();
	if (atomic_load_explicit(&gate_state, memory_order_relaxed) == GATE_OFF)
		return;
	if (atomic_fetch_sub_explicit(&gate_credit, by, memory_order_relaxed) >=
	    by)
		return;
	gate_ring();
	if (!core_running()) {
		if (!in_handler() && may_start())
			gate_start();
	} else if (settings()->threads != SETTINGS_THREADS_NEVER ||
		   !in_handler()) {
		if (atomic_load(&jvm_heap_copies_beside))
			brake();
		else
			gate_wait((size_t)by);
	}
}

static inline void *
map(const void *caller, void *address, size_t bytes, int protection, int flags,
    int fd, off_t offset)
{
	void *got = (void *)syscall(SYS_mmap, address, bytes, protection, flags,
				    fd, offset);

	if (got == MAP_FAILED)
		return got;
	count(caller, bytes, protection, flags);
	if (atomic_load_explicit(&boehm_grows, memory_order_relaxed))
		boehm_mapped(got, bytes);
	return got;
}

SPW_EXPORT void *
mmap(void *address, size_t bytes, int protection, int flags, int fd,
     off_t offset)
{
	return map(__builtin_return_address(0), address, bytes, protection,
		   flags, fd, offset);
}

SPW_EXPORT void *
mmap64(void *address, size_t bytes, int protection, int flags, int fd,
       off_t offset)
{
	return map(__builtin_return_address(0), address, bytes, protection,
		   flags, fd, offset);
}

/* Code that is written and run by turns is no growth. */
SPW_EXPORT int
mprotect(void *address, size_t bytes, int protection)
{
	int error = (int)syscall(SYS_mprotect, address, bytes, protection);

	if (error == 0 && !(protection & PROT_EXEC))
		count(__builtin_return_address(0), bytes, protection,
		      MAP_ANONYMOUS);
	return error;
}
