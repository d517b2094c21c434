/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Deciding which call fails: by chance, or the n-th.
 *
 * Asked at every site that may fail, in builds with SPW_ASSERT_LEVEL 2; set by
 * tests alone. A draw is the splitmix64 generator's output for the n-th
 * question since fault_set(), so that a seed that a torture run printed gives
 * the same answers again as long as the questions come in the same order.
 *
 * No lock: `one_in` is written last and read first, and everything else is
 * read after it.
 */
#include "base/fault.h"

#include <stdatomic.h>
#include <string.h>

static _Atomic unsigned one_in_now;
static _Atomic(const char *) site_now;
static _Atomic uint64_t state;
static _Atomic uint64_t failed;
static _Atomic uint64_t until; /* calls, the last of which fails; 0: off */
static _Atomic(const char *) site_failed;

#if SPW_ASSERT_LEVEL >= 2
static uint64_t
draw(void)
{
	uint64_t z = atomic_fetch_add_explicit(&state, 0x9e3779b97f4a7c15ull,
					       memory_order_relaxed);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static bool
fail(const char *site)
{
	atomic_store(&site_failed, site);
	atomic_fetch_add_explicit(&failed, 1, memory_order_relaxed);
	return true;
}

/* Threads may ask at once: each call counts, and one is the last. */
static bool
is_the_nth(void)
{
	uint64_t left = atomic_load_explicit(&until, memory_order_relaxed);

	while (left && !atomic_compare_exchange_weak(&until, &left, left - 1))
		;
	return left == 1;
}

bool
base_fault(const char *site)
{
	unsigned one_in = atomic_load_explicit(&one_in_now,
					       memory_order_acquire);
	const char *wanted;

	if (base_likely(one_in == 0))
		return is_the_nth() && fail(site);
	wanted = atomic_load_explicit(&site_now, memory_order_relaxed);
	if ((wanted && strcmp(site, wanted) != 0) || draw() % one_in != 0)
		return false;
	return fail(site);
}
#endif

uint64_t
fault_set(const char *site, unsigned one_in, uint64_t seed)
{
	atomic_store(&one_in_now, 0);
	atomic_store(&site_now, site);
	atomic_store(&state, seed);
	atomic_store(&failed, 0);
	atomic_store_explicit(&one_in_now, one_in, memory_order_release);
	return seed;
}

void
fault_set_nth(uint64_t n)
{
	fault_set(NULL, 0, 0);
	atomic_store(&site_failed, NULL);
	atomic_store(&until, n);
}

const char *
fault_site(void)
{
	return atomic_load(&site_failed);
}

uint64_t
fault_count(void)
{
	return atomic_load(&failed);
}
