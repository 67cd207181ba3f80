/* with_redis.c - runs a program with STRATA_REDIS_URL of a server of its own; answers what the program answers. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/redis_server.h"

int main(int argc, char **argv)
{
    struct redis_server server;
    char url[64];
    int status = -1;
    if (argc < 2)
        return 2;
    redis_server_start(&server, NULL);
    snprintf(url, sizeof url, "redis://127.0.0.1:%u", (unsigned)server.port);
    setenv("STRATA_REDIS_URL", url, 1);
    pid_t child = fork();
    if (child == 0) {
        execvp(argv[1], argv + 1);
        _exit(127);
    }
    if (child > 0)
        waitpid(child, &status, 0);
    redis_server_stop(&server);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
