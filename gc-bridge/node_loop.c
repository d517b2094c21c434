/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * epoll_wait(2) and epoll_pwait(2) as libuv calls them: the place where a
 * thread of JavaScript stands outside of it, with its isolate entered.
 *
 * Only in libspillway-malloc.so. Passes on; one relaxed load before, until
 * the bridge to Node is there (node.c), and then node_isolate_pass().
 */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>

#include <spillway/export.h>

#include "gc-bridge/node.h"

typedef int wait_function(int fd, struct epoll_event *events, int events_max,
			  int timeout_ms);
typedef int pwait_function(int fd, struct epoll_event *events, int events_max,
			   int timeout_ms, const sigset_t *mask);

static _Atomic(void *) next_wait, next_pwait;

/* The C library's; what it is may be found twice. */
static void *
next_of(_Atomic(void *) *next, const char *name)
{
	void *found = atomic_load_explicit(next, memory_order_relaxed);

	if (!found) {
		found = dlsym(RTLD_NEXT, name);
		atomic_store_explicit(next, found, memory_order_relaxed);
	}
	return found;
}

static inline void
pass(int epoll_fd)
{
	if (atomic_load_explicit(&node_watch, memory_order_relaxed))
		node_isolate_pass(epoll_fd);
}

SPW_EXPORT int
epoll_wait(int fd, struct epoll_event *events, int events_max, int timeout_ms)
{
	void *found = next_of(&next_wait, "epoll_wait");
	wait_function *next;

	pass(fd);
	memcpy(&next, &found, sizeof next);
	if (next)
		return next(fd, events, events_max, timeout_ms);
	errno = ENOSYS;
	return -1;
}

SPW_EXPORT int
epoll_pwait(int fd, struct epoll_event *events, int events_max, int timeout_ms,
	    const sigset_t *mask)
{
	void *found = next_of(&next_pwait, "epoll_pwait");
	pwait_function *next;

	pass(fd);
	memcpy(&next, &found, sizeof next);
	if (next)
		return next(fd, events, events_max, timeout_ms, mask);
	errno = ENOSYS;
	return -1;
}

__attribute__((constructor)) static void
announce(void)
{
	node_loops_seen = true;
}
