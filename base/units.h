/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbers with units: sizes, times, percentages; and sizes for people.
 *
 * Usage: units_parse_bytes("64M", 3, &bytes).
 *
 * Caveats: allocation-free, locale-free, async-signal-safe. Text is given by
 * pointer and length and need not end in NUL. A result is written only when 0
 * is returned.
 */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include <stddef.h>
#include <stdint.h>

/*
 * Binary units: B, K, KB, KiB, M, ... E, either case; none: bytes. Decimal
 * fractions ("1.5G") are taken, rounded down.
 * 0, -EINVAL (not a size) or -ERANGE (over 2^63 - 1).
 */
int units_parse_bytes(const char *text, size_t length, uint64_t *bytes);

/* ns, us, ms, s, m, h, d; a unit is required except for 0. Same errors. */
int units_parse_ns(const char *text, size_t length, uint64_t *ns);

/* "5%" or "12.5%" in units of 1/100 %: 500, 1250; 0 to 100 %. Same errors. */
int units_parse_percent(const char *text, size_t length, unsigned *hundredths);

/* Decimal digits alone. 0, -EINVAL or -ERANGE (over UINT64_MAX). */
int units_parse_number(const char *text, size_t length, uint64_t *number);

/*
 * Why one of the above refused a text, for people: "unknown unit 'Q'; use B,
 * K, M, G, T, P, E". One line of printable ASCII, into a buffer of
 * UNITS_REASON_BYTES; returns the buffer.
 */
enum units_kind {
	UNITS_BYTES_KIND,
	UNITS_NS_KIND,
	UNITS_PERCENT_KIND,
	UNITS_NUMBER_KIND
};
#define UNITS_REASON_BYTES 96
const char *units_explain(char *buffer, enum units_kind kind, const char *text,
			  size_t length);

/* "412.5 MiB" into a buffer of UNITS_BYTES; returns the buffer. */
#define UNITS_BYTES 24
const char *units_format_bytes(char *buffer, uint64_t bytes);

/* "1.25 ms" into a buffer of UNITS_BYTES; returns the buffer. */
const char *units_format_ns(char *buffer, uint64_t ns);

#endif
