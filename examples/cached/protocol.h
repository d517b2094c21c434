/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * memcached's text protocol, classic and meta.
 *
 * Usage: protocol_run() whenever input has arrived or output was sent;
 * protocol_end() when the client has gone.
 *
 * Caveats: as session.h. Input that was not eaten is to be shown again, with
 * more behind it.
 */
#ifndef EXAMPLES_CACHED_PROTOCOL_H
#define EXAMPLES_CACHED_PROTOCOL_H

#include "examples/cached/session.h"

/* What a command does with its words; input is behind its line. For
 * VERDICT_MORE the line is seen again. */
typedef enum verdict protocol_command(struct session *session,
				      const struct words *words,
				      struct input *input, unsigned variant);

/* Any but VERDICT_NEXT. */
enum verdict protocol_run(struct session *session, struct input *input);
void protocol_end(struct session *session);

#endif
