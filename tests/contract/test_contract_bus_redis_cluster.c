/* test_contract_bus_redis_cluster.c - the buses over Redis under contract, on a real Cluster of three masters: a stream in one of its
 * slots, and sharded Pub/Sub.  And a slot that moves while they talk. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "strata/bus_redis.h"
#include "tests/contract/contract_bus.h"
#include "tests/support/bus_member.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/redis_do.h"
#include "tests/support/redis_nodes.h"

static struct redis_nodes nodes;

static strata_bus *make_with(strata_bus *(*make)(const strata_redis_bus_options *), unsigned channel, unsigned node)
{
    char url[128], prefix[64];
    strata_redis_bus_options options = STRATA_REDIS_BUS_OPTIONS_INIT;
    unsigned port = nodes.servers[(channel + node) % CLUSTER_MASTERS].port;
    snprintf(url, sizeof url, "redis%s://127.0.0.1:%u", node % 2 == 0 ? "+cluster" : "", port);
    snprintf(prefix, sizeof prefix, "bus %u*[:", channel);
    options.url = url;
    options.prefix = prefix;
    options.cluster = node % 2 == 0 ? 0 : STRATA_ON;
    options.timeout_ms = options.connect_timeout_ms = 20000;
    return make(&options);
}

static strata_bus *make_stream(unsigned channel, unsigned node)
{
    return make_with(strata_redis_stream_bus, channel, node);
}

static strata_bus *make_pubsub(unsigned channel, unsigned node)
{
    return make_with(strata_redis_pubsub_bus, channel, node);
}

static strata_bus *make_wrong(void)
{
    const strata_redis_bus_options options = { .size = sizeof options, .url = "redis+cluster://a:99999" };
    return strata_redis_stream_bus(&options);
}

/* A slot that moves --------------------------------------------------------------------------------------------------- */

static size_t owner_of(int64_t slot)
{
    return (size_t)(slot < 5461 ? 0 : slot < 10923 ? 1 : 2); /* as redis_nodes_cluster() deals them out */
}

static void say_where(size_t node, const char *slot, const char *word, const char *id)
{
    struct redis_answer a = redis_do(nodes.links[node], "CLUSTER", "SETSLOT", slot, word, id);
    if (a.status != STRATA_OK || a.kind == REDIS_IS_ERROR)
        fail_msg("SETSLOT %s %s: %s%s", slot, word, a.text, a.err.message);
}

/* The slot of the bus' key, with its key, to the next master. */
static void move(const char *key, size_t key_size)
{
    char slot[16], ids[2][64], port[16];
    const strata_slice keyslot[] = { strata_str("CLUSTER"), strata_str("KEYSLOT"), strata_bytes(key, key_size) };
    struct redis_answer answer = { 0 };
    struct redis_request request = {
        .args = keyslot, .arg_count = 3, .timeout_ms = 60000, .done = redis_ask_done, .owner = &answer
    };
    strata__redis_call(nodes.links[0], &request);
    size_t from = owner_of(answer.integer), to = (from + 1) % CLUSTER_MASTERS;
    snprintf(slot, sizeof slot, "%lld", (long long)answer.integer);
    snprintf(port, sizeof port, "%u", (unsigned)nodes.servers[to].port);
    redis_nodes_id(&nodes, from, ids[0]);
    redis_nodes_id(&nodes, to, ids[1]);
    say_where(to, slot, "IMPORTING", ids[0]);
    say_where(from, slot, "MIGRATING", ids[1]);
    const strata_slice migrate[] = { strata_str("MIGRATE"),       strata_str("127.0.0.1"), strata_str(port),
                                     strata_bytes(key, key_size), strata_str("0"),         strata_str("60000") };
    request = (struct redis_request){
        .args = migrate, .arg_count = 6, .timeout_ms = 60000, .done = redis_ask_done, .owner = &answer
    };
    strata__redis_call(nodes.links[from], &request);
    if (answer.status != STRATA_OK || answer.kind == REDIS_IS_ERROR)
        fail_msg("MIGRATE: %s%s", answer.text, answer.err.message);
    redis_nodes_end_move(&nodes, slot, to);
}

static void with_a_slot_that_moves(strata_bus *(*make)(unsigned channel, unsigned node), unsigned channel, int keeps)
{
    struct bus_member one, other;
    char key[64];
    int size = snprintf(key, sizeof key, "bus %u*[:", channel);
    memcpy(key + size, "\0\377bus", 5);
    bus_member_start(&one, make(channel, 0));
    bus_member_start(&other, make(channel, 1));
    bus_member_wait_up(&one, 1);
    bus_member_wait_up(&other, 1);
    bus_member_say(&one, "before");
    bus_member_wait_text(&other, "before");
    move(key, (size_t)size + 5);
    if (keeps) { /* nobody has lost anything, and nobody needs to notice */
        bus_member_say_taken(&one, "after");
        bus_member_wait_text(&other, "after");
        assert_int_equal(other.losts, 0);
    } else {
        bus_member_wait_up(&other, 2);
        bus_member_wait_up(&one, 2);
        bus_member_wait_echo(&one, "after");
        bus_member_wait_text(&other, "after");
    }
    bus_member_stop(&one);
    bus_member_stop(&other);
}

static void a_stream_moves(void **state)
{
    (void)state;
    with_a_slot_that_moves(make_stream, 1000, 1);
}

static void a_channel_moves(void **state)
{
    (void)state;
    with_a_slot_that_moves(make_pubsub, 1001, 0);
}

int main(void)
{
    static const struct contract_bus_subject subjects[] = {
        { .name = "redis_stream, cluster", .make = make_stream, .make_wrong = make_wrong, .burst = 3000 },
        { .name = "redis_pubsub, cluster", .make = make_pubsub, .make_wrong = make_wrong, .burst = 3000 },
    };
    const struct CMUnitTest moves[] = { cmocka_unit_test(a_stream_moves), cmocka_unit_test(a_channel_moves) };
    int failed = 0;
    redis_nodes_cluster(&nodes, 0);
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++)
        failed += contract_run_bus(&subjects[i]);
    failed += cmocka_run_group_tests_name("slots that move", moves, NULL, NULL);
    redis_nodes_stop(&nodes);
    return failed;
}
