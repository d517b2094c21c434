/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Settings: what SPILLWAY_CONF and spw_configure() say.
 *
 * Usage: settings_load() at the start, then read the members of settings().
 * Numbers are atomic; root is written before threads exist; tiers are read
 * through settings_tier_of().
 *
 * Text: "key:value,key:value". Blanks around an item and empty items are
 * skipped; of two items with one key the later wins.
 *
 * Caveats: allocation-free and locale-free (it runs inside the first malloc).
 * Unknown keys and bad values are named through log_complain(), and nothing
 * of that text takes effect.
 */
#ifndef BASE_SETTINGS_H
#define BASE_SETTINGS_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <spillway/shrinker.h>

enum settings_oom { SETTINGS_OOM_KERNEL, SETTINGS_OOM_FAIL };
enum settings_pagecache { SETTINGS_PAGECACHE_IGNORE, SETTINGS_PAGECACHE_SHARE };
enum settings_threads { SETTINGS_THREADS_AUTO, SETTINGS_THREADS_NEVER };

/* Sources that can be left out: SPILLWAY_CONF=psi:off and so on. */
enum settings_source {
	SETTINGS_CGROUP = 1 << 0,  /* cgroup:on|off */
	SETTINGS_MACHINE = 1 << 1, /* machine:on|off */
	SETTINGS_RLIMIT = 1 << 2,  /* rlimit:on|off */
	SETTINGS_PSI = 1 << 3,     /* psi:on|off */
	SETTINGS_NOTIFY = 1 << 4,  /* notify:on|off  v1 and v2 events */
	SETTINGS_SYSTEMD = 1 << 5, /* systemd:on|off */
	SETTINGS_CONTROL = 1 << 6, /* control:on|off */
	SETTINGS_SOURCES_ALL = (1 << 7) - 1,
};

/* gc:WORD+WORD: the bits of these words' places. */
#define SETTINGS_GC_WORDS                               \
	"off|auto|boehm|cpython|jvm|jvm-sweep|lua|node" \
	"|ocaml|ocaml-idle|php|ruby|ruby-compact"
#define SETTINGS_GC_AUTO 0x2u

#define SETTINGS_NAME_BYTES 64

/* Whether it can be the name of a shrinker, an arena, a cache: 1 to 63 bytes. */
static inline bool
settings_is_name(const char *name)
{
	return name && name[0] &&
	       strnlen(name, SETTINGS_NAME_BYTES) < SETTINGS_NAME_BYTES;
}
#define SETTINGS_TIERS_MAX 16

/* tier:NAME=cold */
struct settings_tier {
	char name[SETTINGS_NAME_BYTES];
	enum spw_tier tier;
};

struct settings {
	_Atomic int off;                  /* off, off:yes|no */
	_Atomic int threads;              /* threads:auto|never */
	_Atomic uint64_t limit_bytes;     /* limit:400M|none; UINT64_MAX */
	_Atomic int oom;                  /* oom:kernel|fail */
	_Atomic int pagecache;            /* pagecache:ignore|share */
	_Atomic int log_level;            /* log:off|error|warning|info|debug */
	_Atomic unsigned sources;         /* enum settings_source bits */
	_Atomic uint64_t soft_bytes;      /* soft:32M or soft:8%: least soft */
	_Atomic unsigned soft_hundredths; /*   watermark; 0: the default */
	_Atomic uint64_t hard_bytes;      /* hard:8M or hard:2% */
	_Atomic unsigned hard_hundredths;
	_Atomic uint64_t gate_ns;     /* gate:10ms, longest wait; 0: never */
	_Atomic uint64_t deadline_ns; /* deadline:250ms for one shrinker */
	_Atomic uint64_t start_bytes; /* start:16M: heap that starts threads */
	_Atomic int huge;             /* huge:on|off  huge pages */
	_Atomic unsigned gc;          /* gc:off|auto|boehm+lua ...: bits */
	_Atomic uint64_t gc_interval_ns; /* gc-interval:10s; 0: no filter */
	char root[PATH_MAX];             /* root:DIR in front of /proc, /sys */
	struct settings_tier tiers[SETTINGS_TIERS_MAX];
	unsigned tiers_count;
};

/* Borrowed for ever. Defaults until settings_load() or _parse() ran. */
struct settings *settings(void);

/*
 * Reads SPILLWAY_CONF the first time, does nothing later. A bad text is
 * complained of and ignored whole. A program that runs with the rights of
 * another user (AT_SECURE) is not told what to do by its environment.
 */
void settings_load(void);

/*
 * Threads and sockets exist from now on: the settings that were read when
 * they were made (off, threads, root) are refused, and `changed`
 * (may be NULL) is called after every change of the others.
 */
void settings_started_set(void (*changed)(void));
bool settings_started(void);
void settings_tell(void);

/*
 * 0, -EINVAL, or -EBUSY where `started` and a key comes too late: bad (may be
 * NULL) gets one line that names key, value and reason. All or nothing.
 */
#define SETTINGS_BAD_BYTES 320
int settings_parse(struct settings *into, const char *text, bool started,
		   char bad[SETTINGS_BAD_BYTES]);

/* The i-th key for manual and --help, in their order; NULL after the last. */
struct settings_key {
	const char *name;
	const char *values;      /* "SIZE or PERCENT", "auto, never" */
	const char *start_value; /* what holds where nothing is said */
	const char *help;        /* a few words */
	bool early;              /* only before the first use */
};
const struct settings_key *settings_key(unsigned i);

/* "free", "cold", "garbage", "warm", "last" or a number 0 to 40; -1. */
int settings_tier_parse(const char *text, size_t length);
const char *settings_tier_name(enum spw_tier tier);

/* The user's override for a shrinker of this name, else `tier`. */
enum spw_tier settings_tier_of(const char *name, enum spw_tier tier);

#endif
