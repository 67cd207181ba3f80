/* test_origin_threads.c - limits, breakers and load_limit_ms under threads: the bound holds, every call is answered, and close finds
 * nothing left. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "strata/strata.h"
#include "tests/support/cmocka_all.h"

enum { THREADS = 4, CALLS = 1500, KEYS = 40, MOST = 2 };

struct world {
    strata *cache;
    _Atomic(int) running, most, loads, answers, wrong;
    int fails; /* each so manyth load; 0 none */
    const strata_policy *policies;
    size_t policy_count;
};

static int load(strata_load *load, strata_slice key, void *ctx)
{
    struct world *w = ctx;
    int now = atomic_fetch_add(&w->running, 1) + 1, most = atomic_load(&w->most);
    while (now > most && !atomic_compare_exchange_weak(&w->most, &most, now))
        ;
    int n = atomic_fetch_add(&w->loads, 1);
    for (volatile int i = 0; i < 300; i++)
        ;
    atomic_fetch_sub(&w->running, 1);
    if (w->fails != 0 && n % w->fails == 0)
        return strata_load_fail(load, STRATA_EIO, NULL);
    return strata_load_copy(load, key.data, key.size);
}

static int load_bulk(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    for (size_t i = 0; i < count; i++) /* one call, one place: they do not count side by side */
        (void)load(loads[i], keys[i], ctx);
    return STRATA_OK;
}

static void count(struct world *w, int status)
{
    atomic_fetch_add(&w->answers, 1);
    switch (status) {
    case STRATA_OK:
    case STRATA_STALE:
    case STRATA_ELIMIT:
    case STRATA_EBREAKER:
    case STRATA_EIO:
    case STRATA_EBUSY:
    case STRATA_ECLOSED:
    case STRATA_ETIMEDOUT: return;
    default: atomic_store(&w->wrong, status);
    }
}

static void done(int status, strata_value *value, const strata_error *err, void *ctx)
{
    (void)err;
    strata_value_unref(value);
    count(ctx, status);
}

struct caller {
    struct world *w;
    unsigned seed;
};

static unsigned draw(struct caller *c)
{
    c->seed = c->seed * 1103515245u + 12345u;
    return c->seed >> 16;
}

static strata_slice draw_key(struct caller *c, char room[16])
{
    return strata_bytes(room, (size_t)snprintf(room, 16, "k%u", draw(c) % KEYS));
}

static void call_many(struct caller *c, const strata_policy *p)
{
    strata_item items[3];
    char names[3][16];
    for (int i = 0; i < 3; i++)
        items[i] = (strata_item){ .key = draw_key(c, names[i]) };
    (void)strata_get_or_load_many(c->w->cache, items, 3, load_bulk, c->w, p, NULL);
    for (int i = 0; i < 3; i++) {
        strata_value_unref(items[i].value);
        count(c->w, items[i].status);
    }
}

static void call_one(struct caller *c, const strata_policy *p)
{
    struct world *w = c->w;
    char room[16];
    strata_slice key = draw_key(c, room);
    strata_value *v = NULL;
    if (draw(c) % 3 == 0) {
        int rc = strata_get_or_load_async(w->cache, key, load, w, p, NULL, done, w, NULL);
        if (rc != STRATA_PENDING)
            count(w, rc);
        return;
    }
    count(w, strata_get_or_load(w->cache, key, load, w, p, &v, NULL));
    strata_value_unref(v);
    if (draw(c) % 8 == 0)
        (void)strata_delete(w->cache, key, NULL);
}

static void *calls(void *arg)
{
    struct caller *c = arg;
    for (int i = 0; i < CALLS; i++) {
        const strata_policy *p = &c->w->policies[draw(c) % c->w->policy_count];
        if (draw(c) % 8 == 0)
            call_many(c, p);
        else
            call_one(c, p);
    }
    return NULL;
}

/* All threads at once; then a close, whatever still waits. */
static void run_world(struct world *w)
{
    pthread_t threads[THREADS];
    struct caller callers[THREADS];
    strata_memory_options m = { STRATA_SIZED(strata_memory_options), .max_bytes = 1 << 20 };
    strata_layer *layers[] = { strata_memory_layer(&m) };
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = 1;
    options.workers = 3;
    assert_int_equal(strata_open(&w->cache, &options, NULL), STRATA_OK);
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){ w, (unsigned)i + 1 };
        assert_int_equal(pthread_create(&threads[i], NULL, calls, &callers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(strata_close(w->cache), STRATA_OK);
    assert_int_equal(atomic_load(&w->wrong), 0);
    assert_true(atomic_load(&w->loads) > 0);
    assert_int_equal(atomic_load(&w->running), 0);
    assert_true(atomic_load(&w->answers) >= THREADS * CALLS);
}

static strata_policy short_lived(void)
{
    strata_policy p = STRATA_POLICY_INIT;
    p.ttl_ms = 1;
    p.max_loads = MOST;
    return p;
}

/* Whoever waits, hurries or is refused: never more than so many at once. */
static void the_bound_holds(void **state)
{
    (void)state;
    strata_policy p[4];
    for (int i = 0; i < 4; i++)
        p[i] = short_lived();
    p[0].queue_ms = STRATA_FOREVER;
    p[1].queue_ms = 1;
    p[2].hard_timeout_ms = 1;
    p[2].stale_if_error_ms = 100;
    p[3].queue_ms = STRATA_OFF;
    p[3].stale_while_revalidate_ms = 5;
    struct world w = { .policies = p, .policy_count = 4 };
    run_world(&w);
    assert_in_range(atomic_load(&w.most), 1, MOST);
}

/* All of it together: nothing deadlocks, every call is answered. */
static void all_of_it(void **state)
{
    (void)state;
    strata_policy p[4];
    for (int i = 0; i < 4; i++) {
        p[i] = short_lived();
        p[i].breaker_failures = 2;
        p[i].breaker_open_ms = 2;
        p[i].queue_ms = 20;
    }
    p[0].breaker_scope = p[0].limit_scope = STRATA_SCOPE_KEY;
    p[0].rate_loads = 3;
    p[0].rate_ms = 10;
    p[1].limit_overflow = STRATA_OVERFLOW_BYPASS;
    p[1].queue_ms = 1;
    p[2].load_limit_ms = 1;
    p[2].late_result = STRATA_ON;
    p[2].limit_name = "db";
    p[3].load_limit_ms = 1;
    p[3].stale_if_error_ms = 50;
    struct world w = { .policies = p, .policy_count = 4, .fails = 7 };
    run_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bound_holds),
        cmocka_unit_test(all_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
