/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How spillway's public functions are marked and how their errors read.
 *
 * Usage: included by every public header; programs need not include it.
 *
 * Every fallible function returns 0 or a negative errno value, which
 * spw_strerror() puts into words; objects come out through the first
 * parameter. Options structs begin with a `size` member: set it to the size
 * of the struct, and leave members that you do not need zero.
 */
#ifndef SPILLWAY_EXPORT_H
#define SPILLWAY_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define SPW_BEGIN_DECLS extern "C" {
#define SPW_END_DECLS }
#else
#define SPW_BEGIN_DECLS
#define SPW_END_DECLS
#endif

/* Put before the definition (not the declaration) of what is exported. */
#define SPW_EXPORT __attribute__((visibility("default")))

#endif
