/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Assertions in three levels: SPW_ASSERT_LEVEL 0 off, 1 cheap (default),
 * 2 also those that walk structures.
 *
 * Usage: base_assert(x) everywhere, base_assert_walk(x) for the dear ones.
 *
 * Caveats: a broken invariant is written to descriptor 2 by write(2) and the
 * process aborts; nothing is allocated. Safe in signal handlers and hooks.
 */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

#ifndef SPW_ASSERT_LEVEL
#define SPW_ASSERT_LEVEL 1
#endif

#define base_likely(x) __builtin_expect(!!(x), 1)
#define base_unlikely(x) __builtin_expect(!!(x), 0)

_Noreturn void assert_failed(const char *expression, const char *file, int line,
			     const char *function);

#define BASE_ASSERT_ON(x)           \
	(base_likely(x) ? (void)0 : \
			  assert_failed(#x, __FILE__, __LINE__, __func__))

#if SPW_ASSERT_LEVEL >= 1
#define base_assert(x) BASE_ASSERT_ON(x)
#else
#define base_assert(x) ((void)sizeof(x))
#endif

#if SPW_ASSERT_LEVEL >= 2
#define base_assert_walk(x) BASE_ASSERT_ON(x)
#else
#define base_assert_walk(x) ((void)sizeof(x))
#endif

#endif
