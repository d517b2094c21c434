/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an ELF file says of itself, as far as a preload cares.
 *
 * Usage: elf_read(path, &e).
 *
 * Caveats: believes no offset or size in the file before it has checked it.
 */
#ifndef CLI_ELF_H
#define CLI_ELF_H

#include <stdbool.h>

#define ELF_LOADER_BYTES 256

struct elf {
	bool is_elf;
	const char *other_machine; /* class or machine that is not ours */
	bool is_static;            /* no loader */
	bool is_go;
	const char *other_libc; /* the loader is not the GNU C library's */
	char loader[ELF_LOADER_BYTES];
};

/* 0 (also for what is no ELF file) or -errno. */
int elf_read(const char *path, struct elf *elf);

#endif
