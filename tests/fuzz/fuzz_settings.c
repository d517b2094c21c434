/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes against the parser of SPILLWAY_CONF.
 *
 * A text is taken whole or changes nothing; a refusal is one printable line;
 * taken twice it says the same; with an item after it that nobody knows it is
 * refused; and what is taken after the start is what is taken before it.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool good)
{
	if (!good)
		abort();
}

static void
must_be_a_line(const char *bad)
{
	size_t length = strnlen(bad, SETTINGS_BAD_BYTES);

	must(length > 0 && length < SETTINGS_BAD_BYTES);
	for (size_t i = 0; i < length; i++)
		must(bad[i] >= ' ' && bad[i] < 0x7f);
	must(strstr(bad, ": ") != NULL);
}

static bool
same(const struct settings *a, const struct settings *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

static void
must_hold(const struct settings *s)
{
	must(s->tiers_count <= SETTINGS_TIERS_MAX);
	for (unsigned i = 0; i < s->tiers_count; i++) {
		size_t n = strnlen(s->tiers[i].name, SETTINGS_NAME_BYTES);

		must(n > 0 && n < SETTINGS_NAME_BYTES);
		must((int)s->tiers[i].tier >= SPW_TIER_FREE &&
		     s->tiers[i].tier <= SPW_TIER_LAST);
	}
	must(strnlen(s->root, sizeof s->root) < sizeof s->root);
	must(s->root[0] == '\0' || s->root[0] == '/');
	must(s->soft_hundredths <= 10000 && s->hard_hundredths <= 10000);
	must(s->limit_bytes >= 4096 && s->deadline_ns > 0);
	must((s->sources & ~(unsigned)SETTINGS_SOURCES_ALL) == 0);
	must(s->log_level >= 0 && s->log_level <= 4);
	must((s->off | s->threads | s->oom | s->pagecache | s->huge) <= 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char nonsense[] = ",nonsense:1";
	static struct settings before, now, late;
	char bad[SETTINGS_BAD_BYTES];
	/* Exactly as large as the text, so that ASan sees a byte too far. */
	char *text = malloc(size + 1);
	char *longer = malloc(size + sizeof nonsense);
	int error, error_late;

	if (!text || !longer)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	memcpy(&before, settings(), sizeof before);
	memcpy(&now, &before, sizeof now);
	memcpy(&late, &before, sizeof late);

	memset(bad, '\0', sizeof bad);
	error = settings_parse(&now, text, false, bad);
	must(error == 0 || error == -EINVAL);
	if (error) {
		must_be_a_line(bad);
		must(same(&now, &before));
	}
	must_hold(&now);

	memset(bad, '\0', sizeof bad);
	error_late = settings_parse(&late, text, true, bad);
	must(error_late == 0 || error_late == -EBUSY || error_late == error);
	must(error_late == 0 ? error == 0 && same(&late, &now) :
			       same(&late, &before));
	if (error_late)
		must_be_a_line(bad);

	if (!error) {
		memcpy(&late, &now, sizeof late);
		must(settings_parse(&late, text, false, NULL) == 0);
		must(same(&late, &now));
	}
	strcpy(longer, text);
	strcat(longer, nonsense);
	memcpy(&late, &before, sizeof late);
	must(settings_parse(&late, longer, false, NULL) == -EINVAL);
	must(same(&late, &before));
	free(longer);
	free(text);
	return 0;
}
