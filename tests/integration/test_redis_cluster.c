/* test_redis_cluster.c - a real Cluster of three masters and their replicas: many keys at once over all nodes, slots that move while
 * they are read and written, nodes that come and go, and a master that is killed under load. */
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "src/link/redis_slots.h"
#include "src/os/os_clock.h"
#include "strata/strata.h"
#include "tests/support/failover_load.h"
#include "tests/support/open_alone.h"
#include "tests/support/redis_do.h"
#include "tests/support/redis_nodes.h"

enum { LOOKS = 6000, MANY = 500 };

static struct redis_nodes nodes;
static strata_error err;

static void nap(void) { (void)poll(NULL, 0, 10); }

static const char *url_of(const char *more)
{
    static char url[512];
    (void)snprintf(url, sizeof url,
                   "redis+cluster://127.0.0.1:1,127.0.0.1:%u,127.0.0.1:%u?prefix=c:" FAILOVER_TIMEOUTS "%s",
                   (unsigned)nodes.servers[0].port, (unsigned)nodes.servers[1].port, more);
    return url;
}

static strata *open_cache(const char *more)
{
    strata *cache = NULL;
    if (open_url_alone(&cache, url_of(more), NULL, &err) != STRATA_OK)
        fail_msg("%s", err.message);
    return cache;
}

static struct redis_link *open_link(void)
{
    const struct redis_host host = { "127.0.0.1", nodes.servers[0].port };
    struct redis_link_options options = redis_ask_options(0);
    struct redis_link *link = NULL;
    options.topology = REDIS_CLUSTER;
    options.host = NULL;
    options.hosts = &host;
    options.host_count = 1;
    assert_int_equal(strata__redis_open(&link, &options, NULL), STRATA_OK);
    return link;
}

/* One command whose second word is its key. */
static struct redis_answer ask_key(struct redis_link *link, const char *a, const char *key, const char *c)
{
    const strata_slice args[] = { strata_str(a), strata_str(key), strata_str(c) };
    struct redis_answer answer = { 0 };
    struct redis_request request = { .args = args,
                                     .arg_count = c != NULL ? 3 : 2,
                                     .key_at = 1,
                                     .timeout_ms = 60000,
                                     .done = redis_ask_done,
                                     .owner = &answer };
    strata__redis_call(link, &request);
    return answer;
}

static size_t master_count(struct redis_link *link)
{
    uint32_t numbers[16];
    size_t count = 0;
    if (strata__redis_nodes(link, 60000, numbers, 16, &count, &err) != STRATA_OK)
        fail_msg("%s", err.message);
    return count;
}

/* Many keys ---------------------------------------------------------------------------------------------------------- */

static void many_keys_over_all_nodes(void **state)
{
    (void)state;
    static char names[MANY][16];
    static strata_item items[MANY];
    redis_nodes_flush(&nodes);
    strata *cache = open_cache("");
    for (size_t i = 0; i < MANY; i++) {
        (void)snprintf(names[i], sizeof names[i], "key %zu", i);
        items[i] = (strata_item){ .key = strata_str(names[i]), .set = strata_str(names[i]) };
    }
    assert_int_equal(strata_set_many(cache, items, MANY, NULL, &err), STRATA_OK);
    for (size_t i = 0; i < CLUSTER_MASTERS; i++)
        assert_true(redis_do(nodes.links[i], "DBSIZE").integer > MANY / 6); /* each has its share */
    assert_int_equal(strata_get_many(cache, items, MANY, &err), STRATA_OK);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(items[i].status, STRATA_OK);
        assert_memory_equal(strata_value_data(items[i].value), names[i], strlen(names[i]));
        strata_value_unref(items[i].value);
    }
    assert_int_equal(strata_clear(cache, &err), STRATA_OK);
    for (size_t i = 0; i < CLUSTER_MASTERS; i++)
        assert_int_equal(redis_do(nodes.links[i], "DBSIZE").integer, 0);
    assert_int_equal(strata_set_many(cache, items, MANY, NULL, &err), STRATA_OK);
    assert_int_equal(strata_delete_many(cache, items, MANY, &err), STRATA_OK);
    for (size_t i = 0; i < CLUSTER_MASTERS; i++)
        assert_true(redis_do(nodes.links[i], "DBSIZE").integer > MANY / 6); /* tombstones, which a clear leaves alone */
    assert_int_equal(strata_get_many(cache, items, MANY, &err), STRATA_OK);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(items[i].status, STRATA_MISS);
    redis_nodes_flush(&nodes); /* or they would be in the way when slots move */
    strata_close(cache);
}

/* How often all masters together carried it out. */
static int calls_of(const char *command)
{
    char name[128];
    int calls = 0;
    snprintf(name, sizeof name, "return (redis.call('INFO', 'commandstats'):match('cmdstat_%s:calls=(%%d+)') or '0')",
             command);
    for (size_t i = 0; i < CLUSTER_MASTERS; i++) {
        struct redis_answer answer = redis_do(nodes.links[i], "EVAL", name, "0");
        assert_int_equal(answer.status, STRATA_OK);
        calls += atoi(answer.text);
    }
    return calls;
}

/* And a few that ask for the masters' lives, from time to time. */
static void assert_about(int calls, int expected) { assert_true(calls >= expected && calls < expected + MANY / 5); }

/* One command a key, to the node that has it, and all of a call under way at once: none is asked twice, or at the wrong place. */
static void many_keys_cost_a_command_each(void **state)
{
    (void)state;
    static char names[MANY][16];
    static strata_item items[MANY];
    redis_nodes_flush(&nodes);
    strata *cache = open_cache("");
    for (size_t i = 0; i < MANY; i++) {
        (void)snprintf(names[i], sizeof names[i], "one %zu", i);
        items[i] = (strata_item){ .key = strata_str(names[i]), .set = strata_str(names[i]) };
    }
    assert_int_equal(strata_set_many(cache, items, CLUSTER_MASTERS * 8, NULL, &err),
                     STRATA_OK); /* the script is known */
    assert_int_equal(strata_delete_many(cache, items, CLUSTER_MASTERS * 8, &err), STRATA_OK);
    for (size_t i = 0; i < CLUSTER_MASTERS; i++)
        (void)redis_do(nodes.links[i], "CONFIG", "RESETSTAT");
    assert_int_equal(strata_set_many(cache, items, MANY, NULL, &err), STRATA_OK);
    assert_about(calls_of("evalsha"), MANY);
    assert_int_equal(strata_get_many(cache, items, MANY, &err), STRATA_OK);
    for (size_t i = 0; i < MANY; i++)
        strata_value_unref(items[i].value);
    assert_about(calls_of("get"), MANY);
    assert_int_equal(calls_of("mget"), 0);
    assert_int_equal(strata_delete_many(cache, items, MANY, &err), STRATA_OK);
    assert_about(calls_of("evalsha"), 2 * MANY);
    assert_int_equal(strata_close(cache), STRATA_OK);
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

static void after_fork(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__) /* which allows a child of many threads no thread */
    skip();
#endif
    strata *cache = open_cache("");
    reopen_in_a_child(cache);
    strata_close(cache);
}

/* Slots that move ---------------------------------------------------------------------------------------------------- */

static void demand(struct redis_answer answer)
{
    if (answer.status != STRATA_OK || answer.kind == REDIS_IS_ERROR)
        fail_msg("%s", answer.status == STRATA_OK ? answer.text : answer.err.message);
}

/* The first half of moving a slot: from now on what is not at `from` is at `to`. */
static void begin_move(const char *slot, size_t from, size_t to)
{
    char from_id[64], to_id[64];
    redis_nodes_id(&nodes, from, from_id);
    redis_nodes_id(&nodes, to, to_id);
    demand(redis_do(nodes.links[to], "CLUSTER", "SETSLOT", slot, "IMPORTING", from_id));
    demand(redis_do(nodes.links[from], "CLUSTER", "SETSLOT", slot, "MIGRATING", to_id));
}

static void move_keys(const char *slot, size_t from, size_t to)
{
    char port[8];
    (void)snprintf(port, sizeof port, "%u", (unsigned)nodes.servers[to].port);
    for (;;) {
        struct redis_answer key = redis_do(nodes.links[from], "CLUSTER", "GETKEYSINSLOT", slot, "1");
        demand(key);
        if (key.size == 0)
            return;
        demand(redis_do(nodes.links[from], "MIGRATE", "127.0.0.1", port, key.text, "0", "5000"));
    }
}

static void move_slot(const char *slot, size_t from, size_t to)
{
    begin_move(slot, from, to);
    nap();
    move_keys(slot, from, to);
    nap();
    redis_nodes_end_move(&nodes, slot, to);
}

/* Which of the first three nodes has the slot of this key: they answer, or send elsewhere. */
static size_t owner_of(const char *key)
{
    for (size_t i = 0; i < nodes.count; i++)
        if (redis_nodes_is_master(&nodes, i) && redis_do(nodes.links[i], "EXISTS", key).kind == REDIS_IS_INTEGER)
            return i;
    fail_msg("%s is nobody's", key);
    return 0;
}

static const char *slot_text(const char *key)
{
    static char text[8];
    (void)snprintf(text, sizeof text, "%u", (unsigned)strata__redis_slot(strata_str(key)));
    return text;
}

/* All keys are in one slot, which goes round while they are set, got and deleted: nothing old is ever seen. */
static void a_slot_moves_under_load(void **state)
{
    (void)state;
    enum { MOVES = 9 };
    char url[512];
    (void)snprintf(url, sizeof url, "redis+cluster://127.0.0.1:%u?prefix={c}" FAILOVER_TIMEOUTS,
                   (unsigned)nodes.servers[0].port);
    size_t home = owner_of("{c}"), from = home;
    struct failover_load *load = failover_load_start(url);
    failover_load_expect_work(load);
    for (int i = 0; i < MOVES; i++) {
        size_t to = (from + 1) % CLUSTER_MASTERS;
        move_slot(slot_text("{c}"), from, to);
        from = to;
    }
    assert_int_equal(from, home);
    failover_load_expect_work(load);
    failover_load_stop(load);
}

/* Requests of one key that nobody waits for: what each of them appends has to be there in order, and once. */
enum { APPENDS = 600, DIGITS = 6 };

struct append {
    struct redis_request request;
    strata_slice args[3];
    char text[16];
};

static _Atomic(int) appended, append_errors;

static void append_done(struct redis_request *request)
{
    if (request->status != STRATA_OK || strata__redis_kind(request->reply) != REDIS_IS_INTEGER)
        (void)atomic_fetch_add(&append_errors, 1);
    (void)atomic_fetch_add(&appended, 1);
}

static void order_holds_while_a_slot_moves(void **state)
{
    (void)state;
    static struct append all[APPENDS];
    struct redis_link *link = open_link();
    size_t from = owner_of("order");
    const char *slot = slot_text("order");
    int stage = 0;
    demand(ask_key(link, "DEL", "order", NULL));
    atomic_store(&appended, 0);
    atomic_store(&append_errors, 0);
    for (int i = 0; i < APPENDS; i++) {
        struct append *a = &all[i];
        struct redis_request *list = &a->request;
        (void)snprintf(a->text, sizeof a->text, "%06d", i);
        a->args[0] = strata_str("APPEND");
        a->args[1] = strata_str("order");
        a->args[2] = strata_str(a->text);
        a->request = (struct redis_request){
            .args = a->args, .arg_count = 3, .key_at = 1, .affinity = 7, .timeout_ms = 60000, .done = append_done
        };
        strata__redis_submit(link, &list, 1);
        /* Six stages of two moves, at moments when requests are out. */
        if (i % (APPENDS / 6) != APPENDS / 12)
            continue;
        size_t to = (from + 1) % CLUSTER_MASTERS;
        if (stage % 3 == 0)
            begin_move(slot, from, to);
        else if (stage % 3 == 1)
            move_keys(slot, from, to);
        else
            redis_nodes_end_move(&nodes, slot, to), from = to;
        stage++;
    }
    assert_int_equal(stage, 6);
    while (atomic_load(&appended) < APPENDS)
        nap();
    assert_int_equal(atomic_load(&append_errors), 0);
    struct redis_answer text = ask_key(link, "GET", "order", NULL);
    assert_int_equal(text.size, APPENDS * DIGITS);
    for (int i = 0; i < APPENDS; i++)
        assert_memory_equal(text.text + i * DIGITS, all[i].text, DIGITS);
    demand(ask_key(link, "DEL", "order", NULL));
    move_slot(slot, from, (from + 1) % CLUSTER_MASTERS); /* home */
    strata__redis_close(link);
}

/* Owners that contradict each other ----------------------------------------------------------------------------------- */

enum { TORN = 60 };

static strata_item torn[TORN];
static _Atomic(int) torn_done;

static void torn_is_done(int status, strata_value *value, const strata_error *why, void *ctx)
{
    (void)ctx;
    strata_value_unref(value);
    if (status < 0)
        err = *why;
    atomic_store(&torn_done, 1);
}

/* How often all masters together sent it to somebody else. */
static int sent_on_of(const char *command)
{
    char name[160];
    int calls = 0;
    (void)snprintf(
        name, sizeof name,
        "return (redis.call('INFO', 'commandstats'):match('cmdstat_%s:[^%%s]*rejected_calls=(%%d+)') or '0')", command);
    for (size_t i = 0; i < CLUSTER_MASTERS; i++) {
        struct redis_answer answer = redis_do(nodes.links[i], "EVAL", name, "0");
        assert_int_equal(answer.kind, REDIS_IS_TEXT);
        calls += atoi(answer.text);
    }
    return calls;
}

static int begin_many(strata *cache, int deletes)
{
    atomic_store(&torn_done, 0);
    return deletes ? strata_delete_many_async(cache, torn, TORN, NULL, torn_is_done, NULL, &err)
                   : strata_get_many_async(cache, torn, TORN, NULL, torn_is_done, NULL, &err);
}

/* The slot of the first key moves, and its old owner is told first, so that both send to each other what is asked of it, until the
 * new one is told, too.  Where that took longer than anybody waits: 0. */
static int many_while_owners_disagree(strata *cache, int deletes)
{
    enum { SENT_ON = 20, WAITED_MS = 1000 };
    const char *command = deletes ? "evalsha" : "get", *slot = slot_text("c:torn 0");
    size_t from = owner_of("c:torn 0"), to = (from + 1) % CLUSTER_MASTERS;
    char to_id[64];
    assert_int_equal(strata_set_many(cache, torn, TORN, NULL, &err), STRATA_OK);
    begin_move(slot, from, to);
    move_keys(slot, from, to);
    redis_nodes_id(&nodes, to, to_id);
    int before = sent_on_of(command);
    int64_t began_ms = strata__os_now_ms();
    demand(redis_do(nodes.links[from], "CLUSTER", "SETSLOT", slot, "NODE", to_id));
    assert_int_equal(begin_many(cache, deletes), STRATA_PENDING);
    while (!atomic_load(&torn_done) && sent_on_of(command) < before + SENT_ON)
        nap();
    redis_nodes_end_move(&nodes, slot, to);
    int in_time = strata__os_now_ms() - began_ms < WAITED_MS;
    while (!atomic_load(&torn_done))
        nap();
    for (size_t i = 0; i < TORN; i++) {
        if (in_time && torn[i].status < 0) /* what has moved is a miss: it is of its old master's life */
            fail_msg("%s %zu: %d: %s", command, i, (int)torn[i].status, err.message);
        strata_value_unref(torn[i].value);
        torn[i].value = NULL;
    }
    return in_time;
}

static void owners_that_contradict_each_other_are_waited_for(void **state)
{
    (void)state;
    static char names[TORN][16];
    strata *cache = open_cache("");
    for (size_t i = 0; i < TORN; i++) {
        (void)snprintf(names[i], sizeof names[i], "torn %zu", i);
        torn[i] = (strata_item){ .key = strata_str(names[i]), .set = strata_str(names[i]) };
    }
    for (int deletes = 0; deletes < 2; deletes++)
        while (!many_while_owners_disagree(cache, deletes))
            continue;
    assert_int_equal(strata_close(cache), STRATA_OK);
    redis_nodes_flush(&nodes);
    const char *slot = slot_text("c:torn 0");
    size_t at = owner_of("c:torn 0"), home = strtoul(slot, NULL, 10) * CLUSTER_MASTERS / 16384;
    if (at != home)
        move_slot(slot, at, home);
}

/* Until what is asked of the clients of a server finds so many. */
static void wait_for_clients(size_t node, const char *words)
{
    for (int i = 0; strstr(redis_do(nodes.links[node], "INFO", "clients").text, words) == NULL; i++) {
        if (i == LOOKS)
            fail_msg("%s", redis_do(nodes.links[node], "INFO", "clients").text);
        nap();
    }
}

static void a_node_comes_and_goes(void **state)
{
    (void)state;
    struct redis_link *link = open_link();
    size_t home = owner_of("guest");
    char id[64];
    demand(
        ask_key(link, "DEL", "guest", NULL)); /* who migrates a key stays connected for a while, and would be counted */
    assert_int_equal(master_count(link), CLUSTER_MASTERS);
    size_t guest = redis_nodes_add(&nodes);
    redis_nodes_meet(&nodes, guest);
    redis_nodes_id(&nodes, home, id);
    while (strstr(redis_do(nodes.links[guest], "CLUSTER", "NODES").text, id) == NULL)
        nap();
    redis_nodes_id(&nodes, guest, id);
    while (strstr(redis_do(nodes.links[home], "CLUSTER", "NODES").text, id) == NULL)
        nap();
    redis_nodes_wait(&nodes);
    redis_nodes_agree(&nodes); /* it has heard who has which slot: of one that it imports it would not listen any more */
    wait_for_clients(guest, "connected_clients:1\r");
    move_slot(slot_text("guest"), home, guest);
    demand(ask_key(link, "SET", "guest", "v"));
    struct redis_answer answer = ask_key(link, "GET", "guest", NULL);
    assert_string_equal(answer.text, "v");
    wait_for_clients(guest, "connected_clients:2\r"); /* one of them is ours */
    while (master_count(link) != CLUSTER_MASTERS + 1)
        nap();
    demand(ask_key(link, "DEL", "guest", NULL));
    move_slot(slot_text("guest"), guest, home);
    demand(ask_key(link, "SET", "guest", "w"));
    while (master_count(link) != CLUSTER_MASTERS)
        nap();
    wait_for_clients(guest, "connected_clients:1\r"); /* and closed again */
    for (size_t i = 0; i < nodes.count; i++)
        if (i != guest)
            (void)redis_do(nodes.links[i], "CLUSTER", "FORGET", id);
    redis_nodes_kill(&nodes, guest);
    strata__redis_close(link);
}

/* A clear while a slot is on its way: what either node has is gone. */
static void a_clear_while_a_slot_moves(void **state)
{
    (void)state;
    strata *cache = open_cache("");
    size_t from = owner_of("{m}"), to = (from + 1) % CLUSTER_MASTERS;
    const char *slot = slot_text("{m}");
    char name[32];
    for (int i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof name, "{m}%d", i);
        if (i == 10)
            begin_move(slot, from, to);
        assert_int_equal(strata_set(cache, strata_str(name), strata_str("v"), NULL, &err), STRATA_OK);
    }
    assert_int_equal(redis_do(nodes.links[from], "CLUSTER", "COUNTKEYSINSLOT", slot).integer, 10);
    assert_int_equal(redis_do(nodes.links[to], "CLUSTER", "COUNTKEYSINSLOT", slot).integer, 10);
    if (strata_clear(cache, &err) != STRATA_OK)
        fail_msg("%s", err.message);
    assert_int_equal(redis_do(nodes.links[from], "CLUSTER", "COUNTKEYSINSLOT", slot).integer, 0);
    assert_int_equal(redis_do(nodes.links[to], "CLUSTER", "COUNTKEYSINSLOT", slot).integer, 0);
    redis_nodes_end_move(&nodes, slot, to);
    move_slot(slot, to, from);
    strata_close(cache);
}

/* A master that is killed --------------------------------------------------------------------------------------------- */

static void a_failover_under_load(void **state)
{
    (void)state;
    struct failover_load *load = failover_load_start(url_of("&breaker_open_ms=100ms"));
    failover_load_expect_work(load);
    failover_load_begin_change(load);
    redis_nodes_kill(&nodes, 1);
    for (int i = 0; !redis_nodes_is_master(&nodes, 1 + CLUSTER_MASTERS); i++) {
        if (i == LOOKS)
            fail_msg("nobody was promoted");
        nap();
    }
    redis_nodes_wait(&nodes);
    failover_load_end_change(load);
    /* It comes back, and is a replica from then on. */
    redis_server_restart(&nodes.servers[1]);
    nodes.links[1] = redis_do_open(&nodes.servers[1]);
    while (redis_nodes_is_master(&nodes, 1))
        nap();
    failover_load_expect_work(load);
    failover_load_stop(load);
}

static int start(void **state)
{
    (void)state;
    redis_nodes_cluster(&nodes, 1);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    redis_nodes_stop(&nodes);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_keys_over_all_nodes),
        cmocka_unit_test(many_keys_cost_a_command_each),
        cmocka_unit_test(after_fork),
        cmocka_unit_test(a_slot_moves_under_load),
        cmocka_unit_test(order_holds_while_a_slot_moves),
        cmocka_unit_test(a_clear_while_a_slot_moves),
        cmocka_unit_test(owners_that_contradict_each_other_are_waited_for),
        cmocka_unit_test(a_node_comes_and_goes),
        cmocka_unit_test(a_failover_under_load), /* last: its nodes have changed places */
    };
    return cmocka_run_group_tests(tests, start, stop);
}
