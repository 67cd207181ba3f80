/* test_wrapped.c - wrapped loaders: namespaces whose plain gets load. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "strata/strata.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"

struct origin {
    _Atomic(int) loads, bulks;
};

/* "value of <key>"; keys that begin with "no" are absent. */
static int load(strata_load *l, strata_slice key, void *ctx)
{
    struct origin *o = ctx;
    char text[64] = "value of ";
    o->loads++;
    if (key.size >= 2 && memcmp(key.data, "no", 2) == 0)
        return strata_load_absent(l);
    memcpy(text + 9, key.data, key.size);
    return strata_load_copy(l, text, 9 + key.size);
}

static int load_all(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    struct origin *o = ctx;
    o->bulks++;
    for (size_t i = 0; i < count; i++)
        load(loads[i], keys[i], o);
    return STRATA_OK;
}

struct world {
    struct origin origin;
    strata *cache, *users;
};

static void open_with(struct world *w, strata_namespace_options options, const char *url)
{
    *w = (struct world){ .cache = NULL };
    options.size = sizeof options;
    options.loader_ctx = &w->origin;
    options.get_loads = STRATA_ON;
    assert_int_equal(strata_open_url(&w->cache, url, NULL, NULL), STRATA_OK);
    assert_int_equal(strata_namespace(w->cache, "users", &options, &w->users, NULL), STRATA_OK);
}

static void close_world(struct world *w)
{
    strata_close(w->users);
    strata_close(w->cache);
}

static void assert_value(strata_value *v, const char *text)
{
    assert_non_null(v);
    assert_int_equal(strata_value_size(v), strlen(text));
    assert_memory_equal(strata_value_data(v), text, strlen(text));
    strata_value_unref(v);
}

#define MEMORY "memory:?max_bytes=1mb"

static void a_get_loads(void **state)
{
    struct world w;
    strata_value *v;
    (void)state;
    open_with(&w, (strata_namespace_options){ .loader = load }, MEMORY);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(strata_get(w.users, strata_str("123"), &v, NULL), STRATA_OK);
        assert_value(v, "value of 123");
    }
    assert_int_equal(w.origin.loads, 1);
    assert_int_equal(strata_get(w.users, strata_str("nobody"), &v, NULL), STRATA_ABSENT);
    assert_null(v);
    close_world(&w);
}

/* What says whether something is there does not bring it there. */
static void questions_do_not_load(void **state)
{
    struct world w;
    strata_inspection inspection = STRATA_INSPECTION_INIT;
    int64_t ttl;
    (void)state;
    open_with(&w, (strata_namespace_options){ .loader = load }, MEMORY);
    assert_int_equal(strata_has(w.users, strata_str("1"), NULL), 0);
    assert_int_equal(strata_ttl(w.users, strata_str("1"), &ttl, NULL), STRATA_MISS);
    assert_int_equal(strata_inspect(w.users, strata_str("1"), &inspection, NULL), STRATA_MISS);
    assert_int_equal(w.origin.loads, 0);
    close_world(&w);
}

static void only_there(void **state)
{
    struct world w;
    strata_value *v;
    (void)state;
    open_with(&w, (strata_namespace_options){ .loader = load }, MEMORY);
    assert_int_equal(strata_get(w.cache, strata_str("1"), &v, NULL), STRATA_MISS);
    assert_null(v);
    assert_int_equal(w.origin.loads, 0);
    close_world(&w);
}

static void it_is_inherited_and_switched_off(void **state)
{
    struct world w;
    strata *below, *off;
    strata_value *v;
    strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
    (void)state;
    open_with(&w, (strata_namespace_options){ .loader = load }, MEMORY);
    assert_int_equal(strata_namespace(w.users, "below", NULL, &below, NULL), STRATA_OK);
    options.get_loads = STRATA_OFF;
    assert_int_equal(strata_namespace(w.users, "off", &options, &off, NULL), STRATA_OK);
    assert_int_equal(strata_get(below, strata_str("1"), &v, NULL), STRATA_OK);
    assert_value(v, "value of 1");
    assert_int_equal(strata_get(off, strata_str("1"), &v, NULL), STRATA_MISS);
    assert_int_equal(strata_get_or_load(off, strata_str("1"), NULL, NULL, NULL, &v, NULL), STRATA_OK);
    assert_value(v, "value of 1");
    strata_close(off);
    strata_close(below);
    close_world(&w);
}

static void one_call_for_many(void **state)
{
    struct world w;
    strata_item items[4] = { { .key = strata_str("1") },
                             { .key = strata_str("2") },
                             { .key = strata_str("no 3") },
                             { .key = strata_str("1") } };
    (void)state;
    open_with(&w, (strata_namespace_options){ .loader = load, .bulk_loader = load_all }, MEMORY);
    assert_int_equal(strata_get_many(w.users, items, 4, NULL), STRATA_OK);
    assert_int_equal(w.origin.bulks, 1);
    assert_int_equal(w.origin.loads, 3); /* of which two are one key */
    assert_int_equal(items[2].status, STRATA_ABSENT);
    assert_value(items[0].value, "value of 1");
    assert_value(items[1].value, "value of 2");
    assert_value(items[3].value, "value of 1");
    assert_int_equal(strata_get_or_load_many(w.users, items, 2, NULL, NULL, NULL, NULL), STRATA_OK);
    assert_int_equal(w.origin.bulks, 1);
    assert_value(items[0].value, "value of 1");
    assert_value(items[1].value, "value of 2");
    close_world(&w);
}

static void key_by_key_without_a_bulk_loader(void **state)
{
    struct world w;
    strata_item items[3] = { { .key = strata_str("1") }, { .key = strata_str("2") }, { .key = strata_str("3") } };
    (void)state;
    open_with(&w, (strata_namespace_options){ .loader = load }, MEMORY);
    assert_int_equal(strata_get_many(w.users, items, 3, NULL), STRATA_OK);
    assert_int_equal(w.origin.loads, 3);
    assert_value(items[0].value, "value of 1");
    assert_value(items[1].value, "value of 2");
    assert_value(items[2].value, "value of 3");
    assert_int_equal(strata_get_or_load_many(w.cache, items, 3, NULL, NULL, NULL, NULL), STRATA_EINVAL);
    close_world(&w);
}

static void a_bulk_loader_alone_will_do(void **state)
{
    struct world w;
    strata_value *v;
    (void)state;
    open_with(&w, (strata_namespace_options){ .bulk_loader = load_all }, MEMORY);
    assert_int_equal(strata_get(w.users, strata_str("1"), &v, NULL), STRATA_OK);
    assert_value(v, "value of 1");
    assert_int_equal(w.origin.bulks, 1);
    close_world(&w);
}

struct ended {
    int status;
    strata_value *value;
};

static void on_done(int status, strata_value *value, const strata_error *err, void *ctx)
{
    (void)err;
    *(struct ended *)ctx = (struct ended){ status, value };
}

static void the_asynchronous_twins(void **state)
{
    struct world w;
    struct ended one = { -1000, NULL }, many = { -1000, NULL };
    strata_item items[2] = { { .key = strata_str("1") }, { .key = strata_str("2") } };
    strata_queue *queue;
    (void)state;
    open_with(&w, (strata_namespace_options){ .loader = load, .bulk_loader = load_all }, MEMORY);
    assert_int_equal(strata_queue_open(&queue, NULL), STRATA_OK);
    assert_int_equal(strata_get_async(w.users, strata_str("1"), queue, on_done, &one, NULL), STRATA_PENDING);
    while (one.status == -1000)
        if (strata_queue_wait(queue, -1) == STRATA_OK)
            strata_queue_run(queue, 0);
    assert_int_equal(one.status, STRATA_OK);
    assert_value(one.value, "value of 1");
    assert_int_equal(strata_get_many_async(w.users, items, 2, queue, on_done, &many, NULL), STRATA_PENDING);
    while (many.status == -1000)
        if (strata_queue_wait(queue, -1) == STRATA_OK)
            strata_queue_run(queue, 0);
    assert_int_equal(many.status, STRATA_OK);
    assert_value(items[0].value, "value of 1");
    assert_value(items[1].value, "value of 2");
    assert_int_equal(w.origin.bulks, 1);
    assert_int_equal(strata_get_or_load_many_async(w.cache, items, 2, NULL, NULL, NULL, queue, on_done, &many, NULL),
                     STRATA_EINVAL);
    close_world(&w);
    strata_queue_close(queue);
}

static void without_a_loader_it_is_refused(void **state)
{
    strata *cache, *space;
    strata_error err = STRATA_ERROR_INIT;
    strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
    (void)state;
    assert_int_equal(strata_open_url(&cache, MEMORY, NULL, NULL), STRATA_OK);
    options.get_loads = STRATA_ON;
    assert_int_equal(strata_namespace(cache, "a", &options, &space, &err), STRATA_EINVAL);
    assert_string_equal(err.where, "get_loads");
    assert_non_null(strstr(err.message, "set loader"));
    options.get_loads = 2;
    assert_int_equal(strata_namespace(cache, "a", &options, &space, &err), STRATA_EINVAL);
    strata_close(cache);
}

/* The same name with other options is another thing. */
static void other_options_are_told_apart(void **state)
{
    struct world w;
    strata *again = NULL;
    strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
    (void)state;
    open_with(&w, (strata_namespace_options){ .loader = load }, MEMORY);
    options.loader = load;
    options.loader_ctx = &w.origin;
    assert_int_equal(strata_namespace(w.cache, "users", &options, &again, NULL), STRATA_EEXIST);
    options.get_loads = STRATA_ON;
    assert_int_equal(strata_namespace(w.cache, "users", &options, &again, NULL), STRATA_OK);
    strata_close(again);
    options.bulk_loader = load_all;
    assert_int_equal(strata_namespace(w.cache, "users", &options, &again, NULL), STRATA_EEXIST);
    close_world(&w);
}

/* A stale one is served, and refreshed, as by get_or_load(). */
static void what_is_old_is_refreshed(void **state)
{
    static const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = 3600000,
                                          .stale_while_revalidate_ms = 3600000 };
    struct world w;
    strata_value *v;
    int status = STRATA_STALE;
    (void)state;
    open_with(&w, (strata_namespace_options){ .loader = load, .policy = &policy }, MEMORY);
    assert_int_equal(strata_get(w.users, strata_str("1"), &v, NULL), STRATA_OK);
    strata_value_unref(v);
    assert_int_equal(strata_expire(w.users, strata_str("1"), NULL), STRATA_OK);
    for (long looks = 0; status == STRATA_STALE && looks < 100000000; looks++) {
        status = strata_get(w.users, strata_str("1"), &v, NULL);
        assert_value(v, "value of 1");
    }
    assert_int_equal(status, STRATA_OK);
    close_world(&w);
}

/* Each allocation fails once: there is an answer or STRATA_ENOMEM, and nothing is left behind. */
static int all_calls(strata_allocator *mem)
{
    struct origin origin = { 0, 0 };
    strata_options options = STRATA_OPTIONS_INIT;
    strata_namespace_options wrapped = STRATA_NAMESPACE_OPTIONS_INIT;
    strata_item items[2] = { { .key = strata_str("1") }, { .key = strata_str("2") } };
    strata *cache, *users;
    strata_value *v = NULL;
    options.allocator = mem;
    wrapped.loader = load;
    wrapped.bulk_loader = load_all;
    wrapped.loader_ctx = &origin;
    wrapped.get_loads = STRATA_ON;
    int worst = strata_open_url(&cache, MEMORY, &options, NULL);
    if (worst != STRATA_OK)
        return worst;
    worst = strata_namespace(cache, "users", &wrapped, &users, NULL);
    if (worst == STRATA_OK) {
        int rc = strata_get(users, strata_str("9"), &v, NULL);
        strata_value_unref(v);
        int rc2 = strata_get_many(users, items, 2, NULL);
        for (int i = 0; i < 2; i++)
            strata_value_unref(items[i].value);
        worst = rc < 0 ? rc : rc2;
        strata_close(users);
    }
    strata_close(cache);
    return worst;
}

static void every_allocation_fails(void **state)
{
    int failed = 1;
    (void)state;
    for (long n = 1; failed; n++) {
        struct fail_alloc a;
        fail_alloc_init(&a, n);
        int rc = all_calls(&a.mem);
        failed = atomic_load(&a.failed);
        assert_true(rc == STRATA_OK || (failed && rc == STRATA_ENOMEM));
        assert_int_equal(atomic_load(&a.live), 0);
        assert_true(n < 10000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_loads),
        cmocka_unit_test(questions_do_not_load),
        cmocka_unit_test(only_there),
        cmocka_unit_test(it_is_inherited_and_switched_off),
        cmocka_unit_test(one_call_for_many),
        cmocka_unit_test(key_by_key_without_a_bulk_loader),
        cmocka_unit_test(a_bulk_loader_alone_will_do),
        cmocka_unit_test(the_asynchronous_twins),
        cmocka_unit_test(without_a_loader_it_is_refused),
        cmocka_unit_test(other_options_are_told_apart),
        cmocka_unit_test(what_is_old_is_refreshed),
        cmocka_unit_test(every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
