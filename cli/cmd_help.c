/* cmd_help.c - `strata help [COMMAND]`. */
#include <stdio.h>

#include "cli/cli_error.h"
#include "cli/commands.h"

void cmd_help_overview(void)
{
    size_t i;

    puts("strata - a cache of several layers\n\nusage: strata COMMAND [OPTIONS]\n");
    for (i = 0; i < command_count; i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    puts("\n`strata help COMMAND` explains one, `strata --version` tells the version.\n"
         "Exit codes: 0 done, 1 it did not work, 2 the command line is wrong.");
}

void cmd_help_help(void) { puts("usage: strata help [COMMAND]\n\nExplain the commands, or one of them."); }

int cmd_help(int argc, char **argv)
{
    const struct command *command;

    if (argc == 0) {
        cmd_help_overview();
        return CLI_OK;
    }
    if (argc > 1)
        return cli_usage("help takes one command, but got \"%s\" as well", argv[1]);
    command = command_find(argv[0]);
    if (command == NULL)
        return cli_usage("\"%s\" is no command; `strata help` lists them", argv[0]);
    command->help();
    return CLI_OK;
}
