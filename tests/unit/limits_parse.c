/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The parsers of what the kernel says about limits: cgroup, mountinfo,
 * numbers, memory.stat, meminfo.
 */
#include "pressure/limits.h"

#include <errno.h>
#include <string.h>

#include "tests/tap.h"

#define NONE UINT64_MAX
#define V1_NONE "9223372036854771712\n"
#define V1_MOUNT_LINE(root) \
	"35 31 0:32 " root " /cg/memory rw - cgroup cgroup rw,memory\n"
#define V2_MOUNT_LINE(root) \
	"30 23 0:26 " root " /cg rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"

static void
parse_cgroups(void)
{
	char path[64];

	tap_is(limits_parse_cgroup("2:cpu:/c\n4:memory:/a/b\n0::/u\n", path,
				   sizeof path),
	       1, "v1's memory controller wins in a hybrid");
	tap_is_text(path, "/a/b", "with its own path");
	tap_is(limits_parse_cgroup("3:cpu,memory,pids:/x", path, sizeof path),
	       1, "controllers may be mounted together, and a line may end");
	tap_is_text(path, "/x", "with their path");
	tap_is(limits_parse_cgroup("1:name=memory:/n\n0::/u/v:w\n", path,
				   sizeof path),
	       2, "a hierarchy named memory is not the controller");
	tap_is_text(path, "/u/v:w", "a path may hold a colon");
	tap_is(limits_parse_cgroup("2:memoryx:/a\n3:xmemory:/b\n", path,
				   sizeof path),
	       -ENOENT, "nor is one that is called alike");
	tap_is(limits_parse_cgroup("", path, sizeof path), -ENOENT,
	       "an empty text has none");
	tap_is(limits_parse_cgroup("::::\n\n4:memory\n4:memory:a\n:::/", path,
				   sizeof path),
	       -ENOENT, "nor has garbage");
	tap_is(limits_parse_cgroup("4:memory:/0123456789\n", path, 11), -EINVAL,
	       "a path that does not fit is refused");
	tap_is(limits_parse_cgroup("4:memory:/0123456789\n", path, 12), 1,
	       "and one that just fits is not");
}

static void
parse_mounts(void)
{
	char mount[32], root[32];

	tap_is(limits_parse_mountinfo(
		       "1 2 0:1 / / rw - ext4 /dev/a rw\n" V1_MOUNT_LINE("/"),
		       false, mount, sizeof mount, root, sizeof root),
	       0, "a v1 mount is found by its super options");
	tap_is_text(mount, "/cg/memory", "with its mount point");
	tap_is(limits_parse_mountinfo(V1_MOUNT_LINE("/"), true, mount,
				      sizeof mount, root, sizeof root),
	       -ENOENT, "and is no v2 mount");
	tap_is(limits_parse_mountinfo(V2_MOUNT_LINE("/x\\040y"), true, mount,
				      sizeof mount, root, sizeof root),
	       0, "optional fields are skipped");
	tap_is_text(root, "/x y", "and blanks in a path are understood");
	tap_is(limits_parse_mountinfo(
		       "1 2 0:1 /pod /cg/pod rw - cgroup2 none rw\n"
		       "1 2 0:1 / /host/cg rw - cgroup2 none rw\n"
		       "1 2 0:1 / /late rw - cgroup2 none rw\n",
		       true, mount, sizeof mount, root, sizeof root),
	       0, "of several mounts");
	tap_is_text(mount, "/host/cg", "the one that shows everything counts");
	tap_is(limits_parse_mountinfo("1 2 0:1 /a /cg/a rw - cgroup2 none rw\n"
				      "1 2 0:1 /b /cg/b rw - cgroup2 none rw\n",
				      true, mount, sizeof mount, root,
				      sizeof root),
	       0, "where none does");
	tap_is_text(root, "/a", "the first does");
	tap_is(limits_parse_mountinfo("1 2 3\n - \n-\n1 2 0:1 / /m rw cgroup2\n"
				      "1 2 0:1 / /m rw - cgroup2\n",
				      true, mount, sizeof mount, root,
				      sizeof root),
	       -ENOENT, "lines cut short are passed over");
	tap_is(limits_parse_mountinfo("1 2 0:1 / /0123456789012345678901234567"
				      "890123456789 rw - cgroup2 none rw\n",
				      true, mount, sizeof mount, root,
				      sizeof root),
	       -EINVAL, "a mount point that does not fit is refused");
}

static void
parse_numbers(void)
{
	uint64_t bytes = 7, total, available, pages[7];

	tap_ok(limits_parse_limit("max\n", &bytes) == 0 && bytes == NONE,
	       "max is none");
	tap_ok(limits_parse_limit(V1_NONE, &bytes) == 0 && bytes == NONE,
	       "so is v1's largest number");
	tap_ok(limits_parse_limit("9223372036854710272\n", &bytes) == 0 &&
		       bytes == NONE,
	       "also where pages have 64 KiB");
	tap_ok(limits_parse_limit("18446744073709551615", &bytes) == 0 &&
		       bytes == NONE,
	       "and anything larger that is a number");
	tap_ok(limits_parse_limit("0\n", &bytes) == 0 && bytes == 0,
	       "nothing is a limit");
	tap_is(limits_parse_limit("18446744073709551616\n", &bytes), -EINVAL,
	       "a number of 65 bits is not");
	tap_is(limits_parse_limit("", &bytes), -EINVAL, "nor is no text");
	tap_is(limits_parse_limit("12k\n", &bytes), -EINVAL, "nor a unit");
	tap_is(limits_parse_limit("-1\n", &bytes), -EINVAL, "nor a sign");
	tap_is(limits_parse_limit("maximum\n", &bytes), -EINVAL,
	       "nor a word that begins with max");
	tap_is(limits_parse_usage("max\n", &bytes), -EINVAL,
	       "usage cannot be max");

	tap_is(limits_parse_stat("total_inactive_file 50\ntotal_active_file "
				 "30\ntotal_dirty 10\ntotal_writeback 5\n"
				 "inactive_file 999\ntotal_shmem 1000\n",
				 false),
	       65, "v1: what is clean on the file lists of the whole subtree");
	tap_is(limits_parse_stat("inactive_file 50\nactive_file 30\nfile_dirty "
				 "10\nfile_writeback 5\nslab_reclaimable 7\n"
				 "shmem 1000\nslab 99\n",
				 true),
	       72, "v2: the same and reclaimable slab, never shared memory");
	tap_is(limits_parse_stat("inactive_file 1\nfile_dirty 100\n", true), 0,
	       "more dirty than there is leaves nothing");
	tap_is(limits_parse_stat("file 12\nrubbish", true), 0,
	       "a stat without the fields counts nothing");
	tap_ok(limits_parse_stat("inactive_file 18446744073709551615\n"
				 "active_file 18446744073709551615\n",
				 true) == NONE,
	       "sums do not wrap");

	tap_ok(limits_parse_meminfo("MemTotal:  24 kB\nMemFree: 1 kB\n"
				    "MemAvailable:    12 kB\n",
				    &total, &available) == 0 &&
		       total == 24 * 1024 && available == 12 * 1024,
	       "meminfo is in KiB");
	tap_is(limits_parse_meminfo("MemTotal: 24 kB\n", &total, &available),
	       -EINVAL, "without MemAvailable it is of no use");
	tap_is(limits_parse_meminfo("MemTotal: 18446744073709551615 kB\n"
				    "MemAvailable: 1 kB\n",
				    &total, &available),
	       -EINVAL, "nor with more than can be counted");
	tap_ok(limits_parse_statm("1 2 3 4 5 6 7\n", pages) == 0 &&
		       pages[0] == 1 && pages[6] == 7,
	       "statm has seven numbers");
	tap_is(limits_parse_statm("1 2 3 4 5 6\n", pages), -EINVAL,
	       "six are too few");
}

int
main(void)
{
	parse_cgroups();
	parse_mounts();
	parse_numbers();
	return tap_done();
}
