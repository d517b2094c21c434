/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that a test can lend: mapped, touched, and unmapped by a shrinker.
 *
 * Usage: stock_fill(&stock, 8 << 20); register stock_count and stock_shrink
 * with the stock as context.
 *
 * Caveats: filled by one thread while no pass may ask it.
 */
#ifndef TESTS_UNIT_STOCK_H
#define TESTS_UNIT_STOCK_H

#include <spillway/spillway.h>

/* By how much a process's resident bytes in /proc are imprecise: the kernel
 * counts them per CPU, in batches of 32 pages or more. */
#define STOCK_BLUR (384u << 10)

struct stock {
	char *memory;
	_Atomic size_t bytes;      /* of it, still there; from the start */
	_Atomic unsigned asked;    /* calls of stock_shrink */
	_Atomic uint64_t turn;     /* of the last that gave, of all stocks' */
	size_t lie_bytes;          /* claimed on top */
	struct spw_shrink request; /* the last */
	size_t mapped_bytes;
};

void stock_fill(struct stock *stock, size_t bytes);
void stock_empty(struct stock *stock);
size_t stock_count(const struct spw_shrink *request, void *stock);
size_t stock_shrink(const struct spw_shrink *request, void *stock);

/* Registers it, or bails out. */
struct spw_shrinker *stock_lend(struct stock *stock, const char *name,
				enum spw_tier tier, bool counted);

/*
 * For tests of the core: of the machine's own memory nothing is sensed, so
 * that only limit: raises a level; call it first.
 */
void stock_alone(const char *more_settings);

/* Resident bytes of this process. */
uint64_t stock_resident(void);

/* Polls for up to ten seconds: whether `is` became true. */
bool stock_soon(bool (*is)(void));

/* spw_reclaim() of that much: bytes. */
uint64_t stock_reclaim(uint64_t bytes);

#endif
