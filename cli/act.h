/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One act of the demonstration: the hog and its neighbour under a limit,
 * without or with spillway.
 *
 * Usage: act_signals(), act_play() twice.
 *
 * Caveats: the processes it starts are ended and waited for, and the group is
 * removed, before it returns, also after SIGINT and SIGTERM.
 */
#ifndef CLI_ACT_H
#define CLI_ACT_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/bars.h"

struct act_setting {
	uint64_t limit_bytes;
	uint64_t seconds;
	bool grouped; /* a cgroup; else limit: and RLIMIT_DATA */
	bool shown;   /* draw bars */
	char hog[PATH_MAX];
	char library[PATH_MAX];
};

/* From now on SIGINT, SIGTERM and SIGHUP end an act, cleanly. */
void act_signals(void);
/* The signal that came, or 0. */
int act_interrupted(void);

/* 0 or an exit code; what went wrong has been said. */
int act_play(const struct act_setting *setting, bool with,
	     struct bars_result *result);

#endif
