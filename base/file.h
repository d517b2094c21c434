/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Small kernel files, read whole into the caller's buffer.
 *
 * Usage: n = file_read("/proc/meminfo", buffer, sizeof buffer).
 *
 * Caveats: allocation-free, async-signal-safe, keep errno. Paths below the
 * root that tests set (SPILLWAY_CONF=root:DIR) are made by file_path().
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Puts root and path together; -ENAMETOOLONG. */
int file_path(char *buffer, size_t bytes, const char *root, const char *path);

/* Opens read-only, close-on-exec: a descriptor or -errno. */
int file_open(const char *path);

/* Reads from offset 0, ends it with NUL: length or -errno; -EFBIG. */
ssize_t file_pread(int fd, char *buffer, size_t bytes);

/* The same in one system call, for a file that the kernel makes whole: a
 * number, or one record of a seq_file (memory.stat, meminfo, statm). */
ssize_t file_pread_record(int fd, char *buffer, size_t bytes);

/* Open, read, close. */
ssize_t file_read(const char *path, char *buffer, size_t bytes);

/* Writes text whole; 0 or -errno. */
int file_write(const char *path, const char *text, size_t length);

/*
 * The number behind `key` at the start of a line ("anon 4096" or
 * "MemAvailable:  12 kB", which gives 12): 0, -ENOENT, -EINVAL, -ERANGE.
 */
int file_field(const char *text, const char *key, uint64_t *number);

/*
 * The value of a variable in a file of NUL-ended strings, as /proc/PID/environ
 * is; getenv(3) races with the program's setenv(3). 0, -ENOENT, -ENAMETOOLONG
 * (value holds what fits) or what open(2) says.
 */
int file_variable(const char *path, const char *name, char *value,
		  size_t bytes);

/* What a system call's error means: static, untranslated, unlike strerror(3),
 * which may allocate. The sign does not matter. */
const char *file_strerror(int error);

#endif
