/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which threads are spillway's own, and the public read-side section.
 *
 * Called by programs (spw_read_lock) and by the threads of pressure/, which
 * set the mark when they start. No lock; the mark is thread-local.
 */
#include "base/rcu.h"

#include <spillway/arena.h>

__thread bool rcu_thread_is_ours;
#ifdef RCU_SEEN
char rcu_grace;
#endif

SPW_EXPORT void
spw_read_lock(void)
{
	rcu_read_lock();
}

SPW_EXPORT void
spw_read_unlock(void)
{
	rcu_read_unlock();
}
