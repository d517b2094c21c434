/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who wants to be told about levels. (The public face is
 * spillway/pressure.h.)
 *
 * Usage: the monitor calls subscribers_note() after each reading; the
 * reclaimer calls subscribers_run() when there is news.
 *
 * Caveats: subscribers_note() takes no lock; callbacks and eventfds are
 * served by the reclaimer, whose descriptor table is the program's.
 */
#ifndef PRESSURE_SUBSCRIBERS_H
#define PRESSURE_SUBSCRIBERS_H

#include <stdbool.h>
#include <stdint.h>

void subscribers_note(void);
bool subscribers_pending(void);
/* Returns early where another thread has taken over. */
void subscribers_run(uint32_t generation);
void subscribers_fork_child(void);

#endif
