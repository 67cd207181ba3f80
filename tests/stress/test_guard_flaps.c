/* test_guard_flaps.c - threads on a cache whose one layer stands behind a guard and fails on and off: it answers nothing, or
 * says that it failed and has carried it out, or refuses.  After a delete was answered, done or pending, nobody gets what was
 * deleted; and when the layer is well again, it is told everything.  Once with a layer that blocks, once with one that answers
 * on a thread of its own. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/cmocka_all.h"

#include "src/layer/guard.h"
#include "strata/strata.h"
#include "tests/support/open_alone.h"

enum { KEYS = 48, OWNERS = 3, READERS = 2, WELL_FOR = 300, SICK_FOR = 20, DEAD = 4 };

/* The store: one number a key. */
static struct {
    pthread_mutex_t mutex;
    uint64_t numbers[KEYS]; /* 0: nothing */
    uint64_t chance;
    int mode; /* 0 well; 1 dead; 2 says that it failed, and may have done it; 3 refuses; DEAD stays so */
} store;

static strata *cache;
static _Atomic(int) stop, well;
/* The highest number that was deleted, once the delete was answered. */
static _Atomic(uint64_t) deleted[KEYS];
static _Atomic(const char *) wrong;

static uint64_t next_chance(uint64_t *chance)
{
    *chance = *chance * 6364136223846793005u + 1442695040888963407u;
    return *chance >> 33;
}

/* The status of a call, and whether it is carried out. */
static int fate_locked(int *does)
{
    static const int statuses[] = { STRATA_OK, STRATA_EIO, STRATA_ETIMEDOUT, STRATA_ELAYER, STRATA_EIO };
    if (atomic_load(&well))
        store.mode = 0;
    else if (store.mode != DEAD && next_chance(&store.chance) % (store.mode == 0 ? WELL_FOR : SICK_FOR) == 0)
        store.mode = (int)(next_chance(&store.chance) % 4);
    /* One that is always dead is soon left alone; it is the one that answers now and then that could be caught. */
    int mode = store.mode == DEAD || next_chance(&store.chance) % 2 == 0 ? store.mode : 0;
    *does = mode == 0 || (mode == 2 && next_chance(&store.chance) % 2 == 0);
    return statuses[mode];
}

static size_t index_of(strata_slice key) { return ((const unsigned char *)key.data)[key.size - 1]; }

static int store_get(void *ctx, strata_slice key, strata_op *op)
{
    (void)ctx;
    int does;
    strata_meta meta = { .fresh_ms = STRATA_FOREVER };
    pthread_mutex_lock(&store.mutex);
    int status = fate_locked(&does);
    uint64_t number = store.numbers[index_of(key)];
    pthread_mutex_unlock(&store.mutex);
    if (status < 0)
        return status;
    return number != 0 ? strata_op_found(op, &number, sizeof number, &meta) : STRATA_MISS;
}

static int store_put(void *ctx, strata_slice key, strata_slice data, const strata_meta *meta, int64_t ttl_ms)
{
    (void)ctx, (void)meta, (void)ttl_ms;
    int does;
    pthread_mutex_lock(&store.mutex);
    int status = fate_locked(&does);
    if (does)
        memcpy(&store.numbers[index_of(key)], data.data, sizeof(uint64_t));
    pthread_mutex_unlock(&store.mutex);
    return status;
}

static int store_remove(void *ctx, strata_slice key)
{
    (void)ctx;
    int does;
    pthread_mutex_lock(&store.mutex);
    int status = fate_locked(&does);
    if (does)
        store.numbers[index_of(key)] = 0;
    pthread_mutex_unlock(&store.mutex);
    return status;
}

static int store_clear(void *ctx, strata_slice prefix)
{
    (void)ctx, (void)prefix;
    int does;
    pthread_mutex_lock(&store.mutex);
    int status = fate_locked(&does);
    if (does)
        memset(store.numbers, 0, sizeof store.numbers);
    pthread_mutex_unlock(&store.mutex);
    return status;
}

static const strata_blocking_ops store_ops = {
    .size = sizeof store_ops, .get = store_get, .put = store_put, .remove = store_remove, .clear = store_clear
};

/* The same store behind a thread of its own, as a link to a server has one. ----------------------------------------------- */

enum { LINE = 4096 };

static struct {
    strata_layer base;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    strata_op *line[LINE];
    size_t first, end; /* ever */
    int over;
} far;

static int serve(strata_op *op)
{
    if (op->kind == STRATA_OP_GET)
        return store_get(NULL, op->key, op);
    if (op->kind == STRATA_OP_REMOVE)
        return store_remove(NULL, op->key);
    strata_slice data = strata_bytes(strata_value_data(op->value), strata_value_size(op->value));
    return store_put(NULL, op->key, data, &op->meta, STRATA_FOREVER);
}

static void *serve_all(void *ctx)
{
    (void)ctx;
    pthread_mutex_lock(&far.mutex);
    while (!far.over || far.first != far.end) {
        if (far.first == far.end) {
            pthread_cond_wait(&far.changed, &far.mutex);
            continue;
        }
        strata_op *op = far.line[far.first++ % LINE];
        pthread_mutex_unlock(&far.mutex);
        strata_op_done(op, serve(op));
        pthread_mutex_lock(&far.mutex);
    }
    pthread_mutex_unlock(&far.mutex);
    return NULL;
}

static void far_submit(strata_layer *layer, strata_op *const *ops, size_t count)
{
    (void)layer;
    pthread_mutex_lock(&far.mutex);
    for (size_t i = 0; i < count; i++) {
        if (far.end - far.first == LINE)
            abort();
        far.line[far.end++ % LINE] = ops[i];
    }
    pthread_cond_signal(&far.changed);
    pthread_mutex_unlock(&far.mutex);
}

static int far_clear(strata_layer *layer, const strata_clear_op *what, strata_error *err)
{
    (void)layer, (void)err;
    return store_clear(NULL, what->prefix);
}

static int far_ping(strata_layer *layer, strata_error *err)
{
    (void)layer, (void)err;
    int does;
    pthread_mutex_lock(&store.mutex);
    int status = fate_locked(&does);
    pthread_mutex_unlock(&store.mutex);
    return status;
}

static void far_close(strata_layer *layer)
{
    (void)layer;
    pthread_mutex_lock(&far.mutex);
    far.over = 1;
    pthread_cond_signal(&far.changed);
    pthread_mutex_unlock(&far.mutex);
    pthread_join(far.thread, NULL);
    pthread_cond_destroy(&far.changed);
    pthread_mutex_destroy(&far.mutex);
}

static const strata_layer_ops far_ops = {
    .size = sizeof far_ops, .kind = "far", .submit = far_submit, .clear = far_clear, .ping = far_ping, .close = far_close
};

static strata_layer *near_or_far(void **state)
{
    if (*state == NULL)
        return strata_blocking_layer("flapping", STRATA_LAYER_SHARED, &store_ops, NULL);
    memset(&far, 0, sizeof far);
    far.base.size = sizeof far.base;
    far.base.ops = &far_ops;
    far.base.flags = STRATA_LAYER_SHARED;
    memcpy(far.base.name, "far", 4);
    pthread_mutex_init(&far.mutex, NULL);
    pthread_cond_init(&far.changed, NULL);
    if (pthread_create(&far.thread, NULL, serve_all, NULL) != 0)
        abort();
    return &far.base;
}

static int behind_a_thread(void **state)
{
    *state = &far;
    return 0;
}

/* What the key holds must be newer than `floor`; 0: nothing is said. */
static void look(size_t i, uint64_t floor, const char *complaint)
{
    unsigned char key = (unsigned char)i;
    strata_value *v = NULL;
    if (strata_get(cache, strata_bytes(&key, 1), &v, NULL) == STRATA_OK) {
        uint64_t number;
        memcpy(&number, strata_value_data(v), sizeof number);
        if (number <= floor)
            atomic_store(&wrong, complaint);
    }
    strata_value_unref(v);
}

static void *own(void *ctx)
{
    size_t me = (size_t)(uintptr_t)ctx;
    uint64_t chance = me + 1, number = 0;
    while (!atomic_load(&stop)) {
        size_t i = me + OWNERS * (next_chance(&chance) % (KEYS / OWNERS));
        unsigned char key = (unsigned char)i;
        strata_slice name = strata_bytes(&key, 1);
        uint64_t set = ++number;
        strata_set(cache, name, strata_bytes(&set, sizeof set), NULL, NULL);
        if (next_chance(&chance) % 4 == 0)
            look(i, 0, "");
        int rc = strata_delete(cache, name, NULL);
        if (rc >= 0 || rc == STRATA_ELAYER) { /* refused, and kept away all the same */
            atomic_store(&deleted[i], set);
            look(i, set, "its owner got what it had deleted");
        } else {
            atomic_store(&wrong, "a delete failed: it should be pending, or refused");
        }
        if (next_chance(&chance) % 2 == 0) {
            set = ++number;
            strata_set(cache, name, strata_bytes(&set, sizeof set), NULL, NULL);
        }
        rc = next_chance(&chance) % 512 == 0 ? strata_clear(cache, NULL) : STRATA_OK;
        if (rc < 0 && rc != STRATA_ELAYER)
            atomic_store(&wrong, "a clear failed: it should be pending, or refused");
    }
    return NULL;
}

static void *read_all(void *ctx)
{
    uint64_t chance = 77 + (uintptr_t)ctx;
    while (!atomic_load(&stop)) {
        size_t i = next_chance(&chance) % KEYS;
        look(i, atomic_load(&deleted[i]), "a reader got what was deleted before it asked");
    }
    return NULL;
}

static void wait_ms(long ms)
{
    const struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&t, NULL);
}

static void nobody_gets_what_was_deleted(void **state)
{
    const struct guard_options options = { .breaker_failures = 3,
                                           .breaker_open_ms = 30,
                                           .probe_ms = 1000,
                                           .max_queued_deletes = 20, /* so that clears of all come up as well */
                                           .max_queued_bytes = 1 << 20 };
    strata_layer *layer = strata__guard_layer(near_or_far(state), &options);
    const strata_options open = { STRATA_SIZED(strata_options), .layers = &layer, .layer_count = 1 };
    const char *seconds = getenv("STRATA_STRESS_SECONDS");
    pthread_t threads[OWNERS + READERS];
    strata_error err;
    pthread_mutex_init(&store.mutex, NULL);
    store.mode = 0;
    memset(store.numbers, 0, sizeof store.numbers);
    for (size_t i = 0; i < KEYS; i++)
        atomic_store(&deleted[i], 0);
    atomic_store(&well, 0);
    atomic_store(&stop, 0);
    assert_int_equal(open_alone(&cache, &open, &err), STRATA_OK);
    for (size_t i = 0; i < OWNERS + READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i < OWNERS ? own : read_all, (void *)(uintptr_t)i), 0);
    wait_ms(seconds != NULL ? atol(seconds) * 1000 : 2000);
    atomic_store(&stop, 1);
    for (size_t i = 0; i < OWNERS + READERS; i++)
        pthread_join(threads[i], NULL);
    if (atomic_load(&wrong) != NULL)
        fail_msg("%s", atomic_load(&wrong));
    atomic_store(&well, 1);
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    do {
        wait_ms(5);
        assert_int_equal(strata_stats_layer(cache, 0, &s), STRATA_OK);
    } while (s.queued_deletes != 0 || s.breaker != STRATA_BREAKER_CLOSED);
    assert_true(s.breaker_opened > 0 && s.breaker_refused > 0);
    for (size_t i = 0; i < KEYS; i++)
        if (store.numbers[i] != 0 && store.numbers[i] <= atomic_load(&deleted[i]))
            fail_msg("the store still holds %zu, which was deleted", i);
    assert_int_equal(strata_close(cache), STRATA_OK);
    pthread_mutex_destroy(&store.mutex);
}

/* Closed while it fails and much is noted: that ends, whatever is out. */
static void it_closes_while_it_is_sick(void **state)
{
    for (int round = 0; round < 20; round++) {
        const struct guard_options options = { .breaker_failures = 1,
                                               .breaker_open_ms = round % 2 ? 1 : 1000,
                                               .probe_ms = 1000,
                                               .max_queued_deletes = 1000,
                                               .max_queued_bytes = 1 << 20 };
        strata_layer *layer = strata__guard_layer(near_or_far(state), &options);
        const strata_options open = { STRATA_SIZED(strata_options), .layers = &layer, .layer_count = 1 };
        strata_error err;
        atomic_store(&well, 0);
        pthread_mutex_init(&store.mutex, NULL);
        store.mode = DEAD;
        assert_int_equal(open_alone(&cache, &open, &err), STRATA_OK);
        for (unsigned char i = 0; i < KEYS; i++)
            assert_int_equal(strata_delete(cache, strata_bytes(&i, 1), NULL), STRATA_PENDING);
        if (round % 4 < 2)
            wait_ms(30);
        assert_int_equal(strata_close(cache), STRATA_PENDING);
        pthread_mutex_destroy(&store.mutex);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        { "nobody gets what was deleted", nobody_gets_what_was_deleted, NULL, NULL, NULL },
        { "it closes while it is sick", it_closes_while_it_is_sick, NULL, NULL, NULL },
        { "nobody gets what was deleted, behind a thread", nobody_gets_what_was_deleted, behind_a_thread, NULL, NULL },
        { "it closes while it is sick, behind a thread", it_closes_while_it_is_sick, behind_a_thread, NULL, NULL },
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
