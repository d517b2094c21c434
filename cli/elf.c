/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A reader of ELF program headers.
 *
 * Called by target.c. Only headers of this machine's class are walked; of
 * others it suffices that they are others. A Go program is known by its note
 * (name "Go", type 4: the build id), which strip(1) leaves in place.
 */
#include "cli/elf.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

#define SEGMENTS_MAX 128
#define NOTES_BYTES 4096
#define GO_BUILD_ID 4

#if defined(__x86_64__)
#define OUR_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define OUR_MACHINE EM_AARCH64
#elif defined(__i386__)
#define OUR_MACHINE EM_386
#elif defined(__arm__)
#define OUR_MACHINE EM_ARM
#elif defined(__riscv)
#define OUR_MACHINE EM_RISCV
#elif defined(__powerpc64__)
#define OUR_MACHINE EM_PPC64
#elif defined(__s390x__)
#define OUR_MACHINE EM_S390
#else
#error "which machine is this?"
#endif

static const char *
machine_name(unsigned machine)
{
	switch (machine) {
	case EM_386:
		return "32-bit x86";
	case EM_X86_64:
		return "x86-64";
	case EM_ARM:
		return "32-bit ARM";
	case EM_AARCH64:
		return "AArch64";
	case EM_RISCV:
		return "RISC-V";
	case EM_PPC64:
		return "64-bit PowerPC";
	case EM_S390:
		return "s390";
	default:
		return "unknown";
	}
}

/* The loader's file name tells whose it is. */
static const char *
libc_of(const char *loader)
{
	const char *slash = strrchr(loader, '/');
	const char *name = slash ? slash + 1 : loader;

	if (strncmp(name, "ld-musl", 7) == 0)
		return "musl";
	if (strncmp(name, "ld-uClibc", 9) == 0 ||
	    strncmp(name, "ld64-uClibc", 11) == 0)
		return "uClibc";
	if (strncmp(name, "linker", 6) == 0)
		return "Android's";
	if (strncmp(name, "ld-linux", 8) == 0 ||
	    strncmp(name, "ld64.so", 7) == 0 ||
	    strncmp(name, "ld.so", 5) == 0 ||
	    (strncmp(name, "ld-", 3) == 0 && strstr(name, ".so")))
		return NULL;
	return "an unknown one";
}

static size_t
round_up(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

static bool
has_go_note(int fd, const ElfW(Phdr) * segment)
{
	_Alignas(ElfW(Nhdr)) char notes[NOTES_BYTES];
	size_t bytes = segment->p_filesz < sizeof notes ? segment->p_filesz :
							  sizeof notes;
	ssize_t n = pread(fd, notes, bytes, (off_t)segment->p_offset);
	size_t at = 0, end = n > 0 ? (size_t)n : 0;

	while (at + sizeof(ElfW(Nhdr)) <= end) {
		ElfW(Nhdr) note;
		size_t name, next;

		memcpy(&note, notes + at, sizeof note);
		name = at + sizeof note;
		next = name + round_up(note.n_namesz) + round_up(note.n_descsz);
		if (note.n_type == GO_BUILD_ID && note.n_namesz == 4 &&
		    name + 4 <= end && memcmp(notes + name, "Go\0", 4) == 0)
			return true;
		if (next <= at || next > end)
			return false;
		at = next;
	}
	return false;
}

static int
read_loader(int fd, const ElfW(Phdr) * segment, struct elf *e)
{
	size_t bytes = segment->p_filesz;

	if (!bytes || bytes > sizeof e->loader)
		return -ENOEXEC;
	if (pread(fd, e->loader, bytes, (off_t)segment->p_offset) !=
		    (ssize_t)bytes ||
	    e->loader[bytes - 1])
		return -ENOEXEC;
	return 0;
}

static int
read_segments(int fd, const ElfW(Ehdr) * head, struct elf *e)
{
	ElfW(Phdr) segment;

	e->is_static = true;
	for (unsigned i = 0; i < head->e_phnum && i < SEGMENTS_MAX; i++) {
		off_t at = (off_t)(head->e_phoff + i * sizeof segment);
		int error = 0;

		if (pread(fd, &segment, sizeof segment, at) !=
		    (ssize_t)sizeof segment)
			return -ENOEXEC;
		if (segment.p_type == PT_INTERP) {
			e->is_static = false;
			error = read_loader(fd, &segment, e);
		} else if (segment.p_type == PT_NOTE) {
			e->is_go |= has_go_note(fd, &segment);
		}
		if (error)
			return error;
	}
	if (!e->is_static)
		e->other_libc = libc_of(e->loader);
	return 0;
}

static int
read_head(int fd, struct elf *e)
{
	ElfW(Ehdr) head;
	ssize_t n = pread(fd, &head, sizeof head, 0);
	int class = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32;

	if (n < 0)
		return -errno;
	if (n < SELFMAG || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
		return 0;
	e->is_elf = true;
	/* e_machine is at the same place in both classes. */
	if (n < (ssize_t)sizeof(Elf32_Ehdr))
		return -ENOEXEC;
	if (head.e_ident[EI_CLASS] != class || head.e_machine != OUR_MACHINE) {
		e->other_machine = machine_name(head.e_machine);
		return 0;
	}
	if (n < (ssize_t)sizeof head || head.e_phentsize != sizeof(ElfW(Phdr)))
		return -ENOEXEC;
	return read_segments(fd, &head, e);
}

int
elf_read(const char *path, struct elf *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int error;

	memset(e, 0, sizeof *e);
	if (fd < 0)
		return -errno;
	error = read_head(fd, e);
	close(fd);
	return error;
}
