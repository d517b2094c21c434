/* SPDX-License-Identifier: BSD-2-Clause */
/* Sizes, times, percentages: read, refused, explained, written. */
#include "base/units.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/tap.h"

#define UNTOUCHED 4242

__extension__ typedef unsigned __int128 wide;

static const struct {
	const char *text;
	int error;
	uint64_t value;
} sizes[] = {
	{ "0", 0, 0 },
	{ "1", 0, 1 },
	{ "512B", 0, 512 },
	{ "64k", 0, 65536 },
	{ "64KB", 0, 65536 },
	{ "64KiB", 0, 65536 },
	{ "64M", 0, 64ull << 20 },
	{ "64mib", 0, 64ull << 20 },
	{ "3G", 0, 3ull << 30 },
	{ "2T", 0, 2ull << 40 },
	{ "2PB", 0, 2ull << 50 },
	{ "7E", 0, 7ull << 60 },
	{ "1.5G", 0, 3ull << 29 },
	{ "0.1K", 0, 102 },
	{ "1.9", 0, 1 },
	{ "0.999999999999999999999999999999K", 0, 1023 },
	{ "7.99999999999999999999999999999E", 0, INT64_MAX },
	{ "000000000000000000000000000000001M", 0, 1 << 20 },
	{ "9223372036854775807", 0, INT64_MAX },
	{ "9223372036854775808", -ERANGE, 0 },
	{ "8E", -ERANGE, 0 },
	{ "18446744073709551616", -ERANGE, 0 },
	{ "99999999999999999999999999999999", -ERANGE, 0 },
	{ "18014398509481984K", -ERANGE, 0 },
	{ "", -EINVAL, 0 },
	{ "M", -EINVAL, 0 },
	{ "-1", -EINVAL, 0 },
	{ "+1", -EINVAL, 0 },
	{ " 1", -EINVAL, 0 },
	{ "1 M", -EINVAL, 0 },
	{ "1,5G", -EINVAL, 0 },
	{ ".5G", -EINVAL, 0 },
	{ "5.G", -EINVAL, 0 },
	{ "1.5.5G", -EINVAL, 0 },
	{ "40Q", -EINVAL, 0 },
	{ "40MM", -EINVAL, 0 },
	{ "40Mi", -EINVAL, 0 },
	{ "0x40", -EINVAL, 0 },
	{ "1e6", -EINVAL, 0 },
	{ "64%", -EINVAL, 0 },
}, times[] = {
	{ "0", 0, 0 },
	{ "7ns", 0, 7 },
	{ "7us", 0, 7000 },
	{ "250ms", 0, 250000000 },
	{ "2.5ms", 0, 2500000 },
	{ "5s", 0, 5000000000 },
	{ "5m", 0, 300000000000 },
	{ "1.5h", 0, 5400000000000 },
	{ "1d", 0, 86400000000000 },
	{ "106751d", 0, 106751 * 86400000000000 },
	{ "106752d", -ERANGE, 0 },
	{ "9999999999s", -ERANGE, 0 },
	{ "5", -EINVAL, 0 },
	{ "00", -EINVAL, 0 },
	{ "5S", -EINVAL, 0 },
	{ "5M", -EINVAL, 0 },
	{ "5min", -EINVAL, 0 },
	{ "ms", -EINVAL, 0 },
	{ "", -EINVAL, 0 },
	{ "-5s", -EINVAL, 0 },
}, percents[] = {
	{ "5%", 0, 500 },
	{ "12.5%", 0, 1250 },
	{ "0%", 0, 0 },
	{ "0.01%", 0, 1 },
	{ "0.009%", 0, 0 },
	{ "100%", 0, 10000 },
	{ "100.01%", -ERANGE, 0 },
	{ "101%", -ERANGE, 0 },
	{ "99999999999999999999%", -ERANGE, 0 },
	{ "5", -EINVAL, 0 },
	{ "%", -EINVAL, 0 },
	{ "5%%", -EINVAL, 0 },
	{ "-5%", -EINVAL, 0 },
}, numbers[] = {
	{ "0", 0, 0 },
	{ "42", 0, 42 },
	{ "18446744073709551615", 0, UINT64_MAX },
	{ "18446744073709551616", -ERANGE, 0 },
	{ "", -EINVAL, 0 },
	{ "4.2", -EINVAL, 0 },
	{ "42k", -EINVAL, 0 },
	{ "-1", -EINVAL, 0 },
};

#define EACH(i, table) \
	for (size_t i = 0; i < sizeof(table) / sizeof *(table); i++)

static void
parse_all(void)
{
	EACH(i, sizes) {
		uint64_t v = UNTOUCHED;
		int e = units_parse_bytes(sizes[i].text, strlen(sizes[i].text),
					  &v);
		tap_ok(e == sizes[i].error &&
			       v == (e ? UNTOUCHED : sizes[i].value),
		       "size \"%s\" gives %d and %llu", sizes[i].text, e,
		       (unsigned long long)v);
	}
	EACH(i, times) {
		uint64_t v = UNTOUCHED;
		int e = units_parse_ns(times[i].text, strlen(times[i].text),
				       &v);
		tap_ok(e == times[i].error &&
			       v == (e ? UNTOUCHED : times[i].value),
		       "time \"%s\" gives %d and %llu", times[i].text, e,
		       (unsigned long long)v);
	}
	EACH(i, percents) {
		unsigned v = UNTOUCHED;
		int e = units_parse_percent(percents[i].text,
					    strlen(percents[i].text), &v);
		tap_ok(e == percents[i].error &&
			       v == (e ? UNTOUCHED : percents[i].value),
		       "percentage \"%s\" gives %d and %u", percents[i].text, e,
		       v);
	}
	EACH(i, numbers) {
		uint64_t v = UNTOUCHED;
		int e = units_parse_number(numbers[i].text,
					   strlen(numbers[i].text), &v);
		tap_ok(e == numbers[i].error &&
			       v == (e ? UNTOUCHED : numbers[i].value),
		       "number \"%s\" gives %d and %llu", numbers[i].text, e,
		       (unsigned long long)v);
	}
}

static void
explain_all(void)
{
	static const struct {
		enum units_kind kind;
		const char *text, *words;
	} cases[] = {
		{ UNITS_BYTES_KIND, "40Q",
		  "unknown unit 'Q'; use B, K, M, G, T, P, E" },
		{ UNITS_BYTES_KIND, "many", "not a size such as 64M" },
		{ UNITS_BYTES_KIND, "", "not a size such as 64M" },
		{ UNITS_BYTES_KIND, "8E",
		  "too large; the most is 8E less one byte" },
		{ UNITS_BYTES_KIND, "1\n\x80",
		  "unknown unit '?\?'; use B, K, M, G, T, P, E" },
		{ UNITS_NS_KIND, "5",
		  "the unit is missing; use ns, us, ms, s, m, h, d" },
		{ UNITS_NS_KIND, "5y",
		  "unknown unit 'y'; use ns, us, ms, s, m, h, d" },
		{ UNITS_NS_KIND, "999999d",
		  "too large; the most is 292 years" },
		{ UNITS_PERCENT_KIND, "101%", "too large; the most is 100%" },
		{ UNITS_PERCENT_KIND, "5", "the unit is missing; use %" },
		{ UNITS_NUMBER_KIND, "12k", "not a whole number such as 12" },
		{ UNITS_NUMBER_KIND, "99999999999999999999",
		  "too large; the most is 2^64 - 1" },
	};
	char reason[UNITS_REASON_BYTES], unit[200] = "1";

	EACH(i, cases)
		tap_is_text(units_explain(reason, cases[i].kind, cases[i].text,
					  strlen(cases[i].text)),
			    cases[i].words, "case %zu is put into words", i);
	memset(unit + 1, 'x', sizeof unit - 2);
	units_explain(reason, UNITS_BYTES_KIND, unit, sizeof unit - 1);
	tap_ok(strlen(reason) < UNITS_REASON_BYTES,
	       "a long unit does not overrun the reason");
}

static void
format_all(void)
{
	static const struct {
		uint64_t value;
		const char *words;
	} bytes[] = {
		{ 0, "0 B" },
		{ 1023, "1023 B" },
		{ 1024, "1.0 KiB" },
		{ 1075, "1.0 KiB" },
		{ 1076, "1.1 KiB" },
		{ 1048524, "1023.9 KiB" },
		{ 1048525, "1.0 MiB" },
		{ 432537600, "412.5 MiB" },
		{ (1ull << 60) - 1, "1.0 EiB" },
		{ UINT64_MAX, "16.0 EiB" },
	}, ns[] = {
		{ 0, "0 ns" },
		{ 999, "999 ns" },
		{ 1000, "1.00 us" },
		{ 1250000, "1.25 ms" },
		{ 999994, "999.99 us" },
		{ 999995, "1.00 ms" },
		{ 59994999999, "59.99 s" },
		{ 59995000000, "1.00 m" },
		{ 5400000000000, "1.50 h" },
		{ UINT64_MAX, "213503.98 d" },
	};
	char buffer[UNITS_BYTES];

	EACH(i, bytes)
		tap_is_text(units_format_bytes(buffer, bytes[i].value),
			    bytes[i].words, "%llu bytes are \"%s\"",
			    (unsigned long long)bytes[i].value, bytes[i].words);
	EACH(i, ns)
		tap_is_text(units_format_ns(buffer, ns[i].value), ns[i].words,
			    "%llu ns are \"%s\"",
			    (unsigned long long)ns[i].value, ns[i].words);
}

/* Fractions against long multiplication in the compiler's 128 bits. */
static void
fractions_are_exact(void)
{
	static const struct {
		char letter;
		unsigned shift;
	} units[] = { { 'K', 10 }, { 'M', 20 }, { 'G', 30 },
		      { 'T', 40 }, { 'P', 50 }, { 'E', 60 } };
	uint64_t state = 1, wrong = 0;

	for (unsigned round = 0; round < 20000; round++) {
		unsigned u = round % 6;
		uint64_t fraction, got = 0;
		char text[40];
		int n;

		state = state * 6364136223846793005ull + 1442695040888963407ull;
		fraction = (state >> 4) % 1000000000000000000ull;
		n = snprintf(text, sizeof text, "3.%018llu%c",
			     (unsigned long long)fraction, units[u].letter);
		if (units_parse_bytes(text, (size_t)n, &got) != 0 ||
		    got != (3ull << units[u].shift) +
				    (uint64_t)(((wide)fraction
						<< units[u].shift) /
					       1000000000000000000ull))
			wrong++;
	}
	tap_is(wrong, 0, "20,000 fractions of 18 digits are exact");
}

static void
text_without_end(void)
{
	uint64_t v = 0;

	tap_ok(units_parse_bytes("64Mxyz", 3, &v) == 0 && v == 64ull << 20,
	       "what follows the given length is not looked at");
}

int
main(void)
{
	parse_all();
	explain_all();
	format_all();
	fractions_are_exact();
	text_without_end();
	return tap_done();
}
