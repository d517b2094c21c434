/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loader, asked carefully.
 *
 * Called by the scout and by spw_gc_attach() (never by a pass); calls dlsym(3),
 * dl_iterate_phdr(3) and dlopen(3) with RTLD_NOLOAD, which loads nothing.
 *
 * A library that was opened RTLD_LOCAL (a JVM in an embedding program, a
 * plug-in's interpreter) is not seen by dlsym(RTLD_DEFAULT). Its name is
 * copied inside dl_iterate_phdr(), and opened outside: the loader's locks are
 * recursive, those of an allocator that is entered from it are not.
 */
#include "gc-bridge/symbols.h"

#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <stdint.h>
#include <string.h>

struct wanted {
	const char *library;
	unsigned skip; /* so many that match */
	char path[PATH_MAX];
};

static int
match(struct dl_phdr_info *info, size_t bytes, void *argument)
{
	struct wanted *w = argument;
	const char *name = info->dlpi_name;
	const char *base = name ? strrchr(name, '/') : NULL;

	(void)bytes;
	base = base ? base + 1 : name;
	if (!base || strncmp(base, w->library, strlen(w->library)) != 0 ||
	    strlen(name) >= sizeof w->path)
		return 0;
	if (w->skip) {
		w->skip--;
		return 0;
	}
	strcpy(w->path, name);
	return 1;
}

void *
symbols_in(const char *library, const char *name)
{
	struct wanted w;
	void *handle, *found = NULL;

	for (unsigned i = 0; !found; i++) {
		w.library = library;
		w.skip = i;
		if (!dl_iterate_phdr(match, &w))
			return NULL;
		handle = dlopen(w.path, RTLD_LAZY | RTLD_NOLOAD);
		if (!handle)
			continue;
		found = dlsym(handle, name);
		dlclose(handle);
	}
	return found;
}

/* Its library stays loaded from now on; the program, whose name may be one
 * that the loader would look for in each of its folders, does anyway. */
static void
pin(const void *address)
{
	Dl_info info;

	if (dladdr(address, &info) && info.dli_fname &&
	    strchr(info.dli_fname, '/'))
		dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

bool
symbols_find(const char *library, const char *name, void *function)
{
	void *found = dlsym(RTLD_DEFAULT, name);

	if (!found && library)
		found = symbols_in(library, name);
	if (found)
		pin(found);
	memcpy(function, &found, sizeof found);
	return found != NULL;
}

bool
symbols_find_all(const char *library, const struct symbol *symbols,
		 size_t count, const char **missing)
{
	for (size_t i = 0; i < count; i++) {
		if (symbols_find(library, symbols[i].name, symbols[i].function))
			continue;
		if (missing)
			*missing = symbols[i].name;
		return false;
	}
	return true;
}

static int
note_loads(struct dl_phdr_info *info, size_t bytes, void *loads)
{
	(void)bytes;
	*(unsigned long long *)loads = info->dlpi_adds;
	return 1;
}

unsigned long long
symbols_loads(void)
{
	unsigned long long loads = 0;

	dl_iterate_phdr(note_loads, &loads);
	return loads;
}

struct data {
	uintptr_t address, start, end;
};

static int
find_data(struct dl_phdr_info *info, size_t bytes, void *argument)
{
	struct data *d = argument;
	bool inside = false;

	(void)bytes;
	d->start = d->end = 0;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + p->p_vaddr;

		if (p->p_type != PT_LOAD)
			continue;
		if (d->address >= start && d->address < start + p->p_memsz)
			inside = true;
		if (!(p->p_flags & PF_W))
			continue;
		if (!d->start || start < d->start)
			d->start = start;
		if (start + p->p_memsz > d->end)
			d->end = start + p->p_memsz;
	}
	return inside;
}

bool
symbols_data_of(const void *address, char **start, char **end)
{
	struct data d = { .address = (uintptr_t)address };

	if (!dl_iterate_phdr(find_data, &d) || !d.start)
		return false;
	*start = (char *)d.start;
	*end = (char *)d.end;
	return true;
}
