/* test_history.c - threads get, load, set, delete, expire and clear a few keys at random, and a checker holds every answer
 * against the history of its key.
 *
 * The origin has a version of each key that only grows.  A writer raises it, then tells the cache (one writer a key at a
 * time: what two unordered sets mean is their callers' business), and when the cache's call has returned, raises the key's
 * floor: everything below is superseded.  A reader notes the floor, reads, and must not be given less; nor more than
 * the origin has; nor bytes that are not whole.  Stale windows are off.
 *
 * STRATA_STRESS_SECONDS says how long a stack is run (default 3), STRATA_SEED which choices are made: the threads'
 * timing is the machine's own, so a seed makes a failure likely again, not certain. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/cmocka_all.h"

#include "src/base/hash.h"
#include "strata/strata.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/map_store.h"
#include "tests/support/open_alone.h"
#include "tests/support/slow_layer.h"
#include "tests/support/temp_dir.h"

enum { KEYS = 6, THREADS_MOST = 24, MANY = 40, LATER_MOST = 64, PAYLOAD_MOST = 20000 };

struct key {
    pthread_mutex_t writer;
    _Atomic(uint64_t) origin; /* the newest version there is */
    _Atomic(uint64_t) floor;  /* what is below was superseded by a call that has returned */
    char name[32];
};

/* A load that another thread completes. */
struct later {
    strata_load *load;
    size_t key;
};

static struct key keys[KEYS];
static strata *cache;
static _Atomic(int) over;
static _Atomic(uint64_t) reads, values, writes, loads;
static uint64_t seed;

static pthread_mutex_t later_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct later laters[LATER_MOST];
static size_t later_count;
static int later_over;

struct worker {
    pthread_t thread;
    uint64_t random;
};

static uint64_t draw(uint64_t *random)
{
    *random += 0x9e3779b97f4a7c15u;
    return strata__mix64(*random);
}

/* A thread of its own may not use cmocka's asserts. */
static void broken(const char *what, size_t key, uint64_t got, uint64_t limit)
{
    fprintf(stderr, "%s: key %zu, got %llu, limit %llu; STRATA_SEED=%llu\n", what, key, (unsigned long long)got,
            (unsigned long long)limit, (unsigned long long)seed);
    abort();
}

static strata_slice key_of(size_t k) { return strata_str(keys[k].name); }

/* A payload: key, version, and bytes that follow from both, so that torn or reused memory shows. ---------------------- */

static size_t payload_size(size_t k, uint64_t version)
{
    uint64_t mixed = strata__mix64(version * KEYS + k);
    size_t most = (mixed & 15) == 0 ? PAYLOAD_MOST : (mixed & 3) == 0 ? 2000 : 64;
    return 16 + (size_t)((mixed >> 8) % most);
}

static size_t payload_fill(unsigned char *out, size_t k, uint64_t version)
{
    size_t size = payload_size(k, version);
    uint64_t number = k;
    memset(out, (int)(strata__mix64(version ^ k) & 255), size);
    memcpy(out, &number, 8);
    memcpy(out + 8, &version, 8);
    return size;
}

static uint64_t payload_check(const strata_value *v, size_t k)
{
    const unsigned char *bytes = strata_value_data(v);
    uint64_t number, version;
    if (strata_value_size(v) < 16)
        broken("a value is too short", k, strata_value_size(v), 16);
    memcpy(&number, bytes, 8);
    memcpy(&version, bytes + 8, 8);
    if (number != k)
        broken("a value of another key", k, number, k);
    if (strata_value_size(v) != payload_size(k, version))
        broken("a value of a wrong size", k, strata_value_size(v), payload_size(k, version));
    for (size_t i = 16; i < strata_value_size(v); i++)
        if (bytes[i] != (strata__mix64(version ^ k) & 255))
            broken("a value is torn", k, bytes[i], i);
    return version;
}

/* Reading ----------------------------------------------------------------------------------------------------------- */

static uint64_t floor_now(size_t k) { return atomic_load(&keys[k].floor); }

static void judge(size_t k, uint64_t floor, int status, strata_value *v, int loader)
{
    atomic_fetch_add_explicit(&reads, 1, memory_order_relaxed);
    if (status == STRATA_OK) {
        uint64_t version = payload_check(v, k);
        if (version < floor)
            broken("a superseded value was served", k, version, floor);
        uint64_t newest = atomic_load(&keys[k].origin);
        if (version > newest)
            broken("a value that never was", k, version, newest);
        atomic_fetch_add_explicit(&values, 1, memory_order_relaxed);
    } else if (status != STRATA_MISS && !(loader && (status == STRATA_ABSENT || status == STRATA_EIO))) {
        broken("a status that nothing gives reason for", k, (uint64_t)(int64_t)status, 0);
    }
    strata_value_unref(v);
}

static void *take_copy(const void *data, size_t size)
{
    void *p = malloc(size);
    if (p == NULL)
        abort();
    memcpy(p, data, size);
    return p;
}

static void take_free(void *data, void *ctx)
{
    (void)ctx;
    free(data);
}

static void complete(strata_load *load, size_t k, uint64_t how)
{
    unsigned char bytes[PAYLOAD_MOST + 16];
    size_t size = payload_fill(bytes, k, atomic_load(&keys[k].origin));
    if ((how & 1) != 0)
        sched_yield(); /* between reading the origin and completing: here is where superseded values come from */
    if ((how & 2) != 0)
        strata_load_take(load, take_copy(bytes, size), size, take_free, NULL);
    else
        strata_load_copy(load, bytes, size);
}

static int put_off(strata_load *load, size_t k)
{
    pthread_mutex_lock(&later_mutex);
    int room = later_count < LATER_MOST && !later_over;
    if (room)
        laters[later_count++] = (struct later){ strata_load_ref(load), k };
    pthread_mutex_unlock(&later_mutex);
    return room;
}

static _Thread_local uint64_t loader_random = 88172645463325252u;

static int load(strata_load *l, strata_slice key, void *ctx)
{
    (void)ctx;
    size_t k = (size_t)(((const char *)key.data)[4] - '0');
    uint64_t how = draw(&loader_random);
    atomic_fetch_add_explicit(&loads, 1, memory_order_relaxed);
    if (how % 32 == 0)
        return strata_load_fail(l, STRATA_EIO, "the origin is down");
    if (how % 32 == 1)
        return strata_load_absent(l);
    if (how % 32 < 8 && put_off(l, k))
        return STRATA_PENDING;
    complete(l, k, how >> 8);
    return STRATA_OK;
}

static int load_many(strata_load *const *l, const strata_slice *slices, size_t count, void *ctx)
{
    int pending = 0;
    for (size_t i = 0; i < count; i++)
        pending |= load(l[i], slices[i], ctx) == STRATA_PENDING;
    return pending ? STRATA_PENDING : STRATA_OK;
}

/* Completes what loaders have put off. */
static void *run_laters(void *ctx)
{
    uint64_t random = seed ^ 0x1a7e5;
    (void)ctx;
    for (;;) {
        struct later l = { NULL, 0 };
        pthread_mutex_lock(&later_mutex);
        int stop = later_over && later_count == 0;
        if (later_count != 0) {
            size_t at = (size_t)(draw(&random) % later_count);
            l = laters[at];
            laters[at] = laters[--later_count];
        }
        pthread_mutex_unlock(&later_mutex);
        if (stop)
            return NULL;
        if (l.load == NULL) {
            sched_yield();
            continue;
        }
        complete(l.load, l.key, draw(&random));
        strata_load_unref(l.load);
    }
}

static void read_one(size_t k, int loader, const strata_policy *policy)
{
    strata_value *v = NULL;
    uint64_t floor = floor_now(k);
    int status = loader ? strata_get_or_load(cache, key_of(k), load, NULL, policy, &v, NULL)
                        : strata_get(cache, key_of(k), &v, NULL);
    judge(k, floor, status, v, loader);
}

static void read_many(uint64_t *random, int loader)
{
    strata_item items[MANY];
    size_t chosen[MANY], count = 1 + (size_t)(draw(random) % (draw(random) % 4 == 0 ? MANY : 3));
    uint64_t floors[MANY];
    memset(items, 0, sizeof items);
    for (size_t i = 0; i < count; i++) {
        chosen[i] = (size_t)(draw(random) % KEYS);
        items[i].key = key_of(chosen[i]);
        floors[i] = floor_now(chosen[i]);
    }
    if (loader)
        strata_get_or_load_many(cache, items, count, load_many, NULL, NULL, NULL);
    else
        strata_get_many(cache, items, count, NULL);
    for (size_t i = 0; i < count; i++)
        judge(chosen[i], floors[i], items[i].status, items[i].value, loader);
}

/* Writing ----------------------------------------------------------------------------------------------------------- */

static void raise_floor(size_t k, uint64_t version)
{
    uint64_t old = atomic_load(&keys[k].floor);
    while (old < version && !atomic_compare_exchange_weak(&keys[k].floor, &old, version))
        ;
}

enum change { CHANGE_SET, CHANGE_SET_MANY, CHANGE_DELETE, CHANGE_DELETE_MANY, CHANGE_EXPIRE };

static void write_one(size_t k, enum change change, const strata_policy *policy)
{
    unsigned char bytes[PAYLOAD_MOST + 16];
    int status = STRATA_OK;
    strata_error err = STRATA_ERROR_INIT;
    pthread_mutex_lock(&keys[k].writer);
    uint64_t version = atomic_fetch_add(&keys[k].origin, 1) + 1;
    strata_item item = { .key = key_of(k) };
    size_t size = payload_fill(bytes, k, version);
    item.set = strata_bytes(bytes, size);
    switch (change) {
    case CHANGE_SET: status = strata_set(cache, item.key, item.set, policy, &err); break;
    case CHANGE_SET_MANY: status = strata_set_many(cache, &item, 1, policy, &err); break;
    case CHANGE_DELETE: status = strata_delete(cache, item.key, &err); break;
    case CHANGE_DELETE_MANY: status = strata_delete_many(cache, &item, 1, &err); break;
    case CHANGE_EXPIRE: status = strata_expire(cache, item.key, &err); break;
    }
    if (status < 0) {
        fprintf(stderr, "%s\n", err.message);
        broken("a write failed", k, (uint64_t)(int64_t)status, (uint64_t)change);
    }
    raise_floor(k, version);
    pthread_mutex_unlock(&keys[k].writer);
    atomic_fetch_add_explicit(&writes, 1, memory_order_relaxed);
}

static void clear_all(void)
{
    uint64_t covered[KEYS];
    for (size_t k = 0; k < KEYS; k++)
        covered[k] = atomic_load(&keys[k].origin); /* a write that runs may still bring this one, and nothing older */
    int status = strata_clear(cache, NULL);
    if (status != STRATA_OK)
        broken("clear failed", 0, (uint64_t)(int64_t)status, 0);
    for (size_t k = 0; k < KEYS; k++)
        raise_floor(k, covered[k]);
}

static void *work(void *ctx)
{
    struct worker *w = ctx;
    static const strata_policy brief = { STRATA_SIZED(strata_policy), .ttl_ms = 6 };
    static const strata_policy bounded = { STRATA_SIZED(strata_policy), .hard_timeout_ms = 60000 };
    static const strata_policy alone = { STRATA_SIZED(strata_policy), .single_flight = STRATA_OFF };
    loader_random = draw(&w->random);
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        uint64_t r = draw(&w->random);
        size_t k = (size_t)((r >> 32) % KEYS);
        unsigned what = (unsigned)(r % 100);
        if (what < 12)
            read_one(k, 0, NULL);
        else if (what < 20)
            read_many(&w->random, 0);
        else if (what < 55)
            read_one(k, 1, what < 45 ? NULL : what < 49 ? &brief : what < 53 ? &bounded : &alone);
        else if (what < 60)
            read_many(&w->random, 0);
        else if (what < 66)
            read_many(&w->random, 1);
        else if (what < 76)
            write_one(k, CHANGE_SET, what < 72 ? NULL : &brief);
        else if (what < 79)
            write_one(k, CHANGE_SET_MANY, NULL);
        else if (what < 87)
            write_one(k, CHANGE_DELETE, NULL);
        else if (what < 90)
            write_one(k, CHANGE_DELETE_MANY, NULL);
        else if (what < 97)
            write_one(k, CHANGE_EXPIRE, NULL);
        else
            clear_all();
    }
    return NULL;
}

/* A run ------------------------------------------------------------------------------------------------------------- */

static double seconds_wanted(void)
{
    const char *text = getenv("STRATA_STRESS_SECONDS");
    double seconds = text != NULL ? atof(text) : 3.0;
    return seconds > 0 ? seconds : 3.0;
}

static void run_for(double seconds)
{
    struct timespec nap = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
    nanosleep(&nap, NULL);
}

static void reset(void)
{
    memset(keys, 0, sizeof keys);
    for (size_t k = 0; k < KEYS; k++) {
        pthread_mutex_init(&keys[k].writer, NULL);
        snprintf(keys[k].name, sizeof keys[k].name, "key:%zu%s", k,
                 k % 3 == 0 ? "" : " of a usual size"); /* those have a short way */
    }
    atomic_store(&over, 0);
    atomic_store(&reads, 0);
    atomic_store(&values, 0);
    atomic_store(&writes, 0);
    atomic_store(&loads, 0);
    later_over = 0;
}

static uint64_t told_demotions(void)
{
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    return strata_layer_count(cache) > 1 && strata_stats_layer(cache, 1, &s) == STRATA_OK ? s.demotions : 0;
}

/* The demotions. */
static uint64_t run_stack(const char *name, strata_layer *below, size_t threads)
{
    /* Room for some of the values only, so that entries are also evicted. */
    strata_memory_options small = { STRATA_SIZED(strata_memory_options), .max_bytes = 256u << 10, .shards = 1 };
    if (below != NULL && (below->flags & STRATA_LAYER_DEMOTED) != 0)
        small.max_entries = KEYS / 2;
    strata_layer *layers[2] = { strata_memory_layer(&small), below };
    struct fail_alloc alloc;
    fail_alloc_init(&alloc, 0);
    const strata_options options = { STRATA_SIZED(strata_options), .layers = layers,
                                     .layer_count = below != NULL ? 2 : 1, .allocator = &alloc.mem };
    struct worker workers[THREADS_MOST];
    pthread_t completer;
    strata_error err;
    reset();
    assert_int_equal(open_alone(&cache, &options, &err), STRATA_OK);
    assert_int_equal(pthread_create(&completer, NULL, run_laters, NULL), 0);
    for (size_t i = 0; i < threads; i++) {
        workers[i].random = strata__mix64(seed * THREADS_MOST + i + 1);
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    run_for(seconds_wanted());
    atomic_store(&over, 1);
    for (size_t i = 0; i < threads; i++)
        pthread_join(workers[i].thread, NULL);
    pthread_mutex_lock(&later_mutex);
    later_over = 1;
    pthread_mutex_unlock(&later_mutex);
    pthread_join(completer, NULL);
    uint64_t demotions = told_demotions();
    assert_int_equal(strata_close(cache), STRATA_OK);
    printf("%s: %llu reads, %llu of them values, %llu writes, %llu loads, %llu demotions\n", name,
           (unsigned long long)reads, (unsigned long long)values, (unsigned long long)writes, (unsigned long long)loads,
           (unsigned long long)demotions);
    assert_true(values > 0 && writes > 0 && loads > 0);
    assert_int_equal(alloc.live, 0);
    for (size_t k = 0; k < KEYS; k++)
        pthread_mutex_destroy(&keys[k].writer);
    return demotions;
}

static void no_superseded_value_from_memory_alone(void **state)
{
    (void)state;
    run_stack("memory", NULL, 4);
}

static void no_superseded_value_over_a_slow_asynchronous_layer(void **state)
{
    (void)state;
    run_stack("memory | slow", slow_layer_new(2), THREADS_MOST);
}

static void no_superseded_value_over_a_blocking_layer(void **state)
{
    (void)state;
    run_stack("memory | map", map_store_layer(), 4);
}

static void no_superseded_value_from_a_layer_that_gets_what_memory_evicts(void **state)
{
    (void)state;
    strata_layer *slow = slow_layer_new(2);
    slow_layer_demoted(slow);
    assert_true(run_stack("memory | slow, demoted to", slow, THREADS_MOST) > 0);
}

static void no_superseded_value_from_a_disk_that_gets_what_memory_evicts(void **state)
{
    (void)state;
    char path[256];
    temp_dir_make(path, sizeof path);
    const strata_disk_options disk = { STRATA_SIZED(strata_disk_options), .path = path, .max_bytes = 4u << 20,
                                       .admit_on = STRATA_ADMIT_ON_EVICTION };
    assert_true(run_stack("memory | disk, demoted to", strata_disk_layer(&disk), 4) > 0);
    temp_dir_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_superseded_value_from_memory_alone),
        cmocka_unit_test(no_superseded_value_over_a_slow_asynchronous_layer),
        cmocka_unit_test(no_superseded_value_over_a_blocking_layer),
        cmocka_unit_test(no_superseded_value_from_a_layer_that_gets_what_memory_evicts),
        cmocka_unit_test(no_superseded_value_from_a_disk_that_gets_what_memory_evicts),
    };
    const char *text = getenv("STRATA_SEED");
    seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    printf("STRATA_SEED=%llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
