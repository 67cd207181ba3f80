/* test_memory_share.c - what of a memory layer is a namespace's: kept under each policy while others flood it, lent while it is
 * not used, told of before anything is put, and refused where it would be too much. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "src/layer/memory/memory_aside.h"
#include "src/layer/memory/memory_impl.h"
#include "strata/events.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/memory_fixture.h"

enum { OURS = 1, BELOW = 2, OTHERS = 3, MIB = 1 << 20 };

static char zeros[1 << 20];

static struct memory *layer_of(struct memory_fixture *f) { return (struct memory *)(void *)f->layer; }

static int give(struct memory_fixture *f, uint32_t space, uint32_t of, uint32_t percent, uint64_t bytes)
{
    strata_error err = STRATA_ERROR_INIT;
    const strata_share share = { STRATA_SIZED(strata_share), .space = space, .of = of, .percent = percent,
                                 .bytes = bytes };
    int rc = f->layer->ops->share(f->layer, &share, &err);
    assert_int_equal(rc, err.status);
    return rc;
}

static void open_layer(struct memory_fixture *f, int policy, uint64_t max_entries, uint32_t shards)
{
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = MIB, .max_entries = max_entries,
                                .shards = shards, .policy = policy };
    assert_int_equal(fixture_open(f, &o, NULL), STRATA_OK);
}

static int put(struct memory_fixture *f, uint32_t space, uint64_t n, size_t size)
{
    char text[32];
    strata_op op = fixture_op(f, STRATA_OP_PUT, space, fixture_key(text, n));
    op.value = strata__value_copy(&strata__malloc, zeros, size);
    op.meta = fixture_meta(f, 3600000);
    int rc = fixture_submit(f, &op);
    strata_value_unref(op.value);
    return rc;
}

static int has(struct memory_fixture *f, uint32_t space, uint64_t n)
{
    char text[32];
    strata_op op = fixture_op(f, STRATA_OP_GET, space, fixture_key(text, n));
    int rc = f->layer->ops->lookup(f->layer, &op);
    strata_value_unref(op.found);
    return rc == STRATA_OK;
}

static uint64_t held(struct memory_fixture *f, uint32_t space, uint64_t count)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < count; i++)
        n += (uint64_t)has(f, space, i);
    return n;
}

static uint64_t used(struct memory_fixture *f)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < layer_of(f)->shard_count; i++)
        sum += layer_of(f)->shards[i].shares[0].used;
    return sum;
}

static void flood(struct memory_fixture *f, uint64_t from, uint64_t count)
{
    for (uint64_t n = from; n < from + count; n++) {
        assert_int_equal(put(f, OTHERS, n, 40 + n % 150), STRATA_OK);
        (void)has(f, OTHERS, n);
        (void)has(f, OTHERS, n);
        (void)has(f, OTHERS, n - n / 3);
    }
}

/* It fills the layer; others come, read more, and take all but its share; and it takes that much back from them. */
static void test_kept_and_lent(void **state)
{
    (void)state;
    for (int policy = STRATA_EVICT_S3FIFO; policy <= STRATA_EVICT_COST; policy++) {
        struct memory_fixture f;
        open_layer(&f, policy, 0, 1);
        assert_int_equal(give(&f, OURS, OURS, 40, 0), STRATA_OK);
        assert_int_equal(give(&f, BELOW, OURS, 0, 0), STRATA_OK);
        for (uint64_t n = 0; n < 8000; n++)
            assert_int_equal(put(&f, n % 2 != 0 ? OURS : BELOW, n, 100), STRATA_OK);
        assert_true(used(&f) > MIB / 10 * 8); /* all that there is: nobody else wants it */
        flood(&f, 0, 12000);
        assert_true(used(&f) >= MIB / 10 * 4 && used(&f) < MIB / 10 * 4 + MIB / 20);
        uint64_t ours = held(&f, OURS, 8000) + held(&f, BELOW, 8000);
        assert_true(ours * 180 > MIB / 10 * 4);
        flood(&f, 12000, 12000);
        assert_int_equal(held(&f, OURS, 8000) + held(&f, BELOW, 8000), ours);
        for (uint64_t n = 0; n < 8000; n++) { /* it goes: what it had is there for all */
            char text[32];
            strata_op op = fixture_op(&f, STRATA_OP_REMOVE, n % 2 != 0 ? OURS : BELOW, fixture_key(text, n));
            (void)fixture_submit(&f, &op);
        }
        assert_int_equal(used(&f), 0);
        flood(&f, 24000, 12000);
        assert_true(fixture_stats(&f).bytes > MIB / 100 * 85);
        for (uint64_t n = 0; n < 2500; n++) { /* and comes back, while the others go on */
            assert_int_equal(put(&f, OURS, 10000 + n, 100), STRATA_OK);
            flood(&f, 36000 + n * 6, 6);
        }
        assert_true(used(&f) >= MIB / 10 * 4 - 200);
        assert_int_equal(fixture_stats(&f).share_breaks, 0);
        assert_true(fixture_stats(&f).bytes <= MIB);
        fixture_close(&f);
    }
}

static void test_of_the_count(void **state)
{
    (void)state;
    for (int policy = STRATA_EVICT_S3FIFO; policy <= STRATA_EVICT_COST; policy++) {
        struct memory_fixture f;
        open_layer(&f, policy, 1000, 1);
        assert_int_equal(give(&f, OURS, OURS, 30, 0), STRATA_OK);
        for (uint64_t n = 0; n < 1000; n++)
            assert_int_equal(put(&f, OURS, n, 20), STRATA_OK);
        flood(&f, 0, 5000);
        assert_int_equal(layer_of(&f)->shards->shares[0].count, 300);
        assert_int_equal(held(&f, OURS, 1000), 300);
        assert_int_equal(fixture_stats(&f).entries, 1000);
        fixture_close(&f);
    }
}

/* Of what a namespace has, the policy says who stays: those that are read, where it looks at that, and does not age them. */
static void test_who_is_read_stays(void **state)
{
    (void)state;
    for (int policy = STRATA_EVICT_S3FIFO; policy <= STRATA_EVICT_SIEVE; policy++) {
        struct memory_fixture f;
        open_layer(&f, policy, 1000, 1);
        assert_int_equal(give(&f, OURS, OURS, 20, 0), STRATA_OK);
        for (uint64_t n = 0; n < 200; n++)
            assert_int_equal(put(&f, OURS, n, 20), STRATA_OK);
        flood(&f, 0, 5000); /* by now all of them are held */
        assert_int_equal(held(&f, OURS, 200), 200);
        for (uint64_t n = 0; n < 2000; n++) { /* a hundred of them go on being read, while others come */
            for (int k = 0; k < 4; k++)
                (void)has(&f, OURS, n % 100);
            assert_int_equal(put(&f, OURS, 1000 + n, 20), STRATA_OK);
            flood(&f, 10000 + n * 3, 3);
        }
        uint64_t hot = held(&f, OURS, 100);
        assert_true(policy == STRATA_EVICT_FIFO || policy == STRATA_EVICT_LFU || hot == 100);
        fixture_close(&f);
    }
}

/* Each shard keeps its part: as exact as keys fall evenly. */
static void test_many_shards(void **state)
{
    (void)state;
    struct memory_fixture f;
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = 8 * MIB, .shards = 8 };
    assert_int_equal(fixture_open(&f, &o, NULL), STRATA_OK);
    assert_int_equal(give(&f, OURS, OURS, 0, 2 * MIB), STRATA_OK);
    for (uint64_t n = 0; n < 11000; n++)
        assert_int_equal(put(&f, OURS, n, 100), STRATA_OK);
    uint64_t before = used(&f);
    assert_true(before < 2 * MIB && before > 2 * MIB - 200000);
    for (uint64_t n = 0; n < 150000; n++)
        assert_int_equal(put(&f, OTHERS, n, 100), STRATA_OK);
    assert_true(used(&f) > before / 100 * 95);
    fixture_close(&f);
}

/* Room for a large value is not made of a share, nor of what is resident: it is refused before anybody leaves. */
static void test_large_values(void **state)
{
    (void)state;
    struct memory_fixture f;
    open_layer(&f, STRATA_EVICT_LRU, 0, 1);
    assert_int_equal(give(&f, OURS, OURS, 60, 0), STRATA_OK);
    for (uint64_t n = 0; n < 4000; n++)
        assert_int_equal(put(&f, OURS, n, 100), STRATA_OK);
    for (uint64_t n = 0; n < 1000; n++)
        assert_int_equal(put(&f, OTHERS, n, 100), STRATA_OK);
    uint64_t entries = fixture_stats(&f).entries, ours = used(&f);
    assert_int_equal(put(&f, OTHERS, 5000, 400000), STRATA_AGAIN);
    assert_int_equal(fixture_stats(&f).entries, entries);
    assert_int_equal(put(&f, OTHERS, 5000, 150000), STRATA_OK);
    assert_true(used(&f) >= (ours < MIB / 10 * 6 ? ours : MIB / 10 * 6));
    for (uint64_t n = 0; n < 20; n++) /* blocks: ours are moved out of the way */
        assert_int_equal(put(&f, OTHERS, 6000 + n, 14000), STRATA_OK);
    assert_true(used(&f) >= (ours < MIB / 10 * 6 ? ours : MIB / 10 * 6));
    assert_int_equal(fixture_stats(&f).share_breaks, 0);
    fixture_close(&f);
}

/* A share is of the budget that is in force. */
static void test_a_budget_that_shrinks(void **state)
{
    (void)state;
    struct memory_fixture f;
    open_layer(&f, STRATA_EVICT_S3FIFO, 0, 1);
    assert_int_equal(give(&f, OURS, OURS, 50, 0), STRATA_OK);
    for (uint64_t n = 0; n < 4000; n++)
        assert_int_equal(put(&f, OURS, n, 100), STRATA_OK);
    flood(&f, 0, 10000);
    for (int i = 0; i < 100; i++)
        strata__memory_shrink(layer_of(&f), MIB / 2);
    flood(&f, 20000, 20000);
    assert_true(fixture_stats(&f).bytes <= MIB / 2);
    assert_true(used(&f) >= MIB / 4 && used(&f) < MIB / 4 + MIB / 20);
    for (int i = 0; i < 100; i++)
        strata__memory_shrink(layer_of(&f), MIB);
    uint64_t before = used(&f);
    flood(&f, 40000, 20000);
    assert_int_equal(used(&f), before);
    fixture_close(&f);
}

static void test_too_much_is_refused(void **state)
{
    (void)state;
    struct memory_fixture f;
    open_layer(&f, STRATA_EVICT_S3FIFO, 0, 2);
    assert_int_equal(give(&f, 1, 1, 50, 0), STRATA_OK);
    assert_int_equal(give(&f, 2, 2, 41, 0), STRATA_EINVAL);
    assert_int_equal(give(&f, 2, 2, 0, MIB + 1), STRATA_EINVAL);
    assert_int_equal(give(&f, 2, 2, 10, MIB * 3ull / 10), STRATA_OK); /* the more */
    assert_int_equal(give(&f, 3, 3, 11, 0), STRATA_EINVAL);
    assert_int_equal(give(&f, 3, 3, 10, 0), STRATA_OK);
    assert_int_equal(layer_of(&f)->shards->resident_ppm, 0); /* it gives way */
    assert_int_equal(give(&f, 3, 0, 0, 0), STRATA_OK);       /* was not opened after all */
    assert_int_equal(layer_of(&f)->shards->resident_ppm, 100000);
    assert_int_equal(give(&f, 3, 2, 0, 0), STRATA_OK);
    assert_int_equal(give(&f, 3, 0, 0, 0), STRATA_OK); /* nor this, which has none of its own */
    assert_int_equal(layer_of(&f)->share_count, 2);
    fixture_close(&f);
    open_layer(&f, STRATA_EVICT_S3FIFO, 0, 2);
    for (uint32_t space = 1; space <= SHARES_MOST; space++)
        assert_int_equal(give(&f, 100 * space, 100 * space, 1, 0), STRATA_OK);
    assert_int_equal(give(&f, 7, 7, 1, 0), STRATA_EBUSY);
    assert_int_equal(put(&f, 65000, 1, 10), STRATA_OK); /* a number that the table does not reach */
    fixture_close(&f);
}

/* Who would be more than is left, once a share is given, is resident no more. */
static void test_residents_give_way(void **state)
{
    (void)state;
    struct memory_fixture f;
    open_layer(&f, STRATA_EVICT_S3FIFO, 0, 1);
    for (uint64_t n = 0; n < 3000; n++) {
        char text[32];
        strata_op op = fixture_op(&f, STRATA_OP_PUT, OTHERS, fixture_key(text, n));
        op.value = strata__value_copy(&strata__malloc, zeros, 100);
        op.meta = fixture_meta(&f, 3600000);
        op.flags = STRATA_OP_RESIDENT;
        assert_int_equal(fixture_submit(&f, &op), STRATA_OK);
        strata_value_unref(op.value);
    }
    assert_int_equal(fixture_stats(&f).residents, 3000);
    assert_int_equal(give(&f, OURS, OURS, 70, 0), STRATA_OK);
    assert_true(fixture_stats(&f).resident_bytes <= MIB / 5);
    assert_int_equal(fixture_stats(&f).residents + fixture_stats(&f).unkept, 3000);
    fixture_close(&f);
}

/* In a child after fork the layer is empty; what was promised holds. */
static void test_reopened(void **state)
{
    (void)state;
    for (long n = 0, failed = 1; failed; n++) {
        struct fail_alloc a;
        struct memory_fixture f;
        strata_error err = STRATA_ERROR_INIT;
        strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = MIB, .shards = 2 };
        fail_alloc_init(&a, 0);
        assert_int_equal(fixture_open(&f, &o, &a.mem), STRATA_OK);
        assert_int_equal(give(&f, OURS, OURS, 40, 0), STRATA_OK);
        assert_int_equal(give(&f, BELOW, OURS, 0, 0), STRATA_OK);
        assert_int_equal(put(&f, OURS, 1, 100), STRATA_OK);
        atomic_store(&a.fail_at, n != 0 ? atomic_load(&a.requests) + n : 0);
        int rc = f.layer->ops->reopen(f.layer, &f.host, &err);
        failed = n == 0 || atomic_load(&a.failed);
        atomic_store(&a.fail_at, 0);
        assert_int_equal(rc, n != 0 && failed ? STRATA_ENOMEM : STRATA_OK);
        assert_int_equal(has(&f, OURS, 1), rc != STRATA_OK);
        for (uint64_t i = 0; i < 3000; i++)
            assert_int_equal(put(&f, i % 2 != 0 ? OURS : BELOW, i, 100), STRATA_OK);
        flood(&f, 0, 10000);
        assert_true(used(&f) >= MIB / 10 * 4);
        fixture_close(&f);
        assert_int_equal(atomic_load(&a.live), 0);
    }
}

/* Without memory for a share there is none, and nothing else is different. */
static void test_without_memory(void **state)
{
    (void)state;
    for (long n = 1, failed = 1; failed; n++) {
        struct fail_alloc a;
        struct memory_fixture f;
        strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = MIB, .shards = 4 };
        fail_alloc_init(&a, 0);
        assert_int_equal(fixture_open(&f, &o, &a.mem), STRATA_OK);
        atomic_store(&a.fail_at, atomic_load(&a.requests) + n);
        int first = give(&f, 1, 1, 20, 0), second = give(&f, 200, 200, 20, 0), below = give(&f, 900, 1, 0, 0);
        assert_true((first == STRATA_OK || first == STRATA_ENOMEM) && (below == STRATA_OK || below == STRATA_ENOMEM));
        failed = atomic_load(&a.failed);
        atomic_store(&a.fail_at, 0);
        if (first == STRATA_ENOMEM)
            assert_int_equal(give(&f, 1, 1, 20, 0), STRATA_OK);
        if (second == STRATA_ENOMEM)
            assert_int_equal(give(&f, 200, 200, 20, 0), STRATA_OK);
        assert_int_equal(layer_of(&f)->share_count, 2);
        for (uint64_t i = 0; i < 3000; i++)
            assert_int_equal(put(&f, i % 2 != 0 ? 1 : 200, i, 100), STRATA_OK);
        fixture_close(&f);
        assert_int_equal(atomic_load(&a.live), 0);
    }
}

/* Shares come while others put, read and are swept. */
static struct memory_fixture shared;
static _Atomic(int) stop;

static void *worker(void *ctx)
{
    uint64_t x = (uint64_t)(uintptr_t)ctx;
    while (!atomic_load(&stop)) {
        x = strata__mix64(x + 1);
        if (x % 3 == 0)
            (void)put(&shared, 10, x / 4 % 20000, 50 + x % 300);
        else
            (void)has(&shared, 10, x / 4 % 20000);
    }
    return NULL;
}

static void *newcomer(void *ctx)
{
    uint32_t space = (uint32_t)(uintptr_t)ctx;
    for (uint64_t n = 0; n < 3000; n++) {
        (void)put(&shared, space, n, 100);
        (void)has(&shared, space, n / 2);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    for (int policy = STRATA_EVICT_S3FIFO; policy <= STRATA_EVICT_LRU; policy++) {
        pthread_t threads[3], young[4];
        open_layer(&shared, policy, 0, 2);
        atomic_store(&stop, 0);
        for (uintptr_t i = 0; i < 3; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, worker, (void *)(i + 1)), 0);
        for (uintptr_t i = 0; i < 4; i++) {
            assert_int_equal(give(&shared, (uint32_t)(20 + 60 * i), (uint32_t)(20 + 60 * i), 15, 0), STRATA_OK);
            assert_int_equal(pthread_create(&young[i], NULL, newcomer, (void *)(20 + 60 * i)), 0);
        }
        for (int i = 0; i < 4; i++)
            pthread_join(young[i], NULL);
        atomic_store(&stop, 1);
        for (int i = 0; i < 3; i++)
            pthread_join(threads[i], NULL);
        assert_true(fixture_stats(&shared).bytes <= MIB);
        for (uint32_t i = 0; i < 4; i++)
            assert_true(layer_of(&shared)->shards[0].shares[i].used >= MIB / 2 / 100 * 15 - 1000);
        fixture_close(&shared);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_and_lent),
        cmocka_unit_test(test_of_the_count),
        cmocka_unit_test(test_who_is_read_stays),
        cmocka_unit_test(test_many_shards),
        cmocka_unit_test(test_large_values),
        cmocka_unit_test(test_a_budget_that_shrinks),
        cmocka_unit_test(test_too_much_is_refused),
        cmocka_unit_test(test_residents_give_way),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_reopened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
