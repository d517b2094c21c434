/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The address of a control socket.
 *
 * Called by control.c (in the process) and cli/client.c (outside); calls
 * base/file.c. No state.
 *
 * The abstract name holds the start time, so that a process that comes to
 * have the same number is not mistaken for its predecessor; both sides check
 * credentials anyhow, since anybody may bind an abstract name.
 */
#include "pressure/address.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/units.h"

#define START_TIME_FIELD 22

static int
runtime_directory(pid_t pid, char *value, size_t bytes)
{
	char path[64];
	int error;

	snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
	error = file_variable(path, "XDG_RUNTIME_DIR", value, bytes);
	if (!error && value[0] != '/')
		return -ENOENT;
	return error;
}

int
address_below(const char *directory, pid_t pid, struct address *address)
{
	struct sockaddr_un *name = &address->name;
	int n;

	memset(address, 0, sizeof *address);
	name->sun_family = AF_UNIX;
	n = snprintf(name->sun_path, sizeof name->sun_path,
		     "%s/spillway/%d.sock", directory, (int)pid);
	if (n < 0 || (size_t)n >= sizeof name->sun_path)
		return -ENAMETOOLONG;
	address->bytes = (unsigned)(offsetof(struct sockaddr_un, sun_path) +
				    (size_t)n + 1);
	return 0;
}

int
address_parse_start_time(const char *text, uint64_t *ticks)
{
	const char *at = strrchr(text, ')');
	size_t length;

	/* Behind the parenthesis comes field 3. */
	for (int field = 3; at && field <= START_TIME_FIELD; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return -EINVAL;
	length = strspn(at + 1, "0123456789");
	return units_parse_number(at + 1, length, ticks);
}

int
address_start_time(pid_t pid, uint64_t *ticks)
{
	char path[64], text[1024];
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	n = file_read(path, text, sizeof text);
	if (n < 0)
		return (int)n;
	return address_parse_start_time(text, ticks);
}

static int
abstract_name(pid_t pid, struct address *address)
{
	struct sockaddr_un *name = &address->name;
	uint64_t ticks;
	int n, error = address_start_time(pid, &ticks);

	if (error)
		return error == -ENOENT ? -ESRCH : error;
	memset(address, 0, sizeof *address);
	name->sun_family = AF_UNIX;
	address->abstract = true;
	n = snprintf(name->sun_path + 1, sizeof name->sun_path - 1,
		     "spillway/%d/%llu", (int)pid, (unsigned long long)ticks);
	address->bytes = (unsigned)(offsetof(struct sockaddr_un, sun_path) + 1 +
				    (size_t)n);
	return 0;
}

int
address_candidate(pid_t pid, unsigned candidate, struct address *address)
{
	char directory[sizeof address->name.sun_path];
	char path[64];
	struct stat status;
	int error;

	switch (candidate) {
	case 0:
		error = runtime_directory(pid, directory, sizeof directory);
		if (error == -ENAMETOOLONG)
			return error;
		return error ? -ENXIO : address_below(directory, pid, address);
	case 1:
		snprintf(path, sizeof path, "/proc/%d", (int)pid);
		if (stat(path, &status) != 0 || status.st_uid != 0)
			return -ENXIO;
		return address_below("/run", pid, address);
	case 2:
		return abstract_name(pid, address);
	default:
		return -ENOENT;
	}
}
