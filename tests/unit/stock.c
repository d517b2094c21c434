/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory to lend, and a core that senses nothing but limit:. */
#include "tests/unit/stock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/tap.h"

#define PAGE_BYTES 4096ul

static _Atomic uint64_t turns;

void
stock_fill(struct stock *stock, size_t bytes)
{
	stock_empty(stock);
	stock->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stock->memory == MAP_FAILED)
		tap_bail_out("mmap: %s", strerror(errno));
	madvise(stock->memory, bytes, MADV_NOHUGEPAGE);
	memset(stock->memory, 1, bytes);
	stock->mapped_bytes = bytes;
	stock->bytes = bytes;
}

void
stock_empty(struct stock *stock)
{
	if (stock->mapped_bytes)
		munmap(stock->memory, stock->mapped_bytes);
	stock->mapped_bytes = 0;
	stock->bytes = 0;
}

size_t
stock_count(const struct spw_shrink *request, void *context)
{
	struct stock *stock = context;

	(void)request;
	return stock->bytes + stock->lie_bytes;
}

size_t
stock_shrink(const struct spw_shrink *request, void *context)
{
	struct stock *stock = context;
	size_t want = request->target_bytes < stock->bytes ?
			      request->target_bytes :
			      stock->bytes;

	want = (want + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	stock->request = *request;
	if (want)
		stock->turn = ++turns;
	stock->asked++;
	if (want) {
		madvise(stock->memory + stock->bytes - want, want,
			MADV_DONTNEED);
		stock->bytes -= want;
	}
	return want + stock->lie_bytes;
}

struct spw_shrinker *
stock_lend(struct stock *stock, const char *name, enum spw_tier tier,
	   bool counted)
{
	struct spw_shrinker_options options = {
		.size = sizeof options,
		.name = name,
		.tier = tier,
		.count = counted ? stock_count : NULL,
		.shrink = stock_shrink,
		.context = stock,
	};
	struct spw_shrinker *shrinker;
	int error = spw_shrinker_register(&shrinker, &options);

	if (error)
		tap_bail_out("spw_shrinker_register(%s): %s", name,
			     spw_strerror(error));
	return shrinker;
}

void
stock_alone(const char *more_settings)
{
	static const char quiet[] =
		"cgroup:off,machine:off,rlimit:off,psi:off,notify:off,"
		"systemd:off,control:off";

	unsetenv("SPILLWAY_CONF");
	if (spw_configure(quiet) != 0 ||
	    (more_settings && spw_configure(more_settings) != 0))
		tap_bail_out("settings are refused");
}

uint64_t
stock_resident(void)
{
	unsigned long size, resident = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (!file || fscanf(file, "%lu %lu", &size, &resident) != 2)
		tap_bail_out("/proc/self/statm cannot be read");
	fclose(file);
	return resident * PAGE_BYTES;
}

bool
stock_soon(bool (*is)(void))
{
	uint64_t start = clock_now_ns();

	while (!is()) {
		if (clock_now_ns() - start > 10 * CLOCK_S)
			return false;
		usleep(1000);
	}
	return true;
}

uint64_t
stock_reclaim(uint64_t bytes)
{
	struct spw_reclaim_options options = {
		.size = sizeof options,
		.target_bytes = bytes,
	};
	uint64_t got;
	int error = spw_reclaim(&got, &options);

	if (error)
		tap_note("spw_reclaim: %s", spw_strerror(error));
	return got;
}
