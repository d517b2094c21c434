/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fills a cache and goes on looking keys up: what cache.t takes memory from.
 *
 * Usage: filler MIB. Prints full=MiB once MIB were put (less where the limit
 * came first); on SIGTERM what it has left and its hit ratio, then ends.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <spillway/cache.h>
#include <spillway/spillway.h>

#define VALUE_BYTES 1000u
#define LOOKS 64u

static volatile sig_atomic_t told;

static void
on_term(int signal_number)
{
	(void)signal_number;
	told = 1;
}

static void
say(const char *what, struct spw_cache *cache)
{
	struct spw_cache_stats stats = { .size = sizeof stats };

	if (spw_cache_stats(cache, &stats) != 0)
		exit(1);
	printf("%s=%llu\nentries=%llu\n", what,
	       (unsigned long long)(stats.segment_bytes + stats.index_bytes) >>
		       20,
	       (unsigned long long)stats.entries);
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	struct spw_cache_options options = { .size = sizeof options,
					     .name = "filler" };
	static char value[VALUE_BYTES];
	struct spw_cache *cache;
	unsigned count, key = 0, wrong = 0;
	int error;

	if (argc != 2 || (count = (unsigned)atoi(argv[1]) << 10) == 0) {
		fputs("usage: filler MIB\n", stderr);
		return 2;
	}
	signal(SIGTERM, on_term);
	error = spw_cache_create(&cache, &options);
	if (error) {
		fprintf(stderr, "spw_cache_create: %s\n", spw_strerror(error));
		return 1;
	}
	for (unsigned i = 0; i < count; i++) {
		*(unsigned *)(void *)value = i;
		spw_cache_put(cache, &i, sizeof i, value, sizeof value, NULL);
	}
	say("full", cache);
	while (!told) {
		for (unsigned i = 0; i < LOOKS; i++) {
			const unsigned *found;

			key = (key * 1103515245u + 12345u) % count;
			spw_read_lock();
			found = spw_cache_peek(cache, &key, sizeof key, NULL);
			wrong += found && *found != key;
			spw_read_unlock();
		}
		usleep(1000);
	}
	say("left", cache);
	printf("wrong=%u\n", wrong);
	return 0;
}
