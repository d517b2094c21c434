/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every command of the program has, and how commands speak.
 *
 * Usage: a file NAME.c defines `const struct command NAME_command`; main.c
 * lists it.
 *
 * Caveats: single-threaded; say_*() write to standard error.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Exit codes, as spillway(1) lists them. */
enum command_exit {
	COMMAND_DONE = 0,
	COMMAND_LESS = 1,        /* less than was asked; something failed */
	COMMAND_USAGE = 2,       /* bad option, SIZE, PID, TIME */
	COMMAND_NO_PROCESS = 3,  /* no such process, or not ours to ask */
	COMMAND_NO_SPILLWAY = 4, /* a process without spillway */
	COMMAND_DIED = 5,        /* the process ended meanwhile */
	COMMAND_TIMEOUT = 124,
	COMMAND_RUN_FAILED = 125, /* run: a mistake of run's own */
	COMMAND_NOT_RUNNABLE = 126,
	COMMAND_NOT_FOUND = 127,
};

struct command {
	const char *name;
	const char *summary;                /* one line */
	const char *help;                   /* usage, options, exit codes */
	int (*main)(int argc, char **argv); /* argv[0] is the name */
};

extern const struct command run_command;
extern const struct command stat_command;
extern const struct command reclaim_command;
extern const struct command pressure_command;
extern const struct command demo_command;

/* The command that runs, put in front of messages. */
void say_begin(const struct command *command);

/* "spillway stat: ..." and a newline. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, then how to get help; returns COMMAND_USAGE. */
int say_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What getopt_long(3) returned for what it did not know. */
int say_bad_option(int argc, char *const *argv, int returned);

/* Prints the command's help on standard output; COMMAND_DONE. */
int say_help(void);

/* Closes standard output; COMMAND_LESS and a message where it is full. */
int say_end(int code);

/* Arguments, or a message and COMMAND_USAGE. */
int say_parse_pid(const char *text, pid_t *pid);
int say_parse_bytes(const char *what, const char *text, uint64_t *bytes);
int say_parse_ns(const char *what, const char *text, uint64_t *ns);

#endif
