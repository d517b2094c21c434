/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making the control socket.
 *
 * Called by control.c; calls address.c. The folder `spillway` is made with
 * mode 0700 and used only if it is ours; the socket gets its mode before
 * bind(2) by fchmod(2), because umask(2) belongs to the whole process.
 *
 * A file that is there already is replaced if nobody answers behind it: a
 * process of that number died, or was us before exec(2). Files of killed
 * processes are swept here, since nobody else would: those that have neither
 * a process of their number nor anybody who answers (in another pid namespace
 * the number says nothing).
 */
#include "pressure/listener.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/units.h"
#include "pressure/address.h"

#define BACKLOG 8
#define SWEEP_BYTES 8192

static struct sockaddr_un bound_name;
static _Atomic pid_t bound_by; /* 0: there is no file of ours */

static int
make_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC,
			0);

	return fd < 0 ? -errno : fd;
}

/* Whether somebody listens there. */
static bool
is_alive(const struct address *address)
{
	int fd = make_socket();
	bool alive;

	if (fd < 0)
		return true;
	alive = connect(fd, (const struct sockaddr *)&address->name,
			address->bytes) == 0 ||
		errno == EAGAIN;
	close(fd);
	return alive;
}

static void
sweep_name(const char *directory, const char *name)
{
	struct address address;
	char path[64];
	uint64_t pid;
	size_t digits = strspn(name, "0123456789");

	if (strcmp(name + digits, ".sock") != 0 ||
	    units_parse_number(name, digits, &pid) != 0 || pid > INT32_MAX)
		return;
	snprintf(path, sizeof path, "/proc/%d", (int)pid);
	if (access(path, F_OK) == 0 || errno != ENOENT)
		return;
	memset(&address, 0, sizeof address);
	address.name.sun_family = AF_UNIX;
	if ((size_t)snprintf(address.name.sun_path,
			     sizeof address.name.sun_path, "%s/%s", directory,
			     name) >= sizeof address.name.sun_path)
		return;
	address.bytes = sizeof address.name;
	if (!is_alive(&address))
		unlink(address.name.sun_path);
}

/* One buffer full is enough: every start sweeps some. */
static void
sweep(const char *directory)
{
	struct entry { /* struct linux_dirent64 */
		uint64_t inode;
		int64_t next;
		uint16_t bytes;
		uint8_t type;
		char name[];
	};
	static union {
		struct entry entry;
		char bytes[SWEEP_BYTES];
	} buffer;
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long n;

	if (fd < 0)
		return;
	n = syscall(SYS_getdents64, fd, &buffer, sizeof buffer);
	close(fd);
	for (long at = 0; at < n;) {
		const struct entry *entry = (const void *)(buffer.bytes + at);
		sweep_name(directory, entry->name);
		at += entry->bytes;
	}
}

/* The folder of a socket's file, ours and closed to others: 0 or -errno. */
static int
prepare_folder(const struct address *address)
{
	char folder[sizeof address->name.sun_path];
	struct stat status;

	memcpy(folder, address->name.sun_path, sizeof folder);
	*strrchr(folder, '/') = '\0';
	if (mkdir(folder, 0700) != 0 && errno != EEXIST)
		return -errno;
	if (lstat(folder, &status) != 0)
		return -errno;
	if (!S_ISDIR(status.st_mode))
		return -ENOTDIR;
	if (status.st_uid != geteuid())
		return -EPERM;
	if ((status.st_mode & 077) && chmod(folder, 0700) != 0)
		return -errno;
	sweep(folder);
	return 0;
}

static int
bind_address(int fd, const struct address *address)
{
	const struct sockaddr *name = (const struct sockaddr *)&address->name;
	int error;

	if (!address->abstract) {
		error = prepare_folder(address);
		if (error)
			return error;
	}
	if (bind(fd, name, address->bytes) == 0)
		return 0;
	if (errno != EADDRINUSE || address->abstract || is_alive(address))
		return -errno;
	unlink(address->name.sun_path);
	return bind(fd, name, address->bytes) == 0 ? 0 : -errno;
}

int
listener_open(void)
{
	struct address address;
	int fd = make_socket();
	int error = -ENOENT;

	bound_by = 0;
	if (fd < 0)
		return fd;
	if (fchmod(fd, 0600) != 0)
		error = -errno;
	for (unsigned i = 0;; i++) {
		int found = address_candidate(getpid(), i, &address);

		if (found == -ENOENT)
			break;
		if (found == -ENXIO)
			continue;
		if (!found)
			found = bind_address(fd, &address);
		if (!found && listen(fd, BACKLOG) != 0)
			found = -errno;
		if (!found) {
			if (!address.abstract) {
				bound_name = address.name;
				bound_by = getpid();
			}
			return fd;
		}
		error = found;
	}
	close(fd);
	return error;
}

void
listener_remove(void)
{
	if (bound_by && bound_by == getpid())
		unlink(bound_name.sun_path);
	bound_by = 0;
}

/* Where it does work: one unlink(2), of a process that made a file. */
__attribute__((destructor)) static void
remove_at_exit(void)
{
	listener_remove();
}

bool
listener_peer_allowed(int fd)
{
	struct ucred peer;
	socklen_t bytes = sizeof peer;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}
