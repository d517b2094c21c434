/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Registers Go's collector with spillway: the half in C, since spillway calls
 * functions of C.
 *
 * attach.go:Attach -> spillway_go_register; spillway -> collect, tune on a
 * thread of its own, which the Go runtime lends a context for the call.
 */
#include <stdint.h>

#include <spillway/gc.h>
#include <spillway/pressure.h>
#include <spillway/spillway.h>

/* In attach.go. */
uint64_t spillwayGoCollect(void);
void spillwayGoTune(uint64_t headroom_bytes);

const char *spillway_go_register(void);
uint64_t spillway_go_headroom(void);

static size_t
collect(enum spw_level level, uint64_t deadline_ns, void *context)
{
	(void)level;
	(void)deadline_ns;
	(void)context;
	return (size_t)spillwayGoCollect();
}

static void
tune(uint64_t headroom_bytes, void *context)
{
	(void)context;
	spillwayGoTune(headroom_bytes);
}

const char *
spillway_go_register(void)
{
	struct spw_gc_options options = {
		.size = sizeof options,
		.name = "go",
		.collect = collect,
		.tune = tune,
	};
	struct spw_gc *gc;
	int error = spw_gc_register(&gc, &options);

	return error ? spw_strerror(error) : NULL;
}

/* Bytes; UINT64_MAX: no limit is known. */
uint64_t
spillway_go_headroom(void)
{
	struct spw_pressure now = { .size = sizeof now };

	return spw_pressure_read(&now) == 0 ? now.headroom_bytes : UINT64_MAX;
}
