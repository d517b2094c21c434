/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Garbage collectors: asked for memory when the process is short of it, and
 * told how much there is while it is not.
 *
 * Usage: a runtime that embeds spillway fills a struct spw_gc_options and
 * calls spw_gc_register(). A program calls spw_gc_attach("auto") once, early,
 * to have the collectors of runtimes in its process found; under
 * libspillway-malloc.so that is done without it.
 *
 * Caveats:
 *  - threads: `collect` and `tune` run on a thread of the bridge's own, one
 *    call at a time, with all signals blocked but those of faults and with a
 *    megabyte of stack (spw_gc_register() calls `tune` once itself); `heap`
 *    runs on any thread of spillway's and must neither block nor allocate.
 *    They may call the spw_gc and spw_pressure functions, spw_free() and
 *    malloc; spw_reclaim() answers -EDEADLK. To run code on the runtime's own
 *    thread, have `collect` ask for it there and wait.
 *  - A collect that throws a C++ exception is not asked again; one that does
 *    not return keeps its thread and nothing else. Both are named in the log.
 *  - fork: registrations stay; the child makes its thread when it is asked.
 *    With .fork_waits a fork waits for a collection that is running.
 *  - signals: nothing here is async-signal-safe.
 *
 * The order (moderate before full), the rate and the reasons are in
 * spillway_gc(3) and doc/ARCHITECTURE.md.
 */
#ifndef SPILLWAY_GC_H
#define SPILLWAY_GC_H

#include <spillway/shrinker.h>

SPW_BEGIN_DECLS

struct spw_gc;

struct spw_gc_options {
	size_t size;
	const char *name; /* copied; 1 to 63 bytes */
	/*
	 * Collects, and returns memory to the system, not only to the heap:
	 * at MEDIUM what comes without a long pause, at CRITICAL all. Returns
	 * the bytes that went, 0 where that is not known, SPW_SHRINK_LATER
	 * where it did not collect and shall be asked again. deadline_ns is of
	 * CLOCK_MONOTONIC: when the reclaimer goes on without it.
	 */
	size_t (*collect)(enum spw_level level, uint64_t deadline_ns,
			  void *context);
	/* Bytes of the heap that are in memory. NULL: those of the process. */
	size_t (*heap)(void *context);
	/* So much may the heap grow before memory is short; called when the
	 * level changes and after a collection. UINT64_MAX: no limit known.
	 * NULL: not wanted. */
	void (*tune)(uint64_t headroom_bytes, void *context);
	void *context;
	bool fork_waits;
};

/*
 * Registers a collector as a shrinker of tier GARBAGE.
 * Errors: -EINVAL (names the member in the log), -ENOMEM, -ENOSPC (more than
 * 16), -ENOTSUP (SPILLWAY_CONF=off, gc:off or threads:never).
 */
int spw_gc_register(struct spw_gc **gc, const struct spw_gc_options *options);

/*
 * Returns when no call is running, or at once from inside one, which is then
 * the last. A call that hangs is waited for for a second: then -ETIMEDOUT, and
 * the context must stay valid. NULL is ignored. 0 or -ETIMEDOUT.
 */
int spw_gc_unregister(struct spw_gc *gc);

/*
 * Looks for a runtime in this process: "boehm", "cpython", "jvm", "lua",
 * "node", "ocaml", "php", "ruby", or "auto" for each that is on by default.
 * For "boehm": to be called by the thread that called GC_INIT(), before it
 * makes others.
 * Returns 0 (found; for "auto" also where it is looked for again later),
 * -EINVAL (no such name; named in the log), -ENOENT (not in this process),
 * -EOPNOTSUPP (found, but not in a state or version that can be served; the
 * log says why) or -ENOTSUP (SPILLWAY_CONF=off or gc:off).
 */
int spw_gc_attach(const char *runtime);

/*
 * A lua_CFunction that hands a Lua 5.4 state over and attaches "lua"; to be
 * called on the thread that runs it. States that are made under
 * libspillway-malloc.so need no call. Pushes nothing, returns 0; where it
 * cannot serve, the log says why.
 */
struct lua_State;
int spw_gc_lua(struct lua_State *L);

/* What a bridge did so far. */
struct spw_gc_stats {
	size_t size;
	uint64_t collections;
	uint64_t refused;      /* not due yet, or running */
	uint64_t heap_bytes;   /* now; of the process where not known */
	uint64_t gained_bytes; /* in all */
	uint64_t last_gain_bytes;
	uint64_t last_ns; /* how long the last collection took */
	uint64_t ns_max;
	uint64_t ended_ns; /* when it ended, CLOCK_MONOTONIC; 0: never */
};

/* Of an attached runtime or a registered collector, by its name.
 * Errors: -EINVAL, -ENOENT. */
int spw_gc_stats(const char *name, struct spw_gc_stats *stats);

/*
 * ---- Boehm's collector: soft references ----
 *
 * An object that is kept while memory is plentiful and collected under
 * pressure when it has not been read for a while and nobody else holds it.
 * The object must be the base of one that GC_MALLOC() or its like gave.
 * In debug builds a reference that is used after spw_gc_soft_free() ends the
 * process with a message.
 */
struct spw_gc_soft;

/* Errors: -EINVAL, -ENOMEM, -ENOTSUP (no Boehm collector is attached). */
int spw_gc_soft_new(struct spw_gc_soft **soft, void *object);

/* The object, or NULL: it was collected. Some nanoseconds. */
void *spw_gc_soft_get(struct spw_gc_soft *soft);

/* NULL is ignored. */
void spw_gc_soft_free(struct spw_gc_soft *soft);

/*
 * ---- Boehm's collector: memory of malloc or of an arena as roots ----
 *
 * By default the collector does not look for pointers there. Regions that are
 * given here are scanned by every collection, with the world stopped, 0.1 to
 * 10 ms a MiB: have few and large ones. Replaces what was given before; zero
 * regions: none. The array is copied.
 * Errors: -EINVAL, -ENOMEM, -ENOSPC (more than 1,024), -ENOTSUP.
 */
struct spw_gc_region {
	void *start; /* aligned to a pointer's size */
	size_t bytes;
};
int spw_gc_roots_set(const struct spw_gc_region *regions, size_t count);

SPW_END_DECLS

#endif
