/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pressure/psi.c: the two parsers, opening files of every kind, and what of
 * a file's growth is told; on made-up files whose clock the test turns, and on
 * the machine's own where it has one.
 */
#include "pressure/psi.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "tests/tap.h"
#include "tests/unit/fixture.h"

#define LONG_WINDOW_NS (2 * CLOCK_S)
/* psi_open()'s 200 ms, and an eighth less. */
#define ENOUGH_US 175000

static struct psi psi;

static int
parse(const char *text, struct psi_totals *totals)
{
	/* What is there from before must not show through. */
	*totals = (struct psi_totals){ 11, 22, true };
	return psi_parse(text, totals);
}

static void
texts(void)
{
	struct psi_totals t;

	tap_ok(parse("some avg10=0.00 avg60=1.50 avg300=0.00 total=4711\n"
		     "full avg10=0.00 avg60=0.00 avg300=0.00 total=815\n",
		     &t) == 0 &&
		       t.some_us == 4711 && t.full_us == 815 && t.has_full,
	       "both totals are read");
	tap_ok(parse("some avg10=0.00 total=7", &t) == 0 && t.some_us == 7 &&
		       t.full_us == 0 && !t.has_full,
	       "there need not be a full line, nor an end of line");
	tap_ok(parse("full a=1 total=1\nsome a=1 total=2\n", &t) == 0 &&
		       t.some_us == 2 && t.full_us == 1,
	       "lines may come in any order");
	tap_ok(parse("some a=1 total=18446744073709551615\n", &t) == 0 &&
		       t.some_us == UINT64_MAX,
	       "64 bits are read");
	tap_is(parse("some a=1 total=18446744073709551616\n", &t), -EINVAL,
	       "65 are refused");
	tap_is(parse("", &t), -EINVAL, "an empty text is refused");
	tap_is(parse("full a=1 total=1\n", &t), -EINVAL,
	       "so is one without some");
	tap_is(parse("awesome a=1 total=1\nsomewhat total=1\n", &t), -EINVAL,
	       "and one with words like it");
	tap_is(parse("some a=1\nfull a=1 total=9\n", &t), -EINVAL,
	       "another line's total is not taken");
	tap_is(parse("some a=1 total=\n", &t), -EINVAL,
	       "a total without digits is refused");
	tap_is(parse("some a=1 total=-1\n", &t), -EINVAL, "so is a sign");
	tap_is(parse("some a=1 total=1\nfull a=1\n", &t), -EINVAL,
	       "and a full line without one");
}

/* The text alone, with nothing behind its last byte. */
static int
trigger(const char *text, size_t length)
{
	uint64_t threshold_us = 11, window_us = 22;
	int error = psi_parse_trigger(text, length, &threshold_us, &window_us);

	if (error)
		return threshold_us == 11 && window_us == 22 ? error : 1;
	return threshold_us == 200000 && window_us == 2000000 ? 0 : 2;
}

#define TRIGGER(text) trigger(text, sizeof(text) - 1)

static void
triggers(void)
{
	uint64_t threshold_us, window_us;

	tap_is(TRIGGER("some 200000 2000000"), 0, "a trigger is read");
	tap_is(TRIGGER("full 200000 2000000"), 0, "also one for full");
	tap_is(TRIGGER("some 200000 2000000\0"), 0, "with its NUL");
	tap_is(TRIGGER("some 200000 2000000\n\0"), 0, "and its end of line");
	tap_is(trigger("some 200000 20000009", 19), 0,
	       "no further than its length");
	tap_ok(psi_parse_trigger("some 5 5", 8, &threshold_us, &window_us) ==
			       0 &&
		       threshold_us == 5 && window_us == 5,
	       "the whole window may be asked for");
	tap_is(TRIGGER("some 6 5"), -EINVAL, "more than it may not");
	tap_is(TRIGGER("some 0 2000000"), -EINVAL, "nor nothing");
	tap_is(TRIGGER(""), -EINVAL, "an empty text is refused");
	tap_is(TRIGGER("\0\n\0"), -EINVAL, "so is one of ends alone");
	tap_is(TRIGGER("some "), -EINVAL, "one without numbers");
	tap_is(TRIGGER("some 200000"), -EINVAL, "with one");
	tap_is(TRIGGER("some 200000 "), -EINVAL, "and a blank");
	tap_is(TRIGGER("some 1 2 3"), -EINVAL, "with three");
	tap_is(TRIGGER("some  1 2"), -EINVAL, "with two blanks");
	tap_is(TRIGGER("some -1 2"), -EINVAL, "with a sign");
	tap_is(TRIGGER("some 1 2s"), -EINVAL, "with a unit");
	tap_is(TRIGGER("most 1 2"), -EINVAL, "and of another word");
	tap_is(TRIGGER("some 1 18446744073709551616"), -EINVAL,
	       "as are 65 bits");
}

static void
put_total(uint64_t us)
{
	fixture_file("/memory.pressure",
		     "some avg10=0.00 avg60=0.00 avg300=0.00 total=%llu\n"
		     "full avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
		     (unsigned long long)us);
}

/* The lowest number that is free: the same before and after, or it leaks. */
static int
lowest(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	close(fd);
	return fd;
}

static void
opening(void)
{
	char text[256];
	int before = lowest();

	put_total(1000000);
	tap_is(psi_open(&psi, fixture_path("/memory.pressure")), 0,
	       "a file that is not the kernel's can be read");
	tap_ok(psi.fd >= 0 && !psi.armed && !psi.privileged, "but not armed");
	tap_is_text(psi.why, "not a file of the kernel", "as is said");
	tap_is_text(psi.path, fixture_path("/memory.pressure"),
		    "with its path");
	tap_ok(file_read(psi.path, text, sizeof text) > 0 &&
		       strncmp(text, "some avg10=", 11) == 0,
	       "and nothing is written to it");
	psi_close(&psi);
	psi_close(&psi);
	tap_is(psi.fd, -1, "it is closed, once");

	tap_is(psi_open(&psi, fixture_path("/none")), -ENOENT,
	       "a file that is not there is refused");
	tap_is_text(psi.why, "No such file or directory", "with the reason");
	fixture_file("/rubbish", "some thing\n");
	tap_is(psi_open(&psi, fixture_path("/rubbish")), -EINVAL,
	       "so is one with another text");
	tap_is_text(psi.why, "not a pressure file", "with the reason");
	tap_is(psi.fd, -1, "and it is closed");
	fixture_file("/empty", "%s", "");
	tap_is(psi_open(&psi, fixture_path("/empty")), -EINVAL, "an empty one");
	fixture_file("/long", "some a=1 total=1\n%600s", "");
	tap_is(psi_open(&psi, fixture_path("/long")), -EFBIG,
	       "one too large to be one");
	tap_is(psi_open(&psi, fixture_path("")), -EISDIR, "a folder");
	tap_is_text(psi.why, "cannot be read: Is a directory",
		    "with the reason");
	if (mkfifo(fixture_path("/fifo"), 0600) != 0)
		tap_bail_out("no FIFO: %s", strerror(errno));
	tap_is(psi_open(&psi, fixture_path("/fifo")), -ESPIPE,
	       "and a FIFO, without waiting for a writer");
	tap_is(lowest(), before, "no descriptor is left behind");
}

/* As if that much time had gone by since total= was read. */
static void
age(uint64_t ns)
{
	psi.recent_ns -= ns;
}

static uint64_t
told(short revents)
{
	uint64_t stall_us = 4711;
	int error = psi_check(&psi, revents, &stall_us);

	return error ? UINT64_MAX : stall_us;
}

static void
begin(uint64_t us)
{
	psi_close(&psi);
	put_total(us);
	if (psi_open(&psi, fixture_path("/memory.pressure")) != 0)
		tap_bail_out("psi_open: %s", psi.why);
}

static void
rule(void)
{
	begin(1000000);
	tap_is(told(POLLPRI), 0, "an event without growth is not told");
	put_total(1000400);
	tap_is(told(POLLPRI), 0,
	       "nor one after 0.4 ms of stall, as kernels do");
	put_total(1000000 + ENOUGH_US - 1);
	tap_is(told(POLLPRI), 0, "nor one below seven eighths");
	put_total(1000000 + ENOUGH_US);
	tap_is(told(POLLPRI), ENOUGH_US, "seven eighths of it are told");
	tap_is(told(POLLPRI), 0, "once");
	put_total(1000000 + 2 * ENOUGH_US);
	tap_is(told(0), ENOUGH_US, "also without an event");

	begin(1000000);
	put_total(1100000);
	tap_is(told(0), 0, "half of it in one window is not told");
	age(LONG_WINDOW_NS);
	tap_is(told(0), 0, "nor when the window is over");
	put_total(1180000);
	tap_is(told(0), 180000, "with the other half in the next it is");

	begin(1000000);
	put_total(1100000);
	told(0);
	age(LONG_WINDOW_NS);
	told(0);
	age(LONG_WINDOW_NS);
	told(0);
	put_total(1180000);
	tap_is(told(0), 0, "what is older than two windows is forgotten");
	put_total(1100000 + ENOUGH_US);
	tap_is(told(0), ENOUGH_US, "and later growth counts from there");

	begin(1000000);
	put_total(10);
	tap_is(told(POLLPRI), 0, "a total that falls is not told");
	put_total(10 + ENOUGH_US);
	tap_is(told(POLLPRI), ENOUGH_US, "and growth counts from there");
}

static void
noting(void)
{
	begin(1000000);
	tap_ok(!psi_is_due(&psi), "right after opening nothing is due");
	put_total(1500000);
	psi_note(&psi);
	tap_is(told(0), 500000, "so a note changes nothing");
	tap_ok(!psi_is_due(&psi), "nor is it right after it was told");
	age(LONG_WINDOW_NS);
	tap_ok(psi_is_due(&psi), "a window later it is");
	put_total(1600000);
	psi_note(&psi);
	tap_ok(!psi_is_due(&psi), "until noted");
	age(LONG_WINDOW_NS);
	put_total(1700000);
	psi_note(&psi);
	tap_is(told(0), 0, "what was noted two windows long is old");
	put_total(1600000 + ENOUGH_US);
	tap_is(told(POLLPRI), ENOUGH_US,
	       "an event is judged by the last window and this one");
	age(LONG_WINDOW_NS);
	put_total(100);
	psi_note(&psi);
	tap_is(told(0), 0, "a total that fell before a note is not told");
	psi_close(&psi);
	tap_ok(!psi_is_due(&psi), "what is closed is never due");
}

static void
going(void)
{
	begin(1000000);
	tap_is(told(POLLERR), UINT64_MAX, "a group that is gone is said");
	tap_is(told(POLLNVAL), UINT64_MAX, "so is a descriptor that is");
	tap_is(told(0), 0, "else it goes on");
	fixture_file("/memory.pressure", "rubbish\n");
	tap_is(told(0), UINT64_MAX, "a file that turns to rubbish is gone");
	psi_close(&psi);
	tap_is(told(0), UINT64_MAX, "so is a closed one");
}

static void
adopting(void)
{
	int fd;

	put_total(1000);
	fd = open(fixture_path("/memory.pressure"), O_RDONLY | O_CLOEXEC);
	tap_is(psi_adopt(&psi, fd, "/there", 1, 2000000), 0,
	       "another's descriptor is adopted");
	tap_ok(psi.fd == fd && psi.armed && !strcmp(psi.path, "/there"),
	       "as armed");
	tap_is(told(POLLPRI), 0, "without growth nothing is told");
	put_total(1001);
	tap_is(told(POLLPRI), 1, "with its own threshold all is");
	psi_close(&psi);
	fixture_file("/rubbish", "rubbish\n");
	fd = open(fixture_path("/rubbish"), O_RDONLY | O_CLOEXEC);
	tap_is(psi_adopt(&psi, fd, "/there", 1, 2000000), -EINVAL,
	       "one of another file is not");
	tap_ok(psi.fd == -1 && fcntl(fd, F_GETFD) >= 0,
	       "and stays the caller's");
	close(fd);
}

static void
of_the_machine(void)
{
	static const char path[] = "/proc/pressure/memory";
	struct psi second;
	uint64_t stall_us;
	int error = psi_open(&psi, path);

	if (error) {
		tap_skip(4, "no %s: %s", path, psi.why);
		return;
	}
	tap_ok(psi.armed != (psi.why[0] != '\0'),
	       "the machine's file is armed, or the reason is said: %s",
	       psi.why);
	tap_is(psi.window_us, psi.privileged ? 500000 : 2000000,
	       "with the window that is allowed");
	tap_ok(psi_check(&psi, 0, &stall_us) == 0 &&
		       (!stall_us || stall_us >= psi.threshold_us * 7 / 8),
	       "and tells what is true");
	tap_is(psi_open(&second, path), 0, "a second one does not mind");
	psi_close(&second);
	psi_close(&psi);
}

int
main(void)
{
	texts();
	triggers();
	fixture_begin();
	opening();
	rule();
	noting();
	going();
	adopting();
	fixture_end();
	of_the_machine();
	return tap_done();
}
