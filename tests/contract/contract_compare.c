/* contract_compare.c - what every layer that gives leases must do with a write that depends on what is there (STRATA_OP_SAME, _NONE
 * and _UNLESS_NEWER): two of them over one store, as two nodes have them. */
#include <string.h>

#include "src/layer/value_impl.h"
#include "tests/contract/contract.h"
#include "tests/support/cmocka_all.h"

enum { NODES = 2 };

static const struct contract_lease_subject *subject;
static struct contract_subject halves[NODES];
static struct contract node[NODES];

static int open_nodes(void **state)
{
    (void)state;
    for (int i = 0; i < NODES; i++) {
        halves[i] = (struct contract_subject){ .name = subject->name, .make = subject->make[i] };
        int rc = contract_open(&node[i], &halves[i], NULL);
        if (rc != STRATA_OK)
            return rc;
        test_host_keep_delays(&node[i].host);
    }
    return 0;
}

static int close_nodes(void **state)
{
    (void)state;
    for (int i = NODES; i-- > 0;) {
        test_host_cut(&node[i].host);
        contract_close(&node[i]);
    }
    return 0;
}

/* What stands there, as a reader knows it. */
struct seen {
    uint64_t version;
    uint32_t life;
};

/* Node n writes, if it is as it says; `text` NULL: a REMOVE.  1: done; 0: it was not. */
static int write_if(int n, const char *text, uint32_t flags, struct seen seen, uint64_t lease)
{
    struct contract_op o;
    memset(&o, 0, sizeof o);
    contract_op_init(&node[n], &o, text != NULL ? STRATA_OP_PUT : STRATA_OP_REMOVE, 0, strata_str("k"));
    strata_value *value = text != NULL ? strata__value_copy(NULL, text, strlen(text)) : NULL;
    if (text != NULL)
        o.op.meta = contract_meta(&node[n], 3600000);
    o.op.value = value;
    o.op.lease = lease;
    o.op.flags = flags;
    o.op.meta.version = seen.version;
    o.op.meta.store_life = seen.life;
    contract_submit(&node[n], &o, 1);
    int status = o.op.status;
    assert_true(status == STRATA_OK || status == STRATA_AGAIN);
    assert_int_equal((o.op.flags & STRATA_OP_LOST) != 0, status == STRATA_AGAIN);
    strata_value_unref(value);
    contract_op_deinit(&o);
    return status == STRATA_OK;
}

static int write_same(int n, const char *text, struct seen seen) { return write_if(n, text, STRATA_OP_SAME, seen, 0); }

static int write_none(int n, const char *text) { return write_if(n, text, STRATA_OP_NONE, (struct seen){ 0, 0 }, 0); }

static uint64_t lease(int n, struct seen refreshed)
{
    struct contract_op o;
    memset(&o, 0, sizeof o);
    contract_op_init(&node[n], &o, STRATA_OP_LEASE, 0, strata_str("k"));
    o.op.flags = STRATA_OP_NOWAIT | (refreshed.version != 0 ? STRATA_OP_REFRESH : 0);
    o.op.meta.version = refreshed.version;
    contract_submit(&node[n], &o, 1);
    assert_int_equal(o.op.status, STRATA_MISS);
    assert_int_not_equal(o.op.lease, 0);
    uint64_t number = o.op.lease;
    contract_op_deinit(&o);
    return number;
}

/* Every node reads this, and knows it by one version. */
static struct seen stands(const char *text)
{
    struct seen seen = { 0, 0 };
    for (int n = 0; n < NODES; n++) {
        strata_meta meta;
        strata_value *v = NULL;
        int status = contract_get(&node[n], 0, strata_str("k"), &v, &meta);
        assert_int_equal(status, text != NULL ? STRATA_OK : STRATA_MISS);
        if (text == NULL)
            continue;
        assert_int_equal(strata_value_size(v), strlen(text));
        assert_memory_equal(strata_value_data(v), text, strlen(text));
        assert_true(n == 0 || (meta.version == seen.version && meta.store_life == seen.life));
        seen = (struct seen){ meta.version, meta.store_life };
        strata_value_unref(v);
    }
    return seen;
}

static void case_same_puts(void **state)
{
    (void)state;
    assert_false(write_same(0, "x", (struct seen){ 1, 1 }));
    stands(NULL);
    assert_true(write_none(0, "1"));
    struct seen first = stands("1");
    assert_true(write_same(1, "2", first));
    struct seen second = stands("2");
    assert_true(second.version > first.version);
    assert_false(write_same(0, "x", first));
    assert_false(write_same(0, "x", (struct seen){ second.version, second.life + 1 }));
    assert_false(write_same(0, "x", (struct seen){ second.version, 0 }));
    assert_int_equal(stands("2").version, second.version);
    assert_true(write_same(0, "3", second));
    stands("3");
}

static void case_same_removes(void **state)
{
    (void)state;
    assert_true(write_none(0, "1"));
    struct seen first = stands("1");
    assert_true(write_same(1, "2", first));
    struct seen second = stands("2");
    assert_false(write_same(0, NULL, first));
    assert_false(write_same(0, NULL, (struct seen){ second.version, second.life + 1 }));
    assert_int_equal(stands("2").version, second.version);
    assert_true(write_same(0, NULL, second));
    stands(NULL);
    assert_false(write_same(1, NULL, second));
    assert_false(write_same(1, "x", second)); /* what was deleted does not come back */
    stands(NULL);
}

static void case_none(void **state)
{
    (void)state;
    assert_true(write_none(0, "1"));
    assert_false(write_none(1, "x"));
    assert_false(write_none(1, NULL));
    struct seen seen = stands("1");
    assert_true(write_same(1, NULL, seen));
    assert_true(write_none(1, "2")); /* word of a delete is nothing that stands there */
    stands("2");
}

/* Who loads the key loses to who writes it; and who compares in vain takes nobody's lease. */
static void case_leases(void **state)
{
    (void)state;
    const struct seen nothing = { 0, 0 };
    uint64_t number = lease(0, nothing);
    assert_true(write_none(1, "1"));
    assert_false(write_if(0, "x", 0, nothing, number));
    struct seen seen = stands("1");
    number = lease(0, seen);
    assert_false(write_none(1, "x"));
    assert_false(write_same(1, "x", (struct seen){ seen.version + 1, seen.life }));
    assert_false(write_same(1, NULL, (struct seen){ seen.version, seen.life + 1 }));
    assert_true(write_if(0, "2", 0, nothing, number));
    seen = stands("2");
    number = lease(0, seen);
    assert_true(write_same(1, "3", seen));
    assert_false(write_if(0, "x", 0, nothing, number));
    seen = stands("3");
    number = lease(0, seen);
    assert_true(write_same(1, NULL, seen));
    assert_false(write_if(0, "x", 0, nothing, number));
    stands(NULL);
}

/* What was set a while ago stores over what its writer knew, and past nothing that came since: an entry, word of a delete, a life. */
static void case_unless_newer(void **state)
{
    (void)state;
    const struct seen nothing = { 0, 0 };
    const uint32_t flags = STRATA_OP_UNLESS_NEWER;
    assert_true(write_if(0, "1", flags, (struct seen){ 1, 0 }, 0));
    struct seen first = stands("1");
    assert_true(write_if(1, "2", flags, first, 0));
    struct seen second = stands("2");
    assert_true(second.version > first.version);
    assert_false(write_if(0, "x", flags, first, 0));
    assert_false(write_if(0, "x", flags, (struct seen){ second.version, second.life + 1 }, 0));
    assert_int_equal(stands("2").version, second.version);
    assert_true(write_if(0, "3", flags, (struct seen){ second.version, 0 }, 0));
    struct seen third = stands("3");
    assert_true(write_if(1, NULL, 0, nothing, 0));
    assert_false(write_if(0, "x", flags, third, 0)); /* what was deleted does not come back */
    stands(NULL);
    assert_true(write_if(0, "4", flags, (struct seen){ third.version + 3600000000, third.life }, 0));
    struct seen fourth = stands("4");
    uint64_t number = lease(1, fourth);
    assert_true(write_if(0, "5", flags, fourth, 0)); /* who refreshes it has not written it */
    assert_false(write_if(1, "x", 0, nothing, number));
    stands("5");
}

#define CASE(name) \
    { \
#name, case_##name, open_nodes, close_nodes, NULL \
    }

int contract_run_compare(const struct contract_lease_subject *s)
{
    const struct CMUnitTest tests[] = {
        CASE(same_puts), CASE(same_removes), CASE(none), CASE(leases), CASE(unless_newer),
    };
    subject = s;
    return cmocka_run_group_tests_name(s->name, tests, NULL, NULL);
}
