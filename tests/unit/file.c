/* SPDX-License-Identifier: BSD-2-Clause */
/* Small files: whole, missing, too large, of odd kinds; and their fields. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tap.h"

static char folder[] = "/tmp/spillway-file-XXXXXX";
static char path[128];

static const char *
in_folder(const char *name)
{
	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static void
make(const char *name, const char *text)
{
	int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		tap_bail_out("cannot write %s: %s", path, strerror(errno));
	close(fd);
}

static void
paths(void)
{
	char buffer[16];

	tap_is(file_path(buffer, sizeof buffer, "", "/proc/self"), 0,
	       "no root is a root");
	tap_is_text(buffer, "/proc/self", "and changes nothing");
	tap_is(file_path(buffer, sizeof buffer, "/r", "/proc"), 0,
	       "a root comes first");
	tap_is_text(buffer, "/r/proc", "as it is");
	tap_is(file_path(buffer, sizeof buffer, "/0123456", "/0123456"),
	       -ENAMETOOLONG, "a path that fits but for its end is too long");
	tap_is(file_path(buffer, sizeof buffer, "/0123456", "/012345"), 0,
	       "one byte less fits");
}

static void
reading(void)
{
	char buffer[16];
	int fd;

	make("text", "hello\n");
	memset(buffer, 'x', sizeof buffer);
	errno = 4242;
	tap_is(file_read(path, buffer, sizeof buffer), 6,
	       "a file's length comes back");
	tap_is_text(buffer, "hello\n", "and its text, ended by NUL");
	tap_is(file_read(in_folder("none"), buffer, sizeof buffer), -ENOENT,
	       "a missing file is -ENOENT");
	tap_is(file_read(folder, buffer, sizeof buffer), -EISDIR,
	       "a folder is -EISDIR");
	make("empty", "");
	tap_is(file_read(path, buffer, sizeof buffer), 0,
	       "an empty file is no error");
	tap_is_text(buffer, "", "and an empty text");
	make("15", "0123456789abcde");
	tap_is(file_read(path, buffer, sizeof buffer), 15,
	       "a file may fill the buffer but for the NUL");
	make("16", "0123456789abcdef");
	tap_is(file_read(path, buffer, sizeof buffer), -EFBIG,
	       "a larger one is -EFBIG");
	tap_is_text(buffer, "0123456789abcde",
		    "with the part that fits, ended by NUL");
	tap_is(errno, 4242, "errno is kept through all of it");

	fd = file_open(in_folder("text"));
	tap_ok(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC),
	       "descriptors are closed on exec");
	lseek(fd, 3, SEEK_SET);
	tap_is(file_pread(fd, buffer, sizeof buffer), 6,
	       "reading begins at offset 0 wherever the file stands");
	make("text", "bye\n");
	tap_is(file_pread(fd, buffer, sizeof buffer), 4,
	       "and sees what the file says now");
	close(fd);
	tap_is(file_pread(fd, buffer, sizeof buffer), -EBADF,
	       "a descriptor that somebody closed is -EBADF");
}

static void
strange_files(void)
{
	char buffer[16];
	int pipes[2];
	ssize_t n;

	if (mkfifo(in_folder("fifo"), 0600) == 0)
		tap_is(file_read(path, buffer, sizeof buffer), -ESPIPE,
		       "a FIFO without a writer does not hang");
	else
		tap_skip(1, "no FIFO: %s", strerror(errno));
	if (pipe(pipes) != 0 || write(pipes[1], "precious", 8) != 8)
		tap_bail_out("no pipe");
	tap_is(file_pread(pipes[0], buffer, sizeof buffer), -ESPIPE,
	       "a pipe behind a reused number is refused");
	n = read(pipes[0], buffer, sizeof buffer);
	tap_is(n, 8, "and loses nothing");
	close(pipes[0]);
	close(pipes[1]);
	tap_ok(file_read("/proc/self/statm", buffer, 4) == -EFBIG,
	       "kernel files have no size and are measured by reading");
}

static void
writing(void)
{
	char buffer[16];

	make("out", "0123456789");
	errno = 4242;
	tap_is(file_write(path, "abc", 3), 0, "a text is written");
	tap_is(file_read(path, buffer, sizeof buffer), 10,
	       "over what is there, as kernel files want it");
	tap_is_text(buffer, "abc3456789", "from its start");
	tap_is(file_write(in_folder("none"), "abc", 3), -ENOENT,
	       "a missing file is not made");
	tap_is(file_write("/dev/full", "abc", 3), -ENOSPC,
	       "a full disk is -ENOSPC");
	tap_is(errno, 4242, "errno is kept");
}

static void
fields(void)
{
	static const char text[] = "MemTotal:       16 kB\n"
				   "MemAvailable:\t  12 kB\n"
				   "anon 4096\n"
				   "anon_thp 77\n"
				   "odd x\n"
				   "minus -1\n"
				   "huge 18446744073709551616\n"
				   "most 18446744073709551615\n"
				   "bare\n"
				   "last 5";
	uint64_t n = 0;

	tap_ok(file_field(text, "MemAvailable:", &n) == 0 && n == 12,
	       "a field of meminfo is read");
	tap_ok(file_field(text, "anon", &n) == 0 && n == 4096,
	       "a field of memory.stat is read");
	tap_ok(file_field(text, "anon_thp", &n) == 0 && n == 77,
	       "a key is not mistaken for a longer one");
	tap_ok(file_field(text, "last", &n) == 0 && n == 5,
	       "the last line needs no newline");
	tap_ok(file_field(text, "most", &n) == 0 && n == UINT64_MAX,
	       "64 bits are read");
	tap_is(file_field(text, "thp", &n), -ENOENT,
	       "a key begins at the start of a line");
	tap_is(file_field(text, "none", &n), -ENOENT,
	       "a missing key is -ENOENT");
	tap_is(file_field(text, "bare", &n), -ENOENT,
	       "a key without a value is -ENOENT");
	tap_is(file_field(text, "odd", &n), -EINVAL, "a word is -EINVAL");
	tap_is(file_field(text, "minus", &n), -EINVAL, "-1 is -EINVAL");
	tap_is(file_field(text, "huge", &n), -ERANGE,
	       "more than 64 bits are -ERANGE");
	tap_is(file_field("", "anon", &n), -ENOENT, "an empty text has none");
}

int
main(void)
{
	static const char *const names[] = { "text", "empty", "15",
					     "16",   "fifo",  "out" };

	if (!mkdtemp(folder))
		tap_bail_out("no folder below /tmp: %s", strerror(errno));
	paths();
	reading();
	strange_files();
	writing();
	fields();
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		unlink(in_folder(names[i]));
	rmdir(folder);
	return tap_done();
}
