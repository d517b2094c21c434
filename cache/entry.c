/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making entries: what a put was given, checked and turned to a header.
 *
 * Called by cache.c and ref.c. No lock; the clock is coarse.
 */
#include <errno.h>
#include <string.h>

#include "cache/entry_make.h"
#include "cache/writer.h"

#define TTL_TICKS_MAX (UINT32_MAX / 2) /* 4 years */

static struct entry_extra
extra_of(const struct spw_put_options *options)
{
	/* One more, since this tick has begun. */
	uint64_t ticks = options->ttl_ns ? options->ttl_ns / ENTRY_TICK_NS + 2 :
					   0;
	uint64_t cost = options->cost_ns / CLOCK_US;
	struct entry_extra extra = { 0 };

	if (ticks) {
		if (ticks > TTL_TICKS_MAX)
			ticks = TTL_TICKS_MAX;
		extra.expiry_tick =
			(uint32_t)(writer_clock_ns() / ENTRY_TICK_NS + ticks);
		if (!extra.expiry_tick) /* 0 is never */
			extra.expiry_tick = 1;
	}
	extra.cost_us = cost < UINT32_MAX ? (uint32_t)cost : UINT32_MAX;
	return extra;
}

int
entry_make(struct entry_make *make, uint64_t max_bytes, const void *key,
	   size_t key_bytes, size_t value_bytes,
	   const struct spw_put_options *options)
{
	bool extra = options && (options->ttl_ns || options->cost_ns);

	if ((!key && key_bytes) ||
	    (options && options->size != sizeof *options))
		return -EINVAL;
	if (key_bytes > SPW_CACHE_KEY_MAX || value_bytes > SPW_CACHE_VALUE_MAX)
		return -E2BIG;
	make->bytes = entry_bytes_of(key_bytes, value_bytes, extra);
	if (max_bytes && make->bytes > max_bytes)
		return -E2BIG;
	make->header.value_word = (uint32_t)value_bytes |
				  (extra ? ENTRY_EXTRA : 0);
	make->header.key_bytes = (uint16_t)key_bytes;
	atomic_store_explicit(&make->header.heat, 0, memory_order_relaxed);
	if (extra)
		make->extra = extra_of(options);
	return 0;
}

void
entry_write(struct entry *e, const struct entry_make *make, const void *key)
{
	/* The header was written when the place was taken. */
	if (make->header.value_word & ENTRY_EXTRA)
		*entry_extra(e) = make->extra;
	if (make->header.key_bytes)
		memcpy(entry_key(e), key, make->header.key_bytes);
}
