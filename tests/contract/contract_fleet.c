/* contract_fleet.c - two caches with a memory layer each, over one store that gives leases, with threads as they come.
 *
 * What a wait ends with is what counts, never how long it took; but a wait of these layers takes longer than a test may, so
 * that one which nobody woke fails it. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "tests/contract/contract.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/open_alone.h"

enum { NODES = 2, THREADS = 8, ROUNDS = 20, MANY = 40 };

static const struct contract_lease_subject *subject;
static strata *node[NODES];
static strata_error err;
static char k[16]; /* each case's own key: the store stays */

static int open_node(int n)
{
    strata_layer *layers[] = { strata_memory_layer(NULL), subject->make[n]() };
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = 2;
    int rc = open_alone(&node[n], &options, &err);
    if (rc != STRATA_OK)
        print_error("open: %s: %s\n", err.where, err.message);
    return rc;
}

static int open_nodes(void **state)
{
    static int cases;
    (void)state;
    snprintf(k, sizeof k, "k %d", ++cases);
    for (int n = 0; n < NODES; n++)
        if (open_node(n) != STRATA_OK)
            return -1;
    return 0;
}

/* A gate that a loader stands at until the test opens it ---------------------------------------------------------------- */

struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int reached, open;
};

/* Of the case that runs: one that fails leaves it shut, and close would wait for who stands there. */
static struct gate gate = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void gate_init(struct gate *g)
{
    *g = (struct gate){ 0 };
    pthread_mutex_init(&g->mutex, NULL);
    pthread_cond_init(&g->changed, NULL);
}

static void gate_pass(struct gate *g)
{
    pthread_mutex_lock(&g->mutex);
    g->reached = 1;
    pthread_cond_broadcast(&g->changed);
    while (!g->open)
        pthread_cond_wait(&g->changed, &g->mutex);
    pthread_mutex_unlock(&g->mutex);
}

static void gate_wait_reached(struct gate *g)
{
    pthread_mutex_lock(&g->mutex);
    while (!g->reached)
        pthread_cond_wait(&g->changed, &g->mutex);
    pthread_mutex_unlock(&g->mutex);
}

static int gate_is_reached(struct gate *g)
{
    pthread_mutex_lock(&g->mutex);
    int reached = g->reached;
    pthread_mutex_unlock(&g->mutex);
    return reached;
}

static void gate_open(struct gate *g)
{
    pthread_mutex_lock(&g->mutex);
    g->open = 1;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->mutex);
}

static int close_nodes(void **state)
{
    (void)state;
    gate_open(&gate);
    for (int n = NODES; n-- > 0;)
        if (strata_close(node[n]) < 0)
            return -1;
    return 0;
}

/* The origin ------------------------------------------------------------------------------------------------------------- */

struct origin {
    _Atomic(int) loads;
    const char *value;
    int fails;
    struct gate *gate; /* NULL: loads end at once */
    strata_load *kept; /* with `keeps`: completed by the test */
    int keeps;
    const strata_policy *policy;
};

static int load(strata_load *l, strata_slice key, void *ctx)
{
    struct origin *o = ctx;
    (void)key;
    atomic_fetch_add(&o->loads, 1);
    if (o->gate != NULL)
        gate_pass(o->gate);
    if (o->keeps) {
        o->kept = strata_load_ref(l);
        return STRATA_PENDING;
    }
    return o->fails ? strata_load_fail(l, STRATA_EIO, "the origin is down")
                    : strata_load_copy(l, o->value, strlen(o->value));
}

static int load_many(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    for (size_t i = 0; i < count; i++)
        (void)load(loads[i], keys[i], ctx);
    return STRATA_OK;
}

struct caller {
    pthread_t thread;
    int n, status;
    const char *key;
    struct origin *origin;
    char text[16];
};

static void *call(void *ctx)
{
    struct caller *c = ctx;
    strata_value *v = NULL;
    strata_error words;
    c->status = strata_get_or_load(node[c->n], strata_str(c->key), load, c->origin, c->origin->policy, &v, &words);
    snprintf(c->text, sizeof c->text, "%.*s", (int)strata_value_size(v),
             v != NULL ? (const char *)strata_value_data(v) : "");
    strata_value_unref(v);
    return NULL;
}

static void start(struct caller *c, int n, const char *key, struct origin *o)
{
    *c = (struct caller){ .n = n, .key = key, .origin = o };
    assert_int_equal(pthread_create(&c->thread, NULL, call, c), 0);
}

static void ended(struct caller *c, int status, const char *text)
{
    pthread_join(c->thread, NULL);
    assert_int_equal(c->status, status);
    assert_string_equal(c->text, text);
}

/* It loads, or waits for another node's load. */
static void wait_until_loading(int n, const char *key)
{
    strata_inspection i = STRATA_INSPECTION_INIT;
    while (!i.loading)
        assert_true(strata_inspect(node[n], strata_str(key), &i, &err) >= 0);
}

static void holds(int n, const char *key, const char *text)
{
    strata_value *v = NULL;
    assert_int_equal(strata_get(node[n], strata_str(key), &v, &err), text != NULL ? STRATA_OK : STRATA_MISS);
    if (text == NULL)
        return;
    assert_int_equal(strata_value_size(v), strlen(text));
    assert_memory_equal(strata_value_data(v), text, strlen(text));
    strata_value_unref(v);
}

/* Another node may ask before the store has the value; but not load before. */
static void is_given(int n, const char *text, struct origin *o)
{
    struct caller c;
    int before = atomic_load(&o->loads);
    start(&c, n, k, o);
    ended(&c, STRATA_OK, text);
    assert_int_equal(atomic_load(&o->loads), before);
}

static strata_stats stats_of(int n)
{
    strata_stats s = STRATA_STATS_INIT;
    assert_int_equal(strata_stats_get(node[n], &s), STRATA_OK);
    return s;
}

/* Cases ------------------------------------------------------------------------------------------------------------------ */

static void case_cold_keys_load_once(void **state)
{
    (void)state;
    struct caller c[NODES * THREADS];
    char key[16];
    for (int round = 0; round < ROUNDS; round++) {
        struct origin o = { .value = "v" };
        snprintf(key, sizeof key, "key %d", round);
        for (int i = 0; i < NODES * THREADS; i++)
            start(&c[i], i % NODES, key, &o);
        for (int i = 0; i < NODES * THREADS; i++)
            ended(&c[i], STRATA_OK, "v");
        assert_int_equal(atomic_load(&o.loads), 1);
    }
    assert_int_equal(stats_of(0).leases + stats_of(1).leases, ROUNDS);
}

static void case_stale_set_is_refused(void **state)
{
    (void)state;
    struct origin old = { .value = "old", .gate = &gate }, new = { .value = "new" };
    struct caller a, b;
    gate_init(&gate);
    start(&a, 0, k, &old);
    gate_wait_reached(&gate);
    assert_int_equal(strata_delete(node[1], strata_str(k), &err), STRATA_OK);
    gate_open(&gate);
    ended(&a, STRATA_OK, "old"); /* it asked before the delete */
    start(&b, 1, k, &new);
    ended(&b, STRATA_OK, "new");
    assert_int_equal(atomic_load(&new.loads), 1);
    while (stats_of(0).leases_lost == 0) { /* its answer may still be on the way */
    }
    is_given(0, "new", &new);
    is_given(1, "new", &new);
}

static void case_set_beats_a_load(void **state)
{
    (void)state;
    struct origin old = { .value = "old", .gate = &gate };
    struct caller a;
    gate_init(&gate);
    start(&a, 0, k, &old);
    gate_wait_reached(&gate);
    assert_int_equal(strata_set(node[1], strata_str(k), strata_str("set"), NULL, &err), STRATA_OK);
    gate_open(&gate);
    ended(&a, STRATA_OK, "old");
    while (stats_of(0).leases_lost == 0) {}
    holds(0, k, "set");
}

static void case_failure_frees_the_other_node(void **state)
{
    (void)state;
    struct origin failing = { .fails = 1, .gate = &gate }, good = { .value = "v" };
    struct caller a, b;
    gate_init(&gate);
    start(&a, 0, k, &failing);
    gate_wait_reached(&gate);
    start(&b, 1, k, &good);
    wait_until_loading(1, k);
    gate_open(&gate);
    ended(&a, STRATA_EIO, "");
    ended(&b, STRATA_OK, "v");
    assert_int_equal(atomic_load(&good.loads), 1);
    is_given(0, "v", &good);
}

static void nothing(int status, strata_value *value, const strata_error *words, void *ctx)
{
    (void)words;
    strata_value_unref(value);
    atomic_store((_Atomic(int) *)ctx, status);
}

static void case_leader_closes(void **state)
{
    (void)state;
    struct origin first = { .keeps = 1 }, second = { .value = "v" };
    struct caller b;
    _Atomic(int) status = 0;
    assert_int_equal(strata_get_or_load_async(node[0], strata_str(k), load, &first, NULL, NULL, nothing, &status, &err),
                     STRATA_PENDING);
    while (atomic_load(&first.loads) == 0) {}
    start(&b, 1, k, &second);
    wait_until_loading(1, k);
    assert_int_equal(strata_close(node[0]), STRATA_OK);
    assert_int_equal(atomic_load(&status), STRATA_ECLOSED);
    ended(&b, STRATA_OK, "v");
    strata_load_unref(first.kept);
    assert_int_equal(open_node(0), STRATA_OK);
}

static void case_closing_does_not_wait(void **state)
{
    (void)state;
    struct origin o = { .value = "v", .gate = &gate };
    struct caller a, b;
    gate_init(&gate);
    start(&a, 0, k, &o);
    gate_wait_reached(&gate);
    start(&b, 1, k, &o);
    wait_until_loading(1, k);
    assert_int_equal(strata_close(node[1]), STRATA_OK);
    ended(&b, STRATA_ECLOSED, "");
    gate_open(&gate);
    ended(&a, STRATA_OK, "v");
    assert_int_equal(open_node(1), STRATA_OK);
}

static void case_one_refresh(void **state)
{
    static const strata_policy policy = { STRATA_SIZED(strata_policy), .stale_while_revalidate_ms = 3600000,
                                          .retry_ms = 1 };
    struct origin old = { .value = "1", .policy = &policy }, new = { .value = "2", .gate = &gate, .policy = &policy };
    struct caller c[NODES * THREADS];
    (void)state;
    gate_init(&gate);
    start(&c[0], 0, k, &old);
    ended(&c[0], STRATA_OK, "1");
    is_given(1, "1", &old);
    for (int n = 0; n < NODES; n++)
        assert_int_equal(strata_expire(node[n], strata_str(k), &err), STRATA_OK);
    for (int i = 0; i < NODES * THREADS; i++)
        start(&c[i], i % NODES, k, &new);
    for (int i = 0; i < NODES * THREADS; i++)
        ended(&c[i], STRATA_STALE, "1"); /* nobody waits for a refresh */
    while (!gate_is_reached(&gate)) { /* a lease that a busy machine's Cluster refuses is asked for by the next reader */
        start(&c[0], 0, k, &new);
        ended(&c[0], STRATA_STALE, "1");
    }
    gate_open(&gate);
    for (int n = 0; n < NODES; n++) /* the one has loaded it, the other one finds it */
        do {
            start(&c[0], n, k, &new);
            pthread_join(c[0].thread, NULL);
        } while (strcmp(c[0].text, "2") != 0);
    assert_int_equal(atomic_load(&new.loads), 1);
}

/* Many keys, in opposite orders, at once. */
struct bulk_caller {
    pthread_t thread;
    int n;
    struct origin *origin;
    char (*keys)[32];
    strata_item items[MANY];
    int status;
};

static void *call_many(void *ctx)
{
    struct bulk_caller *b = ctx;
    strata_error words;
    for (int i = 0; i < MANY; i++)
        b->items[i] = (strata_item){ .key = strata_str(b->keys[b->n == 0 ? i : MANY - 1 - i]) };
    b->status = strata_get_or_load_many(node[b->n], b->items, MANY, load_many, b->origin, NULL, &words);
    return NULL;
}

static void case_many_in_opposite_orders(void **state)
{
    (void)state;
    static struct bulk_caller b[NODES];
    char keys[MANY][32];
    for (int round = 0; round < ROUNDS; round++) {
        struct origin o = { .value = "v" };
        for (int i = 0; i < MANY; i++)
            snprintf(keys[i], sizeof keys[i], "key %d %d", round, i);
        for (int n = 0; n < NODES; n++) {
            b[n].n = n;
            b[n].origin = &o;
            b[n].keys = keys;
            assert_int_equal(pthread_create(&b[n].thread, NULL, call_many, &b[n]), 0);
        }
        for (int n = 0; n < NODES; n++) {
            pthread_join(b[n].thread, NULL);
            assert_int_equal(b[n].status, STRATA_OK);
            for (int i = 0; i < MANY; i++) {
                assert_int_equal(b[n].items[i].status, STRATA_OK);
                strata_value_unref(b[n].items[i].value);
            }
        }
        assert_int_equal(atomic_load(&o.loads), MANY);
    }
}

#define CASE(name) \
    { \
#name, case_##name, open_nodes, close_nodes, NULL \
    }

int contract_run_fleet(const struct contract_lease_subject *s)
{
    const struct CMUnitTest tests[] = {
        CASE(cold_keys_load_once), CASE(stale_set_is_refused),
        CASE(set_beats_a_load),    CASE(failure_frees_the_other_node),
        CASE(leader_closes),       CASE(closing_does_not_wait),
        CASE(one_refresh),         CASE(many_in_opposite_orders),
    };
    subject = s;
    return cmocka_run_group_tests_name(s->name, tests, NULL, NULL);
}
