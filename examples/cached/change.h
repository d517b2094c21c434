/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changes of an item that depend on what it is.
 *
 * Usage: fill in a struct change_..., call its function, read the answers.
 *
 * Caveats: as store.h: any thread, never between store_enter() and
 * store_leave().
 */
#ifndef EXAMPLES_CACHED_CHANGE_H
#define EXAMPLES_CACHED_CHANGE_H

#include "examples/cached/store.h"

/* Gone, or only marked stale, then with a new unique. */
struct change_removal {
	bool compare;
	uint64_t unique;
	bool stale;
	bool set_expiry;
	uint32_t expires;
};
/* STORE_DONE, STORE_NOT_FOUND, STORE_EXISTS, STORE_NO_MEMORY */
enum store_result change_remove(const struct word *key,
				const struct change_removal *removal);

/* A look that may change what is beside the value. */
struct change_visit {
	bool set_expiry;
	uint32_t expires;
	bool vivify; /* where it is not there, an empty one */
	uint32_t vivify_expires;
	uint32_t recache;  /* who comes when it expires before, wins; or 0 */
	bool recache_last; /* by the expiry that was just set */
	bool claims;       /* who finds it stale first, wins too */
	bool quiet;        /* is no hit */
	uint8_t marks;     /* of an empty one */
	/* Answers. */
	bool created, won;
	struct store_item before; /* or the empty one */
};
/* STORE_DONE: hold is held. STORE_NOT_FOUND, STORE_NO_MEMORY */
enum store_result change_visit(const struct word *key,
			       struct change_visit *visit,
			       struct store_hold *hold);

struct change_number {
	bool down;
	uint64_t by;
	bool compare;
	uint64_t unique;
	bool vivify; /* where it is not there */
	uint64_t initial;
	uint32_t vivify_expires;
	bool set_expiry;
	uint32_t expires;
	uint8_t marks; /* of a new one */
	/* Answers. */
	bool created;
	uint64_t number;
	uint64_t new_unique;
	uint32_t old_expires;
};
/* Any result but STORE_NOT_STORED. */
enum store_result change_number(const struct word *key,
				struct change_number *delta);

#endif
