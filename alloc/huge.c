/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Huge pages: fine while memory is plentiful, dear when it is not.
 *
 * Where the machine hands them out unasked (transparent_hugepage/enabled is
 * "always") a fault brings in 2 MiB, retained address space that nobody uses
 * included: at a limit of 400 MiB a heap of 149 MiB was 169 resident, and a
 * cache kept 130 MiB that keeps 142 elsewhere (tests/vm). So from the first
 * pass until pressure is over the process refuses them (PR_SET_THP_DISABLE),
 * unless somebody else had already. The flag is inherited over fork and exec:
 * a program that is started meanwhile has no huge pages either. So it is for
 * those that were asked for. Tables, of which a page here and there is used,
 * never have any: 8 MiB less of that program.
 *
 * huge_ask(), huge_spare() and huge_split() are called by hooks under
 * jemalloc's locks; huge_scarce() by the reclaimer, huge_plenty() by the
 * monitor.
 */
#include "alloc/huge.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/file.h"
#include "base/settings.h"
#include "pressure/errand.h"

/* Enough of a huge page to have it split; the kernel rounds up to a page. */
#define SPLIT_BYTES (4ul << 10)
#define KNOWN 1024u /* a power of two */

#ifdef PIC
#define PAGE_MASK 4095ul

/* The linker's names for the ends of this library's zeroed static memory. */
extern char __bss_start[] __attribute__((visibility("hidden")));
extern char _end[] __attribute__((visibility("hidden")));
#endif

static _Atomic bool looked, always, asked;
/* Pages that were split since huge pages were last refused: [page][scarcity],
 * by the page's number. */
static _Atomic uint64_t known[KNOWN];
static _Atomic uint32_t scarcity; /* odd while they are refused */

static bool
may_be_any(void)
{
	return atomic_load_explicit(&always, memory_order_relaxed) ||
	       atomic_load_explicit(&asked, memory_order_relaxed);
}

void
huge_ask(void *address, size_t bytes)
{
	uintptr_t from = ((uintptr_t)address + HUGE_BYTES - 1) &
			 ~(HUGE_BYTES - 1);
	uintptr_t to = ((uintptr_t)address + bytes) & ~(HUGE_BYTES - 1);

	if (from >= to)
		return;
	atomic_store_explicit(&asked, true, memory_order_relaxed);
	madvise(address, bytes, MADV_HUGEPAGE);
}

void
huge_spare(void *address, size_t bytes)
{
	madvise(address, bytes, MADV_NOHUGEPAGE);
}

/* Of a shared library, that is: to the linker a program's own static memory
 * and ours are one. */
void
huge_spare_static(void)
{
#ifdef PIC
	char *from = __bss_start + (-(uintptr_t)__bss_start & PAGE_MASK);
	char *to = _end + (-(uintptr_t)_end & PAGE_MASK);

	if (from < to)
		huge_spare(from, (size_t)(to - from));
#endif
}

/*
 * MADV_COLD on a part of a huge page splits it. Otherwise what MADV_DONTNEED
 * takes out of it stays charged to the cgroup until the kernel's own reclaim
 * comes along (256 MiB, three quarters returned in runs of 192 KiB: usage
 * stayed at 256 MiB, and fell to 64 with this, at 0.3 ms for each huge page).
 *
 * It flushes TLBs, also of what is split: half of a purge's time on an emulated
 * machine (14 of 27 ms for 9 MiB). While huge pages are refused there are no
 * new ones, so that once is enough.
 */
static void
split(uintptr_t page)
{
	uint32_t now = atomic_load_explicit(&scarcity, memory_order_acquire);
	uint64_t entry = (uint64_t)(page / HUGE_BYTES) << 32 | now;
	_Atomic uint64_t *place = &known[page / HUGE_BYTES % KNOWN];

	if (now % 2 &&
	    atomic_load_explicit(place, memory_order_relaxed) == entry)
		return;
	madvise((void *)page, SPLIT_BYTES, MADV_COLD);
	atomic_store_explicit(place, entry, memory_order_relaxed);
}

void
huge_split(uintptr_t from, uintptr_t to)
{
	uintptr_t mask = HUGE_BYTES - 1;

	if (!may_be_any())
		return;
	if (from & mask)
		split(from);
	if ((to & mask) && (to & ~mask) >= from)
		split(to & ~mask);
}

/* "always [madvise] never": which one is in brackets. */
static void
look(void)
{
	char path[PATH_MAX], text[64];
	ssize_t n;

	if (file_path(path, sizeof path, settings()->root,
		      "/sys/kernel/mm/transparent_hugepage/enabled") != 0)
		return;
	n = errand_read(path, text, sizeof text);
	if (n > 0)
		atomic_store(&always, strstr(text, "[always]") != NULL);
	atomic_store(&looked, n != -ETIMEDOUT);
}

void
huge_scarce(void)
{
	uint32_t now;

	if (!atomic_load(&looked))
		look();
	now = atomic_load(&scarcity);
	if (!may_be_any() || now % 2 ||
	    prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) != 0)
		return;
	if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0)
		atomic_compare_exchange_strong(&scarcity, &now, now + 1);
}

void
huge_plenty(void)
{
	uint32_t now = atomic_load(&scarcity);

	if (now % 2 && atomic_compare_exchange_strong(&scarcity, &now, now + 1))
		prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
}
