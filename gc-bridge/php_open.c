/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dlopen(3) as an unmodified PHP calls it, without RTLD_DEEPBIND.
 *
 * Only in libspillway-malloc.so. PHP opens its extensions with that flag: they
 * find the C library's free() before the preload's, and what strdup() or the
 * engine allocated for them dies in it, under any malloc that is preloaded
 * (pdo.so at the start of Debian's php: SIGSEGV with jemalloc and mimalloc as
 * well). PHP itself leaves the flag out where it is built for a sanitizer or
 * for musl: extensions work without it. Other programs' flags are theirs.
 *
 * The C library looks at its caller's address for $ORIGIN and RUNPATH, so we
 * jump: its caller is ours. Where that is not written for the processor the
 * flag stays.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)

void *(*spw_open_next)(const char *file, int mode)
	__attribute__((visibility("hidden")));
int spw_open_mode(int mode) __attribute__((visibility("hidden")));

static void *
fail(const char *file, int mode)
{
	(void)file;
	(void)mode;
	return NULL;
}

/* The mode to go on with; leaves where to go in spw_open_next. */
__attribute__((used)) int
spw_open_mode(int mode)
{
	void *found;

	if (!spw_open_next) {
		found = dlsym(RTLD_NEXT, "dlopen");
		memcpy(&spw_open_next, &found, sizeof found);
		if (!found)
			spw_open_next = fail;
	}
	if ((mode & RTLD_DEEPBIND) &&
	    dlsym(RTLD_DEFAULT, "zend_interrupt_function"))
		mode &= ~RTLD_DEEPBIND;
	return mode;
}

__asm__(".text\n"
	".globl dlopen\n"
	".type dlopen, @function\n"
	"dlopen:\n"
	".cfi_startproc\n"
	"	endbr64\n"
	"	pushq %rdi\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	movl %esi, %edi\n"
	"	call spw_open_mode\n"
	"	movl %eax, %esi\n"
	"	popq %rdi\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	jmp *spw_open_next(%rip)\n"
	".cfi_endproc\n"
	".size dlopen, .-dlopen\n");

#endif
