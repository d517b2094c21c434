/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pressure stall information: one memory.pressure file.
 *
 * Usage: psi_open(), poll its fd for POLLPRI where armed, psi_check() after
 * that and now and then anyhow: it says what is true.
 *
 * Caveats: allocation-free, one owner. Triggers fire falsely after arming
 * and late without CAP_SYS_RESOURCE: never believed without growth of total=.
 * The trigger is written with its trailing NUL, or /proc eats a digit.
 */
#ifndef PRESSURE_PSI_H
#define PRESSURE_PSI_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct psi {
	int fd;          /* the trigger's; -1: none */
	bool armed;      /* events come; else only total= is read */
	bool privileged; /* short windows are allowed */
	uint64_t threshold_us, window_us;
	/* `some total=`: where growth counts from, and one window later. */
	uint64_t before_us, recent_us;
	uint64_t recent_ns; /* when recent_us was read */
	char path[PATH_MAX];
	char why[128]; /* why it is not armed */
};

struct psi_totals {
	uint64_t some_us, full_us;
	bool has_full;
};

/* Parses the file's text: 0 or -EINVAL. */
int psi_parse(const char *text, struct psi_totals *totals);

/*
 * Parses a trigger, "some 200000 2000000", of `length` bytes with or without
 * a trailing NUL: 0 or -EINVAL.
 */
int psi_parse_trigger(const char *text, size_t length, uint64_t *threshold_us,
		      uint64_t *window_us);

/* Whether a trigger may be written: any other file would be overwritten. */
bool psi_is_kernel_file(int fd);

/*
 * Opens the file and writes the best trigger that is allowed; a file that is
 * not the kernel's is not written to. 0 (armed or readable) or -errno with
 * why.
 */
int psi_open(struct psi *psi, const char *path);
void psi_close(struct psi *psi);

/*
 * As psi_open(), for a descriptor that somebody else opened and armed, with
 * that trigger; it now belongs to psi. Where total= cannot be read: -errno,
 * and the descriptor stays the caller's.
 */
int psi_adopt(struct psi *psi, int fd, const char *path, uint64_t threshold_us,
	      uint64_t window_us);

/*
 * After POLLPRI, or any time: stalled time of the last one or two windows
 * that was not told before, once it comes to the trigger's threshold; until
 * then 0. 0 or -EPIPE: the group is gone (POLLERR), close it.
 */
int psi_check(struct psi *psi, short revents, uint64_t *stall_us);

/* Whether a window is over since total= was read. */
bool psi_is_due(const struct psi *psi);

/* If so, reads it to know where growth begins; tells nothing. */
void psi_note(struct psi *psi);

#endif
