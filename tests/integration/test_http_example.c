/* test_http_example.c PROGRAM - examples/http as a user meets it: the program, and requests over connections; with
 * STRATA_REDIS_URL (with_redis) two of them, which share that server. */
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

enum { CROWD = 40 };

static const char *program;

struct server {
    pid_t pid;
    int in; /* it serves until this is closed */
    unsigned port;
};

static _Noreturn void become(int in, int out, const char *layers)
{
    dup2(in, 0);
    dup2(out, 1);
    for (int fd = 3; fd < 64; fd++)
        close(fd);
    execl(program, program, "--work-ms", "20", "--layers", layers, (char *)NULL);
    _exit(127);
}

static void start(struct server *s, const char *layers)
{
    int in[2], out[2];
    char line[64] = "";
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    s->pid = fork();
    if (s->pid == 0)
        become(in[0], out[1], layers);
    close(in[0]);
    close(out[1]);
    s->in = in[1];
    FILE *address = fdopen(out[0], "r");
    assert_non_null(address);
    assert_non_null(fgets(line, sizeof line, address));
    fclose(address);
    assert_int_equal(sscanf(line, "http://127.0.0.1:%u", &s->port), 1);
}

static void stop(struct server *s)
{
    int status = -1;
    close(s->in);
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0); /* a leak is one, under the address sanitizer */
}

struct reply {
    int status;
    char text[4096];
};

/* One request, on a connection of its own. */
static struct reply ask(const struct server *s, const char *method, const char *target, const char *fields,
                        const char *body)
{
    struct reply reply = { 0 };
    char head[1024];
    size_t have = 0;
    struct timeval patience = { .tv_sec = 60 };
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)s->port) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int n = snprintf(head, sizeof head,
                     "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n%s",
                     method, target, strlen(body), fields, body);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (fd >= 0 && connect(fd, (struct sockaddr *)(void *)&address, sizeof address) == 0 &&
        send(fd, head, (size_t)n, MSG_NOSIGNAL) == n)
        for (ssize_t got = 1; got > 0 && have < sizeof reply.text - 1; have += (size_t)(got > 0 ? got : 0))
            got = recv(fd, reply.text + have, sizeof reply.text - 1 - have, 0);
    close(fd);
    if (sscanf(reply.text, "HTTP/1.1 %d", &reply.status) != 1)
        reply.status = -1;
    return reply;
}

static struct reply get(const struct server *s, const char *target) { return ask(s, "GET", target, "", ""); }

static void expect(const struct reply *reply, int status, const char *has)
{
    if (reply->status != status || strstr(reply->text, has) == NULL)
        fail_msg("wanted %d and \"%s\", got: %s", status, has, reply->text);
}

static int count(const struct server *s)
{
    struct reply reply = get(s, "/count");
    const char *body = strstr(reply.text, "\r\n\r\n");
    assert_non_null(body);
    return (int)strtol(body + 4, NULL, 10);
}

static void requests_and_answers(void **state)
{
    struct server s;
    struct reply reply;
    (void)state;
    start(&s, "memory:?max_bytes=16mb");
    reply = get(&s, "/users/1");
    expect(&reply, 200, "x-cache: MISS");
    expect(&reply, 200, "Cache-Status: strata; fwd=uri-miss; stored");
    reply = get(&s, "/users/1");
    expect(&reply, 200, "x-cache: HIT");
    expect(&reply, 200, "\r\nETag: \"1-1\"");
    expect(&reply, 200, "{\"id\":1,\"name\":\"the name of user 1\"}\n");
    reply = ask(&s, "HEAD", "/users/1", "", "");
    expect(&reply, 200, "x-cache: HIT");
    assert_null(strstr(reply.text, "the name"));
    reply = ask(&s, "GET", "/users/1", "If-None-Match: \"1-1\"\r\n", "");
    expect(&reply, 304, "x-cache: HIT");
    reply = get(&s, "/users/1001");
    expect(&reply, 404, "x-cache: MISS");
    reply = get(&s, "/users/1001");
    expect(&reply, 404, "x-cache: HIT");
    assert_int_equal(count(&s), 2);
    reply = ask(&s, "PUT", "/users/1", "", "Ann \"A\"");
    expect(&reply, 204, "fwd=method");
    reply = get(&s, "/users/1");
    expect(&reply, 200, "\"Ann \\\"A\\\"\"");
    reply = get(&s, "/users/1?token=x");
    expect(&reply, 200, "detail=sensitive-query");
    reply = get(&s, "/me");
    reply = get(&s, "/me");
    expect(&reply, 200, "x-cache: MISS");
    reply = get(&s, "/login");
    reply = get(&s, "/login");
    expect(&reply, 200, "Set-Cookie");
    expect(&reply, 200, "x-cache: MISS");
    reply = ask(&s, "GET", "/greeting", "Accept-Language: de\r\n", "");
    expect(&reply, 200, "Guten Tag");
    reply = ask(&s, "GET", "/greeting", "Accept-Language: en\r\n", "");
    expect(&reply, 200, "Good day");
    reply = ask(&s, "GET", "/greeting", "Accept-Language: de\r\n", "");
    expect(&reply, 200, "x-cache: HIT");
    ask(&s, "POST", "/fail", "", "");
    reply = get(&s, "/users/1");
    expect(&reply, 200, "x-cache: HIT");
    reply = get(&s, "/users/2");
    expect(&reply, 503, "x-cache: MISS");
    ask(&s, "POST", "/mend", "", "");
    reply = get(&s, "/users/2");
    expect(&reply, 200, "user 2");
    stop(&s);
}

struct member {
    const struct server *server;
    pthread_t thread;
    char target[32];
    struct reply reply;
};

static void *ask_in_crowd(void *ctx)
{
    struct member *m = ctx;
    m->reply = get(m->server, m->target);
    return NULL;
}

static void crowd(const struct server *one, const struct server *two, struct member members[CROWD], const char *target)
{
    for (int i = 0; i < CROWD; i++) {
        members[i].server = i % 2 == 0 ? one : two;
        snprintf(members[i].target, sizeof members[i].target, "%s", target);
        assert_int_equal(pthread_create(&members[i].thread, NULL, ask_in_crowd, &members[i]), 0);
    }
    for (int i = 0; i < CROWD; i++)
        pthread_join(members[i].thread, NULL);
    for (int i = 0; i < CROWD; i++)
        expect(&members[i].reply, 200, "the name of user 7\"");
}

static void forty_at_once(void **state)
{
    static struct member members[CROWD];
    struct server s;
    (void)state;
    start(&s, "memory:?max_bytes=16mb");
    crowd(&s, &s, members, "/users/7");
    assert_int_equal(count(&s), 1);
    crowd(&s, &s, members, "/users/7");
    assert_int_equal(count(&s), 1);
    stop(&s);
}

/* Two programs with databases of their own: one of them loads, and both serve. */
static void forty_at_two_programs(void **state)
{
    static struct member members[CROWD];
    struct server one, two;
    struct reply reply;
    char layers[256];
    const char *url = getenv("STRATA_REDIS_URL");
    (void)state;
    snprintf(layers, sizeof layers,
             "memory:?max_bytes=16mb | %s?prefix=http-test:&soft_timeout_ms=20s&timeout_ms=30s&lease_wait_ms=60s", url);
    start(&one, layers);
    start(&two, layers);
    /* Its key has the host in it, which is the same for both here. */
    crowd(&one, &two, members, "/users/7");
    assert_int_equal(count(&one) + count(&two), 1);
    reply = ask(&one, "PUT", "/users/7", "", "the name of user 7"); /* which both hear of */
    expect(&reply, 204, "fwd=method");
    crowd(&one, &one, members, "/users/7");
    assert_int_equal(count(&one) + count(&two), 3); /* the change, and one load */
    stop(&two);
    stop(&one);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_and_answers),
        cmocka_unit_test(forty_at_once),
    };
    const struct CMUnitTest over_redis[] = { cmocka_unit_test(forty_at_two_programs) };
    signal(SIGPIPE, SIG_IGN);
    program = argc > 1 ? argv[1] : "example_http";
    if (getenv("STRATA_REDIS_URL") != NULL)
        return cmocka_run_group_tests(over_redis, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
