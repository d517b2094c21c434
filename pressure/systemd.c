/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * $MEMORY_PRESSURE_WATCH, of whichever kind it is.
 *
 * Called by sources.c on the monitor, in its own descriptor table. Bad values
 * are complained of by name, and the source is left out. No lock, no
 * allocation.
 */
#include "pressure/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

#define WRITE_BYTES_MAX 1024

long
systemd_base64(const char *text, void *bytes, size_t bytes_max)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned char *to = bytes;
	size_t n = 0, length = strlen(text);
	unsigned bits = 0, have = 0;

	while (length && text[length - 1] == '=')
		length--;
	if (length % 4 == 1)
		return -EINVAL;
	for (size_t i = 0; i < length; i++) {
		const char *digit = memchr(digits, text[i], sizeof digits - 1);

		if (!digit)
			return -EINVAL;
		bits = bits << 6 | (unsigned)(digit - digits);
		have += 6;
		if (have >= 8) {
			if (n == bytes_max)
				return -E2BIG;
			have -= 8;
			to[n++] = (unsigned char)(bits >> have);
		}
	}
	return (long)n;
}

static void
complain(struct systemd *s, const char *name, const char *value,
	 const char *why)
{
	snprintf(s->why, sizeof s->why, "%s=%.80s: %s", name, value, why);
	log_complain("%s=%s: %s", name, value, why);
	systemd_close(s);
}

static void
open_psi(struct systemd *s, const char *path, const void *bytes, size_t n)
{
	struct psi_totals totals;
	char text[512];

	s->fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (s->fd < 0 || (n && write(s->fd, bytes, n) < 0)) {
		complain(s, "MEMORY_PRESSURE_WATCH", path, strerror(errno));
		return;
	}
	if (file_pread(s->fd, text, sizeof text) < 0 ||
	    psi_parse(text, &totals) != 0) {
		complain(s, "MEMORY_PRESSURE_WATCH", path,
			 "is not a pressure file");
		return;
	}
	s->is_psi = true;
	s->psi.fd = s->fd;
	s->psi.total_us = totals.some_us;
	s->events = POLLPRI;
	snprintf(s->why, sizeof s->why, "pressure file %.100s", path);
}

static void
open_fifo(struct systemd *s, const char *path)
{
	/* Read and write: a FIFO whose writer leaves must not end. */
	s->fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (s->fd < 0)
		s->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (s->fd < 0) {
		complain(s, "MEMORY_PRESSURE_WATCH", path, strerror(errno));
		return;
	}
	s->events = POLLIN;
	snprintf(s->why, sizeof s->why, "FIFO %.100s", path);
}

static void
open_socket(struct systemd *s, const char *path, const void *bytes, size_t n)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof address.sun_path) {
		complain(s, "MEMORY_PRESSURE_WATCH", path, "path too long");
		return;
	}
	strcpy(address.sun_path, path);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0 ||
	    connect(s->fd, (struct sockaddr *)&address, sizeof address) != 0 ||
	    (n && send(s->fd, bytes, n, MSG_NOSIGNAL) < 0)) {
		complain(s, "MEMORY_PRESSURE_WATCH", path, strerror(errno));
		return;
	}
	s->events = POLLIN;
	snprintf(s->why, sizeof s->why, "socket %.100s", path);
}

void
systemd_open(struct systemd *s, const char *watch, const char *write_base64)
{
	unsigned char bytes[WRITE_BYTES_MAX];
	struct stat is;
	long n = 0;

	memset(s, 0, sizeof *s);
	s->fd = s->psi.fd = -1;
	if (!watch || !*watch) {
		snprintf(s->why, sizeof s->why,
			 "MEMORY_PRESSURE_WATCH is not set");
		return;
	}
	if (strcmp(watch, "/dev/null") == 0) {
		s->off = true;
		snprintf(s->why, sizeof s->why,
			 "MEMORY_PRESSURE_WATCH=/dev/null: monitoring is off");
		return;
	}
	if (write_base64) {
		n = systemd_base64(write_base64, bytes, sizeof bytes);
		if (n < 0) {
			complain(s, "MEMORY_PRESSURE_WRITE", write_base64,
				 n == -E2BIG ? "too long" : "is not base64");
			return;
		}
	}
	if (*watch != '/')
		complain(s, "MEMORY_PRESSURE_WATCH", watch,
			 "is not an absolute path");
	else if (stat(watch, &is) != 0)
		complain(s, "MEMORY_PRESSURE_WATCH", watch, strerror(errno));
	else if (S_ISREG(is.st_mode))
		open_psi(s, watch, bytes, (size_t)n);
	else if (S_ISFIFO(is.st_mode))
		open_fifo(s, watch);
	else if (S_ISSOCK(is.st_mode))
		open_socket(s, watch, bytes, (size_t)n);
	else
		complain(s, "MEMORY_PRESSURE_WATCH", watch,
			 "is neither a file, a FIFO nor a socket");
}

void
systemd_close(struct systemd *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = s->psi.fd = -1;
}

bool
systemd_read(struct systemd *s, short revents)
{
	char text[256];
	uint64_t stall_us;
	bool some = false;
	ssize_t n;

	if (s->is_psi) {
		if (psi_check(&s->psi, revents, &stall_us) != 0) {
			systemd_close(s);
			return false;
		}
		return (revents & POLLPRI) && stall_us > 0;
	}
	while ((n = read(s->fd, text, sizeof text)) > 0)
		some = true;
	if ((n == 0 || (revents & (POLLERR | POLLHUP))) && !some) {
		snprintf(s->why, sizeof s->why, "the other end has gone");
		systemd_close(s);
	}
	return some;
}
