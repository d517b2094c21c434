/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One PSI file: parsed, armed, and not believed without proof.
 *
 * Called by sources.c and systemd.c on the monitor. Triggers fire falsely
 * after arming (a 1.9 s trigger after 0.4 ms of stall), so what counts is the
 * growth of `some total=`, and only when it comes to what the trigger asks
 * for within about a window:
 *
 *	total= at	one to two windows ago	one window ago	now
 *			before_us		recent_us
 *
 * Streaming page cache alone stalls 1 to 2 % of the time; what is told is
 * therefore the trigger's 2 % or 10 % and nothing less, with or without
 * events.
 *
 * With CAP_SYS_RESOURCE a short window is allowed; without it the kernel takes
 * multiples of 2 s alone. Where neither is allowed total= is read when the
 * monitor is awake for another reason. No lock, no allocation.
 */
#include "pressure/psi.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
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
	total = strstr(at, " total=");
	if (!total || memchr(at, '\n', (size_t)(total - at)))
		return -EINVAL;
	total += strlen(" total=");
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

/* Digits up to a blank or the end; the length taken, or 0. */
static size_t
parse_us(const char *text, size_t length, uint64_t *us)
{
	size_t n = 0;

	while (n < length && text[n] >= '0' && text[n] <= '9')
		n++;
	return units_parse_number(text, n, us) == 0 ? n : 0;
}

int
psi_parse_trigger(const char *text, size_t length, uint64_t *threshold_us,
		  uint64_t *window_us)
{
	uint64_t threshold, window;
	size_t n;

	while (length && (!text[length - 1] || text[length - 1] == '\n'))
		length--;
	if (length < 5 ||
	    (memcmp(text, "some ", 5) != 0 && memcmp(text, "full ", 5) != 0))
		return -EINVAL;
	text += 5;
	length -= 5;
	n = parse_us(text, length, &threshold);
	if (!n || n == length || text[n] != ' ')
		return -EINVAL;
	text += n + 1;
	length -= n + 1;
	n = parse_us(text, length, &window);
	if (!n || n != length || !threshold || threshold > window)
		return -EINVAL;
	*threshold_us = threshold;
	*window_us = window;
	return 0;
}

static int
read_totals(int fd, struct psi_totals *totals)
{
	char text[512];
	ssize_t n = file_pread_record(fd, text, sizeof text);

	return n < 0 ? (int)n : psi_parse(text, totals);
}

bool
psi_is_kernel_file(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 &&
	       ((unsigned long)fs.f_type == PROC_SUPER_MAGIC ||
		(unsigned long)fs.f_type == CGROUP2_SUPER_MAGIC);
}

/* The trailing NUL is written too: /proc drops the last byte. */
static bool
arm(struct psi *psi, uint64_t threshold_us, uint64_t window_us)
{
	char trigger[64];
	int n = snprintf(trigger, sizeof trigger, "some %llu %llu",
			 (unsigned long long)threshold_us,
			 (unsigned long long)window_us);

	psi->threshold_us = threshold_us;
	psi->window_us = window_us;
	psi->armed = write(psi->fd, trigger, (size_t)n + 1) >= 0;
	return psi->armed;
}

static void
say(struct psi *psi, const char *what, int error)
{
	snprintf(psi->why, sizeof psi->why, "%s%s", what,
		 error == EOPNOTSUPP ? "the kernel has PSI off (psi=1)" :
				       file_strerror(error));
}

int
psi_adopt(struct psi *psi, int fd, const char *path, uint64_t threshold_us,
	  uint64_t window_us)
{
	struct psi_totals totals;
	int error = read_totals(fd, &totals);

	memset(psi, 0, sizeof *psi);
	psi->fd = -1;
	snprintf(psi->path, sizeof psi->path, "%s", path);
	if (error)
		return error;
	psi->fd = fd;
	psi->armed = true;
	psi->threshold_us = threshold_us;
	psi->window_us = window_us;
	psi->before_us = psi->recent_us = totals.some_us;
	psi->recent_ns = clock_now_ns();
	return 0;
}

int
psi_open(struct psi *psi, const char *path)
{
	struct psi_totals totals;
	int error;

	memset(psi, 0, sizeof *psi);
	snprintf(psi->path, sizeof psi->path, "%s", path);
	psi->threshold_us = PLAIN_US;
	psi->window_us = PLAIN_WINDOW_US;
	psi->fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (psi->fd < 0) {
		say(psi, "no trigger: ", errno);
		psi->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	} else if (!psi_is_kernel_file(psi->fd)) {
		snprintf(psi->why, sizeof psi->why, "not a file of the kernel");
	} else {
		psi->privileged = arm(psi, PRIVILEGED_US, PRIVILEGED_WINDOW_US);
		if (!psi->privileged && !arm(psi, PLAIN_US, PLAIN_WINDOW_US))
			say(psi, "no trigger: ", errno);
	}
	if (psi->fd < 0) {
		error = -errno;
		say(psi, "", -error);
		return error;
	}
	error = read_totals(psi->fd, &totals);
	if (error) {
		if (error == -EINVAL)
			snprintf(psi->why, sizeof psi->why,
				 "not a pressure file");
		else
			say(psi, "cannot be read: ", -error);
		psi_close(psi);
		return error;
	}
	psi->before_us = psi->recent_us = totals.some_us;
	psi->recent_ns = clock_now_ns();
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

/* A total that fell is another group's: growth counts from there. */
static void
forget_fallen(struct psi *psi, const struct psi_totals *totals)
{
	if (totals->some_us < psi->recent_us)
		psi->before_us = psi->recent_us = totals->some_us;
}

int
psi_check(struct psi *psi, short revents, uint64_t *stall_us)
{
	struct psi_totals totals;
	uint64_t now = clock_now_ns(), grown;

	*stall_us = 0;
	if (psi->fd < 0 || (revents & (POLLERR | POLLHUP | POLLNVAL)) ||
	    read_totals(psi->fd, &totals) != 0)
		return -EPIPE;
	forget_fallen(psi, &totals);
	grown = totals.some_us - psi->before_us;
	/* An eighth less: kernel and we do not look at the same moment. */
	if (grown >= psi->threshold_us - psi->threshold_us / 8) {
		*stall_us = grown;
		psi->before_us = psi->recent_us = totals.some_us;
		psi->recent_ns = now;
	} else if (now - psi->recent_ns >= psi->window_us * CLOCK_US) {
		psi->before_us = psi->recent_us;
		psi->recent_us = totals.some_us;
		psi->recent_ns = now;
	}
	return 0;
}

bool
psi_is_due(const struct psi *psi)
{
	uint64_t ns = psi->window_us * CLOCK_US;

	return psi->fd >= 0 && clock_now_ns() - psi->recent_ns >= ns;
}

void
psi_note(struct psi *psi)
{
	struct psi_totals totals;

	if (!psi_is_due(psi) || read_totals(psi->fd, &totals) != 0)
		return;
	forget_fallen(psi, &totals);
	psi->before_us = psi->recent_us;
	psi->recent_us = totals.some_us;
	psi->recent_ns = clock_now_ns();
}
