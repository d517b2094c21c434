/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a HotSpot VM says of its own insides: the table that it exports for
 * debuggers and profilers.
 *
 * Usage: jvm_structs_load() once a VM exists, then the others.
 *
 * Caveats: read from one thread at a time. What a name means is the VM's
 * affair: check what is read.
 */
#ifndef GC_BRIDGE_JVM_STRUCTS_H
#define GC_BRIDGE_JVM_STRUCTS_H

#include <stdbool.h>
#include <stddef.h>

/* False: this VM has no such table, or not in a form that we know. */
bool jvm_structs_load(void);

/* Where a static member lies; NULL: there is none. Borrowed for ever. */
void *jvm_structs_static(const char *type, const char *field);

/* A member's offset in its object; -1: there is none. */
ptrdiff_t jvm_structs_offset(const char *type, const char *field);

/* Where the value of a flag (-XX:name) lies; NULL: there is none. */
void *jvm_structs_flag(const char *name);

#endif
