/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * HotSpot's gHotSpotVMStructs: types, members, places; and its flags.
 *
 * Called by jvm*.c; calls symbols.c.
 *
 * The table is what the Serviceability Agent (jhsdb) and async-profiler read:
 * not documented, but kept since JDK 6, and self-describing: the layout of its
 * rows is in variables beside it. It is constant once a VM exists. Flags are
 * an array of JVMFlag, whose members the table names; JDK 17 and 25 were
 * looked at.
 *
 * Integers are read as the machine has them; the callers store 32 bits of a
 * value that may have 64, so big-endian machines are told that there is no
 * table.
 */
#include "gc-bridge/jvm_structs.h"

#include <stdint.h>
#include <string.h>

#include "gc-bridge/symbols.h"

/* More is no table. */
#define ROWS_MAX 20000
#define FLAGS_MAX 10000

static const char *const *structs, *const *types; /* first rows */
static const uint64_t *type_name, *field_name, *is_static, *offset, *address,
	*stride;
static const uint64_t *sized_name, *sized_size, *sized_stride;

static const struct symbol needed[] = {
	{ "gHotSpotVMStructs", &structs },
	{ "gHotSpotVMStructEntryTypeNameOffset", &type_name },
	{ "gHotSpotVMStructEntryFieldNameOffset", &field_name },
	{ "gHotSpotVMStructEntryIsStaticOffset", &is_static },
	{ "gHotSpotVMStructEntryOffsetOffset", &offset },
	{ "gHotSpotVMStructEntryAddressOffset", &address },
	{ "gHotSpotVMStructEntryArrayStride", &stride },
	{ "gHotSpotVMTypes", &types },
	{ "gHotSpotVMTypeEntryTypeNameOffset", &sized_name },
	{ "gHotSpotVMTypeEntrySizeOffset", &sized_size },
	{ "gHotSpotVMTypeEntryArrayStride", &sized_stride },
};

static bool
is_sane(uint64_t row_bytes)
{
	return row_bytes >= 16 && row_bytes <= 256 && row_bytes % 8 == 0;
}

bool
jvm_structs_load(void)
{
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
	return false;
#else
	return symbols_find_all("libjvm.so", needed,
				sizeof needed / sizeof *needed, NULL) &&
	       *structs && *types && is_sane(*stride) && is_sane(*sized_stride);
#endif
}

static const char *
text_at(const char *row, uint64_t at)
{
	return *(const char *const *)(const void *)(row + at);
}

static const char *
find_row(const char *type, const char *field)
{
	const char *row = *structs;

	for (unsigned i = 0; i < ROWS_MAX; i++, row += *stride) {
		const char *name = text_at(row, *type_name);

		if (!name)
			return NULL;
		if (strcmp(name, type) == 0 &&
		    strcmp(text_at(row, *field_name), field) == 0)
			return row;
	}
	return NULL;
}

void *
jvm_structs_static(const char *type, const char *field)
{
	const char *row = find_row(type, field);

	if (!row || !*(const int32_t *)(const void *)(row + *is_static))
		return NULL;
	return *(void *const *)(const void *)(row + *address);
}

ptrdiff_t
jvm_structs_offset(const char *type, const char *field)
{
	const char *row = find_row(type, field);

	if (!row || *(const int32_t *)(const void *)(row + *is_static))
		return -1;
	return (ptrdiff_t) * (const uint64_t *)(const void *)(row + *offset);
}

static uint64_t
size_of(const char *type)
{
	const char *row = *types;

	for (unsigned i = 0; i < ROWS_MAX; i++, row += *sized_stride) {
		const char *name = text_at(row, *sized_name);

		if (!name)
			return 0;
		if (strcmp(name, type) == 0)
			return *(const uint64_t *)(const void *)(row +
								 *sized_size);
	}
	return 0;
}

void *
jvm_structs_flag(const char *wanted)
{
	const char *const *flags = jvm_structs_static("JVMFlag", "flags");
	const size_t *count = jvm_structs_static("JVMFlag", "numFlags");
	ptrdiff_t name_at = jvm_structs_offset("JVMFlag", "_name");
	ptrdiff_t value_at = jvm_structs_offset("JVMFlag", "_addr");
	uint64_t bytes = size_of("JVMFlag");

	if (!flags || !*flags || !count || *count > FLAGS_MAX || name_at < 0 ||
	    value_at < 0 || !is_sane(bytes))
		return NULL;
	for (size_t i = 0; i < *count; i++) {
		const char *row = *flags + i * bytes;
		const char *name = text_at(row, (uint64_t)name_at);

		if (name && strcmp(name, wanted) == 0)
			return *(void *const *)(const void *)(row + value_at);
	}
	return NULL;
}
