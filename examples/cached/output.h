/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Answers: text and large values in the order in which they are to be sent,
 * with one system call for as many as fit.
 *
 * Usage: output_room() before each answer; output_text(), output_value();
 * output_send(). What the peer does not take at once becomes a backlog.
 *
 * Caveats: one output serves one connection at a time, one thread always.
 * A large value is not copied: it stays held in the store until it was sent.
 */
#ifndef EXAMPLES_CACHED_OUTPUT_H
#define EXAMPLES_CACHED_OUTPUT_H

#include <sys/uio.h>

#include "examples/cached/store.h"

/* Values up to this are copied into the text. */
#define OUTPUT_COPY_MAX ((size_t)16 << 10)
#define OUTPUT_TEXT ((size_t)96 << 10)
#define OUTPUT_VECTORS 64
#define OUTPUT_HOLDS 16
/* Of values that are held for one connection, unless one is larger. */
#define OUTPUT_HELD_BYTES ((size_t)1 << 20)
/* What is left of the text for one answer, its value aside. */
#define OUTPUT_LINE 1024

struct output {
	struct iovec vector[OUTPUT_VECTORS];
	struct store_hold hold[OUTPUT_HOLDS];
	unsigned vectors, holds;
	size_t text_bytes, held_bytes;
	bool broken; /* the last vector is no text */
	char text[OUTPUT_TEXT];
};

/* What could not be sent yet; from malloc. */
struct backlog;

/* Whether one more answer fits, with one value. */
bool output_room(const struct output *output);

/* Where the next text goes, OUTPUT_LINE and OUTPUT_COPY_MAX bytes at least;
 * output_advance() says how much was written. */
static inline char *
output_at(struct output *output)
{
	return output->text + output->text_bytes;
}
void output_advance(struct output *output, size_t bytes);
void output_text(struct output *output, const char *text, size_t bytes);

/* Takes the hold over. The value is sent from where it is, or copied. */
void output_value(struct output *output, struct store_hold *hold);

/*
 * Sends all and leaves the output empty. What the socket does not take goes
 * to *backlog (NULL: all was sent). Returns the bytes that were sent, or
 * -errno: the connection is lost.
 */
ssize_t output_send(struct output *output, int socket,
		    struct backlog **backlog);
/* Drops everything. */
void output_clear(struct output *output);

/* The same; frees it and sets it to NULL when all is sent. */
ssize_t backlog_send(struct backlog **backlog, int socket);
void backlog_free(struct backlog **backlog);

#endif
