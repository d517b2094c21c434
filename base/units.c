/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading and writing numbers with units.
 *
 * Called by the settings, the file readers and the program `spillway`; calls
 * nothing of the C library that looks at the locale or allocates.
 *
 * A number is digits, perhaps a point and more digits, then a unit: a factor.
 * Fractions are exact: from the last digit to the first,
 *
 *	x <- floor((digit * factor + x) / 10)
 *
 * gives floor(factor * 0.d1d2d3...), because dropping a fraction below one
 * never changes the floor of the next step. digit * factor + x stays below
 * 10 * 2^60 < 2^64, which is why E is the largest unit.
 */
#include "base/units.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/assert.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* Names as compared: lower case. Order: the one in messages. */
static const struct unit size_units[] = {
	{ "", 1 },
	{ "b", 1 },
	{ "k", 1ull << 10 },
	{ "kb", 1ull << 10 },
	{ "kib", 1ull << 10 },
	{ "m", 1ull << 20 },
	{ "mb", 1ull << 20 },
	{ "mib", 1ull << 20 },
	{ "g", 1ull << 30 },
	{ "gb", 1ull << 30 },
	{ "gib", 1ull << 30 },
	{ "t", 1ull << 40 },
	{ "tb", 1ull << 40 },
	{ "tib", 1ull << 40 },
	{ "p", 1ull << 50 },
	{ "pb", 1ull << 50 },
	{ "pib", 1ull << 50 },
	{ "e", 1ull << 60 },
	{ "eb", 1ull << 60 },
	{ "eib", 1ull << 60 },
	{ NULL, 0 },
};

static const struct unit time_units[] = {
	{ "ns", 1 },
	{ "us", 1000 },
	{ "ms", 1000000 },
	{ "s", 1000000000 },
	{ "m", 60000000000 },
	{ "h", 3600000000000 },
	{ "d", 86400000000000 },
	{ NULL, 0 },
};

static const struct unit percent_units[] = {
	{ "%", 100 },
	{ NULL, 0 },
};

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Where the number ends and its unit begins; 0: it is not a number. */
static size_t
number_length(const char *text, size_t length)
{
	size_t n = 0, fraction;

	while (n < length && is_digit(text[n]))
		n++;
	if (n == 0 || n == length || text[n] != '.')
		return n;
	fraction = n + 1;
	while (fraction < length && is_digit(text[fraction]))
		fraction++;
	return fraction == n + 1 ? 0 : fraction;
}

/* The factor of the unit of these letters; 0: there is none. */
static uint64_t
factor_of(const struct unit *units, const char *text, size_t length,
	  bool any_case)
{
	for (; units->name; units++) {
		size_t i = 0;

		while (i < length && units->name[i] &&
		       units->name[i] == (any_case ? lower(text[i]) : text[i]))
			i++;
		if (i == length && !units->name[i])
			return units->factor;
	}
	return 0;
}

static int
parse_scaled(const char *text, size_t length, uint64_t factor, uint64_t most,
	     uint64_t *result)
{
	uint64_t whole = 0, fraction = 0;
	size_t n = 0, at = length;

	base_assert(factor > 0 && factor <= 1ull << 60);
	for (; n < length && text[n] != '.'; n++) {
		uint64_t digit = (uint64_t)(text[n] - '0');

		if (whole > (UINT64_MAX - digit) / 10)
			return -ERANGE;
		whole = whole * 10 + digit;
		if (whole > most / factor)
			return -ERANGE;
	}
	while (at > n + 1) {
		at--;
		fraction = ((uint64_t)(text[at] - '0') * factor + fraction) /
			   10;
	}
	if (whole * factor > most - fraction)
		return -ERANGE;
	*result = whole * factor + fraction;
	return 0;
}

static int
parse_with(const struct unit *units, bool any_case, const char *text,
	   size_t length, uint64_t most, uint64_t *result)
{
	size_t n = number_length(text, length);
	uint64_t factor = factor_of(units, text + n, length - n, any_case);

	if (n == 0 || !factor)
		return -EINVAL;
	return parse_scaled(text, n, factor, most, result);
}

int
units_parse_bytes(const char *text, size_t length, uint64_t *bytes)
{
	return parse_with(size_units, true, text, length, INT64_MAX, bytes);
}

int
units_parse_ns(const char *text, size_t length, uint64_t *ns)
{
	if (length == 1 && text[0] == '0') {
		*ns = 0;
		return 0;
	}
	return parse_with(time_units, false, text, length, INT64_MAX, ns);
}

int
units_parse_percent(const char *text, size_t length, unsigned *hundredths)
{
	uint64_t value;
	int error = parse_with(percent_units, false, text, length, 10000,
			       &value);

	if (!error)
		*hundredths = (unsigned)value;
	return error;
}

int
units_parse_number(const char *text, size_t length, uint64_t *number)
{
	for (size_t i = 0; i < length; i++)
		if (!is_digit(text[i]))
			return -EINVAL;
	if (length == 0)
		return -EINVAL;
	return parse_scaled(text, length, 1, UINT64_MAX, number);
}

/* The letters of a unit, fit for a message: what is odd becomes '?'. */
static void
quote(char *into, size_t bytes, const char *text, size_t length)
{
	size_t n = 0;

	for (; n < length && n + 1 < bytes; n++)
		into[n] = text[n] > ' ' && text[n] < 0x7f ? text[n] : '?';
	into[n] = '\0';
}

const char *
units_explain(char *buffer, enum units_kind kind, const char *text,
	      size_t length)
{
	static const struct {
		const struct unit *units;
		bool any_case;
		const char *noun, *example, *names, *range;
	} kinds[] = {
		[UNITS_BYTES_KIND] = { size_units, true, "a size", "64M",
				       "B, K, M, G, T, P, E",
				       "the most is 8E less one byte" },
		[UNITS_NS_KIND] = { time_units, false, "a time", "250ms",
				    "ns, us, ms, s, m, h, d",
				    "the most is 292 years" },
		[UNITS_PERCENT_KIND] = { percent_units, false, "a percentage",
					 "5%", "%", "the most is 100%" },
		[UNITS_NUMBER_KIND] = { NULL, false, "a whole number", "12",
					NULL, "the most is 2^64 - 1" },
	};
	size_t n = number_length(text, length);
	char unit[16];

	quote(unit, sizeof unit, text + n, length - n);
	if (n == 0 || (!kinds[kind].units && n < length))
		snprintf(buffer, UNITS_REASON_BYTES, "not %s such as %s",
			 kinds[kind].noun, kinds[kind].example);
	else if (!kinds[kind].units ||
		 factor_of(kinds[kind].units, text + n, length - n,
			   kinds[kind].any_case))
		snprintf(buffer, UNITS_REASON_BYTES, "too large; %s",
			 kinds[kind].range);
	else if (n == length)
		snprintf(buffer, UNITS_REASON_BYTES,
			 "the unit is missing; use %s", kinds[kind].names);
	else
		snprintf(buffer, UNITS_REASON_BYTES,
			 "unknown unit '%s'; use %s", unit, kinds[kind].names);
	return buffer;
}

const char *
units_format_bytes(char *buffer, uint64_t bytes)
{
	static const char letters[] = "KMGTPE";
	unsigned shift = 10, i = 0;
	uint64_t tenths;

	if (bytes < 1024) {
		snprintf(buffer, UNITS_BYTES, "%u B", (unsigned)bytes);
		return buffer;
	}
	for (;;) {
		uint64_t rest = bytes & ((1ull << shift) - 1);

		/* Rounded half up; rest * 10 stays below 2^64. */
		tenths = (bytes >> shift) * 10 +
			 ((rest * 10 + (1ull << (shift - 1))) >> shift);
		if (tenths < 10240 || !letters[i + 1])
			break;
		shift += 10;
		i++;
	}
	snprintf(buffer, UNITS_BYTES, "%u.%u %ciB", (unsigned)(tenths / 10),
		 (unsigned)(tenths % 10), letters[i]);
	return buffer;
}

const char *
units_format_ns(char *buffer, uint64_t ns)
{
	static const struct {
		const char *name;
		uint64_t factor, most; /* 0: any number */
	} steps[] = {
		{ "us", 1000, 1000 },       { "ms", 1000000, 1000 },
		{ "s", 1000000000, 60 },    { "m", 60000000000, 60 },
		{ "h", 3600000000000, 24 }, { "d", 86400000000000, 0 },
	};
	uint64_t hundredths;
	unsigned i = 0;

	if (ns < 1000) {
		snprintf(buffer, UNITS_BYTES, "%u ns", (unsigned)ns);
		return buffer;
	}
	for (;; i++) {
		uint64_t step = steps[i].factor / 100;

		hundredths = ns / step + (ns % step >= step - step / 2);
		if (!steps[i].most || hundredths < steps[i].most * 100)
			break;
	}
	snprintf(buffer, UNITS_BYTES, "%u.%02u %s",
		 (unsigned)(hundredths / 100), (unsigned)(hundredths % 100),
		 steps[i].name);
	return buffer;
}
