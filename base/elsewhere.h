/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two spillways in one process: libspillway-malloc.so works, libspillway.so
 * sleeps.
 *
 * Usage: ELSEWHERE(spw_arena_malloc, arena, bytes); as the first statement of
 * a public function.
 *
 * Caveats: a program that is linked to libspillway.so reaches the
 * interposer's functions by the loader's order alone; this is for who opens
 * libspillway.so and looks symbols up in it (Python's ctypes, JNI). Costs one
 * load where nothing sleeps.
 */
#ifndef BASE_ELSEWHERE_H
#define BASE_ELSEWHERE_H

#include <stdbool.h>

#include "base/assert.h"

/* This copy sleeps: another one in the process does the work. */
extern bool elsewhere_is;

/* Decides; called when libspillway.so is loaded. */
void elsewhere_look(void);

/* The working copy's function of that name, into *function. */
void elsewhere_find(const char *name, void *function);

#define ELSEWHERE(name, ...)                                   \
	do {                                                   \
		if (base_unlikely(elsewhere_is)) {             \
			__typeof__(&name) other;               \
			elsewhere_find(#name, (void *)&other); \
			return other(__VA_ARGS__);             \
		}                                              \
	} while (0)

#endif
