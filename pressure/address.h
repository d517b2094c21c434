/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a process's control socket is: known to the process that opens it and
 * to the program that looks for it.
 *
 * Usage: address_candidate(pid, 0, ...), 1, 2 until -ENOENT; the process
 * binds the first that works, the other side tries them in the same order.
 *
 * Caveats: allocation-free. The environment is read from /proc/PID/environ
 * (getenv(3) races with the program's setenv(3)), which a program may have
 * overwritten: who looks should try its own $XDG_RUNTIME_DIR too.
 */
#ifndef PRESSURE_ADDRESS_H
#define PRESSURE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

struct address {
	struct sockaddr_un name;
	unsigned bytes; /* of name that count */
	bool abstract;  /* no file */
};

/*
 * 0 $XDG_RUNTIME_DIR/spillway/PID.sock, 1 /run/spillway/PID.sock (processes
 * of root), 2 the abstract name spillway/PID/STARTTIME.
 * 0; -ENXIO where this one does not apply, look at the next; -ENOENT: no
 * more; -ENAMETOOLONG.
 */
int address_candidate(pid_t pid, unsigned candidate, struct address *address);

/* DIRECTORY/spillway/PID.sock: 0 or -ENAMETOOLONG. */
int address_below(const char *directory, pid_t pid, struct address *address);

/* Start time of a process, field 22 of /proc/PID/stat: 0, -ENOENT, -EINVAL. */
int address_start_time(pid_t pid, uint64_t *ticks);

/* Parses that file's text; the name in parentheses may hold anything. */
int address_parse_start_time(const char *text, uint64_t *ticks);

#endif
