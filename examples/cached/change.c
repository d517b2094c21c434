/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What looks at an item and replaces it by another in one step: delete and
 * invalidate, touch and the meta commands' claims, incr and decr.
 *
 * Called by the commands; calls the store, always with the key's lock held, so
 * that nothing comes between the look and the change. An item whose expiry or
 * marks change is copied: items are not written in place.
 */
#include "examples/cached/change.h"

/* Longer values are no numbers, whatever they begin with. */
#define NUMBER_MAX 1024

/* Replaces what is held by the same value under another head. */
static enum store_result
replace_locked(const struct word *key, const struct store_item *head,
	       const struct store_hold *old, uint32_t now)
{
	return store_save_locked(key, head,
				 (struct word){ store_value(old->item),
						old->value_bytes },
				 WORD_EMPTY, now);
}

static enum store_result
mark_stale_locked(const struct word *key, const struct change_removal *removal,
		  uint32_t now)
{
	struct store_hold old;
	struct store_item head;
	enum store_result result = store_get(key, now, &old);

	if (result != STORE_DONE)
		return result;
	memcpy(&head, old.item, STORE_HEADER);
	head.unique = store_next_unique();
	head.marks = (head.marks | STORE_STALE) & (uint8_t)~STORE_WON;
	if (removal->set_expiry)
		head.expires = removal->expires;
	result = replace_locked(key, &head, &old, now);
	store_release(&old);
	return result;
}

enum store_result
change_remove(const struct word *key, const struct change_removal *removal)
{
	uint32_t now = store_now();
	pthread_mutex_t *stripe = store_lock(key);
	enum store_result result = STORE_DONE;
	struct store_item old;

	if (!store_look_locked(key, now, &old))
		result = STORE_NOT_FOUND;
	else if (removal->compare && removal->unique != old.unique)
		result = STORE_EXISTS;
	else if (removal->stale)
		result = mark_stale_locked(key, removal, now);
	else
		store_drop_locked(key);
	store_unlock(stripe);
	return result;
}

static enum store_result
vivify_locked(const struct word *key, struct change_visit *visit,
	      struct store_hold *hold, uint32_t now)
{
	struct store_item head = {
		.unique = store_next_unique(),
		.expires = visit->vivify_expires,
		.access = now << 1,
		.marks = visit->marks,
	};

	visit->created = visit->won = true;
	visit->before = head;
	head.marks |= STORE_WON;
	head.access |= !visit->quiet;
	if (store_is_expired(&head, now))
		head.expires = now + 1;
	if (store_save_locked(key, &head, WORD_EMPTY, WORD_EMPTY, now) !=
	    STORE_DONE)
		return STORE_NO_MEMORY;
	return store_get(key, now, hold);
}

static enum store_result
visit_locked(const struct word *key, struct change_visit *visit,
	     struct store_hold *hold, uint32_t now)
{
	enum store_result result = store_get(key, now, hold);
	struct store_item head;
	uint32_t expires;

	if (result == STORE_NOT_FOUND && visit->vivify)
		return vivify_locked(key, visit, hold, now);
	if (result != STORE_DONE)
		return result;
	memcpy(&head, hold->item, STORE_HEADER);
	visit->before = head;
	if (visit->set_expiry)
		head.expires = visit->expires;
	expires = visit->recache_last ? head.expires : visit->before.expires;
	if (!(head.marks & STORE_WON) &&
	    ((visit->claims && head.marks & STORE_STALE) ||
	     (visit->recache && expires && expires < visit->recache))) {
		visit->won = true;
		head.marks |= STORE_WON;
	}
	if (!visit->quiet)
		head.access = now << 1 | 1;
	if (visit->set_expiry || visit->won)
		result = replace_locked(key, &head, hold, now);
	else if (!visit->quiet)
		store_hit(hold->item, now);
	if (result != STORE_DONE)
		store_release(hold);
	return result;
}

enum store_result
change_visit(const struct word *key, struct change_visit *visit,
	     struct store_hold *hold)
{
	pthread_mutex_t *stripe = store_lock(key);
	enum store_result result;

	result = visit_locked(key, visit, hold, store_now());
	store_unlock(stripe);
	return result;
}

/* The new number in as many bytes as the old one had, or more. */
static enum store_result
save_number_locked(const struct word *key, struct store_item *head,
		   const struct change_number *delta, size_t bytes,
		   uint32_t now)
{
	char text[NUMBER_MAX];
	size_t digits = (size_t)(word_write_u64(text, delta->number) - text);

	/* memcached stores a longer one anew, and only then forgets marks. */
	if (bytes < digits) {
		bytes = digits;
		head->marks &= STORE_BINARY;
		head->access = now << 1;
	}
	memset(text + digits, ' ', bytes - digits);
	head->unique = store_next_unique();
	return store_save_locked(key, head, (struct word){ text, bytes },
				 WORD_EMPTY, now);
}

static enum store_result
delta_locked(const struct word *key, struct change_number *delta, uint32_t now)
{
	struct store_item head = { .marks = delta->marks, .access = now << 1 };
	const struct store_item *item;
	enum store_result result;
	char text[NUMBER_MAX];
	size_t bytes = 0;

	store_enter();
	item = store_peek(key, now, &bytes);
	if (item) {
		memcpy(&head, item, STORE_HEADER);
		if (bytes <= sizeof text)
			memcpy(text, store_value(item), bytes);
	}
	store_leave();
	if (!item && !delta->vivify)
		return STORE_NOT_FOUND;
	if (!item) {
		delta->created = true;
		head.expires = delta->vivify_expires;
		delta->number = delta->initial;
	} else if (delta->compare && head.unique != delta->unique)
		return STORE_EXISTS;
	else if (bytes > sizeof text ||
		 !word_u64(&(struct word){ text, bytes }, &delta->number))
		return STORE_NO_NUMBER;
	else if (!delta->down)
		delta->number += delta->by;
	else
		delta->number -= delta->by < delta->number ? delta->by :
							     delta->number;
	delta->old_expires = head.expires;
	if (delta->set_expiry)
		head.expires = delta->expires;
	result = save_number_locked(key, &head, delta, bytes, now);
	delta->new_unique = head.unique;
	return result;
}

enum store_result
change_number(const struct word *key, struct change_number *delta)
{
	pthread_mutex_t *stripe = store_lock(key);
	enum store_result result;

	result = delta_locked(key, delta, store_now());
	store_unlock(stripe);
	return result;
}
