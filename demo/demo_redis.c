/* demo_redis.c - see demo_redis.h. */
#include "demo/demo_redis.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include "cli/cli_error.h"
#include "demo/demo.h"

enum { LOOKS = 500, LOOK_MS = 10, TRIES = 5 };

static struct sockaddr_in at_port(uint16_t port)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(port) };

    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return name;
}

static uint16_t free_port(void)
{
    struct sockaddr_in name = at_port(0);
    socklen_t size = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int good = fd >= 0 && bind(fd, (struct sockaddr *)(void *)&name, sizeof name) == 0 &&
               getsockname(fd, (struct sockaddr *)(void *)&name, &size) == 0;

    if (fd >= 0)
        close(fd);
    return good ? ntohs(name.sin_port) : 0;
}

static int answers(uint16_t port)
{
    struct sockaddr_in name = at_port(port);
    char reply[8] = { 0 };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int good = fd >= 0 && connect(fd, (struct sockaddr *)(void *)&name, sizeof name) == 0 &&
               send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6 && recv(fd, reply, sizeof reply - 1, 0) > 0 &&
               strncmp(reply, "+PONG", 5) == 0;

    if (fd >= 0)
        close(fd);
    return good;
}

static _Noreturn void become_server(const char *folder, uint16_t port)
{
    char number[8];

#if defined(__linux__)
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when the demo is interrupted */
#endif
    snprintf(number, sizeof number, "%u", (unsigned)port);
    if (freopen("/dev/null", "w", stdout) != NULL)
        execlp("redis-server", "redis-server", "--port", number, "--bind", "127.0.0.1", "--save", "", "--appendonly",
               "no", "--dir", folder, (char *)NULL);
    _exit(127);
}

/* 1: it answers; 0: it has ended, as on a port that somebody else got first; < 0: there is none. */
static int run(struct demo_redis *redis, const char *folder)
{
    int i, status = 0;

    redis->port = free_port();
    fflush(NULL);
    redis->pid = redis->port != 0 ? fork() : -1;
    if (redis->pid == 0)
        become_server(folder, redis->port);
    for (i = 0; redis->pid > 0 && i < LOOKS; i++) {
        if (waitpid(redis->pid, &status, WNOHANG) == redis->pid) {
            redis->pid = 0;
            return WIFEXITED(status) && WEXITSTATUS(status) == 127 ? -1 : 0;
        }
        if (answers(redis->port))
            return 1;
        demo_sleep_ms(LOOK_MS);
    }
    demo_redis_stop(redis);
    return 0;
}

int demo_redis_start(struct demo_redis *redis, const char *folder, strata_error *err)
{
    int i;

    for (i = 0; i < TRIES; i++) {
        int rc = run(redis, folder);

        if (rc > 0)
            return STRATA_OK;
        if (rc < 0)
            break;
    }
    return cli_fail(err, STRATA_EIO, "redis-server",
                    i < TRIES ? "there is none here: install the package redis-server" : "it does not start");
}

void demo_redis_pause(const struct demo_redis *redis)
{
    if (redis->pid > 0)
        kill(redis->pid, SIGSTOP);
}

void demo_redis_resume(const struct demo_redis *redis)
{
    if (redis->pid > 0)
        kill(redis->pid, SIGCONT);
}

void demo_redis_stop(struct demo_redis *redis)
{
    if (redis->pid <= 0)
        return;
    kill(redis->pid, SIGKILL);
    waitpid(redis->pid, NULL, 0);
    redis->pid = 0;
}
