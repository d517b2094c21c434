/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opens the sockets that the settings name: TCP addresses, or one unix socket.
 *
 * Called by server.c. A unix socket that a dead server left is replaced; one
 * that answers is not.
 */
#include "examples/cached/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "examples/cached/settings.h"

#define BACKLOG 1024
#define SOCKET_FLAGS (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)

static void
complain(const char *what, const char *where, const char *why)
{
	fprintf(stderr, "spillway-cached: cannot %s %s: %s\n", what, where,
		why);
}

static struct sockaddr_un
unix_address(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strncpy(address.sun_path, path, sizeof address.sun_path - 1);
	return address;
}

/* Removes the socket of a server that is no more. */
static void
remove_left_over(const struct sockaddr_un *address)
{
	struct stat status;
	int probe;

	if (lstat(address->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
		return;
	probe = socket(AF_UNIX, SOCKET_FLAGS, 0);
	if (probe < 0)
		return;
	if (connect(probe, (const struct sockaddr *)address, sizeof *address) !=
		    0 &&
	    errno == ECONNREFUSED)
		unlink(address->sun_path);
	close(probe);
}

static int
open_unix(const char *path)
{
	struct sockaddr_un address = unix_address(path);
	int opened = socket(AF_UNIX, SOCKET_FLAGS, 0);
	mode_t old;
	int bound;

	if (opened < 0) {
		complain("make a socket for", path, strerror(errno));
		return -1;
	}
	remove_left_over(&address);
	old = umask((mode_t)~settings.path_mode & 0777);
	bound = bind(opened, (struct sockaddr *)&address, sizeof address);
	umask(old);
	if (bound == 0 && listen(opened, BACKLOG) == 0)
		return opened;
	complain("listen at", path, strerror(errno));
	close(opened);
	return -1;
}

static int
open_tcp(const struct addrinfo *info)
{
	int opened = socket(info->ai_family, SOCKET_FLAGS, 0), on = 1;

	if (opened < 0)
		return -1;
	setsockopt(opened, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (info->ai_family == AF_INET6)
		setsockopt(opened, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	if (bind(opened, info->ai_addr, info->ai_addrlen) == 0 &&
	    listen(opened, BACKLOG) == 0)
		return opened;
	on = errno;
	close(opened);
	errno = on;
	return -1;
}

/* All sockets of one name. False: the message was printed. */
static bool
open_name(const char *name, int *sockets, unsigned *count)
{
	struct addrinfo hints = { .ai_flags = AI_PASSIVE,
				  .ai_socktype = SOCK_STREAM };
	struct addrinfo *all;
	int error = getaddrinfo(name, settings.port, &hints, &all);
	bool good = true;

	if (error) {
		complain("find", name,
			 error == EAI_SYSTEM ? strerror(errno) :
					       gai_strerror(error));
		return false;
	}
	for (struct addrinfo *one = all; good && one; one = one->ai_next) {
		if (*count == LISTENERS_MAX) {
			complain("listen at", name, "over 16 addresses");
			good = false;
			break;
		}
		sockets[*count] = open_tcp(one);
		if (sockets[*count] >= 0) {
			(*count)++;
			continue;
		}
		fprintf(stderr,
			"spillway-cached: cannot listen at %s, port %s: %s\n",
			name, settings.port, strerror(errno));
		good = false;
	}
	freeaddrinfo(all);
	return good;
}

unsigned
listener_open_all(int *sockets)
{
	char *names, *rest, *name;
	unsigned count = 0;
	bool good = true;

	if (settings.path) {
		sockets[0] = open_unix(settings.path);
		return sockets[0] >= 0;
	}
	names = strdup(settings.addresses);
	if (!names) {
		complain("listen at", settings.addresses, strerror(errno));
		return 0;
	}
	for (rest = names; good && (name = strtok_r(rest, ",", &rest));)
		good = open_name(name, sockets, &count);
	free(names);
	if (good && !count)
		complain("listen at", "\"\"", "no address");
	if (good)
		return count;
	while (count)
		close(sockets[--count]);
	return 0;
}

void
listener_close_all(const int *sockets, unsigned count)
{
	if (settings.path && count)
		unlink(settings.path);
	while (count)
		close(sockets[--count]);
}

int
listener_accept(int socket)
{
	int accepted, on = 1;

	do
		accepted = accept4(socket, NULL, NULL,
				   SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (accepted < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (accepted >= 0 && !settings.path) {
		setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		setsockopt(accepted, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	}
	return accepted;
}
