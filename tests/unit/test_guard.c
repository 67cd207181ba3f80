/* test_guard.c - the guard before a layer that fails on demand, under a clock that the test moves. */
#include <stdio.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/layer/guard.h"
#include "src/layer/value_impl.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/sick_layer.h"
#include "tests/support/test_host.h"

enum { FAILURES = 3, OPEN_MS = 1000, PROBE_MS = 3000 };

static struct test_host host;
static struct sick_layer sick;
static strata_layer *guard;
static strata_error words;
static int finished;

static int open_with(uint64_t max_keys, const strata_allocator *mem)
{
    const struct guard_options options = { .breaker_failures = FAILURES,
                                           .breaker_open_ms = OPEN_MS,
                                           .probe_ms = PROBE_MS,
                                           .max_queued_deletes = max_keys,
                                           .max_queued_bytes = 1 << 20 };
    strata_error err = STRATA_ERROR_INIT;
    test_host_start(&host, mem);
    test_host_keep_delays(&host);
    guard = strata__guard_layer(sick_layer_init(&sick), &options);
    return guard->ops->start(guard, &host.host, &err);
}

static void close_all(void)
{
    test_host_cut(&host);
    guard->ops->close(guard);
    test_host_stop(&host);
}

static int set_up(void **state)
{
    (void)state;
    return open_with(100, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    close_all();
    return sick.closed != 1;
}

static void done(strata_op *op)
{
    (void)op;
    finished++;
}

static strata_op make_op(uint32_t kind, const char *key)
{
    return (strata_op){ .size = sizeof(strata_op),
                        .kind = kind,
                        .hash = 7,
                        .key = strata_str(key),
                        .now_ms = atomic_load(&host.now_ms),
                        .expires_ms = STRATA_FOREVER,
                        .err = &words,
                        .done = done,
                        .owner = &host,
                        .mem = host.host.mem };
}

static int run(strata_op *op)
{
    strata_op *ops[] = { op };
    finished = 0;
    words = (strata_error)STRATA_ERROR_INIT;
    guard->ops->submit(guard, ops, 1);
    assert_int_equal(finished, 1);
    assert_true(op->done == done && op->owner == &host); /* the cache's own, as they were */
    return op->status;
}

static int put(const char *key, const char *text)
{
    strata_op op = make_op(STRATA_OP_PUT, key);
    op.value = strata__value_copy(NULL, text, strlen(text));
    int status = run(&op);
    strata_value_unref(op.value);
    return status;
}

/* STRATA_OK: it is `text`. */
static int get(const char *key, const char *text)
{
    strata_op op = make_op(STRATA_OP_GET, key);
    int status = run(&op);
    if (status == STRATA_OK)
        assert_memory_equal(strata_value_data(op.found), text, strlen(text));
    else
        assert_null(op.found);
    strata_value_unref(op.found);
    return status;
}

static int remove_key(const char *key)
{
    strata_op op = make_op(STRATA_OP_REMOVE, key);
    return run(&op);
}

static int clear(const char *prefix, int all)
{
    const strata_clear_op what = {
        .size = sizeof what, .all = (uint32_t)all, .prefix = strata_str(prefix), .life = 5, .position = 6
    };
    return guard->ops->clear(guard, &what, &words);
}

static strata_layer_stats stats(void)
{
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    guard->ops->stats(guard, &s);
    return s;
}

/* Let it fail until it is left alone. */
static void break_it(void)
{
    sick.log[0] = 0;
    sick_layer_fail(&sick, STRATA_ETIMEDOUT, 0);
    for (int i = 0; i < FAILURES; i++)
        assert_int_equal(get("?", NULL), STRATA_ETIMEDOUT);
    assert_int_equal(stats().breaker, STRATA_BREAKER_OPEN);
    sick_layer_fail(&sick, 0, 0);
    assert_true(sick_layer_did(&sick, "get ?, get ?, get ?, "));
}

static void hands_through_what_is_well(void **state)
{
    (void)state;
    assert_int_equal(get("a", NULL), STRATA_MISS);
    assert_int_equal(put("a", "one"), STRATA_OK);
    assert_int_equal(get("a", "one"), STRATA_OK);
    assert_int_equal(remove_key("a"), STRATA_OK);
    assert_int_equal(get("a", NULL), STRATA_MISS);
    assert_int_equal(clear("a", 0), STRATA_OK);
    strata_op op = make_op(99, "a");
    assert_int_equal(run(&op), STRATA_EUNSUPPORTED);
    assert_string_equal(guard->name, "sick");
    assert_string_equal(guard->ops->kind, "sick");
    assert_int_equal(guard->flags, STRATA_LAYER_SHARED);
    assert_null(guard->ops->maintain);
    assert_int_equal(stats().queued_deletes + stats().breaker + stats().breaker_refused, 0);
}

static void left_alone_it_answers_at_once(void **state)
{
    (void)state;
    assert_int_equal(put("a", "one"), STRATA_OK);
    assert_true(sick_layer_did(&sick, "put a, "));
    break_it();
    test_host_advance(&host, 400);
    assert_int_equal(get("a", NULL), STRATA_ELAYER);
    assert_non_null(strstr(words.message, "400 ms"));           /* since when */
    assert_non_null(strstr(words.message, "the line is dead")); /* why */
    assert_non_null(strstr(words.message, "in 600 ms"));        /* until when */
    assert_string_equal(words.where, "sick");
    assert_int_equal(put("b", "two"), STRATA_AGAIN);
    assert_int_equal(remove_key("a"), STRATA_PENDING);
    assert_true(sick_layer_did(&sick, ""));
    strata_layer_stats s = stats();
    assert_int_equal(s.breaker, STRATA_BREAKER_OPEN);
    assert_int_equal(s.breaker_opened, 1);
    assert_int_equal(s.breaker_refused, 3);
    assert_int_equal(s.queued_deletes, 1);
    assert_int_equal(guard->ops->keys(guard, NULL, NULL, &words), STRATA_ELAYER);
}

static void an_error_reply_opens_nothing(void **state)
{
    (void)state;
    sick_layer_fail(&sick, STRATA_ELAYER, 0); /* "OOM command not allowed" */
    for (int i = 0; i < 10; i++) {
        assert_int_equal(put("a", "one"), STRATA_ELAYER);
        assert_int_equal(get("a", NULL), STRATA_ELAYER);
    }
    sick_layer_fail(&sick, STRATA_ENOMEM, 0); /* our own memory says nothing of the server */
    for (int i = 0; i < 10; i++)
        assert_int_equal(get("b", NULL), STRATA_ENOMEM);
    assert_int_equal(stats().breaker, STRATA_BREAKER_CLOSED);
    assert_int_equal(stats().queued_deletes, 0); /* a put that was refused left nothing behind */
}

static void the_first_operation_is_the_probe(void **state)
{
    (void)state;
    assert_int_equal(put("a", "one"), STRATA_OK);
    break_it();
    atomic_fetch_add(&host.now_ms, OPEN_MS); /* before the timer sees it */
    sick.holds = 1;
    strata_op first = make_op(STRATA_OP_GET, "a");
    strata_op *ops[] = { &first };
    guard->ops->submit(guard, ops, 1);
    assert_int_equal(get("a", NULL), STRATA_ELAYER); /* one at a time */
    assert_int_equal(stats().breaker, STRATA_BREAKER_HALF_OPEN);
    sick_layer_release(&sick);
    assert_int_equal(first.status, STRATA_OK);
    strata_value_unref(first.found);
    assert_int_equal(stats().breaker, STRATA_BREAKER_CLOSED);
    assert_int_equal(get("a", "one"), STRATA_OK);
}

static void a_probe_without_answer_makes_room(void **state)
{
    (void)state;
    break_it();
    atomic_fetch_add(&host.now_ms, OPEN_MS);
    sick.holds = 1;
    strata_op lost = make_op(STRATA_OP_GET, "a");
    strata_op *ops[] = { &lost };
    guard->ops->submit(guard, ops, 1);
    sick.holds = 0;
    atomic_fetch_add(&host.now_ms, PROBE_MS - 1);
    assert_int_equal(get("b", NULL), STRATA_ELAYER);
    atomic_fetch_add(&host.now_ms, 1);
    assert_int_equal(get("b", NULL), STRATA_MISS);
    assert_int_equal(stats().breaker, STRATA_BREAKER_CLOSED);
    sick_layer_release(&sick);
    assert_int_equal(lost.status, STRATA_MISS);
}

static void without_traffic_a_ping_looks(void **state)
{
    (void)state;
    break_it();
    sick_layer_fail(&sick, STRATA_EIO, 0);
    test_host_advance(&host, OPEN_MS - 1);
    assert_true(sick_layer_did(&sick, ""));
    test_host_advance(&host, 1);
    assert_true(sick_layer_did(&sick, "ping, "));
    assert_int_equal(stats().breaker, STRATA_BREAKER_OPEN);
    assert_int_equal(stats().breaker_opened, 1); /* it was never closed between */
    sick_layer_fail(&sick, 0, 0);
    test_host_advance(&host, OPEN_MS);
    assert_true(sick_layer_did(&sick, "ping, "));
    assert_int_equal(stats().breaker, STRATA_BREAKER_CLOSED);
    test_host_advance(&host, 100 * OPEN_MS);
    assert_true(sick_layer_did(&sick, "")); /* nobody looks at what is well */
}

static void a_delete_that_failed_is_done_later(void **state)
{
    (void)state;
    assert_int_equal(put("a", "one"), STRATA_OK);
    sick_layer_fail(&sick, STRATA_ETIMEDOUT, 0);
    assert_int_equal(remove_key("a"), STRATA_PENDING);
    sick_layer_fail(&sick, 0, 0);
    assert_int_equal(stats().errors, 1);
    assert_true(sick_layer_did(&sick, "put a, remove a, "));
    assert_int_equal(get("a", NULL), STRATA_MISS); /* it has it still, and is not asked */
    assert_int_equal(put("a", "two"), STRATA_AGAIN);
    assert_int_equal(get("b", NULL), STRATA_MISS); /* of others it is */
    assert_true(sick_layer_did(&sick, "get b, "));
    test_host_advance(&host, 1000);
    assert_true(sick_layer_did(&sick, "remove a, "));
    assert_int_equal(stats().queued_deletes, 0);
    assert_int_equal(put("a", "two"), STRATA_OK);
    assert_int_equal(get("a", "two"), STRATA_OK);
}

static void a_remove_that_comes_through_settles_it(void **state)
{
    (void)state;
    sick_layer_fail(&sick, STRATA_ETIMEDOUT, 1); /* it is carried out, and nobody knows */
    assert_int_equal(put("a", "one"), STRATA_ETIMEDOUT);
    sick_layer_fail(&sick, 0, 0);
    assert_int_equal(get("a", NULL), STRATA_MISS);
    assert_int_equal(remove_key("a"), STRATA_OK); /* what the cache sends after such a put */
    assert_int_equal(stats().queued_deletes, 0);
    assert_int_equal(put("a", "two"), STRATA_OK);
    test_host_advance(&host, 10000);
    assert_int_equal(get("a", "two"), STRATA_OK); /* nothing is replayed over it */
}

/* A remove was on its way, and a put of the key, sent before, fails after it: only a later remove settles that. */
static void an_older_remove_settles_nothing(void **state)
{
    (void)state;
    sick_layer_fail(&sick, STRATA_ETIMEDOUT, 1);
    assert_int_equal(put("x", "x"), STRATA_ETIMEDOUT); /* no quiet way */
    sick_layer_fail(&sick, 0, 0);
    sick.holds = 1;
    strata_op older = make_op(STRATA_OP_REMOVE, "a"), failing = make_op(STRATA_OP_REMOVE, "a");
    strata_op *ops[] = { &older, &failing };
    guard->ops->submit(guard, ops, 2);
    sick.held_status[1] = STRATA_EIO;
    strata_op *first = sick.held[0]; /* answered the other way round */
    sick.held[0] = sick.held[1];
    sick.held[1] = first;
    sick.held_status[0] = STRATA_EIO;
    sick.held_status[1] = STRATA_OK;
    sick_layer_release(&sick);
    assert_int_equal(failing.status, STRATA_PENDING);
    assert_int_equal(older.status, STRATA_OK);
    assert_int_equal(stats().queued_deletes, 2);
}

static void deletes_are_told_before_anything_is_trusted(void **state)
{
    (void)state;
    assert_int_equal(put("a", "one"), STRATA_OK);
    assert_int_equal(put("b", "two"), STRATA_OK);
    assert_int_equal(put("c", "three"), STRATA_OK);
    assert_true(sick_layer_did(&sick, "put a, put b, put c, "));
    break_it();
    assert_int_equal(remove_key("a"), STRATA_PENDING);
    assert_int_equal(remove_key("b"), STRATA_PENDING);
    assert_int_equal(remove_key("a"), STRATA_PENDING); /* once is enough */
    assert_int_equal(stats().queued_deletes, 2);
    sick.holds = 1;
    test_host_advance(&host, OPEN_MS); /* no traffic, and it goes all the same */
    assert_true(sick_layer_did(&sick, "remove b, "));
    assert_int_equal(get("c", NULL), STRATA_ELAYER); /* it may be well, but is not trusted yet */
    assert_non_null(strstr(words.message, "2 deletes"));
    assert_int_equal(remove_key("b"), STRATA_PENDING); /* while one is on its way */
    assert_int_equal(remove_key("d"), STRATA_PENDING);
    sick_layer_release(&sick);
    test_host_drain(&host);
    assert_true(sick_layer_did(&sick, "remove a, remove d, remove b, "));
    assert_int_equal(stats().breaker, STRATA_BREAKER_CLOSED);
    assert_int_equal(stats().queued_deletes, 0);
    assert_int_equal(get("a", NULL), STRATA_MISS);
    assert_int_equal(get("c", "three"), STRATA_OK);
}

static void a_replay_that_fails_stays_open(void **state)
{
    (void)state;
    break_it();
    char key[] = "k0";
    for (char i = 0; i < 10; i++) {
        key[1] = (char)('0' + i);
        assert_int_equal(remove_key(key), STRATA_PENDING);
    }
    sick_layer_fail(&sick, STRATA_EIO, 0);
    test_host_advance(&host, OPEN_MS);
    assert_true(sick_layer_did(&sick, "remove k0, ")); /* one, to see */
    assert_int_equal(stats().breaker, STRATA_BREAKER_OPEN);
    assert_int_equal(stats().queued_deletes, 10);
    sick_layer_fail(&sick, STRATA_EIO, 0);
    sick.fails_key = 'z';
    test_host_advance(&host, OPEN_MS);
    assert_int_equal(stats().queued_deletes, 0);
    assert_int_equal(stats().breaker, STRATA_BREAKER_CLOSED);
}

/* A server that is well and refuses a delete: the others are trusted, that key is not, and it is tried again. */
static void a_delete_that_is_refused_keeps_its_key_away(void **state)
{
    (void)state;
    assert_int_equal(put("n", "one"), STRATA_OK);
    assert_int_equal(put("o", "two"), STRATA_OK);
    sick_layer_fail(&sick, STRATA_ELAYER, 0);
    sick.fails_key = 'n';
    assert_int_equal(remove_key("n"), STRATA_ELAYER); /* not "pending": waiting will not help */
    for (int i = 0; i < 20; i++)
        test_host_advance(&host, 300);
    assert_int_equal(stats().queued_deletes, 1);
    assert_int_equal(stats().breaker, STRATA_BREAKER_CLOSED);
    assert_int_equal(get("n", NULL), STRATA_MISS);
    assert_int_equal(get("o", "two"), STRATA_OK);
    assert_true(sick.asked < 25); /* and not all the time */
    sick_layer_fail(&sick, 0, 0);
    test_host_advance(&host, OPEN_MS);
    assert_int_equal(stats().queued_deletes, 0);
}

static void too_many_become_a_clear(void **state)
{
    (void)state;
    char key[16];
    for (int i = 0; i < 5; i++)
        assert_int_equal(put((snprintf(key, sizeof key, "e%d", i), key), "text"), STRATA_OK);
    sick.log[0] = 0;
    break_it();
    for (int i = 0; i < 101; i++)
        assert_int_equal(remove_key((snprintf(key, sizeof key, "k%d", i), key)), STRATA_PENDING);
    assert_int_equal(stats().queued_deletes, 1);
    assert_int_equal(remove_key("more"), STRATA_PENDING);
    test_host_advance(&host, OPEN_MS);
    assert_true(sick_layer_did(&sick, "clear all, "));
    assert_int_equal(stats().queued_deletes, 0);
    assert_int_equal(get("e1", NULL), STRATA_MISS);
}

/* What nobody deleted does not clear what others share. */
static void loads_fill_no_more_than_half(void **state)
{
    (void)state;
    char key[16];
    break_it();
    for (int i = 0; i < 300; i++) {
        strata_op op = make_op(STRATA_OP_REMOVE, (snprintf(key, sizeof key, "k%d", i), key));
        op.flags = STRATA_OP_LOADED;
        assert_int_equal(run(&op), i < 50 ? STRATA_PENDING : STRATA_OK);
    }
    assert_int_equal(stats().queued_deletes, 50);
    for (int i = 300; i < 350; i++)
        assert_int_equal(remove_key((snprintf(key, sizeof key, "k%d", i), key)), STRATA_PENDING);
    assert_int_equal(stats().queued_deletes, 100);
}

static int count_key(uint32_t space, strata_slice key, void *ctx)
{
    (void)space, (void)key;
    ++*(int *)ctx;
    return 0;
}

static void a_clear_that_failed_is_done_later(void **state)
{
    (void)state;
    int keys = 0;
    assert_int_equal(put("pa", "one"), STRATA_OK);
    assert_int_equal(put("qa", "two"), STRATA_OK);
    sick_layer_fail(&sick, STRATA_EIO, 0);
    assert_int_equal(clear("p", 0), STRATA_PENDING);
    assert_int_equal(clear("p", 0), STRATA_PENDING);
    assert_int_equal(stats().queued_deletes, 1);
    sick_layer_fail(&sick, 0, 0);
    sick.log[0] = 0;
    assert_int_equal(get("pa", NULL), STRATA_MISS);
    assert_int_equal(put("pb", "three"), STRATA_AGAIN);
    assert_int_equal(get("qa", "two"), STRATA_OK);
    assert_int_equal(guard->ops->keys(guard, count_key, &keys, &words), STRATA_OK);
    assert_int_equal(keys, 1);
    test_host_advance(&host, OPEN_MS);
    assert_true(sick_layer_did(&sick, "get qa, clear p, "));
    assert_int_equal(put("pb", "three"), STRATA_OK);
    break_it();
    assert_int_equal(clear("q", 0), STRATA_PENDING);
    assert_int_equal(clear("", 1), STRATA_PENDING); /* that one takes the other along */
    test_host_advance(&host, OPEN_MS);
    assert_true(sick_layer_did(&sick, "clear all, "));
    assert_int_equal(get("pb", NULL), STRATA_MISS);
}

/* Some of a batch go through, some do not: each is answered once, and the list is not looked at behind its end. */
static void a_batch_is_taken_apart(void **state)
{
    (void)state;
    static const char *const keys[] = { "a", "n", "b", "c", "n", "n", "d" };
    strata_op list[7], *ops[7];
    sick_layer_fail(&sick, STRATA_ELAYER, 0);
    assert_int_equal(remove_key("n"), STRATA_ELAYER);
    sick_layer_fail(&sick, 0, 0);
    sick.log[0] = 0;
    finished = 0;
    for (int i = 0; i < 7; i++) {
        list[i] = make_op(STRATA_OP_GET, keys[i]);
        ops[i] = &list[i];
    }
    guard->ops->submit(guard, ops, 7);
    assert_int_equal(finished, 7);
    for (int i = 0; i < 7; i++)
        assert_int_equal(list[i].status, STRATA_MISS);
    assert_true(sick_layer_did(&sick, "get a, get b, get c, get d, "));
}

static void closing_tries_once_more(void **state)
{
    (void)state;
    break_it();
    assert_int_equal(remove_key("a"), STRATA_PENDING);
    test_host_cut(&host); /* long before the breaker would let anybody through */
    assert_true(sick_layer_did(&sick, "ping, remove a, "));
    assert_int_equal(remove_key("b"), STRATA_PENDING);
    sick_layer_fail(&sick, STRATA_EIO, 0);
    test_host_drain(&host); /* and ends, though it fails */
    assert_true(sick.asked <= 8);
}

static void nothing_is_allocated_while_it_is_well(void **state)
{
    (void)state;
    struct fail_alloc a;
    close_all();
    fail_alloc_init(&a, 0);
    assert_int_equal(open_with(100, &a.mem), STRATA_OK);
    long before = atomic_load(&a.requests);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(get("a", NULL), STRATA_MISS);
        assert_int_equal(put("b", "two"), STRATA_OK);
        assert_int_equal(remove_key("b"), STRATA_OK);
    }
    assert_int_equal(atomic_load(&a.requests), before);
    close_all();
    assert_int_equal(atomic_load(&a.live), 0);
    open_with(100, NULL);
}

/* An outage whose n-th allocation fails: what was deleted is never served, and nothing is lost. */
static void outage(void)
{
    assert_int_equal(sick.status, 0);
    put("a", "one");
    put("pb", "two");
    sick_layer_fail(&sick, STRATA_EIO, 0);
    int removed = remove_key("a") >= 0, cleared = clear("p", 0) >= 0;
    for (int i = 0; i < FAILURES; i++)
        get("?", NULL);
    assert_true(removed && cleared);
    assert_int_equal(remove_key("c"), STRATA_PENDING);
    sick_layer_fail(&sick, 0, 0);
    for (int i = 0; i < 5; i++) {
        assert_int_not_equal(get("a", "one"), STRATA_OK);
        assert_int_not_equal(get("pb", "two"), STRATA_OK);
        test_host_advance(&host, OPEN_MS);
    }
    assert_int_equal(stats().queued_deletes, 0);
    assert_int_equal(sick.entries[0].present, 0);
    assert_int_equal(sick.entries[1].present, 0);
}

static void the_nth_allocation_fails(void **state)
{
    (void)state;
    struct fail_alloc a;
    close_all();
    long n = 0;
    do {
        fail_alloc_init(&a, ++n);
        if (open_with(100, &a.mem) == STRATA_OK)
            outage();
        close_all();
        if (a.live != 0)
            fail_msg("allocation %ld failed, and then %ld blocks were lost", n, (long)a.live);
    } while (a.failed);
    open_with(100, NULL);
}

static void what_has_failed_is_given_back(void **state)
{
    (void)state;
    static struct sick_layer other;
    const struct guard_options options = { 1, 1, 1, 1, 1, NULL };
    strata_layer *inner = sick_layer_init(&other);
    inner->failed.status = STRATA_EINVAL;
    assert_ptr_equal(strata__guard_layer(inner, &options), inner);
    strata_layer_free(inner);
    strata_layer_free(strata__guard_layer(sick_layer_init(&other), &options)); /* never started */
    assert_int_equal(other.closed, 1);
}

#define CASE(name) \
    { \
#name, name, set_up, tear_down, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(hands_through_what_is_well),
        CASE(left_alone_it_answers_at_once),
        CASE(an_error_reply_opens_nothing),
        CASE(the_first_operation_is_the_probe),
        CASE(a_probe_without_answer_makes_room),
        CASE(without_traffic_a_ping_looks),
        CASE(a_delete_that_failed_is_done_later),
        CASE(a_remove_that_comes_through_settles_it),
        CASE(an_older_remove_settles_nothing),
        CASE(deletes_are_told_before_anything_is_trusted),
        CASE(a_replay_that_fails_stays_open),
        CASE(a_delete_that_is_refused_keeps_its_key_away),
        CASE(too_many_become_a_clear),
        CASE(loads_fill_no_more_than_half),
        CASE(a_clear_that_failed_is_done_later),
        CASE(a_batch_is_taken_apart),
        CASE(closing_tries_once_more),
        CASE(nothing_is_allocated_while_it_is_well),
        CASE(the_nth_allocation_fails),
        CASE(what_has_failed_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
