/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pressure/sources.c: all that can wake the monitor behind one face, on
 * made-up files: what is opened, polled, told, described, and followed when
 * the process is moved.
 */
#include "pressure/sources.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/settings.h"
#include "tests/tap.h"
#include "tests/unit/fixture.h"

#define MIB (1ull << 20)

static struct limits limits;
static struct sources *sources;
static struct sources_news news;
static struct pollfd polls[SOURCES_POLLS_MAX];
static struct sources_line lines[5];

static int
lowest(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	close(fd);
	return fd;
}

static void
put_group(const char *path, uint64_t high, uint64_t stall_us)
{
	char file[256];

	snprintf(file, sizeof file, "%s/memory.events", path);
	fixture_file(file, "high %llu\nmax 0\noom 0\n",
		     (unsigned long long)high);
	snprintf(file, sizeof file, "%s/memory.pressure", path);
	fixture_file(file, "some avg10=0.00 total=%llu\n",
		     (unsigned long long)stall_us);
}

static void
in_group(bool v2, const char *path)
{
	memset(&limits, 0, sizeof limits);
	limits.v2 = v2;
	if (!path)
		return;
	limits.groups_count = 1;
	limits.groups[0].max_bytes = 400 * MIB;
	limits.groups[0].high_bytes = UINT64_MAX;
	snprintf(limits.groups[0].path, sizeof limits.groups[0].path, "%s",
		 fixture_path(path));
}

/* As if poll(2) had said so of all; how many there are. */
static unsigned
tell(short revents)
{
	unsigned n = sources_fill(sources, polls, SOURCES_POLLS_MAX);

	memset(&news, 0, sizeof news);
	for (unsigned i = 0; i < n; i++)
		polls[i].revents = revents;
	sources_handle(sources, polls, n, &news);
	return n;
}

static const struct sources_line *
line(const char *name)
{
	unsigned n = sources_describe(lines, 5);

	for (unsigned i = 0; i < n; i++)
		if (strcmp(lines[i].name, name) == 0)
			return &lines[i];
	tap_bail_out("nothing is said of %s", name);
}

static bool
says(const char *name, bool works, const char *words)
{
	const struct sources_line *l = line(name);

	if (l->works == works && strstr(l->words, words))
		return true;
	tap_note("%s: %s, \"%s\"", name, l->works ? "works" : "does not work",
		 l->words);
	return false;
}

static void
nothing(void)
{
	int before = lowest();

	in_group(true, NULL);
	sources = sources_open(&limits);
	tap_is(tell(0), 0, "where there is nothing, nothing is polled");
	tap_is(sources_describe(lines, 5), 5, "each source is described");
	tap_is(sources_describe(lines, 2), 2, "as many as there is room for");
	tap_ok(says("psi", false, "No such file"), "PSI says why not");
	tap_ok(says("systemd", false, "MEMORY_PRESSURE_WATCH is not set"),
	       "systemd's variable does");
	tap_ok(says("v1 threshold", false, "on cgroup v2"), "v1 does");
	tap_is(sources_stall_us(sources), 0, "nobody stalls");
	tap_ok(!sources_cover_usage(sources) && !sources_switched_off(sources),
	       "usage is not covered, nothing is switched off");
	sources_close(sources);
	sources_close(sources);
	sources_close(NULL);
	tap_is(lowest(), before, "closed, twice, nothing is left open");
}

static void
of_v2(void)
{
	put_group("/cg/a", 5, 1000000);
	in_group(true, "/cg/a");
	sources = sources_open(&limits);
	tap_is(tell(0), 1, "v2: memory.events is polled");
	tap_ok(polls[0].events == POLLPRI && !news.limit, "for POLLPRI");
	tap_ok(says("v2 memory.events", true, "/cg/a"), "the own group's");
	tap_ok(says("psi", true,
		    "/cg/a/memory.pressure, read when awake (not "
		    "a file of the kernel)"),
	       "and its PSI is read when awake");
	put_group("/cg/a", 7, 1000000);
	tell(POLLPRI);
	tap_ok(news.limit && news.high_events == 2 && !news.stall_us,
	       "events are told");
	tap_is(sources_stall_us(sources), 0, "no growth is no stall");
	put_group("/cg/a", 7, 1400000);
	tap_is(sources_stall_us(sources), 400000, "growth of total= is");
	tap_is(sources_stall_us(sources), 0, "once");
	fixture_file("/cg/a/memory.pressure", "rubbish\n");
	tap_is(sources_stall_us(sources), 0, "a file that goes is no stall");
	tap_ok(says("psi", false, "the pressure file has gone"), "and is said");
}

static void
moved(void)
{
	int fd;

	put_group("/cg/a", 7, 1400000);
	put_group("/cg/b", 20, 5000000);
	sources_follow(sources, &limits);
	tap_ok(says("psi", false, "gone"), "not moved, nothing is reopened");
	in_group(true, "/cg/b");
	sources_follow(sources, &limits);
	tap_ok(says("v2 memory.events", true, "/cg/b"),
	       "a process that was moved watches its new group");
	tap_ok(says("psi", true, "/cg/b/memory.pressure"), "and its PSI");
	put_group("/cg/a", 100, 9000000);
	put_group("/cg/b", 21, 5300000);
	tell(POLLPRI);
	tap_is(news.high_events, 1, "events are the new one's");
	tap_is(sources_stall_us(sources), 300000, "so are stalls");
	fd = lowest();
	for (int i = 0; i < 10; i++) {
		in_group(true, i % 2 ? "/cg/b" : "/cg/a");
		sources_follow(sources, &limits);
	}
	tap_is(lowest(), fd, "to and fro leaves nothing open");
	fixture_file("/proc/pressure/memory", "some avg10=0.00 total=1\n");
	in_group(false, "/cg/v1");
	sources_follow(sources, &limits);
	tap_ok(says("v2 memory.events", false, "on cgroup v1") &&
		       says("v1 threshold", false, "cgroup.event_control"),
	       "also to the other hierarchy");
	tap_ok(says("psi", true, "/proc/pressure/memory"),
	       "where PSI is the machine's");
	sources_close(sources);
}

static void
switched(void)
{
	atomic_store(&settings()->sources,
		     SETTINGS_SOURCES_ALL & ~SETTINGS_PSI & ~SETTINGS_NOTIFY);
	fixture_file("/proc/self/environ", "MEMORY_PRESSURE_WATCH=/dev/null%c",
		     0);
	in_group(true, "/cg/a");
	sources = sources_open(&limits);
	tap_is(tell(0), 0, "what is set to off is not polled");
	tap_ok(says("psi", false, "psi:off") &&
		       says("v2 memory.events", false, "notify:off"),
	       "as is said");
	in_group(true, "/cg/b");
	sources_follow(sources, &limits);
	tap_ok(tell(0) == 0 && says("v2 memory.events", false, "notify:off"),
	       "nor after a move");
	tap_ok(sources_switched_off(sources) &&
		       says("systemd", true, "monitoring is off"),
	       "systemd's /dev/null switches off");
	sources_close(sources);
	atomic_store(&settings()->sources,
		     SETTINGS_SOURCES_ALL & ~SETTINGS_SYSTEMD);
	sources = sources_open(&limits);
	tap_ok(!sources_switched_off(sources), "but not with systemd:off");
	sources_close(sources);
	atomic_store(&settings()->sources, SETTINGS_SOURCES_ALL);
}

static void
of_systemd(void)
{
	int writer;

	fixture_file("/proc/self/environ", "MEMORY_PRESSURE_WATCH=/fifo%c", 0);
	fixture_remove("/fifo");
	if (mkfifo(fixture_path("/fifo"), 0600) != 0)
		tap_bail_out("no FIFO");
	in_group(true, "/cg/a");
	sources = sources_open(&limits);
	tap_is(tell(0), 2, "systemd's FIFO and memory.events are polled");
	tap_ok(!news.asked && !news.limit, "silent");
	writer = open(fixture_path("/fifo"), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (write(writer, "x", 1) != 1)
		tap_bail_out("the FIFO takes nothing");
	tap_is(poll(polls, 2, 5000), 1, "a byte wakes");
	memset(&news, 0, sizeof news);
	sources_handle(sources, polls, 2, &news);
	tap_ok(news.asked && !news.limit, "and asks for memory");
	in_group(true, "/cg/b");
	sources_follow(sources, &limits);
	if (write(writer, "x", 1) != 1)
		tap_bail_out("the FIFO takes nothing");
	sources_fill(sources, polls, 2);
	tap_ok(poll(polls, 1, 5000) == 1 && polls[0].events == POLLIN,
	       "a move leaves it alone");
	close(writer);
	sources_close(sources);
}

int
main(void)
{
	fixture_begin();
	nothing();
	of_v2();
	moved();
	switched();
	of_systemd();
	fixture_end();
	return tap_done();
}
