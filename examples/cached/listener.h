/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sockets that listen where the settings say.
 *
 * Usage: listener_open_all(sockets, LISTENERS_MAX), listener_close_all().
 *
 * Caveats: a unix socket's file is removed by close.
 */
#ifndef EXAMPLES_CACHED_LISTENER_H
#define EXAMPLES_CACHED_LISTENER_H

#define LISTENERS_MAX 16

/* How many; 0: the message was printed. */
unsigned listener_open_all(int *sockets);
void listener_close_all(const int *sockets, unsigned count);

/* The next connection, set up; -1: none, or errno says why. */
int listener_accept(int socket);

#endif
