/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C++'s operators new and delete, without libstdc++.
 *
 * The common case is malloc and free with no step in between, and sized
 * delete tells jemalloc the size. When memory is out, the C++ library's own
 * operator (the next in the process) is called: it knows new handlers and how
 * to throw. Compiled with -fexceptions, so that the exception passes.
 *
 * No lock, no state.
 */
#include <dlfcn.h>
#include <jemalloc/jemalloc.h>
#include <stdlib.h>
#include <string.h>

#include <spillway/export.h>

#include "alloc/arena_body.h"

/* Itanium C++ ABI names. */
#define NEW(name) __asm__(name) SPW_EXPORT

void *operator_new(size_t bytes) NEW("_Znwm");
void *operator_new_array(size_t bytes) NEW("_Znam");
void *operator_new_nothrow(size_t bytes, const void *tag)
	NEW("_ZnwmRKSt9nothrow_t");
void *operator_new_array_nothrow(size_t bytes, const void *tag)
	NEW("_ZnamRKSt9nothrow_t");
void *operator_new_aligned(size_t bytes, size_t alignment)
	NEW("_ZnwmSt11align_val_t");
void *operator_new_array_aligned(size_t bytes, size_t alignment)
	NEW("_ZnamSt11align_val_t");
void *operator_new_aligned_nothrow(size_t bytes, size_t alignment,
				   const void *tag)
	NEW("_ZnwmSt11align_val_tRKSt9nothrow_t");
void *operator_new_array_aligned_nothrow(size_t bytes, size_t alignment,
					 const void *tag)
	NEW("_ZnamSt11align_val_tRKSt9nothrow_t");
void operator_delete(void *pointer) NEW("_ZdlPv");
void operator_delete_array(void *pointer) NEW("_ZdaPv");
void operator_delete_nothrow(void *pointer, const void *tag)
	NEW("_ZdlPvRKSt9nothrow_t");
void operator_delete_array_nothrow(void *pointer, const void *tag)
	NEW("_ZdaPvRKSt9nothrow_t");
void operator_delete_sized(void *pointer, size_t bytes) NEW("_ZdlPvm");
void operator_delete_array_sized(void *pointer, size_t bytes) NEW("_ZdaPvm");
void operator_delete_aligned(void *pointer, size_t alignment)
	NEW("_ZdlPvSt11align_val_t");
void operator_delete_array_aligned(void *pointer, size_t alignment)
	NEW("_ZdaPvSt11align_val_t");
void operator_delete_aligned_nothrow(void *pointer, size_t alignment,
				     const void *tag)
	NEW("_ZdlPvSt11align_val_tRKSt9nothrow_t");
void operator_delete_array_aligned_nothrow(void *pointer, size_t alignment,
					   const void *tag)
	NEW("_ZdaPvSt11align_val_tRKSt9nothrow_t");
void operator_delete_sized_aligned(void *pointer, size_t bytes,
				   size_t alignment)
	NEW("_ZdlPvmSt11align_val_t");
void operator_delete_array_sized_aligned(void *pointer, size_t bytes,
					 size_t alignment)
	NEW("_ZdaPvmSt11align_val_t");

static void *
next_operator(const char *name)
{
	void *found = dlsym(RTLD_NEXT, name);

	if (!found)
		abort(); /* as C++ does where nothing can be thrown */
	return found;
}

/* Memory is out: the C++ library tries its handler, and throws. */
static __attribute__((cold, noinline)) void *
out_of_memory(const char *name, size_t bytes)
{
	void *found = next_operator(name);
	void *(*operator)(size_t);

	memcpy(&operator, & found, sizeof operator);
	return operator(bytes);
}

static __attribute__((cold, noinline)) void *
out_of_aligned_memory(const char *name, size_t bytes, size_t alignment)
{
	void *found = next_operator(name);
	void *(*operator)(size_t, size_t);

	memcpy(&operator, & found, sizeof operator);
	return operator(bytes, alignment);
}

void *
operator_new(size_t bytes)
{
	void *pointer = malloc(bytes);

	return base_likely(pointer) ? pointer : out_of_memory("_Znwm", bytes);
}

void *
operator_new_array(size_t bytes)
{
	void *pointer = malloc(bytes);

	return base_likely(pointer) ? pointer : out_of_memory("_Znam", bytes);
}

void *
operator_new_nothrow(size_t bytes, const void *tag)
{
	(void)tag;
	return malloc(bytes);
}

void *
operator_new_array_nothrow(size_t bytes, const void *tag)
{
	(void)tag;
	return malloc(bytes);
}

static void *
aligned(size_t bytes, size_t alignment)
{
	void *pointer;

	if (alignment < sizeof(void *))
		alignment = sizeof(void *);
	return posix_memalign(&pointer, alignment, bytes) == 0 ? pointer : NULL;
}

void *
operator_new_aligned(size_t bytes, size_t alignment)
{
	void *pointer = aligned(bytes, alignment);

	return pointer ? pointer :
			 out_of_aligned_memory("_ZnwmSt11align_val_t", bytes,
					       alignment);
}

void *
operator_new_array_aligned(size_t bytes, size_t alignment)
{
	void *pointer = aligned(bytes, alignment);

	return pointer ? pointer :
			 out_of_aligned_memory("_ZnamSt11align_val_t", bytes,
					       alignment);
}

void *
operator_new_aligned_nothrow(size_t bytes, size_t alignment, const void *tag)
{
	(void)tag;
	return aligned(bytes, alignment);
}

void *
operator_new_array_aligned_nothrow(size_t bytes, size_t alignment,
				   const void *tag)
{
	(void)tag;
	return aligned(bytes, alignment);
}

void
operator_delete(void *pointer)
{
	free(pointer);
}

void
operator_delete_array(void *pointer)
{
	free(pointer);
}

void
operator_delete_nothrow(void *pointer, const void *tag)
{
	(void)tag;
	free(pointer);
}

void
operator_delete_array_nothrow(void *pointer, const void *tag)
{
	(void)tag;
	free(pointer);
}

void
operator_delete_sized(void *pointer, size_t bytes)
{
	if (base_likely(pointer))
		sdallocx(pointer, bytes ? bytes : 1, 0);
}

void
operator_delete_array_sized(void *pointer, size_t bytes)
{
	operator_delete_sized(pointer, bytes);
}

void
operator_delete_aligned(void *pointer, size_t alignment)
{
	(void)alignment;
	free(pointer);
}

void
operator_delete_array_aligned(void *pointer, size_t alignment)
{
	(void)alignment;
	free(pointer);
}

void
operator_delete_aligned_nothrow(void *pointer, size_t alignment,
				const void *tag)
{
	(void)alignment;
	(void)tag;
	free(pointer);
}

void
operator_delete_array_aligned_nothrow(void *pointer, size_t alignment,
				      const void *tag)
{
	(void)alignment;
	(void)tag;
	free(pointer);
}

void
operator_delete_sized_aligned(void *pointer, size_t bytes, size_t alignment)
{
	(void)bytes;
	(void)alignment;
	free(pointer);
}

void
operator_delete_array_sized_aligned(void *pointer, size_t bytes,
				    size_t alignment)
{
	(void)bytes;
	(void)alignment;
	free(pointer);
}
