/* cmd_version.c - `strata version`: what it is and what is built in. */
#include <stdio.h>

#include "cli/cli_error.h"
#include "cli/commands.h"
#include "strata/version.h"

int cmd_version(int argc, char **argv)
{
    if (argc > 0)
        return cli_usage("version takes no words, but got \"%s\"", argv[0]);
    printf("strata %s (%s)\n", strata_version(), strata_features());
    return CLI_OK;
}

void cmd_version_help(void)
{
    puts("usage: strata version\n\nPrint the version of the library that runs, and the components built in.");
}
