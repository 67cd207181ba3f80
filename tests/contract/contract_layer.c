/* contract_layer.c - what every layer must do, asked through the layer contract itself. */
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "tests/contract/contract.h"
#include "tests/support/fail_alloc.h"

static const struct contract_subject *subject;
static struct contract c; /* open in every case */

static int open_layer(void **state)
{
    (void)state;
    return contract_open(&c, subject, NULL);
}

static int close_layer(void **state)
{
    (void)state;
    contract_close(&c);
    return 0;
}

static strata_slice number_key(char room[32], size_t n)
{
    return strata_bytes(room, (size_t)snprintf(room, 32, "key:%zu", n));
}

static int put_text(uint32_t space, const char *key, const char *text)
{
    strata_meta meta = contract_meta(&c, 3600000);
    return contract_put(&c, space, strata_str(key), strata_str(text), &meta, STRATA_FOREVER);
}

/* What the key holds is `text`; NULL: it is a miss. */
static void expect_text(uint32_t space, const char *key, const char *text)
{
    strata_value *v = NULL;
    int status = contract_get(&c, space, strata_str(key), &v, NULL);
    if (text == NULL) {
        assert_int_equal(status, STRATA_MISS);
        assert_null(v);
        return;
    }
    assert_int_equal(status, STRATA_OK);
    assert_non_null(v);
    assert_int_equal(strata_value_size(v), strlen(text));
    assert_memory_equal(strata_value_data(v), text, strlen(text));
    assert_int_equal((uintptr_t)strata_value_data(v) % 8, 0);
    strata_value_unref(v);
}

static void case_put_get_remove(void **state)
{
    (void)state;
    expect_text(0, "a", NULL);
    assert_int_equal(put_text(0, "a", "one"), STRATA_OK);
    expect_text(0, "a", "one");
    expect_text(0, "b", NULL);
    assert_int_equal(contract_remove(&c, 0, strata_str("a")), STRATA_OK);
    expect_text(0, "a", NULL);
    assert_int_equal(contract_remove(&c, 0, strata_str("a")), STRATA_OK); /* whether or not it was there */
    assert_int_equal(put_text(0, "a", "again"), STRATA_OK);
    expect_text(0, "a", "again");
}

static void case_overwrite(void **state)
{
    (void)state;
    assert_int_equal(put_text(0, "k", "short"), STRATA_OK);
    assert_int_equal(put_text(0, "k", "a longer value than before"), STRATA_OK);
    expect_text(0, "k", "a longer value than before");
    assert_int_equal(put_text(0, "k", ""), STRATA_OK);
    expect_text(0, "k", "");
}

/* Of one cache, or as of the clock of whoever reads it. */
static void expect_origin(const strata_meta *put, const strata_meta *got)
{
    int64_t age = atomic_load(&c.host.now_ms) - put->born_ms;
    if (subject->shared) {
        assert_true(got->life == 0 && got->retry_at_ms == 0);
        if (subject->shared == 2) /* it counts nothing, and has no clock */
            return;
        assert_true(got->version > 0);
        int64_t told = atomic_load(&c.host.now_ms) - got->born_ms; /* that clock stands still, the store's does not */
        assert_in_range(told + 60000, age > 60000 ? age - 1000 : 60000, age + 120000);
        return;
    }
    assert_int_equal(got->life, put->life);
    if (!(c.layer->flags & STRATA_LAYER_LEASES)) /* these count versions themselves */
        assert_int_equal(got->version, put->version);
    assert_int_equal(got->born_ms, put->born_ms);
    assert_int_equal(got->born_wall_ms, put->born_wall_ms);
    assert_int_equal(got->retry_at_ms, put->retry_at_ms);
    assert_int_equal(got->position, put->position);
}

static void expect_meta(const strata_meta *put, const strata_meta *got)
{
    expect_origin(put, got);
    assert_int_equal(got->fresh_ms, put->fresh_ms);
    assert_int_equal(got->stale_ms, put->stale_ms);
    assert_int_equal(got->error_ms, put->error_ms);
    assert_int_equal(got->keep_ms, put->keep_ms);
    assert_int_equal(got->early_ms, put->early_ms);
    assert_int_equal(got->codec, put->codec);
    assert_int_equal(got->negative, put->negative);
    if (subject->saves_load_ms)
        assert_int_equal(got->load_ms, put->load_ms);
}

static void case_meta_comes_back_as_it_was(void **state)
{
    (void)state;
    strata_meta plain = contract_meta(&c, 3600000);
    strata_meta metas[8];
    for (size_t i = 0; i < 8; i++)
        metas[i] = plain;
    metas[1].fresh_ms = STRATA_FOREVER;
    metas[2].load_ms = 123;
    metas[2].position = 7;
    metas[3].stale_ms = 1000;
    metas[3].error_ms = 2000;
    metas[3].keep_ms = 3000;
    metas[3].early_ms = 400;
    metas[4].retry_at_ms = plain.born_ms + 55;
    metas[4].stale_ms = 10;
    metas[5].version = 0xfedcba9876543210u;
    metas[5].life = 99;
    metas[5].born_ms = -5;
    metas[5].born_wall_ms = plain.born_wall_ms - 100000;
    metas[5].fresh_ms = (int64_t)1 << 45;
    metas[6].error_ms = STRATA_FOREVER;
    metas[6].codec = 31;
    metas[7].fresh_ms = 1; /* and long windows */
    metas[7].stale_ms = (int64_t)1 << 40;
    metas[7].keep_ms = (int64_t)1 << 41;
    for (size_t i = 0; i < 8; i++) {
        char room[32];
        strata_slice key = number_key(room, i);
        strata_value *v = NULL;
        strata_meta got;
        memset(&got, 0xee, sizeof got);
        assert_int_equal(contract_put(&c, 0, key, strata_str("v"), &metas[i], STRATA_FOREVER), STRATA_OK);
        assert_int_equal(contract_get(&c, 0, key, &v, &got), STRATA_OK);
        assert_int_equal(strata_value_size(v), 1);
        strata_value_unref(v);
        expect_meta(&metas[i], &got);
    }
}

static void case_negative_entries(void **state)
{
    (void)state;
    strata_meta meta = contract_meta(&c, 5000), got;
    strata_value *v = NULL;
    meta.negative = 1;
    assert_int_equal(contract_put(&c, 0, strata_str("none"), strata_str(""), &meta, STRATA_FOREVER), STRATA_OK);
    assert_int_equal(contract_get(&c, 0, strata_str("none"), &v, &got), STRATA_OK);
    assert_null(v);
    expect_meta(&meta, &got);
    assert_int_equal(put_text(0, "none", "some"), STRATA_OK); /* now there is one */
    expect_text(0, "none", "some");
    assert_int_equal(contract_put(&c, 0, strata_str("none"), strata_str(""), &meta, STRATA_FOREVER), STRATA_OK);
    assert_int_equal(contract_get(&c, 0, strata_str("none"), &v, &got), STRATA_OK);
    assert_null(v);
    assert_int_equal(got.negative, 1);
    assert_int_equal(contract_remove(&c, 0, strata_str("none")), STRATA_OK);
    expect_text(0, "none", NULL);
}

/* Keys of every length, made of zeros but for the last byte, so that one is the beginning of the next. */
static void case_binary_keys(void **state)
{
    (void)state;
    enum { LONGEST = 1024 };
    static unsigned char key[LONGEST];
    strata_meta meta = contract_meta(&c, 3600000);
    for (size_t size = 1; size <= LONGEST; size += size < 40 ? 1 : 41) {
        memset(key, 0, sizeof key);
        for (int last = 0; last < 256; last += 255) {
            key[size - 1] = (unsigned char)last;
            uint64_t value = size << 8 | (unsigned)last;
            assert_int_equal(
                contract_put(&c, 0, strata_bytes(key, size), strata_bytes(&value, sizeof value), &meta, STRATA_FOREVER),
                STRATA_OK);
        }
    }
    for (size_t size = 1; size <= LONGEST; size += size < 40 ? 1 : 41) {
        memset(key, 0, sizeof key);
        for (int last = 0; last < 256; last += 255) {
            strata_value *v = NULL;
            uint64_t want = size << 8 | (unsigned)last;
            key[size - 1] = (unsigned char)last;
            assert_int_equal(contract_get(&c, 0, strata_bytes(key, size), &v, NULL), STRATA_OK);
            assert_int_equal(strata_value_size(v), sizeof want);
            assert_memory_equal(strata_value_data(v), &want, sizeof want);
            strata_value_unref(v);
        }
    }
}

static void case_values_of_every_size(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0,    1,    2,    7,     8,     9,     63,    64,     100,
                                    1000, 4095, 4096, 16383, 16384, 16385, 65536, 100001, 1u << 20 };
    enum { N = sizeof sizes / sizeof sizes[0] };
    strata_meta meta = contract_meta(&c, 3600000);
    unsigned char *bytes = malloc(1u << 20);
    char room[32];
    assert_non_null(bytes);
    for (size_t i = 0; i < N; i++) {
        contract_fill(bytes, sizes[i], i);
        assert_int_equal(contract_put(&c, 0, number_key(room, i), strata_bytes(bytes, sizes[i]), &meta, STRATA_FOREVER),
                         STRATA_OK);
    }
    free(bytes);
    for (size_t i = 0; i < N; i++) {
        strata_value *v = NULL;
        assert_int_equal(contract_get(&c, 0, number_key(room, i), &v, NULL), STRATA_OK);
        assert_int_equal(strata_value_size(v), sizes[i]);
        assert_true(contract_is_filled(strata_value_data(v), sizes[i], i));
        strata_value_unref(v);
    }
}

/* The clock of the test stands still unless it is moved; that of a server does not, so there is a minute. */
static void case_expiry_is_respected(void **state)
{
    (void)state;
    int64_t now = atomic_load(&c.host.now_ms);
    strata_meta meta = contract_meta(&c, 60000), got;
    strata_value *v = NULL;
    assert_int_equal(contract_put(&c, 0, strata_str("k"), strata_str("v"), &meta, now + 60000), STRATA_OK);
    atomic_store(&c.host.now_ms, now + 59999);
    expect_text(0, "k", "v"); /* its time is not over */
    atomic_store(&c.host.now_ms, now + 100000);
    if (c.layer->ops->maintain != NULL)
        for (int i = 0; i < 100; i++)
            c.layer->ops->maintain(c.layer, now + 100000, 1000);
    int status = contract_get(&c, 0, strata_str("k"), &v, &got);
    assert_true(status == STRATA_MISS || (status == STRATA_OK && got.fresh_ms == 60000)); /* a miss, or told honestly */
    strata_value_unref(v);
    /* Over before it is put: it may be kept or not, but what it replaces must go. */
    meta = contract_meta(&c, 3600000);
    assert_int_equal(contract_put(&c, 0, strata_str("r"), strata_str("old"), &meta, STRATA_FOREVER), STRATA_OK);
    meta.born_ms -= 5000;
    meta.born_wall_ms -= 5000;
    meta.fresh_ms = 10;
    assert_true(contract_put(&c, 0, strata_str("r"), strata_str("new"), &meta, now + 99999) >= 0);
    status = contract_get(&c, 0, strata_str("r"), &v, NULL);
    assert_true(status == STRATA_MISS || (status == STRATA_OK && memcmp(strata_value_data(v), "new", 3) == 0));
    strata_value_unref(v);
}

static void case_spaces_are_apart(void **state)
{
    (void)state;
    assert_int_equal(put_text(0, "k", "root"), STRATA_OK);
    assert_int_equal(put_text(1, "k", "one"), STRATA_OK);
    assert_int_equal(put_text(256, "k", "many"), STRATA_OK);
    expect_text(0, "k", "root");
    expect_text(1, "k", "one");
    expect_text(256, "k", "many");
    expect_text(2, "k", NULL);
    assert_int_equal(contract_remove(&c, 1, strata_str("k")), STRATA_OK);
    expect_text(0, "k", "root");
    expect_text(1, "k", NULL);
    expect_text(256, "k", "many");
}

static void case_clear(void **state)
{
    (void)state;
    contract_case_clear(&c);
}

static void case_late_puts(void **state)
{
    (void)state;
    contract_case_late_puts(&c);
}

struct seen_keys {
    int seen[3][50];
    int strangers;
    int stop_after;
    int calls;
};

static int see_key(uint32_t space, strata_slice key, void *ctx)
{
    struct seen_keys *s = ctx;
    char text[32] = "";
    unsigned char room[4];
    size_t number = 50, skip = contract_prefix(&c, 0, room).size;
    s->calls++;
    if (skip != 0)
        space = ((const unsigned char *)key.data)[3];
    if (key.size - skip < sizeof text)
        memcpy(text, (const char *)key.data + skip, key.size - skip);
    if (sscanf(text, "key:%zu", &number) == 1 && number < 50 && space < 3)
        s->seen[space][number]++;
    else
        s->strangers++;
    return s->stop_after != 0 && s->calls == s->stop_after;
}

static void case_keys(void **state)
{
    (void)state;
    struct seen_keys s;
    char room[32];
    strata_error err = STRATA_ERROR_INIT;
    if (c.layer->ops->keys == NULL)
        return;
    for (uint32_t space = 0; space < 3; space++)
        for (size_t i = 0; i < 50; i++)
            assert_int_equal(put_text(space, (number_key(room, i), room), "v"), STRATA_OK);
    assert_int_equal(contract_remove(&c, 2, strata_str("key:49")), STRATA_OK);
    memset(&s, 0, sizeof s);
    assert_int_equal(c.layer->ops->keys(c.layer, see_key, &s, &err), STRATA_OK);
    assert_int_equal(s.strangers, 0);
    for (uint32_t space = 0; space < 3; space++)
        for (size_t i = 0; i < 50; i++)
            assert_int_equal(s.seen[space][i], !(space == 2 && i == 49));
    memset(&s, 0, sizeof s);
    s.stop_after = 7;
    assert_int_equal(c.layer->ops->keys(c.layer, see_key, &s, &err), STRATA_OK);
    assert_int_equal(s.calls, 7);
}

static void case_one_batch_of_many(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    struct contract_op *ops = calloc(MANY, sizeof *ops);
    strata_value *v[MANY];
    char room[32];
    assert_non_null(ops);
    for (size_t i = 0; i < MANY; i++) {
        contract_op_init(&c, &ops[i], STRATA_OP_PUT, 0, number_key(room, i));
        v[i] = NULL;
        ops[i].op.meta = contract_meta(&c, 3600000);
        ops[i].op.value = NULL;
        ops[i].op.meta.negative = i % 10 == 0;
    }
    /* Values borrowed from a first get: what a layer hands out, another must be able to take in. */
    assert_int_equal(put_text(1, "origin", "twelve bytes"), STRATA_OK);
    for (size_t i = 0; i < MANY; i++)
        if (i % 10 != 0) {
            assert_int_equal(contract_get(&c, 1, strata_str("origin"), &v[i], NULL), STRATA_OK);
            ops[i].op.value = v[i];
        }
    contract_submit(&c, ops, MANY);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(ops[i].op.status, STRATA_OK);
        strata_value_unref(v[i]);
        contract_op_deinit(&ops[i]);
        contract_op_init(&c, &ops[i], i % 3 == 0 ? STRATA_OP_REMOVE : STRATA_OP_GET, 0, number_key(room, i));
    }
    contract_submit(&c, ops, MANY);
    for (size_t i = 0; i < MANY; i++) {
        int status = ops[i].op.status;
        assert_true(status == STRATA_OK || status == STRATA_STALE);
        if (ops[i].op.kind == STRATA_OP_GET && i % 10 != 0) {
            assert_non_null(ops[i].op.found);
            assert_int_equal(strata_value_size(ops[i].op.found), 12);
        }
        contract_op_deinit(&ops[i]);
    }
    contract_submit(&c, ops, 0); /* none is a batch, too */
    free(ops);
}

static void case_order_within_a_batch(void **state)
{
    (void)state;
    struct contract_op ops[2];
    for (int put_first = 0; put_first < 2; put_first++)
        for (int round = 0; round < 30; round++) {
            strata_value *v = NULL;
            assert_int_equal(put_text(0, "origin", "new"), STRATA_OK);
            assert_int_equal(contract_get(&c, 0, strata_str("origin"), &v, NULL), STRATA_OK);
            assert_int_equal(put_text(0, "k", "old"), STRATA_OK);
            contract_op_init(&c, &ops[!put_first], STRATA_OP_PUT, 0, strata_str("k"));
            ops[!put_first].op.value = v;
            ops[!put_first].op.meta = contract_meta(&c, 3600000);
            contract_op_init(&c, &ops[put_first], STRATA_OP_REMOVE, 0, strata_str("k"));
            contract_submit(&c, ops, 2);
            contract_op_deinit(&ops[0]);
            contract_op_deinit(&ops[1]);
            strata_value_unref(v);
            expect_text(0, "k", put_first ? NULL : "new");
        }
}

static void case_unknown_operation_is_refused(void **state)
{
    (void)state;
    struct contract_op o;
    contract_op_init(&c, &o, 99, 0, strata_str("k"));
    contract_submit(&c, &o, 1);
    assert_int_equal(o.op.status, STRATA_EUNSUPPORTED);
    contract_op_deinit(&o);
}

/* Threads write self-describing values to shared keys, read and remove them: nobody ever sees a torn one. */
struct worker {
    pthread_t thread;
    uint64_t chance;
    const char *wrong;
};

static void *work(void *ctx)
{
    struct worker *w = ctx;
    enum { KEYS = 40 };
    for (size_t i = 0; i < subject->rounds && w->wrong == NULL; i++) {
        w->chance = w->chance * 6364136223846793005u + 1442695040888963407u;
        char room[32];
        uint64_t r = w->chance >> 20;
        strata_slice key = number_key(room, r % KEYS);
        size_t size = 8 + r / KEYS % 3 * 9000; /* in and past what a layer keeps in place */
        static _Thread_local unsigned char bytes[8 + 2 * 9000];
        strata_value *v = NULL;
        strata_meta meta = contract_meta(&c, 3600000);
        int status;
        switch (r / 128 % 4) {
        case 0:
            meta.load_ms = 0;
            memcpy(bytes, &r, 8);
            contract_fill(bytes + 8, size - 8, r);
            if (contract_put(&c, 0, key, strata_bytes(bytes, size), &meta, STRATA_FOREVER) < 0)
                w->wrong = "a put failed";
            break;
        case 1:
            if (contract_remove(&c, 0, key) != STRATA_OK)
                w->wrong = "a remove failed";
            break;
        default:
            status = contract_get(&c, 0, key, &v, NULL);
            if (status == STRATA_OK) {
                uint64_t stamp;
                memcpy(&stamp, strata_value_data(v), 8);
                if (stamp % KEYS != r % KEYS ||
                    !contract_is_filled((const char *)strata_value_data(v) + 8, strata_value_size(v) - 8, stamp))
                    w->wrong = "a value is torn, or another key's";
            } else if (status != STRATA_MISS) {
                w->wrong = "a get failed";
            }
            strata_value_unref(v);
        }
    }
    return NULL;
}

static void case_four_threads(void **state)
{
    (void)state;
    struct worker w[4];
    for (uint64_t i = 0; i < 4; i++) {
        w[i] = (struct worker){ .chance = i + 1 };
        assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(w[i].thread, NULL);
    for (int i = 0; i < 4; i++)
        if (w[i].wrong != NULL)
            fail_msg("thread %d: %s", i, w[i].wrong);
}

/* A pin holds whatever happens to its key, its layer, and on whichever thread it is given back. */
static void *unref(void *value)
{
    strata_value_unref(value);
    return NULL;
}

static void case_pins_outlive_everything(void **state)
{
    (void)state;
    enum { PINS = 100, BYTES = 30000 };
    strata_value *small[PINS], *large, *kept;
    unsigned char *bytes = malloc(BYTES);
    char room[32];
    strata_meta meta = contract_meta(&c, 3600000);
    assert_non_null(bytes);
    contract_fill(bytes, BYTES, 7);
    assert_int_equal(contract_put(&c, 0, strata_str("large"), strata_bytes(bytes, BYTES), &meta, STRATA_FOREVER),
                     STRATA_OK);
    assert_int_equal(contract_get(&c, 0, strata_str("large"), &large, NULL), STRATA_OK);
    for (size_t i = 0; i < PINS; i++) {
        assert_int_equal(contract_put(&c, 0, number_key(room, i), strata_bytes(bytes, i + 1), &meta, STRATA_FOREVER),
                         STRATA_OK);
        assert_int_equal(contract_get(&c, 0, number_key(room, i), &small[i], NULL), STRATA_OK);
    }
    kept = strata_value_ref(small[3]);
    assert_int_equal(contract_remove(&c, 0, strata_str("large")), STRATA_OK);
    for (size_t i = 0; i < PINS; i += 2)
        assert_int_equal(put_text(0, (number_key(room, i), room), "something else"), STRATA_OK);
    contract_close_layer(&c);
    for (size_t i = 0; i < PINS; i++) {
        assert_int_equal(strata_value_size(small[i]), i + 1);
        assert_memory_equal(strata_value_data(small[i]), bytes, i + 1);
    }
    assert_memory_equal(strata_value_data(large), bytes, BYTES);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, unref, large), 0);
    pthread_join(thread, NULL);
    for (size_t i = 0; i < PINS; i++)
        strata_value_unref(small[i]);
    assert_memory_equal(strata_value_data(kept), bytes, 4);
    strata_value_unref(kept);
    free(bytes);
}

/* One life of a layer whose n-th allocation fails: each operation is done, or says why not; nothing is lost. */
static void live_with(struct fail_alloc *a)
{
    static unsigned char bytes[100000];
    char room[32];
    if (contract_open(&c, subject, &a->mem) < 0)
        return;
    strata_meta meta = contract_meta(&c, 3600000);
    for (size_t i = 0; i < 12; i++) {
        size_t size = i % 3 == 0 ? sizeof bytes : 100;
        contract_fill(bytes, size, i);
        int put = contract_put(&c, 0, number_key(room, i), strata_bytes(bytes, size), &meta, STRATA_FOREVER);
        assert_true(put == STRATA_OK || put == STRATA_AGAIN || put == STRATA_ENOMEM);
        strata_value *v = NULL;
        int got = contract_get(&c, 0, number_key(room, i), &v, NULL);
        assert_true(got == STRATA_OK || got == STRATA_ENOMEM || (got == STRATA_MISS && put != STRATA_OK) ||
                    (got == STRATA_MISS && a->failed));
        if (got == STRATA_OK)
            assert_true(contract_is_filled(strata_value_data(v), size, i));
        strata_value_unref(v);
    }
    int removed = contract_remove(&c, 0, number_key(room, 1));
    /* What is pending is never served. */
    assert_true(removed == STRATA_OK || removed == STRATA_ENOMEM || (removed == STRATA_PENDING && a->failed));
    if (removed >= 0) {
        int got = contract_get(&c, 0, number_key(room, 1), NULL, NULL);
        assert_true(got == STRATA_MISS || (got == STRATA_ENOMEM && a->failed));
    }
    if (c.layer->ops->clear != NULL)
        assert_true(contract_clear(&c, 0, 1) == STRATA_OK || a->failed);
    contract_close(&c);
}

static void case_the_nth_allocation_fails(void **state)
{
    (void)state;
    struct fail_alloc a;
    long n = 0;
    do {
        fail_alloc_init(&a, ++n);
        live_with(&a);
        if (a.live != 0)
            fail_msg("allocation %ld failed, and then %ld blocks were lost", n, (long)a.live);
    } while (a.failed);
}

#define CASE(name) \
    { \
#name, case_##name, open_layer, close_layer, NULL \
    }

int contract_run_layer(const struct contract_subject *s)
{
    const struct CMUnitTest tests[] = {
        CASE(put_get_remove),
        CASE(overwrite),
        CASE(meta_comes_back_as_it_was),
        CASE(negative_entries),
        CASE(binary_keys),
        CASE(values_of_every_size),
        CASE(expiry_is_respected),
        CASE(spaces_are_apart),
        CASE(clear),
        CASE(late_puts),
        CASE(keys),
        CASE(one_batch_of_many),
        CASE(order_within_a_batch),
        CASE(unknown_operation_is_refused),
        CASE(four_threads),
        CASE(pins_outlive_everything),
        { "the_nth_allocation_fails", case_the_nth_allocation_fails, NULL, NULL, NULL },
    };
    subject = s;
    return cmocka_run_group_tests_name(s->name, tests, NULL, NULL) + contract_run_tags(s) + contract_run_update(s);
}
