/* test_redis_bus_wire.c - buses over Redis, and a server that answers what none does: other kinds of replies, entries that are none, ids that
 * are none, and an end in the middle of each.  Nothing is read beyond its bounds, nothing is made up, and what could not be understood
 * is told. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "strata/bus_redis.h"
#include "tests/support/bus_member.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fake_server.h"

/* What the server says to XREAD, the first time, and the second; then it waits. */
struct says {
    struct fake_server fake;
    const char *to_xread[3];
    const char *to_xrevrange; /* "*0\r\n": an empty stream */
    const char *to_xrange;
    _Atomic(int) reads;
};

static const char *answer_to(struct says *says, const char *name)
{
    if (strcmp(name, "PING") == 0)
        return "+PONG\r\n";
    if (strcmp(name, "XREVRANGE") == 0)
        return says->to_xrevrange;
    if (strcmp(name, "XRANGE") == 0)
        return says->to_xrange;
    if (strcmp(name, "XREAD") != 0)
        return "-ERR unknown command\r\n";
    int nth = atomic_fetch_add(&says->reads, 1);
    return nth < 3 ? says->to_xread[nth] : NULL;
}

static void serve_until(struct says *says, int fd)
{
    char name[32], key[32];
    while (fake_read_command(fd, name, key)) {
        const char *answer = answer_to(says, name);
        if (answer == NULL) {
            fake_ignore(fd);
            return;
        }
        if (!fake_send(fd, answer))
            return;
    }
}

/* One connection at a time is served.  The one that publishes says nothing behind its PING, and is sent away: it comes again while the
 * reader's, which asks at once, is served. */
static void serve(struct fake_server *f, int fd, int nth)
{
    struct pollfd speaks = { fd, POLLIN, 0 };
    (void)nth;
    if (fake_greet(fd) && poll(&speaks, 1, 100) == 1)
        serve_until(f->ctx, fd);
}

static strata_bus *stream_at(uint16_t port)
{
    char url[64];
    strata_redis_bus_options options = STRATA_REDIS_BUS_OPTIONS_INIT;
    snprintf(url, sizeof url, "redis://127.0.0.1:%u", (unsigned)port);
    options.url = url;
    options.timeout_ms = 500;
    options.connect_timeout_ms = 200; /* the other connection is not served, and gives up soon */
    return strata_redis_stream_bus(&options);
}

static void ask(struct says *says, struct bus_member *n)
{
    atomic_init(&says->reads, 0);
    fake_server_start(&says->fake, serve, says);
    bus_member_start(n, stream_at(says->fake.port));
}

static void end(struct says *says, struct bus_member *n)
{
    bus_member_close(n, 0);
    fake_server_stop(&says->fake);
    bus_member_free(n);
}

#define EMPTY "*0\r\n"
#define STREAM(entries) "*1\r\n*2\r\n$1\r\nk\r\n" entries
#define ENTRY(id, text) "*2\r\n" id "*2\r\n$1\r\nm\r\n" text

static void one_that_is_right(void **state)
{
    (void)state;
    struct says says = { .to_xread = { STREAM("*1\r\n" ENTRY("$3\r\n5-1\r\n", "$5\r\nhello\r\n")) },
                         .to_xrevrange = EMPTY,
                         .to_xrange = EMPTY };
    struct bus_member n;
    ask(&says, &n);
    bus_member_wait_text(&n, "hello");
    assert_memory_equal(n.came[0].cursor, "5-1/", 4);
    end(&says, &n);
}

static void entries_that_are_none(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        STREAM("*1\r\n:5\r\n"),
        STREAM("*1\r\n*0\r\n"),
        STREAM("*1\r\n*2\r\n:1\r\n*0\r\n"),
        STREAM("*1\r\n*2\r\n$3\r\n5-1\r\n$-1\r\n"),
        STREAM("*1\r\n*2\r\n$3\r\n5-1\r\n*2\r\n:1\r\n:2\r\n"),
        STREAM("*1\r\n*2\r\n$3\r\n5-1\r\n*1\r\n$1\r\nm\r\n"),
        STREAM("*1\r\n" ENTRY("$0\r\n\r\n", "$1\r\nx\r\n")),
        STREAM("*1\r\n" ENTRY("$1\r\n5\r\n", "$1\r\nx\r\n")),
        STREAM("*1\r\n" ENTRY("$2\r\n5-\r\n", "$1\r\nx\r\n")),
        STREAM("*1\r\n" ENTRY("$2\r\n-5\r\n", "$1\r\nx\r\n")),
        STREAM("*1\r\n" ENTRY("$4\r\n5-1 \r\n", "$1\r\nx\r\n")),
        STREAM("*1\r\n" ENTRY("$22\r\n99999999999999999999-0\r\n", "$1\r\nx\r\n")),
        STREAM("*1\r\n" ENTRY("$3\r\n5-1\r\n", "$0\r\n\r\n")),
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct says says = { .to_xread = { wrong[i] }, .to_xrevrange = EMPTY, .to_xrange = EMPTY };
        struct bus_member n;
        ask(&says, &n);
        bus_member_wait_lost(&n, 1);
        assert_int_equal(n.came_count, 0);
        end(&says, &n);
    }
}

/* They are asked again, after a pause, and the words say what is wrong. */
static void replies_of_another_kind(void **state)
{
    (void)state;
    static const char *const wrong[] = { "+OK\r\n", ":1\r\n", "$5\r\nhello\r\n", "-ERR something odd\r\n" };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct says says = { .to_xread = { wrong[i] }, .to_xrevrange = EMPTY, .to_xrange = EMPTY };
        struct bus_member n;
        ask(&says, &n);
        bus_member_wait_down(&n, i == 3 ? "something odd" : "Redis server");
        end(&says, &n);
        says.to_xrevrange = wrong[i];
        ask(&says, &n);
        bus_member_wait_down(&n, i == 3 ? "something odd" : "Redis server");
        assert_int_equal(n.ups, 0);
        end(&says, &n);
    }
}

static void ends_that_are_none(void **state)
{
    (void)state;
    static const char *const wrong[] = { "*1\r\n:1\r\n", "*1\r\n*2\r\n$1\r\nx\r\n*0\r\n", "*1\r\n*0\r\n" };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct says says = { .to_xrevrange = wrong[i], .to_xrange = EMPTY };
        struct bus_member n;
        ask(&says, &n);
        bus_member_wait_down(&n, "Redis server");
        end(&says, &n);
    }
}

static void not_redis_at_all(void **state)
{
    (void)state;
    static const char *const wrong[] = { "HTTP/1.1 400 Bad Request\r\n\r\n", "*1\r\n*2\r\n$1\r\nk\r\n*1000000\r\n!",
                                         "*-7\r\n", "$99999999999\r\n", "*99999999999\r\n" };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct says says = { .to_xread = { wrong[i] }, .to_xrevrange = EMPTY, .to_xrange = EMPTY };
        struct bus_member n;
        ask(&says, &n);
        bus_member_wait_down(&n, "");
        assert_int_equal(n.came_count, 0);
        end(&says, &n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_is_right),       cmocka_unit_test(entries_that_are_none),
        cmocka_unit_test(replies_of_another_kind), cmocka_unit_test(ends_that_are_none),
        cmocka_unit_test(not_redis_at_all),
    };
    return cmocka_run_group_tests_name("buses and a server that is none", tests, NULL, NULL);
}
