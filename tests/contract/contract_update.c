/* contract_update.c - puts that only replace (STRATA_OP_UPDATE), as policies with admit off ask for them: what every layer makes of them, and a
 * cache over it. */
#include <stdio.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/layer/value_impl.h"
#include "tests/contract/contract.h"
#include "tests/support/open_alone.h"

static const struct contract_subject *subject;
static struct contract c;
static int is_instant;
static strata *cache;
static strata_error err;

/* The layer -------------------------------------------------------------------------------------------------------- */

static int open_layer(void **state)
{
    (void)state;
    int rc = contract_open(&c, subject, NULL);
    is_instant = rc == STRATA_OK && (c.layer->flags & STRATA_LAYER_INSTANT) != 0;
    return rc;
}

static int close_layer(void **state)
{
    (void)state;
    contract_close(&c);
    return 0;
}

static int put(const char *text, int64_t fresh_ms, int negative, uint32_t flags)
{
    struct contract_op o;
    strata_value *v = negative ? NULL : strata__value_copy(NULL, text, strlen(text));
    contract_op_init(&c, &o, STRATA_OP_PUT, 0, strata_str("k"));
    o.op.value = v;
    o.op.meta = contract_meta(&c, fresh_ms);
    o.op.meta.negative = (uint32_t)negative;
    o.op.meta.error_ms = 3600000;
    o.op.expires_ms = STRATA_FOREVER;
    o.op.flags |= flags;
    contract_submit(&c, &o, 1);
    int status = o.op.status;
    contract_op_deinit(&o);
    strata_value_unref(v);
    return status;
}

static void expect(const char *text)
{
    strata_value *v = NULL;
    assert_int_equal(contract_get(&c, 0, strata_str("k"), &v, NULL), text != NULL ? STRATA_OK : STRATA_MISS);
    if (text != NULL) {
        assert_int_equal(strata_value_size(v), strlen(text));
        assert_memory_equal(strata_value_data(v), text, strlen(text));
    }
    strata_value_unref(v);
}

/* Where nothing is held: an instant layer takes nothing; another one may not know the flag, and then has it. */
static void not_there(void)
{
    int status = put("new", 3600000, 0, STRATA_OP_UPDATE);
    if (is_instant)
        assert_int_equal(status, STRATA_MISS);
    else
        assert_true(status == STRATA_OK || status == STRATA_MISS);
    expect(status == STRATA_OK ? "new" : NULL);
    assert_int_equal(contract_remove(&c, 0, strata_str("k")), STRATA_OK);
    expect(NULL);
}

static void it_adds_nothing(void **state)
{
    (void)state;
    not_there();
    assert_int_equal(put("old", 3600000, 0, 0), STRATA_OK);
    assert_int_equal(contract_remove(&c, 0, strata_str("k")), STRATA_OK);
    not_there();
    assert_int_equal(put("old", 3600000, 0, 0), STRATA_OK);
    contract_clear(&c, 0, 1);
    expect(NULL);
    if (!subject->refuses_late_puts) /* what is put here comes from before the clear */
        not_there();
}

static void it_replaces(void **state)
{
    (void)state;
    assert_int_equal(put("old", 3600000, 0, 0), STRATA_OK);
    assert_int_equal(put("a longer one than before", 3600000, 0, STRATA_OP_UPDATE), STRATA_OK);
    expect("a longer one than before");
    assert_int_equal(put("", 3600000, 0, STRATA_OP_UPDATE), STRATA_OK);
    expect("");
    assert_int_equal(put("stale", 0, 0, 0), STRATA_OK); /* its freshness is over at once */
    assert_int_equal(put("fresh", 3600000, 0, STRATA_OP_UPDATE), STRATA_OK);
    expect("fresh");
    int absent = put(NULL, 3600000, 1, 0);
    assert_true(absent == STRATA_OK || absent == STRATA_AGAIN); /* a layer may want none */
    if (absent != STRATA_OK)
        return;
    assert_int_equal(put("there", 3600000, 0, STRATA_OP_UPDATE), STRATA_OK);
    expect("there");
    assert_int_equal(put(NULL, 3600000, 1, STRATA_OP_UPDATE), STRATA_OK);
}

int contract_run_update(const struct contract_subject *s)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_adds_nothing, open_layer, close_layer),
        cmocka_unit_test_setup_teardown(it_replaces, open_layer, close_layer),
    };
    subject = s;
    return cmocka_run_group_tests_name(s->name, tests, NULL, NULL);
}

/* A cache ---------------------------------------------------------------------------------------------------------- */

static int with_memory; /* in front of the subject */

static int open_cache(void **state)
{
    (void)state;
    strata_layer *layers[2];
    size_t count = 0;
    if (with_memory)
        layers[count++] = strata_memory_layer(NULL);
    layers[count++] = subject->make();
    is_instant = (layers[count - 1]->flags & STRATA_LAYER_INSTANT) != 0;
    const strata_options options = { STRATA_SIZED(strata_options), .layers = layers, .layer_count = count,
                                     .workers = 2 };
    return open_alone(&cache, &options, &err);
}

static int close_cache(void **state)
{
    (void)state;
    return strata_close(cache);
}

static int load_it(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    ++*(int *)ctx;
    return strata_load_copy(load, "loaded", 6);
}

static void load_twice(const strata_policy *policy, int loads)
{
    int count = 0;
    for (int i = 0; i < 2; i++) {
        strata_value *v = NULL;
        assert_int_equal(strata_get_or_load(cache, strata_str("l"), load_it, &count, policy, &v, &err), STRATA_OK);
        assert_int_equal(strata_value_size(v), 6);
        strata_value_unref(v);
    }
    assert_int_equal(count, loads);
}

static void holds(const char *text)
{
    strata_value *v = NULL;
    assert_int_equal(strata_get(cache, strata_str("k"), &v, &err), text != NULL ? STRATA_OK : STRATA_MISS);
    if (text != NULL) {
        assert_int_equal(strata_value_size(v), strlen(text));
        assert_memory_equal(strata_value_data(v), text, strlen(text));
    }
    strata_value_unref(v);
}

static void admit_off(void **state)
{
    (void)state;
    strata_policy off = STRATA_POLICY_INIT;
    off.admit = STRATA_OFF;
    const int slower = !is_instant; /* it gets everything as ever */
    assert_int_equal(strata_set(cache, strata_str("k"), strata_str("1"), &off, &err), slower ? STRATA_OK : STRATA_MISS);
    holds(slower ? "1" : NULL);
    assert_int_equal(strata_set(cache, strata_str("k"), strata_str("2"), NULL, &err), STRATA_OK);
    assert_int_equal(strata_set(cache, strata_str("k"), strata_str("3"), &off, &err), STRATA_OK);
    holds("3");
    assert_int_equal(strata_delete(cache, strata_str("k"), &err), STRATA_OK);
    holds(NULL);
    load_twice(&off, slower ? 1 : 2);
    load_twice(NULL, slower ? 0 : 1);
    strata_layer_stats s = { .size = sizeof s };
    assert_int_equal(strata_stats_layer(cache, 0, &s), STRATA_OK);
    if (with_memory || is_instant)
        assert_true(s.unadmitted > 0);
}

int contract_run_admit(const struct contract_subject *s, int memory)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(admit_off, open_cache, close_cache),
    };
    subject = s;
    with_memory = memory;
    return cmocka_run_group_tests_name(s->name, tests, NULL, NULL);
}
