/* commands.h - the subcommands: each in a file of its own, all in one table (main.c). */
#ifndef STRATA_CLI_COMMANDS_H
#define STRATA_CLI_COMMANDS_H
#include <stddef.h>

struct command {
    const char *name;
    const char *summary;               /* one line */
    int (*run)(int argc, char **argv); /* what follows the name; returns the exit code */
    void (*help)(void);                /* on stdout */
    int muted;                         /* exit code where what it says cannot be written */
};

extern const struct command commands[];
extern const size_t command_count;

/* NULL: there is none of that name. */
const struct command *command_find(const char *name);

int cmd_replay(int argc, char **argv);
void cmd_replay_help(void);
int cmd_disk(int argc, char **argv);
void cmd_disk_help(void);
int cmd_dict(int argc, char **argv);
void cmd_dict_help(void);
int cmd_snapshot(int argc, char **argv);
void cmd_snapshot_help(void);
int cmd_version(int argc, char **argv);
void cmd_version_help(void);
int cmd_help(int argc, char **argv);
void cmd_help_help(void);
/* The list of commands. */
void cmd_help_overview(void);

#endif /* STRATA_CLI_COMMANDS_H */
