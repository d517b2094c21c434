/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Read-side sections: what a reclaimable arena or a cache holds stays valid
 * inside.
 *
 * Usage: spw_read_lock() ... spw_read_unlock(). In C both are compiled into
 * the caller, with liburcu's counter reached through a thread-local variable
 * of spillway's; -DSPW_NO_INLINE has calls instead, as other languages do.
 *
 * Caveats: a section costs a nanosecond or two, nests, never blocks. Inside,
 * do not sleep for long: memory that was given up waits for you. Never fork
 * inside: fork may wait for a grace period.
 */
#ifndef SPILLWAY_SECTION_H
#define SPILLWAY_SECTION_H

#include <spillway/export.h>

/* A race detector is told of sections by the library. */
#if defined(__SANITIZE_THREAD__)
#define SPW_NO_INLINE
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SPW_NO_INLINE
#endif
#endif

SPW_BEGIN_DECLS

void spw_read_lock(void);
void spw_read_unlock(void);

/*
 * Where liburcu-bp has the calling thread's reader, whose first word is its
 * counter; NULL until the thread's first section, and where sections need
 * fences (no membarrier(2)). It is the library's, not to be written to; what it
 * says is as long as the library's soname.
 */
struct spw_thread_view {
	unsigned long **reader;
	const unsigned long *grace; /* liburcu's counter of grace periods */
};
extern __thread struct spw_thread_view spw_thread_view
	__attribute__((tls_model("initial-exec")));

#ifndef SPW_NO_INLINE
/* How often a thread is inside: the lower half of its counter. */
#define SPW_SECTION_NESTS (~0ul >> (sizeof(long) * 4))

/* liburcu's rcu_read_lock(): the store comes before what is read inside, for
 * whoever waits runs membarrier(2). */
static inline void
spw_read_lock_inline(void)
{
	unsigned long **place = spw_thread_view.reader, *counter, inside;

	if (__builtin_expect(!place || !*place, 0)) {
		spw_read_lock();
		return;
	}
	counter = *place;
	inside = __atomic_load_n(counter, __ATOMIC_RELAXED);
	if (__builtin_expect((inside & SPW_SECTION_NESTS) != 0, 0)) {
		__atomic_store_n(counter, inside + 1, __ATOMIC_RELAXED);
		return;
	}
	__atomic_store_n(counter,
			 __atomic_load_n(spw_thread_view.grace,
					 __ATOMIC_RELAXED),
			 __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void
spw_read_unlock_inline(void)
{
	unsigned long **place = spw_thread_view.reader, *counter;

	if (__builtin_expect(!place, 0)) {
		spw_read_unlock();
		return;
	}
	counter = *place;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(counter,
			 __atomic_load_n(counter, __ATOMIC_RELAXED) - 1,
			 __ATOMIC_RELEASE);
}

#define spw_read_lock() spw_read_lock_inline()
#define spw_read_unlock() spw_read_unlock_inline()
#endif

SPW_END_DECLS

#endif
