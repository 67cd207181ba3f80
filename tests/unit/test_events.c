/* test_events.c - what listeners are told of each kind of event: the key, the layers, the state, the status, the time and the words. */
#include "tests/unit/core_fixture.h"

struct told {
    uint32_t kind;
    int32_t status, state;
    int64_t elapsed_us;
    char key[16], layer[32], from_layer[32], message[128];
    strata *cache;
};

struct ear {
    struct told told[16];
    size_t count;
};

static void keep(char *out, size_t room, const char *text) { snprintf(out, room, "%s", text != NULL ? text : ""); }

static void hear(const strata_event *e, void *ctx)
{
    struct ear *ear = ctx;
    assert_true(e->size >= sizeof *e);
    assert_true(ear->count < sizeof ear->told / sizeof ear->told[0]);
    struct told *t = &ear->told[ear->count++];
    *t = (struct told){
        .kind = e->kind, .status = e->status, .state = e->state, .elapsed_us = e->elapsed_us, .cache = e->cache
    };
    snprintf(t->key, sizeof t->key, "%.*s", (int)e->key.size, e->key.size != 0 ? (const char *)e->key.data : "");
    keep(t->layer, sizeof t->layer, e->layer);
    keep(t->from_layer, sizeof t->from_layer, e->from_layer);
    keep(t->message, sizeof t->message, e->message);
}

/* The only event of that kind; it is about this key. */
static const struct told *one(const struct ear *ear, uint32_t kind, const char *key)
{
    const struct told *found = NULL;
    for (size_t i = 0; i < ear->count; i++) {
        if (ear->told[i].kind != kind)
            continue;
        assert_null(found);
        found = &ear->told[i];
    }
    if (found == NULL)
        fail_msg("no %s", strata_event_name(kind));
    assert_string_equal(found->key, key);
    return found;
}

static void listen(struct stack *st, struct ear *ear)
{
    uint64_t id;
    memset(ear, 0, sizeof *ear);
    assert_int_equal(strata_on(st->cache, STRATA_EVENT_ALL, hear, ear, &id), STRATA_OK);
    ear->count = 0; /* a cache that is suspect says so at once */
}

static void test_each_kind_has_a_name_of_its_own(void **state)
{
    (void)state;
    static const uint32_t kinds[] = {
#define KIND(name, bit) STRATA_EVENT_##name,
        STRATA_EVENT_MAP(KIND)
#undef KIND
    };
    const size_t count = sizeof kinds / sizeof kinds[0];
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < count; k++)
            assert_int_equal(strcmp(strata_event_name(kinds[i]), strata_event_name(kinds[k])) == 0, i == k);
}

static void test_a_hit_below_is_copied_up(void **state)
{
    (void)state;
    struct stack st;
    struct ear ear;
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    struct script_entry *e = script_find(st.slow, strata_str("k"), 1);
    e->size = 3;
    memcpy(e->bytes, "old", 3);
    e->meta = (strata_meta){ .life = 77, .born_wall_ms = ex_wall_ms(st.ex), .fresh_ms = 100000 };
    listen(&st, &ear);
    assert_get(&st, "k", STRATA_OK, "old");
    run(&st);
    assert_string_equal(one(&ear, STRATA_EVENT_HIT, "k")->layer, "script");
    const struct told *copied = one(&ear, STRATA_EVENT_BACKFILL, "k");
    assert_string_equal(copied->from_layer, "script");
    assert_string_equal(copied->layer, "memory");
    close_stack(&st);
}

static void test_an_expire_and_what_is_stale_after_it(void **state)
{
    (void)state;
    struct stack st;
    struct ear ear;
    strata_policy p = { .size = sizeof p, .ttl_ms = 1000, .stale_while_revalidate_ms = 1000 };
    open_policy(&st, &p);
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
    listen(&st, &ear);
    assert_int_equal(strata_expire(st.cache, strata_str("k"), NULL), STRATA_OK);
    assert_ptr_equal(one(&ear, STRATA_EVENT_EXPIRE, "k")->cache, st.cache);
    pass(&st, 10);
    assert_get(&st, "k", STRATA_STALE, "v");
    const struct told *stale = one(&ear, STRATA_EVENT_STALE_SERVE, "k");
    assert_int_equal(stale->state, STRATA_STATE_STALE);
    assert_string_equal(stale->layer, "memory");
    close_stack(&st);
}

static int load_async(struct stack *st, struct origin *o, const strata_policy *policy, struct ended *e)
{
    return strata_get_or_load_async(st->cache, strata_str("k"), origin_loader, o, policy, NULL, on_done, e, &st->err);
}

static void test_one_joins_and_one_loads(void **state)
{
    (void)state;
    struct stack st;
    struct ear ear;
    struct ended first = { 0 }, second = { 0 };
    struct origin o = { .value = "v", .takes_ms = 50 };
    open_policy(&st, NULL);
    o.st = &st;
    listen(&st, &ear);
    assert_int_equal(load_async(&st, &o, NULL, &first), STRATA_PENDING);
    assert_int_equal(load_async(&st, &o, NULL, &second), STRATA_PENDING);
    pass(&st, 60);
    assert_int_equal(first.status + second.status, STRATA_OK);
    (void)one(&ear, STRATA_EVENT_LOAD_START, "k");
    (void)one(&ear, STRATA_EVENT_JOIN, "k");
    assert_int_equal(one(&ear, STRATA_EVENT_LOAD_SUCCESS, "k")->elapsed_us, 50000);
    close_stack(&st);
}

static void test_a_load_that_fails_or_takes_too_long(void **state)
{
    (void)state;
    struct stack st;
    struct ear ear;
    struct ended e = { 0 };
    struct origin o = { .fail = STRATA_EIO };
    strata_policy hard = { .size = sizeof hard, .hard_timeout_ms = 20 };
    open_policy(&st, NULL);
    o.st = &st;
    listen(&st, &ear);
    assert_load(&st, "k", &o, NULL, STRATA_EIO, NULL);
    const struct told *failed = one(&ear, STRATA_EVENT_LOAD_ERROR, "k");
    assert_int_equal(failed->status, STRATA_EIO);
    assert_string_equal(failed->message, "the origin is down");
    pass(&st, 2000);
    ear.count = 0;
    o = (struct origin){ .st = &st, .value = "v", .takes_ms = 100 };
    assert_int_equal(load_async(&st, &o, &hard, &e), STRATA_PENDING);
    pass(&st, 30);
    assert_int_equal(e.status, STRATA_ETIMEDOUT);
    (void)one(&ear, STRATA_EVENT_LOAD_TIMEOUT, "k");
    pass(&st, 100);
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind_has_a_name_of_its_own),      cmocka_unit_test(test_a_hit_below_is_copied_up),
        cmocka_unit_test(test_an_expire_and_what_is_stale_after_it), cmocka_unit_test(test_one_joins_and_one_loads),
        cmocka_unit_test(test_a_load_that_fails_or_takes_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
