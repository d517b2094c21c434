/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A sweep of the free parts of a Serial or Parallel heap.
 *
 *	jvm.c:force -> jvm_sweep_begin -> ForceGarbageCollection
 *	  -> the VM's thread, world stopped: swept() -> sweep() -> madvise
 *
 * Parallel never gives memory back when asked, and nobody does below -Xms.
 * Their spaces are [bottom, top) in use and [top, end) free; where those three
 * lie is in the VM's own table (jvm_structs.c). JDK 17 and 25 were tested:
 * -Xms1000m, 37 MiB live. It is not in gc:auto, because what a space's members
 * mean is documented for debuggers alone.
 *
 * Why it is safe where it holds: JVMTI's GarbageCollectionFinish is delivered
 * on the VM's thread before the world goes on, so no thread allocates, and no
 * collector's thread is between two spaces. What lies above top is written
 * before it is read: the VM clears what it hands out, and nothing is kept in
 * there. The heap stays as large as it was; its pages are new ones of zeros.
 * Only whole pages, only where bottom <= top <= end and end - bottom is no more
 * than -Xmx. Not with large or huge pages, UseNUMA (another kind of eden) or
 * AlwaysPreTouch, whose user wants the pages to be there.
 */
#include "gc-bridge/jvm_sweep.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gc-bridge/jvm_structs.h"

#define SPACES 4
#define EVENTS 37 /* JVMTI 1.2 and later have at least so many */
#define GC_FINISH 82
#define FIRST_EVENT 50
#define CAN_SEE_COLLECTIONS 31 /* the bit of jvmtiCapabilities */
#define CAPABILITIES_BYTES 16

enum { SET_NOTIFICATION = 1, SET_CALLBACKS = 121, ADD_CAPABILITIES = 141 };
#define CALL(jvmti, place, type) ((type)(*(jvmti))[place])

/* eden, from, to; old. */
struct layout {
	ptrdiff_t eden, from, to, old;
	ptrdiff_t bottom, top, end;
};

static struct layout at;
static char *const *young, *const *old; /* where the pointers to them lie */
static uint64_t heap_bytes_max;
static bool can;
static _Atomic bool wanted;

/* ---- once ---- */

static bool
is_on(const char *flag)
{
	const bool *place = jvm_structs_flag(flag);

	return place && *place;
}

/* In the first of the two types that has it. */
static ptrdiff_t
offset(const char *type, const char *other, const char *field)
{
	ptrdiff_t found = jvm_structs_offset(type, field);

	return found >= 0 ? found : jvm_structs_offset(other, field);
}

static bool
find_parallel(void)
{
	young = jvm_structs_static("ParallelScavengeHeap", "_young_gen");
	old = jvm_structs_static("ParallelScavengeHeap", "_old_gen");
	at = (struct layout){
		.eden = jvm_structs_offset("PSYoungGen", "_eden_space"),
		.from = jvm_structs_offset("PSYoungGen", "_from_space"),
		.to = jvm_structs_offset("PSYoungGen", "_to_space"),
		.old = jvm_structs_offset("PSOldGen", "_object_space"),
		.bottom = offset("MutableSpace", "ImmutableSpace", "_bottom"),
		.top = jvm_structs_offset("MutableSpace", "_top"),
		.end = offset("MutableSpace", "ImmutableSpace", "_end"),
	};
	return young && old;
}

static bool
find_serial(void)
{
	char *const *heap = jvm_structs_static("Universe", "_collectedHeap");
	ptrdiff_t young_at = offset("SerialHeap", "GenCollectedHeap",
				    "_young_gen");
	ptrdiff_t old_at = offset("SerialHeap", "GenCollectedHeap", "_old_gen");

	if (!heap || !*heap || young_at < 0 || old_at < 0)
		return false;
	young = (char *const *)(const void *)(*heap + young_at);
	old = (char *const *)(const void *)(*heap + old_at);
	at = (struct layout){
		.eden = jvm_structs_offset("DefNewGeneration", "_eden_space"),
		.from = jvm_structs_offset("DefNewGeneration", "_from_space"),
		.to = jvm_structs_offset("DefNewGeneration", "_to_space"),
		.old = jvm_structs_offset("TenuredGeneration", "_the_space"),
		.bottom = offset("ContiguousSpace", "Space", "_bottom"),
		.top = jvm_structs_offset("ContiguousSpace", "_top"),
		.end = offset("ContiguousSpace", "Space", "_end"),
	};
	return true;
}

void
jvm_sweep_found(void)
{
	const uint64_t *most;

	can = false;
	if (!jvm_structs_load() || is_on("UseLargePages") ||
	    is_on("UseTransparentHugePages") || is_on("UseNUMA") ||
	    is_on("AlwaysPreTouch"))
		return;
	most = jvm_structs_flag("MaxHeapSize");
	if (!most || !((is_on("UseParallelGC") && find_parallel()) ||
		       (is_on("UseSerialGC") && find_serial())))
		return;
	heap_bytes_max = *most;
	can = at.eden >= 0 && at.from >= 0 && at.to >= 0 && at.old >= 0 &&
	      at.bottom >= 0 && at.top >= 0 && at.end >= 0;
}

bool
jvm_sweep_can(void)
{
	return can;
}

/* ---- with the world stopped, on the VM's thread ---- */

static char *
pointer_at(const char *object, ptrdiff_t offset_in)
{
	return *(char *const *)(const void *)(object + offset_in);
}

static void
sweep_space(const char *space)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t bottom, top, end, start;

	if (!space)
		return;
	bottom = (uintptr_t)pointer_at(space, at.bottom);
	top = (uintptr_t)pointer_at(space, at.top);
	end = (uintptr_t)pointer_at(space, at.end);
	start = (top + page - 1) & ~(page - 1);
	if (!bottom || bottom > top || top > end ||
	    end - bottom > heap_bytes_max)
		return;
	end &= ~(page - 1);
	if (start < end)
		madvise((void *)start, end - start, MADV_DONTNEED);
}

static void
swept(jvm_interface jvmti)
{
	(void)jvmti;
	if (!atomic_load(&wanted) || !*young || !*old)
		return;
	sweep_space(pointer_at(*young, at.eden));
	sweep_space(pointer_at(*young, at.from));
	sweep_space(pointer_at(*young, at.to));
	sweep_space(pointer_at(*old, at.old));
}

/* ---- around a collection ---- */

static void
notify(jvm_interface jvmti, int on)
{
	CALL(jvmti, SET_NOTIFICATION,
	     int (*)(jvm_interface, int, int, void *, ...))
	(jvmti, on, GC_FINISH, NULL);
}

void
jvm_sweep_begin(jvm_interface jvmti)
{
	uint32_t capabilities[CAPABILITIES_BYTES / sizeof(uint32_t)] = { 0 };
	void (*calls[EVENTS])(jvm_interface) = { NULL };

	capabilities[CAN_SEE_COLLECTIONS / 32] |= 1u
						  << CAN_SEE_COLLECTIONS % 32;
	calls[GC_FINISH - FIRST_EVENT] = swept;
	if (CALL(jvmti, ADD_CAPABILITIES, int (*)(jvm_interface, const void *))(
		    jvmti, capabilities) != 0 ||
	    CALL(jvmti, SET_CALLBACKS,
		 int (*)(jvm_interface, const void *,
			 int))(jvmti, calls, (int)sizeof calls) != 0)
		return;
	atomic_store(&wanted, true);
	notify(jvmti, 1);
}

void
jvm_sweep_end(jvm_interface jvmti)
{
	if (atomic_exchange(&wanted, false))
		notify(jvmti, 0);
}
