/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which of two spillways in the process works.
 *
 * The interposer exports spw_interposer; libspillway.so looks for it when it
 * is loaded. Found by dlsym(3) in the global scope, where a preloaded or
 * linked interposer always is. No lock: written by a constructor.
 */
#include "base/elsewhere.h"

#include <dlfcn.h>
#include <string.h>

bool elsewhere_is;

void
elsewhere_look(void)
{
	elsewhere_is = dlsym(RTLD_DEFAULT, "spw_interposer") != NULL;
}

void
elsewhere_find(const char *name, void *function)
{
	void *found = dlsym(RTLD_DEFAULT, name);

	base_assert(found != NULL);
	memcpy(function, &found, sizeof found);
}
