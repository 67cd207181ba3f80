/* test_redis_lease.c - two nodes and one store: who was overtaken stores nothing, who dies is succeeded by one, and a store that lost
 * its memory is noticed before anything of it is served.
 *
 * The nodes' clocks stand still but where a test moves them: what happens without that is woken, not waited for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/cmocka_all.h"

#include "src/format/le.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/layer/value_impl.h"
#include "src/os/os_futex.h"
#include "tests/contract/contract.h"
#include "tests/support/redis_do.h"

enum { NODES = 2, HOUR_MS = 3600000 };

static struct redis_server server;
static struct redis_link *other; /* another program */
static struct contract node[NODES];
static int is_open[NODES];
static const char *user = "";
static int64_t lease_ms, used_ms; /* used_ms: what an operation's read has spent here before; 0 nothing */

static strata_layer *make(void)
{
    char url[96];
    snprintf(url, sizeof url, "redis://%s127.0.0.1:%u", user, (unsigned)server.port);
    const strata_redis_options options = { .size = sizeof options,
                                           .url = url,
                                           .prefix = "app:",
                                           .soft_timeout_ms = 60000,
                                           .timeout_ms = 60000,
                                           .connect_timeout_ms = 60000,
                                           .lease_ms = lease_ms,
                                           .lease_wait_ms = HOUR_MS };
    return strata__redis_make(&options);
}

static void open_node(int n)
{
    static const struct contract_subject subject = { "redis", make, 0, 0, 1, 1, 0 };
    assert_int_equal(contract_open(&node[n], &subject, NULL), STRATA_OK);
    test_host_keep_delays(&node[n].host);
    is_open[n] = 1;
}

static void close_node(int n)
{
    if (!is_open[n])
        return;
    node[n].layer->ops->hurry(node[n].layer);
    test_host_cut(&node[n].host);
    contract_close(&node[n]);
    is_open[n] = 0;
}

static int start(void **state)
{
    (void)state;
    user = "";
    lease_ms = HOUR_MS;
    used_ms = 0;
    while (redis_do(other, "FLUSHALL").status != STRATA_OK) {} /* the server may just have been started again */
    for (int n = 0; n < NODES; n++)
        open_node(n);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (int n = 0; n < NODES; n++)
        close_node(n);
    return 0;
}

/* Operations ------------------------------------------------------------------------------------------------------ */

struct asked {
    struct contract_op o;
    strata_value *value;
    _Atomic(uint32_t) done;
};

static void asked_done(strata_op *op)
{
    struct asked *a = op->owner;
    strata__os_unpark(&a->done);
}

static void begin(struct asked *a, int n, uint32_t kind, const char *key, const char *text, uint64_t lease,
                  uint32_t flags)
{
    memset(a, 0, sizeof *a);
    contract_op_init(&node[n], &a->o, kind, 0, strata_str(key));
    a->value = text != NULL ? strata__value_copy(NULL, text, strlen(text)) : NULL;
    a->o.op.value = a->value;
    a->o.op.meta = contract_meta(&node[n], HOUR_MS);
    a->o.op.meta.born_ms = a->o.op.now_ms;
    a->o.op.lease = lease;
    a->o.op.flags = flags;
    a->o.op.asked_ms = used_ms != 0 ? a->o.op.now_ms - used_ms : 0;
    a->o.op.done = asked_done;
    a->o.op.owner = a;
    strata_op *op = &a->o.op;
    node[n].layer->ops->submit(node[n].layer, &op, 1);
}

/* Its status; the lease and version. */
static int end(struct asked *a, uint64_t *out_lease, char text[32])
{
    strata__os_park(&a->done, INT64_MAX);
    int status = a->o.op.status;
    if (status < 0 && status != STRATA_EIO && status != STRATA_ETIMEDOUT)
        fail_msg("%s", a->o.err.message);
    if (out_lease != NULL)
        *out_lease = a->o.op.lease;
    if (text != NULL)
        snprintf(text, 32, "%.*s", (int)strata_value_size(a->o.op.found),
                 (const char *)strata_value_data(a->o.op.found));
    strata_value_unref(a->value);
    contract_op_deinit(&a->o);
    return status;
}

static uint64_t lease(int n, const char *key)
{
    struct asked a;
    uint64_t number = 0;
    begin(&a, n, STRATA_OP_LEASE, key, NULL, 0, STRATA_OP_NOWAIT);
    assert_int_equal(end(&a, &number, NULL), STRATA_MISS);
    assert_int_not_equal(number, 0);
    return number;
}

static int put(int n, const char *key, const char *text, uint64_t number)
{
    struct asked a;
    begin(&a, n, STRATA_OP_PUT, key, text, number, 0);
    strata__os_park(&a.done, INT64_MAX);
    int lost = (a.o.op.flags & STRATA_OP_LOST) != 0, status = a.o.op.status;
    strata__os_unpark(&a.done);
    (void)end(&a, NULL, NULL);
    assert_int_equal(lost, number != 0 && status == STRATA_AGAIN);
    return status;
}

static void delete (int n, const char *key)
{
    struct asked a;
    begin(&a, n, STRATA_OP_REMOVE, key, NULL, 0, 0);
    assert_int_equal(end(&a, NULL, NULL), STRATA_OK);
}

static void holds(int n, const char *key, const char *text)
{
    struct asked a;
    char found[32];
    begin(&a, n, STRATA_OP_GET, key, NULL, 0, 0);
    assert_int_equal(end(&a, NULL, found), text != NULL ? STRATA_OK : STRATA_MISS);
    if (text != NULL)
        assert_string_equal(found, text);
}

/* "DEL" and the like of what stands there, behind the nodes' backs. */
static void act(const char *command, const char *key, const char *text)
{
    char stored[64];
    size_t size = strlen(key);
    memcpy(stored, "app:\0\0\0\0", 8);
    memcpy(stored + 8, key, size);
    const strata_slice words[] = { strata_str(command), strata_bytes(stored, 8 + size),
                                   strata_str(text != NULL ? text : "") };
    struct redis_answer got = { 0 };
    struct redis_request request = {
        .args = words, .arg_count = text != NULL ? 3 : 2, .timeout_ms = 60000, .done = redis_ask_done, .owner = &got
    };
    strata__redis_call(other, &request);
    assert_int_equal(got.status, STRATA_OK);
}

static uint64_t lives(int n)
{
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    node[n].layer->ops->stats(node[n].layer, &s);
    return s.lives;
}

/* Overtaken ------------------------------------------------------------------------------------------------------- */

/* A loads; B deletes; A stores late: nobody may see it. */
static void test_who_was_overtaken_by_a_delete_stores_nothing(void **state)
{
    (void)state;
    uint64_t number = lease(0, "k");
    delete (1, "k");
    assert_int_equal(put(0, "k", "old", number), STRATA_AGAIN);
    holds(0, "k", NULL);
    holds(1, "k", NULL);
}

static void test_who_was_overtaken_by_a_set_stores_nothing(void **state)
{
    (void)state;
    uint64_t number = lease(0, "k");
    assert_int_equal(put(1, "k", "new", 0), STRATA_OK);
    assert_int_equal(put(0, "k", "old", number), STRATA_AGAIN);
    holds(0, "k", "new");
}

static void test_other_programs_revoke_it_too(void **state)
{
    (void)state;
    uint64_t number = lease(0, "gone");
    act("DEL", "gone", NULL);
    assert_int_equal(put(0, "gone", "old", number), STRATA_AGAIN);
    holds(1, "gone", NULL);
    number = lease(0, "theirs");
    act("SET", "theirs", "not ours");
    assert_int_equal(put(0, "theirs", "old", number), STRATA_AGAIN);
    act("APPEND", "theirs", "");
    holds(1, "theirs", NULL);
    delete (1, "theirs");
}

/* What another program keeps there is not replaced by what was merely loaded; so nothing that a delete overtook is stored. */
static void test_a_load_replaces_nothing_foreign(void **state)
{
    (void)state;
    struct asked a;
    uint64_t number = 1;
    act("SET", "theirs", "not ours");
    begin(&a, 0, STRATA_OP_LEASE, "theirs", NULL, 0, 0);
    assert_int_equal(end(&a, &number, NULL), STRATA_PENDING); /* load, and put nothing here */
    assert_int_equal(number, 0);
}

/* A lease upon a tombstone that ends by itself leaves the tombstone: what lay below since before the delete stays there. */
static void test_a_tombstone_outlives_a_lease(void **state)
{
    (void)state;
    struct asked a;
    lease_ms = 1;
    close_node(0);
    open_node(0);
    delete (1, "k");
    for (int i = 0; i < 2; i++) { /* and its successor's */
        (void)lease(0, "k");
        (void)nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
        begin(&a, 1, STRATA_OP_PUT, "k", "old", 0, STRATA_OP_BACKFILL);
        assert_int_equal(end(&a, NULL, NULL), STRATA_AGAIN);
        holds(1, "k", NULL);
    }
}

/* The server gave it, and nobody heard: it goes back, and the next node need not wait for its end. */
static void test_a_lease_whose_answer_came_too_late_goes_back(void **state)
{
    (void)state;
    enum { LOOKS = 2000 };
    struct asked a;
    uint64_t number = 0;
    holds(0, "k", NULL); /* it is connected */
    redis_server_pause(&server);
    used_ms = 60000 - 100;
    begin(&a, 0, STRATA_OP_LEASE, "k", NULL, 0, 0);
    used_ms = 0;
    int status = end(&a, &number, NULL);
    redis_server_resume(&server);
    assert_int_equal(status, STRATA_ETIMEDOUT);
    holds(0, "k", NULL); /* behind it */
    for (int i = 0; i < LOOKS && number == 0; i++) {
        begin(&a, 1, STRATA_OP_LEASE, "k", NULL, 0, STRATA_OP_NOWAIT);
        (void)end(&a, &number, NULL);
    }
    assert_int_not_equal(number, 0);
}

/* No room --------------------------------------------------------------------------------------------------------- */

/* Deleting needs no room, whatever else is gone; and it is remembered. */
static void test_a_full_server_deletes(void **state)
{
    (void)state;
    struct asked a;
    char life[] = "app:\0\377life";
    const char *words[] = { "DEL", NULL };
    for (int gone = 0; gone < 2; gone++) {
        assert_int_equal(put(0, "k", "v", 0), STRATA_OK);
        if (gone)
            redis_do_slice(other, words, strata_bytes(life, sizeof life - 1));
        redis_do(other, "CONFIG", "SET", "maxmemory", "1");
        begin(&a, 1, STRATA_OP_REMOVE, "k", NULL, 0, 0);
        int removed = end(&a, NULL, NULL);
        redis_do(other, "CONFIG", "SET", "maxmemory", "0");
        assert_int_equal(removed, STRATA_OK);
        begin(&a, 1, STRATA_OP_PUT, "k", "old", 0, STRATA_OP_BACKFILL);
        assert_int_equal(end(&a, NULL, NULL), STRATA_AGAIN);
    }
}

/* Succession ------------------------------------------------------------------------------------------------------ */

/* The holder is cut off; when its lease is over, one of two who wait has it, and the other gets what that one stores. */
static void test_one_succeeds_who_died(void **state)
{
    (void)state;
    struct asked waits[NODES];
    uint64_t number = 0;
    (void)lease(0, "k");
    close_node(0); /* and nothing was released */
    open_node(0);
    for (int n = 0; n < NODES; n++)
        begin(&waits[n], n, STRATA_OP_LEASE, "k", NULL, 0, 0);
    act("PEXPIRE", "k", "1"); /* its hour is over */
    int first = -1;
    while (first < 0)
        for (int n = 0; n < NODES && first < 0; n++) {
            test_host_advance(&node[n].host, 1100);
            holds(n, "pace", NULL); /* its question is answered */
            first = atomic_load(&waits[n].done) != 0 ? n : -1;
        }
    assert_int_equal(end(&waits[first], &number, NULL), STRATA_MISS);
    assert_int_not_equal(number, 0);
    test_host_advance(&node[1 - first].host, 1100);
    holds(1 - first, "k", NULL); /* so that it has asked */
    assert_int_equal(atomic_load(&waits[1 - first].done), 0);
    assert_int_equal(put(first, "k", "v", number), STRATA_OK);
    char text[32];
    assert_int_equal(end(&waits[1 - first], NULL, text), STRATA_OK); /* no clock was moved: it was woken */
    assert_string_equal(text, "v");
}

/* Its timer renews it: what is left to live is an hour again. */
static void test_a_lease_is_renewed(void **state)
{
    (void)state;
    uint64_t number = lease(0, "k");
    act("PEXPIRE", "k", "100000");
    test_host_advance(&node[0].host, HOUR_MS / 2);
    holds(0, "k", NULL); /* behind the renewal, on the same connection */
    char stored[] = "app:\0\0\0\0k";
    const char *words[] = { "PTTL", NULL };
    assert_true(redis_do_slice(other, words, strata_bytes(stored, sizeof stored - 1)).integer > 200000);
    assert_int_equal(put(0, "k", "v", number), STRATA_OK);
}

/* Lives ----------------------------------------------------------------------------------------------------------- */

static void test_an_emptied_store_has_a_new_life(void **state)
{
    (void)state;
    uint64_t number = lease(0, "k");
    assert_int_equal(put(1, "there", "v", 0), STRATA_OK);
    redis_do(other, "FLUSHALL");
    assert_int_equal(put(0, "k", "old", number), STRATA_AGAIN);
    assert_int_equal(lives(0), 1);
    assert_int_equal(put(0, "new", "v", 0), STRATA_OK);
    holds(1, "new", "v"); /* of a life that it had not heard of */
    assert_int_equal(lives(1), 1);
}

static uint64_t delete_for_version(int n, const char *key)
{
    struct asked a;
    begin(&a, n, STRATA_OP_REMOVE, key, NULL, 0, 0);
    strata__os_park(&a.done, INT64_MAX);
    uint64_t version = a.o.op.meta.version;
    strata__os_unpark(&a.done);
    assert_int_equal(end(&a, NULL, NULL), STRATA_OK);
    return version;
}

/* It is repeated into the new life if it was carried out in the old one: not blindly, behind what was leased after it. */
static void test_a_delete_that_begins_a_life_comes_once(void **state)
{
    (void)state;
    char stone[64];
    assert_int_equal(put(0, "k", "v", 0), STRATA_OK);
    redis_do(other, "FLUSHALL");
    uint64_t version = delete_for_version(0, "k");
    assert_int_equal(lives(0), 1);
    holds(0, "k", NULL); /* on the same connection, behind whatever was repeated */
    char stored[] = "app:\0\0\0\0k";
    const char *words[] = { "GET", NULL };
    struct redis_answer got = redis_do_slice(other, words, strata_bytes(stored, sizeof stored - 1));
    assert_int_equal(got.size, 18);
    memcpy(stone, got.text, 18);
    assert_int_equal(strata__le64((const uint8_t *)stone + 2), version);
}

/* maxmemory-policy allkeys-...: the life's own key may be the one that goes. */
static void test_the_lifes_key_is_evicted(void **state)
{
    (void)state;
    assert_int_equal(put(0, "k", "v", 0), STRATA_OK);
    uint64_t number = lease(0, "leased");
    char life[] = "app:\0\377life";
    const char *words[] = { "DEL", NULL };
    assert_int_equal(redis_do_slice(other, words, strata_bytes(life, sizeof life - 1)).integer, 1);
    assert_int_equal(put(0, "leased", "old", number), STRATA_AGAIN);
    assert_int_equal(lives(0), 1);
    holds(0, "k", NULL); /* what happened to it meanwhile nobody knows */
    assert_int_equal(put(1, "k", "v", 0), STRATA_OK);
    holds(0, "k", "v");
}

/* Each connection is made anew by itself, and asks for the life before anything else. */
static void put_until_it_is_back(int n, const char *key, const char *text)
{
    char some[] = "A";
    for (; some[0] <= 'P'; some[0]++) /* on all connections */
        while (put(n, some, "v", 0) < 0) {}
    assert_int_equal(put(n, key, text, 0), STRATA_OK);
}

static void test_a_restart_from_a_snapshot(void **state)
{
    (void)state;
    assert_int_equal(put(0, "k", "v", 0), STRATA_OK);
    uint64_t number = lease(0, "leased");
    assert_int_equal(put(1, "deleted", "v", 0), STRATA_OK);
    assert_int_equal(redis_do(other, "SAVE").kind, REDIS_IS_STATUS);
    delete (1, "deleted"); /* the snapshot does not know */
    redis_server_kill(&server);
    redis_server_restart(&server);
    put_until_it_is_back(0, "new", "v");
    put_until_it_is_back(1, "newer", "v");
    holds(0, "k", NULL);
    holds(0, "deleted", NULL);
    holds(1, "deleted", NULL);
    holds(1, "new", "v");
    assert_int_equal(put(0, "leased", "old", number), STRATA_AGAIN);
    assert_true(lives(0) == 1 && lives(1) == 1);
}

static void test_a_kill_and_an_empty_restart(void **state)
{
    (void)state;
    assert_int_equal(put(0, "k", "v", 0), STRATA_OK);
    uint64_t number = lease(0, "leased");
    redis_do(other, "FLUSHALL");
    assert_int_equal(redis_do(other, "SAVE").kind, REDIS_IS_STATUS); /* nothing, over what another test has saved */
    redis_server_kill(&server);
    redis_server_restart(&server);
    put_until_it_is_back(1, "new", "v");
    put_until_it_is_back(0, "newer", "v");
    assert_int_equal(put(0, "leased", "old", number), STRATA_AGAIN);
    holds(0, "k", NULL);
    holds(0, "new", "v");
}

/* Rights, and scripts that are forgotten ------------------------------------------------------------------------------ */

static void test_forgotten_scripts_are_told_again(void **state)
{
    (void)state;
    struct redis_layer *r = (struct redis_layer *)(void *)node[0].layer;
    uint64_t number = lease(0, "k");
    redis_do(other, "SCRIPT", "FLUSH");
    assert_int_equal(put(0, "k", "v", number), STRATA_OK);
    assert_int_equal(redis_do(other, "EVALSHA", r->sha, "0", "hello").kind, REDIS_IS_ERROR);
    assert_null(strstr(redis_do(other, "EVALSHA", r->sha, "0", "hello").text, "NOSCRIPT")); /* the name is right */
    redis_do(other, "SCRIPT", "FLUSH");
    assert_int_equal(put(0, "set", "v", 0), STRATA_OK);
    redis_do(other, "SCRIPT", "FLUSH");
    delete (1, "set");
    redis_do(other, "SCRIPT", "FLUSH");
    struct asked behind; /* it is sent again, and not past that delete for it */
    begin(&behind, 0, STRATA_OP_PUT, "set", "old", 0, STRATA_OP_UNLESS_NEWER);
    assert_int_equal(end(&behind, NULL, NULL), STRATA_AGAIN);
    holds(1, "set", NULL);
    redis_do(other, "SCRIPT", "FLUSH");
    assert_int_equal(contract_clear(&node[0], 0, 1), STRATA_OK);
    holds(1, "k", NULL);
}

static void allow(const char *a, const char *b, const char *c, const char *d)
{
    const char *const words[] = { "ACL", "SETUSER", "small", a, b, c, d, NULL };
    assert_int_equal(redis_do_words(other, words).kind, REDIS_IS_STATUS);
}

static void reopen_as_small(void)
{
    user = "small:pw@";
    for (int n = 0; n < NODES; n++) {
        close_node(n);
        open_node(n);
    }
}

static void test_without_the_right_to_run_scripts(void **state)
{
    (void)state;
    uint64_t number = 1;
    allow("reset", "on", ">pw", "~app:*");
    allow("+@all", "-@scripting", "allchannels", "on");
    reopen_as_small();
    assert_int_equal(node[0].layer->ops->ping(node[0].layer, NULL), STRATA_OK);
    struct asked a;
    begin(&a, 0, STRATA_OP_LEASE, "k", NULL, 0, 0);
    strata__os_park(&a.done, INT64_MAX);
    assert_non_null(strstr(a.o.err.message, "EVAL")); /* said once */
    strata__os_unpark(&a.done);
    assert_int_equal(end(&a, &number, NULL), STRATA_MISS);
    assert_int_equal(number, 0);
    assert_int_equal(put(0, "k", "v", 0), STRATA_OK);
    assert_int_equal(node[1].layer->ops->ping(node[1].layer, NULL), STRATA_OK);
    holds(1, "k", "v");
    delete (1, "k");
    holds(0, "k", NULL);
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    node[0].layer->ops->stats(node[0].layer, &s);
    assert_int_equal(s.unleased, 1);
}

/* Who may not subscribe asks in pauses. */
static void test_without_the_right_to_subscribe(void **state)
{
    (void)state;
    allow("reset", "on", ">pw", "~app:*");
    allow("+@all", "resetchannels", "on", "on");
    reopen_as_small();
    struct asked waits;
    char text[32];
    uint64_t number = lease(0, "k");
    begin(&waits, 1, STRATA_OP_LEASE, "k", NULL, 0, 0);
    assert_int_equal(put(0, "k", "v", number), STRATA_OK);
    while (atomic_load(&waits.done) == 0) {
        test_host_advance(&node[1].host, 100);
        holds(1, "pace", NULL);
    }
    assert_int_equal(end(&waits, NULL, text), STRATA_OK);
    assert_string_equal(text, "v");
}

/* Tombstones, leases and the life are no keys. */
static int count(uint32_t space, strata_slice key, void *ctx)
{
    (void)space;
    (void)key;
    ++*(int *)ctx;
    return 0;
}

static void test_keys_are_entries(void **state)
{
    (void)state;
    int seen = 0;
    assert_int_equal(put(0, "k", "v", 0), STRATA_OK);
    assert_int_equal(put(0, "deleted", "v", 0), STRATA_OK);
    delete (0, "deleted");
    (void)lease(0, "leased");
    assert_int_equal(redis_do(other, "DBSIZE").integer, 4);
    assert_int_equal(node[1].layer->ops->keys(node[1].layer, count, &seen, NULL), STRATA_OK);
    assert_int_equal(seen, 1);
    assert_int_equal(contract_clear(&node[1], 0, 1), STRATA_OK);
    assert_int_equal(redis_do(other, "DBSIZE").integer, 2); /* what was deleted is remembered */
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(test_who_was_overtaken_by_a_delete_stores_nothing),
        CASE(test_who_was_overtaken_by_a_set_stores_nothing),
        CASE(test_other_programs_revoke_it_too),
        CASE(test_a_load_replaces_nothing_foreign),
        CASE(test_a_tombstone_outlives_a_lease),
        CASE(test_a_lease_whose_answer_came_too_late_goes_back),
        CASE(test_a_full_server_deletes),
        CASE(test_one_succeeds_who_died),
        CASE(test_a_lease_is_renewed),
        CASE(test_an_emptied_store_has_a_new_life),
        CASE(test_a_delete_that_begins_a_life_comes_once),
        CASE(test_the_lifes_key_is_evicted),
        CASE(test_a_restart_from_a_snapshot),
        CASE(test_a_kill_and_an_empty_restart),
        CASE(test_forgotten_scripts_are_told_again),
        CASE(test_without_the_right_to_run_scripts),
        CASE(test_without_the_right_to_subscribe),
        CASE(test_keys_are_entries),
    };
    redis_server_start(&server, NULL);
    other = redis_do_open(&server);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    strata__redis_close(other);
    redis_server_stop(&server);
    return failed;
}
