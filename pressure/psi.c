/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One PSI file: parsed, armed, and not believed without proof.
 *
 * Called by sources.c and systemd.c on the monitor. Triggers fire falsely
 * after arming (a 1.9 s trigger after 0.4 ms of stall), so what counts is the
 * growth of `some total=` since the last look.
 *
 * With CAP_SYS_RESOURCE a short window is allowed; without it the kernel takes
 * multiples of 2 s alone. Where neither is allowed total= is read when the
 * monitor wakes for another reason. No lock, no allocation.
 */
#include "pressure/psi.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/units.h"

#define PRIVILEGED_US 10000
#define PRIVILEGED_WINDOW_US 500000
#define PLAIN_US 200000
#define PLAIN_WINDOW_US 2000000

/* The number behind "total=" in the line that starts with `word`. */
static int
parse_total(const char *text, const char *word, uint64_t *us)
{
	const char *at = text, *total;

	while (at && strncmp(at, word, strlen(word)) != 0) {
		at = strchr(at, '\n');
		if (at)
			at++;
	}
	if (!at)
		return -ENOENT;
	total = strstr(at, "total=");
	if (!total || memchr(at, '\n', (size_t)(total - at)))
		return -EINVAL;
	total += strlen("total=");
	return units_parse_number(total, strspn(total, "0123456789"), us) ?
		       -EINVAL :
		       0;
}

int
psi_parse(const char *text, struct psi_totals *totals)
{
	int full;

	memset(totals, 0, sizeof *totals);
	if (parse_total(text, "some ", &totals->some_us) != 0)
		return -EINVAL;
	full = parse_total(text, "full ", &totals->full_us);
	if (full == -EINVAL)
		return -EINVAL;
	totals->has_full = full == 0;
	return 0;
}

static int
read_totals(int fd, struct psi_totals *totals)
{
	char text[512];
	ssize_t n = file_pread(fd, text, sizeof text);

	return n < 0 ? (int)n : psi_parse(text, totals);
}

/* The trailing NUL is written too: /proc drops the last byte. */
static bool
arm(struct psi *psi, uint64_t threshold_us, uint64_t window_us)
{
	char trigger[64];
	int n = snprintf(trigger, sizeof trigger, "some %llu %llu",
			 (unsigned long long)threshold_us,
			 (unsigned long long)window_us);

	if (write(psi->fd, trigger, (size_t)n + 1) < 0)
		return false;
	psi->armed = true;
	psi->threshold_us = threshold_us;
	psi->window_us = window_us;
	psi->armed_ns = clock_now_ns();
	return true;
}

int
psi_open(struct psi *psi, const char *path)
{
	struct psi_totals totals;
	int error;

	memset(psi, 0, sizeof *psi);
	snprintf(psi->path, sizeof psi->path, "%s", path);
	psi->fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (psi->fd >= 0) {
		psi->privileged = arm(psi, PRIVILEGED_US, PRIVILEGED_WINDOW_US);
		if (!psi->privileged && !arm(psi, PLAIN_US, PLAIN_WINDOW_US))
			snprintf(psi->why, sizeof psi->why, "no trigger: %s",
				 strerror(errno));
	} else {
		snprintf(psi->why, sizeof psi->why, "no trigger: %s",
			 strerror(errno));
		psi->fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (psi->fd < 0) {
		error = -errno;
		snprintf(psi->why, sizeof psi->why, "%s", strerror(errno));
		return error;
	}
	error = read_totals(psi->fd, &totals);
	if (error) { /* PSI off: EOPNOTSUPP */
		snprintf(psi->why, sizeof psi->why, "cannot be read: %s",
			 strerror(-error));
		psi_close(psi);
		return error;
	}
	psi->total_us = totals.some_us;
	return 0;
}

void
psi_close(struct psi *psi)
{
	if (psi->fd >= 0)
		close(psi->fd);
	psi->fd = -1;
	psi->armed = false;
}

int
psi_check(struct psi *psi, short revents, uint64_t *stall_us)
{
	struct psi_totals totals;
	int error;

	*stall_us = 0;
	if (psi->fd < 0)
		return -EBADF;
	if (revents & (POLLERR | POLLHUP))
		return -EPIPE;
	error = read_totals(psi->fd, &totals);
	if (error)
		return -EPIPE;
	if (totals.some_us > psi->total_us)
		*stall_us = totals.some_us - psi->total_us;
	psi->total_us = totals.some_us;
	return 0;
}
