/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Gives back the free parts of a Serial or Parallel heap, at gc:jvm-sweep.
 *
 * Usage: jvm_sweep_found() once a VM exists; jvm_sweep_begin(jvmti) before a
 * collection, jvm_sweep_end(jvmti) behind it.
 *
 * Caveats: one thread at a time. The sweep runs with the world stopped.
 */
#ifndef GC_BRIDGE_JVM_SWEEP_H
#define GC_BRIDGE_JVM_SWEEP_H

#include <stdbool.h>

#define JVM_SWEEP_WORD "jvm-sweep"

/* A JVMTI environment: a pointer to a pointer to its table. */
typedef void *const *const *jvm_interface;

void jvm_sweep_found(void);

/* Whether this VM's heap can be swept. */
bool jvm_sweep_can(void);

void jvm_sweep_begin(jvm_interface jvmti);
void jvm_sweep_end(jvm_interface jvmti);

#endif
