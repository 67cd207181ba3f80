/* bench/bench_redis.c - see bench_redis.h. */
#include "bench/bench_redis.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

static pid_t server, starter;
static char folder[64];

_Noreturn void bench_die(const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s\n", what, why);
    exit(1);
}

static void stop_server(void)
{
    if (starter != getpid())
        return; /* a child that ends leaves its parent's server alone */
    if (server > 0) {
        kill(server, SIGKILL);
        (void)waitpid(server, NULL, 0);
        server = 0;
    }
    if (folder[0] != '\0')
        (void)rmdir(folder);
}

static struct sockaddr_in at_port(uint16_t port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static uint16_t free_port(void)
{
    struct sockaddr_in address = at_port(0);
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)(void *)&address, sizeof address) != 0 ||
        getsockname(fd, (struct sockaddr *)(void *)&address, &size) != 0)
        bench_die("no free port", strerror(errno));
    close(fd);
    return ntohs(address.sin_port);
}

static int answers(uint16_t port)
{
    struct sockaddr_in address = at_port(port);
    char reply[8] = { 0 };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int good = fd >= 0 && connect(fd, (struct sockaddr *)(void *)&address, sizeof address) == 0 &&
               send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6 && recv(fd, reply, sizeof reply - 1, 0) > 0 &&
               strncmp(reply, "+PONG", 5) == 0;
    if (fd >= 0)
        close(fd);
    return good;
}

static _Noreturn void become_server(const char *port)
{
#if defined(__linux__)
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when the benchmark is interrupted */
#endif
    if (chdir(folder) == 0 && freopen("/dev/null", "w", stdout) != NULL)
        execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly",
               "no", (char *)NULL);
    _exit(127);
}

uint16_t bench_redis_start(void)
{
    char number[16];
    uint16_t port = free_port();
    snprintf(folder, sizeof folder, "/tmp/strata-redis-XXXXXX");
    if (mkdtemp(folder) == NULL)
        bench_die("mkdtemp", strerror(errno));
    snprintf(number, sizeof number, "%u", (unsigned)port);
    starter = getpid();
    atexit(stop_server);
    server = fork();
    if (server == 0)
        become_server(number);
    for (int tries = 0; tries < 500; tries++) {
        if (answers(port))
            return port;
        if (waitpid(server, NULL, WNOHANG) != 0) {
            server = 0;
            bench_die("redis-server", "it could not be started: install redis-server");
        }
        struct timespec pause = { .tv_nsec = 20000000 };
        nanosleep(&pause, NULL);
    }
    bench_die("redis-server", "it does not answer");
}

void bench_redis_pause(void) { kill(server, SIGSTOP); }
void bench_redis_resume(void) { kill(server, SIGCONT); }
