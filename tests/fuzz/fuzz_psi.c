/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes against the parsers of PSI and of systemd's variable.
 *
 * One text goes through all three. A trigger that is taken, written out again,
 * is the same trigger, and what is behind its length does not matter; base64
 * decodes to what its length says, fits or is refused, and encoded again is
 * what it was but for padding; totals that are taken are found in the text.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pressure/psi.h"
#include "pressure/systemd.h"

#define BYTES_MAX 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool good)
{
	if (!good)
		abort();
}

static void
check_totals(const char *text)
{
	struct psi_totals totals = { 1, 2, true };
	char number[64];

	if (psi_parse(text, &totals) != 0)
		return;
	must(strstr(text, "some ") != NULL);
	/* As written, unless with zeros in front. */
	snprintf(number, sizeof number, "%llu",
		 (unsigned long long)totals.some_us);
	must(strstr(text, number) != NULL);
	snprintf(number, sizeof number, "%llu",
		 (unsigned long long)totals.full_us);
	must(totals.has_full ? strstr(text, number) != NULL : !totals.full_us);
}

static void
check_trigger(const char *text, size_t length)
{
	uint64_t threshold_us = 4711, window_us = 4711, again_us[2];
	char line[64];
	int n, error = psi_parse_trigger(text, length, &threshold_us,
					 &window_us);

	must(error == 0 || error == -EINVAL);
	if (error) {
		must(threshold_us == 4711 && window_us == 4711);
		return;
	}
	must(threshold_us > 0 && threshold_us <= window_us);
	n = snprintf(line, sizeof line, "%.4s %llu %llu", text,
		     (unsigned long long)threshold_us,
		     (unsigned long long)window_us);
	must(psi_parse_trigger(line, (size_t)n + 1, &again_us[0],
			       &again_us[1]) == 0);
	must(again_us[0] == threshold_us && again_us[1] == window_us);
}

/* Without padding; `to` has room. */
static void
encode(const unsigned char *bytes, size_t n, char *to)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned bits = 0, have = 0;

	for (size_t i = 0; i < n; i++) {
		bits = bits << 8 | bytes[i];
		for (have += 8; have >= 6; have -= 6)
			*to++ = digits[bits >> (have - 6) & 63];
	}
	if (have)
		*to++ = digits[bits << (6 - have) & 63];
	*to = '\0';
}

static void
check_base64(const char *text)
{
	unsigned char bytes[BYTES_MAX], fewer[BYTES_MAX];
	char again[BYTES_MAX * 2];
	size_t length = strlen(text);
	long n = systemd_base64(text, bytes, sizeof bytes);

	must((n >= 0 && n <= BYTES_MAX) || n == -EINVAL || n == -E2BIG);
	if (n < 0)
		return;
	while (length && text[length - 1] == '=')
		length--;
	must((size_t)n == length * 3 / 4);
	encode(bytes, (size_t)n, again);
	/* The last digit may have bits that no byte takes. */
	must(strlen(again) == length &&
	     (!length || memcmp(again, text, length - 1) == 0));
	must(systemd_base64(text, fewer, (size_t)n) == n);
	must(memcmp(bytes, fewer, (size_t)n) == 0);
	must(n == 0 || systemd_base64(text, fewer, (size_t)n - 1) == -E2BIG);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Exactly as large, so that ASan sees one byte too far. */
	char *bytes = malloc(size ? size : 1);
	char *text = malloc(size + 1);

	if (!bytes || !text)
		abort();
	memcpy(bytes, data, size);
	memcpy(text, data, size);
	text[size] = '\0';
	check_trigger(bytes, size);
	check_totals(text);
	check_base64(text);
	free(text);
	free(bytes);
	return 0;
}
