/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pressure/systemd.c: $MEMORY_PRESSURE_WATCH of every kind, right and wrong,
 * and that a complaint names the variable, its value and what is wrong.
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
#include "base/settings.h"
#include "tests/tap.h"
#include "tests/unit/fixture.h"

#define WAIT_MS 5000

static struct systemd s;
static char said[LOG_LINE_BYTES];
static unsigned lines;

static void
sink(enum spw_log_level level, const char *line, void *context)
{
	(void)level;
	(void)context;
	lines++;
	snprintf(said, sizeof said, "%s", line);
}

static void
begin(const char *watch, const char *write_base64)
{
	systemd_close(&s);
	lines = 0;
	said[0] = '\0';
	systemd_open(&s, watch, write_base64);
}

/* Nothing is watched, and one line says what was wrong. */
static bool
complains(const char *words)
{
	if (s.kind == SYSTEMD_NONE && s.fd == -1 && s.psi.fd == -1 &&
	    lines == 1 && strstr(said, words) && strstr(s.why, words))
		return true;
	tap_note("kind %d, fd %d, %u lines, \"%s\", \"%s\"", (int)s.kind, s.fd,
		 lines, said, s.why);
	return false;
}

static int
lowest(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	close(fd);
	return fd;
}

/* What poll(2) says within a moment that a test can wait for. */
static short
polled(int timeout_ms)
{
	struct pollfd p = { .fd = s.fd, .events = s.events };

	return poll(&p, 1, timeout_ms) > 0 ? p.revents : 0;
}

static void
base64(void)
{
	char bytes[32];

	tap_ok(systemd_base64("c29tZSAyMDAwMDAgMjAwMDAwMAA=", bytes,
			      sizeof bytes) == 20 &&
		       memcmp(bytes, "some 200000 2000000", 20) == 0,
	       "base64 is decoded, with its NUL");
	tap_ok(systemd_base64("Zm8", bytes, sizeof bytes) == 2 &&
		       memcmp(bytes, "fo", 2) == 0,
	       "padding may be left out");
	tap_ok(systemd_base64("+/+/", bytes, sizeof bytes) == 3 &&
		       memcmp(bytes, "\xfb\xff\xbf", 3) == 0,
	       "all 64 digits are known");
	tap_is(systemd_base64("", bytes, sizeof bytes), 0,
	       "nothing is nothing");
	tap_is(systemd_base64("Zm9v", bytes, 3), 3, "what just fits is taken");
	tap_is(systemd_base64("Zm9v", bytes, 2), -E2BIG,
	       "what does not is refused");
	tap_is(systemd_base64("Z", bytes, sizeof bytes), -EINVAL,
	       "six bits are no byte");
	tap_is(systemd_base64("Zm 8=", bytes, sizeof bytes), -EINVAL,
	       "a blank is no digit");
	tap_is(systemd_base64("Zm-_", bytes, sizeof bytes), -EINVAL,
	       "nor is that of another alphabet");
	tap_is(systemd_base64("Z=m8", bytes, sizeof bytes), -EINVAL,
	       "padding in between is refused");
	tap_is(systemd_base64("Zm9=v===", bytes, sizeof bytes), -EINVAL,
	       "however it is made up for");
	tap_is(systemd_base64("Zm8==", bytes, sizeof bytes), -EINVAL,
	       "so is too much of it");
	tap_is(systemd_base64("====", bytes, sizeof bytes), -EINVAL,
	       "and padding alone");
}

static void
not_watched(void)
{
	begin(NULL, NULL);
	tap_ok(s.kind == SYSTEMD_NONE && s.fd == -1 && !lines, "unset is none");
	tap_is_text(s.why, "MEMORY_PRESSURE_WATCH is not set", "as is said");
	tap_ok(!systemd_read(&s, POLLIN), "and asks for nothing");
	begin("", "bm9uZQ==");
	tap_ok(s.kind == SYSTEMD_NONE && !lines, "so is empty");
	begin("/dev/null", "%");
	tap_ok(s.kind == SYSTEMD_OFF && s.fd == -1 && !lines,
	       "/dev/null is off, whatever is to be written");
	tap_is_text(s.why, "MEMORY_PRESSURE_WATCH=/dev/null: monitoring is off",
		    "as is said");
	systemd_close(&s);
	tap_is(s.kind, SYSTEMD_OFF, "and off it stays");
	memset(&s, 0, sizeof s);
	s.fd = s.psi.fd = -1;
}

static void
refused(void)
{
	char text[2000];
	int before = lowest();

	begin("run/pressure", NULL);
	tap_ok(complains("MEMORY_PRESSURE_WATCH=run/pressure: is not an "
			 "absolute path"),
	       "a relative path is refused");
	begin("/none", NULL);
	tap_ok(complains("MEMORY_PRESSURE_WATCH=/none: No such file"),
	       "so is a missing file");
	fixture_file("/folder/file", "text\n");
	begin("/folder", NULL);
	tap_ok(complains("MEMORY_PRESSURE_WATCH=/folder: is neither a file, a "
			 "FIFO nor a socket"),
	       "and a folder");
	begin("/folder/file/below", NULL);
	tap_ok(complains("/below: Not a directory"),
	       "a path through a file is refused");
	memset(text, 'x', sizeof text);
	text[0] = '/';
	text[sizeof text - 1] = '\0';
	begin(text, NULL);
	tap_ok(complains("MEMORY_PRESSURE_WATCH=/xxx"), "and a name too long");
	begin("/folder/file", "c29t%Q==");
	tap_ok(complains("MEMORY_PRESSURE_WRITE=c29t%Q==: is not base64"),
	       "what is to be written must be base64");
	memset(text, 'A', sizeof text);
	text[1368] = '\0'; /* 1026 bytes */
	begin("/folder/file", text);
	tap_ok(complains("is too long") &&
		       strstr(said, "MEMORY_PRESSURE_WRITE=AAAA"),
	       "and not too long");
	begin("/folder/file", NULL);
	tap_ok(complains("/folder/file: "),
	       "a file of another kind is refused");
	begin("/folder/file", "c29tZSAyMDAwMDAgMjAwMDAwMAA=");
	tap_ok(complains("/folder/file: "), "also with a trigger");
	tap_ok(file_read(fixture_path("/folder/file"), text, sizeof text) ==
			       5 &&
		       strcmp(text, "text\n") == 0,
	       "which is not written over what is in it");
	fixture_file("/pressure", "some avg10=0.00 total=1\n");
	begin("/pressure", "c29tZSAyMDAwMDAgMjAwMDAwMAA=");
	tap_ok(complains("/pressure: "), "nor is one that only looks like it");
	tap_ok(file_read(fixture_path("/pressure"), text, sizeof text) > 0 &&
		       strcmp(text, "some avg10=0.00 total=1\n") == 0,
	       "which stays as it is");
	tap_is(lowest(), before, "no descriptor is left behind");
}

static void
put(int fd, const char *text)
{
	if (write(fd, text, strlen(text)) < 0)
		tap_bail_out("write: %s", strerror(errno));
}

static void
fifo(void)
{
	char path[256];
	int writer;

	snprintf(path, sizeof path, "%s", fixture_path("/fifo"));
	if (mkfifo(path, 0600) != 0)
		tap_bail_out("no FIFO: %s", strerror(errno));
	begin("/fifo", NULL);
	tap_ok(s.kind == SYSTEMD_FIFO && s.fd >= 0 && s.events == POLLIN &&
		       !lines,
	       "a FIFO is watched");
	tap_ok(strncmp(s.why, "FIFO /", 6) == 0, "as is said: %s", s.why);
	tap_is(polled(0), 0, "and silent");
	tap_ok(!systemd_read(&s, 0), "which asks for nothing");
	for (int i = 1; i <= 2; i++) {
		writer = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
		tap_ok(writer >= 0, "writer %d finds a reader", i);
		put(writer, "now");
		tap_is(polled(WAIT_MS), POLLIN, "what it writes wakes");
		put(writer, "and now");
		tap_ok(systemd_read(&s, POLLIN), "and asks for memory");
		tap_ok(!polled(0) && !systemd_read(&s, 0), "once for all");
		close(writer);
		tap_is(polled(0), 0, "its end wakes nobody");
	}
	systemd_close(&s);
	tap_is(open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC), -1,
	       "closed, nobody reads any more");

	/* As without the right to write: the last writer ends it. */
	begin("/fifo", NULL);
	close(s.fd);
	s.fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	writer = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	put(writer, "now");
	close(writer);
	tap_ok(systemd_read(&s, polled(WAIT_MS)), "the last words are heard");
	tap_ok(polled(WAIT_MS) & POLLHUP, "then it is at its end");
	tap_ok(!systemd_read(&s, POLLHUP) && s.fd >= 0 && !polled(0),
	       "and is opened again, silent");
	writer = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	put(writer, "again");
	tap_ok(systemd_read(&s, polled(WAIT_MS)), "for the next writer");
	close(writer);
	unlink(path);
	tap_ok(!systemd_read(&s, POLLHUP) && s.kind == SYSTEMD_NONE &&
		       s.fd == -1,
	       "unless it has gone");
	tap_is_text(s.why, "the FIFO has gone", "as is said");
}

static int
listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s",
		 fixture_path(path));
	if (fd < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
	    listen(fd, 4) != 0)
		tap_bail_out("no socket: %s", strerror(errno));
	return fd;
}

static void
a_socket(void)
{
	int listener = listen_at("/socket"), peer;
	char text[64] = "";

	begin("/socket", "aGVsbG8=");
	tap_ok(s.kind == SYSTEMD_SOCKET && s.fd >= 0 && s.events == POLLIN &&
		       !lines,
	       "a socket is connected to");
	tap_ok(strncmp(s.why, "socket /", 8) == 0, "as is said: %s", s.why);
	peer = accept(listener, NULL, NULL);
	tap_ok(peer >= 0 && read(peer, text, sizeof text - 1) == 5 &&
		       strcmp(text, "hello") == 0,
	       "and what is to be written arrives");
	tap_is(polled(0), 0, "it is silent");
	put(peer, "x");
	tap_is(polled(WAIT_MS), POLLIN, "a byte wakes");
	tap_ok(systemd_read(&s, POLLIN), "and asks for memory");
	tap_ok(!polled(0) && !systemd_read(&s, 0), "once");
	put(peer, "last");
	close(peer);
	tap_ok(systemd_read(&s, polled(WAIT_MS)), "the last words are heard");
	tap_ok(!systemd_read(&s, polled(WAIT_MS)) && s.fd == -1 &&
		       s.kind == SYSTEMD_NONE,
	       "then it is closed");
	tap_is_text(s.why, "the socket's other end has gone", "as is said");
	close(listener);
	begin("/socket", NULL);
	tap_ok(complains("/socket: Connection refused"),
	       "a socket that nobody listens at is refused");
}

static void
environment(void)
{
	char value[1600];

	fixture_file("/proc/self/environ",
		     "XMEMORY_PRESSURE_WATCH=/wrong%cMEMORY_PRESSURE_WATCH=/"
		     "none%cMEMORY_PRESSURE_WATCH=/second%c",
		     0, 0, 0);
	systemd_close(&s);
	lines = 0;
	systemd_open_environment(&s);
	tap_ok(complains("MEMORY_PRESSURE_WATCH=/none: No such file"),
	       "the program's own environment is read");
	fixture_file("/proc/self/environ", "MEMORY_PRESSURE_WATCH=/dev/null%c",
		     0);
	systemd_open_environment(&s);
	tap_is(s.kind, SYSTEMD_OFF, "as it is now");
	fixture_file("/proc/self/environ",
		     "MEMORY_PRESSURE_WATCH=/x%cMEMORY_PRESSURE_WRITE=!%c", 0,
		     0);
	lines = 0;
	systemd_open_environment(&s);
	tap_ok(complains("MEMORY_PRESSURE_WRITE=!: is not base64"),
	       "both variables count");
	memset(value, 'A', sizeof value);
	value[sizeof value - 1] = '\0';
	fixture_file("/proc/self/environ",
		     "MEMORY_PRESSURE_WATCH=/x%cMEMORY_PRESSURE_WRITE=%s%s%c",
		     0, value, value, 0);
	lines = 0;
	systemd_open_environment(&s);
	tap_ok(complains("MEMORY_PRESSURE_WRITE=AAAA") &&
		       strstr(s.why, "is too long"),
	       "one too long to be read is refused by name");
	fixture_file("/proc/self/environ", "HOME=/%c", 0);
	lines = 0;
	systemd_open_environment(&s);
	tap_ok(s.kind == SYSTEMD_NONE && !lines,
	       "neither of them is no complaint");
	fixture_remove("/proc/self/environ");
	systemd_open_environment(&s);
	tap_ok(s.kind == SYSTEMD_NONE && !lines, "nor is no /proc");
}

static void
pressure_file(void)
{
	static const char path[] = "/proc/pressure/memory";
	struct psi probe;
	int error = psi_open(&probe, path);
	bool armed = !error && probe.armed;

	if (!error)
		psi_close(&probe);
	if (!armed) {
		tap_skip(7, "no trigger on %s: %s", path, probe.why);
		return;
	}
	begin(path, NULL);
	tap_ok(s.kind == SYSTEMD_PSI && s.fd == s.psi.fd && s.fd >= 0 &&
		       s.events == POLLPRI && !lines,
	       "a pressure file is armed");
	tap_is_text(s.why, "pressure file /proc/pressure/memory", "as is said");
	begin(path, "c29tZSAyMDAwMDAgMjAwMDAwMAA=");
	tap_ok(s.kind == SYSTEMD_PSI && s.psi.threshold_us == 200000 &&
		       s.psi.window_us == 2000000 && !lines,
	       "with the trigger that is given");
	tap_ok(!systemd_read(&s, 0), "no event asks for nothing");
	systemd_note(&s);
	tap_ok(!systemd_read(&s, POLLERR) && s.kind == SYSTEMD_NONE &&
		       s.fd == -1,
	       "gone, it is closed");
	tap_is_text(s.why, "the pressure file has gone", "as is said");
	begin(path, "cnViYmlzaAA=");
	tap_ok(complains("the kernel refuses the trigger in "
			 "$MEMORY_PRESSURE_WRITE"),
	       "a trigger that the kernel refuses is named");
	systemd_close(&s);
}

int
main(void)
{
	spw_log_set(SPW_LOG_WARNING, sink, NULL);
	s.fd = s.psi.fd = -1;
	base64();
	fixture_begin();
	not_watched();
	refused();
	fifo();
	a_socket();
	environment();
	fixture_end();
	pressure_file();
	return tap_done();
}
