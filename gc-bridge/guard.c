/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a collect callback throws ends here.
 *
 * Called by bridge.c on the bridge's thread; calls the runtime. No state.
 *
 * C has no catch, and without a handler somewhere up the stack the C++
 * runtime does not unwind at all but ends the process. So guard_call() is a
 * frame of our own whose personality routine says "handled here" for every
 * exception but a forced unwind (pthread_exit, cancellation), and resumes
 * behind the call. What it needs of libgcc_s is looked up when something is
 * thrown: then it is loaded, and a process without C++ does not load it.
 */
#include "gc-bridge/guard.h"

#if defined(__x86_64__)

#include <dlfcn.h>
#include <stdint.h>
#include <string.h>
#include <unwind.h>

_Unwind_Reason_Code spw_guard_personality(int version, _Unwind_Action actions,
					  _Unwind_Exception_Class class,
					  struct _Unwind_Exception *exception,
					  struct _Unwind_Context *context);
extern const char spw_guard_landing[] __attribute__((visibility("hidden")));

/* The two names are internal, and for the assembler alone. */
__asm__(".text\n"
	".globl guard_call\n"
	".hidden guard_call\n"
	".type guard_call, @function\n"
	"guard_call:\n"
	".cfi_startproc\n"
	".cfi_personality 0x9b, .Lspw_guard_personality_pointer\n"
	"	pushq %rbp\n"
	"	.cfi_def_cfa_offset 16\n"
	"	.cfi_offset %rbp, -16\n"
	"	movq %rsp, %rbp\n"
	"	.cfi_def_cfa_register %rbp\n"
	"	movq %rdi, %rax\n"
	"	movq %rsi, %rdi\n"
	"	call *%rax\n"
	"	xorl %eax, %eax\n"
	"	popq %rbp\n"
	"	.cfi_remember_state\n"
	"	.cfi_def_cfa %rsp, 8\n"
	"	ret\n"
	"	.cfi_restore_state\n"
	".globl spw_guard_landing\n"
	".hidden spw_guard_landing\n"
	"spw_guard_landing:\n"
	"	movl $1, %eax\n"
	"	popq %rbp\n"
	"	.cfi_def_cfa %rsp, 8\n"
	"	ret\n"
	".cfi_endproc\n"
	".size guard_call, .-guard_call\n"
	".section .data.rel.ro, \"aw\"\n"
	".align 8\n"
	".Lspw_guard_personality_pointer:\n"
	"	.quad spw_guard_personality\n"
	".text\n");

static void *
libgcc(const char *name)
{
	void *found = dlsym(RTLD_DEFAULT, name);
	void *handle;

	if (found)
		return found;
	handle = dlopen("libgcc_s.so.1", RTLD_LAZY | RTLD_NOLOAD);
	return handle ? dlsym(handle, name) : NULL;
}

__attribute__((visibility("hidden"), used)) _Unwind_Reason_Code
spw_guard_personality(int version, _Unwind_Action actions,
		      _Unwind_Exception_Class class,
		      struct _Unwind_Exception *exception,
		      struct _Unwind_Context *context)
{
	void (*set_ip)(struct _Unwind_Context *, _Unwind_Ptr);
	void (*delete)(struct _Unwind_Exception *);
	void *set = libgcc("_Unwind_SetIP");
	void *end = libgcc("_Unwind_DeleteException");

	(void)version;
	(void)class;
	if ((actions & _UA_FORCE_UNWIND) || !set || !end)
		return _URC_CONTINUE_UNWIND;
	if (actions & _UA_SEARCH_PHASE)
		return _URC_HANDLER_FOUND;
	if (!(actions & _UA_HANDLER_FRAME))
		return _URC_CONTINUE_UNWIND;
	memcpy(&set_ip, &set, sizeof set_ip);
	memcpy(&delete, &end, sizeof delete);
	delete (exception);
	set_ip(context, (_Unwind_Ptr)(uintptr_t)spw_guard_landing);
	return _URC_INSTALL_CONTEXT;
}

#else

int
guard_call(void (*body)(void *), void *argument)
{
	body(argument);
	return 0;
}

#endif
