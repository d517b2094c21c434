/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading what the kernel says, without allocating.
 *
 * Called by pressure/ and cli/; calls open(2), pread(2), close(2). No lock.
 * pread and never read: should the program close our descriptor and reuse its
 * number in between, a socket or pipe loses nothing.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/units.h"

int
file_path(char *buffer, size_t bytes, const char *root, const char *path)
{
	int n = snprintf(buffer, bytes, "%s%s", root, path);

	return n < 0 || (size_t)n >= bytes ? -ENAMETOOLONG : 0;
}

int
file_open(const char *path)
{
	int saved = errno;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int error = fd < 0 ? -errno : fd;

	errno = saved;
	return error;
}

static ssize_t
read_from_start(int fd, char *buffer, size_t bytes, bool record)
{
	size_t have = 0;
	int saved = errno;
	ssize_t n;

	do {
		n = pread(fd, buffer + have, bytes - have, (off_t)have);
		if (n > 0)
			have += (size_t)n;
	} while ((n > 0 && have < bytes && !record) ||
		 (n < 0 && errno == EINTR));
	if (n < 0)
		n = -errno;
	else if (have == bytes)
		n = -EFBIG;
	else
		n = (ssize_t)have;
	buffer[have < bytes ? have : bytes - 1] = '\0';
	errno = saved;
	return n;
}

ssize_t
file_pread(int fd, char *buffer, size_t bytes)
{
	return read_from_start(fd, buffer, bytes, false);
}

ssize_t
file_pread_record(int fd, char *buffer, size_t bytes)
{
	return read_from_start(fd, buffer, bytes, true);
}

/*
 * Opened and closed past the C library, whose functions sanitizers watch: they
 * know one descriptor table, take the monitor's numbers for the program's, and
 * forget by its close(2) who has waited for whom on the program's descriptor.
 */
ssize_t
file_read(const char *path, char *buffer, size_t bytes)
{
	int saved = errno;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path,
			      O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? -errno : file_pread(fd, buffer, bytes);

	if (fd >= 0)
		syscall(SYS_close, fd);
	errno = saved;
	return n;
}

int
file_write(const char *path, const char *text, size_t length)
{
	int saved = errno;
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int error = 0;
	ssize_t n;

	if (fd < 0) {
		error = -errno;
	} else {
		n = write(fd, text, length);
		if (n < 0)
			error = -errno;
		else if ((size_t)n != length)
			error = -EIO;
		close(fd);
	}
	errno = saved;
	return error;
}

int
file_field(const char *text, const char *key, uint64_t *number)
{
	size_t length = strlen(key);
	const char *at = text;

	while (at) {
		if (strncmp(at, key, length) == 0 &&
		    (at[length] == ' ' || at[length] == '\t')) {
			const char *digits = at + length;
			digits += strspn(digits, " \t");
			return units_parse_number(
				digits, strspn(digits, "0123456789"), number);
		}
		at = strchr(at, '\n');
		if (at)
			at++;
	}
	return -ENOENT;
}

/* One of them is being read: its name, its value, or it is another's. */
struct variable {
	const char *name;
	char *value;
	size_t matched, length, bytes;
	bool skipping, in_value;
};

/* Takes the next byte: 1 to go on, 0 found, or -ENAMETOOLONG. */
static int
take(struct variable *v, char c)
{
	if (v->in_value) {
		if (v->length == v->bytes) {
			v->value[v->bytes - 1] = '\0';
			return -ENAMETOOLONG;
		}
		v->value[v->length++] = c;
		return c != '\0';
	}
	if (c == '\0') {
		v->skipping = false;
		v->matched = 0;
	} else if (v->skipping) {
		return 1;
	} else if (v->name[v->matched]) {
		v->skipping = c != v->name[v->matched++];
	} else {
		v->in_value = c == '=';
		v->skipping = c != '=';
	}
	return 1;
}

int
file_variable(const char *path, const char *name, char *value, size_t bytes)
{
	struct variable v = { .name = name, .value = value, .bytes = bytes };
	int fd = file_open(path), state = 1;
	int saved = errno;
	char piece[1024];
	off_t offset = 0;
	ssize_t n;

	if (fd < 0)
		return fd;
	while (state == 1 && (n = pread(fd, piece, sizeof piece, offset)) > 0) {
		for (ssize_t i = 0; state == 1 && i < n; i++)
			state = take(&v, piece[i]);
		offset += n;
	}
	close(fd);
	errno = saved;
	return state == 1 ? -ENOENT : state;
}

const char *
file_strerror(int error)
{
	const char *words = NULL;

	if (error < 0 && error != INT_MIN)
		error = -error;
#ifdef __GLIBC__
#if __GLIBC_PREREQ(2, 32)
	words = strerrordesc_np(error);
#endif
#endif
	return words ? words : "unknown error";
}
