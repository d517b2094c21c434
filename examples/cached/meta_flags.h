/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The flags behind a meta command's key.
 *
 * Usage: meta_flags_read(), then look at the members; meta_flags_write_echo()
 * for the flags that are answered with what was sent.
 *
 * Caveats: words point into the line, but a decoded key is the struct's own.
 */
#ifndef EXAMPLES_CACHED_META_FLAGS_H
#define EXAMPLES_CACHED_META_FLAGS_H

#include "examples/cached/store.h"
#include "examples/cached/words.h"

/* With command and key. */
#define META_WORDS_MAX 19

struct meta_flags {
	const struct word *first, *end; /* the flags, in their order */
	struct word key;                /* decoded */
	bool quiet, value, has_unique, set_expiry, vivify, recache, no_hit;
	bool invalidate, binary, long_opaque;
	/* T came before R: R goes by the new expiry. */
	bool expiry_first;
	char mode;
	uint32_t expires, vivify_expires, recache_before, flags;
	uint64_t unique, by, initial;
	char decoded[STORE_KEY_MAX];
};

/* NULL, or what is wrong with them. from: the first that is a flag. */
const char *meta_flags_read(struct meta_flags *flags, const struct words *words,
			    unsigned from);

/* " kKEY", or " kBASE64 b" where the key was binary. */
char *meta_flags_write_key(char *to, const struct word *key, bool binary);
char *meta_flags_write_word(char *to, const struct word *word);
char *meta_flags_write_number(char *to, char flag, uint64_t number);
/* " tSECONDS", -1: for ever */
char *meta_flags_write_ttl(char *to, uint32_t expires, uint32_t now);
/* The opaque and the key, where they are asked for. */
char *meta_flags_write_echo(char *to, const struct meta_flags *flags);

#endif
