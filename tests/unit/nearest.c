/* SPDX-License-Identifier: BSD-2-Clause */
/* The word that somebody may have meant, or none. */
#include "base/nearest.h"

#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

static const char *
word(unsigned i)
{
	static const char *const words[] = {
		"stat", "reclaim", "pressure", "run", "seventeen-letters", NULL
	};
	return words[i];
}

static const char *
no_word(unsigned i)
{
	(void)i;
	return NULL;
}

static const char *
nearest(const char *text)
{
	return nearest_word(text, strlen(text), word);
}

int
main(void)
{
	char text[64];

	memset(text, 'r', sizeof text);
	tap_is_text(nearest("stat"), "stat", "a word is nearest to itself");
	tap_is_text(nearest("stst"), "stat", "one letter changed");
	tap_is_text(nearest("stt"), "stat", "one letter left out");
	tap_is_text(nearest("sttat"), "stat", "one letter put in");
	tap_is_text(nearest("RECLAIM"), "reclaim", "case aside");
	tap_is_text(nearest("relcaim"), "reclaim", "two letters swapped");
	tap_is_text(nearest("recla"), "reclaim", "two letters left out");
	tap_is_text(nearest("recl"), NULL, "three letters are too many");
	tap_is_text(nearest("st"), NULL, "short texts take one letter only");
	tap_is_text(nearest("prune"), NULL, "a word of its own is not near");
	tap_is_text(nearest(""), NULL, "nothing is near nothing");
	tap_is_text(nearest("seventeen-letterz"), NULL,
		    "words over 16 letters are never near");
	tap_is_text(nearest_word(text, sizeof text, word), NULL,
		    "nor are long texts");
	tap_is_text(nearest_word("runaway", 3, word), "run",
		    "what follows the given length is not looked at");
	tap_is_text(nearest_word("run", 3, no_word), NULL,
		    "without words none is near");
	return tap_done();
}
