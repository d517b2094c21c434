/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looking for a signal's frame on the stack.
 *
 * Called by mapped.c where its slow half would start threads or sense: what
 * the signal interrupted may hold a lock of the heap, or be between two
 * instructions of it. A flag that malloc sets would cost each malloc; this
 * costs who maps memory, and that only when credit is out.
 *
 * A handler returns to the function that the kernel was told of (sa_restorer;
 * on others than x86 one in the vdso), so its address lies above the handler's
 * frames: the words up to SCAN_BYTES above ours are looked at. They are read
 * by process_vm_readv(2), which stops at the end of a stack that nobody knows
 * where a fault would end the process. One that sigaction(3) left there (in
 * PHP for good: nothing starts then) is told from one that returns by what
 * the kernel puts behind it, on x86-64; elsewhere we say yes once too often.
 * Not found: a handler that maps from under more than
 * SCAN_BYTES of frames.
 */
#include "gc-bridge/interrupted.h"

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define SCAN_BYTES (128u << 10)
#define STEP_WORDS 512
#define RESTORERS_MAX 4
#define SIGNALS 64
#define VDSO_BYTES 8192
/* Behind the address: ucontext, with flags, link, and the registers. */
#define FRAME_WORDS 25
#define HAS_RESTORER 0x04000000ul /* SA_RESTORER of the kernel's */

/* As the kernel has it; where there is no restorer its place is the mask's. */
struct kernel_action {
	uintptr_t handler;
	unsigned long flags;
	uintptr_t restorer;
	uint64_t mask;
};

struct returns {
	uintptr_t to[RESTORERS_MAX];
	unsigned count;
	uintptr_t vdso; /* 0: not by it */
};

static void
note(struct returns *r, const struct kernel_action *action)
{
	if (!(action->flags & HAS_RESTORER)) {
		r->vdso = getauxval(AT_SYSINFO_EHDR);
		return;
	}
	for (unsigned i = 0; i < r->count; i++)
		if (r->to[i] == action->restorer)
			return;
	if (r->count < RESTORERS_MAX)
		r->to[r->count++] = action->restorer;
}

/* Where handlers return to. False: nobody has one. */
static bool
find_returns(struct returns *r)
{
	for (int number = 1; number <= SIGNALS; number++) {
		struct kernel_action action = { 0 };

		if (syscall(SYS_rt_sigaction, number, NULL, &action,
			    sizeof action.mask) == 0 &&
		    action.handler != (uintptr_t)SIG_DFL &&
		    action.handler != (uintptr_t)SIG_IGN)
			note(r, &action);
	}
	return r->count > 0 || r->vdso;
}

static bool
is_return(const struct returns *r, const uintptr_t *words)
{
	bool is = r->vdso && words[0] - r->vdso < VDSO_BYTES;

	for (unsigned i = 0; !is && i < r->count; i++)
		is = r->to[i] == words[0];
#if defined(__x86_64__)
	/* uc_flags, uc_link, and the code segment of user space. */
	is = is && words[1] < 16 && words[2] == 0 &&
	     (words[24] & 0xffff) == 0x33;
#endif
	return is;
}

static bool
is_anything_blocked(void)
{
	uint64_t mask = 0;

	return syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask,
		       sizeof mask) != 0 ||
	       mask != 0;
}

bool
interrupted_by_signal(void)
{
	uintptr_t words[STEP_WORDS];
	uintptr_t from = (uintptr_t)__builtin_frame_address(0);
	struct returns r = { .count = 0 };
	bool has_read = false;

	/* One that was taken out as it was called (SA_RESETHAND) is blocked. */
	if (!find_returns(&r))
		return is_anything_blocked();
	for (size_t done = 0; done < SCAN_BYTES;
	     done += sizeof words - FRAME_WORDS * sizeof *words) {
		struct iovec here = { words, sizeof words };
		struct iovec there = { (void *)(from + done), sizeof words };
		ssize_t got = syscall(SYS_process_vm_readv, getpid(), &here, 1,
				      &there, 1, 0);
		ssize_t many = got / (ssize_t)sizeof *words;

		for (ssize_t i = 0; i + FRAME_WORDS <= many; i++)
			if (is_return(&r, words + i))
				return true;
		has_read |= got > 0;
		if (got < (ssize_t)sizeof words)
			break;
	}
	return !has_read;
}
