/* What core once did wrong around writes, refused stores and words: each test is a defect in the smallest form that shows
 * it. */
#include "tests/unit/core_fixture.h"

/* What a slow layer did not take ---------------------------------------------------------------------------------- */

enum { NO_ROOM, FAILS };

static void refuse_puts(struct stack *st, int how)
{
    st->slow->no_room = how == NO_ROOM;
    st->slow->fail_puts = how == FAILS;
}

static void forget_nearest(struct stack *st)
{
    strata_layer *memory = st->cache->layer;
    assert_int_equal(clear_layer(memory, 0, strata_bytes("", 0), 1, &st->err), STRATA_OK);
}

/* A set that a layer has no room for, or that fails there, leaves nothing older behind in it. */
static void test_refused_set(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        int how = i % 2, delay = (i / 2) % 2, call = i / 4;
        int expected = how == FAILS ? STRATA_ELAYER : STRATA_OK, status;
        struct stack st;
        struct ended e = { 0 };
        strata_item item = { .key = strata_str("k"), .set = strata_str("new") };
        open_stack(&st, &(struct stack_options){ .with_slow = 1 });
        st.slow->delay_ms = delay;
        assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("old"), NULL, NULL), STRATA_OK);
        refuse_puts(&st, how);
        if (call == 0) {
            status = strata_set(st.cache, strata_str("k"), strata_str("new"), NULL, &st.err);
        } else if (call == 1) {
            status = strata_set_many(st.cache, &item, 1, NULL, &st.err);
        } else {
            assert_int_equal(
                strata_set_async(st.cache, strata_str("k"), strata_str("new"), NULL, NULL, on_done, &e, NULL),
                STRATA_PENDING);
            pass(&st, 10);
            status = e.status;
        }
        assert_int_equal(status, expected);
        assert_get(&st, "k", STRATA_OK, "new");
        forget_nearest(&st);
        assert_get(&st, "k", STRATA_MISS, NULL);
        close_stack(&st);
    }
}

/* Where what is left can't be removed either, the caller hears of it. */
static void test_refused_set_and_remove(void **state)
{
    (void)state;
    struct stack st;
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    st.slow->no_room = 1;
    st.slow->fail_removes = 1;
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("new"), NULL, &st.err), STRATA_ELAYER);
    assert_string_equal(st.err.where, "script");
    close_stack(&st);
}

/* The same for what a load stores. */
static void test_refused_load(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        strata_policy p = { .size = sizeof p, .ttl_ms = 100, .stale_while_revalidate_ms = 100000 };
        struct stack st;
        struct origin o = { .st = &st, .value = "old" };
        open_stack(&st, &(struct stack_options){ .with_slow = 1, .policy = &p });
        st.slow->delay_ms = i / 2;
        assert_load(&st, "k", &o, NULL, STRATA_OK, "old");
        pass(&st, 200);
        refuse_puts(&st, i % 2);
        o.value = "new";
        assert_load(&st, "k", &o, NULL, STRATA_STALE, "old"); /* and a refresh */
        pass(&st, 10);
        assert_int_equal(o.calls, 2);
        assert_get(&st, "k", STRATA_OK, "new");
        forget_nearest(&st);
        assert_get(&st, "k", STRATA_MISS, NULL);
        close_stack(&st);
    }
}

/* A failed load puts back what was there, with a note: where that is refused, what was there stays. */
static void test_refused_note(void **state)
{
    (void)state;
    strata_policy p = { .size = sizeof p, .ttl_ms = 100, .stale_if_error_ms = 100000 };
    struct stack st;
    struct origin o = { .st = &st, .value = "old" };
    open_stack(&st, &(struct stack_options){ .only_slow = 1, .policy = &p });
    assert_load(&st, "k", &o, NULL, STRATA_OK, "old");
    pass(&st, 200);
    refuse_puts(&st, NO_ROOM);
    o.fail = STRATA_EIO;
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "old");
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "old");
    assert_int_equal(st.slow->removes, 0);
    close_stack(&st);
}

/* An expire that can't shorten the life of an entry ends it. */
static void test_refused_expire(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        strata_policy p = { .size = sizeof p, .ttl_ms = 100000, .stale_if_error_ms = 100000 };
        struct stack st;
        int how = i % 2;
        open_stack(&st, &(struct stack_options){ .with_slow = 1, .policy = &p });
        st.slow->delay_ms = i / 2;
        assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("old"), NULL, NULL), STRATA_OK);
        refuse_puts(&st, how);
        assert_int_equal(strata_expire(st.cache, strata_str("k"), NULL), how == FAILS ? STRATA_ELAYER : STRATA_OK);
        forget_nearest(&st);
        assert_get(&st, "k", STRATA_MISS, NULL);
        close_stack(&st);
    }
}

/* What was on its way while a clear went by ------------------------------------------------------------------------- */

/* The layer is cleared first, and then the put arrives there: it must not stay for the next life to find. */
enum { LATE_SET, LATE_SET_MANY, LATE_EXPIRE, LATE_LOAD, LATE_KINDS };

static void begin_late(struct stack *st, strata *in, int kind, struct origin *o, struct ended *e, strata_item *item)
{
    strata_slice k = strata_str("k");
    int rc;
    if (kind == LATE_SET)
        rc = strata_set_async(in, k, strata_str("v"), NULL, NULL, on_done, e, NULL);
    else if (kind == LATE_SET_MANY)
        rc = strata_set_many_async(in, item, 1, NULL, NULL, on_done, e, NULL);
    else if (kind == LATE_EXPIRE)
        rc = strata_expire_async(in, k, NULL, on_done, e, NULL);
    else
        rc = strata_get_or_load_async(in, k, origin_loader, o, NULL, NULL, on_done, e, NULL);
    assert_int_equal(rc, STRATA_PENDING);
    (void)st;
}

static void test_cleared_on_the_way(void **state)
{
    (void)state;
    for (int i = 0; i < LATE_KINDS * 2; i++) {
        int kind = i / 2, named = i % 2;
        strata_policy p = { .size = sizeof p, .ttl_ms = 10000, .stale_if_error_ms = 10000 };
        struct stack st;
        struct origin o = { .st = &st, .value = "v" };
        struct ended e = { 0 };
        strata_item item = { .key = strata_str("k"), .set = strata_str("v") };
        open_stack(&st, &(struct stack_options){ .with_slow = 1, .policy = &p });
        strata *in = st.cache;
        if (named)
            assert_int_equal(strata_namespace(st.cache, "users", NULL, &in, NULL), STRATA_OK);
        if (kind == LATE_EXPIRE)
            assert_int_equal(strata_set(in, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
        int before = st.slow->puts;
        st.slow->delay_ms = 10;
        begin_late(&st, in, kind, &o, &e, &item);
        while (st.slow->puts == before)
            pass(&st, 1);
        assert_int_equal(strata_clear(in, NULL), STRATA_OK);
        assert_int_equal(st.slow->clears, 1);
        assert_int_equal(st.slow->cleared.all, !named);
        assert_true(st.slow->cleared.life == st.cache->root->life);
        assert_int_equal(st.slow->cleared.position, atomic_load(&in->min_position));
        pass(&st, 100);
        assert_int_equal(e.count, 1);
        assert_int_equal(st.slow->removes, 1);
        for (int n = 0; n < SCRIPT_ROOM; n++)
            assert_false(st.slow->entries[n].used);
        assert_get(&st, "k", STRATA_MISS, NULL);
        if (named)
            strata_close(in);
        close_stack(&st);
    }
}

/* An object that can't be encoded. */
static int codec_broken;

static int encode_text(const void *object, void *out, size_t room, size_t *out_size, void *ctx)
{
    (void)ctx;
    size_t size = strlen(object);
    if (codec_broken)
        return STRATA_ECODEC;
    *out_size = size;
    if (size > room)
        return STRATA_AGAIN;
    memcpy(out, object, size);
    return STRATA_OK;
}

static int decode_text(const void *data, size_t size, void **out, void *ctx)
{
    (void)ctx;
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = 0;
    *out = text;
    return STRATA_OK;
}

static void free_text(void *object, void *ctx)
{
    (void)ctx;
    free(object);
}

static size_t cost_text(const void *object, void *ctx)
{
    (void)ctx;
    return strlen(object);
}

static void *text_object(const char *text)
{
    void *object = NULL;
    assert_int_equal(decode_text(text, strlen(text), &object, NULL), STRATA_OK);
    return object;
}

static int load_object(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    return strata_load_object(load, text_object(ctx));
}

static void test_not_encoded(void **state)
{
    (void)state;
    static const strata_codec codec = {
        .size = sizeof codec, .id = 7, .encode = encode_text, .decode = decode_text, .free = free_text, .cost = cost_text
    };
    for (int loads = 0; loads < 2; loads++) {
        strata_policy p = { .size = sizeof p, .ttl_ms = 100 };
        struct stack st;
        strata_value *v = NULL;
        codec_broken = 0;
        open_stack(&st, &(struct stack_options){ .with_slow = 1, .policy = &p, .codec = &codec });
        assert_int_equal(strata_set_object(st.cache, strata_str("k"), text_object("old"), NULL, NULL), STRATA_OK);
        codec_broken = 1;
        if (loads) {
            pass(&st, 200);
            assert_int_equal(
                strata_get_or_load(st.cache, strata_str("k"), load_object, (void *)(uintptr_t) "new", NULL, &v, NULL),
                STRATA_OK);
            assert_string_equal(strata_value_object(v), "new");
            strata_value_unref(v);
        } else {
            assert_int_equal(strata_set_object(st.cache, strata_str("k"), text_object("new"), NULL, NULL),
                             STRATA_ECODEC);
        }
        run(&st);
        assert_int_equal(st.slow->removes, 1);
        forget_nearest(&st);
        assert_get(&st, "k", STRATA_MISS, NULL);
        close_stack(&st);
    }
}

/* Counting -------------------------------------------------------------------------------------------------------- */

/* What the nearest layer holds and may not serve is a miss of that layer, too. */
static void test_refused_finds(void **state)
{
    (void)state;
    strata_policy p = { .size = sizeof p, .ttl_ms = 100, .stale_if_error_ms = 100000, .retry_ms = STRATA_OFF };
    for (int with_slow = 0; with_slow < 2; with_slow++) {
        strata_layer_stats s = { .size = sizeof s };
        struct stack st;
        struct origin o = { .st = &st, .fail = STRATA_EIO };
        struct ended e = { 0 };
        strata_item item = { .key = strata_str("k") };
        open_stack(&st, &(struct stack_options){ .policy = &p, .with_slow = with_slow });
        assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
        assert_get(&st, "k", STRATA_OK, "v");
        pass(&st, 200);
        for (int i = 0; i < 3; i++)
            assert_get(&st, "k", STRATA_MISS, NULL);
        assert_load(&st, "k", &o, NULL, STRATA_STALE, "v");
        assert_int_equal(strata_get_many(st.cache, &item, 1, NULL), STRATA_OK);
        assert_int_equal(item.status, STRATA_MISS);
        assert_int_equal(strata_get_async(st.cache, strata_str("k"), NULL, on_done, &e, NULL), STRATA_PENDING);
        run(&st);
        assert_int_equal(strata_stats_layer(st.cache, 0, &s), STRATA_OK);
        assert_int_equal(s.hits, 1);
        assert_int_equal(s.misses, 6);
        assert_int_equal(strata_stats_reset(st.cache), STRATA_OK);
        assert_get(&st, "k", STRATA_MISS, NULL);
        assert_int_equal(strata_stats_layer(st.cache, 0, &s), STRATA_OK);
        assert_int_equal(s.hits, 0);
        assert_int_equal(s.misses, 1);
        close_stack(&st);
    }
}

/* Negative entries ------------------------------------------------------------------------------------------------ */

/* "Absent" is stored in every layer, and read from the one that still has it. */
static void test_negative_below(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        strata_policy p = { .size = sizeof p, .negative_ttl_ms = 10000 };
        struct stack st;
        struct origin o = { .st = &st };
        struct ended e = { 0 };
        open_stack(&st, &(struct stack_options){ .with_slow = 1, .policy = &p });
        st.slow->delay_ms = i / 2;
        if (i % 2) {
            assert_int_equal(
                strata_get_or_load_async(st.cache, strata_str("k"), origin_loader, &o, NULL, NULL, on_done, &e, NULL),
                STRATA_PENDING);
        } else {
            assert_load(&st, "k", &o, NULL, STRATA_ABSENT, NULL);
        }
        pass(&st, 10);
        assert_int_equal(st.slow->puts, 1);
        forget_nearest(&st);
        assert_get(&st, "k", STRATA_ABSENT, NULL);
        assert_int_equal(stats_of(st.cache).backfills, 1);
        forget_nearest(&st);
        assert_load(&st, "k", &o, NULL, STRATA_ABSENT, NULL);
        assert_int_equal(o.calls, 1);
        assert_int_equal(st.slow->gets, 3);
        close_stack(&st);
    }
}

/* Words ----------------------------------------------------------------------------------------------------------- */

static int return_number(strata_load *load, strata_slice key, void *ctx)
{
    (void)load;
    (void)key;
    return *(int *)ctx;
}

static void assert_told(struct stack *st, strata_loader loader, void *ctx, int status, const char *words)
{
    strata_value *v;
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(strata_get_or_load(st->cache, strata_str("k"), loader, ctx, NULL, &v, &err), status);
    assert_null(v);
    assert_int_equal(err.status, status);
    if (strstr(err.message, words) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", words, err.message);
}

static void test_numbers_returned(void **state)
{
    (void)state;
    static const struct {
        int number, status;
        const char *words;
    } rows[] = {
        { -42, -42, "the loader returned -42" },
        { STRATA_EIO, STRATA_EIO, "the loader returned EIO" },
        { STRATA_OK, STRATA_ELOADER, "the loader returned without a result" },
        { STRATA_ABSENT, STRATA_ELOADER, "returned ABSENT: call strata_load_absent()" },
        { STRATA_MISS, STRATA_ELOADER, "the loader returned MISS without a result" },
        { 42, STRATA_ELOADER, "the loader returned 42 without a result" },
    };
    struct stack st;
    open_policy(&st, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int number = rows[i].number;
        assert_told(&st, return_number, &number, rows[i].status, rows[i].words);
    }
    close_stack(&st);
}

static int fail_with_five(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    int rc = strata_load_fail(load, 5, "the database is asleep");
    assert_int_equal(rc, STRATA_EINVAL);
    return *(int *)ctx ? STRATA_OK : rc;
}

static int not_modified_from_nothing(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    (void)ctx;
    return strata_load_not_modified(load);
}

static int second_thoughts(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    (void)ctx;
    assert_int_equal(strata_load_not_modified(load), STRATA_EINVAL);
    return strata_load_copy(load, "v", 1);
}

static int drop_after_refusal(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    *(strata_load **)ctx = strata_load_ref(load);
    return STRATA_PENDING;
}

static void test_refused_completions(void **state)
{
    (void)state;
    struct stack st;
    struct ended e = { 0 };
    strata_value *v;
    strata_load *kept = NULL;
    int quiet = 0;
    open_policy(&st, NULL);
    assert_told(&st, fail_with_five, &quiet, STRATA_EINVAL, "strata_load_fail() was given 5");
    assert_told(&st, fail_with_five, &quiet, STRATA_EINVAL, "the database is asleep");
    quiet = 1;
    assert_told(&st, fail_with_five, &quiet, STRATA_ELOADER, "the database is asleep");
    assert_told(&st, not_modified_from_nothing, NULL, STRATA_EINVAL,
                "strata_load_not_modified() without a previous value");
    assert_int_equal(
        strata_get_or_load_async(st.cache, strata_str("k"), drop_after_refusal, &kept, NULL, NULL, on_done, &e, NULL),
        STRATA_PENDING);
    run(&st);
    assert_int_equal(strata_load_fail(kept, 5, "the database is asleep"), STRATA_EINVAL);
    strata_load_unref(kept);
    run(&st);
    assert_int_equal(e.status, STRATA_ELOADER);
    assert_non_null(strstr(e.err.message, "the database is asleep"));
    assert_int_equal(strata_get_or_load(st.cache, strata_str("k"), second_thoughts, NULL, NULL, &v, NULL), STRATA_OK);
    assert_value(v, "v");
    close_stack(&st);
}

/* A caller that waited long enough learns how long that was, who is slow, and what to do. */
static void test_hard_timeout_words(void **state)
{
    (void)state;
    strata_policy p = { .size = sizeof p, .hard_timeout_ms = 50 };
    struct stack st;
    struct origin o = { .st = &st, .pending = 1 };
    open_stack(&st, &(struct stack_options){ .with_slow = 1, .policy = &p });
    assert_load(&st, "k", &o, NULL, STRATA_ETIMEDOUT, NULL);
    assert_string_equal(st.err.where, "hard_timeout_ms");
    assert_string_equal(st.err.message,
                        "no value within hard_timeout_ms=50: the origin is slow; raise it, or allow stale "
                        "values with stale_if_error_ms");
    strata_load_unref(o.kept);
    st.slow->delay_ms = 1000;
    assert_load(&st, "other", &o, NULL, STRATA_ETIMEDOUT, NULL);
    assert_non_null(strstr(st.err.message, "a layer is slow"));
    assert_int_equal(o.calls, 1);
    pass(&st, 5000);
    close_stack(&st);
}

/* A soft timeout that could never pass is refused, in words. */
static void test_soft_above_hard(void **state)
{
    (void)state;
    strata_policy p = { .size = sizeof p, .soft_timeout_ms = 500, .hard_timeout_ms = 100 };
    struct stack st;
    struct origin o = { .st = &st, .value = "v" };
    open_policy(&st, NULL);
    assert_load(&st, "k", &o, &p, STRATA_EINVAL, NULL);
    assert_string_equal(st.err.where, "soft_timeout_ms");
    assert_non_null(strstr(st.err.message, "soft_timeout_ms=500 is above hard_timeout_ms=100"));
    p.soft_timeout_ms = 100;
    assert_load(&st, "k", &o, &p, STRATA_OK, "v");
    p.soft_timeout_ms = STRATA_FOREVER;
    assert_load(&st, "k", &o, &p, STRATA_OK, "v");
    p.soft_timeout_ms = 500;
    p.hard_timeout_ms = STRATA_OFF;
    assert_load(&st, "k", &o, &p, STRATA_OK, "v");
    close_stack(&st);
}

/* A get comes while a clear is on its way to the layer below, finds what is still there, and answers later. */
static struct {
    struct stack *st;
    strata_op *op;
    int status;
    struct ended end;
} between;

static void find_now(strata_layer *layer, strata_op *const *ops, size_t count)
{
    struct script_entry *e = script_find((struct script *)(void *)layer, ops[0]->key, 0);
    assert_int_equal(count, 1);
    assert_non_null(e);
    between.op = ops[0];
    between.status = strata_op_found(ops[0], e->bytes, e->size, &e->meta);
}

static int get_and_clear(strata_layer *layer, const strata_clear_op *what, strata_error *err)
{
    strata_layer_ops ops = script_ops;
    ops.submit = find_now;
    layer->ops = &ops;
    assert_int_equal(strata_get_async(between.st->cache, strata_str("k"), NULL, on_done, &between.end, NULL),
                     STRATA_PENDING);
    run(between.st);
    layer->ops = &script_ops;
    return script_clear(layer, what, err);
}

/* An entry of a life before, whose clock was ahead of ours: what this process alone writes to was born before the clear. */
static void test_cleared_before_its_birth(void **state)
{
    (void)state;
    struct stack st;
    strata_layer_ops ops = script_ops;
    open_stack(&st, &(struct stack_options){ .with_slow = 1, .slow_flags = STRATA__LAYER_ALONE });
    ops.clear = get_and_clear;
    st.slow->base.ops = &ops;
    memset(&between, 0, sizeof between);
    between.st = &st;
    struct script_entry *e = script_find(st.slow, strata_str("k"), 1);
    memcpy(e->bytes, "old", 3);
    e->size = 3;
    e->meta = (strata_meta){ .life = 77, .born_wall_ms = ex_wall_ms(st.ex) + 5000, .fresh_ms = 100000 };
    assert_int_equal(strata_clear(st.cache, NULL), STRATA_OK);
    strata_op_done(between.op, between.status);
    run(&st);
    assert_int_equal(between.end.count, 1);
    assert_get(&st, "k", STRATA_MISS, NULL);
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_set),        cmocka_unit_test(test_refused_set_and_remove),
        cmocka_unit_test(test_refused_load),       cmocka_unit_test(test_refused_note),
        cmocka_unit_test(test_refused_expire),     cmocka_unit_test(test_not_encoded),
        cmocka_unit_test(test_refused_finds),      cmocka_unit_test(test_negative_below),
        cmocka_unit_test(test_numbers_returned),   cmocka_unit_test(test_refused_completions),
        cmocka_unit_test(test_hard_timeout_words), cmocka_unit_test(test_soft_above_hard),
        cmocka_unit_test(test_cleared_on_the_way), cmocka_unit_test(test_cleared_before_its_birth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
