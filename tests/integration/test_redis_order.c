/* test_redis_order.c - what was on its way on a connection that was given up is never carried out behind what was asked on the
 * next one: on a real server that was stopped meanwhile, and with one that never says that it is through. */
#include "tests/support/cmocka_all.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/os/os_futex.h"
#include "tests/support/fake_server.h"
#include "tests/support/redis_do.h"

/* Many small commands: the server needs a good many rounds for them, and looks at its other connections in between. */
enum { WRITES = 4000, SHORT_MS = 40 };

struct writes {
    struct redis_request requests[WRITES], *list[WRITES];
    strata_slice args[WRITES][3];
    char fillers[WRITES][24];
    int done; /* by the link's thread */
    _Atomic(uint32_t) all;
};

static void written(struct redis_request *request)
{
    struct writes *w = request->owner;
    if (++w->done == WRITES)
        strata__os_unpark(&w->all);
}

/* All of them time out; the last one is the key's. */
static void write_in_vain(struct redis_link *link, struct writes *w, const char *key)
{
    for (int i = 0; i < WRITES; i++) {
        (void)snprintf(w->fillers[i], sizeof w->fillers[i], "filler:%d", i);
        w->args[i][0] = strata_str("SET");
        w->args[i][1] = strata_str(i == WRITES - 1 ? key : w->fillers[i]);
        w->args[i][2] = strata_str("old");
        w->requests[i] = (struct redis_request){
            .args = w->args[i], .arg_count = 3, .timeout_ms = SHORT_MS, .done = written, .owner = w
        };
        w->list[i] = &w->requests[i];
    }
    strata__redis_submit(link, w->list, WRITES);
    (void)strata__os_park(&w->all, INT64_MAX);
}

static uint64_t losses(struct redis_link *link)
{
    struct redis_link_counts counts;
    strata__redis_counts(link, &counts);
    return counts.disconnects;
}

/* What times out before it was sent loses no connection: on a busy machine connecting alone may take longer. */
static void wait_until_connected(struct redis_link *link)
{
    struct redis_link_counts counts;
    do
        strata__redis_counts(link, &counts);
    while (counts.connects == 0);
}

/* Until the server has no connection but ours and this one. */
static void wait_for_the_last_one(struct redis_link *other)
{
    while (strstr(redis_do(other, "INFO", "clients").text, "connected_clients:2\r") == NULL) {}
}

static void remove_comes_after(int by_path)
{
    struct redis_server s;
    struct redis_link *link = NULL;
    struct writes *w = calloc(1, sizeof *w);
    assert_non_null(w);
    redis_server_start(&s, NULL);
    struct redis_link *other = redis_do_open(&s);
    struct redis_link_options options = redis_ask_options(s.port);
    options.socket_path = by_path ? s.socket_path : NULL;
    assert_int_equal(strata__redis_open(&link, &options, NULL), STRATA_OK);
    assert_int_equal(redis_ask(link, 20000, "SET", "key", "older").status, STRATA_OK);
    redis_server_pause(&s);
    write_in_vain(link, w, "key");
    while (losses(link) == 0) {}
    redis_server_resume(&s);
    struct redis_answer answer;
    do
        answer = redis_ask(link, 20000, "UNLINK", "key", NULL);
    while (answer.status == STRATA_EIO);
    assert_int_equal(answer.status, STRATA_OK);
    wait_for_the_last_one(other);
    assert_int_equal(redis_do(other, "EXISTS", "key").integer, 0);
    strata__redis_close(link);
    strata__redis_close(other);
    redis_server_stop(&s);
    free(w);
}

static void a_remove_overtakes_no_write_of_a_lost_connection(void **state)
{
    (void)state;
    remove_comes_after(0);
    remove_comes_after(1);
}

/* The network delays what came on the first connection until the second one is in use, or for a while. */
struct delayed {
    int first_fd;
    const char *after; /* "close": it is closed then; "never": it stays open */
    char carried_out[128];
};

static void carry_out(struct delayed *d, int fd)
{
    char name[32], key[32];
    while (fake_read_command(fd, name, key)) {
        size_t used = strlen(d->carried_out);
        (void)snprintf(d->carried_out + used, sizeof d->carried_out - used, "%s ", name);
        if (!fake_send(fd, "+OK\r\n"))
            return;
    }
}

static void serve_delayed(struct fake_server *f, int fd, int nth)
{
    enum { WHILE_MS = 300 };
    struct delayed *d = f->ctx;
    struct pollfd came = { .fd = fd, .events = POLLIN };
    if (!fake_greet(fd))
        return;
    if (nth == 0) {
        (void)poll(&came, 1, -1);
        d->first_fd = dup(fd);
        return;
    }
    /* What came first is carried out late, but before what comes here only where that waits for it. */
    int overtaken = poll(&came, 1, WHILE_MS) > 0;
    if (!overtaken && strcmp(d->after, "close") == 0)
        carry_out(d, d->first_fd);
    if (strcmp(d->after, "close") == 0 && !overtaken)
        (void)close(d->first_fd);
    carry_out(d, fd);
    if (overtaken)
        carry_out(d, d->first_fd);
}

static void run_delayed(struct delayed *d, int64_t connect_timeout_ms)
{
    struct fake_server f;
    struct redis_link *link = NULL;
    fake_server_start(&f, serve_delayed, d);
    struct redis_link_options options = redis_ask_options(f.port);
    options.connect_timeout_ms = connect_timeout_ms;
    assert_int_equal(strata__redis_open(&link, &options, NULL), STRATA_OK);
    wait_until_connected(link);
    assert_int_equal(redis_ask(link, SHORT_MS, "SET", "key", "old").status, STRATA_ETIMEDOUT);
    while (losses(link) == 0) {}
    struct redis_answer answer;
    do
        answer = redis_ask(link, 20000, "UNLINK", "key", NULL);
    while (answer.status == STRATA_EIO);
    assert_int_equal(answer.status, STRATA_OK);
    strata__redis_close(link);
    fake_server_stop(&f);
}

static void a_remove_waits_for_what_the_network_delays(void **state)
{
    struct delayed d = { .after = "close" };
    (void)state;
    run_delayed(&d, 20000);
    assert_string_equal(d.carried_out, "SET UNLINK ");
}

/* It is not waited for without an end. */
static void a_connection_that_nobody_closes(void **state)
{
    struct delayed d = { .after = "never" };
    (void)state;
    run_delayed(&d, 20);
    assert_non_null(strstr(d.carried_out, "UNLINK "));
    (void)close(d.first_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_remove_overtakes_no_write_of_a_lost_connection),
        cmocka_unit_test(a_remove_waits_for_what_the_network_delays),
        cmocka_unit_test(a_connection_that_nobody_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
