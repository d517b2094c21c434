/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gc.h's face: registering, attaching, numbers.
 *
 * Called by programs; calls bridge.c and detect.c. No state of its own.
 */
#include <spillway/gc.h>

#include <errno.h>
#include <string.h>

#include "base/elsewhere.h"
#include "base/log.h"
#include "base/settings.h"
#include "gc-bridge/describe.h"
#include "gc-bridge/detect.h"
#include "pressure/core.h"

static int
refuse(const char *name, const char *why)
{
	log_write(SPW_LOG_ERROR, "gc %s: %s", name ? name : "(no name)", why);
	return -EINVAL;
}

static int
check_options(const struct spw_gc_options *o)
{
	if (!o)
		return refuse(NULL, "options are NULL");
	if (o->size != sizeof *o)
		return refuse(NULL, "options.size is not sizeof(struct "
				    "spw_gc_options)");
	if (!o->name || !o->name[0] ||
	    strnlen(o->name, BRIDGE_NAME_BYTES) >= BRIDGE_NAME_BYTES)
		return refuse(o->name, "a name of 1 to 63 bytes is needed");
	if (!o->collect)
		return refuse(o->name, "options.collect is NULL");
	if (bridge_has(o->name))
		return refuse(o->name, "a collector of that name is there");
	return 0;
}

/* Whether collectors are asked in this process at all. */
static int
start(void)
{
	int error = core_start();

	if (error == -ENOTSUP || !detect_allows(NULL) ||
	    settings()->threads == SETTINGS_THREADS_NEVER)
		return -ENOTSUP;
	describe_start();
	return 0;
}

SPW_EXPORT int
spw_gc_register(struct spw_gc **out, const struct spw_gc_options *options)
{
	int error;

	ELSEWHERE(spw_gc_register, out, options);
	if (!out)
		return refuse(NULL, "nowhere to put the handle");
	*out = NULL;
	error = check_options(options);
	if (!error)
		error = start();
	if (!error)
		error = bridge_add(out, options, NULL);
	if (error)
		return error == -EEXIST ? -EINVAL : error;
	if (options->tune)
		options->tune(bridge_headroom(), options->context);
	return 0;
}

SPW_EXPORT int
spw_gc_unregister(struct spw_gc *gc)
{
	ELSEWHERE(spw_gc_unregister, gc);
	return gc ? bridge_remove(gc) : 0;
}

SPW_EXPORT int
spw_gc_attach(const char *runtime)
{
	int error;

	ELSEWHERE(spw_gc_attach, runtime);
	if (!runtime)
		return refuse(NULL, "spw_gc_attach wants a name or \"auto\"");
	error = start();
	if (error)
		return error;
	if (strcmp(runtime, "auto") != 0)
		return detect_attach(runtime);
	detect_auto();
	return 0;
}

SPW_EXPORT int
spw_gc_stats(const char *name, struct spw_gc_stats *stats)
{
	ELSEWHERE(spw_gc_stats, name, stats);
	if (!name || !stats || stats->size != sizeof *stats)
		return -EINVAL;
	return bridge_stats(name, stats);
}
