/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The commands, by the files that have them.
 *
 * Usage: protocol.c's table calls them.
 *
 * Caveats: each writes at most one answer of OUTPUT_LINE bytes and a value.
 */
#ifndef EXAMPLES_CACHED_COMMANDS_H
#define EXAMPLES_CACHED_COMMANDS_H

#include "examples/cached/protocol.h"

/* The memcached whose answers ours are: clients go by it. */
#define COMMANDS_PROTOCOL "1.6.18"

/* retrieve.c: get, gets, gat, gats; any number of keys, so that they may stop
 * in the middle: SESSION_GETTING. line_end is where the words end. */
enum verdict retrieve_begin(struct session *session, struct input *input,
			    const char *line_end, const char *next);
enum verdict retrieve_run(struct session *session, struct input *input,
			  const char *line_end, const char *next);

/* update.c: what a value follows. The variant: an enum store_mode, or this. */
#define UPDATE_CAS 100u
protocol_command update_classic;
/* Stores what session->write says; the value is the next of the input. */
enum verdict update_begin(struct session *session, struct input *input);
/* More of a large value is there. */
enum verdict update_arrives(struct session *session, struct input *input);
/* Eats what follows a command that was refused. */
enum verdict update_swallow(struct session *session, size_t bytes);

/* meta.c, meta_set.c */
protocol_command meta_get;
protocol_command meta_set;
protocol_command meta_delete;
protocol_command meta_arithmetic;
protocol_command meta_nothing;
protocol_command meta_debug;
/* The answer to an ms. */
void meta_set_done(struct session *session, enum store_result result);

/* simple.c: what neither reads nor stores a value */
protocol_command simple_delete;
protocol_command simple_arithmetic; /* variant 1: down */
protocol_command simple_touch;
protocol_command simple_flush_all;
protocol_command simple_version;
protocol_command simple_verbosity;
protocol_command simple_quit;
protocol_command simple_shutdown;

/* stats.c */
protocol_command stats_command;

#endif
