/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Listens, and spreads connections over the workers.
 *
 * Usage: server_open(), server_run() until a signal comes, server_close().
 *
 * Caveats: one server a process. Signals SIGTERM and SIGINT must be blocked in
 * all threads before: server_run() reads them.
 */
#ifndef EXAMPLES_CACHED_SERVER_H
#define EXAMPLES_CACHED_SERVER_H

#include <stdbool.h>

/* By the settings. False: the message was printed, server_close() not due. */
bool server_open(void);
void server_run(void);
void server_close(void);

#endif
