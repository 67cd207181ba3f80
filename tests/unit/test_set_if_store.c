/* test_set_if_store.c - compare and set over a shared store: of all nodes one wins, and who loses leaves nothing behind.  And expires,
 * which are compared with what was read, too. */
#include "tests/support/fail_alloc.h"
#include "tests/unit/lease_calls.h"

static const strata_entry_version none = { 0, 0 };

static int set_if(struct fleet *fleet, int node, const char *text, int32_t only, strata_entry_version seen,
                  strata_entry_version *out)
{
    strata_condition c = STRATA_CONDITION_INIT;
    c.only = only;
    c.version = seen;
    return strata_set_if(fleet->node[node], strata_str("k"), strata_str(text), &c, NULL, out, &fleet->err);
}

static strata_entry_version version_of(struct fleet *fleet, int node)
{
    strata_entry_version v = { 7, 7 };
    int rc = strata_get_version(fleet->node[node], strata_str("k"), NULL, &v, &fleet->err);
    assert_true(rc == STRATA_OK || rc == STRATA_STALE);
    return v;
}

static void assert_stored(struct fleet *fleet, const char *text)
{
    char found[32];
    strata_meta meta;
    size_t size = lease_store_value(fleet->store, strata_str("k"), found, sizeof found, &meta);
    if (text == NULL) {
        assert_int_equal(size, SIZE_MAX);
        return;
    }
    assert_int_equal(size, strlen(text));
    assert_memory_equal(found, text, size);
}

static void assert_node(struct fleet *fleet, int node, int status, const char *text)
{
    strata_value *v = NULL;
    assert_int_equal(strata_get(fleet->node[node], strata_str("k"), &v, &fleet->err), status);
    if (text != NULL) {
        assert_int_equal(strata_value_size(v), strlen(text));
        assert_memory_equal(strata_value_data(v), text, strlen(text));
    }
    strata_value_unref(v);
}

static void test_one_node_wins(void **state)
{
    (void)state;
    struct fleet fleet;
    strata_entry_version seen[2], made;
    fleet_open(&fleet, &(struct fleet_options){ 0 });
    assert_int_equal(set_if(&fleet, 0, "1", STRATA_IF_ABSENT, none, NULL), STRATA_OK);
    assert_int_equal(set_if(&fleet, 1, "x", STRATA_IF_ABSENT, none, NULL), STRATA_ECONFLICT);
    for (int i = 0; i < 2; i++) {
        assert_node(&fleet, i, STRATA_OK, "1");
        fleet_run(&fleet); /* it is in memory */
        seen[i] = version_of(&fleet, i);
    }
    assert_int_equal(seen[0].number, seen[1].number);
    assert_int_equal(set_if(&fleet, 0, "2", STRATA_IF_VERSION, seen[0], &made), STRATA_OK);
    assert_node(&fleet, 1, STRATA_OK, "1"); /* nobody tells it here */
    assert_int_equal(set_if(&fleet, 1, "x", STRATA_IF_VERSION, seen[1], NULL), STRATA_ECONFLICT);
    assert_stored(&fleet, "2");
    assert_node(&fleet, 1, STRATA_OK, "2"); /* what it held is out of date: it went */
    seen[1] = version_of(&fleet, 1);
    assert_int_equal(seen[1].number, made.number);
    assert_int_equal(seen[1].life, made.life);
    assert_int_equal(set_if(&fleet, 1, "3", STRATA_IF_VERSION, seen[1], NULL), STRATA_OK);
    assert_stored(&fleet, "3");
    fleet_close(&fleet);
}

struct meanwhile {
    struct fleet *fleet;
    const char *text; /* NULL: a delete */
};

static void write_meanwhile(void *ctx)
{
    struct meanwhile *m = ctx;
    strata *node = m->fleet->node[1];
    int rc = m->text != NULL ? strata_set(node, strata_str("k"), strata_str(m->text), NULL, NULL)
                             : strata_delete(node, strata_str("k"), NULL);
    assert_int_equal(rc, STRATA_OK);
}

/* A conflict writes nothing, so a load that runs here is stored, with its lease. */
static void test_a_conflict_spoils_no_load(void **state)
{
    (void)state;
    static const int32_t only[] = { STRATA_IF_PRESENT, STRATA_IF_VERSION };
    for (int no_memory = 0; no_memory < 2; no_memory++) {
        struct fleet fleet;
        struct origin o = { .value = "loaded", .pending = 1 };
        struct call c;
        fleet_open(&fleet, &(struct fleet_options){ .no_memory = no_memory });
        ask(&fleet, 0, &o, NULL, &c);
        fleet_run(&fleet);
        assert_non_null(o.kept);
        for (int i = 0; i < 2; i++)
            assert_int_equal(set_if(&fleet, 0, "mine", only[i], (strata_entry_version){ 1, 1 }, NULL), STRATA_ECONFLICT);
        complete_kept(&o);
        fleet_run(&fleet);
        assert_answer(&c, STRATA_OK, "loaded");
        assert_stored(&fleet, "loaded");
        assert_int_equal(set_if(&fleet, 0, "mine", STRATA_IF_PRESENT, none, NULL), STRATA_OK);
        assert_stored(&fleet, "mine");
        assert_int_equal(atomic_load(&fleet.node[0]->root->deciding), 0);
        fleet_close(&fleet);
    }
}

/* What this node holds is out of date, as the conflict shows: nor does a load that fails then bring it back. */
static void test_a_conflict_is_not_undone(void **state)
{
    (void)state;
    const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = 1000, .stale_if_error_ms = 50000,
                                   .retry_ms = 10 };
    struct fleet fleet;
    struct origin o = { .value = "1" };
    struct call c;
    fleet_open(&fleet, &(struct fleet_options){ .policy = &policy });
    assert_load(&fleet, 0, &o, STRATA_OK, "1");
    strata_entry_version seen = version_of(&fleet, 0);
    fleet_pass(&fleet, 2000);
    o.pending = 1;
    ask(&fleet, 0, &o, NULL, &c);
    fleet_run(&fleet);
    assert_non_null(o.kept); /* with "1" in its hand */
    assert_int_equal(strata_set(fleet.node[1], strata_str("k"), strata_str("2"), NULL, NULL), STRATA_OK);
    assert_int_equal(set_if(&fleet, 0, "x", STRATA_IF_VERSION, seen, NULL), STRATA_ECONFLICT);
    assert_int_equal(in_memory(&fleet, 0, NULL), 0);
    o.fail = STRATA_ELOADER;
    complete_kept(&o);
    fleet_run(&fleet);
    assert_int_equal(in_memory(&fleet, 0, NULL), 0);
    assert_node(&fleet, 0, STRATA_OK, "2");
    fleet_close(&fleet);
}

/* Between the look and the write another node writes. */
static void test_overtaken(void **state)
{
    (void)state;
    static const struct {
        const char *before, *meanwhile, *after;
        int32_t only;
        int status;
    } rows[] = {
        { "1", "theirs", "theirs", STRATA_IF_VERSION, STRATA_ECONFLICT },
        { "1", NULL, NULL, STRATA_IF_VERSION, STRATA_ECONFLICT },
        { NULL, "theirs", "theirs", STRATA_IF_ABSENT, STRATA_ECONFLICT },
        { "1", "theirs", "ours", STRATA_IF_PRESENT, STRATA_OK },
        { "1", NULL, NULL, STRATA_IF_PRESENT, STRATA_ECONFLICT },
        { NULL, NULL, "ours", STRATA_IF_ABSENT, STRATA_OK },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fleet fleet;
        struct meanwhile m = { &fleet, rows[i].meanwhile };
        strata_entry_version seen = none;
        fleet_open(&fleet, &(struct fleet_options){ 0 });
        if (rows[i].before != NULL) {
            assert_int_equal(strata_set(fleet.node[0], strata_str("k"), strata_str(rows[i].before), NULL, NULL),
                             STRATA_OK);
            seen = version_of(&fleet, 0);
        }
        lease_store_before(fleet.store, STRATA_OP_PUT, write_meanwhile, &m);
        assert_int_equal(set_if(&fleet, 0, "ours", rows[i].only, seen, NULL), rows[i].status);
        assert_stored(&fleet, rows[i].after);
        assert_node(&fleet, 0, rows[i].after != NULL ? STRATA_OK : STRATA_MISS, rows[i].after);
        fleet_close(&fleet);
    }
}

/* The version of another life of the store is none of this one's, be the number the same. */
static void test_another_life(void **state)
{
    (void)state;
    struct fleet fleet;
    fleet_open(&fleet, &(struct fleet_options){ .no_memory = 1 });
    assert_int_equal(strata_set(fleet.node[0], strata_str("k"), strata_str("1"), NULL, NULL), STRATA_OK);
    strata_entry_version seen = version_of(&fleet, 0);
    lease_store_new_life(fleet.store, seen.number - 1);
    assert_int_equal(strata_set(fleet.node[1], strata_str("k"), strata_str("2"), NULL, NULL), STRATA_OK);
    strata_entry_version now = version_of(&fleet, 1);
    assert_int_equal(now.number, seen.number);
    assert_int_not_equal(now.life, seen.life);
    assert_int_equal(set_if(&fleet, 0, "x", STRATA_IF_VERSION, seen, NULL), STRATA_ECONFLICT);
    assert_stored(&fleet, "2");
    fleet_close(&fleet);
}

static void life_meanwhile(void *ctx)
{
    struct fleet *fleet = ctx;
    strata_entry_version seen = version_of(fleet, 1);
    lease_store_new_life(fleet->store, seen.number - 1);
    assert_int_equal(strata_set(fleet->node[1], strata_str("k"), strata_str("2"), NULL, NULL), STRATA_OK);
    assert_int_equal(version_of(fleet, 1).number, seen.number);
}

/* An expire takes what it finds in another life for nothing that it has read, be the version the same. */
static void test_regress_an_expire_compares_lives(void **state)
{
    (void)state;
    const strata_policy windows = { STRATA_SIZED(strata_policy), .ttl_ms = 1000, .stale_if_error_ms = 5000 };
    struct fleet fleet;
    strata_meta meta;
    char text[8];
    fleet_open(&fleet, &(struct fleet_options){ .no_memory = 1, .policy = &windows });
    assert_int_equal(strata_set(fleet.node[0], strata_str("k"), strata_str("1"), NULL, NULL), STRATA_OK);
    lease_store_before(fleet.store, STRATA_OP_PUT, life_meanwhile, &fleet);
    assert_int_equal(strata_expire(fleet.node[0], strata_str("k"), NULL), STRATA_OK);
    assert_int_equal(lease_store_value(fleet.store, strata_str("k"), text, sizeof text, &meta), 1);
    assert_int_equal(text[0], '2'); /* expired, and not replaced by what was read before */
    assert_int_equal(meta.fresh_ms, 0);
    fleet_close(&fleet);
}

/* Without windows an expire takes out what it has read, and nothing that came after. */
static void test_regress_an_expire_removes_what_it_read(void **state)
{
    (void)state;
    for (int there = 0; there < 2; there++) {
        struct fleet fleet;
        struct meanwhile m = { &fleet, "newer" };
        size_t removes;
        fleet_open(&fleet, &(struct fleet_options){ 0 });
        if (there)
            assert_int_equal(strata_set(fleet.node[0], strata_str("k"), strata_str("old"), NULL, NULL), STRATA_OK);
        removes = store_counts(&fleet).removes;
        lease_store_before(fleet.store, STRATA_OP_REMOVE, write_meanwhile, &m);
        assert_int_equal(strata_expire(fleet.node[0], strata_str("k"), NULL), STRATA_OK);
        /* The newer one was there before the expire was over: it is looked at by itself, and is not fresh, either. */
        assert_int_equal(store_counts(&fleet).removes, removes + 2);
        assert_stored(&fleet, NULL);
        fleet_close(&fleet);
    }
}

/* A store that fails in the middle: nobody knows, so nobody here has it. */
static void test_a_store_that_fails(void **state)
{
    (void)state;
    for (int put = 0; put < 2; put++) {
        struct fleet fleet;
        fleet_open(&fleet, &(struct fleet_options){ 0 });
        assert_int_equal(strata_set(fleet.node[0], strata_str("k"), strata_str("1"), NULL, NULL), STRATA_OK);
        strata_entry_version seen = version_of(&fleet, 0);
        lease_store_fail(fleet.store, put ? STRATA_OP_PUT : STRATA_OP_GET, STRATA_EIO);
        assert_int_equal(set_if(&fleet, 0, "2", STRATA_IF_VERSION, seen, NULL), STRATA_ELAYER);
        assert_int_equal(strstr(fleet.err.message, "nothing was changed") == NULL, put);
        lease_store_fail(fleet.store, put ? STRATA_OP_PUT : STRATA_OP_GET, STRATA_OK);
        assert_stored(&fleet, put ? NULL : "1");
        assert_node(&fleet, 0, put ? STRATA_MISS : STRATA_OK, put ? NULL : "1");
        fleet_close(&fleet);
    }
}

/* Many writers, each adding one to what it read: none is lost. */
struct adder {
    struct fleet *fleet;
    int node, left;
    strata_entry_version seen;
    char text[16];
};

static void add_one(struct adder *a);

static void added(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct adder *a = ctx;
    (void)err;
    strata_value_unref(value);
    assert_true(status == STRATA_OK || status == STRATA_ECONFLICT);
    a->left -= status == STRATA_OK;
    if (a->left > 0)
        add_one(a);
}

static void seen(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct adder *a = ctx;
    strata_condition c = STRATA_CONDITION_INIT;
    (void)err;
    assert_true(status == STRATA_OK);
    c.only = STRATA_IF_VERSION;
    c.version = a->seen;
    snprintf(a->text, sizeof a->text, "%.*s", (int)strata_value_size(value), (const char *)strata_value_data(value));
    strata_value_unref(value);
    snprintf(a->text, sizeof a->text, "%d", atoi(a->text) + 1);
    assert_int_equal(strata_set_if_async(a->fleet->node[a->node], strata_str("k"), strata_str(a->text), &c, NULL, NULL,
                                         NULL, added, a, NULL),
                     STRATA_PENDING);
}

static void add_one(struct adder *a)
{
    assert_int_equal(strata_get_version_async(a->fleet->node[a->node], strata_str("k"), &a->seen, NULL, seen, a, NULL),
                     STRATA_PENDING);
}

static void test_none_is_lost(void **state)
{
    (void)state;
    enum { ADDERS = 6, EACH = 8 };
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct fleet fleet;
        struct adder adders[ADDERS];
        fleet_open(&fleet, &(struct fleet_options){ .seed = seed, .most_ms = 20 });
        assert_int_equal(strata_set(fleet.node[0], strata_str("k"), strata_str("0"), NULL, NULL), STRATA_OK);
        for (int i = 0; i < ADDERS; i++) {
            adders[i] = (struct adder){ .fleet = &fleet, .node = i % NODES, .left = EACH };
            add_one(&adders[i]);
        }
        for (int i = 0; i < 2000; i++)
            fleet_pass(&fleet, 10);
        fleet_run(&fleet);
        assert_stored(&fleet, "48");
        fleet_close(&fleet);
    }
}

static void test_without_memory(void **state)
{
    (void)state;
    for (long n = 1, failed = 1; failed; n++) {
        struct fail_alloc alloc;
        struct fleet fleet;
        strata_entry_version v = none;
        fail_alloc_init(&alloc, 0);
        fleet_open(&fleet, &(struct fleet_options){ .allocator = &alloc.mem });
        assert_int_equal(strata_set(fleet.node[0], strata_str("k"), strata_str("1"), NULL, NULL), STRATA_OK);
        atomic_store(&alloc.fail_at, atomic_load(&alloc.requests) + n);
        int rc = strata_get_version(fleet.node[0], strata_str("k"), NULL, &v, &fleet.err);
        assert_true(rc == STRATA_OK || rc == STRATA_ENOMEM || rc == STRATA_MISS || rc == STRATA_ELAYER);
        if (rc == STRATA_OK && v.number != 0) {
            rc = set_if(&fleet, 0, "2", STRATA_IF_VERSION, v, NULL);
            assert_true(rc == STRATA_OK || rc == STRATA_ENOMEM || rc == STRATA_ELAYER);
        }
        failed = atomic_load(&alloc.failed);
        atomic_store(&alloc.fail_at, 0);
        fleet_close(&fleet);
        assert_int_equal(atomic_load(&alloc.live), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_node_wins),
        cmocka_unit_test(test_a_conflict_spoils_no_load),
        cmocka_unit_test(test_a_conflict_is_not_undone),
        cmocka_unit_test(test_overtaken),
        cmocka_unit_test(test_another_life),
        cmocka_unit_test(test_regress_an_expire_compares_lives),
        cmocka_unit_test(test_regress_an_expire_removes_what_it_read),
        cmocka_unit_test(test_a_store_that_fails),
        cmocka_unit_test(test_none_is_lost),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
