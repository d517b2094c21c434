/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the memory ends: every limit that this process stands under, and how
 * much is left below the nearest.
 *
 * Usage: limits_open(), then limits_read() as often as needed.
 *
 * Caveats: allocation-free. Not thread-safe: one owner (the monitor, or the
 * thread that senses under threads:never). With keep_open the descriptors
 * belong to the calling thread's descriptor table; without it every read
 * opens and closes its files.
 *
 * Limits: v1 memory.limit_in_bytes and v2 memory.max / memory.high of the own
 * cgroup and of every ancestor that can be seen; the machine's MemAvailable;
 * RLIMIT_AS and RLIMIT_DATA; the user's own limit: (against this process's
 * resident memory).
 */
#ifndef PRESSURE_LIMITS_H
#define PRESSURE_LIMITS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum limits_kind {
	LIMITS_NONE,
	LIMITS_V1, /* memory.limit_in_bytes */
	LIMITS_V2_MAX,
	LIMITS_V2_HIGH,
	LIMITS_MACHINE,
	LIMITS_RLIMIT_AS,
	LIMITS_RLIMIT_DATA,
	LIMITS_OWN, /* limit: */
};

/* Deepest hierarchy that is followed; more ancestors are said and skipped. */
#define LIMITS_GROUPS_MAX 16
#define LIMITS_PATH_BYTES 1024

/* One cgroup on the way up; [0] is the own one. */
struct limits_group {
	char path[LIMITS_PATH_BYTES]; /* of the directory, root included */
	uint64_t max_bytes;           /* UINT64_MAX: none */
	uint64_t high_bytes;
	int usage_fd; /* -1 where not kept open, or no limit */
	int stat_fd;
	int max_fd, high_fd; /* -1 where not kept open, or no such file */
};

struct limits {
	bool keep_open;
	bool v2;        /* which hierarchy has the controller */
	bool hidden;    /* there are ancestors that we cannot see */
	bool throttled; /* by the last reading */
	unsigned groups_count;
	struct limits_group groups[LIMITS_GROUPS_MAX];
	uint64_t rlimit_as, rlimit_data; /* UINT64_MAX: none */
	uint64_t heap_free_bytes; /* mapped and not in use; the caller's word */
	int meminfo_fd, statm_fd, cgroup_fd; /* -1 where not kept open */
	uint64_t page_bytes;
	unsigned refreshes;
	uint64_t machine_ns; /* when meminfo was last read */
	uint64_t machine_total, machine_available; /* as last read */
	char cgroup_line[LIMITS_PATH_BYTES]; /* to see that we were moved */
	char why[256]; /* the first thing that does not work, in words */
};

struct limits_reading {
	enum limits_kind kind;       /* of the tightest */
	unsigned group;              /* index, for V1 and V2 */
	uint64_t limit_bytes;        /* UINT64_MAX: no limit known */
	uint64_t usage_bytes;        /* raw */
	uint64_t cache_bytes;        /* reclaimable page cache and slab in it
					 * (0 where stat was not read) */
	uint64_t headroom_bytes;     /* limit - usage + cache as the page
					 * cache policy says; tightest wins */
	uint64_t headroom_raw_bytes; /* limit - usage, tightest */
	/* Of the nearest limit that a v1 threshold of `group` knows nothing
	 * of: its ancestors, the machine; UINT64_MAX: none. */
	uint64_t headroom_above_bytes;
	bool stat_read;
	uint64_t resident_bytes; /* of this process; 0: not known */
};

/* Usage less what can be dropped at no cost. */
static inline uint64_t
limits_held_bytes(const struct limits_reading *r)
{
	return r->usage_bytes > r->cache_bytes ?
		       r->usage_bytes - r->cache_bytes :
		       0;
}

/* How far usage is above a limit that does not kill. */
static inline uint64_t
limits_over_bytes(const struct limits_reading *r)
{
	uint64_t held = limits_held_bytes(r);

	return held > r->limit_bytes ? held - r->limit_bytes : 0;
}

/* Above memory.high a thread that is charged for a page, or for what the kernel
 * keeps for it, sleeps for up to 2 s: nothing is touched, opened or made. */
static inline bool
limits_is_throttled(const struct limits_reading *r)
{
	return r->kind == LIMITS_V2_HIGH && limits_over_bytes(r);
}

/* 0, or -errno with limits->why; a process without any cgroup is no error. */
int limits_open(struct limits *limits, bool keep_open);
void limits_close(struct limits *limits);

/*
 * Reads limits and membership again (a process may be moved, limits change):
 * true when anything changed.
 */
bool limits_refresh(struct limits *limits);

/*
 * Reads usage of every limit. memory.stat (to subtract reclaimable cache) is
 * read only for groups whose raw headroom is below stat_below_bytes. A file
 * that cannot be read drops its limit from this reading; never fails.
 */
void limits_read(struct limits *limits, uint64_t stat_below_bytes,
		 struct limits_reading *reading);

/* How much of this process is resident: bytes, or 0 where it cannot be read. By
 * the descriptor that limits keep, which takes nothing of the kernel, or -1. */
uint64_t limits_read_resident(int statm_fd);

const char *limits_kind_name(enum limits_kind kind);

/* Parsers, apart for tests and fuzzing. `text` ends in NUL. */
/* The path of the memory controller in /proc/self/cgroup text: 1 v1, 2 v2,
 * -ENOENT, -EINVAL. */
int limits_parse_cgroup(const char *text, char *path, size_t path_bytes);
/* Where that hierarchy is mounted and with which root, from whole lines of
 * mountinfo; of several mounts one of the hierarchy's own root, else the
 * first. 0, -ENOENT, -EINVAL (does not fit). */
int limits_parse_mountinfo(const char *text, bool v2, char *mount,
			   size_t mount_bytes, char *mount_root,
			   size_t mount_root_bytes);
/* "max", a number, v1's huge number for none: UINT64_MAX is none. */
int limits_parse_limit(const char *text, uint64_t *bytes);
/* Bytes used: digits alone. 0 or -EINVAL. */
int limits_parse_usage(const char *text, uint64_t *bytes);
/* What of a group's memory can be dropped at no cost, from memory.stat. */
uint64_t limits_parse_stat(const char *text, bool v2);
/* MemTotal and MemAvailable in bytes: 0 or -EINVAL. */
int limits_parse_meminfo(const char *text, uint64_t *total,
			 uint64_t *available);
/* Seven numbers of pages: 0 or -EINVAL. */
int limits_parse_statm(const char *text, uint64_t pages[7]);

#endif
