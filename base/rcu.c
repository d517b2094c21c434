/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which threads are spillway's own, and the public read-side section.
 *
 * Called by programs (spw_read_lock) and by the threads of pressure/, which
 * set the mark when they start. No lock; the mark is thread-local.
 */
#include "base/rcu.h"

__thread bool rcu_thread_is_ours;
SPW_EXPORT __thread struct spw_thread_view spw_thread_view
	__attribute__((tls_model("initial-exec")));

/* What is compiled into programs knows liburcu-bp by these. */
_Static_assert(offsetof(struct urcu_bp_reader, ctr) == 0 &&
		       URCU_BP_GP_COUNT == 1 &&
		       URCU_BP_GP_CTR_NEST_MASK == ~0ul >> (sizeof(long) * 4),
	       "section.h");
#ifdef RCU_SEEN
char rcu_grace;
#endif

void
rcu_enter_first(void)
{
	urcu_bp_read_lock();
	spw_thread_view = (struct spw_thread_view){
		.reader = (unsigned long **)(void *)&URCU_TLS(urcu_bp_reader),
		.grace = &urcu_bp_gp.ctr,
		.fences = !urcu_bp_has_sys_membarrier,
	};
}

SPW_EXPORT void(spw_read_lock)(void)
{
	rcu_read_lock();
}

SPW_EXPORT void(spw_read_unlock)(void)
{
	rcu_read_unlock();
}
