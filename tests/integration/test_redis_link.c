/* test_redis_link.c - a link to a real server: under load, with large values, refused, killed, stopped, and forked. */
#include "tests/support/cmocka_all.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/link/redis_link.h"
#include "src/os/os_clock.h"
#include "src/os/os_futex.h"
#include "src/os/os_thread.h"
#include "tests/support/redis_ask.h"
#include "tests/support/redis_server.h"
#include "tests/support/still_threads.h"

enum { LONG_MS = 60000, THREADS = 8, EACH = 1250, LARGE_BYTES = 8 << 20 };

static struct redis_link *open_link(const struct redis_link_options *options)
{
    struct redis_link *link;
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(strata__redis_open(&link, options, &err), STRATA_OK);
    return link;
}

static struct redis_answer ask_until_good(struct redis_link *link, const char *a, const char *b, const char *c)
{
    struct redis_answer answer;
    do
        answer = redis_ask(link, LONG_MS, a, b, c);
    while (answer.status == STRATA_EIO || answer.status == STRATA_ETIMEDOUT);
    return answer;
}

/* By name, where this machine knows any: a bare one may have no hosts file. */
static const char *own_name(void)
{
    struct addrinfo *found = NULL;
    int known = getaddrinfo("localhost", NULL, NULL, &found) == 0;
    if (known)
        freeaddrinfo(found);
    return known ? "localhost" : "127.0.0.1";
}

static void every_kind_of_reply(void **state)
{
    struct redis_server s;
    (void)state;
    redis_server_start(&s, NULL);
    struct redis_link_options options = redis_ask_options(s.port);
    for (int by_path = 0; by_path < 2; by_path++) {
        options.host = by_path ? NULL : own_name();
        options.socket_path = by_path ? s.socket_path : NULL;
        options.database = 3;
        struct redis_link *link = open_link(&options);
        struct redis_answer answer = redis_ask(link, LONG_MS, "SET", "k", "");
        assert_int_equal(answer.status, STRATA_OK);
        assert_int_equal(answer.kind, REDIS_IS_STATUS);
        assert_string_equal(answer.text, "OK");
        answer = redis_ask(link, LONG_MS, "GET", "k", NULL);
        assert_int_equal(answer.kind, REDIS_IS_TEXT);
        assert_int_equal(answer.size, 0);
        assert_int_equal(redis_ask(link, LONG_MS, "GET", "none", NULL).kind, REDIS_IS_NIL);
        answer = redis_ask(link, LONG_MS, "INCR", "n", NULL);
        assert_int_equal(answer.kind, REDIS_IS_INTEGER);
        assert_int_equal(answer.integer, by_path + 1);
        answer = redis_ask(link, LONG_MS, "INCR", "k", NULL);
        assert_int_equal(answer.kind, REDIS_IS_ERROR);
        assert_non_null(strstr(answer.text, "not an integer"));
        assert_int_equal(redis_ask(link, LONG_MS, "KEYS", "*", NULL).kind, REDIS_IS_ARRAY);
        assert_non_null(strstr(redis_ask(link, LONG_MS, "CLIENT", "INFO", NULL).text, "id="));
        strata__redis_close(link);
    }
    options.database = 99;
    struct redis_link *link = open_link(&options);
    struct redis_answer answer = redis_ask(link, LONG_MS, "GET", "k", NULL);
    assert_int_equal(answer.status, STRATA_EIO);
    assert_non_null(strstr(answer.err.message, "out of range"));
    strata__redis_close(link);
    redis_server_stop(&s);
}

/* In order ---------------------------------------------------------------------------------------------------------- */

struct stream {
    struct redis_link *link;
    struct os_thread thread;
    uint64_t number;
    struct redis_request requests[EACH];
    int64_t last;    /* what RPUSH answered */
    int wrong, done; /* by the link's thread */
    _Atomic(uint32_t) all;
};

static void pushed(struct redis_request *request)
{
    struct stream *stream = request->owner;
    int64_t length = request->status == STRATA_OK ? strata__redis_integer(request->reply) : -1;
    stream->wrong += length != stream->last + 1;
    stream->last = length;
    if (++stream->done == EACH)
        strata__os_unpark(&stream->all);
}

/* The n-th push to a list of one's own is answered n, if and only if all stay in order. */
static void push_all(void *ctx)
{
    struct stream *stream = ctx;
    char list[32], number[16];
    (void)snprintf(list, sizeof list, "list:%d", (int)stream->number);
    for (int i = 0; i < EACH; i++) {
        (void)snprintf(number, sizeof number, "%d", i);
        strata_slice args[] = { strata_str("RPUSH"), strata_str(list), strata_str(number) };
        struct redis_request *request = &stream->requests[i];
        *request = (struct redis_request){ .args = args,
                                           .arg_count = 3,
                                           .affinity = stream->number,
                                           .timeout_ms = LONG_MS,
                                           .done = pushed,
                                           .owner = stream };
        strata__redis_submit(stream->link, &request, 1);
    }
    (void)strata__os_park(&stream->all, INT64_MAX);
}

static void ten_thousand_from_eight_threads(void **state)
{
    struct redis_server s;
    struct redis_link_counts counts;
    (void)state;
    redis_server_start(&s, NULL);
    struct redis_link_options options = redis_ask_options(s.port);
    options.connections = 3;
    struct redis_link *link = open_link(&options);
    struct stream *streams = calloc(THREADS, sizeof *streams);
    assert_non_null(streams);
    for (uint64_t i = 0; i < THREADS; i++) {
        streams[i].link = link;
        streams[i].number = i;
        assert_int_equal(strata__os_thread_start(&streams[i].thread, "pusher", push_all, &streams[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        strata__os_thread_join(&streams[i].thread);
        assert_int_equal(streams[i].wrong, 0);
        assert_int_equal(streams[i].last, EACH);
    }
    free(streams);
    strata__redis_counts(link, &counts);
    assert_int_equal(counts.requests, THREADS * EACH);
    assert_int_equal(counts.connects, 3);
    assert_int_equal(counts.connected, 3);
    assert_int_equal(counts.timeouts, 0);
    assert_true(counts.writes < counts.requests); /* they traveled together */
    strata__redis_close(link);
    redis_server_stop(&s);
}

/* Callers on one connection ------------------------------------------------------------------------------------------ */

struct asker {
    struct redis_link *link;
    struct os_thread thread;
    int number, good;
};

static void ask_often(void *ctx)
{
    struct asker *asker = ctx;
    char key[32];
    for (int i = 0; i < 300; i++) {
        (void)snprintf(key, sizeof key, "%d:%d", asker->number, i);
        struct redis_answer answer = redis_ask(asker->link, LONG_MS, "ECHO", key, NULL);
        asker->good += answer.status == STRATA_OK && strcmp(answer.text, key) == 0;
    }
}

/* Each gets the reply to what it asked, whoever read it. */
static void callers_share_a_connection(void **state)
{
    struct redis_server s;
    struct asker askers[THREADS];
    (void)state;
    redis_server_start(&s, NULL);
    struct redis_link_options options = redis_ask_options(s.port);
    struct redis_link *link = open_link(&options);
    struct stream *stream = calloc(1, sizeof *stream); /* and one that does not wait, for disorder */
    assert_non_null(stream);
    stream->link = link;
    for (int threads = 1; threads <= THREADS; threads *= 2) {
        for (int i = 0; i < threads; i++) {
            askers[i] = (struct asker){ .link = link, .number = i };
            assert_int_equal(strata__os_thread_start(&askers[i].thread, "asker", ask_often, &askers[i]), 0);
        }
        if (threads == THREADS)
            push_all(stream);
        for (int i = 0; i < threads; i++) {
            strata__os_thread_join(&askers[i].thread);
            assert_int_equal(askers[i].good, 300);
        }
    }
    assert_int_equal(stream->wrong, 0);
    free(stream);
    strata__redis_close(link);
    redis_server_stop(&s);
}

struct large {
    char *bytes;
    int same;
};

static void compare(struct redis_request *request)
{
    struct large *large = request->owner;
    strata_slice text = strata_bytes(NULL, 0);
    if (request->status == STRATA_OK && strata__redis_kind(request->reply) == REDIS_IS_TEXT)
        text = strata__redis_text(request->reply);
    large->same = text.size == LARGE_BYTES && memcmp(text.data, large->bytes, LARGE_BYTES) == 0;
}

static void large_values(void **state)
{
    struct redis_server s;
    struct large large = { malloc(LARGE_BYTES), 0 };
    (void)state;
    assert_non_null(large.bytes);
    for (size_t i = 0; i < LARGE_BYTES; i++)
        large.bytes[i] = (char)(i * 2654435761u >> 13);
    redis_server_start(&s, NULL);
    struct redis_link_options options = redis_ask_options(s.port);
    struct redis_link *link = open_link(&options);
    for (int round = 0; round < 2; round++) {
        struct redis_answer set = { 0 };
        const strata_slice set_args[] = { strata_str("SET"), strata_str("large"),
                                          strata_bytes(large.bytes, LARGE_BYTES) };
        struct redis_request request = {
            .args = set_args, .arg_count = 3, .timeout_ms = LONG_MS, .done = redis_ask_done, .owner = &set
        };
        strata__redis_call(link, &request);
        assert_int_equal(set.status, STRATA_OK);
        assert_string_equal(set.text, "OK");
        const strata_slice get_args[] = { strata_str("GET"), strata_str("large") };
        request = (struct redis_request){
            .args = get_args, .arg_count = 2, .timeout_ms = LONG_MS, .done = compare, .owner = &large
        };
        large.same = 0;
        strata__redis_call(link, &request);
        assert_true(large.same);
    }
    free(large.bytes);
    strata__redis_close(link);
    redis_server_stop(&s);
}

/* Passwords ---------------------------------------------------------------------------------------------------------- */

static void refused(const struct redis_link_options *options, const char *words)
{
    struct redis_link *link = open_link(options);
    struct redis_answer answer = redis_ask(link, LONG_MS, "GET", "k", NULL);
    assert_int_equal(answer.status, STRATA_EIO);
    assert_non_null(strstr(answer.err.message, words));
    assert_non_null(strstr(answer.err.message, "127.0.0.1:"));
    if (options->password != NULL)
        assert_null(strstr(answer.err.message, options->password));
    answer = redis_ask(link, LONG_MS, "GET", "k", NULL); /* remembered, or said again */
    assert_non_null(strstr(answer.err.message, words));
    strata__redis_close(link);
}

/* A reply that fills the buffer to its last byte in as many reads as are made in a row: nothing comes behind it that would have
 * the rest of it looked at. */
static void reply_of_whole_reads(void **state)
{
    enum { READ = 64 * 1024, READS = 16, AROUND = 12 /* $1048564, and two ends of lines */, TIMES = 40 };
    const strata_slice set[] = { strata_str("SETRANGE"), strata_str("k"), strata_str("1048563"), strata_str("x") };
    struct redis_answer answer = { 0 };
    struct redis_request request = {
        .args = set, .arg_count = 4, .timeout_ms = LONG_MS, .done = redis_ask_done, .owner = &answer
    };
    struct redis_server s;
    (void)state;
    redis_server_start(&s, NULL);
    struct redis_link_options options = redis_ask_options(s.port);
    struct redis_link *link = open_link(&options);
    strata__redis_call(link, &request);
    assert_int_equal(answer.integer, READ * READS - AROUND);
    for (int i = 0; i < TIMES; i++) {
        answer = redis_ask(link, 10000, "GET", "k", NULL);
        assert_int_equal(answer.status, STRATA_OK);
        assert_int_equal(answer.size, READ * READS - AROUND);
    }
    strata__redis_close(link);
    redis_server_stop(&s);
}

static void passwords(void **state)
{
    struct redis_server s;
    (void)state;
    redis_server_start(&s, "right");
    struct redis_link_options options = redis_ask_options(s.port);
    refused(&options, "NOAUTH");
    options.password = "mistaken";
    refused(&options, "WRONGPASS");
    options.user = "nobody";
    refused(&options, "WRONGPASS");
    options.user = NULL;
    options.password = "right";
    for (int named = 0; named < 2; named++) {
        options.user = named ? "default" : NULL;
        struct redis_link *link = open_link(&options);
        assert_string_equal(redis_ask(link, LONG_MS, "PING", NULL, NULL).text, "PONG");
        strata__redis_close(link);
    }
    redis_server_stop(&s);
}

/* A server that goes away --------------------------------------------------------------------------------------------- */

struct loader {
    struct redis_link *link;
    struct os_thread thread;
    _Atomic(int) stop, good, bad, wrong;
};

static void load(void *ctx)
{
    struct loader *loader = ctx;
    while (!atomic_load(&loader->stop)) {
        struct redis_answer answer = redis_ask(loader->link, 200, "ECHO", "hello", NULL);
        if (answer.status == STRATA_OK)
            atomic_fetch_add(strcmp(answer.text, "hello") == 0 ? &loader->good : &loader->wrong, 1);
        else
            atomic_fetch_add(
                answer.status == STRATA_EIO || answer.status == STRATA_ETIMEDOUT ? &loader->bad : &loader->wrong, 1);
    }
}

static void until_more(_Atomic(int) *count, int more)
{
    for (int before = atomic_load(count); atomic_load(count) < before + more;)
        (void)usleep(1000);
}

static void start_load(struct loader *loaders, struct redis_link *link)
{
    for (int i = 0; i < THREADS; i++) {
        memset(&loaders[i], 0, sizeof loaders[i]);
        loaders[i].link = link;
        assert_int_equal(strata__os_thread_start(&loaders[i].thread, "load", load, &loaders[i]), 0);
    }
}

static void stop_load(struct loader *loaders)
{
    for (int i = 0; i < THREADS; i++)
        atomic_store(&loaders[i].stop, 1);
    for (int i = 0; i < THREADS; i++) {
        strata__os_thread_join(&loaders[i].thread);
        assert_int_equal(atomic_load(&loaders[i].wrong), 0);
    }
}

static void killed_and_restarted_under_load(void **state)
{
    struct redis_server s;
    struct loader loaders[THREADS];
    struct redis_link_counts counts;
    (void)state;
    redis_server_start(&s, NULL);
    struct redis_link_options options = redis_ask_options(s.port);
    options.connections = 2;
    struct redis_link *link = open_link(&options);
    start_load(loaders, link);
    for (int round = 0; round < 3; round++) {
        until_more(&loaders[0].good, 20);
        redis_server_kill(&s);
        until_more(&loaders[0].bad, 2);
        redis_server_restart(&s);
        until_more(&loaders[THREADS - 1].good, 20);
    }
    stop_load(loaders);
    assert_int_equal(ask_until_good(link, "PING", NULL, NULL).status, STRATA_OK);
    strata__redis_counts(link, &counts);
    assert_true(counts.disconnects >= 3);
    assert_true(counts.connects > counts.disconnects);
    strata__redis_close(link);
    redis_server_stop(&s);
}

/* Timeouts hold while it is stopped, and it is used again when it goes on. */
static void stopped_and_continued(void **state)
{
    struct redis_server s;
    struct loader loaders[THREADS];
    struct redis_link_counts counts;
    (void)state;
    redis_server_start(&s, NULL);
    struct redis_link_options options = redis_ask_options(s.port);
    options.connect_timeout_ms = 300;
    struct redis_link *link = open_link(&options);
    start_load(loaders, link);
    until_more(&loaders[0].good, 20);
    redis_server_pause(&s);
    until_more(&loaders[0].bad, 3);
    until_more(&loaders[THREADS - 1].bad, 3);
    strata__redis_counts(link, &counts);
    assert_true(counts.timeouts > 0);
    redis_server_resume(&s);
    until_more(&loaders[0].good, 20);
    stop_load(loaders);
    strata__redis_close(link);
    redis_server_stop(&s);
}

/* What the server says to a connection too many comes as a reply that nobody asked for, or as the greeting's. */
static void too_many_clients(void **state)
{
    struct redis_server s;
    (void)state;
    redis_server_start(&s, NULL);
    struct redis_link_options options = redis_ask_options(s.port);
    struct redis_link *first = open_link(&options);
    static const char *const one_client[] = { "CONFIG", "SET", "maxclients", "1" };
    struct redis_answer answer = redis_ask_words(first, LONG_MS, one_client, 4);
    assert_string_equal(answer.text, "OK");
    struct redis_link *second = open_link(&options);
    answer = redis_ask(second, LONG_MS, "PING", NULL, NULL);
    assert_int_equal(answer.status, STRATA_EIO);
    if (s.certificate == NULL) /* over TLS it only hangs up */
        assert_non_null(strstr(answer.err.message, "max number of clients"));
    strata__redis_close(first);
    assert_int_equal(ask_until_good(second, "PING", NULL, NULL).status, STRATA_OK);
    strata__redis_close(second);
    redis_server_stop(&s);
}

/* A connection that the server closes while it is idle is made anew before anybody needs it, or for who does. */
static void closed_while_idle(void **state)
{
    struct redis_server s;
    struct redis_link_counts counts;
    (void)state;
    redis_server_start(&s, NULL);
    struct redis_link_options options = redis_ask_options(s.port);
    struct redis_link *link = open_link(&options);
    struct redis_link *other = open_link(&options);
    assert_int_equal(redis_ask(link, LONG_MS, "PING", NULL, NULL).status, STRATA_OK);
    static const char *const kill_others[] = { "CLIENT", "KILL", "TYPE", "normal" };
    assert_int_equal(redis_ask_words(other, LONG_MS, kill_others, 4).integer, 1);
    do {
        (void)usleep(1000);
        strata__redis_counts(link, &counts);
    } while (counts.connects < 2 || counts.connected == 0);
    assert_int_equal(redis_ask(link, LONG_MS, "PING", NULL, NULL).status, STRATA_OK);
    strata__redis_close(link);
    strata__redis_close(other);
    redis_server_stop(&s);
}

static void abandoned_in_a_child(void **state)
{
    struct redis_server s;
    (void)state;
    redis_server_start(&s, NULL);
    struct redis_link_options options = redis_ask_options(s.port);
    struct redis_link *link = open_link(&options);
    assert_int_equal(redis_ask(link, LONG_MS, "PING", NULL, NULL).status, STRATA_OK);
    wait_for_still_threads();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        strata__redis_abandon(link);
#if defined(__SANITIZE_THREAD__) /* which allows a child of many threads no thread */
        _exit(0);
#endif
        struct redis_link *own;
        if (strata__redis_open(&own, &options, NULL) != STRATA_OK)
            _exit(1);
        int good = redis_ask(own, LONG_MS, "PING", NULL, NULL).status == STRATA_OK;
        strata__redis_close(own);
        _exit(good ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(redis_ask(link, LONG_MS, "PING", NULL, NULL).status, STRATA_OK); /* the parent's is as it was */
    struct redis_link_counts counts;
    strata__redis_counts(link, &counts);
    assert_int_equal(counts.connects, 1);
    strata__redis_close(link);
    redis_server_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_reply),
        cmocka_unit_test(ten_thousand_from_eight_threads),
        cmocka_unit_test(callers_share_a_connection),
        cmocka_unit_test(large_values),
        cmocka_unit_test(reply_of_whole_reads),
        cmocka_unit_test(passwords),
        cmocka_unit_test(killed_and_restarted_under_load),
        cmocka_unit_test(stopped_and_continued),
        cmocka_unit_test(too_many_clients),
        cmocka_unit_test(closed_while_idle),
        cmocka_unit_test(abandoned_in_a_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
