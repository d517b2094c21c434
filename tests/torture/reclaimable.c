/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Readers in read-side sections follow a root while pressure drops the arena
 * that it leads into, again and again.
 *
 * The rule of spillway/arena.h for writers: load the root first, allocate
 * second, link to that root third, all inside one section. A node carries its
 * address and the root's generation; whoever meets another one met memory
 * that was given to somebody else, or to the kernel, too soon. LIVES
 * generations take turns: a root is used again when that many grace periods
 * have passed, and nobody can have kept it.
 *
 * Beside that, a thread has a reclaimable arena of its own, which it resets
 * and destroys while the reclaimer drops it: whoever resets must not empty a
 * body that meanwhile belongs to somebody else.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <spillway/spillway.h>

#include "base/clock.h"
#include "tests/tap.h"
#include "tests/torture/torture.h"

#define TREES 3
#define HEADS 256
#define LIVES 16
#define NODES 48 /* in a list, at most */
#define MAGIC 0x5ca1ab1e0ddba11ull
#define MIB (1ull << 20)

struct node {
	uint64_t check; /* MAGIC ^ address ^ generation */
	uint64_t generation;
	struct node *next;
	uint64_t length;
	uint64_t filling[];
};

struct root {
	uint64_t generation;
	_Atomic(struct node *) heads[HEADS];
};

struct tree {
	struct spw_arena *arena;
	struct root roots[LIVES];
	_Atomic(struct root *) now;
	_Atomic uint64_t drops;
};

static struct tree trees[TREES];
static _Atomic uint64_t visited, linked, lost, refused;
static _Atomic uint64_t own_drops, own_resets, own_arenas;

/* Pressure: unreachable from now on. Runs on the reclaimer alone. */
static void
drop(void *context)
{
	struct tree *tree = context;
	struct root *old = atomic_load(&tree->now);
	struct root *fresh = &tree->roots[(old->generation + 1) % LIVES];

	for (int i = 0; i < HEADS; i++)
		atomic_store(&fresh->heads[i], NULL);
	fresh->generation = old->generation + 1;
	atomic_store(&tree->now, fresh);
	atomic_fetch_add(&tree->drops, 1);
}

static uint64_t
check_of(const struct node *n, uint64_t generation)
{
	return MAGIC ^ (uint64_t)(uintptr_t)n ^ generation;
}

static bool
is_whole(const struct node *n, const struct root *root)
{
	uint64_t generation = root->generation;

	if (n->check != check_of(n, generation) ||
	    n->generation != generation || n->length > 2048)
		return false;
	for (uint64_t i = 0; i < n->length; i += 1 + n->length / 8)
		if (n->filling[i] != n->check + i)
			return false;
	return true;
}

/* Follows one list to its end: its length. Inside a read-side section. */
static unsigned
visit(const struct root *root, const struct node *n)
{
	unsigned length = 0;

	for (; n; n = n->next, length++) {
		bool whole = is_whole(n, root);

		torture_check(whole,
			      "%p of generation %llu is not what was linked",
			      (const void *)n,
			      (unsigned long long)root->generation);
		if (!whole)
			break;
	}
	atomic_fetch_add(&visited, length);
	return length;
}

static void
reader(struct torture_thread *self)
{
	struct dice *dice = &self->dice;

	while (!torture_over()) {
		struct tree *tree = &trees[dice_below(dice, TREES)];
		struct root *root;
		uint64_t many = 1 + dice_below(dice, 64);

		spw_read_lock();
		root = atomic_load(&tree->now);
		while (many--)
			visit(root,
			      atomic_load(
				      &root->heads[dice_below(dice, HEADS)]));
		if (dice_below(dice, 64) == 0) {
			torture_pause(200); /* the drop waits for me */
			visit(root, atomic_load(&root->heads[0]));
		}
		spw_read_unlock();
	}
}

static struct node *
make_node(struct spw_arena *arena, uint64_t generation, struct node *next,
	  struct dice *dice)
{
	uint64_t length = dice_size(dice, 2048);
	struct node *n = spw_arena_malloc(arena, sizeof *n + length * 8);

	if (!n) {
		torture_check(errno == ENOMEM, "NULL with errno %d", errno);
		atomic_fetch_add(&refused, 1);
		return NULL;
	}
	n->check = check_of(n, generation);
	n->generation = generation;
	n->next = next;
	n->length = length;
	for (uint64_t i = 0; i < length; i++)
		n->filling[i] = n->check + i;
	return n;
}

static void
writer(struct torture_thread *self)
{
	struct dice *dice = &self->dice;

	while (!torture_over()) {
		struct tree *tree = &trees[dice_below(dice, TREES)];
		_Atomic(struct node *) *head;
		struct node *first, *n;
		struct root *root;

		spw_read_lock();
		root = atomic_load(&tree->now);
		head = &root->heads[dice_below(dice, HEADS)];
		first = atomic_load(head);
		/* A list that is long enough is let go, for the next drop. */
		if (visit(root, first) >= NODES)
			n = make_node(tree->arena, root->generation, NULL,
				      dice);
		else
			n = make_node(tree->arena, root->generation, first,
				      dice);
		if (n && atomic_compare_exchange_strong(head, &first, n)) {
			atomic_fetch_add(&linked, 1);
		} else if (n) {
			spw_free(n); /* nobody has seen it */
			atomic_fetch_add(&lost, 1);
		}
		spw_read_unlock();
	}
}

static void
drop_own(void *context)
{
	atomic_store((_Atomic(struct node *) *)context, NULL);
	atomic_fetch_add(&own_drops, 1);
}

static void
check_own(struct node *n, uint64_t generation)
{
	for (; n; n = n->next)
		torture_check(n->check == check_of(n, generation),
			      "%p was emptied by another's reset",
			      (const void *)n);
}

/* Resets and destroys while the reclaimer may be at it. */
static void
owner(struct torture_thread *self)
{
	_Atomic(struct node *) head;
	struct dice *dice = &self->dice;

	while (!torture_over()) {
		struct spw_arena_options options = {
			.size = sizeof options,
			.name = "own",
			.drop = drop_own,
			.context = (void *)&head,
			.flags = SPW_ARENA_RECLAIMABLE,
		};
		struct spw_arena *arena;
		uint64_t generation = self->which;
		int error;

		atomic_store(&head, NULL);
		error = spw_arena_create(&arena, &options);
		if (error)
			tap_bail_out("create: %s", spw_strerror(error));
		for (uint64_t i = dice_below(dice, 20000); i; i--) {
			struct node *first, *n;

			spw_read_lock();
			first = atomic_load(&head);
			n = make_node(arena, generation, first, dice);
			if (n &&
			    !atomic_compare_exchange_strong(&head, &first, n))
				spw_free(n);
			check_own(atomic_load(&head), generation);
			spw_read_unlock();
			if (dice_below(dice, 50) == 0) {
				atomic_store(&head, NULL);
				spw_arena_reset(arena);
				atomic_fetch_add(&own_resets, 1);
			}
		}
		spw_arena_destroy(arena);
		atomic_fetch_add(&own_arenas, 1);
	}
}

static void
presser(struct torture_thread *self)
{
	struct dice *dice = &self->dice;

	while (!torture_over()) {
		struct spw_reclaim_options options = {
			.size = sizeof options,
			.target_bytes = dice_below(dice, 2) ?
						UINT64_MAX :
						dice_below(dice, 8 * MIB) + 1,
		};
		uint64_t got;
		int error = spw_reclaim(&got, &options);

		torture_check(!error, "spw_reclaim: %s", spw_strerror(error));
		torture_pause(dice_below(dice, 3000));
	}
}

int
main(int argc, char **argv)
{
	uint64_t drops = 0;

	(void)argc;
	setenv("SPILLWAY_CONF", "cgroup:off,machine:off,psi:off,limit:200M", 1);
	torture_begin(argv, true);
	for (int i = 0; i < TREES; i++) {
		struct spw_arena_options options = {
			.size = sizeof options,
			.name = "tree",
			.limit_bytes = 48 * MIB,
			.drop = drop,
			.context = &trees[i],
			.flags = SPW_ARENA_RECLAIMABLE,
		};
		int error;

		atomic_store(&trees[i].now, &trees[i].roots[0]);
		error = spw_arena_create(&trees[i].arena, &options);
		if (error)
			tap_bail_out("create: %s", spw_strerror(error));
	}
	torture_start(2, reader, NULL);
	torture_start(2, writer, NULL);
	torture_start(2, owner, NULL);
	torture_start(1, presser, NULL);
	torture_join();
	for (int i = 0; i < TREES; i++) {
		spw_arena_destroy(trees[i].arena);
		drops += trees[i].drops;
	}
	tap_note("%llu nodes visited, %llu linked, %llu came too late, %llu "
		 "refused, %llu drops; of their own: %llu arenas, %llu "
		 "resets, %llu drops",
		 (unsigned long long)visited, (unsigned long long)linked,
		 (unsigned long long)lost, (unsigned long long)refused,
		 (unsigned long long)drops, (unsigned long long)own_arenas,
		 (unsigned long long)own_resets, (unsigned long long)own_drops);
	tap_ok(visited > 0 && linked > 0 && drops > 0,
	       "nodes were linked, visited and dropped");
	tap_ok(own_drops > 0 && own_resets > 0 && own_arenas > 0,
	       "arenas were reset and destroyed while they were dropped");
	tap_is(torture_broken(), 0, "nobody saw memory of somebody else");
	return tap_done();
}
