/* SPDX-License-Identifier: BSD-2-Clause */
/* Faults come where, as often and in the order that the seed says. */
#include "base/fault.h"

#include <string.h>

#include "tests/tap.h"

#define CALLS 10000

static unsigned
count(const char *site, unsigned calls)
{
	unsigned n = 0;

	while (calls-- > 0)
		n += base_fault(site);
	return n;
}

int
main(void)
{
	static bool first[CALLS];
	unsigned different = 0, n;

	if (SPW_ASSERT_LEVEL < 2)
		tap_skip_all("built without fault injection");
	tap_is(count("here", CALLS), 0, "nothing fails unless told to");
	tap_is(fault_set(NULL, 1, 7), 7, "the seed comes back, to be printed");
	tap_is(count("here", 100), 100, "1 in 1 is every call");
	tap_is(fault_count(), 100, "faults are counted");

	fault_set("here", 1, 7);
	tap_is(fault_count(), 0, "and the count begins anew");
	tap_is(count("there", 100), 0, "only the named site fails");
	tap_is(count("here and there", 100), 0, "by its whole name");
	tap_is(count("here", 1), 1, "and that one does");

	fault_set(NULL, 10, 42);
	n = count("here", CALLS);
	tap_ok(n > 850 && n < 1150, "1 in 10 of %d calls is %u", CALLS, n);
	tap_is(fault_count(), n, "and as many are counted");

	fault_set(NULL, 3, 42);
	for (int i = 0; i < CALLS; i++)
		first[i] = base_fault("here");
	fault_set(NULL, 3, 42);
	for (int i = 0; i < CALLS; i++)
		different += first[i] != base_fault("here");
	tap_is(different, 0, "one seed makes the same calls fail");
	fault_set(NULL, 3, 43);
	for (int i = 0; i < CALLS; i++)
		different += first[i] != base_fault("here");
	tap_ok(different > 0, "another seed makes others fail");

	fault_set_nth(5);
	tap_is(count("here", 4), 0, "the fifth: four succeed");
	tap_is(count("there", 100), 1, "and one of the next fails");
	tap_is_text(fault_site(), "there", "whose site is known");

	fault_set(NULL, 0, 42);
	tap_is(count("here", CALLS), 0, "0 switches it off");
	return tap_done();
}
