/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One act: a group, two processes, a page of numbers, a clock.
 *
 * Called by demo.c; calls group.c for the cgroup, client.c for what spillway
 * has measured inside the hog, bars.c to show it. Every figure is read from
 * the page the hog writes (hog.h), the cgroup's files, or the control socket.
 *
 * The script: the hog begins at once; after a sixth of the time the neighbour
 * grows to half of the limit in eight steps, and stays. The hog has the worse
 * oom_score_adj, so that a kill is its own. Without a cgroup the hog alone is
 * limited: by limit: with spillway, by RLIMIT_DATA without.
 */
#include "cli/act.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/units.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/group.h"
#include "cli/hog.h"
#include "cli/reply.h"

#define TICK_NS (50 * CLOCK_MS)
#define DRAW_TICKS 2
#define STEPS 8
/* Lookups a second that fill 256 MiB in about four seconds. */
#define LOOKUPS_PER_S 10000
#define LOOKUPS_LIMIT (256ull << 20)

struct act {
	const struct act_setting *setting;
	bool with;
	struct group group;
	struct hog_report *report;
	int report_fd;
	pid_t hog, neighbour; /* 0: not running */
	int hog_status;
	uint64_t start_ns, ended_ns;
	uint64_t peak_bytes, returned_bytes, kills;
	/* Of the second that is over. */
	uint64_t second, lookups_before, hits_before;
	unsigned hits_thousandths;
};

static volatile sig_atomic_t interrupted;

static void
on_signal(int number)
{
	interrupted = number;
}

void
act_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

int
act_interrupted(void)
{
	return interrupted;
}

/* ---- processes ---- */

static void
set_environment(const struct act *a)
{
	const char *old = getenv("SPILLWAY_CONF");
	char conf[4096];

	if (!a->with) {
		unsetenv("LD_PRELOAD");
		return;
	}
	setenv("LD_PRELOAD", a->setting->library, 1);
	if (a->setting->grouped)
		return;
	snprintf(conf, sizeof conf, "%s%slimit:%" PRIu64, old ? old : "",
		 old && *old ? "," : "", a->setting->limit_bytes);
	setenv("SPILLWAY_CONF", conf, 1);
}

/* In the child; returns only where it failed. */
static void
become(const struct act *a, char *const *arguments, bool hog)
{
	const struct rlimit data = { .rlim_cur = a->setting->limit_bytes,
				     .rlim_max = a->setting->limit_bytes };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (a->setting->grouped && group_enter(&a->group) != 0)
		return;
	if (hog) {
		file_write("/proc/self/oom_score_adj", "500", 3);
		set_environment(a);
		if (!a->setting->grouped && !a->with)
			setrlimit(RLIMIT_DATA, &data);
	} else {
		unsetenv("LD_PRELOAD");
	}
	execv(arguments[0], arguments);
}

static pid_t
start(const struct act *a, bool hog)
{
	char fd[16], rate[24], path[PATH_MAX];
	char role_hog[] = "hog", role_neighbour[] = "neighbour";
	char *arguments[] = { path, hog ? role_hog : role_neighbour, fd,
			      hog ? rate : NULL, NULL };
	uint64_t lookups = LOOKUPS_PER_S * a->setting->limit_bytes /
			   LOOKUPS_LIMIT;
	pid_t child;

	memcpy(path, a->setting->hog, sizeof path);
	snprintf(fd, sizeof fd, "%d", a->report_fd);
	snprintf(rate, sizeof rate, "%" PRIu64, lookups ? lookups : 1);
	child = fork();
	if (child == 0) {
		become(a, arguments, hog);
		_exit(127);
	}
	if (child < 0)
		say("cannot start a process: %s", strerror(errno));
	return child < 0 ? 0 : child;
}

/* Ends what still runs. */
static void
stop(pid_t *child, int *status)
{
	if (!*child)
		return;
	kill(*child, SIGKILL);
	while (waitpid(*child, status, 0) < 0 && errno == EINTR)
		;
	*child = 0;
}

static bool
has_ended(pid_t *child, int *status)
{
	if (*child && waitpid(*child, status, WNOHANG) == *child)
		*child = 0;
	return *child == 0;
}

/* ---- figures ---- */

static unsigned
thousandths(uint64_t part, uint64_t whole)
{
	return whole ? (unsigned)(part * 1000 / whole) : 0;
}

/* What spillway in the hog says it has given back. */
static void
ask_hog(struct act *a)
{
	static struct client client;
	uint64_t bytes;

	if (!a->with || !a->hog)
		return;
	client.quiet = true;
	if (client_open(&client, a->hog) != 0)
		return;
	if (client_ask(&client, "stat") == 0 &&
	    reply_number(client.reply, "counters.reclaimed_bytes", &bytes))
		a->returned_bytes = bytes;
	client_close(&client);
}

static void
each_second(struct act *a, uint64_t ns)
{
	uint64_t lookups = atomic_load(&a->report->lookups);
	uint64_t hits = atomic_load(&a->report->hits);

	if (ns / CLOCK_S == a->second)
		return;
	a->second = ns / CLOCK_S;
	a->hits_thousandths = thousandths(hits - a->hits_before,
					  lookups - a->lookups_before);
	a->hits_before = hits;
	a->lookups_before = lookups;
	ask_hog(a);
}

static uint64_t
usage_now(const struct act *a)
{
	char path[64], text[128];
	uint64_t pages;
	const char *at;

	if (a->setting->grouped)
		return group_usage(&a->group);
	snprintf(path, sizeof path, "/proc/%d/statm", (int)a->hog);
	if (!a->hog || file_read(path, text, sizeof text) <= 0)
		return 0;
	at = strchr(text, ' ');
	if (!at || units_parse_number(at + 1, strspn(at + 1, "0123456789"),
				      &pages) != 0)
		return 0;
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void
grow_neighbour(const struct act *a, uint64_t ns)
{
	uint64_t all = a->setting->seconds * CLOCK_S;
	uint64_t step = 0;

	if (ns > all / 6)
		step = 1 + (ns - all / 6) / (all / 6 / STEPS);
	if (step > STEPS)
		step = STEPS;
	atomic_store(&a->report->neighbour_target_bytes,
		     a->setting->limit_bytes / 2 * step / STEPS);
}

static void
look(struct act *a, uint64_t ns, unsigned tick)
{
	struct hog_report *r = a->report;
	struct bars_now now = {
		.ns = ns,
		.limit_bytes = a->setting->limit_bytes,
		.usage_bytes = usage_now(a),
		.cache_bytes = atomic_load(&r->cache_bytes),
		.neighbour_bytes = atomic_load(&r->neighbour_bytes),
		.given_bytes = atomic_load(&r->given_bytes),
	};

	if (now.usage_bytes == UINT64_MAX)
		now.usage_bytes = 0;
	if (now.usage_bytes > a->peak_bytes)
		a->peak_bytes = now.usage_bytes;
	each_second(a, ns);
	now.hits_thousandths = a->hits_thousandths;
	if (a->setting->shown && tick % DRAW_TICKS == 0)
		bars_draw(&now);
}

static void
watch(struct act *a)
{
	const struct timespec tick = { .tv_nsec = (long)TICK_NS };
	uint64_t all = a->setting->seconds * CLOCK_S;
	int status;

	for (unsigned i = 0; !interrupted; i++) {
		uint64_t ns = clock_now_ns() - a->start_ns;

		a->ended_ns = ns;
		if (has_ended(&a->hog, &a->hog_status) || ns >= all)
			break;
		if (a->setting->grouped) {
			grow_neighbour(a, ns);
			has_ended(&a->neighbour, &status);
		}
		look(a, ns, i);
		nanosleep(&tick, NULL);
	}
}

static void
describe_end(const struct act *a, bool killed_neighbour, struct bars_result *r)
{
	double seconds = (double)a->ended_ns / 1e9;

	if (r->survived)
		snprintf(r->ended, sizeof r->ended, "survived %.1f s%s",
			 seconds, killed_neighbour ? ", neighbour killed" : "");
	else if (atomic_load(&a->report->out_of_memory))
		snprintf(r->ended, sizeof r->ended, "out of memory at %.1f s",
			 seconds);
	else if (WIFSIGNALED(a->hog_status) &&
		 WTERMSIG(a->hog_status) == SIGKILL && a->kills)
		snprintf(r->ended, sizeof r->ended, "killed at %.1f s",
			 seconds);
	else if (WIFSIGNALED(a->hog_status))
		snprintf(r->ended, sizeof r->ended, "signal %d at %.1f s",
			 WTERMSIG(a->hog_status), seconds);
	else
		snprintf(r->ended, sizeof r->ended, "exit code %d at %.1f s",
			 WEXITSTATUS(a->hog_status), seconds);
}

static void
take_result(struct act *a, bool survived, struct bars_result *r)
{
	struct hog_report *p = a->report;
	bool neighbour_gone = a->setting->grouped && !a->neighbour;
	uint64_t peak = a->setting->grouped ? group_peak(&a->group) :
					      UINT64_MAX;
	uint64_t kills = a->setting->grouped ? group_kills(&a->group) : 0;

	memset(r, 0, sizeof *r);
	a->kills = kills == UINT64_MAX ? 0 : kills;
	r->done = true;
	r->survived = survived;
	r->ended_ns = a->ended_ns;
	r->lookups = atomic_load(&p->lookups);
	r->hits = atomic_load(&p->hits);
	r->hits_thousandths = thousandths(r->hits, r->lookups);
	r->hits_last_thousandths = a->hits_thousandths;
	r->peak_bytes = peak != UINT64_MAX ? peak : a->peak_bytes;
	r->given_bytes = atomic_load(&p->given_bytes);
	r->returned_bytes = a->returned_bytes;
	r->cache_bytes = atomic_load(&p->cache_bytes);
	r->cache_bytes_min = atomic_load(&p->shrinks) ?
				     atomic_load(&p->cache_bytes_min) :
				     UINT64_MAX;
	r->neighbour_bytes = atomic_load(&p->neighbour_bytes);
	r->stall_ns_max = atomic_load(&p->stall_ns_max);
	describe_end(a, survived && neighbour_gone, r);
}

/* ---- the act ---- */

static int
make_report(struct act *a)
{
	/* Not closed by exec: the helpers map it. */
	a->report_fd = memfd_create("spillway-demo", 0);
	if (a->report_fd < 0 ||
	    ftruncate(a->report_fd, sizeof *a->report) != 0) {
		say("cannot make a page to share: %s", strerror(errno));
		return COMMAND_LESS;
	}
	a->report = mmap(NULL, sizeof *a->report, PROT_READ | PROT_WRITE,
			 MAP_SHARED, a->report_fd, 0);
	if (a->report == MAP_FAILED) {
		say("cannot map a page to share: %s", strerror(errno));
		return COMMAND_LESS;
	}
	return 0;
}

static int
play(struct act *a, struct bars_result *result)
{
	int status = 0;
	bool survived;

	if (a->setting->grouped) {
		a->neighbour = start(a, false);
		if (!a->neighbour)
			return COMMAND_LESS;
	}
	a->start_ns = clock_now_ns();
	a->hog = start(a, true);
	if (!a->hog)
		return COMMAND_LESS;
	watch(a);
	survived = a->hog != 0;
	take_result(a, survived, result);
	stop(&a->hog, &status);
	if (!survived && WIFEXITED(a->hog_status) &&
	    WEXITSTATUS(a->hog_status) == 127) {
		say("\"%s\" could not be started", a->setting->hog);
		return COMMAND_LESS;
	}
	if (a->with && !atomic_load(&a->report->has_shrinker)) {
		say("\"%s\" was not loaded into the program",
		    a->setting->library);
		return COMMAND_LESS;
	}
	return 0;
}

int
act_play(const struct act_setting *setting, bool with,
	 struct bars_result *result)
{
	struct act a = { .setting = setting,
			 .with = with,
			 .report_fd = -1,
			 .returned_bytes = UINT64_MAX };
	int status, code = make_report(&a);

	if (!code && setting->grouped &&
	    group_create(&a.group, setting->limit_bytes) != 0) {
		say("%s", a.group.why);
		code = COMMAND_LESS;
	}
	if (!code) {
		if (setting->shown)
			bars_begin(with ? "With spillway" : "Without spillway");
		code = play(&a, result);
		if (!code && setting->shown && !interrupted)
			bars_end(result);
	}
	stop(&a.hog, &status);
	stop(&a.neighbour, &status);
	if (group_remove(&a.group) != 0)
		say("the group %s could not be removed: %s", a.group.path,
		    strerror(errno));
	if (a.report && a.report != MAP_FAILED)
		munmap(a.report, sizeof *a.report);
	if (a.report_fd >= 0)
		close(a.report_fd);
	return code;
}
