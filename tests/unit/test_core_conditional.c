/* test_core_conditional.c - conditional loads: what the origin called the value that is held, and what it calls the next one. */
#include "src/layer/entry_notes.h"
#include "tests/unit/snapshot_fixture.h"

/* An origin that knows versions, and gives the value only to who has another one. */
struct versions {
    const char *etag, *modified, *value;
    int loads, hits, previous, set_rc;
    int without; /* it names none */
    strata_slice long_one;
};

static int conditional(strata_load *load, strata_slice key, void *ctx)
{
    struct versions *o = ctx;
    strata_slice etag, modified;
    (void)key;
    o->loads++;
    o->previous = strata_load_previous(load) != NULL;
    int known = strata_load_validator(load, &etag, &modified) == STRATA_OK;
    assert_int_equal(known, etag.size + modified.size != 0);
    if (known && etag.size == strlen(o->etag) && memcmp(etag.data, o->etag, etag.size) == 0) {
        o->hits++;
        assert_int_equal(modified.size, strlen(o->modified));
        return strata_load_not_modified(load);
    }
    if (!o->without)
        o->set_rc = strata_load_set_validator(load, strata_str(o->etag), strata_str(o->modified));
    return o->value != NULL ? strata_load_copy(load, o->value, strlen(o->value)) : strata_load_absent(load);
}

static void ask(struct stack *st, struct versions *o, const char *text)
{
    strata_value *v = NULL;
    assert_int_equal(strata_get_or_load(st->cache, strata_str("k"), conditional, o, NULL, &v, &st->err),
                     text != NULL ? STRATA_OK : STRATA_ABSENT);
    if (text != NULL)
        assert_value(v, text);
    run(st);
}

static strata_policy kept_policy(void)
{
    strata_policy p = STRATA_POLICY_INIT;
    p.ttl_ms = 1000;
    p.keep_ms = 100000;
    p.negative_ttl_ms = 1000;
    return p;
}

static void test_asks_by_what_is_held(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = kept_policy();
    struct versions o = { .etag = "\"1\"", .modified = "yesterday", .value = "one" };
    open_policy(&st, &p);
    ask(&st, &o, "one");
    assert_int_equal(o.set_rc, STRATA_OK);
    for (int i = 1; i < 4; i++) { /* each renews the freshness, and keeps the validator */
        pass(&st, 1500);
        ask(&st, &o, "one");
        ask(&st, &o, "one");
        assert_int_equal(o.loads, 1 + i);
        assert_int_equal(o.hits, i);
    }
    o.etag = "\"2\"", o.value = "two";
    pass(&st, 1500);
    ask(&st, &o, "two");
    assert_int_equal(o.hits, 3);
    pass(&st, 1500);
    ask(&st, &o, "two");
    assert_int_equal(o.hits, 4);
    close_stack(&st);
}

/* Past keep, after a delete, and after a value that came without one, nothing is known. */
static void test_knows_nothing_of_what_is_gone(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = kept_policy();
    struct versions o = { .etag = "\"1\"", .modified = "", .value = "one" };
    open_policy(&st, &p);
    ask(&st, &o, "one");
    pass(&st, 200000);
    ask(&st, &o, "one");
    assert_int_equal(o.hits, 0);
    assert_int_equal(strata_delete(st.cache, strata_str("k"), NULL), STRATA_OK);
    ask(&st, &o, "one");
    assert_int_equal(o.hits, 0);
    o.etag = "\"2\"", o.without = 1;
    pass(&st, 1500);
    ask(&st, &o, "one");
    pass(&st, 1500);
    ask(&st, &o, "one");
    assert_int_equal(o.previous, 1);
    assert_int_equal(o.hits, 0);
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("set"), NULL, NULL), STRATA_OK);
    pass(&st, 1500);
    ask(&st, &o, "one");
    assert_int_equal(o.hits, 0);
    close_stack(&st);
}

static void test_absent_has_none(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = kept_policy();
    struct versions o = { .etag = "\"1\"", .modified = "x", .value = NULL };
    open_policy(&st, &p);
    for (int i = 0; i < 3; i++) {
        ask(&st, &o, NULL);
        pass(&st, 1500);
    }
    assert_int_equal(o.loads, 3);
    assert_int_equal(o.hits, 0);
    close_stack(&st);
}

/* A loader that keeps the value may give it a new name; tags stay. */
static int renames(strata_load *load, strata_slice key, void *ctx)
{
    int *calls = ctx;
    strata_slice etag;
    char text[16];
    (void)key;
    (void)snprintf(text, sizeof text, "W/%d", *calls);
    int known = strata_load_validator(load, &etag, NULL) == STRATA_OK;
    assert_int_equal(known, *calls > 0);
    if (known) {
        char before[16];
        (void)snprintf(before, sizeof before, "W/%d", *calls - 1);
        assert_int_equal(etag.size, strlen(before));
        assert_memory_equal(etag.data, before, etag.size);
    }
    ++*calls;
    assert_int_equal(strata_load_set_validator(load, strata_str("not this"), strata_str("")), STRATA_OK);
    assert_int_equal(strata_load_set_validator(load, strata_str(text), strata_str("")), STRATA_OK);
    if (known)
        return strata_load_not_modified(load);
    assert_int_equal(strata_load_tag(load, "red"), STRATA_OK);
    return strata_load_copy(load, "v", 1);
}

static void test_a_kept_value_may_be_renamed(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = kept_policy();
    strata_value *v;
    int calls = 0;
    open_policy(&st, &p);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(strata_get_or_load(st.cache, strata_str("k"), renames, &calls, NULL, &v, &st.err), STRATA_OK);
        strata_value_unref(v);
        pass(&st, 1500);
    }
    assert_int_equal(calls, 4);
    assert_int_equal(strata_get_or_load(st.cache, strata_str("k"), renames, &calls, NULL, &v, &st.err), STRATA_OK);
    strata_value_unref(v);
    assert_int_equal(strata_ban_tag(st.cache, "red", STRATA_BAN_HARD, &st.err), STRATA_OK);
    assert_get(&st, "k", STRATA_MISS, NULL);
    close_stack(&st);
}

static int too_long(strata_load *load, strata_slice key, void *ctx)
{
    static const char bytes[STRATA_VALIDATOR_MAX + 1];
    strata_slice longest = strata_bytes(bytes, STRATA_VALIDATOR_MAX), longer = strata_bytes(bytes, sizeof bytes);
    strata_slice none = { NULL, 0 }, broken = { NULL, 1 }, etag, modified;
    int *held = ctx;
    (void)key;
    assert_int_equal(strata_load_set_validator(load, longer, none), STRATA_EINVAL);
    assert_int_equal(strata_load_set_validator(load, none, longer), STRATA_EINVAL);
    assert_int_equal(strata_load_set_validator(load, broken, none), STRATA_EINVAL);
    assert_int_equal(strata_load_set_validator(load, none, broken), STRATA_EINVAL);
    assert_int_equal(strata_load_set_validator(NULL, none, none), STRATA_EINVAL);
    assert_int_equal(strata_load_validator(NULL, &etag, &modified), STRATA_MISS);
    assert_int_equal(strata_load_validator(load, NULL, NULL), *held ? STRATA_OK : STRATA_MISS);
    (void)strata_load_validator(load, &etag, &modified);
    assert_int_equal(etag.size, *held ? STRATA_VALIDATOR_MAX : 0);
    assert_int_equal(modified.size, etag.size);
    *held = 1;
    assert_int_equal(strata_load_set_validator(load, longest, longest), STRATA_OK);
    assert_int_equal(strata_load_copy(load, "v", 1), STRATA_OK);
    assert_int_equal(strata_load_set_validator(load, longest, longest), STRATA_EALREADY);
    return STRATA_OK;
}

static void test_bounds(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = kept_policy();
    strata_value *v;
    int held = 0;
    open_policy(&st, &p);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(strata_get_or_load(st.cache, strata_str("k"), too_long, &held, NULL, &v, &st.err), STRATA_OK);
        strata_value_unref(v);
        pass(&st, 1500);
    }
    close_stack(&st);
}

static void test_in_a_snapshot(void **state)
{
    (void)state;
    struct stack from, to;
    struct tape t = { 0 };
    strata_policy p = kept_policy();
    struct versions o = { .etag = "\"1\"", .modified = "x", .value = "one" };
    open_policy(&from, &p);
    open_other(&to, &p);
    ask(&from, &o, "one");
    SAVE(&from, &t);
    LOAD(&to, &t);
    pass(&to, 1500);
    ask(&to, &o, "one");
    assert_int_equal(o.loads, 2);
    assert_int_equal(o.hits, 1);
    close_stack(&from);
    close_stack(&to);
    free(t.bytes);
}

/* A layer that keeps the numbers of tags alone, or nothing beside the bytes: no validator, and no harm. */
static void test_a_layer_may_lose_it(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = kept_policy();
    struct versions o = { .etag = "\"1\"", .modified = "x", .value = "one" };
    open_stack(&st, &(struct stack_options){ .policy = &p, .only_slow = 1 });
    for (int i = 0; i < 3; i++) {
        ask(&st, &o, "one");
        pass(&st, 1500);
    }
    assert_int_equal(o.loads, 3);
    assert_int_equal(o.previous, 1);
    assert_int_equal(o.hits, 0);
    close_stack(&st);
}

/* Any bytes that a layer may give are either whole or refused. */
static void test_notes_are_checked(void **state)
{
    (void)state;
    unsigned char bytes[40] = { 0 };
    for (size_t size = 0; size <= sizeof bytes; size++)
        for (unsigned first = 0; first < 40; first++)
            for (uint32_t count = 0; count < 3; count++) {
                struct strata_value v = { .data = bytes, .size = size };
                size_t numbers = count * sizeof(uint64_t);
                memset(bytes, 0, sizeof bytes);
                if (size >= numbers + ENTRY_NOTE_HEAD) {
                    memcpy(bytes + numbers, "\365valid", 6);
                    bytes[numbers + 6] = (unsigned char)first;
                }
                int valid = strata__entry_notes_valid(&v, count);
                assert_int_equal(valid, size == numbers || (size >= numbers + 8 && first <= size - numbers - 8));
                if (!valid)
                    continue;
                struct entry_note note = strata__entry_note(&v, count);
                assert_int_equal(note.validator.size + note.last_modified.size, size > numbers ? size - numbers - 8 : 0);
            }
    assert_int_equal(strata__entry_notes_valid(NULL, 7), 1);
}

/* Without memory a load is only less conditional than it might be. */
static void test_without_memory(void **state)
{
    (void)state;
    for (long nth = 1, over = 0; !over; nth++) {
        struct fail_alloc alloc;
        struct stack st;
        strata_policy p = kept_policy();
        struct versions o = { .etag = "\"1\"", .modified = "x", .value = "one" };
        fail_alloc_init(&alloc, 0);
        open_stack(&st, &(struct stack_options){ .policy = &p, .allocator = &alloc.mem });
        atomic_store(&alloc.fail_at, atomic_load(&alloc.requests) + nth);
        for (int i = 0; i < 3; i++) {
            strata_value *v = NULL;
            int rc = strata_get_or_load(st.cache, strata_str("k"), conditional, &o, NULL, &v, &st.err);
            assert_true(rc == STRATA_OK || rc == STRATA_ENOMEM);
            if (rc == STRATA_OK)
                assert_value(v, "one");
            pass(&st, 1500);
        }
        over = !atomic_load(&alloc.failed);
        atomic_store(&alloc.fail_at, 0);
        ask(&st, &o, "one");
        close_stack(&st);
        assert_int_equal(atomic_load(&alloc.live), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asks_by_what_is_held),
        cmocka_unit_test(test_knows_nothing_of_what_is_gone),
        cmocka_unit_test(test_absent_has_none),
        cmocka_unit_test(test_a_kept_value_may_be_renamed),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_a_layer_may_lose_it),
        cmocka_unit_test(test_notes_are_checked),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_in_a_snapshot),
    };
    return cmocka_run_group_tests_name("conditional loads", tests, NULL, NULL);
}
