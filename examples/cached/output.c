/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Collects answers, sends them, and keeps what a slow reader leaves.
 *
 * Called by the commands (text, values) and by connections (send); calls the
 * store to release values. An output is large and belongs to a worker; most
 * connections have nothing beside it. Only where a socket is full, what is
 * left moves into a backlog of the connection's own: the text is copied, held
 * values stay held. A connection with a backlog is not read from, so it is
 * bounded by what one output holds.
 */
#include "examples/cached/output.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

struct backlog {
	unsigned first, vectors, holds;
	struct iovec vector[OUTPUT_VECTORS];
	struct store_hold hold[OUTPUT_HOLDS];
	char text[];
};

bool
output_room(const struct output *output)
{
	return output->text_bytes + OUTPUT_LINE + OUTPUT_COPY_MAX <=
		       OUTPUT_TEXT &&
	       output->vectors + 2 < OUTPUT_VECTORS &&
	       output->holds < OUTPUT_HOLDS &&
	       output->held_bytes < OUTPUT_HELD_BYTES;
}

void
output_advance(struct output *output, size_t bytes)
{
	struct iovec *last;

	if (!bytes)
		return;
	if (!output->vectors || output->broken) {
		output->vector[output->vectors++] = (struct iovec){
			output_at(output), 0
		};
		output->broken = false;
	}
	last = &output->vector[output->vectors - 1];
	last->iov_len += bytes;
	output->text_bytes += bytes;
}

void
output_text(struct output *output, const char *text, size_t bytes)
{
	memcpy(output_at(output), text, bytes);
	output_advance(output, bytes);
}

void
output_value(struct output *output, struct store_hold *hold)
{
	if (hold->value_bytes <= OUTPUT_COPY_MAX) {
		output_text(output, store_value(hold->item), hold->value_bytes);
		store_release(hold);
		return;
	}
	output->vector[output->vectors++] = (struct iovec){
		(void *)store_value(hold->item), hold->value_bytes
	};
	output->broken = true;
	output->held_bytes += hold->value_bytes;
	output->hold[output->holds++] = *hold;
}

static void
forget(struct output *output)
{
	output->vectors = output->holds = 0;
	output->text_bytes = output->held_bytes = 0;
	output->broken = false;
}

void
output_clear(struct output *output)
{
	for (unsigned i = 0; i < output->holds; i++)
		store_release(&output->hold[i]);
	forget(output);
}

/* One system call; a single vector is a little cheaper by itself. */
static ssize_t
send_once(int socket, struct iovec *vector, unsigned count)
{
	struct msghdr message = { .msg_iov = vector, .msg_iovlen = count };

	if (count == 1)
		return send(socket, vector->iov_base, vector->iov_len,
			    MSG_NOSIGNAL);
	return sendmsg(socket, &message, MSG_NOSIGNAL);
}

/*
 * Sends vectors from *first on, which moves to the first that is not all sent;
 * that one then begins with what is left. Bytes, or -errno.
 */
static ssize_t
send_vectors(int socket, struct iovec *vector, unsigned *first, unsigned end)
{
	ssize_t total = 0;

	while (*first < end) {
		ssize_t sent = send_once(socket, &vector[*first], end - *first);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN ? total : -errno;
		total += sent;
		while (*first < end && (size_t)sent >= vector[*first].iov_len)
			sent -= (ssize_t)vector[(*first)++].iov_len;
		if (*first < end) {
			struct iovec *left = &vector[*first];

			left->iov_base = (char *)left->iov_base + sent;
			left->iov_len -= (size_t)sent;
		}
	}
	return total;
}

static bool
is_text(const struct output *output, const struct iovec *vector)
{
	const char *at = vector->iov_base;

	return at >= output->text && at < output->text + OUTPUT_TEXT;
}

/* Moves what is left into a backlog. -ENOMEM */
static int
keep(struct output *output, unsigned first, struct backlog **backlog)
{
	size_t text_bytes = 0;
	struct backlog *kept;

	for (unsigned i = first; i < output->vectors; i++)
		if (is_text(output, &output->vector[i]))
			text_bytes += output->vector[i].iov_len;
	kept = malloc(sizeof *kept + text_bytes);
	if (!kept)
		return -ENOMEM;
	kept->first = 0;
	kept->vectors = output->vectors - first;
	kept->holds = output->holds;
	memcpy(kept->hold, output->hold, output->holds * sizeof kept->hold[0]);
	text_bytes = 0;
	for (unsigned i = 0; i < kept->vectors; i++) {
		struct iovec vector = output->vector[first + i];

		if (is_text(output, &vector)) {
			memcpy(kept->text + text_bytes, vector.iov_base,
			       vector.iov_len);
			vector.iov_base = kept->text + text_bytes;
			text_bytes += vector.iov_len;
		}
		kept->vector[i] = vector;
	}
	forget(output);
	*backlog = kept;
	return 0;
}

ssize_t
output_send(struct output *output, int socket, struct backlog **backlog)
{
	unsigned first = 0;
	ssize_t sent;
	int error = 0;

	*backlog = NULL;
	sent = send_vectors(socket, output->vector, &first, output->vectors);
	if (sent >= 0 && first < output->vectors)
		error = keep(output, first, backlog);
	output_clear(output);
	return error ? error : sent;
}

ssize_t
backlog_send(struct backlog **backlog, int socket)
{
	struct backlog *kept = *backlog;
	ssize_t sent = send_vectors(socket, kept->vector, &kept->first,
				    kept->vectors);

	if (sent >= 0 && kept->first == kept->vectors)
		backlog_free(backlog);
	return sent;
}

void
backlog_free(struct backlog **backlog)
{
	if (!*backlog)
		return;
	for (unsigned i = 0; i < (*backlog)->holds; i++)
		store_release(&(*backlog)->hold[i]);
	free(*backlog);
	*backlog = NULL;
}
