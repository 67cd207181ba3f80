/* test_redis_bus_failover.c - buses over Redis while another server takes over: what the new one has goes on without a word, and what it
 * has not is told as lost. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "strata/bus_redis.h"
#include "tests/support/bus_member.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/redis_do.h"
#include "tests/support/redis_nodes.h"

enum { SENTINELS = 3, LOOKS = 6000 };

static void nap(void) { (void)poll(NULL, 0, 10); }

static strata_bus *bus_at(strata_bus *(*make)(const strata_redis_bus_options *), const char *url)
{
    strata_redis_bus_options options = STRATA_REDIS_BUS_OPTIONS_INIT;
    options.url = url;
    options.prefix = "f:";
    options.timeout_ms = options.connect_timeout_ms = 5000;
    return make(&options);
}

/* Sentinels ------------------------------------------------------------------------------------------------------------- */

struct watched {
    struct redis_server master, replica, sentinels[SENTINELS];
    struct redis_link *to_master, *to_replica;
    char url[160];
};

/* It sees the master, and knows the replica and the others. */
static void wait_for_sentinel(const struct redis_server *s)
{
    struct redis_link *link = redis_do_open(s);
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

static void start_watched(struct watched *w)
{
    char port[8];
    redis_server_start(&w->master, NULL);
    redis_server_start(&w->replica, NULL);
    w->to_master = redis_do_open(&w->master);
    w->to_replica = redis_do_open(&w->replica);
    (void)snprintf(port, sizeof port, "%u", (unsigned)w->master.port);
    assert_int_equal(redis_do(w->to_replica, "REPLICAOF", "127.0.0.1", port).status, STRATA_OK);
    while (strstr(redis_do(w->to_replica, "INFO", "replication").text, "master_link_status:up") == NULL)
        nap();
    for (int i = 0; i < SENTINELS; i++)
        redis_server_start_sentinel(&w->sentinels[i], w->master.port, NULL);
    for (int i = 0; i < SENTINELS; i++)
        wait_for_sentinel(&w->sentinels[i]);
    (void)snprintf(w->url, sizeof w->url, "redis+sentinel://127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u/main",
                   (unsigned)w->sentinels[0].port, (unsigned)w->sentinels[1].port, (unsigned)w->sentinels[2].port);
}

static void stop_watched(struct watched *w)
{
    strata__redis_close(w->to_master);
    strata__redis_close(w->to_replica);
    for (int i = 0; i < SENTINELS; i++)
        redis_server_stop(&w->sentinels[i]);
    redis_server_stop(&w->replica);
    redis_server_stop(&w->master);
}

static void wait_for_promotion(struct watched *w)
{
    for (int i = 0; strstr(redis_do(w->to_replica, "INFO", "replication").text, "role:master") == NULL; i++) {
        if (i == LOOKS)
            fail_msg("the Sentinels have promoted nobody");
        nap();
    }
}

static void start_up(struct bus_member *n, strata_bus *bus)
{
    bus_member_start(n, bus);
    bus_member_wait_up(n, 1);
}

/* The replica has heard of it all, or was stopped before the last message. */
static void a_stream_fails_over(int loses)
{
    struct watched w;
    struct bus_member reader, writer;
    start_watched(&w);
    start_up(&reader, bus_at(strata_redis_stream_bus, w.url));
    start_up(&writer, bus_at(strata_redis_stream_bus, w.url));
    bus_member_say_taken(&writer, "before");
    bus_member_wait_text(&reader, "before");
    assert_int_equal(redis_do(w.to_master, "WAIT", "1", "0").integer, 1);
    if (loses) {
        redis_server_pause(&w.replica); /* and what is sent to it would wait in its socket: */
        assert_int_equal(redis_do(w.to_master, "CLIENT", "KILL", "TYPE", "replica").integer, 1);
        bus_member_say_taken(&writer, "the replica never hears of it");
        bus_member_wait_text(&reader, "the replica never hears of it");
    }
    redis_server_kill(&w.master);
    if (loses)
        redis_server_resume(&w.replica);
    wait_for_promotion(&w);
    bus_member_wait_up(&reader, 2);
    if (loses)
        bus_member_wait_lost(&reader, 1);
    bus_member_wait_echo(&reader, "after");
    bus_member_wait_echo(&writer, "of the writer, too");
    bus_member_wait_text(&reader, "of the writer, too");
    assert_int_equal(reader.losts, loses);
    bus_member_stop(&reader);
    bus_member_stop(&writer);
    stop_watched(&w);
}

static void a_whole_stream_fails_over(void **state)
{
    (void)state;
    a_stream_fails_over(0);
}

static void a_stream_loses_its_end(void **state)
{
    (void)state;
    a_stream_fails_over(1);
}

/* A Cluster --------------------------------------------------------------------------------------------------------------- */

static size_t owner_of_the_bus(struct redis_nodes *nodes)
{
    static const char key[] = "f:\0\377bus";
    const strata_slice words[] = { strata_str("CLUSTER"), strata_str("KEYSLOT"), strata_bytes(key, sizeof key - 1) };
    struct redis_answer answer = { 0 };
    struct redis_request request = {
        .args = words, .arg_count = 3, .timeout_ms = 60000, .done = redis_ask_done, .owner = &answer
    };
    strata__redis_call(nodes->links[0], &request);
    return (size_t)(answer.integer < 5461    ? 0
                    : answer.integer < 10923 ? 1
                                             : 2); /* as redis_nodes_cluster() deals them out */
}

static void a_primary_dies(strata_bus *(*make)(const strata_redis_bus_options *))
{
    struct redis_nodes nodes;
    struct bus_member reader, writer;
    char url[64];
    redis_nodes_cluster(&nodes, 1);
    size_t owner = owner_of_the_bus(&nodes);
    (void)snprintf(url, sizeof url, "redis+cluster://127.0.0.1:%u,127.0.0.1:%u", (unsigned)nodes.servers[0].port,
                   (unsigned)nodes.servers[1].port);
    start_up(&reader, bus_at(make, url));
    start_up(&writer, bus_at(make, url));
    bus_member_wait_echo(&writer, "before");
    bus_member_wait_text(&reader, "before");
    redis_nodes_kill(&nodes, owner);
    bus_member_wait_down(&reader, "");
    bus_member_wait_up(&reader, 2);
    bus_member_wait_echo(&writer, "after");
    bus_member_wait_echo(&reader, "of the reader");
    bus_member_stop(&reader);
    bus_member_stop(&writer);
    redis_nodes_stop(&nodes);
}

static void a_primary_dies_under_streams(void **state)
{
    (void)state;
    a_primary_dies(strata_redis_stream_bus);
}

static void a_primary_dies_under_pubsub(void **state)
{
    (void)state;
    a_primary_dies(strata_redis_pubsub_bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_stream_fails_over),
        cmocka_unit_test(a_stream_loses_its_end),
        cmocka_unit_test(a_primary_dies_under_streams),
        cmocka_unit_test(a_primary_dies_under_pubsub),
    };
    return cmocka_run_group_tests_name("buses that fail over", tests, NULL, NULL);
}
