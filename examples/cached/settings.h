/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the command line says. There is no memory among it.
 *
 * Usage: settings_read(argc, argv) once; then `settings` is read by all.
 *
 * Caveats: only `verbose` changes later: settings_verbose().
 */
#ifndef EXAMPLES_CACHED_SETTINGS_H
#define EXAMPLES_CACHED_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

struct settings {
	const char *addresses; /* separated by commas */
	const char *port;
	const char *path; /* of a unix socket, instead; or NULL */
	unsigned path_mode;
	unsigned threads;
	unsigned connections_max;
	size_t item_bytes_max;
	unsigned verbose;
	bool say_help, say_version;
};
extern struct settings settings;

/* False: the message was printed. */
bool settings_read(int argc, char **argv);
void settings_print_help(void);

static inline unsigned
settings_verbose(void)
{
	return __atomic_load_n(&settings.verbose, __ATOMIC_RELAXED);
}

#endif
