/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How large a JVM's heap wants to be: the flags that say it.
 *
 * Usage: jvm_heap_found() once a VM exists; the others around a collection.
 *
 * Caveats: one thread at a time; nothing of it blocks.
 */
#ifndef GC_BRIDGE_JVM_HEAP_H
#define GC_BRIDGE_JVM_HEAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Looks for the flags; without them the others do nothing. */
void jvm_heap_found(void);

/* Begins: as small a heap as may be is wanted. Ends: the ratios are as they
 * were, and the heap grows no more than it must for a while. */
void jvm_heap_collecting(bool begins);

/* The while may be over. */
void jvm_heap_tune(uint64_t headroom_bytes);

/* Nanoseconds until jvm_heap_tune() has something to do; 0: nothing. */
uint64_t jvm_heap_again(void);

/* A VM was found that takes memory while it collects, the program running. */
extern _Atomic bool jvm_heap_copies_beside;

/* Whether the calling thread is the VM's own, none of Java's. Anywhere. */
bool jvm_is_collector(void);

/* Whether one collection does not shrink the heap as far as it may. */
bool jvm_heap_shrinks_in_steps(void);

/* Whether only a collection that the program asks for shrinks the heap. */
bool jvm_heap_shrinks_for_program(void);

/* Whether memory goes back some time after the collection. */
bool jvm_heap_gives_late(void);

#endif
