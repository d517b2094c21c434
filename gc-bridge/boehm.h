/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Boehm's collector (libgc), reached by the symbols that the process has.
 *
 * Usage: boehm() gives the table once boehm_find() found it.
 *
 * Caveats: a function of the table may be NULL only where said so.
 */
#ifndef GC_BRIDGE_BOEHM_H
#define GC_BRIDGE_BOEHM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* gc.h's GC_stack_base, with room for what other machines add. */
struct boehm_stack {
	void *words[4];
};

typedef uintptr_t boehm_word;

struct boehm {
	unsigned version; /* 0x080202: 8.2.2 */
	unsigned (*get_version)(void);
	int (*is_init_called)(void);
	int (*is_disabled)(void);
	void (*allow_register_threads)(void);
	int (*get_stack_base)(struct boehm_stack *base);
	int (*register_my_thread)(const struct boehm_stack *base);
	int (*unregister_my_thread)(void);
	int (*thread_is_registered)(void);
	void (*gcollect)(void);
	void (*gcollect_and_unmap)(void);
	int (*get_finalize_on_demand)(void);
	void (*set_finalize_on_demand)(int value);
	void *(*call_with_alloc_lock)(void *(*function)(void *), void *data);
	int (*is_heap_ptr)(const void *pointer);
	void *(*base)(void *pointer);
	size_t (*size)(const void *pointer);
	size_t (*get_heap_size)(void);
	size_t (*get_free_bytes)(void);
	int (*get_suspend_signal)(void);
	int (*get_thr_restart_signal)(void);
	/* May be NULL: */
	void (*exclude_static_roots)(void *start, void *end);
	boehm_word (*get_free_space_divisor)(void);
	void (*set_free_space_divisor)(boehm_word divisor);
	size_t (*get_min_bytes_allocd)(void);
	void (*set_min_bytes_allocd)(size_t bytes);
	void (*(*get_on_heap_resize)(void))(boehm_word bytes);
	void (*set_on_heap_resize)(void (*function)(boehm_word bytes));
	void (*(*get_push_other_roots)(void))(void);
	void (*set_push_other_roots)(void (*function)(void));
	void (*push_all_eager)(void *bottom, void *top);
	void *(*malloc_uncollectable)(size_t bytes);
	void (*free)(void *pointer);
	int (*general_register_disappearing_link)(void **link,
						  const void *object);
	int (*unregister_disappearing_link)(void **link);
	int *parallel; /* marker threads there are */
	void **least_heap_addr, **greatest_heap_addr;
};

/* Looks it up: false where there is none, or too old a one. */
bool boehm_find(void);
/* What was found. */
const struct boehm *boehm(void);

/* Versions whose free blocks we know how to find. */
bool boehm_can_sweep(void);

/*
 * On a thread of the program's, after GC_init() and before any concurrency:
 * threads may register from now on; our data are no roots; the heap's growth
 * is seen. Idempotent.
 */
void boehm_arm(void);
/* Around GC_init(): until it is armed nobody judges whether it is. */
void boehm_arming(bool begins);
bool boehm_is_arming(void);
/* Our writable data are no roots: part of arming, and worth it alone. */
void boehm_exclude(void);
/* The program's own threads are known to the collector already. */
void boehm_note_threads(void);
bool boehm_is_armed(void);

/* A heap as large as the headroom allows: see boehm_arm.c. */
void boehm_tune(uint64_t headroom_bytes);

/* What the calling thread has just mapped, where boehm_grows: the program's
 * libgc tells of its growth. Any size; fit for a hook. */
extern _Atomic bool boehm_grows;
void boehm_mapped(void *address, size_t bytes);

/* Returns the pages of free blocks; on a registered thread. */
void boehm_sweep(void);

/* Before a collection for want of memory, and after: cold soft references. */
void boehm_soft_weaken(bool all);
void boehm_soft_strengthen(void);

#endif
