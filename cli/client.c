/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finding and asking a process's control socket.
 *
 * Called by stat.c, reclaim.c and demo.c; calls address.c of pressure/ for
 * where the socket is. Tried in this order: what the process itself would
 * choose, this program's own $XDG_RUNTIME_DIR, /run/user/UID, each also below
 * /proc/PID/root for a process with other mounts, and the abstract name, for
 * which root enters the process's network namespace. Inside a pid namespace
 * the process knows itself by another number: the last of NSpid.
 *
 * Whoever answers must be that very process (SO_PEERCRED: the kernel's word
 * on who called listen(2)), of its user or root.
 */
#include "cli/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/command.h"
#include "cli/reply.h"
#include "pressure/address.h"

#define ANSWER_NS (5 * CLOCK_S)

/* What is known of a process before it is asked. */
struct known {
	uid_t uid;
	pid_t inner_pid; /* how it knows itself */
	pid_t process;   /* differs from pid where that is a thread */
	char state;      /* of /proc/PID/status */
	bool other_mounts;
	bool other_network;
};

static int __attribute__((format(printf, 3, 4)))
refuse(const struct client *c, int code, const char *format, ...)
{
	char words[512];
	va_list arguments;

	if (c->quiet)
		return code;
	va_start(arguments, format);
	vsnprintf(words, sizeof words, format, arguments);
	va_end(arguments);
	say("%s", words);
	return code;
}

const char *
client_process_name(pid_t pid)
{
	static char words[64];
	char path[64], name[32];
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
	n = file_read(path, name, sizeof name);
	if (n <= 0) {
		snprintf(words, sizeof words, "%d", (int)pid);
		return words;
	}
	name[strcspn(name, "\n")] = '\0';
	for (char *at = name; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	snprintf(words, sizeof words, "%d (%s)", (int)pid, name);
	return words;
}

/* Whether a namespace of the process is not ours; false where hidden. */
static bool
differs(pid_t pid, const char *namespace)
{
	char path[64];
	struct stat ours, theirs;

	snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, namespace);
	if (stat(path, &theirs) != 0)
		return false;
	snprintf(path, sizeof path, "/proc/self/ns/%s", namespace);
	return stat(path, &ours) == 0 && ours.st_ino != theirs.st_ino;
}

static void
read_status(pid_t pid, struct known *k)
{
	char path[64], text[4096];
	const char *at;

	k->process = k->inner_pid = pid;
	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	if (file_read(path, text, sizeof text) <= 0)
		return;
	at = strstr(text, "\nState:");
	if (at)
		k->state = at[strlen("\nState:\t")];
	at = strstr(text, "\nTgid:");
	if (at)
		k->process = (pid_t)strtol(at + strlen("\nTgid:"), NULL, 10);
	at = strstr(text, "\nNSpid:");
	if (!at)
		return;
	at += strlen("\nNSpid:");
	while (*at == '\t' || *at == ' ') {
		char *end;

		k->inner_pid = (pid_t)strtol(at, &end, 10);
		at = end;
	}
}

static int
learn(const struct client *c, struct known *k)
{
	struct stat status;
	char path[64];
	uid_t us = geteuid();

	memset(k, 0, sizeof *k);
	if (access("/proc/self", F_OK) != 0)
		return refuse(c, COMMAND_NO_PROCESS,
			      "/proc is not mounted: no process can be found");
	snprintf(path, sizeof path, "/proc/%d", (int)c->pid);
	if (stat(path, &status) != 0)
		return refuse(c, COMMAND_NO_PROCESS, "there is no process %d",
			      (int)c->pid);
	k->uid = status.st_uid;
	read_status(c->pid, k);
	if (k->process != c->pid)
		return refuse(c, COMMAND_NO_PROCESS,
			      "%d is a thread; its process is %d", (int)c->pid,
			      (int)k->process);
	if (k->state == 'Z')
		return refuse(c, COMMAND_NO_PROCESS,
			      "process %s has ended (a zombie)",
			      client_process_name(c->pid));
	if (us != 0 && us != k->uid)
		return refuse(c, COMMAND_NO_PROCESS,
			      "process %s belongs to user %u: only that user "
			      "and root may ask it",
			      client_process_name(c->pid), (unsigned)k->uid);
	k->other_mounts = differs(c->pid, "mnt");
	k->other_network = differs(c->pid, "net");
	return 0;
}

/* Whether it is that process which listens. */
static bool
peer_is(int fd, pid_t pid, const struct known *k)
{
	struct ucred peer;
	socklen_t bytes = sizeof peer;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
	       peer.pid == pid &&
	       (peer.uid == k->uid || peer.uid == 0 || peer.uid == geteuid());
}

/* A connected descriptor or -errno. */
static int
connect_to(const struct address *address, pid_t pid, const struct known *k)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
			0);
	int error;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address->name,
		    address->bytes) != 0)
		error = -errno;
	else if (!peer_is(fd, pid, k))
		error = -EPERM;
	else
		return fd;
	close(fd);
	return error;
}

/* A file, and the same below the process's root. */
static int
connect_file(const struct address *address, pid_t pid, const struct known *k)
{
	struct address inside = *address;
	int n, fd = connect_to(address, pid, k);

	if (fd >= 0 || !k->other_mounts)
		return fd;
	n = snprintf(inside.name.sun_path, sizeof inside.name.sun_path,
		     "/proc/%d/root%s", (int)pid, address->name.sun_path);
	if (n < 0 || (size_t)n >= sizeof inside.name.sun_path)
		return -ENAMETOOLONG;
	inside.bytes = sizeof inside.name;
	return connect_to(&inside, pid, k);
}

/* The abstract name: -EXDEV where it is in a network namespace that we may
 * not enter. The start time is read by the number that we see. */
static int
connect_abstract(pid_t pid, const struct known *k)
{
	struct address address = { .abstract = true };
	struct sockaddr_un *name = &address.name;
	uint64_t ticks;
	int n;

	if (address_start_time(pid, &ticks) != 0)
		return -ESRCH;
	if (k->other_network) {
		char path[64];
		int fd;

		snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
		fd = file_open(path);
		n = fd < 0 ? -1 : setns(fd, CLONE_NEWNET);
		if (fd >= 0)
			close(fd);
		if (n != 0)
			return -EXDEV;
	}
	name->sun_family = AF_UNIX;
	n = snprintf(name->sun_path + 1, sizeof name->sun_path - 1,
		     "spillway/%d/%llu", (int)k->inner_pid,
		     (unsigned long long)ticks);
	address.bytes = (unsigned)(offsetof(struct sockaddr_un, sun_path) + 1 +
				   (size_t)n);
	return connect_to(&address, pid, k);
}

static int
connect_somewhere(pid_t pid, const struct known *k)
{
	const char *own = getenv("XDG_RUNTIME_DIR");
	char folder[64];
	struct address address;
	int fd = -ENOENT;
	int last = -ENOENT;

	for (unsigned i = 0; i < 2; i++) {
		if (address_candidate(pid, i, &address) != 0)
			continue;
		/* The candidate's folder, the number it knows itself by. */
		if (k->inner_pid != pid) {
			char below[sizeof address.name.sun_path];

			memcpy(below, address.name.sun_path, sizeof below);
			*strrchr(below, '/') = '\0';
			*strrchr(below, '/') = '\0';
			if (address_below(below, k->inner_pid, &address) != 0)
				continue;
		}
		fd = connect_file(&address, pid, k);
		if (fd >= 0)
			return fd;
		if (fd == -EAGAIN || fd == -EACCES)
			last = fd;
	}
	if (own && address_below(own, k->inner_pid, &address) == 0)
		fd = connect_file(&address, pid, k);
	snprintf(folder, sizeof folder, "/run/user/%u", (unsigned)k->uid);
	if (fd < 0 && address_below(folder, k->inner_pid, &address) == 0)
		fd = connect_file(&address, pid, k);
	if (fd < 0)
		fd = connect_abstract(pid, k);
	if (fd == -EXDEV || fd == -EAGAIN)
		last = fd;
	return fd >= 0 ? fd : last;
}

/* Whether our library is mapped there: 1, 0, or -errno (not to be seen). */
static int
has_library(pid_t pid)
{
	char path[64], line[4096];
	FILE *maps;
	int found = 0;

	snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	maps = fopen(path, "re");
	if (!maps)
		return -errno;
	while (!found && fgets(line, sizeof line, maps))
		found = strstr(line, "libspillway") != NULL;
	fclose(maps);
	return found;
}

static int
explain(const struct client *c, const struct known *k, int error)
{
	const char *name = client_process_name(c->pid);
	int library;

	if (client_process_gone(c))
		return refuse(c, COMMAND_DIED, "process %d died meanwhile",
			      (int)c->pid);
	library = has_library(c->pid);
	if (error == -EAGAIN)
		return refuse(c, COMMAND_NO_PROCESS,
			      "process %s has spillway but does not take "
			      "connections (state %c)",
			      name, k->state);
	if (library == 0)
		return refuse(c, COMMAND_NO_SPILLWAY,
			      "process %s runs without spillway; start it "
			      "with 'spillway run'",
			      name);
	if (error == -EXDEV)
		return refuse(c, COMMAND_NO_PROCESS,
			      "process %s is in another network namespace, "
			      "where its socket's name is; only root may "
			      "enter it",
			      name);
	if (library < 0)
		return refuse(c, COMMAND_NO_SPILLWAY,
			      "process %s has no control socket, and whether "
			      "it has spillway cannot be seen (%s)",
			      name, strerror(-library));
	return refuse(c, COMMAND_NO_SPILLWAY,
		      "process %s has spillway but no control socket: none "
		      "until its heap passes 16 MiB (start:), nor with "
		      "control:off, threads:never or off",
		      name);
}

int
client_open(struct client *c, pid_t pid)
{
	struct known k;
	int code, fd;

	c->pid = pid;
	c->fd = -1;
	c->watch = (int)syscall(SYS_pidfd_open, pid, 0);
	code = learn(c, &k);
	if (!code) {
		fd = connect_somewhere(pid, &k);
		if (fd >= 0) {
			c->fd = fd;
			return 0;
		}
		code = explain(c, &k, fd);
	}
	client_close(c);
	return code;
}

void
client_close(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	if (c->watch >= 0)
		close(c->watch);
	c->fd = c->watch = -1;
}

bool
client_process_gone(const struct client *c)
{
	struct pollfd end = { .fd = c->watch, .events = POLLIN };
	char path[64];

	if (c->watch >= 0)
		return poll(&end, 1, 0) == 1;
	snprintf(path, sizeof path, "/proc/%d", (int)c->pid);
	return access(path, F_OK) != 0;
}

/* The connection broke: because the process died, as a rule. */
static int
broken(const struct client *c)
{
	struct pollfd end = { .fd = c->watch, .events = POLLIN };

	/* The socket closes a moment before the process is gone. */
	if (c->watch >= 0)
		poll(&end, 1, 500);
	if (client_process_gone(c))
		return refuse(c, COMMAND_DIED, "process %d died meanwhile",
			      (int)c->pid);
	return refuse(c, COMMAND_DIED,
		      "process %s closed its control socket (it began another "
		      "program, or a sandbox)",
		      client_process_name(c->pid));
}

int
client_send(struct client *c, const char *request)
{
	if (send(c->fd, request, strlen(request), MSG_NOSIGNAL) < 0)
		return broken(c);
	return 0;
}

static int
take_packet(struct client *c)
{
	ssize_t n = recv(c->fd, c->reply, sizeof c->reply - 1, MSG_TRUNC);
	char why[256];

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -errno;
	if (n <= 0)
		return broken(c);
	c->reply[(size_t)n < sizeof c->reply ? (size_t)n : sizeof c->reply - 1] =
		'\0';
	if ((size_t)n >= sizeof c->reply || strlen(c->reply) != (size_t)n ||
	    !reply_check(c->reply))
		return refuse(c, COMMAND_LESS,
			      "process %s answers what is not understood "
			      "(another version?)",
			      client_process_name(c->pid));
	if (reply_string(c->reply, "error", why, sizeof why)[0])
		return refuse(c, COMMAND_LESS, "process %s: %s",
			      client_process_name(c->pid), why);
	return 0;
}

int
client_receive(struct client *c, uint64_t timeout_ns)
{
	struct pollfd ready = { .fd = c->fd, .events = POLLIN };
	struct timespec timeout = {
		.tv_sec = (time_t)(timeout_ns / CLOCK_S),
		.tv_nsec = (long)(timeout_ns % CLOCK_S),
	};
	int n = ppoll(&ready, 1, &timeout, NULL);

	if (n < 0)
		return -errno;
	return n == 0 ? -EAGAIN : take_packet(c);
}

int
client_ask(struct client *c, const char *request)
{
	uint64_t until = clock_now_ns() + ANSWER_NS;
	struct known k;
	int code = client_send(c, request);

	while (!code) {
		uint64_t now = clock_now_ns();

		code = client_receive(c, now < until ? until - now : 0);
		if (!code)
			return 0;
		if (code == -EINTR || (code == -EAGAIN && now < until)) {
			code = 0;
			continue;
		}
	}
	if (code != -EAGAIN)
		return code;
	memset(&k, 0, sizeof k);
	read_status(c->pid, &k);
	return refuse(c, COMMAND_TIMEOUT,
		      "process %s does not answer (state %c%s)",
		      client_process_name(c->pid), k.state ? k.state : '?',
		      k.state == 'T' ? ": stopped" : "");
}
