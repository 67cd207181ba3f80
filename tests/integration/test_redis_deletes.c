/* test_redis_deletes.c - a node's last deletes come into each new life of the store, once each, whatever happened to them on their way.
 *
 * The node's clock stands still but where a test moves it.  Deletes that take long are begun and answered by the test itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/layer/redis/redis_call.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "tests/contract/contract.h"
#include "tests/support/redis_do.h"

static struct redis_server server;
static struct redis_link *other; /* another program */
static struct contract node;
/* Of the test's own thread: */
static _Thread_local void (*in_an_allocation)(void); /* called once; before a block of so many bytes */
static _Thread_local size_t allocation_of, allocations;

static strata_layer *make(void)
{
    char url[64];
    snprintf(url, sizeof url, "redis://127.0.0.1:%u", (unsigned)server.port);
    const strata_redis_options options = { .size = sizeof options,
                                           .url = url,
                                           .prefix = "app:",
                                           .soft_timeout_ms = 60000,
                                           .timeout_ms = 60000,
                                           .connect_timeout_ms = 60000 };
    return strata__redis_make(&options);
}

static void *watched_alloc(size_t size, void *ctx)
{
    (void)ctx;
    void (*call)(void) = size == allocation_of ? in_an_allocation : NULL;
    allocations += size == allocation_of;
    if (call != NULL) {
        in_an_allocation = NULL;
        call();
    }
    return malloc(size);
}

static void *plain_realloc(void *block, size_t size, void *ctx)
{
    (void)ctx;
    return realloc(block, size);
}

static void plain_free(void *block, void *ctx)
{
    (void)ctx;
    free(block);
}

static int start(void **state)
{
    static const struct contract_subject subject = { "redis", make, 0, 0, 1, 1, 0 };
    static const strata_allocator watched = { sizeof watched, watched_alloc, plain_realloc, plain_free, NULL };
    (void)state;
    in_an_allocation = NULL;
    allocation_of = allocations = 0;
    redis_do(other, "CONFIG", "SET", "min-replicas-to-write", "0");
    redis_do(other, "FLUSHALL");
    assert_int_equal(contract_open(&node, &subject, &watched), STRATA_OK);
    test_host_keep_delays(&node.host);
    assert_int_equal(contract_get(&node, 0, strata_str("k"), NULL, NULL),
                     STRATA_MISS); /* connected: it knows the life */
    assert_int_equal(contract_get(&node, 0, strata_str("pace"), NULL, NULL), STRATA_MISS);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    test_host_cut(&node.host);
    contract_close(&node);
    return 0;
}

static struct redis_layer *redis(void) { return (struct redis_layer *)(void *)node.layer; }
static uint64_t life(void) { return atomic_load(&redis()->life.now); }
static const strata_slice key_of_k = { "\0\0\0\0k", 5 };

/* One that is on its way until the test says that it was answered. */
static uint64_t begin_delete(void) { return strata__redis_life_deleted(redis(), key_of_k); }
static void end_delete(uint64_t serial, uint64_t in_life) { strata__redis_life_deleted_in(redis(), serial, in_life); }

static void put(const char *key)
{
    strata_meta meta = contract_meta(&node, 60000);
    assert_int_equal(contract_put(&node, 0, strata_str(key), strata_str("v"), &meta, STRATA_FOREVER), STRATA_OK);
}

/* The store is emptied, and the node has met its new life. */
static void new_life(void)
{
    redis_do(other, "FLUSHALL");
    put("other");
}

/* What stands at "k", behind all that was sent for it: an envelope's first byte, a tombstone's, or 0. */
static int what_stands(void)
{
    char stored[] = "app:\0\0\0\0k";
    const char *words[] = { "GET", NULL };
    (void)contract_get(&node, 0, strata_str("k"), NULL, NULL); /* on the same connection */
    struct redis_answer got = redis_do_slice(other, words, strata_bytes(stored, sizeof stored - 1));
    return got.size > 0 ? (unsigned char)got.text[0] : 0;
}
enum { NOTHING = 0, ENTRY = 0xca, TOMBSTONE = 0xcc };

/* Tests ----------------------------------------------------------------------------------------------------------- */

/* More deletes than are kept begin before it is answered, but a new life was met while it was kept. */
static void test_one_that_is_pushed_out_comes_before(void **state)
{
    (void)state;
    (void)begin_delete();
    new_life();
    assert_int_equal(what_stands(), NOTHING); /* it waits for its answer */
    for (int i = 0; i < DELETES_KEPT; i++) {
        char key[32];
        snprintf(key, sizeof key, "%c%c%c%c%d", 0, 0, 0, 0, i);
        end_delete(strata__redis_life_deleted(redis(), strata_bytes(key, 4 + strlen(key + 4))), life());
    }
    assert_int_equal(what_stands(), TOMBSTONE);
}

/* It was carried out by a master that had long been replaced, which answered at last. */
static void test_one_that_takes_longer_than_it_would_be_kept(void **state)
{
    (void)state;
    uint64_t serial = begin_delete(), before = life();
    new_life();
    test_host_advance(&node.host, DELETES_KEPT_MS + 1000);
    end_delete(serial, before);
    assert_int_equal(what_stands(), TOMBSTONE);
}

/* The connection that it is repeated on is lost, or the server refuses it for a while. */
static void test_one_that_can_t_be_repeated_is_owed(void **state)
{
    (void)state;
    uint64_t serial = begin_delete(), before = life();
    new_life();
    redis_do(other, "CONFIG", "SET", "min-replicas-to-write", "1");
    end_delete(serial, before);
    assert_int_equal(what_stands(), NOTHING);
    redis_do(other, "CONFIG", "SET", "min-replicas-to-write", "0");
    test_host_advance(&node.host, REPEAT_PAUSE_MS);
    test_host_drain(&node.host);
    assert_int_equal(what_stands(), TOMBSTONE);
    put("k");
    test_host_advance(&node.host, REPEAT_PAUSE_MS * 2);
    test_host_drain(&node.host);
    assert_int_equal(what_stands(), ENTRY); /* once it was through it does not come again */
}

/* As in a Cluster, where each master's life is met by itself: what was repeated into one is not repeated there for another's sake. */
static void test_one_that_was_repeated_is_not_repeated_there(void **state)
{
    (void)state;
    put("k");
    assert_int_equal(contract_remove(&node, 0, strata_str("k")), STRATA_OK);
    new_life();
    assert_int_equal(what_stands(), TOMBSTONE);
    put("k");
    strata__redis_life_saw(redis(), NULL, 4711);
    assert_int_equal(what_stands(), ENTRY);
}

static void meet_another(void) { strata__redis_life_saw(redis(), NULL, 4711); }

/* While it is being sent to one life, another is met. */
static void test_one_that_is_being_repeated_is_repeated_again(void **state)
{
    (void)state;
    end_delete(begin_delete(), life());
    allocation_of = sizeof(struct redis_call) + 4 + key_of_k.size; /* of its repetition */
    allocations = 0;
    in_an_allocation = meet_another;
    strata__redis_life_saw(redis(), NULL, 815);
    assert_int_equal(allocations, 2);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(test_one_that_is_pushed_out_comes_before),          CASE(test_one_that_takes_longer_than_it_would_be_kept),
        CASE(test_one_that_can_t_be_repeated_is_owed),           CASE(test_one_that_was_repeated_is_not_repeated_there),
        CASE(test_one_that_is_being_repeated_is_repeated_again),
    };
    redis_server_start(&server, NULL);
    other = redis_do_open(&server);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    strata__redis_close(other);
    redis_server_stop(&server);
    return failed;
}
