/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bridge to a HotSpot JVM: G1, Serial, Shenandoah; 17 and 25 were tested.
 *
 * Conditions: JNI_GetCreatedJavaVMs() knows of a VM, which it does once that
 * is whole (asked every millisecond from the start on, 0 of 25 failed). Parallel and whatever is below -Xms do not shrink, ZGC does so after
 * ZUncommitDelay: they are asked ever more rarely, as what gives nothing is.
 *
 * Why it is safe: all of it is the documented invocation, JNI and JVMTI
 * interface, used by a thread that attaches as a daemon for the time of a
 * call. A VM that ends lets such a thread stand where it next enters it; ours
 * holds nothing. JVMTI's ForceGarbageCollection() is what System.gc() is, but
 * that -XX:+DisableExplicitGC does not turn it off. No header of Java's is
 * needed to build: the tables below are the interfaces' binary contract.
 *
 * Min- and MaxHeapFreeRatio are manageable flags: 5 and 10 for the time of the
 * collection (G1: 1322 -> 119 MiB instead of 268), through the platform's
 * HotSpotDiagnosticMXBean, and restored. Where that is not in the image the
 * collection does without. Serial shrinks in steps: five collections.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "gc-bridge/runtimes.h"
#include "gc-bridge/symbols.h"

#define JNI_VERSION 0x00010008
#define JVMTI_VERSION 0x30010200
#define SERIAL_STEPS 5
#define VALUE_BYTES 24

/* Places in the interfaces' tables. */
enum { VM_DETACH = 5, VM_GET_ENV = 6, VM_ATTACH_AS_DAEMON = 7 };
enum { JVMTI_FORCE_GC = 107, JVMTI_DISPOSE = 126 };
enum {
	JNI_FIND_CLASS = 6,
	JNI_EXCEPTION_CLEAR = 17,
	JNI_PUSH_FRAME = 19,
	JNI_POP_FRAME = 20,
	JNI_GET_METHOD = 33,
	JNI_CALL_OBJECT = 36,
	JNI_CALL_VOID = 63,
	JNI_GET_STATIC_METHOD = 113,
	JNI_CALL_STATIC_OBJECT = 116,
	JNI_NEW_STRING = 167,
	JNI_GET_STRING_LENGTH = 168,
	JNI_GET_STRING_REGION = 221
};

/* An object is a pointer to a pointer to its table. */
typedef void *const *const *interface;
typedef void *object;
union value {
	object reference;
	int64_t word;
};

struct attach_arguments {
	int version;
	const char *name;
	object group;
};

static int (*created_vms)(interface *vms, int vms_max, int *count);
static _Atomic int is_serial; /* 0: not asked yet; 1, -1 */

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

static int
probe(bool attached, const char **why)
{
	(void)attached;
	(void)why;
	if (!symbols_find("libjvm.so", "JNI_GetCreatedJavaVMs", &created_vms))
		return -ENOENT;
	return find_vm() ? 0 : -EAGAIN;
}

/* ---- the flags ---- */

static void
clear(interface jni)
{
	AT(jni, JNI_EXCEPTION_CLEAR, void (*)(interface))(jni);
}

static object
string_of(interface jni, const char *text)
{
	return AT(jni, JNI_NEW_STRING,
		  object(*)(interface, const char *))(jni, text);
}

static object
class_of(interface jni, const char *name)
{
	return AT(jni, JNI_FIND_CLASS,
		  object(*)(interface, const char *))(jni, name);
}

static object
method_of(interface jni, object class, const char *name, const char *type)
{
	return AT(jni, JNI_GET_METHOD,
		  object(*)(interface, object, const char *,
			    const char *))(jni, class, name, type);
}

static object
call(interface jni, object on, object method, const union value *values)
{
	return AT(jni, JNI_CALL_OBJECT,
		  object(*)(interface, object, object,
			    const union value *))(jni, on, method, values);
}

#define DIAGNOSTIC "com/sun/management/HotSpotDiagnosticMXBean"

/* The bean that knows the flags, and its class; NULL where there is none. */
static object
find_bean(interface jni, object *class)
{
	object factory, get, bean;
	union value values[1];

	*class = class_of(jni, DIAGNOSTIC);
	if (!*class)
		return NULL;
	factory = class_of(jni, "java/lang/management/ManagementFactory");
	if (!factory)
		return NULL;
	get = AT(jni, JNI_GET_STATIC_METHOD,
		 object(*)(interface, object, const char *, const char *))(
		jni, factory, "getPlatformMXBean",
		"(Ljava/lang/Class;)"
		"Ljava/lang/management/PlatformManagedObject;");
	if (!get)
		return NULL;
	values[0].reference = *class;
	bean = AT(jni, JNI_CALL_STATIC_OBJECT,
		  object(*)(interface, object, object,
			    const union value *))(jni, factory, get, values);
	return bean;
}

/* A flag's value as text; false where it cannot be had. */
static bool
get_flag(interface jni, object bean, object class, const char *name,
	 char *value)
{
	object get = method_of(jni, class, "getVMOption",
			       "(Ljava/lang/String;)"
			       "Lcom/sun/management/VMOption;");
	object option_class = class_of(jni, "com/sun/management/VMOption");
	union value values[1];
	object option, read, text;
	int length;

	if (!get || !option_class)
		return false;
	read = method_of(jni, option_class, "getValue", "()Ljava/lang/String;");
	values[0].reference = string_of(jni, name);
	option = read && values[0].reference ? call(jni, bean, get, values) :
					       NULL;
	text = option ? call(jni, option, read, NULL) : NULL;
	if (!text)
		return false;
	length = AT(jni, JNI_GET_STRING_LENGTH,
		    int (*)(interface, object))(jni, text);
	if (length <= 0 || length >= VALUE_BYTES)
		return false;
	memset(value, 0, VALUE_BYTES);
	AT(jni, JNI_GET_STRING_REGION,
	   void (*)(interface, object, int, int, char *))
	(jni, text, 0, length, value);
	return true;
}

static void
set_flag(interface jni, object bean, object class, const char *name,
	 const char *value)
{
	object set = method_of(jni, class, "setVMOption",
			       "(Ljava/lang/String;Ljava/lang/String;)V");
	union value values[2];

	if (!set)
		return;
	values[0].reference = string_of(jni, name);
	values[1].reference = string_of(jni, value);
	if (values[0].reference && values[1].reference)
		AT(jni, JNI_CALL_VOID,
		   void (*)(interface, object, object, const union value *))
	(jni, bean, set, values);
	clear(jni);
}

/* ---- a collection ---- */

static void
force(interface vm)
{
	interface jvmti = NULL;
	int rounds = atomic_load(&is_serial) > 0 ? SERIAL_STEPS : 1;

	if (AT(vm, VM_GET_ENV, int (*)(interface, interface *, int))(
		    vm, &jvmti, JVMTI_VERSION) != 0)
		return;
	while (rounds-- > 0)
		AT(jvmti, JVMTI_FORCE_GC, int (*)(interface))(jvmti);
	AT(jvmti, JVMTI_DISPOSE, int (*)(interface))(jvmti);
}

/* With a small heap wanted, as far as the VM lets us say so. */
static void
force_small(interface vm, interface jni)
{
	char least[VALUE_BYTES], most[VALUE_BYTES], serial[VALUE_BYTES];
	object class, bean;
	bool both;

	if (AT(jni, JNI_PUSH_FRAME, int (*)(interface, int))(jni, 32) != 0) {
		clear(jni);
		force(vm);
		return;
	}
	bean = find_bean(jni, &class);
	both = bean && get_flag(jni, bean, class, "MinHeapFreeRatio", least) &&
	       get_flag(jni, bean, class, "MaxHeapFreeRatio", most);
	if (both && !atomic_load(&is_serial))
		atomic_store(&is_serial,
			     get_flag(jni, bean, class, "UseSerialGC",
				      serial) &&
					     strcmp(serial, "true") == 0 ?
				     1 :
				     -1);
	clear(jni);
	if (both) {
		set_flag(jni, bean, class, "MinHeapFreeRatio", "5");
		set_flag(jni, bean, class, "MaxHeapFreeRatio", "10");
	}
	force(vm);
	if (both) {
		set_flag(jni, bean, class, "MaxHeapFreeRatio", most);
		set_flag(jni, bean, class, "MinHeapFreeRatio", least);
	}
	AT(jni, JNI_POP_FRAME, object(*)(interface, object))(jni, NULL);
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
	force_small(vm, jni);
	AT(vm, VM_DETACH, int (*)(interface))(vm);
	return 0;
}

const struct bridge_runtime jvm_runtime = {
	.name = "jvm",
	.by_default = true,
	.probe = probe,
	.collect = collect,
};
