/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Waiting for a 32-bit word to change, and waking who waits.
 *
 * Usage: read the word, decide, futex_wait(&word, what_you_read, timeout).
 *
 * Caveats: private to the process. Wake-ups may be spurious: look again.
 * futex_wake() is safe in signal handlers and hooks; both keep errno.
 */
#ifndef BASE_FUTEX_H
#define BASE_FUTEX_H

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define FUTEX_FOREVER UINT64_MAX

/*
 * Sleeps while *word == expected; timeout_ns is relative. Returns 0 (woken, or
 * the word had changed), -ETIMEDOUT or -EINTR.
 */
static inline int
futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
	struct timespec timeout = {
		.tv_sec = (time_t)(timeout_ns / CLOCK_S),
		.tv_nsec = (long)(timeout_ns % CLOCK_S),
	};
	int saved = errno;
	int error = 0;

	if (syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected,
		    timeout_ns == FUTEX_FOREVER ? NULL : &timeout, NULL, 0) < 0)
		error = errno == EAGAIN ? 0 : -errno;
	errno = saved;
	return error;
}

static inline void
futex_wake(_Atomic uint32_t *word, int waiters)
{
	int saved = errno;

	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, waiters, NULL, NULL, 0);
	errno = saved;
}

#define FUTEX_ALL INT_MAX

#endif
