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
__thread struct urcu_bp_reader **rcu_reader_here
	__attribute__((tls_model("initial-exec")));
#ifdef RCU_SEEN
char rcu_grace;
#endif

void
rcu_enter_first(void)
{
	urcu_bp_read_lock();
	rcu_reader_here = &URCU_TLS(urcu_bp_reader);
}

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
