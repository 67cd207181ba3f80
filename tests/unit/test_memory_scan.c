/* test_memory_scan.c - the walk over a memory layer's entries: each that is held all the while is told once, as a get gives it, whatever
 * comes, goes and moves between the pieces; and puts where nothing is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "src/layer/memory/memory_impl.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/memory_fixture.h"

enum { KEYS = 6000 };

struct walk {
    strata_scan scan;
    unsigned char told[KEYS];
    uint64_t count;
    uint32_t piece;
};

static uint64_t number_of(strata_slice key)
{
    char text[32] = { 0 };
    assert_true(key.size > 4 && key.size < sizeof text);
    memcpy(text, key.data, key.size);
    return strtoull(text + 4, NULL, 10);
}

static void each(strata_scan *scan, strata_op *op)
{
    struct walk *w = (struct walk *)(void *)scan;
    uint64_t n = number_of(op->key), first = n;
    assert_true(n < KEYS);
    assert_int_equal(w->told[n], 0);
    w->told[n] = 1;
    w->count++;
    assert_true(++w->piece <= scan->most);
    assert_int_equal(op->status, STRATA_OK);
    assert_int_equal(op->meta.life, 77);
    if (op->found == NULL) {
        assert_int_equal(op->meta.negative, 1);
    } else {
        size_t size = strata_value_size(op->found);
        memcpy(&first, strata_value_data(op->found), size < 8 ? size : 8);
        assert_int_equal(first, n);
    }
    assert_int_equal(op->meta.tag_count, n % 5 == 0 ? 1 : 0);
    assert_true((op->tags != NULL) == (n % 5 == 0));
    strata_value_unref(op->found);
    strata_value_unref(op->tags);
}

static size_t size_of(uint64_t n) { return n % 97 == 0 ? 20000 : 8 + n % 300; } /* some on the heap */

static void put(struct memory_fixture *f, uint64_t n)
{
    char text[32], bytes[20000] = { 0 };
    strata_op op = fixture_op(f, STRATA_OP_PUT, 0, fixture_key(text, n));
    op.meta = fixture_meta(f, n % 3 == 0 ? STRATA_FOREVER : 3600000);
    op.meta.stale_ms = n % 4 == 0 ? 1000 : 0;
    op.meta.negative = n % 11 == 0;
    memcpy(bytes, &n, sizeof n);
    if (!op.meta.negative)
        op.value = strata__value_copy(&strata__malloc, bytes, size_of(n));
    if (n % 5 == 0) {
        op.meta.tag_count = 1;
        op.tags = strata__value_copy(&strata__malloc, &n, sizeof n);
    }
    assert_int_equal(fixture_submit(f, &op), STRATA_OK);
    strata_value_unref(op.value);
    strata_value_unref(op.tags);
}

static void drop(struct memory_fixture *f, uint64_t n)
{
    char text[32];
    strata_op op = fixture_op(f, STRATA_OP_REMOVE, 0, fixture_key(text, n));
    (void)fixture_submit(f, &op);
}

static int step(struct memory_fixture *f, struct walk *w)
{
    strata_error err = STRATA_ERROR_INIT;
    w->piece = 0;
    int rc = f->layer->ops->scan(f->layer, &w->scan, &err);
    assert_true(rc >= 0);
    return rc;
}

static struct walk begin(uint32_t most)
{
    return (struct walk){ .scan = { .size = sizeof(strata_scan), .most = most, .each = each } };
}

static void open_layer(struct memory_fixture *f, const strata_allocator *mem)
{
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = 64 << 20, .shards = 2,
                                .negative_percent = 50 };
    assert_int_equal(fixture_open(f, &o, mem), STRATA_OK);
}

static void all_are_told_once(void **state)
{
    (void)state;
    struct memory_fixture f;
    open_layer(&f, NULL);
    struct walk w = begin(64);
    while (!step(&f, &w))
        ;
    assert_int_equal(w.count, 0);
    for (uint64_t n = 0; n < KEYS; n++)
        put(&f, n);
    w = begin(16);
    while (!step(&f, &w))
        ;
    assert_int_equal(w.count, KEYS);
    fixture_close(&f);
}

/* What stays is met, though the index grows, shrinks and moves its slots about under the walk. */
static void what_stays_is_met_though_others_come_and_go(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 12; seed++) {
        struct memory_fixture f;
        uint64_t random = seed, stays = KEYS / 4, next = stays;
        open_layer(&f, NULL);
        for (uint64_t n = 0; n < stays; n++)
            put(&f, n);
        struct walk w = begin(24 + seed * 5); /* a home has more than 16 in some hash or other */
        for (int over = 0; !over;) {
            over = step(&f, &w);
            for (unsigned i = 0; i < 24; i++) {
                random = strata__mix64(random + i + 1);
                uint64_t other = stays + random % (KEYS - stays);
                if (seed % 3 == 0 || random >> 60 < (seed % 2 ? 9u : 6u))
                    put(&f, seed % 3 == 0 && next < KEYS ? next++ : other); /* it grows, as fast as it can */
                else
                    drop(&f, other);
            }
        }
        for (uint64_t n = 0; n < stays; n++)
            assert_int_equal(w.told[n], 1);
        fixture_close(&f);
    }
}

/* A heap value that was told of outlives its entry. */
static strata_value *kept;

static void keep_one(strata_scan *scan, strata_op *op)
{
    (void)scan;
    if (kept == NULL && op->found != NULL && strata__value_is_heap(op->found))
        kept = strata_value_ref(op->found);
    strata_value_unref(op->found);
    strata_value_unref(op->tags);
}

static void a_reference_outlives_the_entry(void **state)
{
    (void)state;
    struct memory_fixture f;
    open_layer(&f, NULL);
    put(&f, 97);
    struct walk w = begin(64);
    w.scan.each = keep_one;
    while (!step(&f, &w))
        ;
    assert_non_null(kept);
    drop(&f, 97);
    fixture_close(&f);
    assert_int_equal(*(const unsigned char *)strata_value_data(kept), 97);
    strata_value_unref(kept);
    kept = NULL;
}

static void tags_without_memory_are_unknown(void **state)
{
    (void)state;
    struct memory_fixture f;
    struct fail_alloc mem;
    fail_alloc_init(&mem, 0);
    open_layer(&f, &mem.mem);
    put(&f, 5);
    atomic_store(&mem.requests, 0);
    atomic_store(&mem.fail_at, 1);
    struct walk w = begin(64);
    w.scan.each = keep_one;
    while (!step(&f, &w))
        ;
    assert_true(atomic_load(&mem.failed));
    fixture_close(&f);
    assert_int_equal(atomic_load(&mem.live), 0);
}

/* STRATA_OP_NONE: what is there stays, whatever comes, and is not served less. */
static void none_puts_where_nothing_is(void **state)
{
    (void)state;
    struct memory_fixture f;
    char text[32], big[200000] = { 0 };
    open_layer(&f, NULL);
    for (int i = 0; i < 3; i++) {
        strata_op op = fixture_op(&f, STRATA_OP_PUT, 0, fixture_key(text, 1));
        uint64_t n = 1 + (uint64_t)i;
        op.meta = fixture_meta(&f, 1000);
        op.value = strata__value_copy(&strata__malloc, i == 2 ? (const void *)big : &n, i == 2 ? sizeof big : sizeof n);
        op.flags = STRATA_OP_NONE;
        assert_int_equal(fixture_submit(&f, &op), i == 0 ? STRATA_OK : STRATA_AGAIN);
        assert_int_equal(op.flags & STRATA_OP_LOST, i == 0 ? 0 : STRATA_OP_LOST);
        assert_int_equal(fixture_has_number(&f, 1), 1);
        strata_value_unref(op.value);
    }
    assert_int_equal(fixture_stats(&f).rejections, 0);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_told_once),
        cmocka_unit_test(what_stays_is_met_though_others_come_and_go),
        cmocka_unit_test(a_reference_outlives_the_entry),
        cmocka_unit_test(tags_without_memory_are_unknown),
        cmocka_unit_test(none_puts_where_nothing_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
