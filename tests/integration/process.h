/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the process program share: check() ends it with words,
 * work() is a heap that is large enough for spillway's threads to start.
 */
#ifndef INTEGRATION_PROCESS_H
#define INTEGRATION_PROCESS_H

#include <stdbool.h>
#include <stddef.h>

void process_check(bool good, const char *what);
/* Allocates, fills, verifies and frees so many MiB in mixed sizes. */
void process_work(size_t mib);
int process_threads_now(void);

void process_fork(void);
void process_spawn(char *self);
void process_late_threads(void);
void process_seccomp(bool kill, bool direct);
void process_close_all(const char *folder);
void process_lowest(void);
void process_deepbind(const char *plugin, bool across);
void process_dlopen(const char *library);
void process_linked(void);

#endif
