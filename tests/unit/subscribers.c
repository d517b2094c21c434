/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spillway/pressure.h on a running core whose only limit is the test's: who
 * is told of levels, how often and on which thread; and spw_pressure_grow().
 */
#include "pressure/subscribers.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <spillway/spillway.h>

#include "base/clock.h"
#include "base/fault.h"
#include "tests/tap.h"
#include "tests/unit/stock.h"

#define MIB (1ull << 20)
#define WAIT_MS 10000
#define LATE_NS (10 * CLOCK_S)
/* Long enough that who is told at all would have been told. */
#define QUIET_US 100000

struct ear {
	struct spw_subscription *subscription;
	_Atomic unsigned reached, left;
	enum spw_level at_least;
	struct spw_pressure last;
	pthread_t thread;
};

static void
hear(const struct spw_pressure *now, void *context)
{
	struct ear *ear = context;

	ear->last = *now;
	ear->thread = pthread_self();
	if (now->level >= ear->at_least)
		ear->reached++;
	else
		ear->left++;
}

static void
listen_for(struct ear *ear, enum spw_level at_least)
{
	int error;

	memset(ear, 0, sizeof *ear);
	ear->at_least = at_least;
	error = spw_pressure_subscribe(&ear->subscription, at_least, hear, ear);
	if (error)
		tap_bail_out("subscribe: %s", spw_strerror(error));
}

static enum spw_level
level_now(void)
{
	struct spw_pressure now = { .size = sizeof now };

	spw_pressure_read(&now);
	return now.level;
}

static bool
is_critical(void)
{
	return level_now() == SPW_LEVEL_CRITICAL;
}

static bool
is_not_critical(void)
{
	return level_now() < SPW_LEVEL_CRITICAL;
}

/* A limit so many bytes above what this process has now. */
static void
limit_above(uint64_t bytes)
{
	char text[64];

	bytes += stock_resident();
	snprintf(text, sizeof text, "limit:%llu,soft:8M,hard:4M",
		 (unsigned long long)bytes);
	if (spw_configure(text) != 0)
		tap_bail_out("%s is refused", text);
}

static bool
raise_level(void)
{
	limit_above(MIB);
	return stock_soon(is_critical);
}

static bool
lower_level(void)
{
	if (spw_configure("limit:none") != 0)
		tap_bail_out("limit:none is refused");
	return stock_soon(is_not_critical);
}

static _Atomic unsigned *awaited;
static unsigned awaited_more_than;

static bool
has_come(void)
{
	return *awaited > awaited_more_than;
}

static bool
comes(_Atomic unsigned *counter, unsigned more_than)
{
	awaited = counter;
	awaited_more_than = more_than;
	return stock_soon(has_come);
}

static uint64_t
times(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t n = 0;

	if (poll(&p, 1, timeout_ms) > 0 && read(fd, &n, sizeof n) < 0)
		return 0;
	return n;
}

static void
refused(void)
{
	struct spw_pressure now = { .size = sizeof now - 1 };
	struct spw_subscription *s = (void *)&now;

	tap_is(spw_pressure_read(NULL), -EINVAL, "a reading needs a place");
	tap_is(spw_pressure_read(&now), -EINVAL, "of a size that is known");
	tap_is(spw_pressure_subscribe(NULL, SPW_LEVEL_LOW, hear, NULL), -EINVAL,
	       "a subscription needs a place");
	tap_is(spw_pressure_subscribe(&s, SPW_LEVEL_LOW, NULL, NULL), -EINVAL,
	       "somebody to call");
	tap_is(spw_pressure_subscribe(&s, SPW_LEVEL_NONE, hear, NULL), -EINVAL,
	       "and a level that is pressure");
	tap_is(spw_pressure_subscribe(&s, (enum spw_level)4, hear, NULL),
	       -EINVAL, "that there is");
	tap_is(spw_pressure_fd(SPW_LEVEL_NONE), -EINVAL, "so does an eventfd");
	tap_is(spw_pressure_fd((enum spw_level)4), -EINVAL, "both ways");
	spw_pressure_unsubscribe(NULL);
#if SPW_ASSERT_LEVEL >= 2
	fault_set("subscribe", 1, 1);
	tap_ok(spw_pressure_subscribe(&s, SPW_LEVEL_LOW, hear, NULL) ==
			       -ENOMEM &&
		       !s,
	       "no memory is said");
	fault_set("pressure_fd", 1, 1);
	tap_is(spw_pressure_fd(SPW_LEVEL_LOW), -ENOMEM, "by both");
	fault_set(NULL, 0, 0);
#else
	tap_skip(2, "no fault injection in this build");
#endif
}

static bool
is_limited(void)
{
	struct spw_pressure now = { .size = sizeof now };

	return spw_pressure_read(&now) == 0 && now.limit_bytes < UINT64_MAX;
}

static void
reading(void)
{
	struct spw_pressure now = { .size = sizeof now };
	uint64_t resident;

	tap_is(spw_pressure_read(&now), 0, "a first reading starts the core");
	tap_ok(now.level == SPW_LEVEL_NONE && !now.deficit_bytes &&
		       now.headroom_bytes == UINT64_MAX &&
		       now.limit_bytes == UINT64_MAX,
	       "without a limit there is plenty");
	limit_above(1024 * MIB);
	tap_ok(stock_soon(is_limited), "a limit is seen soon");
	spw_pressure_read(&now);
	resident = stock_resident();
	tap_ok(now.level == SPW_LEVEL_NONE && !now.deficit_bytes,
	       "far away it is none");
	tap_ok(now.usage_bytes <= resident + 4 * MIB &&
		       now.usage_bytes + 4 * MIB >= resident,
	       "usage is this process's (%llu of %llu)",
	       (unsigned long long)now.usage_bytes,
	       (unsigned long long)resident);
	tap_is(now.headroom_bytes, now.limit_bytes - now.usage_bytes,
	       "and headroom the rest");
}

static void
telling(void)
{
	struct ear low, critical, late;
	int fd = spw_pressure_fd(SPW_LEVEL_CRITICAL);

	tap_ok(fd >= 0 && (fcntl(fd, F_GETFL) & O_NONBLOCK) &&
		       (fcntl(fd, F_GETFD) & FD_CLOEXEC),
	       "an eventfd neither blocks nor is inherited");
	listen_for(&low, SPW_LEVEL_LOW);
	listen_for(&critical, SPW_LEVEL_CRITICAL);
	usleep(QUIET_US);
	tap_ok(!low.reached && !low.left && !times(fd, 0),
	       "while there is plenty nobody is told");
	tap_ok(raise_level(), "the level becomes critical");
	tap_ok(comes(&low.reached, 0) && comes(&critical.reached, 0),
	       "who waits for low and who waits for critical are told");
	tap_ok(critical.last.size == sizeof critical.last &&
		       critical.last.level == SPW_LEVEL_CRITICAL &&
		       critical.last.limit_bytes < UINT64_MAX,
	       "what it is");
	tap_ok(!pthread_equal(critical.thread, pthread_self()) &&
		       pthread_equal(critical.thread, low.thread),
	       "on a thread of spillway's");
	tap_is(times(fd, WAIT_MS), 1, "and the eventfd is readable");
	listen_for(&late, SPW_LEVEL_CRITICAL);
	tap_ok(comes(&late.reached, 0), "who comes late is told at once");
	usleep(QUIET_US);
	tap_ok(low.reached == 1 && critical.reached == 1 && late.reached == 1 &&
		       !times(fd, 0),
	       "all of them once");
	tap_ok(lower_level() && comes(&critical.left, 0),
	       "that critical is left is told");
	tap_ok(critical.last.level < SPW_LEVEL_CRITICAL && !low.left,
	       "to them alone");
	tap_is(times(fd, 0), 0, "not by the eventfd");
	spw_pressure_unsubscribe(late.subscription);
	tap_ok(raise_level() && comes(&critical.reached, 1) &&
		       times(fd, WAIT_MS) == 1,
	       "critical again is told again");
	usleep(QUIET_US);
	tap_ok(late.reached == 1 && late.left == 1,
	       "but not to who has unsubscribed");
	spw_pressure_unsubscribe(low.subscription);
	spw_pressure_unsubscribe(critical.subscription);
	close(fd);
	lower_level();
}

/*
 * Closed by the program, and its number is somebody else's now; as the kernel
 * would have it, with the id that one before it had.
 */
static void
reusing(void)
{
	int first = spw_pressure_fd(SPW_LEVEL_CRITICAL), fd, other;
	int keeper = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct ear ear;

	dup2(keeper, first); /* its id is free, its number is not */
	other = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	close(first);
	fd = spw_pressure_fd(SPW_LEVEL_CRITICAL);
	tap_is(fd, first, "a number is given twice");
	close(keeper);
	if (fd < 0 || other < 0 || dup2(other, fd) != fd)
		tap_bail_out("no descriptors");
	listen_for(&ear, SPW_LEVEL_CRITICAL);
	tap_ok(raise_level() && comes(&ear.reached, 0), "critical is reached");
	usleep(QUIET_US);
	tap_is(times(fd, 0), 0,
	       "an eventfd that took a closed one's number is not written");
	lower_level();
	comes(&ear.left, 0);
	spw_pressure_unsubscribe(ear.subscription);
	close(other);
	close(fd);
}

/* ---- unsubscribing ---- */

static _Atomic bool held, let_go, unsubscribed;
static _Atomic unsigned calls, inside_calls;
static struct spw_subscription *inside;
static int reclaim_inside;

static void
hold(const struct spw_pressure *now, void *context)
{
	(void)now;
	(void)context;
	calls++;
	held = true;
	while (!let_go)
		usleep(500);
}

static void
leave_inside(const struct spw_pressure *now, void *context)
{
	(void)now;
	(void)context;
	reclaim_inside = spw_reclaim(NULL, NULL);
	spw_pressure_unsubscribe(inside);
	spw_pressure_unsubscribe(inside);
	inside_calls++;
}

static void *
unsubscribe_thread(void *subscription)
{
	spw_pressure_unsubscribe(subscription);
	unsubscribed = true;
	return NULL;
}

static bool
is_held(void)
{
	return held;
}

static void
unsubscribing(void)
{
	struct spw_subscription *s;
	struct ear ear;
	pthread_t thread;

	spw_pressure_subscribe(&s, SPW_LEVEL_CRITICAL, hold, NULL);
	raise_level();
	tap_ok(stock_soon(is_held), "a callback is running");
	pthread_create(&thread, NULL, unsubscribe_thread, s);
	usleep(QUIET_US);
	tap_ok(!unsubscribed, "unsubscribing waits for it");
	let_go = true;
	pthread_join(thread, NULL);
	tap_is(calls, 1, "and then it was the last");

	spw_pressure_subscribe(&inside, SPW_LEVEL_CRITICAL, leave_inside, NULL);
	tap_ok(comes(&inside_calls, 0), "another one unsubscribes itself");
	tap_is(reclaim_inside, -EDEADLK, "where it may not wait for a pass");
	listen_for(&ear, SPW_LEVEL_CRITICAL);
	comes(&ear.reached, 0);
	lower_level();
	comes(&ear.left, 0);
	raise_level();
	tap_ok(comes(&ear.reached, 1), "critical is reached again");
	usleep(QUIET_US);
	tap_ok(inside_calls == 1 && calls == 1, "neither is called any more");
	lower_level();
	spw_pressure_unsubscribe(ear.subscription);
}

/* ---- a child ---- */

static int
child_result(int fd, struct ear *ear)
{
	alarm(20);
	if (!raise_level()) /* reading starts the child's own core */
		return 1;
	if (!comes(&ear->reached, 0))
		return 2;
	usleep(QUIET_US);
	return times(fd, 0) ? 3 : 0;
}

static void
forking(void)
{
	int fd = spw_pressure_fd(SPW_LEVEL_CRITICAL), status = 0;
	struct ear ear;
	pid_t child;

	listen_for(&ear, SPW_LEVEL_CRITICAL);
	stock_soon(is_not_critical);
	child = fork();
	if (child == 0)
		_exit(child_result(fd, &ear));
	waitpid(child, &status, 0);
	tap_is(status, 0,
	       "a child's subscriptions are told, its parent's eventfds not");
	tap_ok(!ear.reached && !times(fd, 0), "nor is the parent");
	tap_ok(raise_level() && times(fd, WAIT_MS) == 1,
	       "which has its eventfd still");
	lower_level();
	spw_pressure_unsubscribe(ear.subscription);
	close(fd);
}

/* ---- growing ---- */

static struct stock stock;

static uint64_t
gate_waits(void)
{
	struct spw_stats stats = { .size = sizeof stats };

	spw_stats(&stats);
	return stats.gate_waits;
}

static int
grow(size_t bytes, uint64_t *ns)
{
	uint64_t start = clock_now_ns();
	int error = spw_pressure_grow(bytes);

	*ns = clock_now_ns() - start;
	return error;
}

static size_t
slow_shrink(const struct spw_shrink *request, void *context)
{
	usleep(100000);
	return stock_shrink(request, context);
}

static bool
is_asked(void)
{
	return stock.asked > 0;
}

static bool
gives(void)
{
	return stock.bytes < stock.mapped_bytes;
}

static int last_grow;

static bool
is_refused(void)
{
	uint64_t ns;

	last_grow = grow(MIB, &ns);
	return last_grow == -ENOMEM;
}

static bool
is_admitted(void)
{
	uint64_t ns;

	last_grow = grow(MIB, &ns);
	return last_grow == 0;
}

static void
growing(void)
{
	struct spw_shrinker_options options = {
		.size = sizeof options,
		.name = "stock",
		.tier = SPW_TIER_WARM,
		.count = stock_count,
		.shrink = slow_shrink,
		.context = &stock,
	};
	struct spw_shrinker *s;
	uint64_t before, ns;

	stock_soon(is_not_critical);
	before = gate_waits();
	tap_is(grow(64 * MIB, &ns), 0, "with plenty, growth is admitted");
	tap_is(gate_waits(), before, "without waiting");

	stock_fill(&stock, 64 * MIB);
	if (spw_shrinker_register(&s, &options) != 0)
		tap_bail_out("register");
	raise_level();
	before = gate_waits();
	tap_is(grow(MIB, &ns), 0, "at a limit it is admitted too");
	tap_ok(ns < LATE_NS, "in bounded time (%llu us)",
	       (unsigned long long)(ns / 1000));
	tap_ok(stock_soon(gives), "and who has memory gives it");
	tap_ok(gate_waits() <= before + 1, "for one wait at most");

	/* A slow giver: there is hope, so growth waits its 10 ms. */
	stock_fill(&stock, 64 * MIB);
	stock.asked = 0;
	raise_level();
	stock_soon(is_asked);
	before = gate_waits();
	for (int i = 0; i < 200 && gate_waits() == before; i++) {
		if (is_not_critical())
			raise_level();
		grow(MIB, &ns);
	}
	tap_ok(gate_waits() > before && ns < LATE_NS,
	       "while somebody gives, growth waits a bounded time (%llu us)",
	       (unsigned long long)(ns / 1000));
	spw_shrinker_unregister(s);
	stock_empty(&stock);

	limit_above(0);
	stock_soon(is_critical);
	tap_is(grow(MIB, &ns), 0, "with nothing left to give it goes on");
	if (spw_configure("oom:fail") != 0)
		tap_bail_out("oom:fail is refused");
	tap_ok(stock_soon(is_refused), "and is refused with oom:fail");
	lower_level();
	tap_ok(stock_soon(is_admitted), "until there is plenty again");
	spw_configure("oom:kernel");
}

/* ---- hanging ---- */

static _Atomic bool named;

static void
read_log(enum spw_log_level level, const char *line, void *context)
{
	(void)level;
	(void)context;
	if (strstr(line, "subscription to critical did not return"))
		named = true;
}

static bool
is_unlimited(void)
{
	return !is_limited();
}

static bool
is_named(void)
{
	return named;
}

static void
hanging(void)
{
	struct spw_subscription *s;
	struct spw_shrinker *giver;

	/* A pressure that was given up ends where plenty is seen. */
	stock_soon(is_unlimited);
	spw_log_set(SPW_LOG_WARNING, read_log, NULL);
	spw_configure("deadline:50ms");
	stock_fill(&stock, 16 * MIB);
	held = let_go = false;
	spw_pressure_subscribe(&s, SPW_LEVEL_CRITICAL, hold, NULL);
	if (!tap_ok(raise_level() && stock_soon(is_held), "a callback hangs"))
		tap_note("at level %d", (int)level_now());
	giver = stock_lend(&stock, "giver", SPW_TIER_WARM, true);
	tap_ok(stock_soon(is_named), "it is named in the log");
	tap_ok(stock_soon(gives), "and who has memory gives it");
	let_go = true;
	spw_pressure_unsubscribe(s);
	spw_shrinker_unregister(giver);
	stock_empty(&stock);
	lower_level();
	spw_configure("deadline:250ms");
	spw_log_set(SPW_LOG_OFF, NULL, NULL);
}

int
main(void)
{
	struct stock ballast = { 0 }; /* hard: is 5 % of a limit at most */

	stock_alone(NULL);
	stock_fill(&ballast, 128 * MIB);
	refused();
	reading();
	telling();
	reusing();
	unsubscribing();
	forking();
	growing();
	hanging();
	stock_empty(&ballast);
	return tap_done();
}
