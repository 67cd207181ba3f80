/* test_after_close.c - a namespace that outlives its cache: every call of the API that takes one says that it is closed, and touches
 * nothing of what closing has freed. */
#include "tests/unit/core_fixture.h"

#include "strata/strata.h"

static void no_call(int status, strata_value *value, const strata_error *words, void *ctx)
{
    (void)status, (void)value, (void)words, (void)ctx;
    fail_msg("called");
}

static int no_load(strata_load *load, strata_slice key, void *ctx)
{
    (void)load, (void)key, (void)ctx;
    return STRATA_ELOADER;
}

static int no_bulk_load(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    (void)loads, (void)keys, (void)count, (void)ctx;
    return STRATA_ELOADER;
}

static void no_event(const strata_event *event, void *ctx) { (void)event, (void)ctx; }

static int no_write(const void *bytes, size_t size, void *ctx)
{
    (void)bytes, (void)size, (void)ctx;
    return STRATA_EIO;
}

static int no_read(void *bytes, size_t room, size_t *out_size, void *ctx)
{
    (void)bytes, (void)room, (void)out_size, (void)ctx;
    return STRATA_EIO;
}

struct after {
    strata *ns;
    strata_error err;
};

static void open_and_close(struct after *a)
{
    struct stack st;
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    assert_int_equal(strata_namespace(st.cache, "ns", NULL, &a->ns, &a->err), STRATA_OK);
    close_stack(&st);
}

#define CLOSED(call) \
    do { \
        a.err = (strata_error)STRATA_ERROR_INIT; \
        assert_int_equal((call), STRATA_ECLOSED); \
        if (strstr(a.err.message, "closed") == NULL) \
            fail_msg("%s: \"%s\"", #call, a.err.message); \
    } while (0)

static void test_reads_and_writes(void **state)
{
    (void)state;
    struct after a;
    strata_value *v;
    strata_entry_version version;
    strata_inspection seen = STRATA_INSPECTION_INIT;
    strata_condition only = STRATA_CONDITION_INIT;
    strata_slice k = strata_str("k"), tags[1] = { strata_str("t") };
    strata_item item = { .key = k, .set = k };
    const strata_item_loader each = { no_load, NULL };
    int64_t ttl_ms;
    uint64_t size;
    only.only = STRATA_IF_ABSENT;
    open_and_close(&a);
    CLOSED(strata_get(a.ns, k, &v, &a.err));
    CLOSED(strata_get_or_load(a.ns, k, no_load, NULL, NULL, &v, &a.err));
    CLOSED(strata_get_version(a.ns, k, &v, &version, &a.err));
    CLOSED(strata_has(a.ns, k, &a.err));
    CLOSED(strata_ttl(a.ns, k, &ttl_ms, &a.err));
    CLOSED(strata_inspect(a.ns, k, &seen, &a.err));
    CLOSED(strata_size(a.ns, &size, &a.err));
    CLOSED(strata_set(a.ns, k, k, NULL, &a.err));
    CLOSED(strata_set_tagged(a.ns, k, k, tags, 1, NULL, &a.err));
    CLOSED(strata_set_if(a.ns, k, k, &only, NULL, NULL, &a.err));
    CLOSED(strata_delete(a.ns, k, &a.err));
    CLOSED(strata_expire(a.ns, k, &a.err));
    CLOSED(strata_clear(a.ns, &a.err));
    CLOSED(strata_get_many(a.ns, &item, 1, &a.err));
    CLOSED(strata_get_or_load_many(a.ns, &item, 1, no_bulk_load, NULL, NULL, &a.err));
    CLOSED(strata_get_or_load_each(a.ns, &item, &each, 1, NULL, &a.err));
    CLOSED(strata_set_many(a.ns, &item, 1, NULL, &a.err));
    CLOSED(strata_delete_many(a.ns, &item, 1, &a.err));
    assert_int_equal(strata_close(a.ns), STRATA_OK);
}

static void test_asynchronous_calls(void **state)
{
    (void)state;
    struct after a;
    strata_entry_version version;
    strata_inspection seen = STRATA_INSPECTION_INIT;
    strata_condition only = STRATA_CONDITION_INIT;
    strata_slice k = strata_str("k"), tags[1] = { strata_str("t") };
    strata_item item = { .key = k, .set = k };
    const strata_item_loader each = { no_load, NULL };
    int64_t ttl_ms;
    uint64_t size;
    only.only = STRATA_IF_ABSENT;
    open_and_close(&a);
    CLOSED(strata_get_async(a.ns, k, NULL, no_call, NULL, &a.err));
    CLOSED(strata_get_or_load_async(a.ns, k, no_load, NULL, NULL, NULL, no_call, NULL, &a.err));
    CLOSED(strata_get_version_async(a.ns, k, &version, NULL, no_call, NULL, &a.err));
    CLOSED(strata_has_async(a.ns, k, NULL, no_call, NULL, &a.err));
    CLOSED(strata_ttl_async(a.ns, k, &ttl_ms, NULL, no_call, NULL, &a.err));
    CLOSED(strata_inspect_async(a.ns, k, &seen, NULL, no_call, NULL, &a.err));
    CLOSED(strata_size_async(a.ns, &size, NULL, no_call, NULL, &a.err));
    CLOSED(strata_set_async(a.ns, k, k, NULL, NULL, no_call, NULL, &a.err));
    CLOSED(strata_set_tagged_async(a.ns, k, k, tags, 1, NULL, NULL, no_call, NULL, &a.err));
    CLOSED(strata_set_if_async(a.ns, k, k, &only, NULL, &version, NULL, no_call, NULL, &a.err));
    CLOSED(strata_delete_async(a.ns, k, NULL, no_call, NULL, &a.err));
    CLOSED(strata_expire_async(a.ns, k, NULL, no_call, NULL, &a.err));
    CLOSED(strata_clear_async(a.ns, NULL, no_call, NULL, &a.err));
    CLOSED(strata_get_many_async(a.ns, &item, 1, NULL, no_call, NULL, &a.err));
    CLOSED(strata_get_or_load_many_async(a.ns, &item, 1, no_bulk_load, NULL, NULL, NULL, no_call, NULL, &a.err));
    CLOSED(strata_get_or_load_each_async(a.ns, &item, &each, 1, NULL, NULL, no_call, NULL, &a.err));
    CLOSED(strata_set_many_async(a.ns, &item, 1, NULL, NULL, no_call, NULL, &a.err));
    CLOSED(strata_delete_many_async(a.ns, &item, 1, NULL, no_call, NULL, &a.err));
    assert_int_equal(strata_close(a.ns), STRATA_OK);
}

/* Snapshots looked at the clock of a cache that had none any more. */
static void test_everything_else(void **state)
{
    (void)state;
    struct after a;
    strata *below;
    strata_slice k = strata_str("k");
    strata_health health = STRATA_HEALTH_INIT;
    strata_part_health part = STRATA_PART_HEALTH_INIT;
    strata_warm_key key = { .key = k };
    strata_warm_options warm = STRATA_WARM_OPTIONS_INIT;
    uint64_t number;
    warm.keys = &key;
    warm.count = 1;
    warm.loader = no_load;
    open_and_close(&a);
    CLOSED(strata_namespace(a.ns, "below", NULL, &below, &a.err));
    assert_null(below);
    CLOSED(strata_ban_tag(a.ns, "t", STRATA_BAN_HARD, &a.err));
    CLOSED(strata_ban_tags(a.ns, &k, 1, STRATA_BAN_HARD, &a.err));
    CLOSED(strata_ban_prefix(a.ns, k, STRATA_BAN_SOFT, &a.err));
    CLOSED(strata_ban_pattern(a.ns, k, STRATA_BAN_SOFT, &a.err));
    CLOSED(strata_ban_tag_async(a.ns, "t", STRATA_BAN_HARD, NULL, no_call, NULL, &a.err));
    CLOSED(strata_ban_tags_async(a.ns, &k, 1, STRATA_BAN_HARD, NULL, no_call, NULL, &a.err));
    CLOSED(strata_ban_prefix_async(a.ns, k, STRATA_BAN_SOFT, NULL, no_call, NULL, &a.err));
    CLOSED(strata_ban_pattern_async(a.ns, k, STRATA_BAN_SOFT, NULL, no_call, NULL, &a.err));
    CLOSED(strata_generation_get(a.ns, &number, &a.err));
    CLOSED(strata_generation_bump(a.ns, STRATA_BAN_HARD, &number, &a.err));
    CLOSED(strata_generation_bump_async(a.ns, STRATA_BAN_HARD, NULL, no_call, NULL, &a.err));
    CLOSED(strata_warm(a.ns, &warm, NULL, &a.err));
    CLOSED(strata_warm_async(a.ns, &warm, NULL, NULL, no_call, NULL, &a.err));
    CLOSED(strata_snapshot_export(a.ns, NULL, no_write, NULL, NULL, &a.err));
    CLOSED(strata_snapshot_import(a.ns, NULL, no_read, NULL, NULL, &a.err));
    CLOSED(strata_ping(a.ns, 0, &a.err));
    CLOSED(strata_health_get(a.ns, &health, &a.err));
    CLOSED(strata_health_layer(a.ns, 0, &part, &a.err));
    assert_int_equal(strata_stats_reset(a.ns), STRATA_ECLOSED);
    assert_int_equal(strata_on(a.ns, STRATA_EVENT_HIT, no_event, NULL, &number), STRATA_ECLOSED);
    assert_int_equal(strata_close(a.ns), STRATA_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_and_writes),
        cmocka_unit_test(test_asynchronous_calls),
        cmocka_unit_test(test_everything_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
