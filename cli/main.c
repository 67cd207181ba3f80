/* main.c - the strata command: finds the subcommand and leaves the rest to it.
 * Exit codes: 0 done, 1 it did not work, 2 the command line is wrong. */
#include <stdio.h>
#include <string.h>

#include "cli/cli_error.h"
#include "cli/commands.h"

const struct command commands[] = {
    { "replay", "replay a trace of requests through a stack of cache layers", cmd_replay, cmd_replay_help },
    { "disk", "verify or describe the directory of a disk layer", cmd_disk, cmd_disk_help },
    { "dict", "train a dictionary for small values that are alike", cmd_dict, cmd_dict_help },
    { "snapshot", "write what layers hold to a file, and put it back", cmd_snapshot, cmd_snapshot_help },
    { "version", "print the version and what is built in", cmd_version, cmd_version_help },
    { "help", "explain the commands, or one of them", cmd_help, cmd_help_help },
};
const size_t command_count = sizeof commands / sizeof commands[0];

const struct command *command_find(const char *name)
{
    size_t i;

    for (i = 0; i < command_count; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int asks_for_help(int argc, char **argv)
{
    int i;

    for (i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return 1;
    return 0;
}

static int run(int argc, char **argv)
{
    const struct command *command;

    if (argc < 2)
        return cli_usage("a command is missing: try `strata help`");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        cmd_help_overview();
        return CLI_OK;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
        return cmd_version(0, NULL);
    command = command_find(argv[1]);
    if (command == NULL)
        return cli_usage("\"%s\" is no command; `strata help` lists them", argv[1]);
    if (asks_for_help(argc, argv)) {
        command->help();
        return CLI_OK;
    }
    return command->run(argc - 2, argv + 2);
}

int main(int argc, char **argv)
{
    int code = run(argc, argv);

    /* A full disk behind stdout must not look like success. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == CLI_OK) {
        fputs("strata: the output could not be written: is the disk full, or the reader gone?\n", stderr);
        code = CLI_FAILED;
    }
    return code;
}
