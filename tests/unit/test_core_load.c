/* test_core_load.c - what loaders may do, and what they may do wrong. */
#include "tests/support/fail_alloc.h"
#include "tests/unit/core_fixture.h"

static int load_with(struct stack *st, const char *key, strata_loader loader, void *ctx, strata_value **out)
{
    memset(&st->err, 0, sizeof st->err);
    return strata_get_or_load(st->cache, strata_str(key), loader, ctx, NULL, out, &st->err);
}

static int says_nothing(strata_load *load, strata_slice key, void *ctx)
{
    (void)load;
    (void)key;
    (void)ctx;
    return STRATA_OK;
}

static int returns_error(strata_load *load, strata_slice key, void *ctx)
{
    (void)load;
    (void)key;
    return *(int *)ctx;
}

static int completes_twice(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    assert_int_equal(strata_load_copy(load, "one", 3), STRATA_OK);
    *(int *)ctx = strata_load_copy(load, "two", 3);
    assert_int_equal(strata_load_fail(load, STRATA_EIO, NULL), STRATA_EALREADY);
    assert_int_equal(strata_load_set_policy(load, &(strata_policy)STRATA_POLICY_INIT), STRATA_EALREADY);
    return STRATA_OK;
}

static void test_wrong_ends(void **state)
{
    (void)state;
    struct stack st;
    strata_value *v;
    int rc = STRATA_EIO;
    open_policy(&st, NULL);
    assert_int_equal(load_with(&st, "k", says_nothing, NULL, &v), STRATA_ELOADER);
    assert_null(v);
    assert_non_null(strstr(st.err.message, "without a result"));
    assert_int_equal(load_with(&st, "k", returns_error, &rc, &v), STRATA_EIO);
    assert_int_equal(load_with(&st, "k", completes_twice, &rc, &v), STRATA_OK);
    assert_int_equal(rc, STRATA_EALREADY);
    assert_value(v, "one");
    close_stack(&st);
}

/* Later, and never ------------------------------------------------------------------------------------------------ */

static int keeps(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    *(strata_load **)ctx = strata_load_ref(load);
    return STRATA_PENDING;
}

static int drops(strata_load *load, strata_slice key, void *ctx)
{
    (void)load;
    (void)key;
    (void)ctx;
    return STRATA_PENDING; /* without a reference: nobody can ever complete it */
}

struct completer {
    struct task task;
    strata_load **load;
    int rc;
};

static void complete_it(struct task *task)
{
    struct completer *c = (struct completer *)(void *)task;
    c->rc = strata_load_copy(*c->load, "later", 5);
    strata_load_unref(*c->load);
}

static int keeps_and_posts(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    struct completer *c = ctx;
    *c->load = strata_load_ref(load);
    return STRATA_PENDING;
}

static void complete_later(struct timer *timer);

struct later {
    struct timer timer;
    struct completer completer;
    struct executor *ex;
};

static void complete_later(struct timer *timer)
{
    struct later *l = (struct later *)(void *)timer;
    ex_post_always(l->ex, &l->completer.task);
}

static void test_pending(void **state)
{
    (void)state;
    struct stack st;
    strata_value *v;
    strata_load *load = NULL;
    open_policy(&st, NULL);
    struct later l = { .completer = { .task = { .run = complete_it }, .load = &load }, .ex = st.ex };
    l.timer.fire = complete_later;
    ex_at(st.ex, &l.timer, ex_now_ms(st.ex) + 50);
    assert_int_equal(load_with(&st, "k", keeps_and_posts, &l.completer, &v), STRATA_OK);
    assert_value(v, "later");
    assert_int_equal(l.completer.rc, STRATA_OK);
    assert_int_equal(load_with(&st, "never", drops, NULL, &v), STRATA_ELOADER);
    close_stack(&st);
}

static void test_last_unref(void **state)
{
    (void)state;
    struct stack st;
    strata_load *load = NULL;
    struct ended e = { 0 };
    open_policy(&st, NULL);
    assert_int_equal(strata_get_or_load_async(st.cache, strata_str("k"), keeps, &load, NULL, NULL, on_done, &e, NULL),
                     STRATA_PENDING);
    run(&st);
    assert_int_equal(e.count, 0);
    strata_load_unref(load);
    run(&st);
    assert_int_equal(e.count, 1);
    assert_int_equal(e.status, STRATA_ELOADER);
    close_stack(&st);
}

static void test_close_with_pending(void **state)
{
    (void)state;
    struct stack st;
    strata_load *load = NULL;
    struct ended e = { 0 };
    open_policy(&st, NULL);
    assert_int_equal(strata_get_or_load_async(st.cache, strata_str("k"), keeps, &load, NULL, NULL, on_done, &e, NULL),
                     STRATA_PENDING);
    run(&st);
    close_stack(&st);
    assert_int_equal(e.count, 1);
    assert_int_equal(e.status, STRATA_ECLOSED);
    assert_int_equal(strata_load_canceled(load), 1);
    assert_int_equal(strata_load_copy(load, "x", 1), STRATA_ECLOSED);
    assert_int_equal(strata_load_absent(load), STRATA_ECLOSED);
    strata_load_unref(load);
}

/* Values ---------------------------------------------------------------------------------------------------------- */

static int released;

static void release_bytes(void *data, void *ctx)
{
    (void)data;
    (void)ctx;
    released++;
}

static int takes(strata_load *load, strata_slice key, void *ctx)
{
    static char bytes[] = "taken";
    (void)key;
    return strata_load_take(load, bytes, *(size_t *)ctx, release_bytes, NULL);
}

static int declines(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    (void)ctx;
    return strata_load_decline(load, "not stored", 10);
}

static void test_take_and_decline(void **state)
{
    (void)state;
    struct stack st;
    strata_value *v;
    size_t size = 5;
    released = 0;
    open_stack(&st, &(struct stack_options){ .max_value_bytes = 10 });
    assert_int_equal(load_with(&st, "k", takes, &size, &v), STRATA_OK);
    assert_value(v, "taken");
    size = 11;
    assert_int_equal(load_with(&st, "big", takes, &size, &v), STRATA_EVALUESIZE);
    assert_null(v);
    assert_int_equal(load_with(&st, "d", declines, NULL, &v), STRATA_OK);
    assert_value(v, "not stored");
    assert_get(&st, "d", STRATA_MISS, NULL);
    close_stack(&st);
    assert_int_equal(released, 2);
}

/* Asking for the key that is being loaded ------------------------------------------------------------------------- */

struct chain {
    struct stack *st;
    const char *next[3]; /* "a" asks for next[0], "b" for next[1]... */
    const strata_policy *policy;
    int inner;
    strata_error err;
};

static int asks_for_next(strata_load *load, strata_slice key, void *ctx)
{
    struct chain *c = ctx;
    const char *next = c->next[*(const char *)key.data - 'a'];
    strata_value *v;
    if (next == NULL)
        return strata_load_copy(load, "end", 3);
    int rc = strata_get_or_load(c->st->cache, strata_str(next), asks_for_next, c, c->policy, &v, &c->err);
    if (rc < 0) {
        c->inner = rc;
        return strata_load_fail(load, rc, c->err.message);
    }
    rc = strata_load_copy(load, strata_value_data(v), strata_value_size(v));
    strata_value_unref(v);
    return rc;
}

static void chain_case(const strata_policy *policy, const char *a, const char *b, const char *c, int status)
{
    struct stack st;
    strata_value *v;
    open_policy(&st, policy);
    struct chain chain = { .st = &st, .next = { a, b, c } };
    assert_int_equal(load_with(&st, "a", asks_for_next, &chain, &v), status);
    strata_value_unref(v);
    if (status < 0) {
        assert_int_equal(chain.inner, status);
        assert_non_null(strstr(st.err.message, "\"a\""));
    }
    close_stack(&st);
}

static void test_deadlock(void **state)
{
    (void)state;
    strata_policy timed = { .size = sizeof timed, .hard_timeout_ms = 60000 };
    const strata_policy *policies[] = { NULL, &timed }; /* the second one hops to workers */
    for (int i = 0; i < 2; i++) {
        chain_case(policies[i], "a", NULL, NULL, STRATA_EDEADLOCK);
        chain_case(policies[i], "b", "a", NULL, STRATA_EDEADLOCK);
        chain_case(policies[i], "b", "c", "a", STRATA_EDEADLOCK);
        chain_case(policies[i], "b", "c", NULL, STRATA_OK);
    }
}

static int asks_for_many(strata_load *load, strata_slice key, void *ctx)
{
    struct stack *st = ctx;
    strata_item items[2] = { { .key = strata_str("other") }, { .key = key } };
    struct origin o = { .st = st, .value = "v" };
    (void)o;
    int rc = strata_get_many(st->cache, items, 2, NULL);
    (void)rc;
    assert_int_equal(items[0].status, STRATA_MISS);
    assert_int_equal(items[1].status, STRATA_MISS); /* a plain get waits for no loader */
    return strata_load_copy(load, "v", 1);
}

static void test_plain_get_of_own_key(void **state)
{
    (void)state;
    struct stack st;
    strata_value *v;
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    assert_int_equal(load_with(&st, "a", asks_for_many, &st, &v), STRATA_OK);
    assert_value(v, "v");
    close_stack(&st);
}

/* Two threads that load each other's key wait for each other: one of them is told. */
struct cross {
    struct stack *st;
    const char *other;
    int rc;
};

static int crosses(strata_load *load, strata_slice key, void *ctx)
{
    struct cross *c = ctx;
    strata_value *v;
    struct parker parker = { 0 };
    (void)key;
    ex_park(c->st->ex, &parker, ex_now_ms(c->st->ex) + 10); /* both loads run */
    c->rc = strata_get_or_load(c->st->cache, strata_str(c->other), says_nothing, NULL, NULL, &v, NULL);
    strata_value_unref(v);
    return strata_load_copy(load, "v", 1);
}

static void test_deadlock_across_threads(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct stack st;
        struct ended e[2] = { { 0 }, { 0 } };
        open_stack(&st, &(struct stack_options){ .seed = seed });
        struct cross a = { .st = &st, .other = "b" }, b = { .st = &st, .other = "a" };
        strata_get_or_load_async(st.cache, strata_str("a"), crosses, &a, NULL, NULL, on_done, &e[0], NULL);
        strata_get_or_load_async(st.cache, strata_str("b"), crosses, &b, NULL, NULL, on_done, &e[1], NULL);
        pass(&st, 100);
        assert_int_equal(e[0].status, STRATA_OK);
        assert_int_equal(e[1].status, STRATA_OK);
        assert_int_equal((a.rc == STRATA_EDEADLOCK) + (b.rc == STRATA_EDEADLOCK), 1);
        close_stack(&st);
    }
}

/* A codec ----------------------------------------------------------------------------------------------------------- */

struct thing {
    int number;
};

static int things, decodes, encodes;

static struct thing *new_thing(int number)
{
    struct thing *t = malloc(sizeof *t);
    t->number = number;
    things++;
    return t;
}

static int encode_thing(const void *object, void *out, size_t room, size_t *size, void *ctx)
{
    char text[600];
    (void)ctx;
    encodes++;
    *size = (size_t)snprintf(text, sizeof text, "%0400d",
                             ((const struct thing *)object)->number); /* more than a first try */
    if (room < *size)
        return STRATA_AGAIN;
    memcpy(out, text, *size);
    return STRATA_OK;
}

static int decode_thing(const void *data, size_t size, void **out, void *ctx)
{
    char text[600] = "";
    (void)ctx;
    decodes++;
    memcpy(text, data, size);
    *out = new_thing((int)strtol(text, NULL, 10));
    return STRATA_OK;
}

static void free_thing(void *object, void *ctx)
{
    (void)ctx;
    things--;
    free(object);
}

static size_t cost_thing(const void *object, void *ctx)
{
    (void)object;
    (void)ctx;
    return sizeof(struct thing);
}

static const strata_codec thing_codec = { .size = sizeof thing_codec,
                                          .id = 7,
                                          .name = "thing",
                                          .encode = encode_thing,
                                          .decode = decode_thing,
                                          .free = free_thing,
                                          .cost = cost_thing };

static int loads_thing(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    return strata_load_object(load, new_thing(*(int *)ctx));
}

static void test_objects(void **state)
{
    (void)state;
    struct stack st;
    strata_value *v;
    int number = 41;
    things = decodes = encodes = 0;
    open_stack(&st, &(struct stack_options){ .codec = &thing_codec });
    assert_int_equal(load_with(&st, "k", loads_thing, &number, &v), STRATA_OK);
    assert_int_equal(((struct thing *)strata_value_object(v))->number, 41);
    strata_value_unref(v);
    assert_int_equal(strata_set_object(st.cache, strata_str("s"), new_thing(42), NULL, &st.err), STRATA_OK);
    assert_int_equal(strata_get(st.cache, strata_str("s"), &v, NULL), STRATA_OK);
    assert_int_equal(((struct thing *)strata_value_object(v))->number, 42);
    assert_int_equal(strata_set_object(st.cache, strata_str(""), new_thing(43), NULL, &st.err), STRATA_EKEYSIZE);
    close_stack(&st);
    strata_value_unref(v); /* outlives the cache */
    assert_int_equal(things, 0);
    assert_int_equal(decodes + encodes, 0);
}

/* Layers that hold bytes get them encoded; what they give is decoded once, on its way up. */
static void test_objects_below(void **state)
{
    (void)state;
    struct stack st;
    strata_value *v;
    int number = 41;
    things = decodes = encodes = 0;
    open_stack(&st, &(struct stack_options){ .codec = &thing_codec, .with_slow = 1 });
    strata_layer *memory = st.cache->root->layers[0].layer;
    assert_int_equal(load_with(&st, "k", loads_thing, &number, &v), STRATA_OK);
    strata_value_unref(v);
    run(&st);
    assert_int_equal(strata_set_object(st.cache, strata_str("s"), new_thing(42), NULL, &st.err), STRATA_OK);
    assert_int_equal(script_find(st.slow, strata_str("k"), 0)->size, 400);
    assert_int_equal(script_find(st.slow, strata_str("k"), 0)->meta.codec, 7);
    assert_int_equal(script_find(st.slow, strata_str("s"), 0)->meta.codec, 7);
    clear_layer(memory, 0, strata_bytes("", 0), 1, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(strata_get(st.cache, strata_str("s"), &v, NULL), STRATA_OK);
        assert_int_equal(((struct thing *)strata_value_object(v))->number, 42);
        strata_value_unref(v);
    }
    assert_int_equal(decodes, 1);
    script_find(st.slow, strata_str("k"), 0)->meta.codec = 8; /* somebody else's */
    assert_int_equal(strata_get(st.cache, strata_str("k"), &v, NULL), STRATA_MISS);
    close_stack(&st);
    assert_int_equal(things, 0);
}

static int object_of(struct stack *st, const char *key)
{
    strata_value *v = NULL;
    int number = 0;
    if (strata_get(st->cache, strata_str(key), &v, NULL) == STRATA_OK)
        number = ((struct thing *)strata_value_object(v))->number;
    strata_value_unref(v);
    return number;
}

/* An object has tags as bytes have, however it is set. */
static void test_tagged_objects(void **state)
{
    (void)state;
    const strata_slice red = strata_str("red"), none = strata_str("");
    for (int with_slow = 0; with_slow < 2; with_slow++) {
        struct stack st;
        struct ended e[2] = { { 0 } };
        things = 0;
        open_stack(&st, &(struct stack_options){ .codec = &thing_codec, .with_slow = with_slow });
        strata_item items[] = { { .key = strata_str("m"), .object = new_thing(3), .tags = &red, .tag_count = 1 },
                                { .key = strata_str("n"), .object = new_thing(4) } };
        assert_int_equal(strata_set_object_tagged(st.cache, strata_str("k"), new_thing(1), &red, 1, NULL, &st.err),
                         STRATA_OK);
        assert_int_equal(strata_set_object_tagged_async(st.cache, strata_str("a"), new_thing(2), &red, 1, NULL, NULL,
                                                        on_done, &e[0], &st.err),
                         STRATA_PENDING);
        assert_int_equal(
            strata_set_object_async(st.cache, strata_str("b"), new_thing(5), NULL, NULL, on_done, &e[1], &st.err),
            STRATA_PENDING);
        assert_int_equal(strata_set_many(st.cache, items, 2, NULL, &st.err), STRATA_OK);
        assert_null(items[0].object);
        run(&st);
        assert_true(e[0].status == STRATA_OK && e[1].status == STRATA_OK);
        assert_true(object_of(&st, "k") == 1 && object_of(&st, "a") == 2 && object_of(&st, "m") == 3);
        assert_int_equal(strata_ban_tag(st.cache, "red", STRATA_BAN_HARD, &st.err), STRATA_OK);
        assert_true(object_of(&st, "k") == 0 && object_of(&st, "a") == 0 && object_of(&st, "m") == 0);
        assert_true(object_of(&st, "n") == 4 && object_of(&st, "b") == 5);
        assert_int_equal(strata_set_object_tagged(st.cache, strata_str("k"), new_thing(6), &none, 1, NULL, &st.err),
                         STRATA_EINVAL);
        close_stack(&st);
        assert_int_equal(things, 0);
    }
}

/* Whatever a call answers, the object is not its caller's any more. */
static void test_refused_objects(void **state)
{
    (void)state;
    struct stack st;
    struct ended e = { 0 };
    const strata_policy wrong = { STRATA_SIZED(strata_policy), .ttl_ms = -77 };
    strata_slice k = strata_str("k"), long_key = strata_bytes("", 0);
    things = 0;
    open_stack(&st, &(struct stack_options){ .codec = &thing_codec });
    assert_int_equal(strata_set_object_async(st.cache, long_key, new_thing(1), NULL, NULL, on_done, &e, NULL),
                     STRATA_EKEYSIZE);
    assert_int_equal(strata_set_object_async(st.cache, k, new_thing(1), &wrong, NULL, on_done, &e, NULL), STRATA_EINVAL);
    assert_int_equal(strata_set_object_async(st.cache, k, new_thing(1), NULL, NULL, NULL, &e, NULL), STRATA_EINVAL);
    assert_int_equal(strata_set_object(st.cache, k, NULL, NULL, &st.err), STRATA_EINVAL);
    for (int later = 0; later < 2; later++) {
        strata_item items[] = { { .key = k, .object = new_thing(1) }, { .key = long_key, .object = new_thing(2) } };
        int rc = later ? strata_set_many_async(st.cache, items, 2, &wrong, NULL, on_done, &e, NULL)
                       : strata_set_many(st.cache, items, 2, &wrong, NULL);
        assert_int_equal(rc, STRATA_EINVAL);
        items[1].object = new_thing(3);
        assert_int_equal(strata_set_many(st.cache, items + 1, 1, NULL, NULL), STRATA_EKEYSIZE);
        assert_null(items[1].object);
    }
    assert_int_equal(things, 0);
    assert_int_equal(e.count, 0);
    close_stack(&st);
    open_stack(&st, &(struct stack_options){ 0 });
    int mine = 0;
    strata_item item = { .key = k, .object = &mine };
    assert_int_equal(strata_set_many(st.cache, &item, 1, NULL, NULL), STRATA_EINVAL);
    close_stack(&st);
}

static int one_byte(strata_load *load, strata_slice key, void *ctx)
{
    (void)ctx;
    return strata_load_copy(load, key.data, 1);
}

/* The block of a flight that has ended is the next one's: whatever its key, and it is given back with the cache. */
static void test_blocks_of_flights(void **state)
{
    (void)state;
    static char bytes[4000];
    static const size_t sizes[] = { 4, 60, 4, 500, 61, 1200, 3, 4000, 200, 7 };
    struct fail_alloc a;
    fail_alloc_init(&a, 0);
    strata_options options = STRATA_OPTIONS_INIT;
    strata_layer *memory = strata_memory_layer(NULL);
    strata *cache;
    options.layers = &memory;
    options.layer_count = 1;
    options.allocator = &a.mem;
    options.max_key_bytes = 4096;
    assert_int_equal(strata_open(&cache, &options, NULL), STRATA_OK);
    for (size_t i = 0; i < 10 * sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = sizes[i % (sizeof sizes / sizeof sizes[0])];
        strata_value *v;
        memset(bytes, 'a' + (int)(i % 23), size);
        memcpy(bytes, &(char){ (char)('0' + i % 10) }, 1);
        assert_int_equal(strata_get_or_load(cache, strata_bytes(bytes, size), one_byte, NULL, NULL, &v, NULL),
                         STRATA_OK);
        assert_int_equal(strata_value_size(v), 1);
        assert_memory_equal(strata_value_data(v), bytes, 1);
        strata_value_unref(v);
    }
    assert_int_equal(strata_close(cache), STRATA_OK);
    assert_int_equal(atomic_load(&a.live), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tagged_objects),
        cmocka_unit_test(test_refused_objects),
        cmocka_unit_test(test_wrong_ends),
        cmocka_unit_test(test_blocks_of_flights),
        cmocka_unit_test(test_pending),
        cmocka_unit_test(test_last_unref),
        cmocka_unit_test(test_close_with_pending),
        cmocka_unit_test(test_take_and_decline),
        cmocka_unit_test(test_deadlock),
        cmocka_unit_test(test_plain_get_of_own_key),
        cmocka_unit_test(test_deadlock_across_threads),
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_objects_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
