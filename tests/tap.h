/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TAP, the Test Anything Protocol, on standard output by write(2).
 *
 * Usage:
 *	int main(void)
 *	{
 *		tap_plan(2);
 *		tap_ok(1 + 1 == 2, "one and one is two");
 *		tap_is(strlen("abc"), 3, "a string of three has three");
 *		return tap_done();
 *	}
 *
 * Names are sentences. A test that cannot run says why: tap_skip().
 * Without a plan tap_done() prints one.
 *
 * Caveats: allocates nothing and takes no lock, so it may be used where
 * malloc is what is tested; a line is one write, cut at 1,000 bytes. Any
 * thread may call it; a forked child must not, its counts are lost.
 */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <stdbool.h>
#include <stdint.h>

#define TAP_PRINTF(text, values) __attribute__((format(printf, text, values)))

/* How many tests there will be; first, and once. */
void tap_plan(unsigned tests);

/* One test. Where it fails, file and line are said; returns `good`. */
#define tap_ok(good, ...) tap_report((good), __FILE__, __LINE__, __VA_ARGS__)

/* One test on two integers; both are said where they differ. */
#define tap_is(got, wanted, ...)                                             \
	tap_compare((intmax_t)(got), (intmax_t)(wanted), __FILE__, __LINE__, \
		    __VA_ARGS__)

/* One test on two strings, either of which may be NULL. */
#define tap_is_text(got, wanted, ...) \
	tap_compare_strings((got), (wanted), __FILE__, __LINE__, __VA_ARGS__)

/* `tests` tests that cannot run here, and why. */
void tap_skip(unsigned tests, const char *why, ...) TAP_PRINTF(2, 3);

/* None of them can run here: says why and exits with 0. Before any test. */
__attribute__((noreturn)) void tap_skip_all(const char *why, ...)
	TAP_PRINTF(1, 2);

/* A line for the reader, no test. */
void tap_note(const char *format, ...) TAP_PRINTF(1, 2);

/* Nothing after this can be tested: says why and exits with 99. */
__attribute__((noreturn)) void tap_bail_out(const char *why, ...)
	TAP_PRINTF(1, 2);

/* What main() returns: 0 where all went well and the plan was kept, or 1. */
int tap_done(void);

/* Behind the macros. */
bool tap_report(bool good, const char *file, int line, const char *format, ...)
	TAP_PRINTF(4, 5);
bool tap_compare(intmax_t got, intmax_t wanted, const char *file, int line,
		 const char *format, ...) TAP_PRINTF(5, 6);
bool tap_compare_strings(const char *got, const char *wanted, const char *file,
			 int line, const char *format, ...) TAP_PRINTF(5, 6);

#endif
