/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The listening socket of control.c: made where address.h says, removed when
 * the process goes.
 *
 * Usage: fd = listener_open(); ... close(fd), listener_remove().
 *
 * Caveats: allocation-free, never blocks, for the monitor alone. The file is
 * removed at exit(3); after a kill it stays until the next process of that
 * user sweeps it.
 */
#ifndef PRESSURE_LISTENER_H
#define PRESSURE_LISTENER_H

#include <stdbool.h>

/* A non-blocking SOCK_SEQPACKET that listens, or -errno. */
int listener_open(void);

/* Unlinks the socket's file where this process made it. */
void listener_remove(void);

/* Same user or root. */
bool listener_peer_allowed(int fd);

#endif
