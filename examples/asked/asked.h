/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A collector that a thread of the runtime's own runs when spillway asks.
 *
 * Usage: the runtime makes a thread, which calls asked_start() once and then,
 * for ever, asked_wait(), its own collection, asked_done().
 *
 * Caveats: asked_wait() blocks in a condition variable: call it where the
 * runtime may stop its world meanwhile (a foreign call that it knows of).
 * Plain C types, so that any foreign function interface can call it.
 */
#ifndef ASKED_H
#define ASKED_H

/* Registers under the name, up to 63 bytes. NULL, or why not (static). */
const char *asked_start(const char *name);

/* Waits until memory is wanted (1), for so long at most (0); negative: for
 * ever. -1 where asked_start() was not called. */
int asked_wait(int milliseconds);

/* The collection is over. */
void asked_done(void);

#endif
