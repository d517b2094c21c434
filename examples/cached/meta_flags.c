/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads and writes the flags of meta commands.
 *
 * Called by meta.c and meta_set.c. All commands take all flags, and each
 * ignores what it has no use for, as memcached does; so are the messages.
 */
#include "examples/cached/meta_flags.h"

#include "examples/cached/session.h"

#define BAD_TOKEN "CLIENT_ERROR bad token in command line format"

static const char *
read_time(const struct word *word, uint32_t *expires, bool *given)
{
	struct word number = { word->at + 1, word->bytes - 1 };
	int64_t exptime;

	if (!word_i64(&number, &exptime))
		return BAD_TOKEN;
	*expires = store_expiry(exptime);
	*given = true;
	return NULL;
}

static const char *
read_u64(const struct word *word, uint64_t *n, const char *error)
{
	struct word number = { word->at + 1, word->bytes - 1 };

	return word_u64(&number, n) ? NULL : error;
}

static const char *
read_client_flags(const struct word *word, uint32_t *flags)
{
	struct word number = { word->at + 1, word->bytes - 1 };

	return word_u32(&number, flags) ? NULL :
					  "CLIENT_ERROR bad command line "
					  "format";
}

static const char *
decode_key(struct meta_flags *flags)
{
	flags->binary = true;
	flags->key.bytes = word_from_base64(flags->decoded, flags->key.at,
					    flags->key.bytes);
	flags->key.at = flags->decoded;
	return flags->key.bytes ? NULL : "CLIENT_ERROR error decoding key";
}

static const char *
read_mode(struct meta_flags *flags, const struct word *word)
{
	if (word->bytes != 2)
		return "CLIENT_ERROR incorrect length for M token";
	flags->mode = word->at[1];
	return NULL;
}

static const char *
read_flag(struct meta_flags *flags, const struct word *word)
{
	switch (word->at[0]) {
	case 'b':
		return decode_key(flags);
	case 'N':
		return read_time(word, &flags->vivify_expires, &flags->vivify);
	case 'T':
		flags->expiry_first = !flags->recache;
		return read_time(word, &flags->expires, &flags->set_expiry);
	case 'R':
		return read_time(word, &flags->recache_before, &flags->recache);
	case 'v':
		flags->value = true;
		return NULL;
	case 'u':
		flags->no_hit = true;
		return NULL;
	case 'q':
		flags->quiet = true;
		return NULL;
	case 'I':
		flags->invalidate = true;
		return NULL;
	case 'O':
		flags->long_opaque = word->bytes > SESSION_OPAQUE_MAX;
		return NULL;
	case 'F':
		return read_client_flags(word, &flags->flags);
	case 'C':
		flags->has_unique = true;
		return read_u64(word, &flags->unique, BAD_TOKEN);
	case 'M':
		return read_mode(flags, word);
	case 'J':
		return read_u64(word, &flags->initial,
				"CLIENT_ERROR invalid numeric initial value");
	case 'D':
		return read_u64(word, &flags->by,
				"CLIENT_ERROR invalid numeric delta value");
	default: /* only to be answered */
		return NULL;
	}
}

const char *
meta_flags_read(struct meta_flags *flags, const struct words *words,
		unsigned from)
{
	const char *error = NULL;
	bool seen[128] = { false };

	memset(flags, 0, offsetof(struct meta_flags, decoded));
	flags->first = &words->word[from];
	flags->end = &words->word[words->count];
	flags->key = words->word[1];
	flags->by = 1;
	for (const struct word *word = flags->first; word < flags->end;
	     word++) {
		unsigned char flag = (unsigned char)word->at[0];
		const char *wrong;

		if (flag >= 127 || seen[flag])
			return "CLIENT_ERROR duplicate flag";
		seen[flag] = true;
		if (!strchr("bNTRlOPLkstcfvhuqFCMJDI", flag))
			return "CLIENT_ERROR invalid flag";
		wrong = read_flag(flags, word);
		if (wrong)
			error = wrong;
	}
	return error;
}

char *
meta_flags_write_key(char *to, const struct word *key, bool binary)
{
	*to++ = ' ';
	*to++ = 'k';
	if (!binary) {
		memcpy(to, key->at, key->bytes);
		return to + key->bytes;
	}
	to = word_to_base64(to, key->at, key->bytes);
	*to++ = ' ';
	*to++ = 'b';
	return to;
}

char *
meta_flags_write_word(char *to, const struct word *word)
{
	*to++ = ' ';
	memcpy(to, word->at, word->bytes);
	return to + word->bytes;
}

char *
meta_flags_write_number(char *to, char flag, uint64_t number)
{
	*to++ = ' ';
	*to++ = flag;
	return word_write_u64(to, number);
}

char *
meta_flags_write_ttl(char *to, uint32_t expires, uint32_t now)
{
	if (expires)
		return meta_flags_write_number(to, 't', expires - now);
	memcpy(to, " t-1", 4);
	return to + 4;
}

char *
meta_flags_write_echo(char *to, const struct meta_flags *flags)
{
	for (const struct word *word = flags->first; word < flags->end; word++)
		if (word->at[0] == 'O')
			to = meta_flags_write_word(to, word);
		else if (word->at[0] == 'k')
			to = meta_flags_write_key(to, &flags->key,
						  flags->binary);
	return to;
}
