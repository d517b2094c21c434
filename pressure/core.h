/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The core: when spillway's threads start, how a fork goes, and the numbers
 * that every part adds to.
 *
 * Usage: core_start() from whatever needs threads; core_heap_set() by alloc/.
 *
 * Caveats: core_start() is idempotent, cheap when started, must not be called
 * from hooks or with locks held. In a forked child nothing runs until it is
 * called again (or the child's heap grows).
 */
#ifndef PRESSURE_CORE_H
#define PRESSURE_CORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <spillway/spillway.h>

/*
 * Starts monitor and reclaimer if they do not run. 0, -ENOTSUP (off, or
 * another spillway in the process works), -EAGAIN (no thread could be had).
 * Under threads:never: 0, and sensing happens in the gate.
 */
int core_start(void);

/* True while monitor and reclaimer run in this very process. */
bool core_running(void);
/* Whether the monitor was started, if it may not run yet. */
bool core_has_monitor(void);

/* The program is about to install a seccomp filter: no thread of ours may
 * make a system call afterwards. */
void core_sandboxed(void);

/* What alloc/ knows about this process's heap; all members may be read from
 * any thread, allocate nothing, take no lock. */
struct core_heap {
	uint64_t (*mapped_bytes)(void);
	uint64_t (*committed_bytes)(void);
	uint64_t (*active_bytes)(void);
	/* Gives back what this thread caches; NULL: nothing. */
	void (*flush_thread)(void);
	/* Around fork(2), inside spillway's own handlers; NULL: nothing. */
	void (*fork_prepare)(void);
	void (*fork_parent)(void);
	void (*fork_child)(void);
	/* A pass begins; pressure is over. Idempotent, cheap; NULL: nothing. */
	void (*scarce)(void);
	void (*plenty)(void);
	/* Leave the heap to its own devices (off, sandboxed). */
	void (*let_go)(void);
	const char *name; /* "jemalloc 5.3.0", "glibc" */
};
/* To be called once, when the core starts (libspillway.so). */
void core_on_start(void (*start)(void));
void core_heap_set(const struct core_heap *heap);
const struct core_heap *core_heap(void);

/* What a layer above does around fork(2): after liburcu's handler and before
 * locks are taken; in the child, after both. One of them. */
struct core_fork {
	void (*prepare)(void);
	void (*parent)(void);
	void (*child)(void);
};
void core_fork_add(const struct core_fork *hooks);

/*
 * Starts a detached thread with all signals blocked and a small stack, in the
 * caller's descriptor table. 0 or -errno.
 */
int core_spawn(void *(*body)(void *), void *argument);

/* First thing on a thread of ours. */
void core_thread_starts(const char *name);

/* Counters behind spw_stats(); relaxed. */
struct core_counters {
	_Atomic uint64_t reclaimed_bytes, returned_bytes;
	_Atomic uint64_t passes, passes_futile, events;
	_Atomic uint64_t gate_waits, gate_wait_ns, gate_wait_ns_max;
	_Atomic uint64_t response_ns_max, quarantined, wakeups;
};
extern struct core_counters core_counters;

static inline void
core_count(_Atomic uint64_t *counter, uint64_t by)
{
	atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

static inline void
core_count_max(_Atomic uint64_t *counter, uint64_t value)
{
	uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);

	while (old < value &&
	       !atomic_compare_exchange_weak_explicit(counter, &old, value,
						      memory_order_relaxed,
						      memory_order_relaxed))
		;
}

#endif
