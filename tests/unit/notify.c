/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pressure/notify.c: v1 thresholds on a cgroup of our own, v2's memory.events
 * on made-up files, and groups that vanish.
 */
#include "pressure/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/tap.h"
#include "tests/unit/fixture.h"

#define MIB (1ull << 20)
#define WAIT_MS 5000

static struct notify notify;
static struct limits limits;
static struct sources_news news;

static int
lowest(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	close(fd);
	return fd;
}

static void
events_texts(void)
{
	uint64_t high = 7, max = 7, oom = 7;

	tap_ok(notify_parse_events("low 1\nhigh 22\nmax 333\noom 4\n"
				   "oom_kill 5\noom_group_kill 6\n",
				   &high, &max, &oom) == 0 &&
		       high == 22 && max == 333 && oom == 4,
	       "memory.events is read");
	tap_ok(notify_parse_events("max 3\nhigh 2", &high, &max, &oom) == 0 &&
		       high == 2 && max == 3 && oom == 0,
	       "in any order, and without oom");
	tap_is(notify_parse_events("high 2\noom 1\n", &high, &max, &oom),
	       -EINVAL, "without max it is refused");
	tap_is(notify_parse_events("max 2\noom 1\n", &high, &max, &oom),
	       -EINVAL, "so it is without high");
	tap_is(notify_parse_events("highest 2\nmax 1\n", &high, &max, &oom),
	       -EINVAL, "and with a word like it");
	tap_is(notify_parse_events("high x\nmax 1\n", &high, &max, &oom),
	       -EINVAL, "with no number");
	tap_is(notify_parse_events("high 18446744073709551616\nmax 1\n", &high,
				   &max, &oom),
	       -EINVAL, "or one of 65 bits");
	tap_is(notify_parse_events("", &high, &max, &oom), -EINVAL,
	       "and empty");
}

static void
put_events(const char *path, unsigned high, unsigned max, unsigned oom)
{
	fixture_file(path, "low 0\nhigh %u\nmax %u\noom %u\noom_kill 0\n", high,
		     max, oom);
}

static void
add_group(const char *path, uint64_t max_bytes, uint64_t high_bytes)
{
	struct limits_group *g = &limits.groups[limits.groups_count++];

	snprintf(g->path, sizeof g->path, "%s", path);
	g->max_bytes = max_bytes;
	g->high_bytes = high_bytes;
	g->usage_fd = g->stat_fd = g->max_fd = g->high_fd = -1;
}

/* As if poll(2) had said so of all descriptors. */
static void
tell(short revents)
{
	struct pollfd polls[SOURCES_POLLS_MAX];
	unsigned n = notify_fill(&notify, polls, SOURCES_POLLS_MAX);

	memset(&news, 0, sizeof news);
	for (unsigned i = 0; i < n; i++)
		polls[i].revents = revents;
	notify_read(&notify, polls, n, &news);
}

static bool
no_news(void)
{
	static const struct sources_news none;

	return memcmp(&news, &none, sizeof none) == 0;
}

static void
open_three(void)
{
	memset(&limits, 0, sizeof limits);
	limits.v2 = true;
	put_events("/cg/a/b/memory.events", 5, 5, 0);
	put_events("/cg/a/memory.events", 50, 50, 0);
	put_events("/cg/memory.events", 500, 500, 0);
	add_group(fixture_path("/cg/a/b"), 400 * MIB, UINT64_MAX);
	add_group(fixture_path("/cg/a"), UINT64_MAX, 300 * MIB);
	add_group(fixture_path("/cg"), 800 * MIB, UINT64_MAX);
	notify_open(&notify, &limits);
}

static void
of_v2(void)
{
	struct pollfd polls[2];

	open_three();
	tap_is(notify.events_count, 2, "v2: two files are watched");
	tap_ok(notify.events[0].group == 0 && notify.events[1].group == 1,
	       "the own group's and the tightest ancestor's");
	tap_is_text(notify.why_v1, "the memory controller is on cgroup v2",
		    "and v1 says why not");
	tap_ok(notify_fill(&notify, polls, 2) == 2 &&
		       polls[0].fd == notify.events[0].fd &&
		       polls[0].events == POLLPRI &&
		       polls[1].fd == notify.events[1].fd,
	       "both are polled");
	tap_is(notify_fill(&notify, polls, 1), 1, "as many as there is room");
	tell(0);
	tap_ok(no_news(), "without an event nothing is read");
	tell(POLLPRI);
	tap_ok(news.limit && !news.high_events && !news.critical && !news.oom,
	       "what was counted before does not count");
	put_events("/cg/a/b/memory.events", 8, 5, 0);
	put_events("/cg/a/memory.events", 54, 50, 0);
	tell(POLLPRI);
	tap_ok(news.limit && news.high_events == 7 && !news.critical,
	       "high of both is added");
	tell(POLLPRI);
	tap_is(news.high_events, 0, "once");
	put_events("/cg/a/memory.events", 54, 51, 0);
	tell(POLLPRI);
	tap_ok(news.critical && !news.oom, "max is critical");
	put_events("/cg/a/b/memory.events", 8, 5, 1);
	tell(POLLPRI);
	tap_ok(news.critical && news.oom, "oom is that and more");
	notify_close(&notify);
}

/* A descriptor that reads as that of a group that is gone: with an error. */
static void
vanish(int fd)
{
	int folder = open("/", O_RDONLY | O_CLOEXEC);

	if (folder < 0 || dup2(folder, fd) != fd)
		tap_bail_out("dup2: %s", strerror(errno));
	close(folder);
}

static void
vanishing(void)
{
	int before = lowest(), gone;
	struct pollfd polls[2];

	open_three();
	gone = notify.events[0].fd;
	vanish(gone);
	tell(POLLERR | POLLPRI);
	tap_ok(fcntl(gone, F_GETFD) < 0 && errno == EBADF,
	       "a group that has gone is closed: it would wake for ever");
	tap_ok(notify_fill(&notify, polls, 2) == 1 &&
		       polls[0].fd == notify.events[0].fd &&
		       notify.events[0].group == 1,
	       "the other one is still polled");
	put_events("/cg/a/memory.events", 51, 50, 0);
	tell(POLLPRI);
	tap_is(news.high_events, 1, "and read");
	vanish(notify.events[0].fd);
	tell(POLLERR);
	tap_is(notify_fill(&notify, polls, 2), 0, "until it has gone too");
	tap_ok(strstr(notify.why_v2, "gone"), "as is said: %s", notify.why_v2);
	notify_close(&notify);
	tap_is(lowest(), before, "nothing is left open");
}

static void
missing(void)
{
	int before = lowest();

	open_three();
	notify_close(&notify);
	fixture_file("/cg/a/memory.events", "rubbish\n");
	fixture_remove("/cg/a/b/memory.events");
	notify_open(&notify, &limits);
	tap_is(notify.events_count, 0,
	       "files that are missing or wrong are not watched");
	tap_ok(strncmp(notify.why_v2, "memory.events: ", 15) == 0,
	       "as is said: %s", notify.why_v2);
	notify_close(&notify);
	limits.groups_count = 0;
	notify_open(&notify, &limits);
	tap_is(notify.events_count, 0, "nor any without a group");
	notify_close(&notify);
	limits.v2 = false;
	add_group(fixture_path("/cg/a"), 400 * MIB, UINT64_MAX);
	notify_open(&notify, &limits);
	tap_ok(notify.level_fd[0] < 0 && notify.level_fd[1] < 0,
	       "v1 without cgroup.event_control is not");
	tap_is_text(notify.why_v1,
		    "cgroup.event_control: No such file or directory",
		    "as is said");
	notify_arm(&notify, &limits.groups[0], 400 * MIB, (uint64_t[]){ MIB },
		   1);
	tap_ok(!notify.arming && notify.threshold_fd[0] < 0,
	       "and nothing is armed");
	notify_close(&notify);
	tap_is(lowest(), before, "nothing is left open");
}

/* ---- on a v1 group of our own ---- */

static bool
is_armed(void)
{
	uint64_t start = clock_now_ns();

	while (notify.arming && clock_now_ns() - start < 10 * CLOCK_S)
		usleep(1000);
	return notify.armed;
}

/* Whether anything wakes within that time; it is read. */
static bool
wakes(int timeout_ms)
{
	struct pollfd polls[SOURCES_POLLS_MAX];
	unsigned n = notify_fill(&notify, polls, SOURCES_POLLS_MAX);

	memset(&news, 0, sizeof news);
	if (poll(polls, n, timeout_ms) <= 0)
		return false;
	notify_read(&notify, polls, n, &news);
	return true;
}

static char *
take(size_t bytes)
{
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		tap_bail_out("mmap: %s", strerror(errno));
	memset(memory, 1, bytes);
	return memory;
}

static void
thresholds(const char *group)
{
	const uint64_t headrooms[] = { 96 * MIB, 32 * MIB };
	int first;
	char *memory;

	notify_arm(&notify, &limits.groups[0], 128 * MIB, headrooms, 2);
	tap_ok(is_armed(), "thresholds are armed");
	first = notify.threshold_fd[0];
	tap_ok(first >= 0 && notify.threshold_fd[1] >= 0 &&
		       notify.threshold_fd[2] < 0,
	       "as many as were asked for");
	wakes(0); /* registering may fire */
	notify_arm(&notify, &limits.groups[0], 128 * MIB, headrooms, 2);
	tap_ok(!notify.arming && notify.threshold_fd[0] == first,
	       "asked for again they stay");
	tap_ok(!wakes(0), "below them all is quiet");
	memory = take(48 * MIB);
	tap_ok(wakes(WAIT_MS) && news.limit && !news.critical,
	       "usage that crosses one wakes");
	while (wakes(0))
		;
	munmap(memory, 48 * MIB);
	tap_ok(wakes(WAIT_MS) && news.limit, "on the way down too");
	while (wakes(0))
		;
	memory = take(80 * MIB);
	take(28 * MIB);
	munmap(memory, 80 * MIB);
	tap_ok(wakes(WAIT_MS) && news.limit, "and the other one");
	tap_is_text(notify.armed_path, group, "for that group");
}

static void
of_v1(void)
{
	const char *why, *group;
	int before = lowest();
	struct pollfd polls[SOURCES_POLLS_MAX];
	unsigned polled;

	/* Roomy: what a sanitizer takes on top must not be killed for it. */
	group = fixture_group_begin(2048 * MIB, &why);
	if (!group) {
		tap_skip(13, "%s", why);
		return;
	}
	memset(&limits, 0, sizeof limits);
	add_group(group, 2048 * MIB, UINT64_MAX);
	notify_open(&notify, &limits);
	if (notify.level_fd[0] < 0 || fixture_group_enter() != 0) {
		tap_skip(13, "no notifications: %s", notify.why_v1);
		notify_close(&notify);
		fixture_group_end();
		return;
	}
	tap_ok(notify.level_fd[1] >= 0, "v1: medium and critical are watched");
	tap_is_text(notify.why_v2, "the memory controller is on cgroup v1",
		    "and v2 says why not");
	thresholds(group);
	while (wakes(0))
		;
	fixture_group_end();
	polled = notify_fill(&notify, polls, SOURCES_POLLS_MAX);
	tap_is(polled, 4, "a group that has gone is still polled");
	for (int i = 0; i < 20; i++)
		wakes(20);
	tap_ok(!wakes(0), "but does not wake for ever");
	notify_close(&notify);
	tap_is(lowest(), before, "nothing is left open");
}

int
main(void)
{
	events_texts();
	fixture_begin();
	of_v2();
	vanishing();
	missing();
	fixture_end();
	of_v1();
	return tap_done();
}
