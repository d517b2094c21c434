/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every key, every refusal and its words, all or nothing, the environment
 * with and without the rights of another user. Children are forked because a
 * process reads SPILLWAY_CONF once.
 */
#include "base/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <spillway/spillway.h>

#include "tests/tap.h"

#define MIB (1ull << 20)

/* Counts allocations, where no sanitizer has a malloc of its own. */
static unsigned allocations;
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
	__has_feature(memory_sanitizer)
#define FOREIGN_MALLOC 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
	!defined(__GLIBC__)
#define FOREIGN_MALLOC 1
#endif
#ifndef FOREIGN_MALLOC
#define FOREIGN_MALLOC 0
void *__libc_malloc(size_t bytes);

void *
malloc(size_t bytes)
{
	__atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
	return __libc_malloc(bytes);
}
#endif

static struct settings
fresh(void)
{
	return *settings();
}

static int
parse(struct settings *s, const char *text)
{
	char bad[SETTINGS_BAD_BYTES] = "";
	int error = settings_parse(s, text, false, bad);

	if (error)
		tap_note("  %s", bad);
	return error;
}

static void
defaults_hold(void)
{
	struct settings s = fresh();

	tap_ok(!s.off && s.threads == SETTINGS_THREADS_AUTO &&
		       s.limit_bytes == UINT64_MAX &&
		       s.oom == SETTINGS_OOM_KERNEL &&
		       s.pagecache == SETTINGS_PAGECACHE_IGNORE &&
		       s.log_level == SPW_LOG_OFF &&
		       s.sources == SETTINGS_SOURCES_ALL &&
		       s.gate_ns == 10000000 && s.deadline_ns == 250000000 &&
		       s.start_bytes == 16 * MIB && s.huge == 0 &&
		       s.root[0] == '\0' && s.tiers_count == 0,
	       "without a text the defaults of the manual hold");
	tap_is(parse(&s, ""), 0, "an empty text is a good text");
	tap_is(parse(&s, " , ,, "), 0, "empty items are skipped");
}

static void
every_key_takes_effect(void)
{
	struct settings s = fresh();

	tap_is(parse(&s, "off"), 0, "off alone is a whole item");
	tap_is(s.off, 1, "off switches spillway off");
	tap_ok(parse(&s, "off:no") == 0 && !s.off, "off:no takes it back");
	tap_ok(parse(&s, "off:yes") == 0 && s.off, "off:yes is off");
	tap_ok(parse(&s, "threads:never") == 0 &&
		       s.threads == SETTINGS_THREADS_NEVER,
	       "threads:never is taken");
	tap_ok(parse(&s, "limit:400M") == 0 && s.limit_bytes == 400 * MIB,
	       "limit takes a size");
	tap_ok(parse(&s, "limit:none") == 0 && s.limit_bytes == UINT64_MAX,
	       "limit:none takes it back");
	tap_ok(parse(&s, "oom:fail") == 0 && s.oom == SETTINGS_OOM_FAIL,
	       "oom:fail is taken");
	tap_ok(parse(&s, "pagecache:share") == 0 &&
		       s.pagecache == SETTINGS_PAGECACHE_SHARE,
	       "pagecache:share is taken");
	tap_ok(parse(&s, "soft:64M,soft:12.5%") == 0 &&
		       s.soft_bytes == 64 * MIB && s.soft_hundredths == 1250,
	       "soft takes a size and a percentage, side by side");
	tap_ok(parse(&s, "hard:1%,hard:4M") == 0 && s.hard_bytes == 4 * MIB &&
		       s.hard_hundredths == 100,
	       "hard takes a percentage and a size, side by side");
	tap_ok(parse(&s, "gate:0,deadline:1s") == 0 && s.gate_ns == 0 &&
		       s.deadline_ns == 1000000000,
	       "gate and deadline take times");
	tap_ok(parse(&s, "start:0,huge:on,log:debug") == 0 &&
		       s.start_bytes == 0 && s.huge == 1 &&
		       s.log_level == SPW_LOG_DEBUG,
	       "start, huge and log are taken");
	tap_ok(parse(&s, "root:/tmp/fixture//") == 0 &&
		       strcmp(s.root, "/tmp/fixture") == 0,
	       "root loses its last slashes");
	tap_ok(parse(&s, "root:/") == 0 && s.root[0] == '\0',
	       "root:/ is no root");
}

static void
sources_switch_singly(void)
{
	static const struct {
		const char *name;
		unsigned bit;
	} sources[] = {
		{ "cgroup", SETTINGS_CGROUP },
		{ "machine", SETTINGS_MACHINE },
		{ "rlimit", SETTINGS_RLIMIT },
		{ "psi", SETTINGS_PSI },
		{ "notify", SETTINGS_NOTIFY },
		{ "systemd", SETTINGS_SYSTEMD },
		{ "control", SETTINGS_CONTROL },
	};
	unsigned all = 0;

	for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
		struct settings s = fresh();
		char text[32];

		snprintf(text, sizeof text, "%s:off", sources[i].name);
		tap_ok(parse(&s, text) == 0 &&
			       s.sources ==
				       (SETTINGS_SOURCES_ALL & ~sources[i].bit),
		       "%s leaves out that source alone", text);
		snprintf(text, sizeof text, "%s:on", sources[i].name);
		tap_ok(parse(&s, text) == 0 &&
			       s.sources == SETTINGS_SOURCES_ALL,
		       "%s puts it back", text);
		all |= sources[i].bit;
	}
	tap_is(all, SETTINGS_SOURCES_ALL, "every source has a key");
}

static void
later_items_win(void)
{
	struct settings s = fresh();

	tap_ok(parse(&s, "limit:1G,oom:fail,limit:2G,oom:kernel") == 0 &&
		       s.limit_bytes == 2048 * MIB &&
		       s.oom == SETTINGS_OOM_KERNEL,
	       "of two items with one key the later wins");
	tap_ok(parse(&s, " limit:3G ,\toom:fail\n") == 0 &&
		       s.limit_bytes == 3072 * MIB &&
		       s.oom == SETTINGS_OOM_FAIL,
	       "blanks around items do not matter");
}

static void
refusals_name_key_value_and_reason(void)
{
	static const char *const cases[][2] = {
		{ "limit:40Q", "limit:40Q: unknown unit 'Q'; use B, K, M, G, "
			       "T, P, E" },
		{ "limit:", "limit:: not a size such as 64M" },
		{ "limit", "limit: a value is missing: SIZE or none" },
		{ "limit:1", "limit:1: too small; the least is 4.0 KiB" },
		{ "limit:8E", "limit:8E: too large; the most is 8E less one "
			      "byte" },
		{ "limit=40M", "limit=40M: write limit:VALUE" },
		{ "limt:40M", "limt:40M: unknown key; did you mean limit?" },
		{ "LIMIT:40M", "LIMIT:40M: unknown key; did you mean limit?" },
		{ "dealine:1s",
		  "dealine:1s: unknown key; did you mean deadline?" },
		{ "oom:kil", "oom:kil: use kernel or fail" },
		{ "oom:FAIL", "oom:FAIL: use kernel or fail" },
		{ "log:loud", "log:loud: use off, error, warning, info or "
			      "debug" },
		{ "off:maybe", "off:maybe: use no or yes" },
		{ "psi", "psi: a value is missing: off|on" },
		{ "soft:0%", "soft:0%: too small; the least is 0.01%" },
		{ "soft:0", "soft:0: too small; the least is 1 B" },
		{ "soft:101%", "soft:101%: too large; the most is 100%" },
		{ "gate:10", "gate:10: the unit is missing; use ns, us, ms, "
			     "s, m, h, d" },
		{ "gate:11s", "gate:11s: too long; the most is 10.00 s" },
		{ "deadline:0", "deadline:0: too short; the least is "
				"1.00 ms" },
		{ "root:here", "root:here: not an absolute path" },
		{ "tier:a", "tier:a: write tier:NAME=TIER" },
		{ "tier:=cold", "tier:=cold: a name has 1 to 63 bytes" },
		{ "tier:a=hot", "tier:a=hot: unknown tier; use free, cold, "
				"garbage, warm, last or 0 to 40" },
		{ "tier:a=41", "tier:a=41: unknown tier; use free, cold, "
			       "garbage, warm, last or 0 to 40" },
		{ "oom:fail,limit:1x",
		  "limit:1x: unknown unit 'x'; use B, K, M, G, T, P, E" },
		{ "\x01\xff:1", "?\?:1: unknown key; the keys are off, "
				"threads, limit, oom, pagecache, soft, hard, "
				"gate, deadline, start, tier, huge, gc, "
				"gc-interval, log, cgroup, machine, "
				"rlimit, psi, notify, systemd, control, "
				"root" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct settings s = fresh(), before = s;
		char bad[SETTINGS_BAD_BYTES] = "";

		tap_is(settings_parse(&s, cases[i][0], false, bad), -EINVAL,
		       "case %zu is refused", i);
		tap_is_text(bad, cases[i][1], "case %zu: \"%s\"", i,
			    cases[i][1]);
		tap_ok(memcmp(&s, &before, sizeof s) == 0,
		       "case %zu changes nothing", i);
	}
}

static void
long_texts_are_cut(void)
{
	static char text[100000];
	struct settings s = fresh();
	char bad[SETTINGS_BAD_BYTES];

	memset(text, 'x', sizeof text - 1);
	tap_is(settings_parse(&s, text, false, bad), -EINVAL,
	       "an item of 100 KB is refused");
	tap_ok(strlen(bad) < SETTINGS_BAD_BYTES &&
		       strncmp(bad + 61, "...: unknown key", 16) == 0,
	       "and shown by its beginning");
	memcpy(text, "root:/", 6);
	tap_is(settings_parse(&s, text, false, bad), -EINVAL,
	       "a path of 100 KB is refused");
	text[strlen("root:") + PATH_MAX] = '\0';
	tap_is(settings_parse(&s, text, false, bad), -EINVAL,
	       "a path of PATH_MAX bytes leaves no room for its NUL");
	text[strlen("root:") + PATH_MAX - 1] = '\0';
	tap_is(settings_parse(&s, text, false, bad), 0, "one less fits");
	memset(text, ',', sizeof text - 1);
	tap_is(settings_parse(&s, text, false, NULL), 0,
	       "100,000 commas are an empty text");
	tap_is(settings_parse(&s, "nonsense", false, NULL), -EINVAL,
	       "nobody needs to ask for the reason");
}

static void
late_keys_are_refused(void)
{
	struct settings s = fresh();
	char bad[SETTINGS_BAD_BYTES];

	tap_is(settings_parse(&s, "limit:1G,off", true, bad), -EBUSY,
	       "off comes too late once threads run");
	tap_is_text(bad, "off: too late: spillway already runs here",
		    "and says so");
	tap_is(s.limit_bytes, UINT64_MAX,
	       "what stood before it is not taken either");
	tap_is(settings_parse(&s, "threads:never", true, bad), -EBUSY,
	       "threads comes too late");
	tap_is(settings_parse(&s, "root:/x", true, bad), -EBUSY,
	       "root comes too late");
	tap_is(settings_parse(&s, "limit:1G,tier:a=cold,psi:off", true, bad), 0,
	       "everything else can be changed at any time");
}

static void
tiers_have_names_and_numbers(void)
{
	struct settings s = fresh();
	char text[64];
	int error = 0;

	tap_is(settings_tier_parse("garbage", 7), SPW_TIER_GARBAGE,
	       "a tier has a name");
	tap_is(settings_tier_parse("17", 2), 17, "or a number");
	tap_is(settings_tier_parse("041", 3), -1, "of 0 to 40");
	tap_is(settings_tier_parse("", 0), -1, "and is not empty");
	tap_is_text(settings_tier_name(SPW_TIER_LAST), "last",
		    "the last tier is called last");
	tap_is_text(settings_tier_name((enum spw_tier)25), "garbage",
		    "tier 25 is called by the one below it");
	tap_is(parse(&s, "tier:a=cold,tier:b=3,tier:a=last,tier:c=d=warm"), 0,
	       "tiers may be repeated, and a name may hold an =");
	tap_ok(s.tiers_count == 3 && s.tiers[0].tier == SPW_TIER_LAST &&
		       s.tiers[1].tier == 3 &&
		       strcmp(s.tiers[2].name, "c=d") == 0,
	       "the later override of one name wins");
	for (int i = 0; i < SETTINGS_TIERS_MAX - 3; i++) {
		snprintf(text, sizeof text, "tier:n%d=cold", i);
		error |= parse(&s, text);
	}
	tap_is(error, 0, "%d names fit", SETTINGS_TIERS_MAX);
	tap_is(parse(&s, "tier:one-more=cold"), -EINVAL, "one more does not");
	tap_is(parse(&s, "tier:a=cold"), 0, "those there can be changed");
	tap_is(spw_configure("tier:mine=cold"), 0, "spw_configure takes it");
	tap_is(settings_tier_of("mine", SPW_TIER_WARM), SPW_TIER_COLD,
	       "the override is found by its whole name");
	tap_is(settings_tier_of("min", SPW_TIER_WARM), SPW_TIER_WARM,
	       "a part of a name is another name");
}

static void
the_table_is_whole(void)
{
	unsigned n = 0;

	for (const struct settings_key *k; (k = settings_key(n)); n++)
		if (!tap_ok(*k->name && *k->values && *k->help &&
				    strlen(k->name) <= 16,
			    "key %s has values and help", k->name))
			break;
	tap_ok(n >= 21, "there are %u keys", n);
	tap_ok(!settings_key(n) && !settings_key(UINT32_MAX),
	       "and none after the last");
}

/* Whether the file has a line that begins so. */
static bool
has_line(const char *name, const char *beginning)
{
	const char *source = getenv("abs_top_srcdir");
	char path[PATH_MAX], line[1024];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", source ? source : ".", name);
	file = fopen(path, "r");
	if (!file)
		tap_bail_out("cannot read %s: %s", path, strerror(errno));
	while (!found && fgets(line, sizeof line, file))
		found = strncmp(line, beginning, strlen(beginning)) == 0;
	fclose(file);
	return found;
}

static void
the_documents_are_whole(void)
{
	if (!getenv("abs_top_srcdir")) {
		tap_skip(2, "abs_top_srcdir does not say where they are");
		return;
	}
	for (unsigned i = 0; settings_key(i); i++) {
		char manual[64], readme[64];

		snprintf(manual, sizeof manual,
			 ".It Cm %s : ", settings_key(i)->name);
		snprintf(readme, sizeof readme, "| `%s` |",
			 settings_key(i)->name);
		tap_ok(has_line("doc/man/spillway.7", manual),
		       "spillway(7) tells of %s", settings_key(i)->name);
		tap_ok(has_line("README.md", readme), "README tells of %s",
		       settings_key(i)->name);
	}
}

/* Runs body in a child with this SPILLWAY_CONF; what it wrote to 2. */
static int
in_child(const char *conf, int (*body)(void), char *said, size_t bytes)
{
	int pipes[2], status = -1;
	size_t have = 0;
	ssize_t n;
	pid_t child;

	if (pipe(pipes) != 0 || (child = fork()) < 0)
		tap_bail_out("no pipe or child: %s", strerror(errno));
	if (child == 0) {
		dup2(pipes[1], 2);
		close(pipes[0]);
		if (conf)
			setenv("SPILLWAY_CONF", conf, 1);
		else
			unsetenv("SPILLWAY_CONF");
		_exit(body());
	}
	close(pipes[1]);
	while (have + 1 < bytes &&
	       (n = read(pipes[0], said + have, bytes - have - 1)) > 0)
		have += (size_t)n;
	said[have] = '\0';
	close(pipes[0]);
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static int
load_and_tell(void)
{
	unsigned before = allocations;

	settings_load();
	if (allocations != before)
		return 3;
	return settings()->limit_bytes == 64 * MIB &&
			       settings()->oom == SETTINGS_OOM_FAIL ?
		       1 :
	       settings()->limit_bytes == UINT64_MAX ? 0 :
						       2;
}

static int
load_twice(void)
{
	settings_load();
	setenv("SPILLWAY_CONF", "limit:1G", 1);
	settings_load();
	return settings()->limit_bytes == 64 * MIB;
}

static int
program_after_environment(void)
{
	return spw_configure("limit:1G") == 0 &&
	       settings()->limit_bytes == 1024 * MIB &&
	       settings()->oom == SETTINGS_OOM_FAIL;
}

static int
configure_badly(void)
{
	unsigned before = allocations;
	int late;

	if (spw_configure("limit:40Q") != -EINVAL ||
	    spw_configure(NULL) != -EINVAL)
		return 2;
	settings_started_set(NULL);
	late = spw_configure("threads:never");
	return late == -EBUSY && spw_configure("limit:1G") == 0 &&
	       allocations == before;
}

static void
the_environment_is_read_once(void)
{
	char said[1024];

	tap_is(in_child("limit:64M,oom:fail", load_and_tell, said, sizeof said),
	       1, "SPILLWAY_CONF takes effect%s",
	       FOREIGN_MALLOC ? "" : ", without an allocation");
	tap_is_text(said, "", "and nothing is said");
	tap_is(in_child(NULL, load_and_tell, said, sizeof said), 0,
	       "without it the defaults hold");
	tap_is(in_child("", load_and_tell, said, sizeof said), 0,
	       "and with an empty one");
	tap_is(in_child("limit:64M,oom:fial", load_and_tell, said, sizeof said),
	       0, "a bad one is ignored whole%s",
	       FOREIGN_MALLOC ? "" : ", without an allocation");
	tap_is_text(said,
		    "spillway: error: SPILLWAY_CONF is ignored: "
		    "oom:fial: use kernel or fail\n",
		    "and named on descriptor 2");
	tap_is(in_child("limit:64M,oom:fail", load_twice, said, sizeof said), 1,
	       "it is read once");
	tap_is(in_child("limit:64M,oom:fail", program_after_environment, said,
			sizeof said),
	       1, "spw_configure comes after it and wins");
	tap_is(in_child(NULL, configure_badly, said, sizeof said), 1,
	       "spw_configure refuses bad and late text, and goes on");
	tap_is_text(said,
		    "spillway: error: spw_configure: limit:40Q: unknown unit "
		    "'Q'; use B, K, M, G, T, P, E\n"
		    "spillway: error: spw_configure: no text (NULL)\n"
		    "spillway: error: spw_configure: threads:never: too late: "
		    "spillway already runs here\n",
		    "and says why, a line each");
}

/* What a setuid copy of this program answers, as another user. */
static int
secure_child(void)
{
	settings_load();
	if (!getauxval(AT_SECURE))
		return 77;
	return settings()->limit_bytes == UINT64_MAX ? 0 : 1;
}

static void
copy_file(const char *from, const char *to, mode_t mode)
{
	char buffer[65536];
	int in = open(from, O_RDONLY);
	int out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0700);
	ssize_t n;

	while ((n = read(in, buffer, sizeof buffer)) > 0)
		if (write(out, buffer, (size_t)n) != n)
			tap_bail_out("cannot copy to %s", to);
	close(in);
	if (fchmod(out, mode) != 0)
		tap_note("fchmod: %s", strerror(errno));
	close(out);
}

static void
privileged_programs_are_not_told(void)
{
	char folder[] = "/tmp/spillway-settings-XXXXXX";
	char path[64];
	int status = 0;
	pid_t child;

	if (geteuid() != 0) {
		tap_skip(1, "only root can make a setuid copy for the test");
		return;
	}
	if (!mkdtemp(folder) || chmod(folder, 0755) != 0)
		tap_bail_out("no folder: %s", strerror(errno));
	snprintf(path, sizeof path, "%s/secure", folder);
	copy_file("/proc/self/exe", path, 04755);
	child = fork();
	if (child == 0) {
		setenv("SPILLWAY_CONF", "limit:64M", 1);
		if (setresuid(65534, 65534, 65534) != 0)
			_exit(77);
		execl(path, "secure", "secure", (char *)NULL);
		_exit(77);
	}
	waitpid(child, &status, 0);
	unlink(path);
	rmdir(folder);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		tap_skip(1, "setuid does not work here (mounted nosuid?)");
	else
		tap_ok(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		       "a setuid program ignores SPILLWAY_CONF");
}

static void *
flip(void *stop)
{
	while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED)) {
		spw_configure("limit:1G,tier:mine=cold");
		spw_configure("limit:2G,tier:mine=last");
	}
	return NULL;
}

static void
threads_see_old_or_new(void)
{
	unsigned odd = 0;
	pthread_t thread;
	int stop = 0;

	spw_configure("limit:1G");
	if (pthread_create(&thread, NULL, flip, &stop) != 0)
		tap_bail_out("no thread");
	for (int i = 0; i < 100000; i++) {
		uint64_t limit = settings()->limit_bytes;
		int tier = (int)settings_tier_of("mine", SPW_TIER_WARM);

		odd += limit != 1024 * MIB && limit != 2048 * MIB;
		odd += tier != SPW_TIER_COLD && tier != SPW_TIER_LAST;
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	tap_is(odd, 0, "a reader sees the old value or the new one");
}

static void
errors_have_words(void)
{
	unsigned wordless = 0;

	for (int e = -5000; e <= 5000; e++)
		wordless += !spw_strerror(e) || !*spw_strerror(e);
	tap_is(wordless, 0, "every number has words");
	tap_is_text(spw_strerror(INT32_MIN), "unknown error",
		    "the least number too");
	tap_is_text(spw_strerror(-EINVAL), spw_strerror(EINVAL),
		    "either sign will do");
	tap_ok(*spw_version() >= '0' && *spw_version() <= '9',
	       "the version is %s", spw_version());
}

int
main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "secure") == 0)
		return secure_child();
	defaults_hold();
	every_key_takes_effect();
	sources_switch_singly();
	later_items_win();
	refusals_name_key_value_and_reason();
	long_texts_are_cut();
	late_keys_are_refused();
	the_table_is_whole();
	the_documents_are_whole();
	the_environment_is_read_once();
	privileged_programs_are_not_told();
	tiers_have_names_and_numbers();
	threads_see_old_or_new();
	errors_have_words();
	return tap_done();
}
