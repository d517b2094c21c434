/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Patterns of one thread and small to middling objects: tight loops, random
 * lifetimes, calloc, realloc growth, strings, and a mix like an application's.
 *
 * A round of each takes 5 to 15 ms and ends with everything freed, so that
 * rounds are alike and one round serves as the smoke run.
 */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Four of five objects of a program are under 128 bytes. */
static size_t
program_size(uint64_t *random)
{
	uint64_t draw = bench_random(random);

	switch (draw & 15) {
	case 0:
		return 512 + ((draw >> 8) & 2047);
	case 1:
	case 2:
		return 128 + ((draw >> 8) & 511);
	default:
		return 16 + ((draw >> 8) & 111);
	}
}

static void
run_tight(uint64_t seed)
{
	static const size_t sizes[] = {
		8,   16,  24,  32,  48,  64,  80,  96,
		128, 160, 192, 256, 384, 512, 768, 1024
	};

	(void)seed;
	for (unsigned repeat = 0; repeat < 50; repeat++) {
		for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
			for (unsigned n = 0; n < 1000; n++) {
				char *object = bench_malloc(sizes[i]);

				*object = (char)n;
				bench_use(object);
				free(object);
			}
		}
	}
}

/* A few objects deep, as call stacks that allocate on the way down. */
static void
run_nested(uint64_t seed)
{
	void *objects[32];

	for (unsigned repeat = 0; repeat < 12000; repeat++) {
		for (size_t i = 0; i < 32; i++) {
			objects[i] = bench_malloc(program_size(&seed));
			*(char *)objects[i] = 1;
			bench_use(objects[i]);
		}
		for (size_t i = 32; i > 0; i--)
			free(objects[i - 1]);
	}
}

static void
run_lifetimes(uint64_t seed)
{
	enum { SLOTS = 20000 };
	static char *slots[SLOTS];

	for (unsigned step = 0; step < 15 * SLOTS; step++) {
		size_t at = bench_random_below(&seed, SLOTS);
		size_t bytes = program_size(&seed);

		free(slots[at]);
		slots[at] = bench_malloc(bytes);
		slots[at][0] = slots[at][bytes - 1] = 1;
	}
	for (size_t at = 0; at < SLOTS; at++) {
		free(slots[at]);
		slots[at] = NULL;
	}
}

static void
run_calloc(uint64_t seed)
{
	enum { SLOTS = 256 };
	static char *slots[SLOTS];

	for (unsigned step = 0; step < 20000; step++) {
		size_t at = bench_random_below(&seed, SLOTS);
		unsigned shift = (unsigned)bench_random_below(&seed, 13);
		size_t bytes = (16u << shift) +
			       bench_random_below(&seed, 16u << shift);

		free(slots[at]);
		slots[at] = calloc(1, bytes);
		if (slots[at] == NULL)
			bench_die("calloc(%zu)", bytes);
		slots[at][bytes / 2] = 1;
	}
	for (size_t at = 0; at < SLOTS; at++) {
		free(slots[at]);
		slots[at] = NULL;
	}
}

/* Vectors that grow by half, many at a time, then shrink to fit. */
static void
run_realloc(uint64_t seed)
{
	enum { VECTORS = 64 };
	char *vectors[VECTORS] = { NULL };
	size_t sizes[VECTORS] = { 0 };

	for (unsigned step = 0; step < 4000; step++) {
		size_t at = bench_random_below(&seed, VECTORS);
		size_t old = sizes[at];

		sizes[at] = old >= 262144 ? old / 8 : old + old / 2 + 16;
		vectors[at] = realloc(vectors[at], sizes[at]);
		if (vectors[at] == NULL)
			bench_die("realloc(%zu)", sizes[at]);
		if (sizes[at] > old)
			memset(vectors[at] + old, 1, sizes[at] - old);
	}
	for (size_t at = 0; at < VECTORS; at++)
		free(vectors[at]);
}

/* Lines are split into words, words joined into sorted lines. */
static void
run_strings(uint64_t seed)
{
	for (unsigned line = 0; line < 3000; line++) {
		char *words[24];
		char *joined = strdup("");
		size_t length = 0;

		for (size_t i = 0; i < 24; i++) {
			char text[64];
			int n = snprintf(text, sizeof text, "%llx%.*s",
					 (unsigned long long)bench_random_below(
						 &seed, 1u << 20),
					 (int)bench_random_below(&seed, 20),
					 "abcdefghijklmnopqrstuvwxyz");

			words[i] = strndup(text, (size_t)n);
			if (words[i] == NULL)
				bench_die("strndup");
		}
		for (size_t i = 0; i < 24; i++) {
			size_t n = strlen(words[i]);
			char *longer = realloc(joined, length + n + 2);

			if (longer == NULL)
				bench_die("realloc(%zu)", length + n + 2);
			joined = longer;
			memcpy(joined + length, words[i], n + 1);
			length += n;
			free(words[i]);
		}
		bench_use(joined);
		free(joined);
	}
}

struct node {
	struct node *left, *right;
	uint64_t key;
	char *text;
};

struct entry {
	struct entry *next;
	uint64_t key;
	size_t bytes;
	char *value;
};

static struct node *tree;
static struct entry *table[4096];

static void
tree_insert(uint64_t key)
{
	struct node **at = &tree;
	char text[40];

	while (*at != NULL && (*at)->key != key)
		at = key < (*at)->key ? &(*at)->left : &(*at)->right;
	if (*at != NULL)
		return;
	*at = bench_malloc(sizeof **at);
	snprintf(text, sizeof text, "node-%llu", (unsigned long long)key);
	**at = (struct node){ .key = key, .text = strdup(text) };
}

static void
tree_free(struct node *node)
{
	if (node == NULL)
		return;
	tree_free(node->left);
	tree_free(node->right);
	free(node->text);
	free(node);
}

/* Replaces the value of a key, or drops the key where bytes is 0. */
static void
table_set(uint64_t key, size_t bytes)
{
	struct entry **at = &table[key & 4095];

	while (*at != NULL && (*at)->key != key)
		at = &(*at)->next;
	if (bytes == 0) {
		struct entry *old = *at;

		if (old == NULL)
			return;
		*at = old->next;
		free(old->value);
		free(old);
		return;
	}
	if (*at == NULL) {
		*at = calloc(1, sizeof **at);
		if (*at == NULL)
			bench_die("calloc");
		(*at)->key = key;
	}
	free((*at)->value);
	(*at)->value = bench_malloc(bytes);
	(*at)->bytes = bytes;
	memset((*at)->value, 1, bytes);
}

/* Requests: parse into temporaries, look up, build a tree now and then. */
static void
run_app(uint64_t seed)
{
	for (unsigned request = 0; request < 12000; request++) {
		char *buffer = bench_malloc(1024 + (request & 7) * 512);
		char *fields[8];

		memset(buffer, 'x', 512);
		for (size_t i = 0; i < 8; i++)
			fields[i] = strndup(buffer,
					    8 + bench_random_below(&seed, 80));
		table_set(bench_random_below(&seed, 8192),
			  bench_random_below(&seed, 4) == 0 ?
				  0 :
				  program_size(&seed));
		tree_insert(bench_random_below(&seed, 1u << 30));
		for (size_t i = 0; i < 8; i++)
			free(fields[i]);
		free(buffer);
		if (request % 3000 == 2999) {
			tree_free(tree);
			tree = NULL;
		}
	}
	for (uint64_t key = 0; key < 8192; key++)
		table_set(key, 0);
}

static const struct bench_pattern patterns[] = {
	{ "tight", "malloc, write a byte, free; 16 sizes of 8 to 1024",
	  run_tight, 150 },
	{ "nested", "32 objects, freed in the opposite order", run_nested,
	  150 },
	{ "lifetimes", "20,000 live objects, replaced at random", run_lifetimes,
	  60 },
	{ "calloc", "256 live zeroed blocks of 16 to 128 Ki bytes", run_calloc,
	  60 },
	{ "realloc", "64 vectors that grow to 256 KiB and shrink", run_realloc,
	  100 },
	{ "strings", "words copied, joined and freed", run_strings, 100 },
	{ "app", "a tree, a hash table and temporaries, by requests", run_app,
	  100 },
	{ 0 },
};

int
main(int argc, char **argv)
{
	static const struct bench_program program = {
		.name = "small",
		.summary = "Patterns of one thread with small objects.",
		.patterns = patterns,
	};

	return bench_patterns_main(&program, argc, argv);
}
