/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * GC_init() and GC_pthread_create() as an unmodified program calls them.
 *
 * Only in libspillway-malloc.so: preloaded, these come before libgc's. They
 * pass on, and then arm the bridge on the thread that is known to be right
 * (boehm_arm.c): behind the first GC_init(), or where GC_pthread_create() has
 * made libgc lock anyway. A GC_init() that comes when libgc initialised
 * itself long ago and threads are about is too late; then nothing is armed.
 *
 * Where a process has no libgc nobody calls these.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include <spillway/export.h>

#include "base/log.h"
#include "base/settings.h"
#include "gc-bridge/boehm.h"
#include "gc-bridge/detect.h"
#include "gc-bridge/runtimes.h"
#include "gc-bridge/symbols.h"

void GC_init(void);
int GC_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
		      void *(*body)(void *), void *argument);

/* Threads, a link each beside the two that every folder has. */
static bool
has_threads(void)
{
	struct stat task;

	return stat("/proc/self/task", &task) != 0 || task.st_nlink > 3;
}

/* libgc's own, also where it was opened RTLD_LOCAL. */
static bool
find_next(const char *name, void *function)
{
	void *found = dlsym(RTLD_NEXT, name);

	if (!found)
		found = symbols_in("libgc.so", name);
	memcpy(function, &found, sizeof found);
	return found != NULL;
}

SPW_EXPORT void
GC_init(void)
{
	void (*next)(void);
	bool late;

	if (!find_next("GC_init", (void *)&next)) {
		log_write(SPW_LOG_ERROR, "GC_init: there is no libgc here");
		return;
	}
	settings_load();
	if (!detect_allows(&boehm_runtime) || settings()->off) {
		next();
		boehm_exclude();
		return;
	}
	late = boehm_find() && boehm()->is_init_called();
	boehm_arming(true);
	next();
	if (!late || !has_threads())
		boehm_arm();
	boehm_arming(false);
}

SPW_EXPORT int
GC_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
		  void *(*body)(void *), void *argument)
{
	int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *),
		    void *);
	int error;

	if (!find_next("GC_pthread_create", (void *)&next))
		return ENOSYS;
	error = next(thread, attributes, body, argument);
	if (error == 0)
		boehm_note_threads();
	return error;
}

/* No work: passes of this library look for runtimes by themselves. */
__attribute__((constructor)) static void
announce(void)
{
	detect_start();
}
