/* test_redis_sentinel.c - the master that Sentinels name: found, followed, and believed only where it says so itself.  Real servers,
 * with Sentinels that are real, or that say what the test wants. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "strata/strata.h"
#include "tests/support/fake_server.h"
#include "tests/support/failover_load.h"
#include "tests/support/open_alone.h"
#include "tests/support/redis_do.h"

enum { SENTINELS = 3, LOOKS = 6000 };

static void nap(void) { (void)poll(NULL, 0, 10); }

/* Sentinels that are not real ------------------------------------------------------------------------------------------ */

struct says {
    struct fake_server fake;
    _Atomic(uint32_t) port; /* of the master; 0: it knows none; above 65535: it breaks off in the middle */
};

static void serve_sentinel(struct fake_server *f, int fd, int nth)
{
    struct says *says = f->ctx;
    char name[32], key[32], answer[96];
    (void)nth;
    while (fake_read_command(fd, name, key)) {
        uint32_t port = atomic_load(&says->port);
        if (strcmp(name, "PING") == 0)
            (void)snprintf(answer, sizeof answer, "+PONG\r\n");
        else if (strcmp(name, "SENTINEL") != 0 || strcmp(key, "get-master-addr-by-name") != 0)
            (void)snprintf(answer, sizeof answer, "-ERR what?\r\n");
        else if (port == 0)
            (void)snprintf(answer, sizeof answer, "*-1\r\n");
        else if (port > UINT16_MAX)
            (void)snprintf(answer, sizeof answer, "*2\r\n$9\r\n127.0");
        else
            (void)snprintf(answer, sizeof answer, "*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%u\r\n", port > 9999 ? 5 : 4, port);
        if (!fake_send(fd, answer) || (port > UINT16_MAX && name[0] == 'S'))
            return;
    }
}

static void say(struct says *says, uint32_t port)
{
    atomic_init(&says->port, port);
    fake_server_start(&says->fake, serve_sentinel, says);
}

static struct redis_link *open_by(struct says *const *says, size_t count, const struct redis_link_options *given)
{
    struct redis_host hosts[SENTINELS];
    struct redis_link_options options = given != NULL ? *given : redis_ask_options(0);
    struct redis_link *link = NULL;
    for (size_t i = 0; i < count; i++)
        hosts[i] = (struct redis_host){ "127.0.0.1", says[i]->fake.port };
    options.topology = REDIS_SENTINEL;
    options.host = NULL;
    options.hosts = hosts;
    options.host_count = count;
    options.master_name = "main";
    assert_int_equal(strata__redis_open(&link, &options, NULL), STRATA_OK);
    return link;
}

/* Which server answers; 0: none does now. */
static unsigned who(struct redis_link *link)
{
    struct redis_answer answer = redis_do(link, "INFO", "server");
    const char *at = answer.status == STRATA_OK ? strstr(answer.text, "tcp_port:") : NULL;
    return at != NULL ? (unsigned)strtoul(at + 9, NULL, 10) : 0;
}

static void wait_for(struct redis_link *link, unsigned port)
{
    for (int i = 0; who(link) != port; i++) {
        if (i == LOOKS)
            fail_msg("it is %u that answers, not %u", who(link), port);
        nap();
    }
}

static struct redis_server a, b;

static int start_two(void **state)
{
    (void)state;
    redis_server_start(&a, NULL);
    redis_server_start(&b, NULL);
    return 0;
}

static int stop_two(void **state)
{
    (void)state;
    redis_server_stop(&a);
    redis_server_stop(&b);
    return 0;
}

/* Nothing breaks, and nobody tells us: they are asked again. */
static void another_master_is_noticed(void **state)
{
    (void)state;
    struct says says;
    say(&says, a.port);
    struct redis_link *link = open_by((struct says *[]){ &says }, 1, NULL);
    assert_int_equal(who(link), a.port);
    atomic_store(&says.port, b.port);
    wait_for(link, b.port);
    strata__redis_close(link);
    fake_server_stop(&says.fake);
}

/* The first Sentinel has slept; the second knows. */
static void a_replica_is_not_taken_for_the_master(void **state)
{
    (void)state;
    struct says old, new;
    char port[8];
    say(&old, a.port);
    say(&new, b.port);
    (void)snprintf(port, sizeof port, "%u", (unsigned)b.port);
    struct redis_link *to_a = redis_do_open(&a);
    assert_int_equal(redis_do(to_a, "REPLICAOF", "127.0.0.1", port).status, STRATA_OK);
    struct redis_link *link = open_by((struct says *[]){ &old, &new }, 2, NULL);
    wait_for(link, b.port);
    strata__redis_close(link);
    /* Alone, the first one's word is not enough, and the error says so. */
    link = open_by((struct says *[]){ &old }, 1, NULL);
    struct redis_answer answer = redis_do(link, "PING");
    assert_int_equal(answer.status, STRATA_EIO);
    assert_non_null(strstr(answer.err.message, "is no master"));
    (void)snprintf(port, sizeof port, ":%u", (unsigned)a.port);
    assert_non_null(strstr(answer.err.message, port));
    assert_int_equal(redis_do(to_a, "REPLICAOF", "NO", "ONE").status, STRATA_OK);
    wait_for(link, a.port); /* it is one now */
    strata__redis_close(link);
    strata__redis_close(to_a);
    fake_server_stop(&old.fake);
    fake_server_stop(&new.fake);
}

/* A master that is told by hand to be a replica keeps its connections. */
static void a_demoted_master_is_left(void **state)
{
    (void)state;
    struct says says;
    char port[8];
    say(&says, a.port);
    (void)snprintf(port, sizeof port, "%u", (unsigned)b.port);
    struct redis_link *link = open_by((struct says *[]){ &says }, 1, NULL), *to_a = redis_do_open(&a);
    assert_int_equal(redis_do(link, "SET", "k", "v").kind, REDIS_IS_STATUS);
    assert_int_equal(redis_do(to_a, "REPLICAOF", "127.0.0.1", port).status, STRATA_OK);
    atomic_store(&says.port, b.port);
    struct redis_answer answer;
    for (int i = 0; (answer = redis_do(link, "SET", "k", "v")).status != STRATA_OK || answer.kind != REDIS_IS_STATUS;
         i++) {
        if (i == LOOKS)
            fail_msg("%s", answer.status == STRATA_OK ? answer.text : answer.err.message);
        if (answer.status == STRATA_OK)
            assert_non_null(strstr(answer.text, "READONLY"));
        nap();
    }
    assert_int_equal(who(link), b.port);
    strata__redis_close(link);
    strata__redis_close(to_a);
    fake_server_stop(&says.fake);
}

static void sentinels_that_do_not_know(void **state)
{
    (void)state;
    struct says none, cut, good;
    say(&none, 0);
    say(&cut, UINT16_MAX + 1);
    say(&good, b.port);
    struct redis_link *link = open_by((struct says *[]){ &none, &cut, &good }, 3, NULL);
    wait_for(link, b.port);
    strata__redis_close(link);
    link = open_by((struct says *[]){ &none }, 1, NULL);
    struct redis_answer answer = redis_do(link, "PING");
    assert_int_equal(answer.status, STRATA_EIO);
    if (strstr(answer.err.message, "knows no master \"main\"") == NULL)
        fail_msg("%s", answer.err.message);
    strata__redis_close(link);
    link = open_by((struct says *[]){ &cut }, 1, NULL);
    answer = redis_do(link, "PING");
    assert_int_equal(answer.status, STRATA_EIO);
    assert_non_null(strstr(answer.err.message, "no Sentinel says where it is: 127.0.0.1:")); /* whom it asked */
    strata__redis_close(link);
    fake_server_stop(&none.fake);
    fake_server_stop(&cut.fake);
    fake_server_stop(&good.fake);
}

/* While one is asked that says nothing, closing does not wait for it. */
static void serve_nothing(struct fake_server *f, int fd, int nth)
{
    (void)f;
    (void)nth;
    fake_ignore(fd);
}

static void closing_waits_for_no_sentinel(void **state)
{
    (void)state;
    struct says silent;
    fake_server_start(&silent.fake, serve_nothing, &silent);
    struct redis_link_options options = redis_ask_options(0);
    options.connect_timeout_ms = 3600000;
    struct redis_link *link = open_by((struct says *[]){ &silent }, 1, &options);
    struct redis_answer answer = redis_ask(link, 30, "PING", NULL, NULL);
    assert_int_equal(answer.status, STRATA_ETIMEDOUT);
    strata__redis_close(link);
    fake_server_stop(&silent.fake);
}

/* The parent's links, and the thread that asks, are not the child's. */
static void reopen_in_a_child(strata *cache)
{
    int status = -1;
    assert_int_equal(strata_set(cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
    pid_t child = fork();
    if (child == 0) {
        strata_value *v = NULL;
        int failed = strata_reopen(cache, NULL) != STRATA_OK ||
                     strata_get(cache, strata_str("k"), &v, NULL) != STRATA_OK ||
                     strata_set(cache, strata_str("new"), strata_str("w"), NULL, NULL) != STRATA_OK;
        strata_value_unref(v);
        strata_close(cache);
        _exit(failed);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    strata_value *v = NULL;
    assert_int_equal(strata_get(cache, strata_str("new"), &v, NULL), STRATA_OK);
    strata_value_unref(v);
}

/* A Sentinel of ours talks to one at a time: the child finds the parent at one of them, and goes to the other. */
static void after_fork(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__) /* which allows a child of many threads no thread */
    skip();
#endif
    struct says says, other;
    char url[256];
    strata *cache = NULL;
    say(&says, a.port);
    say(&other, a.port);
    (void)snprintf(url, sizeof url,
                   "redis+sentinel://127.0.0.1:%u,127.0.0.1:%u/main?prefix=f:&soft_timeout_ms=20s&timeout_ms=20s"
                   "&connect_timeout_ms=500ms",
                   (unsigned)says.fake.port, (unsigned)other.fake.port);
    assert_int_equal(open_url_alone(&cache, url, NULL, NULL), STRATA_OK);
    reopen_in_a_child(cache);
    strata_close(cache);
    fake_server_stop(&says.fake);
    fake_server_stop(&other.fake);
}

/* Real ones ------------------------------------------------------------------------------------------------------------ */

#define PASSWORD "pass word"

static void wait_for_sentinel(const struct redis_server *sentinel)
{
    struct redis_link *link = redis_do_open(sentinel);
    for (int i = 0;; i++) {
        struct redis_answer answer = redis_do(link, "INFO", "sentinel");
        if (strstr(answer.text, "status=ok") != NULL && strstr(answer.text, "slaves=1,sentinels=3") != NULL)
            break;
        if (i == LOOKS)
            fail_msg("%s", answer.text);
        nap();
    }
    strata__redis_close(link);
}

static void a_failover_under_load(void **state)
{
    (void)state;
    struct redis_server master, replica, sentinels[SENTINELS];
    char port[8], url[512];
    redis_server_start(&master, PASSWORD);
    redis_server_start(&replica, PASSWORD);
    (void)snprintf(port, sizeof port, "%u", (unsigned)master.port);
    struct redis_link *to_replica = redis_do_open(&replica);
    assert_int_equal(redis_do(to_replica, "REPLICAOF", "127.0.0.1", port).status, STRATA_OK);
    while (strstr(redis_do(to_replica, "INFO", "replication").text, "master_link_status:up") == NULL)
        nap();
    for (int i = 0; i < SENTINELS; i++)
        redis_server_start_sentinel(&sentinels[i], master.port, PASSWORD);
    for (int i = 0; i < SENTINELS; i++)
        wait_for_sentinel(&sentinels[i]);
    (void)snprintf(url, sizeof url,
                   "redis+sentinel://:pass%%20word@127.0.0.1:1,127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u/main/2?prefix=f:"
                   "&sentinel_password=pass%%20word&breaker_open_ms=100ms" FAILOVER_TIMEOUTS,
                   (unsigned)sentinels[0].port, (unsigned)sentinels[1].port, (unsigned)sentinels[2].port);
    struct failover_load *load = failover_load_start(url);
    failover_load_expect_work(load);
    failover_load_begin_change(load);
    redis_server_kill(&master);
    for (int i = 0; strstr(redis_do(to_replica, "INFO", "replication").text, "role:master") == NULL; i++) {
        if (i == LOOKS)
            fail_msg("the Sentinels have promoted nobody");
        nap();
    }
    failover_load_end_change(load);
    /* The old one is back, and thinks that it is the master: nobody asks it. */
    redis_server_restart(&master);
    failover_load_expect_work(load);
    failover_load_stop(load);
    strata *cache = NULL;
    assert_int_equal(open_url_alone(&cache, url, NULL, NULL), STRATA_OK);
    assert_int_equal(strata_set(cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
    strata_close(cache);
    assert_non_null(strstr(redis_do(to_replica, "INFO", "keyspace").text, "db2:keys="));
    strata__redis_close(to_replica);
    for (int i = 0; i < SENTINELS; i++)
        redis_server_stop(&sentinels[i]);
    redis_server_stop(&replica);
    redis_server_stop(&master);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(another_master_is_noticed, start_two, stop_two),
        cmocka_unit_test_setup_teardown(a_replica_is_not_taken_for_the_master, start_two, stop_two),
        cmocka_unit_test_setup_teardown(a_demoted_master_is_left, start_two, stop_two),
        cmocka_unit_test_setup_teardown(sentinels_that_do_not_know, start_two, stop_two),
        cmocka_unit_test(closing_waits_for_no_sentinel),
        cmocka_unit_test_setup_teardown(after_fork, start_two, stop_two),
        cmocka_unit_test(a_failover_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
