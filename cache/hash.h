/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hash of a key: two 64x64->128-bit multiplications for up to 16 bytes,
 * one more for each further 16 (the scheme of wyhash, by Wang Yi).
 *
 * Usage: hash_seed() once; hash_bytes(key, key_bytes).
 *
 * Caveats: the secret is drawn at random in each process, so that nobody
 * outside can choose keys that meet in one bucket. Thread-safe after
 * hash_seed(), which is idempotent.
 */
#ifndef CACHE_HASH_H
#define CACHE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

extern uint64_t hash_secret[4];

void hash_seed(void);

static inline uint64_t
hash_mix(uint64_t a, uint64_t b)
{
	__extension__ typedef unsigned __int128 wide;
	wide product = (wide)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t
hash_read64(const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return v;
}

static inline uint64_t
hash_read32(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return v;
}

/* What a key of `bytes` ends with, and what was before that. */
static inline uint64_t
hash_end(uint64_t a, uint64_t b, uint64_t seed, size_t bytes)
{
	return hash_mix(hash_secret[2] ^ bytes,
			hash_mix(a ^ hash_secret[3], b ^ seed));
}

/* As hash_bytes(), of 8 to 16 bytes. */
static inline uint64_t
hash_short(const void *key, size_t bytes)
{
	const unsigned char *p = key;

	return hash_end(hash_read64(p), hash_read64(p + bytes - 8),
			hash_secret[0], bytes);
}

static inline uint64_t
hash_bytes(const void *key, size_t bytes)
{
	const unsigned char *p = key;
	uint64_t seed = hash_secret[0], a, b;

	if (bytes >= 8) {
		for (size_t left = bytes; left > 16; left -= 16, p += 16)
			seed = hash_mix(hash_read64(p) ^ hash_secret[1],
					hash_read64(p + 8) ^ seed);
		/* The last 16, or what there is, may overlap. */
		p = (const unsigned char *)key + bytes;
		a = hash_read64(bytes >= 16 ? p - 16 : key);
		b = hash_read64(p - 8);
	} else if (bytes >= 4) {
		a = hash_read32(p);
		b = hash_read32(p + bytes - 4);
	} else if (bytes) {
		a = (uint64_t)p[0] << 16 | (uint64_t)p[bytes / 2] << 8 |
		    p[bytes - 1];
		b = 0;
	} else {
		a = b = 0;
	}
	return hash_end(a, b, seed, bytes);
}

#endif
