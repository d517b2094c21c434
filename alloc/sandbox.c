/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs that lock themselves in: before a seccomp filter goes up, our
 * threads end and the heap is left to jemalloc's own decay, because a filter
 * may kill the process for a system call that it did not expect.
 *
 * prctl(2) and syscall(2) are passed on unchanged; they are the two ways by
 * which filters are installed (libseccomp uses both).
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <spillway/export.h>

#include "pressure/core.h"

/* The kernel's own way in, so that passing on never recurses. */
static long
kernel(long number, long a, long b, long c, long d, long e, long f)
{
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10),
			   "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	if (result < 0 && result > -4096) {
		errno = (int)-result;
		return -1;
	}
	return result;
}

SPW_EXPORT int
prctl(int option, ...)
{
	unsigned long a, b, c, d;
	va_list more;

	va_start(more, option);
	a = va_arg(more, unsigned long);
	b = va_arg(more, unsigned long);
	c = va_arg(more, unsigned long);
	d = va_arg(more, unsigned long);
	va_end(more);
	/* Without a program it is a question whether filters are known. */
	if (option == PR_SET_SECCOMP && (a != SECCOMP_MODE_FILTER || b))
		core_sandboxed();
	return (int)kernel(SYS_prctl, option, (long)a, (long)b, (long)c,
			   (long)d, 0);
}

SPW_EXPORT long
syscall(long number, ...)
{
	long a, b, c, d, e, f;
	va_list more;

	va_start(more, number);
	a = va_arg(more, long);
	b = va_arg(more, long);
	c = va_arg(more, long);
	d = va_arg(more, long);
	e = va_arg(more, long);
	f = va_arg(more, long);
	va_end(more);
	if (number == SYS_seccomp && ((a == SECCOMP_SET_MODE_FILTER && c) ||
				      a == SECCOMP_SET_MODE_STRICT))
		core_sandboxed();
	return kernel(number, a, b, c, d, e, f);
}
