/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads, lets the protocol work, sends; and keeps what is left.
 *
 * Called by the workers; calls protocol_run(). One wake-up is one read into
 * the worker's desk, all commands that came with it, and one send. What is
 * left of the input (a command that is not complete, or more than a slow
 * reader takes answers for) is kept in memory of the connection's own, and the
 * next read goes behind it. While there is a backlog of answers, nothing is
 * read: a client that sends and does not read stops itself, as with memcached.
 */
#include "examples/cached/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "examples/cached/protocol.h"

#define TURN 4
/* Where a large value is expected: its line, and little that must be copied
 * from here to its place. */
#define EXPECTANT_INPUT ((size_t)4 << 10)

struct connection {
	int socket;
	enum connection_wish wish;
	bool hangs_up; /* once all is sent */
	bool owes;     /* answers to what is kept, after others had a turn */
	bool expects;  /* a large value, as the last one was */
	struct session session;
	struct backlog *backlog;
	/* Input that was read and not eaten; from malloc. */
	char *kept;
	size_t kept_bytes, kept_room;
};

struct connection *
connection_open(int socket)
{
	struct connection *connection = calloc(1, sizeof *connection);

	if (!connection)
		return NULL;
	connection->socket = socket;
	connection->session.id = socket;
	connection->wish = CONNECTION_READ;
	return connection;
}

void
connection_close(struct connection *connection)
{
	protocol_end(&connection->session);
	backlog_free(&connection->backlog);
	free(connection->kept);
	close(connection->socket);
	free(connection);
}

int
connection_socket(const struct connection *connection)
{
	return connection->socket;
}

enum connection_wish
connection_wish(const struct connection *connection)
{
	return connection->wish;
}

/* Makes room for so much in `kept`. -ENOMEM */
static int
make_room(struct connection *connection, size_t bytes)
{
	size_t room = connection->kept_room ? connection->kept_room : 2048;
	char *grown;

	if (bytes <= connection->kept_room)
		return 0;
	while (room < bytes)
		room *= 2;
	grown = realloc(connection->kept, room);
	if (!grown)
		return -ENOMEM;
	connection->kept = grown;
	connection->kept_room = room;
	return 0;
}

/* Keeps what was not eaten, which may be within `kept` already. -ENOMEM */
static int
keep(struct connection *connection, const struct input *input)
{
	size_t bytes = (size_t)(input->end - input->at);

	if (!bytes) {
		free(connection->kept);
		connection->kept = NULL;
		connection->kept_room = connection->kept_bytes = 0;
		return 0;
	}
	if (connection->kept_bytes == 0 && make_room(connection, bytes) != 0)
		return -ENOMEM;
	memmove(connection->kept, input->at, bytes);
	connection->kept_bytes = bytes;
	return 0;
}

/* Sends what is in the output; false: the connection is lost. */
static bool
send_output(struct connection *connection, struct desk *desk)
{
	ssize_t sent;

	if (!desk->output.vectors)
		return true;
	sent = output_send(&desk->output, connection->socket,
			   &connection->backlog);
	if (sent < 0)
		return false;
	counters_add(&desk->counters.bytes_written, (uint64_t)sent);
	return true;
}

/*
 * Works off the input as far as it goes, but no more than TURN full outputs:
 * then others have a turn. False: the connection is lost.
 */
static bool
work_off(struct connection *connection, struct desk *desk, struct input input)
{
	enum verdict verdict;
	unsigned full = 0;

	do {
		verdict = protocol_run(&connection->session, &input);
		if (!send_output(connection, desk))
			return false;
	} while (verdict == VERDICT_FULL && !connection->backlog &&
		 ++full < TURN);
	connection->owes = verdict == VERDICT_FULL;
	connection->hangs_up = verdict == VERDICT_CLOSE;
	return keep(connection, &input) == 0;
}

/* Where the next read goes: behind what is kept, or to the desk. */
static struct iovec
find_room(struct connection *connection, struct desk *desk)
{
	size_t wanted = connection->kept_bytes + CONNECTION_INPUT / 2;

	if (!connection->kept_bytes)
		return (struct iovec){ desk->input, connection->expects ?
							    EXPECTANT_INPUT :
							    CONNECTION_INPUT };
	if (make_room(connection, wanted) != 0)
		return (struct iovec){ NULL, 0 };
	return (struct iovec){ connection->kept + connection->kept_bytes,
			       connection->kept_room - connection->kept_bytes };
}

/*
 * Reads once. A large value that is arriving goes to its place first, and only
 * what is behind it to the input. Bytes of input in *bytes.
 * Returns 1: something came; 0: nothing yet; -1: the connection is lost.
 */
static int
receive(struct connection *connection, struct iovec room, size_t *bytes,
	struct counters *counters)
{
	struct session *session = &connection->session;
	bool value = session->state == SESSION_VALUE;
	struct iovec vector[2] = { { session->value_to, session->missing },
				   room };
	ssize_t got;
	size_t direct = 0;

	if (value)
		got = readv(connection->socket, vector, 2);
	else
		got = recv(connection->socket, room.iov_base, room.iov_len, 0);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (got == 0)
		return -1;
	counters_add(&counters->bytes_read, (uint64_t)got);
	if (value) {
		direct = (size_t)got < session->missing ? (size_t)got :
							  session->missing;
		session->value_to += direct;
		session->missing -= direct;
	}
	*bytes = (size_t)got - direct;
	return 1;
}

/* Reads and works off. */
static bool
read_once(struct connection *connection, struct desk *desk)
{
	struct iovec room = find_room(connection, desk);
	struct input input;
	bool arrives = connection->session.state == SESSION_VALUE, alive;
	size_t bytes;
	int came;

	if (!room.iov_len)
		return false;
	came = receive(connection, room, &bytes, &desk->counters);
	if (came <= 0)
		return came == 0;
	if (connection->kept_bytes) {
		connection->kept_bytes += bytes;
		input.at = connection->kept;
		input.end = input.at + connection->kept_bytes;
	} else {
		input.at = desk->input;
		input.end = input.at + bytes;
	}
	alive = work_off(connection, desk, input);
	connection->expects = arrives ||
			      connection->session.state == SESSION_VALUE;
	return alive;
}

/* Sends the backlog, and then works off what was kept because of it. */
static bool
go_on(struct connection *connection, struct desk *desk)
{
	struct input input;
	ssize_t sent;

	if (connection->backlog) {
		sent = backlog_send(&connection->backlog, connection->socket);
		if (sent < 0)
			return false;
		counters_add(&desk->counters.bytes_written, (uint64_t)sent);
	}
	if (connection->backlog || connection->hangs_up)
		return true;
	input.at = connection->kept;
	input.end = input.at + connection->kept_bytes;
	return work_off(connection, desk, input);
}

enum connection_wish
connection_serve(struct connection *connection, struct desk *desk)
{
	bool alive;

	connection->session.output = &desk->output;
	connection->session.counters = &desk->counters;
	connection->session.now = store_now();
	if (connection->backlog || connection->owes)
		alive = go_on(connection, desk);
	else
		alive = read_once(connection, desk);
	if (!alive || (connection->hangs_up && !connection->backlog))
		connection->wish = CONNECTION_END;
	else
		connection->wish = connection->backlog || connection->owes ?
					   CONNECTION_WRITE :
					   CONNECTION_READ;
	output_clear(&desk->output);
	return connection->wish;
}
