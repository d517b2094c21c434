/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pressure stall information: one memory.pressure file.
 *
 * Usage: psi_open(), poll its fd for POLLPRI, then psi_check() says whether
 * it is true.
 *
 * Caveats: allocation-free, one owner. Triggers fire falsely after arming
 * and late without CAP_SYS_RESOURCE: never believed without growth of total=.
 * The trigger is written with its trailing NUL, or /proc eats a digit.
 */
#ifndef PRESSURE_PSI_H
#define PRESSURE_PSI_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct psi {
	int fd;          /* the trigger's; -1: none */
	bool armed;      /* events come; else only total= is read */
	bool privileged; /* short windows are allowed */
	uint64_t threshold_us, window_us;
	uint64_t total_us; /* `some` as last read */
	uint64_t armed_ns;
	char path[PATH_MAX];
	char why[128]; /* why it is not armed */
};

struct psi_totals {
	uint64_t some_us, full_us;
	bool has_full;
};

/* Parses the file's text: 0 or -EINVAL. */
int psi_parse(const char *text, struct psi_totals *totals);

/* 0 (armed or readable) or -errno with why. */
int psi_open(struct psi *psi, const char *path);
void psi_close(struct psi *psi);

/*
 * After POLLPRI (or any time): growth of `some` in us since the last call.
 * -EPIPE: the group is gone (POLLERR), close it.
 */
int psi_check(struct psi *psi, short revents, uint64_t *stall_us);

#endif
