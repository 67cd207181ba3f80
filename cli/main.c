/* main.c - the strata command: finds the subcommand and leaves the rest to it.
 * Exit codes: 0 done, 1 it did not work, 2 the command line is wrong. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_error.h"
#include "cli/commands.h"

const struct command commands[] = {
    { "replay", "replay a trace of requests through a stack of cache layers", cmd_replay, cmd_replay_help, CLI_FAILED },
    { "disk", "verify or describe the directory of a disk layer", cmd_disk, cmd_disk_help, CLI_USAGE },
    { "dict", "train a dictionary for small values that are alike", cmd_dict, cmd_dict_help, CLI_FAILED },
    { "snapshot", "write what layers hold to a file, and put it back", cmd_snapshot, cmd_snapshot_help, CLI_FAILED },
    { "version", "print the version and what is built in", cmd_version, cmd_version_help, CLI_FAILED },
    { "help", "explain the commands, or one of them", cmd_help, cmd_help_help, CLI_FAILED },
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

/* What is closed would be the number of the next file that is opened: a segment of a disk layer, and then written to.  It is /dev/null
 * instead, the wrong way round: to use it fails as before.  1: nobody could read what is said. */
static int fill_closed(void)
{
    static const int how[] = { O_WRONLY, O_RDONLY, O_WRONLY };
    int muted = 0;
    int fd;

    for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0) {
            muted |= fd == STDOUT_FILENO;
            (void)open("/dev/null", how[fd]);
        }
    return muted;
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
    const struct command *command = argc > 1 ? command_find(argv[1]) : NULL;
    const int muted = command != NULL ? command->muted : CLI_FAILED;
    int code;

    if (fill_closed()) {
        fputs("strata: standard output is closed: give it a place, >/dev/null where nobody is to read it\n", stderr);
        return muted;
    }
    code = run(argc, argv);
    /* A full disk behind stdout must not look like success. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fputs("strata: the output could not be written: is the disk full, or the reader gone?\n", stderr);
        code = code == CLI_OK ? muted : code;
    }
    return code;
}
