/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which threads are spillway's own, the public read-side section, and the wait
 * for a grace period.
 *
 * Called by programs (spw_read_lock) and by the threads of pressure/, which
 * set the mark when they start. No lock; the mark is thread-local.
 */
#include "base/rcu.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"

#define READERS_MAX 4096u
#define QUICK_NS (2 * CLOCK_MS)
#define SPINS 256u
#define NAP_NS (20 * CLOCK_US)

static _Atomic(struct urcu_bp_reader *) readers[READERS_MAX];
static _Atomic uint32_t readers_count; /* over READERS_MAX: not all are here */

__thread bool rcu_thread_is_ours;
__thread struct urcu_bp_reader **rcu_reader_place;
SPW_EXPORT __thread struct spw_thread_view spw_thread_view
	__attribute__((tls_model("initial-exec")));

/* What is compiled into programs knows liburcu-bp by these. */
_Static_assert(offsetof(struct urcu_bp_reader, ctr) == 0 &&
		       URCU_BP_GP_COUNT == 1 &&
		       URCU_BP_GP_CTR_NEST_MASK == ~0ul >> (sizeof(long) * 4),
	       "section.h");
#if defined(RCU_SEEN) || SPW_ASSERT_LEVEL >= 2
char rcu_grace;
#endif

/* Before its first section: who does not see it waits for no section of it. */
static void
remember(struct urcu_bp_reader *reader)
{
	uint32_t count = atomic_load(&readers_count), mine;

	for (uint32_t i = 0; i < count && i < READERS_MAX; i++)
		if (atomic_load(&readers[i]) == reader)
			return;
	if (count > READERS_MAX)
		return;
	mine = atomic_fetch_add(&readers_count, 1);
	if (mine < READERS_MAX)
		atomic_store(&readers[mine], reader);
}

/* Also after liburcu has ended the thread's reader: in a destructor that runs
 * later than its own. */
static void
enter_first(void)
{
	if (!URCU_TLS(urcu_bp_reader))
		urcu_bp_register();
	remember(URCU_TLS(urcu_bp_reader));
	rcu_reader_place = &URCU_TLS(urcu_bp_reader);
	spw_thread_view = (struct spw_thread_view){
		.reader = !urcu_bp_has_sys_membarrier ?
				  NULL :
				  (unsigned long **)(void *)rcu_reader_place,
		.grace = &urcu_bp_gp.ctr,
	};
}

void
rcu_enter_slowly(void)
{
	unsigned long inside;

	if (!rcu_reader_place || !*rcu_reader_place)
		enter_first();
	/* Atomic stores, unlike liburcu's. */
	inside = (*rcu_reader_place)->ctr;
	if (!(inside & URCU_BP_GP_CTR_NEST_MASK))
		inside = _CMM_LOAD_SHARED(urcu_bp_gp.ctr) - URCU_BP_GP_COUNT;
	__atomic_store_n(&(*rcu_reader_place)->ctr, inside + URCU_BP_GP_COUNT,
			 __ATOMIC_RELAXED);
	urcu_bp_smp_mb_slave();
}

void
rcu_leave_slowly(void)
{
	struct urcu_bp_reader *reader = *rcu_reader_place;

	urcu_bp_smp_mb_slave();
	__atomic_store_n(&reader->ctr, reader->ctr - URCU_BP_GP_COUNT,
			 __ATOMIC_RELEASE);
}

static bool
barrier(void)
{
	return syscall(__NR_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0,
		       0) == 0;
}

/* Seen outside of a section, before the time is over. */
static bool
is_outside(const struct urcu_bp_reader *reader, uint64_t until_ns)
{
	for (uint32_t spins = 0;; spins++) {
		if (!(__atomic_load_n(&reader->ctr, __ATOMIC_ACQUIRE) &
		      URCU_BP_GP_CTR_NEST_MASK))
			return true;
		if (spins < SPINS)
			__builtin_ia32_pause();
		else if (clock_now_ns() >= until_ns)
			return false;
		else if (spins % 2)
			sched_yield();
		else
			nanosleep(&(struct timespec){ .tv_nsec = NAP_NS },
				  NULL);
	}
}

/*
 * liburcu looks at its readers a hundred times, which is over in 5 us, then
 * sleeps for 10 ms; a section in which a page fault or a sweep falls is longer
 * than that, and where somebody writes all the time every third wait was met
 * by one. So readers are remembered here and looked at until each was seen
 * outside of a section:
 *
 *	reader				who waits
 *	readers[n] = mine  (first time)	what is given up is out of reach
 *	ctr = inside			membarrier
 *	(compiler barrier)		ctr of each: outside?
 *	looks				membarrier
 *	ctr = outside  (release)	reuse
 *
 * membarrier(2) falls somewhere between two instructions of each reader: what
 * comes before it, who waits sees; what comes after it sees that what is given
 * up is out of reach. A section seen as begun may be a later one: then this
 * waits for too much, never for too little. Who is not seen outside within
 * QUICK_NS, as is one who leaves a section only to enter the next, is left to
 * liburcu, whose phases tell the one from the other.
 *
 * A reader that liburcu has for a thread is one of another after its end;
 * its memory stays.
 */
static bool
wait_quickly(void)
{
	uint64_t until_ns = clock_now_ns() + QUICK_NS;
	uint32_t count;

	if (base_fault("rcu_quick") || !urcu_bp_has_sys_membarrier ||
	    !barrier())
		return false;
	count = atomic_load(&readers_count);
	if (count > READERS_MAX)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		const struct urcu_bp_reader *one = atomic_load(&readers[i]);

		if (one && !is_outside(one, until_ns))
			return false;
	}
	return barrier();
}

void
rcu_synchronize(void)
{
	base_assert(rcu_thread_is_ours);
	base_assert(!rcu_is_reading());
	if (!wait_quickly())
		synchronize_rcu();
	RCU_GRACE_IS_OVER();
}

SPW_EXPORT void(spw_read_lock)(void)
{
	rcu_read_lock();
}

SPW_EXPORT void(spw_read_unlock)(void)
{
	rcu_read_unlock();
}
