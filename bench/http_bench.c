/* bench/http_bench.c - the HTTP example (examples/http) under wrk: 40 connections, one target, and an origin that answers one
 * request at a time in 6 ms.  Without a cache, with one in memory, with one in memory over a Redis, and beside them the same server
 * that answers each request with a constant text: more than that no cache can reach.
 *
 *   http_bench PROGRAM [--rounds N] [--seconds S]
 *
 * Modes take turns, round by round, because a machine drifts.  Rows of CSV:
 *     http,mode,round,requests a second,p50 in ms,p99 in ms,failed requests
 */
#include "bench/bench_redis.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
#include <signal.h>
#include <sys/prctl.h>
#endif

enum { CONNECTIONS = 40, WORK_MS = 6 };

struct server {
    pid_t pid;
    int in; /* it serves until this is closed */
    char url[64];
};

static _Noreturn void become(const char *const *arguments, int in, int out)
{
#if defined(__linux__)
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    dup2(in, 0);
    dup2(out, 1);
    for (int fd = 3; fd < 64; fd++)
        close(fd);
    execv(arguments[0], (char *const *)(size_t)arguments);
    _exit(127);
}

static void start(struct server *s, const char *const *arguments)
{
    int in[2], out[2];
    if (pipe(in) != 0 || pipe(out) != 0)
        bench_die("pipe", strerror(errno));
    s->pid = fork();
    if (s->pid == 0)
        become(arguments, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    s->in = in[1];
    FILE *address = fdopen(out[0], "r");
    if (address == NULL || fgets(s->url, sizeof s->url, address) == NULL)
        bench_die(arguments[0], "it does not start");
    fclose(address);
    s->url[strcspn(s->url, "\n")] = '\0';
}

static void stop(const struct server *s)
{
    int status = -1;
    close(s->in);
    if (waitpid(s->pid, &status, 0) != s->pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        bench_die("example_http", "it did not end well");
}

static double milliseconds(const char *text)
{
    char unit[4] = "";
    double n = 0;
    if (sscanf(text, "%lf%3s", &n, unit) != 2)
        return 0;
    return strcmp(unit, "us") == 0 ? n / 1000 : strcmp(unit, "s") == 0 ? n * 1000 : n;
}

/* What wrk says, as a row. */
static void measure(const struct server *s, const char *mode, int round, int seconds)
{
    char command[256], line[256], *at;
    double rate = 0, p50 = 0, p99 = 0;
    long failed = 0, a, b, c, d;
    snprintf(command, sizeof command, "wrk -t1 -c%d -d%ds --latency %s/users/1", CONNECTIONS, seconds, s->url);
    FILE *wrk = popen(command, "r");
    if (wrk == NULL)
        bench_die("wrk", strerror(errno));
    while (fgets(line, sizeof line, wrk) != NULL) {
        if ((at = strstr(line, "Requests/sec:")) != NULL)
            rate = strtod(at + 13, NULL);
        else if ((at = strstr(line, "50%")) != NULL)
            p50 = milliseconds(at + 3);
        else if ((at = strstr(line, "99%")) != NULL)
            p99 = milliseconds(at + 3);
        else if ((at = strstr(line, "Non-2xx or 3xx responses:")) != NULL)
            failed += strtol(at + 25, NULL, 10);
        else if (sscanf(line, " Socket errors: connect %ld, read %ld, write %ld, timeout %ld", &a, &b, &c, &d) == 4)
            failed += a + b + c + d;
    }
    if (pclose(wrk) != 0 || rate <= 0)
        bench_die("wrk", "it failed: install wrk");
    printf("http,%s,%d,%.1f,%.3f,%.3f,%ld\n", mode, round, rate, p50, p99, failed);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const char *const modes[] = { "none", "memory", "redis", "constant" };
    const char *program = argc > 1 ? argv[1] : "";
    int rounds = 3, seconds = 4;
    char redis[160], work[16];
    for (int i = 2; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--rounds") == 0)
            rounds = (int)strtol(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = (int)strtol(argv[i + 1], NULL, 10);
    }
    if (access(program, X_OK) != 0 || rounds < 1 || seconds < 1) {
        fprintf(stderr, "usage: http_bench PROGRAM [--rounds N] [--seconds S]\n");
        return 2;
    }
    snprintf(redis, sizeof redis,
             "memory:?max_bytes=64mb | redis://127.0.0.1:%u?prefix=http-bench:", (unsigned)bench_redis_start());
    snprintf(work, sizeof work, "%d", WORK_MS);
    for (int round = 0; round < rounds; round++)
        for (size_t m = 0; m < sizeof modes / sizeof modes[0]; m++) {
            const char *const plain[] = { program, "--work-ms", work, NULL };
            const char *const none[] = { program, "--work-ms", work, "--no-cache", NULL };
            const char *const shared[] = { program, "--work-ms", work, "--layers", redis, NULL };
            const char *const constant[] = { program, "--constant", NULL };
            const char *const *const arguments[] = { none, plain, shared, constant };
            struct server server;
            start(&server, arguments[m]);
            measure(&server, modes[m], round, seconds);
            stop(&server);
        }
    return 0;
}
