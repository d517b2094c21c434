/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes against the parser of the control socket's requests.
 *
 * A request that is taken must be one the protocol knows, with a target; one
 * that is not taken must say why, in words that end.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pressure/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control_request request;
	/* A copy of exactly that size, so that ASan sees one byte too far. */
	char *text = malloc(size ? size : 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	control_parse(text, size, &request);
	free(text);
	if (request.verb > CONTROL_PING ||
	    !memchr(request.why, '\0', sizeof request.why) ||
	    (request.verb == CONTROL_BAD) != (request.why[0] != '\0'))
		abort();
	if (request.verb == CONTROL_RECLAIM && !request.reclaim.target_bytes)
		abort();
	return 0;
}
