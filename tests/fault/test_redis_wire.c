/* test_redis_wire.c - a link, and servers that cut, garble, are late or say nothing; memory and system calls that fail. */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/os/os_clock.h"
#include "src/os/os_futex.h"
#include "src/os/os_thread.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/fake_server.h"
#include "tests/support/fault_nth.h"
#include "tests/support/redis_ask.h"
#include "tests/support/redis_server.h"

enum { LONG_MS = 20000 };

static struct redis_link *open_link(const struct redis_link_options *options)
{
    struct redis_link *link;
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(strata__redis_open(&link, options, &err), STRATA_OK);
    return link;
}

/* Until it answers with a reply: what was lost on the way is asked again. */
static struct redis_answer ask_until_good(struct redis_link *link, const char *a, const char *b)
{
    struct redis_answer answer;
    do
        answer = redis_ask(link, LONG_MS, a, b, NULL);
    while (answer.status == STRATA_EIO);
    return answer;
}

static void says(const struct redis_answer *answer, int status, const char *words)
{
    if (answer->status != status || strstr(answer->err.message, words) == NULL)
        print_error("status %d, where %s: %s\n", answer->status, answer->err.where, answer->err.message);
    assert_int_equal(answer->status, status);
    assert_non_null(strstr(answer->err.message, words));
    assert_string_equal(answer->err.where, "redis");
}

/* Replies with the key, whatever is asked. */
static void echo(int fd)
{
    char name[32], key[32], reply[80];
    while (fake_read_command(fd, name, key)) {
        (void)snprintf(reply, sizeof reply, "$%zu\r\n%s\r\n", strlen(key), key);
        if (!fake_send(fd, reply))
            return;
    }
}

/* The first connection answers the first GET with ctx and closes; the later ones are good. */
static void serve_bad_first(struct fake_server *f, int fd, int nth)
{
    char name[32], key[32];
    if (!fake_greet(fd))
        return;
    if (nth > 0) {
        echo(fd);
        return;
    }
    if (fake_read_command(fd, name, key) && fake_send(fd, f->ctx) && ((const char *)f->ctx)[0] != '$')
        fake_ignore(fd); /* it is the link that hangs up */
}

static void bad_reply(const char *reply, const char *words)
{
    struct fake_server f;
    char copy[128];
    (void)snprintf(copy, sizeof copy, "%s", reply);
    fake_server_start(&f, serve_bad_first, copy);
    struct redis_link_options options = redis_ask_options(f.port);
    struct redis_link *link = open_link(&options);
    struct redis_answer answer = redis_ask(link, LONG_MS, "GET", "a", NULL);
    says(&answer, STRATA_EIO, words);
    says(&answer, STRATA_EIO, "127.0.0.1:");
    answer = ask_until_good(link, "GET", "b");
    assert_int_equal(answer.status, STRATA_OK);
    assert_string_equal(answer.text, "b");
    struct redis_link_counts counts;
    strata__redis_counts(link, &counts);
    assert_int_equal(counts.connects, 2);
    assert_int_equal(counts.disconnects, 1);
    strata__redis_close(link);
    fake_server_stop(&f);
}

static void a_reply_is_cut(void **state)
{
    (void)state;
    bad_reply("$10\r\nabc", "in the middle of a reply");
    bad_reply("$10", "in the middle of a reply");
}

static void garbage(void **state)
{
    (void)state;
    bad_reply("HTTP/1.1 400 Bad Request\r\n\r\n", "could not be read");
    bad_reply("*2\r\n*1\r\n!\r\n", "could not be read");
    bad_reply("*1000000000\r\n?", "could not be read"); /* announces eight gigabytes of pointers */
    bad_reply(",1.5\r\n", "could not be read");         /* RESP3 */
}

/* Answers the GET of "a" with two replies. */
static void serve_twice(struct fake_server *f, int fd, int nth)
{
    char name[32], key[32], reply[80];
    (void)f;
    if (!fake_greet(fd))
        return;
    if (nth > 0) {
        echo(fd);
        return;
    }
    while (fake_read_command(fd, name, key) && strcmp(key, "a") != 0) {
        (void)snprintf(reply, sizeof reply, "$%zu\r\n%s\r\n", strlen(key), key);
        if (!fake_send(fd, reply))
            return;
    }
    if (fake_send(fd, "+one\r\n+two\r\n"))
        fake_ignore(fd);
}

/* up_before: the connection is there before "a" is asked for, so that its caller reads by itself, and leaves what is not its own to
 * the link's thread; which the next caller must not forestall. */
static void one_too_many(int up_before)
{
    struct fake_server f;
    struct redis_link_counts counts;
    fake_server_start(&f, serve_twice, NULL);
    struct redis_link_options options = redis_ask_options(f.port);
    struct redis_link *link = open_link(&options);
    struct redis_answer answer;
    if (up_before) {
        answer = redis_ask(link, LONG_MS, "GET", "first", NULL);
        assert_string_equal(answer.text, "first");
    }
    answer = redis_ask(link, LONG_MS, "GET", "a", NULL);
    assert_int_equal(answer.status, STRATA_OK);
    assert_string_equal(answer.text, "one");
    answer = ask_until_good(link, "GET", "b");
    assert_int_equal(answer.status, STRATA_OK);
    assert_string_equal(answer.text, "b"); /* never "two" */
    strata__redis_counts(link, &counts);
    assert_int_equal(counts.connects, 2);
    strata__redis_close(link);
    fake_server_stop(&f);
}

static void a_reply_nobody_asked_for(void **state)
{
    (void)state;
    one_too_many(0);
    for (int i = 0; i < 20; i++)
        one_too_many(1);
}

/* Keeps the reply to "slow" back until "next" has come, which is after the first one's timeout. */
static void serve_late(struct fake_server *f, int fd, int nth)
{
    char name[32], key[32];
    (void)f;
    (void)nth;
    if (fake_greet(fd) && fake_read_command(fd, name, key) && fake_read_command(fd, name, key) &&
        fake_send(fd, "+slow\r\n+next\r\n"))
        echo(fd);
}

static void a_late_reply_is_thrown_away(void **state)
{
    struct fake_server f;
    struct redis_link_counts counts;
    (void)state;
    fake_server_start(&f, serve_late, NULL);
    struct redis_link_options options = redis_ask_options(f.port);
    struct redis_link *link = open_link(&options);
    struct redis_answer answer = redis_ask(link, 150, "GET", "slow", NULL);
    if (answer.status == STRATA_ETIMEDOUT) {
        says(&answer, STRATA_ETIMEDOUT, "no reply in time");
        answer = redis_ask(link, LONG_MS, "GET", "next", NULL);
        /* On a machine that was away for long, the connection was given up meanwhile. */
        if (answer.status == STRATA_OK)
            assert_string_equal(answer.text, "next");
    }
    strata__redis_counts(link, &counts);
    assert_int_equal(counts.timeouts, 1);
    strata__redis_close(link);
    fake_server_stop(&f);
}

struct slow_greeting {
    _Atomic(uint32_t) go;
    char first[32]; /* the key of the first command that came */
};

static void serve_slow_greeting(struct fake_server *f, int fd, int nth)
{
    struct slow_greeting *slow = f->ctx;
    char name[32];
    (void)nth;
    if (!fake_read_command(fd, name, slow->first))
        return;
    (void)strata__os_park(&slow->go, INT64_MAX);
    if (fake_send(fd, "+PONG\r\n") && fake_read_command(fd, name, slow->first) && fake_send(fd, "+there\r\n"))
        echo(fd);
}

/* What timed out before it was written is not carried out minutes later. */
static void a_late_connection_sends_no_stale_commands(void **state)
{
    struct fake_server f;
    struct slow_greeting slow = { .first = "" };
    (void)state;
    fake_server_start(&f, serve_slow_greeting, &slow);
    struct redis_link_options options = redis_ask_options(f.port);
    struct redis_link *link = open_link(&options);
    struct redis_answer answer = redis_ask(link, 20, "SET", "stale", "1");
    assert_int_equal(answer.status, STRATA_ETIMEDOUT);
    answer = redis_ask(link, 20, "SET", "stale", "2");
    assert_int_equal(answer.status, STRATA_ETIMEDOUT);
    strata__os_unpark(&slow.go);
    answer = redis_ask(link, LONG_MS, "GET", "fresh", NULL);
    assert_int_equal(answer.status, STRATA_OK);
    assert_string_equal(answer.text, "there");
    strata__redis_close(link);
    fake_server_stop(&f);
    assert_string_equal(slow.first, "fresh");
}

static void serve_silence(struct fake_server *f, int fd, int nth)
{
    (void)f;
    (void)nth;
    fake_ignore(fd);
}

static void a_silent_server(void **state)
{
    struct fake_server f;
    (void)state;
    fake_server_start(&f, serve_silence, NULL);
    struct redis_link_options options = redis_ask_options(f.port);
    options.connect_timeout_ms = 50;
    struct redis_link *link = open_link(&options);
    struct redis_answer answer = redis_ask(link, LONG_MS, "GET", "a", NULL);
    says(&answer, STRATA_EIO, "did not answer");
    strata__redis_close(link);
    options.connect_timeout_ms = LONG_MS;
    link = open_link(&options);
    answer = redis_ask(link, 1000, "GET", "a", NULL); /* whose own time is over first */
    says(&answer, STRATA_ETIMEDOUT, "not greeted in time");
    strata__redis_close(link);
    fake_server_stop(&f);
}

/* Greets, and then says nothing; the second connection is good. */
static void serve_then_silence(struct fake_server *f, int fd, int nth)
{
    (void)f;
    if (!fake_greet(fd))
        return;
    if (nth == 0)
        fake_ignore(fd);
    else
        echo(fd);
}

static void silence_makes_a_new_connection(void **state)
{
    struct fake_server f;
    struct redis_link_counts counts;
    (void)state;
    fake_server_start(&f, serve_then_silence, NULL);
    struct redis_link_options options = redis_ask_options(f.port);
    struct redis_link *link = open_link(&options);
    struct redis_answer answer = redis_ask(link, 30, "GET", "a", NULL);
    assert_int_equal(answer.status, STRATA_ETIMEDOUT);
    do
        answer = redis_ask(link, 100, "GET", "b", NULL);
    while (answer.status != STRATA_OK);
    assert_string_equal(answer.text, "b");
    strata__redis_counts(link, &counts);
    assert_true(counts.connects >= 2);
    strata__redis_close(link);
    fake_server_stop(&f);
}

static void a_refused_port(void **state)
{
    (void)state;
    struct redis_link_options options = redis_ask_options(redis_server_free_port());
    struct redis_link *link = open_link(&options);
    struct redis_answer answer = redis_ask(link, INT64_MAX, "GET", "a", NULL); /* not its whole timeout */
    says(&answer, STRATA_EIO, "Connection refused");
    assert_int_equal(answer.err.os_errno, ECONNREFUSED);
    answer = redis_ask(link, INT64_MAX, "GET", "a", NULL);
    says(&answer, STRATA_EIO, "is the server running");
    strata__redis_close(link);
}

static void addresses_that_are_none(void **state)
{
    (void)state;
    struct redis_link_options options = redis_ask_options(1);
    options.host = NULL;
    options.socket_path = "/nonexistent/redis.sock";
    struct redis_link *link = open_link(&options);
    struct redis_answer answer = redis_ask(link, LONG_MS, "GET", "a", NULL);
    says(&answer, STRATA_EIO, "/nonexistent/redis.sock: No such file");
    strata__redis_close(link);

    char path[400];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    options.socket_path = path;
    link = open_link(&options);
    answer = redis_ask(link, LONG_MS, "GET", "a", NULL);
    assert_int_equal(answer.status, STRATA_EIO);
    assert_int_equal(answer.err.os_errno, ENAMETOOLONG);
    strata__redis_close(link);

    options = redis_ask_options(1);
    options.host = "256.0.0.1.invalid";
    link = open_link(&options);
    answer = redis_ask(link, LONG_MS, "GET", "a", NULL);
    says(&answer, STRATA_EIO, "look at the name servers");
    strata__redis_close(link);
}

/* Many at once ----------------------------------------------------------------------------------------------------- */

enum { MANY = 50 };

struct many {
    struct redis_request requests[MANY];
    struct redis_answer answers[MANY];
    _Atomic(int) done;
    _Atomic(uint32_t) all;
};

static void one_of_many(struct redis_request *request)
{
    struct many *many = request->owner;
    request->owner = &many->answers[request - many->requests];
    redis_ask_done(request);
    if (atomic_fetch_add(&many->done, 1) + 1 == MANY)
        strata__os_unpark(&many->all);
}

static void submit_many(struct redis_link *link, struct many *many, int64_t timeout_ms)
{
    const strata_slice args[] = { strata_str("GET"), strata_str("k") };
    struct redis_request *list[MANY];
    memset(many, 0, sizeof *many);
    for (int i = 0; i < MANY; i++) {
        many->requests[i] = (struct redis_request){ .args = args,
                                                    .arg_count = 2,
                                                    .affinity = (uint64_t)i,
                                                    .timeout_ms = timeout_ms,
                                                    .done = one_of_many,
                                                    .owner = many };
        list[i] = &many->requests[i];
    }
    strata__redis_submit(link, list, MANY);
}

static void close_with_requests_out(void **state)
{
    struct fake_server f;
    struct many many;
    (void)state;
    fake_server_start(&f, serve_then_silence, NULL);
    struct redis_link_options options = redis_ask_options(f.port);
    for (int waiting = 0; waiting < 2; waiting++) {
        struct redis_link *link = open_link(&options);
        submit_many(link, &many, LONG_MS);
        strata__redis_close(link);
        assert_int_equal(many.done, MANY);
        for (int i = 0; i < MANY; i++)
            if (many.answers[i].status != STRATA_OK) /* the second connection may have been fast */
                assert_int_equal(many.answers[i].status, STRATA_ECLOSED);
    }
    fake_server_stop(&f);
}

struct caller {
    struct redis_link *link;
    struct redis_answer answer;
    struct os_thread thread;
};

static void call_once(void *ctx)
{
    struct caller *caller = ctx;
    caller->answer = redis_ask(caller->link, LONG_MS, "GET", "a", NULL);
}

static _Atomic(uint32_t) was_asked;

static void serve_and_tell(struct fake_server *f, int fd, int nth)
{
    char name[32], key[32];
    (void)f;
    (void)nth;
    if (!fake_greet(fd) || !fake_read_command(fd, name, key) || !fake_send(fd, "+one\r\n"))
        return;
    if (fake_read_command(fd, name, key)) {
        strata__os_unpark(&was_asked);
        fake_ignore(fd);
    }
}

/* A caller that reads for itself is asleep in poll, and comes back. */
static void close_with_a_caller_on_the_socket(void **state)
{
    struct fake_server f;
    struct caller caller;
    (void)state;
    fake_server_start(&f, serve_and_tell, NULL);
    struct redis_link_options options = redis_ask_options(f.port);
    caller.link = open_link(&options);
    assert_int_equal(redis_ask(caller.link, LONG_MS, "GET", "a", NULL).status, STRATA_OK);
    assert_int_equal(strata__os_thread_start(&caller.thread, "caller", call_once, &caller), 0);
    assert_int_equal(strata__os_park(&was_asked, INT64_MAX), 0);
    strata__redis_close(caller.link);
    strata__os_thread_join(&caller.thread);
    assert_int_equal(caller.answer.status, STRATA_ECLOSED);
    fake_server_stop(&f);
}

static void more_than_max_pending(void **state)
{
    struct fake_server f;
    struct many many;
    (void)state;
    fake_server_start(&f, serve_silence, NULL);
    struct redis_link_options options = redis_ask_options(f.port);
    options.max_pending = 10;
    options.connections = 2;
    struct redis_link *link = open_link(&options);
    submit_many(link, &many, LONG_MS);
    assert_int_equal(many.done, MANY - 10);
    strata__redis_close(link);
    int busy = 0;
    for (int i = 0; i < MANY; i++)
        busy += many.answers[i].status == STRATA_EBUSY;
    assert_int_equal(busy, MANY - 10);
    says(&many.answers[MANY - 1], STRATA_EBUSY, "max_pending");
    fake_server_stop(&f);
}

/* What fails ------------------------------------------------------------------------------------------------------- */

static void serve_echo(struct fake_server *f, int fd, int nth)
{
    (void)f;
    (void)nth;
    if (fake_greet(fd))
        echo(fd);
}

/* Opens, asks a few things, closes; 1 where the link could be opened.  Whatever fails is answered, and heals. */
static int one_life(uint16_t port, const strata_allocator *mem)
{
    struct redis_link_options options = redis_ask_options(port);
    struct redis_link *link;
    strata_error err = STRATA_ERROR_INIT;
    options.mem = mem;
    int status = strata__redis_open(&link, &options, &err);
    if (status != STRATA_OK) {
        assert_null(link);
        assert_true(status == STRATA_ENOMEM || status == STRATA_EIO);
        assert_int_equal(err.status, status);
        return 0;
    }
    static struct many many;
    submit_many(link, &many, LONG_MS);
    assert_int_equal(strata__os_park(&many.all, INT64_MAX), 0);
    for (int i = 0; i < MANY; i++) {
        int answer = many.answers[i].status;
        assert_true(answer == STRATA_OK || answer == STRATA_EIO || answer == STRATA_ENOMEM);
    }
    struct redis_answer answer;
    int asked = 0;
    do {
        answer = redis_ask(link, LONG_MS, "GET", "after", NULL);
        asked++;
    } while (answer.status != STRATA_OK && asked < 1000000);
    assert_string_equal(answer.text, "after");
    strata__redis_close(link);
    return 1;
}

static void the_nth_allocation_fails(void **state)
{
    struct fake_server f;
    (void)state;
    fake_server_start(&f, serve_echo, NULL);
    for (long nth = 1;; nth++) {
        struct fail_alloc alloc;
        fail_alloc_init(&alloc, nth);
        (void)one_life(f.port, &alloc.mem);
        assert_int_equal(atomic_load(&alloc.live), 0);
        if (!atomic_load(&alloc.failed))
            break;
    }
    fake_server_stop(&f);
}

static void the_nth_call_fails(void **state)
{
    static const struct {
        const char *call;
        int os_errno;
    } calls[] = { { "eventfd", EMFILE },  { "pthread_create", EAGAIN },
                  { "socket", EMFILE },   { "connect", ENETUNREACH },
                  { "getsockopt", EIO },  { "getaddrinfo", ENOMEM },
                  { "recv", ECONNRESET }, { "send", EPIPE },
                  { "poll", EINTR } };
    struct fake_server f;
    (void)state;
    fake_server_start(&f, serve_echo, NULL);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        for (int nth = 1; nth <= 12; nth++) {
            struct fault_nth fault;
            fault_nth_set(&fault, calls[i].call, nth, calls[i].os_errno);
            (void)one_life(f.port, NULL);
            fault_nth_clear();
            if (atomic_load(&fault.seen) < nth)
                break;
        }
    }
    fake_server_stop(&f);
}

static size_t one_byte(const char *call, size_t size, void *ctx)
{
    (void)ctx;
    return strcmp(call, "send") == 0 || strcmp(call, "recv") == 0 ? 1 : size;
}

static int never_fails(const char *call, void *ctx)
{
    (void)call;
    (void)ctx;
    return 0;
}

/* Every read and every write moves one byte. */
static void byte_by_byte(void **state)
{
    static const struct os_fault_hook hook = { never_fails, NULL, one_byte };
    struct fake_server f;
    (void)state;
    fake_server_start(&f, serve_echo, NULL);
    strata__os_fault_set(&hook);
    assert_true(one_life(f.port, NULL));
    strata__os_fault_set(NULL);
    fake_server_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_is_cut),
        cmocka_unit_test(garbage),
        cmocka_unit_test(a_reply_nobody_asked_for),
        cmocka_unit_test(a_late_reply_is_thrown_away),
        cmocka_unit_test(a_late_connection_sends_no_stale_commands),
        cmocka_unit_test(a_silent_server),
        cmocka_unit_test(silence_makes_a_new_connection),
        cmocka_unit_test(a_refused_port),
        cmocka_unit_test(addresses_that_are_none),
        cmocka_unit_test(close_with_requests_out),
        cmocka_unit_test(close_with_a_caller_on_the_socket),
        cmocka_unit_test(more_than_max_pending),
        cmocka_unit_test(the_nth_allocation_fails),
        cmocka_unit_test(the_nth_call_fails),
        cmocka_unit_test(byte_by_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
