/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The `spillway` program: finds the command and hands over.
 *
 * Calls NAME.c of each command. Nothing here or there starts a thread or
 * registers anything: the program only looks, asks and runs others.
 */
#include <stdio.h>
#include <string.h>

#include <spillway/spillway.h>

#include "base/nearest.h"
#include "cli/command.h"

static const struct command *const commands[] = {
	&run_command,      &stat_command, &reclaim_command,
	&pressure_command, &demo_command,
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static const char head[] =
	"Usage: spillway COMMAND [OPTION]... [ARGUMENT]...\n"
	"\n"
	"Memory that is lent, not owned: runs programs so that they give\n"
	"memory back before they are killed, and asks them for it.\n"
	"\n"
	"Commands:\n";

static const char tail[] =
	"\n"
	"      --help     this text; 'spillway COMMAND --help' for a command\n"
	"      --version  the version\n"
	"\n"
	"Settings are read from $SPILLWAY_CONF; see spillway(7).\n";

static int
print_help(void)
{
	fputs(head, stdout);
	for (size_t i = 0; i < COMMANDS; i++)
		printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
	fputs(tail, stdout);
	return COMMAND_DONE;
}

static const struct command *
find(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

static const char *
command_name(unsigned i)
{
	return i < COMMANDS ? commands[i]->name : NULL;
}

static int
unknown(const char *name)
{
	const char *nearest = nearest_word(name, strlen(name), command_name);
	char all[128];
	size_t n = 0;

	if (nearest)
		return say_usage("there is no command \"%s\"; did you mean "
				 "'spillway %s'?",
				 name, nearest);
	for (size_t i = 0; i < COMMANDS && n < sizeof all; i++)
		n += (size_t)snprintf(all + n, sizeof all - n, "%s%s",
				      i ? ", " : "", commands[i]->name);
	return say_usage("there is no command \"%s\"; there are %s", name, all);
}

static int
help_on(const char *name)
{
	const struct command *command = find(name);

	if (!command)
		return unknown(name);
	say_begin(command);
	return say_help();
}

int
main(int argc, char **argv)
{
	const struct command *command;
	const char *name = argc > 1 ? argv[1] : NULL;

	if (!name) {
		say_usage("a command is missing");
		return COMMAND_USAGE;
	}
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		return say_end(print_help());
	if (strcmp(name, "help") == 0)
		return say_end(argc > 2 ? help_on(argv[2]) : print_help());
	if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
		printf("spillway %s\n", spw_version());
		return say_end(COMMAND_DONE);
	}
	if (name[0] == '-')
		return say_usage("unknown option %s", name);
	command = find(name);
	if (!command)
		return unknown(name);
	say_begin(command);
	return say_end(command->main(argc - 1, argv + 1));
}
