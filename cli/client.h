/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Talking to a process's control socket (pressure/control.h).
 *
 * Usage: code = client_open(&client, pid); client_send(), client_receive();
 * client_close().
 *
 * Caveats: single-threaded. Functions that return an exit code have said
 * what went wrong (unless .quiet). Opening may change the program's network
 * namespace, so it is the last thing to do for other processes.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "pressure/control.h"

struct client {
	pid_t pid;
	int fd;
	int watch;                             /* a pidfd, or -1 */
	bool quiet;                            /* say nothing */
	char reply[CONTROL_MESSAGE_BYTES + 1]; /* the last one, checked */
};

/* 0, or an exit code of command.h. client->quiet is to be set before. */
int client_open(struct client *client, pid_t pid);
void client_close(struct client *client);

/* Sends one request; 0 or an exit code. */
int client_send(struct client *client, const char *request);

/*
 * Waits for the next packet. 0, an exit code (also for {"error": ...}), or
 * -EAGAIN (timeout_ns went by) or -EINTR (a signal was handled).
 */
int client_receive(struct client *client, uint64_t timeout_ns);

/* Request and its one answer within five seconds. */
int client_ask(struct client *client, const char *request);

/* True once the process is gone. */
bool client_process_gone(const struct client *client);

/* "4711 (redis-server)" in a static buffer. */
const char *client_process_name(pid_t pid);

#endif
