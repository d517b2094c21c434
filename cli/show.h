/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pressure and sources as text, from the JSON of describe.h.
 *
 * Usage: show_pressure(reply), show_sources(reply).
 *
 * Caveats: write to standard output.
 */
#ifndef CLI_SHOW_H
#define CLI_SHOW_H

#include <stdint.h>

/* "name         words": one line of a block. */
void show_line(const char *name, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Bytes in words, in one of a few static buffers; UINT64_MAX: "none". */
const char *show_bytes(uint64_t bytes);
const char *show_ns(uint64_t ns);

/* A number of the reply, or UINT64_MAX where it is null or missing. */
uint64_t show_number(const char *reply, const char *path);

void show_pressure(const char *reply);
void show_sources(const char *reply);

#endif
