/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * systemd's protocol: $MEMORY_PRESSURE_WATCH and $MEMORY_PRESSURE_WRITE.
 *
 * Usage: systemd_open(), poll fd for .events, systemd_read().
 *
 * If WATCH is a regular file, it is a PSI file: WRITE's bytes are written,
 * POLLPRI is polled, growth of total= is wanted as proof. If it is a FIFO or
 * an AF_UNIX stream socket, what arrives is read and discarded. If it is
 * /dev/null, monitoring is off. (systemd, docs/PRESSURE.md)
 *
 * Caveats: one owner, the monitor. Allocation-free.
 */
#ifndef PRESSURE_SYSTEMD_H
#define PRESSURE_SYSTEMD_H

#include <stdbool.h>
#include <stddef.h>

#include "pressure/psi.h"

enum systemd_kind {
	SYSTEMD_NONE,
	SYSTEMD_OFF, /* /dev/null */
	SYSTEMD_PSI,
	SYSTEMD_FIFO,
	SYSTEMD_SOCKET,
};

struct systemd {
	int fd;       /* -1: none */
	short events; /* what to poll for */
	enum systemd_kind kind;
	struct psi psi;
	char why[160]; /* what it is, or what is wrong */
};

/* NULL or "": not set. What is malformed is complained of by name. */
void systemd_open(struct systemd *systemd, const char *watch,
		  const char *write_base64);
/* With what this process was started with; nothing where it is set-user-ID. */
void systemd_open_environment(struct systemd *systemd);
void systemd_close(struct systemd *systemd);

/* Whether memory is indeed asked for. Closes what has gone. */
bool systemd_read(struct systemd *systemd, short revents);

/* Now and then, so that a later event can be judged. */
void systemd_note(struct systemd *systemd);

/* Bytes decoded, or -EINVAL (not base64), -E2BIG. */
long systemd_base64(const char *text, void *bytes, size_t bytes_max);

#endif
