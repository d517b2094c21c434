/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copies that nobody reads soon: past the caches of the processor.
 *
 * Usage: stream_ahead() for what comes next, stream_copy() for this, and
 * stream_end() before anybody is told where the copies are.
 *
 * Caveats: a store into a line that is not cached reads it first; a streaming
 * store of a whole line does not, and throws nothing out. But it is ordered
 * by nothing until stream_end(), which waits for all of them: worth it for
 * many at a time.
 */
#ifndef CACHE_STREAM_H
#define CACHE_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define STREAM_LINE 64u
#define STREAM_MIN_BYTES 256u
/* From there on the processor sees by itself where a copy goes. */
#define STREAM_AHEAD_BYTES 1088u

static inline void
stream_ahead(const void *from, size_t bytes)
{
	size_t end = bytes < STREAM_AHEAD_BYTES ? bytes : STREAM_AHEAD_BYTES;

	for (size_t at = 0; at < end; at += STREAM_LINE)
		__builtin_prefetch((const char *)from + at);
}

/* Regions that do not overlap. */
static inline void
stream_copy(void *to, const void *from, size_t bytes)
{
#ifdef __SSE2__
	size_t head = -(uintptr_t)to & (STREAM_LINE - 1);
	const char *source = from;
	char *place = to;

	if (bytes < STREAM_MIN_BYTES) {
		memcpy(to, from, bytes);
		return;
	}
	memcpy(place, source, head);
	place += head;
	source += head;
	for (bytes -= head; bytes >= STREAM_LINE; bytes -= STREAM_LINE) {
		__m128i line[4];

		memcpy(line, source, sizeof line);
		for (int i = 0; i < 4; i++)
			_mm_stream_si128((__m128i *)(void *)place + i, line[i]);
		place += STREAM_LINE;
		source += STREAM_LINE;
	}
	memcpy(place, source, bytes);
#else
	memcpy(to, from, bytes);
#endif
}

static inline void
stream_end(void)
{
#ifdef __SSE2__
	_mm_sfence();
#endif
}

#endif
