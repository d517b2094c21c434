/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bridge to a HotSpot JVM; 17 and 25 were tested (its heap: jvm_heap.c).
 *
 * Conditions: JNI_GetCreatedJavaVMs() knows of a VM, which it does once that
 * is whole (asked every millisecond from the start on, 0 of 25 failed).
 * Serial below -Xms does not shrink but for jvm_sweep.c, Parallel in part where
 * it is asked as System.gc() asks, ZGC after ZUncommitDelay: they are asked
 * ever more rarely, as what gives nothing is.
 *
 * Why it is safe: a collection is the documented invocation and JVMTI
 * interface, used by a thread that attaches as a daemon for the time of a
 * call. A VM that ends lets such a thread stand where it next enters it; ours
 * holds nothing. JVMTI's ForceGarbageCollection() is what System.gc() is, but
 * that -XX:+DisableExplicitGC does not turn it off. No header of Java's is
 * needed to build: the enums below are the interfaces' binary contract.
 * The flags of jvm_heap.c are set around and after it.
 *
 * G1 gives the system what it no longer uses 100 ms later and takes it back
 * for its next expansion if that comes first: so the heap is kept small from
 * then on, and the collection ends for us when memory has gone. Serial
 * shrinks in steps: five collections.
 */
#include <errno.h>
#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "gc-bridge/detect.h"
#include "gc-bridge/jvm_heap.h"
#include "gc-bridge/jvm_sweep.h"
#include "gc-bridge/runtimes.h"
#include "gc-bridge/symbols.h"
#include "pressure/errand.h"

#define JNI_VERSION 0x00010008
#define JVMTI_VERSION 0x30010200
#define SERIAL_STEPS 5
/* G1 waits for 100 ms, and gives back in slices of 10. */
#define GOES_NS (250 * CLOCK_MS)
#define GOES_LOOK_NS (10 * CLOCK_MS)
#define GOES_BYTES (1ull << 20)

/* Places in the interfaces' tables. */
enum { VM_DETACH = 5, VM_GET_ENV = 6, VM_ATTACH_AS_DAEMON = 7 };
enum { JVMTI_FORCE_GC = 107, JVMTI_DISPOSE = 126 };

typedef jvm_interface interface;

struct attach_arguments {
	int version;
	const char *name;
	void *group;
};

static int (*created_vms)(interface *vms, int vms_max, int *count);
static void (*program_collects)(void);

#define AT(object, place, type) ((type)(*(object))[place])

static interface
find_vm(void)
{
	interface vm = NULL;
	int count = 0;

	if (created_vms(&vm, 1, &count) != 0 || count < 1)
		return NULL;
	return vm;
}

bool
jvm_is_collector(void)
{
	interface vm = find_vm(), jni;

	return vm && AT(vm, VM_GET_ENV, int (*)(interface, interface *, int))(
			     vm, &jni, JNI_VERSION) != 0;
}

static int
probe(bool attached, const char **why)
{
	(void)attached;
	(void)why;
	if (!symbols_find("libjvm.so", "JNI_GetCreatedJavaVMs", &created_vms))
		return -ENOENT;
	if (!find_vm())
		return -EAGAIN;
	if (!symbols_find("libjvm.so", "JVM_GC", &program_collects))
		program_collects = NULL;
	jvm_heap_found();
	jvm_sweep_found();
	return 0;
}

/* gc:jvm-sweep, where it can be had. */
static bool
shall_sweep(void)
{
	static _Atomic bool told;

	if (!detect_says(JVM_SWEEP_WORD))
		return false;
	if (!jvm_sweep_can() && !atomic_exchange(&told, true))
		log_write(SPW_LOG_WARNING,
			  "gc jvm: not swept: Serial and Parallel alone, "
			  "without large pages, NUMA and AlwaysPreTouch");
	return jvm_sweep_can();
}

static void
force(interface vm)
{
	bool sweeps = shall_sweep();
	interface jvmti = NULL;
	int rounds = jvm_heap_shrinks_in_steps() && !sweeps ? SERIAL_STEPS : 1;

	if (AT(vm, VM_GET_ENV, int (*)(interface, interface *, int))(
		    vm, &jvmti, JVMTI_VERSION) != 0)
		return;
	if (sweeps)
		jvm_sweep_begin(jvmti);
	if (jvm_heap_shrinks_for_program() && program_collects)
		program_collects();
	else
		while (rounds-- > 0)
			AT(jvmti, JVMTI_FORCE_GC, int (*)(interface))(jvmti);
	if (sweeps)
		jvm_sweep_end(jvmti);
	AT(jvmti, JVMTI_DISPOSE, int (*)(interface))(jvmti);
}

/* Until what was freed has gone, and no more goes. */
static void
settle(uint64_t before)
{
	const struct timespec look = { .tv_nsec = GOES_LOOK_NS };
	uint64_t until = clock_now_ns() + GOES_NS;
	uint64_t last = errand_resident(), now;

	if (!jvm_heap_gives_late() || last + last / 8 < before)
		return;
	while (clock_now_ns() < until && !bridge_ending()) {
		nanosleep(&look, NULL);
		now = errand_resident();
		if (last + GOES_BYTES < before && now + GOES_BYTES >= last)
			break;
		last = now;
	}
}

static size_t
collect(enum spw_level level, uint64_t deadline_ns, void *unused)
{
	struct attach_arguments arguments = { JNI_VERSION, "spillway", NULL };
	interface vm = find_vm(), jni = NULL;

	(void)level;
	(void)deadline_ns;
	(void)unused;
	if (!vm ||
	    AT(vm, VM_ATTACH_AS_DAEMON,
	       int (*)(interface, interface *,
		       struct attach_arguments *))(vm, &jni, &arguments) != 0)
		return SPW_SHRINK_LATER;
	jvm_heap_collecting(true);
	force(vm);
	jvm_heap_collecting(false);
	AT(vm, VM_DETACH, int (*)(interface))(vm);
	return 0;
}

static void
tune(uint64_t headroom_bytes, void *unused)
{
	(void)unused;
	jvm_heap_tune(headroom_bytes);
}

const struct bridge_runtime jvm_runtime = {
	.name = "jvm",
	.opt_in = JVM_SWEEP_WORD,
	.by_default = true,
	.probe = probe,
	.collect = collect,
	.settle = settle,
	.tune = tune,
	.tune_again = jvm_heap_again,
};
