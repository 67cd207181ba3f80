/* contract_tags.c - what is kept beside the bytes for bans: tags, and the position at birth.  At both heights: through the layer
 * contract, and through the public API.
 *
 * A layer may keep no tags (contract_subject.forgets_tags): then it says that there are some, and the entry counts as having any. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/layer/value_impl.h"
#include "tests/contract/contract.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/open_alone.h"

static const struct contract_subject *subject;

/* A layer ---------------------------------------------------------------------------------------------------------- */

static struct contract c;

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

static uint64_t tag_id(uint64_t seed, uint32_t n) { return (seed * 100003 + n + 1) * 0x9e3779b97f4a7c15u; }

static strata_value *make_tags(uint64_t seed, uint32_t count)
{
    void *ids = NULL;
    if (count == 0)
        return NULL;
    strata_value *tags = strata__value_new(NULL, count * sizeof(uint64_t), &ids);
    assert_non_null(tags);
    for (uint32_t i = 0; i < count; i++)
        ((uint64_t *)ids)[i] = tag_id(seed, i);
    return tags;
}

/* A PUT of `size` bytes, which depend on `seed` as the tags do. */
static int put_tagged(const char *key, size_t size, uint64_t seed, uint32_t count, const strata_meta *meta)
{
    struct contract_op o;
    void *bytes = NULL;
    contract_op_init(&c, &o, STRATA_OP_PUT, 0, strata_str(key));
    strata_value *value = meta->negative ? NULL : strata__value_new(NULL, size, &bytes);
    if (value != NULL)
        contract_fill(bytes, size, seed);
    strata_value *tags = make_tags(seed, count);
    o.op.value = value;
    o.op.meta = *meta;
    o.op.meta.tag_count = count;
    o.op.tags = tags;
    contract_submit(&c, &o, 1);
    int status = o.op.status;
    strata_value_unref(value);
    strata_value_unref(tags);
    contract_op_deinit(&o);
    return status;
}

/* What was found has these tags, in this order; or, of a layer that keeps none, says that it has some. */
static void expect_tags(const strata_op *op, uint64_t seed, uint32_t count, int may_forget)
{
    if (count == 0) {
        assert_int_equal(op->meta.tag_count, 0);
        assert_null(op->tags);
        return;
    }
    assert_true(op->meta.tag_count != 0);
    if (subject->forgets_tags || (may_forget && op->tags == NULL)) {
        assert_null(op->tags);
        return;
    }
    assert_non_null(op->tags);
    assert_int_equal(op->meta.tag_count, count);
    assert_int_equal(strata_value_size(op->tags), count * sizeof(uint64_t));
    for (uint32_t i = 0; i < count; i++) {
        uint64_t id;
        memcpy(&id, (const char *)strata_value_data(op->tags) + i * sizeof id, sizeof id);
        assert_int_equal(id, tag_id(seed, i));
    }
}

static int is_found(int status) { return status == STRATA_OK || status == STRATA_STALE; }

static void expect_entry(const char *key, size_t size, uint64_t seed, uint32_t count)
{
    struct contract_op o;
    contract_op_init(&c, &o, STRATA_OP_GET, 0, strata_str(key));
    contract_submit(&c, &o, 1);
    assert_true(is_found(o.op.status));
    if (!o.op.meta.negative) {
        assert_int_equal(strata_value_size(o.op.found), size);
        assert_true(contract_is_filled(strata_value_data(o.op.found), size, seed));
    }
    expect_tags(&o.op, seed, count, 0);
    contract_op_deinit(&o);
}

static void case_tags_come_back(void **state)
{
    (void)state;
    static const uint32_t counts[] = { 0, 1, 2, 3, 63, 64, 65, 1000, STRATA_TAGS_MAX };
    static const size_t sizes[] = { 0, 5, 200, 5000, 40000 };
    strata_meta meta = contract_meta(&c, 3600000);
    char key[32];
    for (int pass = 0; pass < 2; pass++) /* all are put before the first is asked for */
        for (uint32_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
            for (uint32_t j = 0; j < sizeof sizes / sizeof sizes[0]; j++) {
                uint64_t seed = i * 10 + j;
                snprintf(key, sizeof key, "%u tags, %zu", counts[i], sizes[j]);
                meta.negative = j == 1 && i % 2 == 0;
                if (pass == 0)
                    assert_int_equal(put_tagged(key, sizes[j], seed, counts[i], &meta), STRATA_OK);
                else
                    expect_entry(key, sizes[j], seed, counts[i]);
            }
}

static void case_tags_go_with_their_value(void **state)
{
    (void)state;
    static const uint32_t counts[] = { 3, 0, 1000, 2, 2, 0, 0, 1 };
    strata_meta meta = contract_meta(&c, 3600000);
    for (uint32_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        assert_int_equal(put_tagged("k", 100, i, counts[i], &meta), STRATA_OK);
        expect_entry("k", 100, i, counts[i]);
    }
    assert_int_equal(contract_remove(&c, 0, strata_str("k")), STRATA_OK);
    assert_int_equal(put_tagged("k", 7, 99, 0, &meta), STRATA_OK);
    expect_entry("k", 7, 99, 0);
}

/* Whoever put it did not know which: nobody may take it for an entry without any. */
static void case_unknown_tags_stay_unknown(void **state)
{
    (void)state;
    struct contract_op o;
    strata_meta meta = contract_meta(&c, 3600000);
    meta.tag_count = 5;
    assert_int_equal(contract_put(&c, 0, strata_str("k"), strata_str("v"), &meta, STRATA_FOREVER), STRATA_OK);
    contract_op_init(&c, &o, STRATA_OP_GET, 0, strata_str("k"));
    contract_submit(&c, &o, 1);
    assert_true(is_found(o.op.status));
    assert_true(o.op.meta.tag_count != 0);
    assert_null(o.op.tags);
    contract_op_deinit(&o);
}

static void case_tags_in_a_batch(void **state)
{
    (void)state;
    enum { MANY = 200 };
    struct contract_op *ops = calloc(MANY, sizeof *ops);
    strata_value *tags[MANY], *value = strata__value_copy(NULL, "value", 5);
    char key[32];
    assert_non_null(ops);
    assert_non_null(value);
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < MANY; i++) {
            snprintf(key, sizeof key, "many %u", i);
            contract_op_init(&c, &ops[i], pass == 0 ? STRATA_OP_PUT : STRATA_OP_GET, 0, strata_str(key));
            if (pass != 0)
                continue;
            tags[i] = make_tags(i, i % 7);
            ops[i].op.meta = contract_meta(&c, 3600000);
            ops[i].op.meta.tag_count = i % 7;
            ops[i].op.tags = tags[i];
            ops[i].op.value = value;
        }
        contract_submit(&c, ops, MANY);
        for (uint32_t i = 0; i < MANY; i++) {
            assert_true(is_found(ops[i].op.status));
            if (pass == 0)
                strata_value_unref(tags[i]);
            else
                expect_tags(&ops[i].op, i, i % 7, 0);
            contract_op_deinit(&ops[i]);
        }
    }
    strata_value_unref(value);
    free(ops);
}

/* What an entry is valid as of: this cache's position, or, of what other nodes read, too, the store's. */
static void case_positions_come_back(void **state)
{
    (void)state;
    static const uint32_t positions[] = { 0, 1, 7, 70000, UINT32_MAX };
    static const uint64_t of_store[] = { 0, 1, 1700000000000000u, UINT64_MAX };
    char key[32];
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < 20; i++) {
            strata_meta meta = contract_meta(&c, 3600000), got;
            meta.position = positions[i % 5];
            meta.store_position = of_store[i % 4];
            snprintf(key, sizeof key, "position %u", i);
            if (pass == 0) {
                assert_int_equal(put_tagged(key, 9, i, i % 3, &meta), STRATA_OK);
                continue;
            }
            assert_int_equal(contract_get(&c, 0, strata_str(key), NULL, &got), STRATA_OK);
            assert_true(got.store_position == meta.store_position);
            if (!subject->shared)
                assert_int_equal(got.position, meta.position);
        }
}

/* An instant layer compares by itself: an entry above its line is served, one below it is shown with all that is known of it. */
static int look(const char *key, const strata_lines *lines, strata_op *op)
{
    struct contract_op o;
    contract_op_init(&c, &o, STRATA_OP_GET, 0, strata_str(key));
    o.op.lines = lines;
    o.op.mem = NULL;
    int status = c.layer->ops->lookup(c.layer, &o.op);
    *op = o.op;
    o.op.found = o.op.tags = NULL; /* the caller's now */
    contract_op_deinit(&o);
    return status;
}

static void give_back(strata_op *op)
{
    strata_value_unref(op->found);
    strata_value_unref(op->tags);
}

static void expect_looks(const strata_lines *lines, int plain, int tagged)
{
    strata_op op;
    assert_int_equal(look("plain", lines, &op), plain);
    give_back(&op);
    assert_int_equal(look("tagged", lines, &op), tagged);
    if (tagged == STRATA_STALE) {
        assert_int_equal(op.meta.position, 50);
        expect_tags(&op, 2, 3, 0);
    }
    give_back(&op);
}

static void case_lines_are_respected(void **state)
{
    (void)state;
    enum { LINES = 4096, BORN = 50 };
    static uint32_t of_tags[LINES];
    strata_op op;
    strata_meta meta = contract_meta(&c, 3600000);
    strata_lines lines = { .tag_mask = LINES - 1, .tag_lines = of_tags };
    if (!(c.layer->flags & STRATA_LAYER_INSTANT))
        return;
    memset(of_tags, 0, sizeof of_tags);
    meta.position = BORN;
    assert_int_equal(put_tagged("plain", 5, 1, 0, &meta), STRATA_OK);
    assert_int_equal(put_tagged("tagged", 5, 2, 3, &meta), STRATA_OK);
    expect_looks(&lines, STRATA_OK, STRATA_OK);
    lines.plain = lines.tagged = BORN + 1; /* a ban that concerns everything */
    expect_looks(&lines, STRATA_STALE, STRATA_STALE);
    lines.plain = BORN;
    lines.tagged = BORN + 9; /* one of a tag that neither has */
    expect_looks(&lines, STRATA_OK, STRATA_OK);
    of_tags[tag_id(2, 1) & lines.tag_mask] = BORN + 9; /* and now of one of its three */
    expect_looks(&lines, STRATA_OK, STRATA_STALE);
    if (c.layer->ops->checked == NULL)
        return;
    assert_int_equal(look("tagged", &lines, &op), STRATA_STALE); /* it is compared, and from now on as young as that */
    c.layer->ops->checked(c.layer, op.found, BORN + 9);
    give_back(&op);
    expect_looks(&lines, STRATA_OK, STRATA_OK);
}

/* One life of a layer whose n-th allocation fails: tags are those that were put, or unknown, and never none. */
static void live_with(struct fail_alloc *a)
{
    if (contract_open(&c, subject, &a->mem) < 0)
        return;
    strata_meta meta = contract_meta(&c, 3600000);
    for (uint32_t i = 0; i < 6; i++) {
        struct contract_op o;
        char key[32];
        snprintf(key, sizeof key, "%u", i);
        int put = put_tagged(key, i * 900, i, i * 40, &meta);
        assert_true(put == STRATA_OK || put == STRATA_AGAIN || put == STRATA_ENOMEM);
        contract_op_init(&c, &o, STRATA_OP_GET, 0, strata_str(key));
        contract_submit(&c, &o, 1);
        if (is_found(o.op.status))
            expect_tags(&o.op, i, i * 40, a->failed);
        else
            assert_true(put != STRATA_OK || a->failed);
        contract_op_deinit(&o);
    }
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

#define LAYER_CASE(name) \
    { \
#name, case_##name, open_layer, close_layer, NULL \
    }

int contract_run_tags(const struct contract_subject *s)
{
    const struct CMUnitTest tests[] = {
        LAYER_CASE(tags_come_back),
        LAYER_CASE(tags_go_with_their_value),
        LAYER_CASE(unknown_tags_stay_unknown),
        LAYER_CASE(tags_in_a_batch),
        LAYER_CASE(positions_come_back),
        LAYER_CASE(lines_are_respected),
        { "tags_when_the_nth_allocation_fails", case_the_nth_allocation_fails, NULL, NULL, NULL },
    };
    char name[64];
    subject = s;
    snprintf(name, sizeof name, "tags: %s", s->name);
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

/* A cache ---------------------------------------------------------------------------------------------------------- */

static int memory_in_front;
static strata *cache;
static strata_error err;

static int open_cache(void **state)
{
    const strata_memory_options small = { STRATA_SIZED(strata_memory_options), .max_bytes = 8u << 20, .name = "front" };
    strata_layer *layers[2];
    size_t count = 0;
    (void)state;
    if (memory_in_front)
        layers[count++] = strata_memory_layer(&small);
    layers[count++] = subject->make();
    const strata_options options = { STRATA_SIZED(strata_options), .layers = layers, .layer_count = count,
                                     .workers = 2 };
    return open_alone(&cache, &options, &err);
}

static int close_cache(void **state)
{
    (void)state;
    int rc = strata_close(cache);
    cache = NULL;
    return rc;
}

static int status_of(const char *key)
{
    strata_value *v = NULL;
    int status = strata_get(cache, strata_str(key), &v, &err);
    if (is_found(status)) {
        assert_int_equal(strata_value_size(v), strlen(key));
        assert_memory_equal(strata_value_data(v), key, strlen(key));
    }
    strata_value_unref(v);
    return status;
}

static void set_with(const char *key, const char *one, const char *other, const strata_policy *policy)
{
    const strata_slice tags[] = { strata_str(one != NULL ? one : ""), strata_str(other != NULL ? other : "") };
    size_t count = (one != NULL) + (size_t)(other != NULL);
    assert_int_equal(strata_set_tagged(cache, strata_str(key), strata_str(key), tags, count, policy, &err), STRATA_OK);
}

static int load_tagged(strata_load *load, strata_slice key, void *ctx)
{
    ++*(int *)ctx;
    assert_int_equal(strata_load_tag(load, "red"), STRATA_OK);
    return strata_load_copy(load, key.data, key.size);
}

/* However it came in, a value is found by its tags, and one without them, or with others, is not. */
static void case_bans_find_tags(void **state)
{
    (void)state;
    const strata_slice red = strata_str("red");
    strata_item items[] = {
        { .key = strata_str("many, red"), .set = strata_str("many, red"), .tags = &red, .tag_count = 1 },
        { .key = strata_str("many"), .set = strata_str("many") },
    };
    int loads = 0;
    strata_value *v = NULL;
    set_with("both", "red", "blue", NULL);
    set_with("blue", "blue", NULL, NULL);
    set_with("plain", NULL, NULL, NULL);
    assert_int_equal(strata_set_many(cache, items, 2, NULL, &err), STRATA_OK);
    assert_int_equal(strata_get_or_load(cache, strata_str("loaded"), load_tagged, &loads, NULL, &v, &err), STRATA_OK);
    strata_value_unref(v);
    static const char *const reds[] = { "both", "many, red", "loaded" }, *const others[] = { "plain", "many" };
    for (int i = 0; i < 3; i++)
        assert_int_equal(status_of(reds[i]), STRATA_OK);
    assert_int_equal(strata_ban_tag(cache, "green", STRATA_BAN_HARD, &err), STRATA_OK);
    for (int i = 0; i < 3 && !subject->forgets_tags; i++)
        assert_int_equal(status_of(reds[i]), STRATA_OK);
    assert_int_equal(strata_ban_tag(cache, "red", STRATA_BAN_HARD, &err), STRATA_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(status_of(reds[i]), STRATA_MISS);
    for (int i = 0; i < 2; i++)
        assert_int_equal(status_of(others[i]), STRATA_OK);
    if (!subject->forgets_tags)
        assert_int_equal(status_of("blue"), STRATA_OK);
    assert_int_equal(strata_get_or_load(cache, strata_str("loaded"), load_tagged, &loads, NULL, &v, &err), STRATA_OK);
    strata_value_unref(v);
    assert_int_equal(loads, 2);
}

/* get_many judges each as get does. */
static void case_many_are_judged(void **state)
{
    (void)state;
    enum { MANY = 60 };
    char keys[MANY][16];
    strata_item items[MANY] = { { .reserved = 0 } };
    for (int i = 0; i < MANY; i++) {
        snprintf(keys[i], sizeof keys[i], "key:%d", i);
        items[i].key = strata_str(keys[i]);
        set_with(keys[i], i % 3 == 0 ? NULL : i % 3 == 1 ? "red" : "blue", NULL, NULL);
    }
    assert_int_equal(strata_ban_tag(cache, "red", STRATA_BAN_HARD, &err), STRATA_OK);
    assert_true(strata_get_many(cache, items, MANY, &err) >= 0);
    for (int i = 0; i < MANY; i++) {
        if (i % 3 != 2 || !subject->forgets_tags)
            assert_int_equal(items[i].status, i % 3 == 1 ? STRATA_MISS : STRATA_OK);
        strata_value_unref(items[i].value);
    }
}

/* Soft: fresh no more, and what stale windows it has begin.  Hard beats them. */
static void case_soft_and_hard(void **state)
{
    (void)state;
    const strata_policy patient = { STRATA_SIZED(strata_policy), .stale_while_revalidate_ms = 3600000 };
    set_with("soft", "red", NULL, &patient);
    set_with("no window", "red", NULL, NULL);
    assert_int_equal(strata_ban_tag(cache, "red", STRATA_BAN_SOFT, &err), STRATA_OK);
    assert_int_equal(status_of("soft"), STRATA_STALE);
    assert_int_equal(status_of("no window"), STRATA_MISS);
    assert_int_equal(strata_ban_prefix(cache, strata_str("so"), STRATA_BAN_HARD, &err), STRATA_OK);
    assert_int_equal(status_of("soft"), STRATA_MISS);
}

/* A ban concerns what was born before it, in each layer, and nothing that comes after. */
static void case_later_is_younger(void **state)
{
    (void)state;
    set_with("a", "red", NULL, NULL);
    set_with("b", NULL, NULL, NULL);
    assert_int_equal(strata_ban_tag(cache, "red", STRATA_BAN_HARD, &err), STRATA_OK);
    assert_int_equal(strata_ban_pattern(cache, strata_str("b*"), STRATA_BAN_HARD, &err), STRATA_OK);
    assert_int_equal(status_of("a"), STRATA_MISS);
    assert_int_equal(status_of("b"), STRATA_MISS);
    if (subject->shared == 2) /* its bans are compared by time, with some to spare */
        return;
    set_with("a", "red", NULL, NULL);
    set_with("b", NULL, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(status_of("a"), STRATA_OK);
        assert_int_equal(status_of("b"), STRATA_OK);
    }
}

/* What the origin called it comes to the next load, with tags or without, and stays with what that load keeps. */
static int load_if_modified(strata_load *load, strata_slice key, void *ctx)
{
    int *asked = ctx;
    strata_slice etag, modified;
    const strata_slice tags[] = { strata_str("red"), strata_str("blue") };
    if (strata_load_validator(load, &etag, &modified) == STRATA_OK) {
        assert_int_equal(etag.size, 5);
        assert_memory_equal(etag.data, "\"v\0\1\"", 5);
        assert_int_equal(modified.size, 3);
        assert_memory_equal(modified.data, "Mon", 3);
        ++*asked;
        return strata_load_not_modified(load);
    }
    assert_int_equal(strata_load_set_validator(load, strata_bytes("\"v\0\1\"", 5), strata_str("Mon")), STRATA_OK);
    if (((const char *)key.data)[0] == 't')
        assert_int_equal(strata_load_tags(load, tags, 2), STRATA_OK);
    return strata_load_copy(load, key.data, key.size);
}

static void case_validators_come_back(void **state)
{
    (void)state;
    static const char *const keys[] = { "plain", "tagged" };
    const strata_policy patient = { STRATA_SIZED(strata_policy), .keep_ms = 3600000 };
    for (int i = 0; i < 2; i++) {
        int asked = 0;
        for (int loads = 0; loads < 3; loads++) {
            strata_value *v = NULL;
            assert_int_equal(
                strata_get_or_load(cache, strata_str(keys[i]), load_if_modified, &asked, &patient, &v, &err), STRATA_OK);
            assert_int_equal(strata_value_size(v), strlen(keys[i]));
            strata_value_unref(v);
            assert_int_equal(strata_expire(cache, strata_str(keys[i]), &err), STRATA_OK);
        }
        assert_int_equal(asked, subject->forgets_tags && !memory_in_front ? 0 : 2);
    }
}

#define CACHE_CASE(name) \
    { \
#name, case_##name, open_cache, close_cache, NULL \
    }

int contract_run_tagged_cache(const struct contract_subject *s, int with_memory)
{
    const struct CMUnitTest tests[] = { CACHE_CASE(bans_find_tags), CACHE_CASE(many_are_judged),
                                        CACHE_CASE(soft_and_hard), CACHE_CASE(later_is_younger),
                                        CACHE_CASE(validators_come_back) };
    char name[96];
    subject = s;
    memory_in_front = with_memory;
    snprintf(name, sizeof name, "bans in a cache of %s%s", with_memory ? "memory | " : "", s->name);
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
