/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * process deepbind, dlopen and linked: libraries that bring a malloc of their
 * own into view, and libspillway.so beside the preload.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <spillway/spillway.h>

#include "tests/integration/process.h"

/*
 * The plugin looks its symbols up in itself and in the C library first, so
 * its malloc may be the C library's. `across` frees here what it allocated.
 */
void
process_deepbind(const char *plugin, bool across)
{
	void *handle = dlopen(plugin, RTLD_NOW | RTLD_DEEPBIND);
	char *(*make)(size_t);
	void (*release)(char *);

	if (!handle)
		fprintf(stderr, "%s\n", dlerror());
	process_check(handle != NULL, "dlopen");
	make = (char *(*)(size_t))dlsym(handle, "plugin_make");
	release = (void (*)(char *))dlsym(handle, "plugin_release");
	process_check(make && release, "dlsym");
	for (size_t i = 0; i < 20000; i++) {
		char *block = make(i % 5000 + 1);

		process_check(block && block[0] == 'p', "plugin_make");
		if (!across)
			release(block);
		else if (i % 2)
			free(block);
		else
			free(realloc(block, i % 7000 + 1));
	}
	process_work(32);
	process_check(!dlclose(handle), "dlclose");
}

static atomic_int asked;
static char *cached[256];

static size_t
shrink(size_t target, bool hard)
{
	size_t bytes = 0;

	(void)target;
	(void)hard;
	atomic_fetch_add(&asked, 1);
	for (int i = 0; i < 256; i++) {
		if (cached[i])
			bytes += 65536;
		free(cached[i]);
		cached[i] = NULL;
	}
	return bytes;
}

static void
use(void *(*osv_register)(const char *, size_t (*)(size_t, bool)),
    int (*reclaim)(uint64_t *, const struct spw_reclaim_options *))
{
	uint64_t bytes = 0;
	int error;

	for (int i = 0; i < 256; i++) {
		cached[i] = malloc(65536);
		process_check(cached[i] != NULL, "malloc");
		memset(cached[i], 'c', 65536);
	}
	process_check(osv_register("process", shrink) != NULL,
		      "osv_register_shrinker");
	error = reclaim(&bytes, NULL);
	errno = -error;
	process_check(!error, "spw_reclaim");
	process_check(atomic_load(&asked) > 0, "the shrinker was not asked");
	process_check(bytes > 0, "nothing was reclaimed");
	process_work(32);
}

void
process_dlopen(const char *library)
{
	void *handle = dlopen(library, RTLD_NOW);

	if (!handle)
		fprintf(stderr, "%s\n", dlerror());
	process_check(handle != NULL, "dlopen");
	use((void *(*)(const char *, size_t (*)(size_t, bool)))dlsym(
		    handle, "osv_register_shrinker"),
	    (int (*)(uint64_t *, const struct spw_reclaim_options *))dlsym(
		    handle, "spw_reclaim"));
}

/* Whatever the loader bound these names to: libspillway.so or the preload. */
void
process_linked(void)
{
	void *(*volatile osv_register)(const char *, size_t (*)(size_t, bool)) =
		(void *(*)(const char *, size_t (*)(size_t, bool)))dlsym(
			RTLD_DEFAULT, "osv_register_shrinker");
	int (*volatile reclaim)(uint64_t *,
				const struct spw_reclaim_options *) =
		(int (*)(uint64_t *, const struct spw_reclaim_options *))dlsym(
			RTLD_DEFAULT, "spw_reclaim");

	process_check(osv_register && reclaim,
		      "spillway is not in the process");
	use(osv_register, reclaim);
}
