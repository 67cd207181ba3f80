/* test_rabbitmq_faults.c - the bus over a real RabbitMQ that is killed, stopped, cut off, and refuses: what was confirmed arrives, every
 * failure has words, and who closes waits for nobody.  One server for all tests; each has an exchange of its own. */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "strata/policy.h"
#include "tests/integration/rabbitmq_fixture.h"
#include "tests/support/delay_proxy.h"
#include "tests/support/fault_nth.h"
#include "tests/support/still_threads.h"

/* Faults --------------------------------------------------------------------------------------------------------------- */

static void what_was_confirmed_survives_a_kill(void **state)
{
    enum { MANY = 2000 };
    static struct out out[MANY];
    int good = 0;
    (void)state;
    strata_rabbitmq_options o = options_of("killed");
    o.durable = STRATA_ON;
    struct node *a = open_up(&o, "a"), *b = open_up(&o, "b");
    for (int i = 0; i < MANY; i++) {
        node_send(a, &out[i], "%d", i);
        if (i == MANY / 2)
            (void)node_settled(&out[MANY / 4]);
    }
    rabbitmq_server_kill(&server);
    until(a, a->downs > 0);
    rabbitmq_server_restart(&server);
    until(a, a->ups == 2);
    until(b, b->ups == 2);
    node_send_in_the_end(a, "last");
    until(a, node_has(a, "last"));
    until(b, node_has(b, "last"));
    for (int i = 0; i < MANY; i++) {
        if (node_settled(&out[i]) != STRATA_OK)
            continue;
        good++;
        assert_true(node_has(a, out[i].text));
        assert_true(node_has(b, out[i].text));
    }
    assert_true(good > 0);
    assert_int_equal(a->lost + b->lost, 0); /* the queues were there */
    node_close(a);
    node_close(b);
    assert_true(rabbitmq_admin_delete_queue(&server, "killed.a"));
    assert_true(rabbitmq_admin_delete_queue(&server, "killed.b"));
}

static void a_server_that_stops_and_goes_on_loses_nothing(void **state)
{
    struct out late, early;
    (void)state;
    strata_rabbitmq_options o = options_of("paused");
    o.timeout_ms = 200;
    struct node *n = open_up(&o, NULL);
    node_send_in_the_end(n, "before");
    rabbitmq_server_pause(&server);
    node_send(n, &early, "early", 0);
    assert_int_equal(node_settled(&early), STRATA_ETIMEDOUT);
    assert_non_null(strstr(early.err.message, "timeout_ms"));
    (void)nanosleep(&(struct timespec){ 2, 0 }, NULL); /* what is tested is a server that is away for so long */
    node_send(n, &late, "late", 0);
    rabbitmq_server_resume(&server);
    (void)node_settled(&late);
    node_send_in_the_end(n, "after");
    until(n, node_has(n, "early") && node_has(n, "late") && node_has(n, "after"));
    assert_int_equal(n->ups, 1);
    assert_int_equal(n->downs, 0);
    node_close(n);
}

static void silence_ends_a_connection(void **state)
{
    (void)state;
    struct delay_proxy *proxy = delay_proxy_start(server.port);
    strata_rabbitmq_options o = options_at(delay_proxy_port(proxy), "silent");
    o.heartbeat_ms = 1000;
    o.connect_timeout_ms = 1000;
    struct node *n = open_up(&o, NULL);
    node_send_well(n, "before");
    delay_proxy_stall(proxy, 1);
    until(n, n->downs > 1); /* the connection, and a new one that gets no answer */
    delay_proxy_stall(proxy, 0);
    until(n, n->ups == 2);
    node_send_in_the_end(n, "after");
    node_close(n);
    delay_proxy_stop(proxy);
}

static void a_connection_that_is_cut_is_made_again(void **state)
{
    enum { ROUNDS = 8, EACH = 50 };
    static struct out out[EACH];
    (void)state;
    struct delay_proxy *proxy = delay_proxy_start(server.port);
    strata_rabbitmq_options direct = options_of("cut"), o = options_at(delay_proxy_port(proxy), "cut");
    direct = options_of("cut");
    struct node *watcher = open_up(&direct, NULL);
    o = options_at(delay_proxy_port(proxy), "cut");
    struct node *n = open_up(&o, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        if (round % 2 == 0)
            delay_proxy_cut_at(proxy, 40 * round);
        for (int k = 0; k < EACH; k++)
            node_send(n, &out[k], "%d", round * EACH + k);
        if (round % 2 == 1)
            delay_proxy_cut_all(proxy);
        for (int k = 0; k < EACH; k++) {
            if (node_settled(&out[k]) == STRATA_OK)
                until(watcher, node_has(watcher, out[k].text));
            else
                assert_true(out[k].err.message[0] != '\0');
        }
        node_send_in_the_end(n, "between");
    }
    assert_true(n->downs >= ROUNDS / 2);
    assert_int_equal(watcher->downs, 0);
    node_close(n);
    node_close(watcher);
    delay_proxy_stop(proxy);
}

/* It is another attempt, or words. */
static void each_system_call_may_fail(void **state)
{
    static const struct {
        const char *call;
        int os_errno;
    } calls[] = { { "eventfd", EMFILE },      { "pthread_create", EAGAIN },
                  { "getaddrinfo", EAGAIN },  { "socket", EMFILE },
                  { "connect", ENETUNREACH }, { "getsockopt", EIO },
                  { "fcntl", EMFILE },        { "poll", EINTR } };
    (void)state;
    strata_rabbitmq_options o = options_of("faults");
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        for (int nth = 1; nth <= 2; nth++) {
            struct fault_nth fault;
            strata_error err = STRATA_ERROR_INIT;
            struct node *n = node_make(strata_rabbitmq_bus(&o));
            fault_nth_set(&fault, calls[i].call, nth, calls[i].os_errno);
            int rc = node_start(n, NULL, &err);
            if (rc == STRATA_OK) {
                until(n, n->ups == 1);
                node_send_in_the_end(n, "through");
                until(n, node_has(n, "through"));
            } else {
                assert_true(rc == STRATA_EIO || rc == STRATA_ENOMEM);
                assert_true(err.message[0] != '\0');
            }
            fault_nth_clear();
            node_close(n);
        }
}

/* A queue of a stranger's that is full: the server says no, and the connection stays. */
static void what_the_server_refuses_has_failed(void **state)
{
    struct out out;
    (void)state;
    strata_rabbitmq_options o = options_of("full");
    struct node *n = open_up(&o, NULL);
    node_send_well(n, "before");
    assert_true(rabbitmq_admin_bind_full_queue(&server, "full-queue", "full"));
    do
        node_send(n, &out, "no", 0);
    while (node_settled(&out) == STRATA_OK);
    assert_int_equal(out.message.status, STRATA_EIO);
    assert_non_null(strstr(out.err.message, "refused"));
    assert_true(rabbitmq_admin_delete_queue(&server, "full-queue"));
    node_send_in_the_end(n, "after");
    assert_int_equal(n->downs, 0);
    node_close(n);
}

static void a_server_without_memory_is_waited_for(void **state)
{
    struct out out;
    (void)state;
    strata_rabbitmq_options o = options_of("alarm");
    o.timeout_ms = 500;
    struct node *n = open_up(&o, NULL);
    rabbitmq_server_alarm(&server, 1);
    do /* what comes with the first one is the server's word that it is blocked */
        node_send(n, &out, "waits", 0);
    while (node_settled(&out) != STRATA_ETIMEDOUT || strstr(out.err.message, "takes no messages now") == NULL);
    rabbitmq_server_alarm(&server, 0);
    node_send_in_the_end(n, "after");
    until(n, node_has(n, "waits") && node_has(n, "after"));
    assert_int_equal(n->downs, 0);
    node_close(n);
}

/* Refusals ------------------------------------------------------------------------------------------------------------- */

static void refused(const char *format, const char *exchange, const char *words)
{
    char url[128];
    strata_rabbitmq_options o = options_of(exchange);
    struct out out;
    (void)snprintf(url, sizeof url, format, (unsigned)server.port);
    o.url = url;
    struct node *n = open_node(&o, NULL);
    until(n, n->downs > 0);
    if (strstr(n->why.message, words) == NULL || strstr(n->why.message, "hunter2") != NULL)
        fail_msg("not \"%s\": %s", words, n->why.message);
    do
        node_send(n, &out, "no", 0);
    while (node_settled(&out) == STRATA_OK);
    assert_null(strstr(out.err.message, "hunter2"));
    assert_int_equal(n->ups, 0);
    node_close(n);
}

static void refusals_have_words(void **state)
{
    (void)state;
    refused("amqp://guest:hunter2@127.0.0.1:%u", "words", "check user and password");
    refused("amqp://guest:guest@127.0.0.1:%u/hunter", "words", "check the vhost");
    assert_true(rabbitmq_admin_declare_exchange(&server, "other-type", "topic"));
    refused("amqp://guest:guest@127.0.0.1:%u", "other-type", "name another exchange, or");
}

static void nobody_is_there(void **state)
{
    strata_error words;
    struct out out;
    (void)state;
    strata_rabbitmq_options o = options_at(1, "nobody"); /* nobody listens on that port */
    struct node *n = open_node(&o, NULL);
    until(n, n->downs > 0);
    node_send(n, &out, "no", 0);
    assert_int_equal(node_settled(&out), STRATA_EIO);
    words = out.err;
    assert_non_null(strstr(words.message, "is a RabbitMQ running there?"));
    node_close(n);
    o.url = "amqp://guest:guest@no-such-host.invalid";
    n = open_node(&o, NULL);
    until(n, n->downs > 0);
    assert_non_null(strstr(n->why.message, "check the host in url"));
    node_close(n);
}

/* With a minute to connect and to confirm, close does not wait for either. */
static void close_waits_for_nobody(void **state)
{
    struct out out;
    (void)state;
    strata_rabbitmq_options o = options_of("closed");
    struct node *n = open_up(&o, NULL);
    rabbitmq_server_pause(&server);
    node_send(n, &out, "out", 0);
    node_stop(n, 50);
    assert_int_equal(node_settled(&out), STRATA_ECLOSED);
    node_close(n);
    n = open_node(&o, NULL); /* in the middle of the greeting */
    node_send(n, &out, "waits", 0);
    node_stop(n, 50);
    assert_int_equal(node_settled(&out), STRATA_ECLOSED);
    rabbitmq_server_resume(&server);
    node_close(n);
}

static void stop_flushes(void **state)
{
    enum { MANY = 500 };
    static struct out out[MANY];
    (void)state;
    strata_rabbitmq_options o = options_of("flushed");
    struct node *n = open_node(&o, NULL); /* not yet connected */
    for (int i = 0; i < MANY; i++)
        node_send(n, &out[i], "%d", i);
    node_stop(n, NODE_MINUTE_MS);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(node_settled(&out[i]), STRATA_OK);
    node_send(n, &out[0], "late", 0);
    assert_int_equal(node_settled(&out[0]), STRATA_ECLOSED);
    node_close(n);
}

static void a_child_begins_anew(void **state)
{
    strata_error err = STRATA_ERROR_INIT;
    int status;
    (void)state;
#if defined(__SANITIZE_THREAD__) /* which allows a child of many threads no thread */
    skip();
#endif
    strata_rabbitmq_options o = options_of("forked");
    struct node *n = open_up(&o, NULL);
    node_send_well(n, "before");
    until(n, n->count == 1);
    wait_for_still_threads();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int good = n->bus->ops->reopen(n->bus, &err) == STRATA_OK && node_start(n, NULL, &err) == STRATA_OK;
        if (good) {
            until(n, n->ups == 2);
            node_send_well(n, "child");
            until(n, node_has(n, "child"));
            node_close(n);
        }
        _exit(good ? 0 : 1);
    }
    until(n, node_has(n, "child"));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    node_send_well(n, "parent"); /* its connection was left alone */
    until(n, node_has(n, "parent"));
    assert_int_equal(n->downs, 0);
    node_close(n);
}

static int start_server(void **state)
{
    (void)state;
    rabbitmq_server_start(&server, NULL);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    rabbitmq_server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_was_confirmed_survives_a_kill, go_on),
        cmocka_unit_test_teardown(a_server_that_stops_and_goes_on_loses_nothing, go_on),
        cmocka_unit_test_teardown(silence_ends_a_connection, go_on),
        cmocka_unit_test_teardown(a_connection_that_is_cut_is_made_again, go_on),
        cmocka_unit_test_teardown(each_system_call_may_fail, go_on),
        cmocka_unit_test_teardown(what_the_server_refuses_has_failed, go_on),
        cmocka_unit_test_teardown(a_server_without_memory_is_waited_for, go_on),
        cmocka_unit_test_teardown(refusals_have_words, go_on),
        cmocka_unit_test_teardown(nobody_is_there, go_on),
        cmocka_unit_test_teardown(close_waits_for_nobody, go_on),
        cmocka_unit_test_teardown(stop_flushes, go_on),
        cmocka_unit_test_teardown(a_child_begins_anew, go_on),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
