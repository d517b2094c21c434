/* SPDX-License-Identifier: BSD-2-Clause */
/* A shared object that process.c opens with RTLD_DEEPBIND. */
#include <stdlib.h>
#include <string.h>

#include <spillway/export.h>

char *plugin_make(size_t bytes);
void plugin_release(char *block);

SPW_EXPORT char *
plugin_make(size_t bytes)
{
	char *block = malloc(bytes);

	if (block)
		memset(block, 'p', bytes);
	return block;
}

SPW_EXPORT void
plugin_release(char *block)
{
	free(block);
}
