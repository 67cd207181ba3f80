/* test_write_policy.c - when a write to several layers has failed, under each strata_options.write_policy: every combination of
 * what two slower layers answer, below a memory layer that carries out everything; and a memory layer that has no room. */
#include "tests/unit/core_fixture.h"

enum outcome {
    WELL,
    FAILS,        /* the write fails; being told to forget does not */
    FAILS_ALWAYS, /* that, too */
    FAILS_AWAY,   /* the write fails, and forgetting is pending */
    NO_ROOM,
    NO_ROOM_AWAY,
    AWAY, /* removes and clears are pending */
    OUTCOMES
};
enum way { SET, DELETE, EXPIRE, CLEAR, WAYS };
enum form { PLAIN, MANY, LATER, FORMS };

struct two {
    struct stack st;
    struct script *s[2];
};

static void open_two(struct two *t, int32_t policy, int with_memory)
{
    memset(t, 0, sizeof *t);
    assert_int_equal(strata__executor_sim_new(&t->st.ex, NULL, 1, &t->st.err), STRATA_OK);
    strata_layer *layers[3];
    size_t n = 0;
    if (with_memory)
        layers[n++] = strata_memory_layer(NULL);
    for (int i = 0; i < 2; i++) {
        t->s[i] = script_new();
        snprintf(t->s[i]->base.name, sizeof t->s[i]->base.name, "script%d", i);
        layers[n++] = &t->s[i]->base;
    }
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = n;
    options.write_policy = policy;
    assert_int_equal(strata__open_with(&t->st.cache, &options, t->st.ex, &t->st.err), STRATA_OK);
}

static void become(struct script *s, enum outcome o, enum way way)
{
    s->fail_puts = o == FAILS || o == FAILS_ALWAYS || o == FAILS_AWAY;
    s->fail_removes = o == FAILS_ALWAYS || (o == FAILS && way != SET);
    s->pend_removes = o == AWAY || o == NO_ROOM_AWAY || (o == FAILS_AWAY && way == SET);
    s->no_room = o == NO_ROOM || o == NO_ROOM_AWAY;
    s->fail_gets = s->fail_puts && way == EXPIRE;
    s->fail_clear = s->fail_puts;
    s->pend_clear = s->pend_removes;
}

/* What a layer that answers so has done of it. */
static int fails(const struct script *s, enum way way)
{
    return way == SET     ? s->fail_puts
           : way == CLEAR ? s->fail_clear
                          : s->fail_removes || (way == EXPIRE && s->fail_gets);
}
static int is_pending(const struct script *s, enum way way)
{
    if (way == SET)
        return s->pend_removes && (s->fail_puts || s->no_room);
    return s->pend_removes && !fails(s, way);
}

static int status_of(strata_item *item, int rc)
{
    assert_true(rc < 0 ? item->status == rc : 1);
    return item->status;
}

static int write_it(struct two *t, enum way way, enum form form)
{
    strata_item item = { .key = strata_str("k"), .set = strata_str("new") };
    struct ended e = { 0 };
    strata *c = t->st.cache;
    strata_error *err = &t->st.err;
    *err = (strata_error)STRATA_ERROR_INIT;
    if (way == CLEAR)
        return strata_clear(c, err);
    if (form == MANY && way == SET)
        return status_of(&item, strata_set_many(c, &item, 1, NULL, err));
    if (form == MANY && way == DELETE)
        return status_of(&item, strata_delete_many(c, &item, 1, err));
    if (form == LATER) {
        int rc = way == SET      ? strata_set_async(c, item.key, item.set, NULL, NULL, on_done, &e, err)
                 : way == DELETE ? strata_delete_async(c, item.key, NULL, on_done, &e, err)
                                 : strata_expire_async(c, item.key, NULL, on_done, &e, err);
        assert_int_equal(rc, STRATA_PENDING);
        run(&t->st);
        assert_int_equal(e.count, 1);
        return e.status;
    }
    return way == SET      ? strata_set(c, item.key, item.set, NULL, err)
           : way == DELETE ? strata_delete(c, item.key, err)
                           : strata_expire(c, item.key, err);
}

static int holds(const struct script *s, const char *text)
{
    const struct script_entry *e = script_find((struct script *)(uintptr_t)s, strata_str("k"), 0);
    return e != NULL && e->size == strlen(text) && memcmp(e->bytes, text, e->size) == 0;
}

static int in_memory(strata *h, const char *text)
{
    struct layer_slot *slot = &h->root->layers[0];
    strata_slice k = strata_str("k");
    struct key_forms forms = { .plain = k, .storage = k, .hash = handle_hash(h, k) };
    strata_op op;
    strata_error words;
    op_init(&op, h, slot, &forms, STRATA_OP_GET, ex_now_ms(h->root->ex), &words);
    strata__instant_submit(slot, &op);
    int is = strata__op_found(&op) && strata_value_size(op.found) == strlen(text) &&
             memcmp(strata_value_data(op.found), text, strlen(text)) == 0;
    strata_value_unref(op.found);
    return is;
}

/* The rules as strata/cache.h tells them. */
static int expected(const struct two *t, int32_t policy, enum way way)
{
    int failed = fails(t->s[0], way) || fails(t->s[1], way);
    int pending = is_pending(t->s[0], way) || is_pending(t->s[1], way);
    if (policy == STRATA_WRITE_STRICT)
        return failed || pending ? STRATA_ELAYER : STRATA_OK;
    if (failed && policy == STRATA_WRITE_DEFAULT)
        return STRATA_ELAYER;
    return pending ? STRATA_PENDING : STRATA_OK; /* memory has carried it out */
}

static void look_after_set(const struct two *t, int32_t policy, int status)
{
    int back = policy == STRATA_WRITE_STRICT && status < 0;
    assert_int_equal(in_memory(t->st.cache, "new"), !back);
    assert_false(in_memory(t->st.cache, "old"));
    for (int i = 0; i < 2; i++) {
        const struct script *s = t->s[i];
        int took = !s->fail_puts && !s->no_room;
        int stuck = s->fail_removes || s->pend_removes; /* it can't be made to forget */
        if (took && !back)
            assert_true(holds(s, "new"));
        else if (!stuck)
            assert_false(holds(s, "new") || holds(s, "old"));
        else if (!took)
            assert_true(holds(s, "old"));
    }
}

static void one_case(int32_t policy, enum way way, enum form form, enum outcome a, enum outcome b)
{
    struct two t;
    open_two(&t, policy, 1);
    assert_int_equal(strata_set(t.st.cache, strata_str("k"), strata_str("old"), NULL, &t.st.err), STRATA_OK);
    become(t.s[0], a, way);
    become(t.s[1], b, way);
    int want = expected(&t, policy, way), got = write_it(&t, way, form);
    if (got != want)
        fail_msg("policy %d, way %d, form %d, layers %d %d: %d, not %d (%s)", (int)policy, (int)way, (int)form, (int)a,
                 (int)b, got, want, t.st.err.message);
    if (got < 0 && form == PLAIN) {
        assert_non_null(strstr(t.st.err.where, "script"));
        assert_non_null(strstr(t.st.err.message, t.st.err.where));
    }
    if (way == SET)
        look_after_set(&t, policy, got);
    else
        assert_false(in_memory(t.st.cache, "old"));
    close_stack(&t.st);
}

static void test_every_combination(void **state)
{
    (void)state;
    for (int32_t policy = STRATA_WRITE_DEFAULT; policy <= STRATA_WRITE_STRICT; policy++)
        for (int way = 0; way < WAYS; way++)
            for (int form = 0; form < FORMS; form++)
                for (int both = 0; both < OUTCOMES * OUTCOMES; both++)
                    one_case(policy, (enum way)way, (enum form)form, (enum outcome)(both % OUTCOMES),
                             (enum outcome)(both / OUTCOMES));
}

static void memory_has_none(void *ctx)
{
    const struct two *t = ctx;
    assert_false(in_memory(t->st.cache, "new"));
}

/* A store comes first, so it is known in time. */
static void test_what_will_be_taken_back_is_never_seen(void **state)
{
    (void)state;
    for (int form = 0; form < FORMS; form++)
        for (int bad = 0; bad < 2; bad++) {
            struct two t;
            open_two(&t, STRATA_WRITE_STRICT, 1);
            become(t.s[bad], FAILS, SET);
            for (int i = 0; i < 2; i++) {
                t.s[i]->submitted = memory_has_none;
                t.s[i]->submitted_ctx = &t;
            }
            assert_int_equal(write_it(&t, SET, (enum form)form), STRATA_ELAYER);
            assert_int_equal(t.s[0]->puts, bad == 0); /* the furthest comes first */
            assert_int_equal(t.s[1]->puts, 1);
            look_after_set(&t, STRATA_WRITE_STRICT, STRATA_ELAYER);
            close_stack(&t.st);
        }
}

/* Without memory: what has no room has not carried it out. */
static void test_best_effort_fails_where_nobody_has_it(void **state)
{
    static const struct {
        enum outcome a, b;
        int status;
    } cases[] = { { FAILS, FAILS, STRATA_ELAYER },      { FAILS, WELL, STRATA_OK },
                  { WELL, FAILS, STRATA_OK },           { FAILS, NO_ROOM, STRATA_ELAYER },
                  { NO_ROOM, NO_ROOM, STRATA_OK },      { FAILS_AWAY, FAILS, STRATA_ELAYER },
                  { FAILS_AWAY, WELL, STRATA_PENDING }, { NO_ROOM_AWAY, NO_ROOM, STRATA_PENDING } };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct two t;
        open_two(&t, STRATA_WRITE_BEST_EFFORT, 0);
        become(t.s[0], cases[i].a, SET);
        become(t.s[1], cases[i].b, SET);
        int rc = strata_set(t.st.cache, strata_str("k"), strata_str("new"), NULL, &t.st.err);
        if (rc != cases[i].status)
            fail_msg("case %zu: %d", i, rc);
        close_stack(&t.st);
    }
}

static void test_what_is_unknown_is_refused(void **state)
{
    (void)state;
    strata_layer *layer = strata_memory_layer(NULL);
    strata_options options = STRATA_OPTIONS_INIT;
    strata_error err = STRATA_ERROR_INIT;
    strata *cache = NULL;
    options.layers = &layer;
    options.layer_count = 1;
    options.write_policy = 3;
    assert_int_equal(strata_open(&cache, &options, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "write_policy"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_combination),
        cmocka_unit_test(test_what_will_be_taken_back_is_never_seen),
        cmocka_unit_test(test_best_effort_fails_where_nobody_has_it),
        cmocka_unit_test(test_what_is_unknown_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
