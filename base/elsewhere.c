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
	void *handle = NULL, *found;
	Dl_info info;

	/*
	 * In the interposer itself: where libspillway.so comes first in the
	 * global scope, this name there is the very function that asks.
	 */
	if (dladdr(dlsym(RTLD_DEFAULT, "spw_interposer"), &info))
		handle = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
	found = dlsym(handle ? handle : RTLD_DEFAULT, name);
	base_assert(found != NULL);
	memcpy(function, &found, sizeof found);
}
