/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: how `spillway stat` and `spillway reclaim` talk to a
 * process. Served by the monitor thread in its own descriptor table.
 *
 * Usage: control_open(), control_fill() before each poll(2), control_handle()
 * after it, control_tick() to push progress.
 *
 * Caveats: allocation-free, never blocks, one owner (the monitor); serves at
 * most CONTROL_CLIENTS_MAX clients, further ones are told so and closed. Both
 * sides check the peer's credentials: same user or root.
 *
 * Protocol (SOCK_SEQPACKET at the address of address.h, one packet a message,
 * text, no NUL, at most CONTROL_MESSAGE_BYTES). Requests: "stat", "pressure",
 * "ping" and "reclaim target=BYTES|max [timeout_ns=N] [older_than_ns=N]
 * [rate=N]"; answers are JSON objects, {"error":"why"} for what cannot be
 * done. reclaim answers {"progress":BYTES} about every 100 ms and ends with
 * {"reclaimed":BYTES,"status":"done|less|timeout|cancelled|..."}. Half-closing
 * the connection cancels and still gets that end; closing it cancels.
 */
#ifndef PRESSURE_CONTROL_H
#define PRESSURE_CONTROL_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <spillway/reclaim.h>

#define CONTROL_CLIENTS_MAX 4
#define CONTROL_POLLS_MAX (CONTROL_CLIENTS_MAX + 1)
#define CONTROL_MESSAGE_BYTES 16384

/* Opens PID.sock (or the abstract name) unless control:off; 0 or -errno. */
int control_open(void);
/* Removes the socket's file if it is ours. */
void control_close(void);

unsigned control_fill(struct pollfd *polls, unsigned polls_max);
void control_handle(const struct pollfd *polls, unsigned count);

/* Sends progress to those who wait for a reclaim; true while any does. */
bool control_tick(void);

/* One request's text, which need not end in NUL; apart for fuzzing. */
enum control_verb {
	CONTROL_BAD,
	CONTROL_STAT,
	CONTROL_PRESSURE,
	CONTROL_RECLAIM,
	CONTROL_PING,
};
struct control_request {
	enum control_verb verb;
	struct spw_reclaim_options reclaim;
	char why[96]; /* of CONTROL_BAD */
};
void control_parse(const char *text, size_t length,
		   struct control_request *request);

/* Adds to the answer of `stat`, where set: what subsystems have to say. */
struct json;
extern void (*_Atomic control_more)(struct json *json);

#endif
