/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spillway: memory that is lent, not owned.
 *
 * Usage: #include <spillway/spillway.h>, link with `pkg-config --libs
 * spillway` (libspillway.so), or run the program under `spillway run`.
 *
 * Caveats: see each header. Everything here is thread-safe; spw_version() and
 * spw_strerror() are async-signal-safe.
 */
#ifndef SPILLWAY_SPILLWAY_H
#define SPILLWAY_SPILLWAY_H

#include <spillway/arena.h>
#include <spillway/cache.h>
#include <spillway/gc.h>
#include <spillway/osv.h>
#include <spillway/pressure.h>
#include <spillway/reclaim.h>
#include <spillway/shrinker.h>
#include <spillway/soft.h>

SPW_BEGIN_DECLS

/* "0.1.0"; static. */
const char *spw_version(void);

/* Total: every number, negative or not, has words. Static. */
const char *spw_strerror(int error);

/*
 * The same text as SPILLWAY_CONF ("limit:400M,oom:fail"); later settings win.
 * All or nothing: a bad key, value or unit changes nothing.
 * Errors: -EINVAL (named in the log), -EBUSY (a key that can only be given
 * before the first use: off, threads).
 */
int spw_configure(const char *settings);

enum spw_log_level {
	SPW_LOG_OFF,
	SPW_LOG_ERROR,
	SPW_LOG_WARNING,
	SPW_LOG_INFO,
	SPW_LOG_DEBUG,
};

/*
 * Where messages go: sink is called with one line without newline, from any
 * thread, with locks of spillway held: it must not call spillway or allocate.
 * NULL: back to what SPILLWAY_CONF=log says (default: nowhere).
 */
void spw_log_set(enum spw_log_level at_most,
		 void (*sink)(enum spw_log_level, const char *line,
			      void *context),
		 void *context);

struct spw_stats {
	size_t size;
	uint64_t mapped_bytes;    /* address space of our heap */
	uint64_t committed_bytes; /* of it, not given back to the kernel */
	uint64_t active_bytes;    /* of it, in pages in use */
	uint64_t reclaimed_bytes; /* by all passes, measured by usage */
	uint64_t returned_bytes;  /* handed to madvise since the start */
	uint64_t passes;
	uint64_t passes_futile; /* passes that freed nothing */
	uint64_t events;        /* times the level rose */
	uint64_t gate_waits;
	uint64_t gate_wait_ns_max;
	uint64_t gate_wait_ns;    /* sum */
	uint64_t response_ns_max; /* level rose -> first bytes returned */
	uint64_t quarantined;     /* shrinkers that hung */
	uint64_t wakeups;         /* of the monitor */
};

/* Errors: -EINVAL (NULL, or .size unknown). */
int spw_stats(struct spw_stats *stats);

SPW_END_DECLS

#endif
