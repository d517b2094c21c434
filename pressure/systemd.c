/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * $MEMORY_PRESSURE_WATCH, of whichever kind it is.
 *
 * Called by sources.c on the monitor, in its own descriptor table. Bad values
 * are complained of by name, and the source is left out. The variables are
 * read from /proc/self/environ: the program may be changing its copy just now.
 * No lock, no allocation.
 */
#include "pressure/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/settings.h"

#define WATCH "MEMORY_PRESSURE_WATCH"
#define WRITE "MEMORY_PRESSURE_WRITE"
#define WRITE_BYTES_MAX 1024
/* Of a trigger that we cannot read: any stall, within this window. */
#define WINDOW_US 2000000
/* At most this often is a FIFO or socket read for one event. */
#define READS_MAX 64

long
systemd_base64(const char *text, void *bytes, size_t bytes_max)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned char *to = bytes;
	size_t n = 0, length = strlen(text), padded = length;
	unsigned bits = 0, have = 0;

	while (length && text[length - 1] == '=')
		length--;
	/* Padding may be left out, but where it is it is right. */
	if (length % 4 == 1 ||
	    (padded != length && (padded % 4 || padded - length > 2)))
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
	log_complain("%s=%.200s: %s", name, value, why);
	systemd_close(s);
}

static void
open_psi(struct systemd *s, const char *path, const void *bytes, size_t n)
{
	uint64_t threshold_us = 1, window_us = WINDOW_US;
	int fd, error;

	if (!n) { /* systemd leaves the trigger to us */
		error = psi_open(&s->psi, path);
		if (error || !s->psi.armed) {
			complain(s, WATCH, path, s->psi.why);
			psi_close(&s->psi);
			return;
		}
		fd = s->psi.fd;
	} else {
		fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0) {
			complain(s, WATCH, path, file_strerror(errno));
			return;
		}
		if (!psi_is_kernel_file(fd)) {
			complain(s, WATCH, path, "is not a file of the kernel");
			close(fd);
			return;
		}
		if (write(fd, bytes, n) < 0) {
			complain(s, WATCH, path,
				 errno == EINVAL ?
					 "the kernel refuses the trigger in "
					 "$" WRITE :
					 file_strerror(errno));
			close(fd);
			return;
		}
		psi_parse_trigger(bytes, n, &threshold_us, &window_us);
		error = psi_adopt(&s->psi, fd, path, threshold_us, window_us);
		if (error) {
			complain(s, WATCH, path,
				 error == -EINVAL ? "is not a pressure file" :
						    file_strerror(error));
			close(fd);
			return;
		}
	}
	s->kind = SYSTEMD_PSI;
	s->fd = fd;
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
		complain(s, WATCH, path, file_strerror(errno));
		return;
	}
	s->kind = SYSTEMD_FIFO;
	s->events = POLLIN;
	snprintf(s->psi.path, sizeof s->psi.path, "%s", path);
	snprintf(s->why, sizeof s->why, "FIFO %.100s", path);
}

static void
open_socket(struct systemd *s, const char *path, const void *bytes, size_t n)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof address.sun_path) {
		complain(s, WATCH, path, "too long for a socket");
		return;
	}
	strcpy(address.sun_path, path);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0 ||
	    connect(s->fd, (struct sockaddr *)&address, sizeof address) != 0 ||
	    (n && send(s->fd, bytes, n, MSG_NOSIGNAL) < 0)) {
		complain(s, WATCH, path, file_strerror(errno));
		return;
	}
	s->kind = SYSTEMD_SOCKET;
	s->events = POLLIN;
	snprintf(s->why, sizeof s->why, "socket %.100s", path);
}

static void
open_path(struct systemd *s, const char *watch, const void *bytes, size_t n)
{
	char path[PATH_MAX];
	struct stat is;

	if (*watch != '/')
		complain(s, WATCH, watch, "is not an absolute path");
	else if (file_path(path, sizeof path, settings()->root, watch) != 0)
		complain(s, WATCH, watch, "is too long");
	else if (stat(path, &is) != 0)
		complain(s, WATCH, watch, file_strerror(errno));
	else if (S_ISREG(is.st_mode))
		open_psi(s, path, bytes, n);
	else if (S_ISFIFO(is.st_mode))
		open_fifo(s, path);
	else if (S_ISSOCK(is.st_mode))
		open_socket(s, path, bytes, n);
	else
		complain(s, WATCH, watch,
			 "is neither a file, a FIFO nor a socket");
}

void
systemd_open(struct systemd *s, const char *watch, const char *write_base64)
{
	unsigned char bytes[WRITE_BYTES_MAX];
	long n = 0;

	memset(s, 0, sizeof *s);
	s->fd = s->psi.fd = -1;
	if (!watch || !*watch) {
		snprintf(s->why, sizeof s->why, WATCH " is not set");
		return;
	}
	if (strcmp(watch, "/dev/null") == 0) {
		s->kind = SYSTEMD_OFF;
		snprintf(s->why, sizeof s->why,
			 WATCH "=/dev/null: monitoring is off");
		return;
	}
	if (write_base64)
		n = systemd_base64(write_base64, bytes, sizeof bytes);
	if (n < 0)
		complain(s, WRITE, write_base64,
			 n == -E2BIG ? "is too long" : "is not base64");
	else
		open_path(s, watch, bytes, (size_t)n);
}

void
systemd_open_environment(struct systemd *s)
{
	char path[PATH_MAX], watch[PATH_MAX], to_write[WRITE_BYTES_MAX * 2];
	int error = -ENOENT, write_error = -ENOENT;

	if (!getauxval(AT_SECURE) &&
	    file_path(path, sizeof path, settings()->root,
		      "/proc/self/environ") == 0) {
		error = file_variable(path, WATCH, watch, sizeof watch);
		write_error = file_variable(path, WRITE, to_write,
					    sizeof to_write);
	}
	systemd_open(s, NULL, NULL);
	if (error == -ENAMETOOLONG)
		complain(s, WATCH, watch, "is too long");
	else if (!error && write_error == -ENAMETOOLONG)
		complain(s, WRITE, to_write, "is too long");
	else if (!error)
		systemd_open(s, watch, write_error ? NULL : to_write);
}

void
systemd_close(struct systemd *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = s->psi.fd = -1;
	if (s->kind != SYSTEMD_OFF)
		s->kind = SYSTEMD_NONE;
}

/* Without the right to write, a FIFO ends with its last writer: once more. */
static void
reopen(struct systemd *s)
{
	close(s->fd);
	s->fd = open(s->psi.path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (s->fd < 0) {
		snprintf(s->why, sizeof s->why, "the FIFO has gone");
		systemd_close(s);
	}
}

static bool
read_stream(struct systemd *s, short revents)
{
	char text[256];
	bool some = false;
	ssize_t n = 0;

	for (int i = 0; i < READS_MAX; i++) {
		n = read(s->fd, text, sizeof text);
		if (n <= 0)
			break;
		some = true;
	}
	if (some || (n < 0 && !(revents & (POLLERR | POLLHUP | POLLNVAL))))
		return some;
	if (s->kind == SYSTEMD_FIFO) {
		reopen(s);
	} else {
		snprintf(s->why, sizeof s->why,
			 "the socket's other end has gone");
		systemd_close(s);
	}
	return false;
}

bool
systemd_read(struct systemd *s, short revents)
{
	uint64_t stall_us;

	if (s->kind != SYSTEMD_PSI)
		return s->fd >= 0 && read_stream(s, revents);
	if (psi_check(&s->psi, revents, &stall_us) != 0) {
		snprintf(s->why, sizeof s->why, "the pressure file has gone");
		systemd_close(s);
		return false;
	}
	return (revents & POLLPRI) && stall_us > 0;
}

void
systemd_note(struct systemd *s)
{
	if (s->kind == SYSTEMD_PSI)
		psi_note(&s->psi);
}
