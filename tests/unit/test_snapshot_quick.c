/* test_snapshot_quick.c - the short ways of snapshots do what the general ways do: the same import by both, and the same entries in there
 * after it, whatever was set, deleted, banned and cleared before. */
#include "src/core/core_impl.h"
#include "strata/ban.h"
#include "tests/unit/snapshot_fixture.h"

enum { KEYS = 24, SEEDS = 300 };

static uint64_t state_of_chance;

static unsigned chance(unsigned below)
{
    state_of_chance = strata__mix64(state_of_chance + 0x9e3779b97f4a7c15u);
    return (unsigned)(state_of_chance >> 33) % below;
}

static const char *key_name(unsigned n, char room[16])
{
    snprintf(room, 16, "%c%u", "ab"[n % 2], n);
    return room;
}

static void set_somehow(strata *cache, unsigned n, const char *text, unsigned how)
{
    char name[16];
    strata_policy p = STRATA_POLICY_INIT;
    p.ttl_ms = how & 1 ? 100 : how & 2 ? 1000 : 0;
    p.stale_while_revalidate_ms = how & 4 ? 200 : 0;
    p.stale_if_error_ms = how & 8 ? 500 : 0;
    strata_slice tags[] = { strata_str(how & 16 ? "red" : "blue") };
    int tagged = how % 3 == 0;
    int rc = tagged ? strata_set_tagged(cache, strata_str(key_name(n, name)), strata_str(text), tags, 1, &p, NULL)
                    : strata_set(cache, strata_str(key_name(n, name)), strata_str(text), &p, NULL);
    assert_int_equal(rc, STRATA_OK);
}

/* "Absent", with a time. */
static struct origin nothing_there; /* a refresh may ask it later */

static void set_absent(struct stack *st, unsigned n)
{
    char name[16];
    strata_policy p = STRATA_POLICY_INIT;
    strata_value *v;
    p.negative_ttl_ms = 300;
    (void)strata_get_or_load(st->cache, strata_str(key_name(n, name)), origin_loader, &nothing_there, &p, &v, NULL);
    strata_value_unref(v);
}

/* What the caches have gone through before: the same for both. */
static void live(struct stack *st, uint64_t seed)
{
    char name[16];
    state_of_chance = seed;
    for (unsigned i = 0; i < 8; i++) {
        unsigned n = chance(KEYS);
        switch (chance(16)) {
        case 0: strata_ban_tag(st->cache, "red", 0, NULL); break;
        case 1: strata_ban_prefix(st->cache, strata_str("a"), 0, NULL); break;
        case 2: strata_ban_tag(st->cache, "blue", STRATA_BAN_SOFT, NULL); break;
        case 3: (void)strata_delete(st->cache, strata_str(key_name(n, name)), NULL); break;
        case 4: pass(st, 50 + chance(100)); break;
        case 5: (void)strata_expire(st->cache, strata_str(key_name(n, name)), NULL); break;
        case 6: set_absent(st, n); break;
        case 7:
            if (chance(4) == 0)
                (void)strata_clear(st->cache, NULL);
            break;
        default: set_somehow(st->cache, n, "new", chance(64));
        }
    }
}

static void assert_alike(struct stack *a, struct stack *b)
{
    char name[16];
    for (unsigned n = 0; n < KEYS; n++) {
        strata_value *x, *y;
        int rc = strata_get(a->cache, strata_str(key_name(n, name)), &x, NULL);
        assert_int_equal(rc, strata_get(b->cache, strata_str(name), &y, NULL));
        assert_int_equal(strata_value_size(x), strata_value_size(y));
        if (x != NULL)
            assert_memory_equal(strata_value_data(x), strata_value_data(y), strata_value_size(x));
        strata_value_unref(x);
        strata_value_unref(y);
    }
}

static void assert_same_report(const strata_snapshot_report *a, const strata_snapshot_report *b)
{
    assert_int_equal(a->entries, b->entries);
    assert_int_equal(a->bytes, b->bytes);
    assert_int_equal(a->kept, b->kept);
    assert_int_equal(a->expired, b->expired);
    assert_int_equal(a->banned, b->banned);
    assert_int_equal(a->refused, b->refused);
    assert_int_equal(a->failed, b->failed);
    assert_int_equal(a->limited, b->limited);
}

static void import_both(struct stack *quick, struct stack *slow, struct tape *t, const strata_snapshot_options *o)
{
    assert_int_equal(load(quick->cache, t, o, &quick->err), STRATA_OK);
    strata_snapshot_report of_quick = report;
    assert_int_equal(load(slow->cache, t, o, &slow->err), STRATA_OK);
    assert_same_report(&of_quick, &report);
}

static void one_history(uint64_t seed)
{
    struct stack from, quick, slow;
    struct tape t = { 0 }, again = { 0 }, slow_again = { 0 };
    strata_snapshot_options o = STRATA_SNAPSHOT_OPTIONS_INIT;
    open_policy(&from, NULL);
    state_of_chance = seed * 7;
    for (unsigned n = 0; n < KEYS; n++) {
        if (chance(8) == 0)
            set_absent(&from, n);
        else if (chance(6) != 0)
            set_somehow(from.cache, n, "old", chance(64));
        if (chance(6) == 0)
            pass(&from, 30);
    }
    SAVE(&from, &t);
    open_other(&quick, NULL);
    open_other(&slow, NULL);
    slow.cache->root->layers[0].flags &= ~STRATA__LAYER_COPIES; /* as of a layer that isn't ours: no short way there */
    live(&quick, seed);
    live(&slow, seed);
    if (seed % 5 == 0)
        o.max_entries = 1 + seed % 7;
    if (seed % 7 == 0)
        o.max_age_ms = 60;
    import_both(&quick, &slow, &t, &o);
    assert_alike(&quick, &slow);
    strata_ban_tag(quick.cache, "blue", 0, NULL); /* what has come in is younger */
    strata_ban_tag(slow.cache, "blue", 0, NULL);
    import_both(&quick, &slow, &t, NULL);
    pass(&quick, 120);
    pass(&slow, 120);
    assert_alike(&quick, &slow);
    SAVE(&quick, &again);
    uint64_t entries = report.entries;
    SAVE(&slow, &slow_again);
    assert_int_equal(report.entries, entries);
    close_stack(&from);
    close_stack(&quick);
    close_stack(&slow);
    free(t.bytes);
    free(again.bytes);
    free(slow_again.bytes);
}

static void both_ways_end_alike(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        one_history(seed);
}

/* Blocks that end in the middle of a piece, entries of all sizes, namespaces: all of it comes back, as often as it goes round. */
static void all_of_many_comes_back(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    static char text[20000];
    struct stack a, b;
    struct tape t = { 0 }, u = { 0 };
    char name[16];
    strata *below, *other;
    open_stack(&a, &(struct stack_options){ .memory_bytes = 64 << 20 });
    open_stack(&b, &(struct stack_options){ .memory_bytes = 64 << 20, .seed = 2 });
    assert_int_equal(strata_namespace(a.cache, "below", NULL, &below, NULL), STRATA_OK);
    assert_int_equal(strata_namespace(b.cache, "below", NULL, &other, NULL), STRATA_OK);
    memset(text, 'x', sizeof text);
    for (unsigned n = 0; n < MANY; n++) {
        size_t size = n % 50 == 0 ? sizeof text : n % 7 == 0 ? 5000 : n % 400;
        assert_int_equal(strata_set(n % 3 == 0 ? below : a.cache, strata_str(key_name(n, name)),
                                    strata_bytes(text, size), NULL, NULL),
                         STRATA_OK);
    }
    SAVE(&a, &t);
    assert_int_equal(report.entries, MANY);
    LOAD(&b, &t);
    assert_int_equal(report.entries, MANY);
    SAVE(&b, &u);
    assert_int_equal(report.entries, MANY);
    LOAD(&a, &u); /* all of it is there */
    assert_int_equal(report.kept, MANY);
    for (unsigned n = 0; n < MANY; n++) {
        strata_value *v;
        assert_int_equal(strata_get(n % 3 == 0 ? other : b.cache, strata_str(key_name(n, name)), &v, NULL), STRATA_OK);
        assert_int_equal(strata_value_size(v), n % 50 == 0 ? sizeof text : n % 7 == 0 ? 5000 : n % 400);
        strata_value_unref(v);
    }
    strata_close(below);
    strata_close(other);
    close_stack(&a);
    close_stack(&b);
    free(t.bytes);
    free(u.bytes);
}

/* A load of the key is under way: what it brings is younger, and the import waits for it no longer than it has to. */
static void a_load_that_is_under_way_wins(void **state)
{
    (void)state;
    struct stack a, b;
    struct tape t = { 0 };
    struct origin o = { .value = "new", .pending = 1 };
    struct ended e = { 0 };
    open_policy(&a, NULL);
    set_for(a.cache, "k", "old", 0);
    SAVE(&a, &t);
    open_other(&b, NULL);
    o.st = &b;
    assert_int_equal(
        strata_get_or_load_async(b.cache, strata_str("k"), origin_loader, &o, NULL, NULL, on_done, &e, NULL),
        STRATA_PENDING);
    run(&b);
    assert_non_null(o.kept);
    set_for(b.cache, "k", "newer", 0);
    LOAD(&b, &t);
    assert_int_equal(report.kept, 1);
    assert_int_equal(strata_load_copy(o.kept, "new", 3), STRATA_OK);
    strata_load_unref(o.kept);
    run(&b);
    assert_get(&b, "k", STRATA_OK, "newer");
    close_stack(&a);
    close_stack(&b);
    free(t.bytes);
}

static strata_layer_stats memory_of(struct stack *st)
{
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    assert_int_equal(strata_stats_layer(st->cache, 0, &s), STRATA_OK);
    return s;
}

/* No answer is counted as a user's, and layers count no misses of an import's. */
static void statistics_know_nothing_of_it(void **state)
{
    (void)state;
    struct stack a, b;
    struct tape t = { 0 };
    open_policy(&a, NULL);
    for (unsigned n = 0; n < KEYS; n++)
        set_somehow(a.cache, n, "old", 2);
    SAVE(&a, &t);
    assert_int_equal(stats_of(a.cache).hits, 0);
    assert_int_equal(memory_of(&a).hits, 0);
    open_other(&b, NULL);
    LOAD(&b, &t);
    LOAD(&b, &t);
    assert_int_equal(report.kept, KEYS);
    strata_stats s = stats_of(b.cache);
    assert_int_equal(s.hits + s.misses + s.sets + s.loads, 0);
    assert_int_equal(memory_of(&b).hits + memory_of(&b).misses, 0);
    assert_int_equal(memory_of(&b).puts, KEYS);
    close_stack(&a);
    close_stack(&b);
    free(t.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_end_alike),
        cmocka_unit_test(all_of_many_comes_back),
        cmocka_unit_test(a_load_that_is_under_way_wins),
        cmocka_unit_test(statistics_know_nothing_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
