/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spillway-cached: a memcached-compatible server on a reclaimable cache.
 *
 * Reading order, each calling what follows: main, settings, server, listener,
 * connection, protocol, {retrieve, update, meta, meta_set, simple, stats},
 * change, store, {output, meta_flags, counters, words}. spillway is known in
 * store.c alone (and for its version and pressure in simple.c and stats.c).
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include <spillway/spillway.h>

#include "examples/cached/server.h"
#include "examples/cached/settings.h"
#include "examples/cached/store.h"

enum { ENDED, FAILED, MISUSED };

/* Before any thread is there: they inherit it. */
static void
block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int
main(int argc, char **argv)
{
	int error;

	if (!settings_read(argc, argv))
		return MISUSED;
	if (settings.say_help) {
		settings_print_help();
		return ENDED;
	}
	if (settings.say_version) {
		printf("spillway-cached %s\n", spw_version());
		return ENDED;
	}
	block_signals();
	error = store_open(settings.item_bytes_max);
	if (error) {
		fprintf(stderr, "spillway-cached: cannot make a cache: %s%s\n",
			spw_strerror(error),
			error == -ENOTSUP ? " (SPILLWAY_CONF says off)" : "");
		return FAILED;
	}
	if (!server_open()) {
		store_close();
		return FAILED;
	}
	server_run();
	server_close();
	store_close();
	return ENDED;
}
