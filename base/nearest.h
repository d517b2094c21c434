/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The known word that somebody may have meant.
 *
 * Usage: nearest_word("limt", 4, key_name) gives "limit".
 *
 * Caveats: allocation-free, locale-free, async-signal-safe. For words of up
 * to 16 letters; longer ones are never near.
 */
#ifndef BASE_NEAREST_H
#define BASE_NEAREST_H

#include <stddef.h>

/*
 * `word` gives the i-th known word and NULL after the last. Returns the one
 * that is fewest letters away, at most two (one where text or word have fewer than
 * five letters), case aside; the first of equals; NULL where none is near.
 */
const char *nearest_word(const char *text, size_t length,
			 const char *(*word)(unsigned i));

#endif
