/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every allocation of a cache fails, one at a time.
 *
 * A child goes through all that allocates: create, puts until the index has
 * grown, values with segments of their own, soft references, reservations,
 * copying gets, merges. In the n-th child the n-th call of base_fault() fails,
 * from 1 up until there is no n-th: each call of each site has failed once
 * then, and all that the sources have must be among them. What fails must say
 * -ENOMEM and change nothing; the next attempt succeeds; at the end every
 * segment is back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/rcu.h"
#include "cache/segment.h"
#include "tests/tap.h"
#include "tests/unit/shelf.h"
#include "tests/unit/stock.h"

#define CALLS_MAX 1000
#define KEYS 30000u
#define LARGE 12u /* more than may be pinned */
#define SOFTS 64u
#define SITE_BYTES 32
/* An entry may lose its place in a bucket that cannot be extended. */
#define LOST_MAX 8u

enum { CHILD_GOOD, CHILD_BROKEN, CHILD_NOTHING_FAILED };

/* grep -h 'base_fault("' cache/ pressure/shrinkers.c */
static const char *const sites[] = {
	"cache_create",     "cache_get",         "cache_index",
	"cache_index_grow", "cache_index_open",  "segment_take",
	"segment_window",   "shrinker_register", "soft_commit",
	"soft_table",
};
#define SITES (sizeof sites / sizeof sites[0])

/* Shared with the children: where the n-th failed. */
static char (*failed_at)[SITE_BYTES];
static unsigned wrong;

static void
expect(bool good, const char *what, int error)
{
	if (good)
		return;
	wrong++;
	tap_note("%s: %s, after %s failed", what, spw_strerror(error),
		 fault_site() ? fault_site() : "nothing");
}

static bool
may_fail(int error)
{
	return !error || (error == -ENOMEM && fault_count());
}

static struct spw_cache *
create(void)
{
	struct spw_cache_options o = { .size = sizeof o, .name = "faulty" };
	struct spw_cache *c;
	int error = spw_cache_create(&c, &o);

	if (error) {
		expect(may_fail(error), "create", error);
		error = spw_cache_create(&c, &o);
	}
	expect(!error, "create, again", error);
	return c;
}

static void
put(struct spw_cache *c, uint32_t key, const void *value, size_t bytes)
{
	int error = spw_cache_put(c, &key, sizeof key, value, bytes, NULL);

	if (error) {
		expect(may_fail(error), "put", error);
		error = spw_cache_put(c, &key, sizeof key, value, bytes, NULL);
	}
	expect(!error, "put, again", error);
}

static void
puts_and_looks(struct spw_cache *c)
{
	unsigned lost = 0;

	for (uint32_t i = 0; i < KEYS; i++)
		put(c, i, &i, sizeof i);
	for (uint32_t i = 0; i < KEYS; i++) {
		const uint32_t *value;
		size_t bytes;

		spw_read_lock();
		value = spw_cache_peek(c, &i, sizeof i, &bytes);
		lost += !value;
		expect(!value || (bytes == sizeof i && *value == i),
		       "a value is not its key's", 0);
		spw_read_unlock();
	}
	expect(lost <= LOST_MAX * fault_count(), "entries are lost", 0);
}

/* Each has a segment of its own: the last ones are copied by get. */
static void
large_ones(struct spw_cache *c)
{
	char *value = calloc(1, 3 * MIB);
	struct spw_ref refs[LARGE];

	for (uint32_t i = 0; i < LARGE; i++)
		put(c, KEYS + i, value, i ? 300000 : 3 * MIB);
	for (uint32_t i = 0; i < LARGE; i++) {
		uint32_t key = KEYS + i;
		int error = spw_cache_get(c, &key, sizeof key, &refs[i]);

		if (error == -ENOMEM) {
			expect(may_fail(error), "get", error);
			error = spw_cache_get(c, &key, sizeof key, &refs[i]);
		}
		expect(!error || (error == -ENOENT && fault_count()),
		       "get, again", error);
	}
	for (uint32_t i = 0; i < LARGE; i++)
		spw_ref_put(&refs[i]);
	free(value);
}

static void
softs(struct spw_cache *c)
{
	spw_soft_t handles[SOFTS];

	for (unsigned i = 0; i < SOFTS; i++) {
		void *fill;
		int error;

		spw_read_lock();
		error = spw_soft_alloc(c, 100, &handles[i], &fill);
		if (error) {
			expect(may_fail(error), "soft alloc", error);
			error = spw_soft_alloc(c, 100, &handles[i], &fill);
		}
		if (!error)
			memset(fill, (int)i, 100);
		spw_read_unlock();
		expect(!error, "soft alloc, again", error);
	}
	for (unsigned i = 0; i < SOFTS; i++) {
		const char *value;

		spw_read_lock();
		value = spw_soft_read(c, handles[i]);
		expect(value && value[99] == (char)i, "soft read", 0);
		spw_read_unlock();
		spw_soft_free(c, handles[i]);
	}
}

static void
reservations(struct spw_cache *c)
{
	for (uint32_t i = 0; i < 3; i++) {
		struct spw_reservation r;
		int error = spw_cache_reserve(c, &i, sizeof i, 300000, NULL,
					      &r);

		if (error) {
			expect(may_fail(error), "reserve", error);
			error = spw_cache_reserve(c, &i, sizeof i, 300000, NULL,
						  &r);
		}
		expect(!error, "reserve, again", error);
		if (i == 2)
			spw_cache_abort(&r);
		else
			spw_cache_commit(&r);
	}
}

static void
merges(struct spw_cache *c)
{
	for (uint32_t i = 0; i < KEYS; i += 2) {
		spw_read_lock();
		spw_cache_peek(c, &i, sizeof i, NULL);
		spw_read_unlock();
	}
	spw_cache_shrink(c, 1);
	spw_cache_shrink(c, UINT64_MAX);
	puts_and_looks(c);
}

static int
child(unsigned n)
{
	struct spw_cache *c;

	alarm(60);
	stock_alone("soft:8M,hard:4M");
	fault_set_nth(n);
	c = create();
	if (c) {
		puts_and_looks(c);
		large_ones(c);
		softs(c);
		reservations(c);
		merges(c);
	}
	if (fault_site())
		strncpy(failed_at[n], fault_site(), SITE_BYTES - 1);
	fault_set_nth(0);
	spw_cache_destroy(c);
	for (uint32_t i = 1; i < segment_high(); i++)
		expect(atomic_load(&segment_at(i)->state) == SEGMENT_FREE,
		       "a segment is not back", 0);
	if (wrong)
		return CHILD_BROKEN;
	return failed_at[n][0] ? CHILD_GOOD : CHILD_NOTHING_FAILED;
}

/* How many calls there are. */
static unsigned
fail_each(unsigned *broken)
{
	for (unsigned n = 1; n < CALLS_MAX; n++) {
		pid_t pid = fork();
		int status = 0;

		if (pid == 0)
			_exit(child(n));
		if (pid < 0 || waitpid(pid, &status, 0) < 0)
			tap_bail_out("fork: %s", strerror(errno));
		if (WIFEXITED(status) &&
		    WEXITSTATUS(status) == CHILD_NOTHING_FAILED)
			return n - 1;
		if (status) {
			tap_note("call %u, of %s: %x", n, failed_at[n], status);
			++*broken;
		}
	}
	return CALLS_MAX;
}

int
main(void)
{
	unsigned broken = 0, missing = 0, calls;

	if (SPW_ASSERT_LEVEL < 2)
		tap_skip_all("built without fault injection");
#ifdef RCU_SEEN
	tap_skip_all("ThreadSanitizer: a child may not have threads");
#endif
	failed_at = mmap(NULL, CALLS_MAX * sizeof *failed_at,
			 PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			 0);
	if (failed_at == MAP_FAILED)
		tap_bail_out("mmap: %s", strerror(errno));
	calls = fail_each(&broken);
	tap_is(broken, 0, "what fails says so and changes nothing");
	tap_ok(calls > SITES && calls < CALLS_MAX,
	       "each of %u calls has failed once", calls);
	for (unsigned i = 0; i < SITES; i++) {
		bool found = false;

		for (unsigned n = 1; n <= calls; n++)
			found |= strcmp(failed_at[n], sites[i]) == 0;
		if (!found)
			tap_note("%s has not failed", sites[i]);
		missing += !found;
	}
	tap_is(missing, 0, "at each of %zu sites", SITES);
	return tap_done();
}
