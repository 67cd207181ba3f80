/* test_within.c - calls of a cache from its own loaders and listeners: whatever is called, wherever, it comes back, with an answer that
 * the headers name, and the cache goes on. */
#include "tests/unit/core_fixture.h"

#include "strata/strata.h"

static int give(strata_load *load, strata_slice key, void *ctx)
{
    (void)key, (void)ctx;
    return strata_load_copy(load, "v", 1);
}

static int give_many(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    (void)keys, (void)ctx;
    for (size_t i = 0; i < count; i++)
        strata_load_copy(loads[i], "v", 1);
    return STRATA_OK;
}

static void dropped(int status, strata_value *value, const strata_error *words, void *ctx)
{
    (void)status, (void)words, (void)ctx;
    strata_value_unref(value);
}

static int take(const void *bytes, size_t size, void *ctx)
{
    (void)bytes, (void)size, (void)ctx;
    return 0;
}

static strata_error err;

/* What waits for the key's load would wait for itself. */
#define OWN "k"

static int loads(strata *c, int which)
{
    strata_value *v = NULL;
    strata_policy hard = { .size = sizeof hard, .hard_timeout_ms = 1000 };
    strata_item items[2] = { { .key = strata_str(OWN) }, { .key = strata_str("other") } };
    const strata_item_loader each[2] = { { give, NULL }, { give, NULL } };
    int rc = which == 0   ? strata_get_or_load(c, strata_str(OWN), give, NULL, NULL, &v, &err)
             : which == 1 ? strata_get_or_load(c, strata_str(OWN), give, NULL, &hard, &v, &err)
             : which == 2 ? strata_get_or_load_many(c, items, 2, give_many, NULL, NULL, &err)
             : which == 3 ? strata_get_or_load_each(c, items, each, 2, NULL, &err)
                          : strata_get_or_load(c, strata_str("other"), give, NULL, NULL, &v, &err);
    strata_value_unref(v);
    strata_value_unref(items[0].value);
    strata_value_unref(items[1].value);
    return rc;
}

static int waits(strata *c, int which)
{
    strata_warm_key key = { .key = strata_str("other") };
    strata_warm_options warm = STRATA_WARM_OPTIONS_INIT;
    warm.keys = &key;
    warm.count = 1;
    warm.loader = give;
    return which == 0 ? strata_warm(c, &warm, NULL, &err) : strata_snapshot_export(c, NULL, take, NULL, NULL, &err);
}

static int others(strata *c, int which)
{
    strata_slice k = strata_str(OWN);
    strata_item items[2] = { { .key = k, .set = k }, { .key = strata_str("other"), .set = k } };
    strata_condition only = { .size = sizeof only, .only = STRATA_IF_ABSENT };
    strata_inspection seen = STRATA_INSPECTION_INIT;
    strata_entry_version version;
    strata_value *v = NULL;
    strata *ns = NULL;
    int64_t ms;
    int rc = STRATA_EINVAL;
    switch (which) {
    case 0: rc = strata_get(c, k, &v, &err); break;
    case 1: rc = strata_set(c, k, k, NULL, &err); break;
    case 2: rc = strata_delete(c, k, &err); break;
    case 3: rc = strata_expire(c, k, &err); break;
    case 4: rc = strata_clear(c, &err); break;
    case 5: rc = strata_has(c, k, &err); break;
    case 6: rc = strata_ttl(c, k, &ms, &err); break;
    case 7: rc = strata_inspect(c, k, &seen, &err); break;
    case 8: rc = strata_get_version(c, k, &v, &version, &err); break;
    case 9: rc = strata_set_if(c, k, k, &only, NULL, NULL, &err); break;
    case 10: rc = strata_get_many(c, items, 2, &err); break;
    case 11: rc = strata_set_many(c, items, 2, NULL, &err); break;
    case 12: rc = strata_delete_many(c, items, 2, &err); break;
    case 13: rc = strata_ban_tag(c, "t", STRATA_BAN_HARD, &err); break;
    case 14: rc = strata_ban_prefix(c, k, STRATA_BAN_SOFT, &err); break;
    case 15: rc = strata_namespace(c, "ns", NULL, &ns, &err); break;
    case 16: rc = strata_get_or_load_async(c, k, give, NULL, NULL, NULL, dropped, NULL, &err); break;
    case 17: rc = strata_delete_async(c, k, NULL, dropped, NULL, &err); break;
    case 18: rc = strata_stats_reset(c); break;
    default: rc = strata_ping(c, 0, &err); break;
    }
    strata_value_unref(v);
    strata_value_unref(items[0].value);
    strata_value_unref(items[1].value);
    strata_close(ns);
    return rc;
}

enum { LOADS = 5, WAITS = 2, OTHERS = 20, CALLS = LOADS + WAITS + OTHERS };

struct within {
    strata *cache;
    int call, called, rc;
};

static void call_once(struct within *w)
{
    if (w->called)
        return;
    w->called = 1;
    w->rc = w->call < LOADS           ? loads(w->cache, w->call)
            : w->call < LOADS + WAITS ? waits(w->cache, w->call - LOADS)
                                      : others(w->cache, w->call - LOADS - WAITS);
}

static int load_within(strata_load *load, strata_slice key, void *ctx)
{
    call_once(ctx);
    return give(load, key, NULL);
}

static int load_many_within(strata_load *const *l, const strata_slice *keys, size_t count, void *ctx)
{
    call_once(ctx);
    return give_many(l, keys, count, NULL);
}

static void hear_within(const strata_event *event, void *ctx)
{
    (void)event;
    call_once(ctx);
}

/* What makes each of them happen; loading: the key is just being loaded by this thread. */
static const struct {
    uint32_t event; /* 0: the loader itself; 1u << 31: a bulk one */
    int loading;
} places[] = {
    { 0, 1 },
    { 1u << 31, 1 },
    { STRATA_EVENT_MISS, 1 },
    { STRATA_EVENT_LOAD_START, 1 },
    { STRATA_EVENT_SET, 0 },
    { STRATA_EVENT_HIT, 0 },
    { STRATA_EVENT_DELETE, 0 },
    { STRATA_EVENT_CLEAR, 0 },
};

static void provoke(struct within *w, uint32_t event)
{
    strata_item item = { .key = strata_str(OWN) };
    strata_value *v = NULL;
    if (event == 1u << 31) {
        (void)strata_get_or_load_many(w->cache, &item, 1, load_many_within, w, NULL, NULL);
        strata_value_unref(item.value);
        return;
    }
    if (event == STRATA_EVENT_SET || event == STRATA_EVENT_HIT || event == STRATA_EVENT_DELETE)
        assert_int_equal(strata_set(w->cache, strata_str(OWN), strata_str("v"), NULL, NULL), STRATA_OK);
    if (event == STRATA_EVENT_DELETE)
        assert_int_equal(strata_delete(w->cache, strata_str(OWN), NULL), STRATA_OK);
    if (event == STRATA_EVENT_CLEAR)
        assert_int_equal(strata_clear(w->cache, NULL), STRATA_OK);
    if (event == STRATA_EVENT_HIT)
        assert_int_equal(strata_get(w->cache, strata_str(OWN), &v, NULL), STRATA_OK);
    else
        assert_true(strata_get_or_load(w->cache, strata_str(OWN), load_within, w, NULL, &v, NULL) >= 0);
    strata_value_unref(v);
}

static void one_call(size_t place, int call, int with_slow)
{
    struct stack st;
    uint64_t id;
    open_stack(&st, &(struct stack_options){ .with_slow = with_slow });
    struct within w = { .cache = st.cache, .call = call, .rc = -1000 };
    uint32_t event = places[place].event;
    if (event != 0 && event != 1u << 31)
        assert_int_equal(strata_on(st.cache, event, hear_within, &w, &id), STRATA_OK);
    provoke(&w, event);
    run(&st);
    assert_int_equal(w.called, 1);
    int refused = (call < LOADS - 1 && places[place].loading) || (call >= LOADS && call < LOADS + WAITS);
    int other = w.rc == STRATA_ECONFLICT || (w.rc == STRATA_EUNSUPPORTED && with_slow); /* of strata_set_if() */
    if (refused ? w.rc != STRATA_EDEADLOCK : w.rc < 0 && !other)
        fail_msg("place %zu, call %d: %s", place, call, strata_status_name(w.rc));
    strata_value *v = NULL; /* and it goes on */
    assert_true(strata_get_or_load(st.cache, strata_str(OWN), give, NULL, NULL, &v, NULL) >= 0);
    strata_value_unref(v);
    close_stack(&st);
}

static void test_every_call_from_everywhere(void **state)
{
    (void)state;
    for (size_t place = 0; place < sizeof places / sizeof places[0]; place++)
        for (int call = 0; call < CALLS; call++)
            for (int with_slow = 0; with_slow < 2; with_slow++)
                one_call(place, call, with_slow);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_call_from_everywhere) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
