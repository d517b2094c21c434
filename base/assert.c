/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of a process whose invariant is broken.
 *
 * Called by base_assert() alone; calls write(2) and abort(3). Allocates
 * nothing, takes no lock.
 */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
assert_failed(const char *expression, const char *file, int line,
	      const char *function)
{
	char text[256];
	int n = snprintf(text, sizeof text,
			 "spillway: broken invariant: %s (%s:%d, %s)\n",
			 expression, file, line, function);
	if (n > (int)sizeof text - 1)
		n = (int)sizeof text - 1;
	if (n > 0 && write(2, text, (size_t)n) < 0)
		abort();
	abort();
}
