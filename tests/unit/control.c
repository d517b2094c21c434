/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pressure/control.c: what requests it takes, and, over a socket of this very
 * process, what it answers.
 *
 * The monitor serves; this thread is the client. A slow shrinker keeps a
 * reclaim under way for as long as a test needs it.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <spillway/spillway.h>

#include "base/clock.h"
#include "cli/reply.h"
#include "pressure/address.h"
#include "pressure/control.h"
#include "tests/tap.h"

static char reply[CONTROL_MESSAGE_BYTES + 1];

/* ---- requests ---- */

static bool
refused(const char *text, const char *word)
{
	struct control_request r;

	control_parse(text, strlen(text), &r);
	return r.verb == CONTROL_BAD && strstr(r.why, word);
}

static void
requests(void)
{
	static const char all[] = "reclaim  target=4096 rate=3 timeout_ns=1 "
				  "older_than_ns=2 ";
	struct control_request r;

	control_parse("stat", 4, &r);
	tap_is(r.verb, CONTROL_STAT, "stat is taken");
	control_parse("pressurex", 8, &r);
	tap_is(r.verb, CONTROL_PRESSURE, "nothing behind the length is read");
	control_parse(all, sizeof all - 1, &r);
	tap_ok(r.verb == CONTROL_RECLAIM && r.reclaim.target_bytes == 4096 &&
		       r.reclaim.timeout_ns == 1 &&
		       r.reclaim.older_than_ns == 2 &&
		       r.reclaim.rate_bytes_per_s == 3 &&
		       r.reclaim.size == sizeof r.reclaim,
	       "reclaim takes all its keys in any order");
	control_parse("reclaim target=max", 18, &r);
	tap_ok(r.verb == CONTROL_RECLAIM &&
		       r.reclaim.target_bytes == UINT64_MAX,
	       "max means all");
	tap_ok(refused("", "unknown request"), "nothing is refused");
	tap_ok(refused("format", "\"format\""), "an unknown verb is named");
	tap_ok(refused("ping pong", "\"pong\""), "ping takes nothing");
	tap_ok(refused("reclaim", "target="), "reclaim needs a target");
	tap_ok(refused("reclaim target=0", "target=0"), "0 is no target");
	tap_ok(refused("reclaim target=-1", "target=-1"), "-1 is no number");
	tap_ok(refused("reclaim target=4K", "target=4K"), "no units here");
	tap_ok(refused("reclaim target=", "bad value"), "no value, no number");
	tap_ok(refused("reclaim target=99999999999999999999", "bad value"),
	       "a number over 64 bits is refused");
	tap_ok(refused("reclaim target=1 target=2", "twice"),
	       "a key given twice is refused");
	tap_ok(refused("reclaim target=1 rate=max", "rate=max"),
	       "max is for the target alone");
	tap_ok(refused("reclaim target=1 node=1", "node=1"),
	       "an unknown key is named");
	control_parse("stat\0x", 6, &r);
	tap_is(r.verb, CONTROL_BAD, "a NUL is refused");
}

/* ---- a connection ---- */

static int
try_connect(void)
{
	struct address address;

	for (unsigned i = 0; i < 3; i++) {
		int fd;

		if (address_candidate(getpid(), i, &address) != 0)
			continue;
		fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		if (fd >= 0 && connect(fd, (struct sockaddr *)&address.name,
				       address.bytes) == 0) {
			struct stat status;

			if (i < 2 &&
			    (stat(address.name.sun_path, &status) != 0 ||
			     (status.st_mode & 0777) != 0600))
				tap_note("mode of %s is not 0600",
					 address.name.sun_path);
			return fd;
		}
		close(fd);
	}
	return -1;
}

static int
connect_soon(void)
{
	for (int i = 0; i < 500; i++) {
		int fd = try_connect();

		if (fd >= 0)
			return fd;
		usleep(10000);
	}
	tap_bail_out("no control socket within five seconds");
}

/* The next packet, or "" after five seconds or at the end. */
static const char *
hear(int fd)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	ssize_t n = 0;

	if (poll(&ready, 1, 5000) == 1)
		n = recv(fd, reply, sizeof reply - 1, 0);
	reply[n > 0 ? n : 0] = '\0';
	return reply;
}

static const char *
ask(int fd, const char *request)
{
	if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
		return "";
	return hear(fd);
}

/* ---- a shrinker that takes its time ---- */

#define HEAP_BYTES (128ul << 20)
#define STEP_BYTES (512ul << 10)

static char *heap;
static size_t gone_bytes; /* by the reclaimer alone */
static _Atomic bool quick;

static size_t
slow_count(const struct spw_shrink *request, void *context)
{
	(void)request;
	(void)context;
	return 1 << 30;
}

static size_t
slow_shrink(const struct spw_shrink *request, void *context)
{
	(void)request;
	(void)context;
	if (quick || gone_bytes == HEAP_BYTES)
		return 0;
	usleep(30000);
	madvise(heap + gone_bytes, STEP_BYTES, MADV_DONTNEED);
	gone_bytes += STEP_BYTES;
	return STEP_BYTES;
}

static void
answers(int fd)
{
	char word[64];
	uint64_t number;
	char long_request[2000];

	tap_ok(reply_check(ask(fd, "ping")) && reply_find(reply, "pong"),
	       "ping is answered");
	tap_ok(reply_check(ask(fd, "stat")), "stat answers JSON");
	tap_ok(reply_number(reply, "pid", &number) &&
		       number == (uint64_t)getpid() &&
		       reply_number(reply, "counters.passes", &number),
	       "stat has pid and counters");
	tap_ok(strstr(reply, "slow \\\"one\\\"") != NULL,
	       "stat lists a shrinker, its name escaped");
	tap_ok(reply_check(ask(fd, "pressure")) &&
		       reply_string(reply, "level", word, sizeof word)[0],
	       "pressure has a level");
	tap_ok(reply_check(ask(fd, "nonsense")) &&
		       strstr(reply_string(reply, "error", word, sizeof word),
			      "nonsense"),
	       "an unknown request is answered by its name");
	memset(long_request, 'a', sizeof long_request);
	long_request[sizeof long_request - 1] = '\0';
	tap_ok(strstr(ask(fd, long_request), "too long"),
	       "a request too long is answered");
	tap_ok(strstr(ask(fd, "ping"), "pong"), "and the connection lives on");
}

static void
cancelling(void)
{
	int fd = connect_soon();
	uint64_t number;
	char word[32] = "";
	unsigned progress = 0;

	tap_ok(reply_check(ask(fd, "reclaim target=max")) &&
		       reply_number(reply, "progress", &number),
	       "a reclaim shows progress");
	tap_ok(strstr(ask(fd, "reclaim target=1"), "error"),
	       "a second one on the same connection is refused");
	tap_ok(strstr(ask(fd, "ping"), "pong") || strstr(reply, "progress"),
	       "others are answered meanwhile");
	shutdown(fd, SHUT_WR);
	while (hear(fd)[0] && !reply_number(reply, "reclaimed", &number))
		progress++;
	reply_string(reply, "status", word, sizeof word);
	tap_is_text(word, "cancelled", "half-closing cancels, and is told");
	tap_ok(progress < 20, "within two seconds");
	close(fd);
}

static void
timing_out(void)
{
	int fd = connect_soon();
	uint64_t start_ns = clock_now_ns(), number;
	char word[32];

	ask(fd, "reclaim target=max timeout_ns=300000000");
	while (reply[0] && !reply_number(reply, "reclaimed", &number))
		hear(fd);
	tap_is_text(reply_string(reply, "status", word, sizeof word), "timeout",
		    "a timeout ends it");
	tap_ok(clock_now_ns() - start_ns < 2 * CLOCK_S, "about when it should");
	close(fd);
}

/* Closing with a reclaim under way frees its slot: more of them than slots. */
static void
hanging_up(void)
{
	bool all = true;
	uint64_t number;
	int fd;

	for (int i = 0; i < 12; i++) {
		fd = connect_soon();
		ask(fd, "reclaim target=max");
		all &= !strstr(reply, "error");
		close(fd);
	}
	tap_ok(all, "closing cancels and frees what the request held");
	quick = true;
	fd = connect_soon();
	ask(fd, "reclaim target=max");
	while (reply[0] && !reply_number(reply, "reclaimed", &number))
		hear(fd);
	tap_ok(reply[0], "and the next reclaim comes to its end");
	close(fd);
}

static void
crowd(void)
{
	int fds[CONTROL_CLIENTS_MAX + 1];
	unsigned served = 0;

	for (unsigned i = 0; i <= CONTROL_CLIENTS_MAX; i++)
		fds[i] = connect_soon();
	for (unsigned i = 0; i <= CONTROL_CLIENTS_MAX; i++)
		served += strstr(ask(fds[i], "ping"), "pong") != NULL;
	tap_is(served, CONTROL_CLIENTS_MAX, "so many clients are served");
	for (unsigned i = 0; i <= CONTROL_CLIENTS_MAX; i++)
		close(fds[i]);
}

int
main(void)
{
	struct spw_shrinker *slow;
	struct spw_shrinker_options options = {
		.size = sizeof options,
		.name = "slow \"one\"",
		.tier = SPW_TIER_COLD,
		.count = slow_count,
		.shrink = slow_shrink,
	};
	int fd;

	requests();
	/* Real memory, because the engine measures what went. */
	heap = mmap(NULL, HEAP_BYTES, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (heap == MAP_FAILED)
		tap_bail_out("no memory to give back");
	memset(heap, 1, HEAP_BYTES);
	if (spw_shrinker_register(&slow, &options) != 0)
		tap_bail_out("no shrinker can be registered");
	fd = connect_soon();
	answers(fd);
	close(fd);
	timing_out();
	cancelling();
	hanging_up();
	crowd();
	spw_shrinker_unregister(slow);
	return tap_done();
}
