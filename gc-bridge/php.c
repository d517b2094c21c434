/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bridge to PHP 8.2: command line, CGI and FPM.
 *
 * Conditions: a build without thread safety (with it the executor's globals
 * are in thread storage that only their thread can name), of version 8.2.
 * Where EG(vm_interrupt) lies depends on the version: 546 bytes into
 * executor_globals, of which landmarks are checked: a pointer to the end of
 * the symbol table cache, the size of a stack page, the opcodes of exceptions,
 * all there from the first request on. Not the module in Apache, which is
 * unloaded and loaded.
 *
 * Why it is safe: the collection runs on the program's own thread, in
 * zend_interrupt_function, between two opcodes (a call, a jump back), where
 * asynchronous signal handlers of pcntl run PHP code; gc_collect_cycles() and
 * gc_mem_caches() may be called by any of that. Our thread sets the flag that
 * a timer's signal handler sets; it is set again until the request is taken,
 * since the engine clears it at the start of a script. Who had the function
 * before us is called as well. It waits for the next time inside a collection,
 * whose destructors come by here, and while an exception is on its way: so does
 * the jump to its catch block, and a destructor would throw it again there.
 *
 * gc_disable() and zend.enable_gc=0 are respected: then free pages alone are
 * given back. Destructors run there, as in any collection. A script that
 * sleeps, or waits for input, is served when it goes on.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/futex.h"
#include "gc-bridge/runtimes.h"
#include "gc-bridge/symbols.h"
#include "pressure/errand.h"

/* How long our thread stays with a request; it may be served later. */
#define PATIENCE_NS (5 * CLOCK_S)
#define REPEAT_NS (10 * CLOCK_MS)

/* struct _zend_executor_globals of 8.2, no thread safety. */
#define VERSION "Zend Engine v4.2."
#define VM_INTERRUPT 546
#define TABLE_CACHE_LIMIT 288 /* points here: */
#define TABLE_CACHE_END 288
#define STACK_PAGE_BYTES 480 /* is: */
#define STACK_PAGE_SIZE 0x40000
#define EXCEPTION 864
#define EXCEPTION_OPS 888 /* three, of 32 bytes, with, 28 bytes in: */
#define OP_BYTES 32
#define OPCODE 28
#define HANDLE_EXCEPTION 149

static void (*_Atomic *interrupt)(void *execute_data);
static char *globals; /* executor_globals */
static int (**collect_cycles)(void);
static bool (*gc_is_enabled)(void);
static bool (*gc_is_protected)(void);
static size_t (*give_back)(void *heap); /* zend_mm_gc */
static void *(*get_heap)(void);
static const char *(*get_version)(void);
static char **interface; /* sapi_module, of which the first is its name */

static void (*_Atomic next)(void *execute_data); /* who was there before us */
static _Atomic uint32_t waiting; /* a futex: 1 while one is asked for */
static _Atomic uint64_t went;

static const struct symbol needed[] = {
	{ "zend_interrupt_function", &interrupt },
	{ "gc_collect_cycles", &collect_cycles },
	{ "gc_enabled", &gc_is_enabled },
	{ "gc_protected", &gc_is_protected },
	{ "zend_mm_gc", &give_back },
	{ "zend_mm_get_heap", &get_heap },
	{ "get_zend_version", &get_version },
	{ "sapi_module", &interface },
};

/* ---- the program's thread ---- */

static void
run(void)
{
	uint64_t before = errand_resident(), after;

	if (gc_is_enabled())
		(*collect_cycles)();
	give_back(get_heap());
	after = errand_resident();
	atomic_store(&went, before > after ? before - after : 0);
}

/* One was thrown, and nobody has caught it yet. */
static bool
is_exception_pending(void)
{
	void *exception;

	memcpy(&exception, globals + EXCEPTION, sizeof exception);
	return exception != NULL;
}

/* Between two opcodes. */
static void
interrupted(void *execute_data)
{
	void (*theirs)(void *) = atomic_load(&next);
	uint32_t asked = 1;

	if (!gc_is_protected() && !is_exception_pending() &&
	    atomic_compare_exchange_strong(&waiting, &asked, 2)) {
		run();
		atomic_store(&waiting, 0);
		futex_wake(&waiting, FUTEX_ALL);
	}
	if (theirs)
		theirs(execute_data);
}

/* ---- our thread ---- */

/* Its last landmark to be set is; whatever that is in another version. */
static bool
has_begun(void)
{
	size_t page;

	memcpy(&page, globals + STACK_PAGE_BYTES, sizeof page);
	return page != 0;
}

/* False before the first script, or where it is not laid out as we know. */
static bool
has_landmarks(void)
{
	const char *op = globals + EXCEPTION_OPS + OPCODE;
	char *limit;
	size_t page;

	for (int i = 0; i < 3; i++, op += OP_BYTES)
		if ((unsigned char)*op != HANDLE_EXCEPTION)
			return false;
	memcpy(&limit, globals + TABLE_CACHE_LIMIT, sizeof limit);
	memcpy(&page, globals + STACK_PAGE_BYTES, sizeof page);
	return limit == globals + TABLE_CACHE_END && page == STACK_PAGE_SIZE &&
	       (unsigned char)globals[VM_INTERRUPT] <= 1;
}

/* In Apache it is a library that is loaded twice: not to be pinned. */
static bool
is_apache(void)
{
	void *found = dlsym(RTLD_DEFAULT, "ap_get_server_banner");

	return found != NULL;
}

static int
probe(bool attached, const char **why)
{
	void (*theirs)(void *);

	(void)attached;
	if (is_apache() ||
	    !symbols_find_all("libphp", needed, sizeof needed / sizeof *needed,
			      NULL))
		return -ENOENT;
	if (!symbols_find("libphp", "executor_globals", &globals)) {
		*why = "it is built with thread safety (ZTS)";
		return -EOPNOTSUPP;
	}
	/* Before the executor has begun its version is still put together. */
	if (!*interface || !has_begun())
		return -EAGAIN;
	if (strncmp(get_version(), VERSION, strlen(VERSION)) != 0) {
		*why = "it is not PHP 8.2";
		return -EOPNOTSUPP;
	}
	if (!has_landmarks()) {
		*why = "its executor's globals are laid out differently";
		return -EOPNOTSUPP;
	}
	theirs = atomic_load(interrupt);
	if (theirs != interrupted) {
		atomic_store(&next, theirs);
		atomic_store(interrupt, interrupted);
	}
	return 0;
}

/* As EG(vm_interrupt) = true. */
static void
ask(void)
{
	atomic_store_explicit((_Atomic bool *)(globals + VM_INTERRUPT), true,
			      memory_order_release);
}

static size_t
collect(enum spw_level level, uint64_t deadline_ns, void *unused)
{
	uint64_t until = clock_now_ns() + PATIENCE_NS;
	uint32_t seen;

	(void)level;
	(void)deadline_ns;
	(void)unused;
	if (!has_landmarks()) /* between two scripts it may be torn down */
		return SPW_SHRINK_LATER;
	/* Also where it was taken and never answered: a destructor that ends
	 * the script by a fatal error does not return. */
	if (atomic_exchange(&waiting, 1) != 1)
		atomic_store(&went, 0);
	while ((seen = atomic_load(&waiting)) != 0 && clock_now_ns() < until &&
	       !bridge_ending()) {
		if (seen == 1)
			ask();
		futex_wait(&waiting, seen, REPEAT_NS);
	}
	return atomic_load(&waiting) ? SPW_SHRINK_LATER :
				       (size_t)atomic_load(&went);
}

const struct bridge_runtime php_runtime = {
	.name = "php",
	.by_default = true,
	.probe = probe,
	.collect = collect,
};
