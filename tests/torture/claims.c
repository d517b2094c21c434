/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Values that check themselves, and histories of keys; see claims.h.
 *
 *	writer w				reader
 *	begin = stamp				done[] of all writers (acquire)
 *	put, which has `begin` in its value	look: finds (v, begin)
 *	end = stamp
 *	ended_ns = now
 *	done[w] = begin, end - begin (release)
 *
 * Of a value (v, begin) found: done[v] is of a later operation: v itself has
 * replaced it since. It is of the same: any other w whose operation began
 * after its end has replaced it. It is of an earlier one: that put was not
 * known to have ended, and nothing is said.
 */
#include "tests/torture/claims.h"

#include <stdio.h>

#include "base/clock.h"

#define SPAN_BITS 24
#define SPAN_MAX ((1ull << SPAN_BITS) - 1)
/* Times to live are kept in 1/16 s and rounded up by less than two of them;
 * the coarse clock is a tick of the kernel late. */
#define LATE_NS (200 * CLOCK_MS)

static struct {
	_Atomic uint64_t done[CLAIMS_WRITERS];
	_Atomic uint64_t ended_ns[CLAIMS_WRITERS];
} histories[CLAIMS_KEYS];
static _Atomic uint64_t stamps, cleared;

uint64_t
claims_begin(void)
{
	return atomic_fetch_add(&stamps, 1) + 1;
}

void
claims_end(uint64_t key, uint32_t writer, uint64_t begin)
{
	uint64_t span = claims_begin() - begin;

	/* One that took longer is taken for one that never ended. */
	atomic_store(&histories[key].ended_ns[writer], clock_now_ns());
	atomic_store(&histories[key].done[writer],
		     begin << SPAN_BITS | (span < SPAN_MAX ? span : SPAN_MAX));
}

void
claims_cleared(uint64_t begin)
{
	atomic_store(&cleared, begin);
}

static uint64_t
begin_of(uint64_t done)
{
	return done >> SPAN_BITS;
}

static uint64_t
end_of(uint64_t done)
{
	uint64_t span = done & SPAN_MAX;

	return span == SPAN_MAX ? UINT64_MAX : begin_of(done) + span;
}

void
claims_before(struct claims_before *before, uint64_t key)
{
	before->key = key;
	before->cleared = atomic_load(&cleared);
	for (unsigned w = 0; w < CLAIMS_WRITERS; w++) {
		before->done[w] = atomic_load(&histories[key].done[w]);
		before->ended_ns[w] = atomic_load(&histories[key].ended_ns[w]);
	}
	before->now_ns = clock_now_ns();
}

bool
claims_was_written(const struct claims_before *before)
{
	for (unsigned w = 0; w < CLAIMS_WRITERS; w++)
		if (before->done[w])
			return true;
	return false;
}

static uint64_t
pattern(const struct claims_value *v, uint64_t i)
{
	return (v->key * 0x9e3779b97f4a7c15u) ^ (v->begin << 20) ^
	       ((uint64_t)v->writer << 56) ^ i;
}

void
claims_fill(void *to, const struct claims_value *head)
{
	struct claims_value *v = to;
	uint64_t *at = (uint64_t *)(v + 1);

	*v = *head;
	v->also_key = (uint32_t)~head->key;
	for (size_t i = 0; i < (head->bytes - sizeof *v) / 8; i++)
		at[i] = pattern(head, i);
}

bool
claims_is_whole(const void *value, size_t bytes, uint64_t key)
{
	const struct claims_value *v = value;
	const uint64_t *at = (const uint64_t *)(v + 1);

	if (bytes < sizeof *v || v->key != key || v->bytes != bytes ||
	    v->also_key != (uint32_t)~key || v->writer >= CLAIMS_WRITERS) {
		torture_check(false,
			      "key %llu: %zu bytes; says key %llu, begun %llu "
			      "by %u, bytes %llu",
			      (unsigned long long)key, bytes,
			      (unsigned long long)v->key,
			      (unsigned long long)v->begin, v->writer,
			      (unsigned long long)v->bytes);
		return false;
	}
	for (size_t i = 0; i < (bytes - sizeof *v) / 8; i++)
		if (at[i] != pattern(v, i)) {
			torture_check(false,
				      "key %llu, begun %llu by %u, is torn at "
				      "%zu of %zu",
				      (unsigned long long)key,
				      (unsigned long long)v->begin, v->writer,
				      i * 8, bytes);
			return false;
		}
	return true;
}

void
claims_judge(const struct claims_before *before, const void *value,
	     size_t bytes)
{
	const struct claims_value *v = value;
	uint64_t own;

	if (!claims_is_whole(value, bytes, before->key))
		return;
	own = before->done[v->writer];
	torture_check(v->begin >= begin_of(own),
		      "key %llu: what %u put at %llu is seen after its own of "
		      "%llu",
		      (unsigned long long)v->key, v->writer,
		      (unsigned long long)v->begin,
		      (unsigned long long)begin_of(own));
	if (v->begin != begin_of(own))
		return;
	for (unsigned w = 0; w < CLAIMS_WRITERS; w++)
		torture_check(begin_of(before->done[w]) <= end_of(own),
			      "key %llu: what %u put from %llu to %llu is seen "
			      "after that of %u at %llu",
			      (unsigned long long)v->key, v->writer,
			      (unsigned long long)v->begin,
			      (unsigned long long)end_of(own), w,
			      (unsigned long long)begin_of(before->done[w]));
	torture_check(before->cleared <= end_of(own),
		      "key %llu: put until %llu, cleared at %llu, and seen",
		      (unsigned long long)v->key,
		      (unsigned long long)end_of(own),
		      (unsigned long long)before->cleared);
	torture_check(!v->ttl_ns ||
			      before->now_ns <= before->ended_ns[v->writer] +
							v->ttl_ns + LATE_NS,
		      "key %llu: seen %lld ms after its end",
		      (unsigned long long)v->key,
		      (long long)(before->now_ns - before->ended_ns[v->writer] -
				  v->ttl_ns) /
			      1000000);
}

size_t
claims_name(char name[64], uint64_t key)
{
	return (size_t)snprintf(name, 64, "%llu%.*s", (unsigned long long)key,
				(int)(key % 23), "abcdefghijklmnopqrstuvwxyz") +
	       1;
}

size_t
claims_size(struct dice *dice, bool large)
{
	uint64_t odds = dice_below(dice, 2000);
	size_t head = sizeof(struct claims_value);

	if (odds == 0 && large)
		return head + 8 * dice_below(dice, 300000);
	if (odds < 20)
		return head + 8 * dice_below(dice, 20000);
	return head + 8 * dice_below(dice, 200);
}
