/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One connection: a socket, a session, and what could not be worked off yet.
 *
 * Usage: connection_open(), connection_serve() whenever the socket is ready,
 * connection_close().
 *
 * Caveats: threads: after open it belongs to one worker. An idle connection
 * has no buffers: reading and writing happens in the worker's desk.
 */
#ifndef EXAMPLES_CACHED_CONNECTION_H
#define EXAMPLES_CACHED_CONNECTION_H

#include "examples/cached/counters.h"
#include "examples/cached/output.h"

#define CONNECTION_INPUT ((size_t)64 << 10)

/* What a worker lends to the connection that it is serving. */
struct desk {
	struct counters counters;
	struct output output;
	char input[CONNECTION_INPUT];
};

/* What the socket is to be watched for. */
enum connection_wish {
	CONNECTION_READ,
	CONNECTION_WRITE, /* and nothing is read before */
	CONNECTION_END,   /* close it */
};

struct connection;

/* Takes the socket over, which does not block; NULL: no memory. */
struct connection *connection_open(int socket);
enum connection_wish connection_serve(struct connection *connection,
				      struct desk *desk);
int connection_socket(const struct connection *connection);
/* What it wished last. */
enum connection_wish connection_wish(const struct connection *connection);
void connection_close(struct connection *connection);

#endif
