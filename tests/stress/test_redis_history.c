/* test_redis_history.c - nodes that share a Redis, and a checker of what is read there.
 *
 * Three caches without a memory layer, as three processes would have them, over one server; two of them through a network that
 * delays, stalls and cuts.  The origin is a table of versions.  Who writes raises the version there first, and deletes the key, or
 * sets the new value, then; loaders read the origin, dawdle, and complete: so what they bring is superseded often enough when it is
 * to be stored.  Meanwhile the server is emptied (FLUSHALL), killed and started again.
 *
 * What must hold:
 *   - two more caches only watch, so that what they get comes from the server and from nowhere else: never a value older than the
 *     newest delete or set that had returned STRATA_OK, on whichever node, before the read began;
 *   - a node that deletes never gets or loads anything older itself, also where its delete was only STRATA_PENDING, or refused;
 *   - each value is one of that key that the origin had, and whole; and loads never fail.
 * A node's own get or load may join a load that it had begun before another node's delete: there is no bus yet that would tell it.
 * That is no read of the shared layer, so nodes are held against their own deletes alone.
 *
 * Sets go by the node whose network is well: one that was given up by its caller, and arrives late, is a write like any other.
 * STRATA_TEST_LONG=1 or STRATA_STRESS_SECONDS make it longer, STRATA_SEED repeats the choices (not their timing). */
#include "tests/support/redis_cache.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "src/base/hash.h"
#include "tests/support/delay_proxy.h"
#include "tests/support/redis_do.h"

/* Those from NODES on only watch. */
enum { KEYS = 12, NODES = 3, CACHES = 5, THREADS = 2, PADDING = 40 };

static struct {
    pthread_mutex_t writer;
    char name[16];
    _Atomic(uint64_t) origin;     /* the version that is there */
    _Atomic(uint64_t) floor;      /* nothing older may be read anywhere */
    _Atomic(uint64_t) own[NODES]; /* nor on this node */
} keys[KEYS];

static struct {
    strata *cache;
    struct delay_proxy *proxy; /* NULL: a network that is well */
} nodes[CACHES];

static struct redis_server server;
static uint64_t seed;
static _Atomic(int) over;
static _Atomic(uint64_t) reads, values, deletes, sets, pending, loads;

struct worker {
    pthread_t thread;
    size_t node;
    uint64_t random;
};

static uint64_t draw(uint64_t *random)
{
    *random += 0x9e3779b97f4a7c15u;
    return strata__mix64(*random);
}

/* A thread of its own may not use cmocka's asserts. */
static void broken(const char *what, size_t node, size_t key, uint64_t got, uint64_t limit)
{
    fprintf(stderr, "%s: node %zu, key %zu, got %llu, limit %llu; STRATA_SEED=%llu\n", what, node, key,
            (unsigned long long)got, (unsigned long long)limit, (unsigned long long)seed);
    abort();
}

static strata_slice key_of(size_t k) { return strata_str(keys[k].name); }

/* "k version", and bytes that follow from both. --------------------------------------------------------------------- */

static size_t fill(char *out, size_t k, uint64_t version)
{
    memset(out, (int)('a' + (version + k) % 26), 16 + PADDING);
    memcpy(out, &k, sizeof k);
    memcpy(out + 8, &version, sizeof version);
    return 16 + PADDING;
}

static uint64_t version_of(size_t node, size_t k, const strata_value *v)
{
    char expected[16 + PADDING];
    size_t number;
    uint64_t version;
    if (strata_value_size(v) != sizeof expected)
        broken("a value of a wrong size", node, k, strata_value_size(v), sizeof expected);
    memcpy(&number, strata_value_data(v), sizeof number);
    memcpy(&version, (const char *)strata_value_data(v) + 8, sizeof version);
    if (number != k)
        broken("a value of another key", node, k, number, k);
    fill(expected, k, version);
    if (memcmp(expected, strata_value_data(v), sizeof expected) != 0)
        broken("a value is torn", node, k, version, 0);
    if (version > atomic_load(&keys[k].origin))
        broken("a value that never was", node, k, version, atomic_load(&keys[k].origin));
    return version;
}

/* Reading and loading ----------------------------------------------------------------------------------------------- */

static void check_floor(size_t node, size_t k, uint64_t version, uint64_t limit)
{
    if (version < limit)
        broken(node < NODES ? "a node got what it had deleted itself"
                            : "a value was read that a delete or set had superseded",
               node, k, version, limit);
}

static void read_one(size_t node, size_t k)
{
    strata_value *v = NULL;
    uint64_t floor = atomic_load(node < NODES ? &keys[k].own[node] : &keys[k].floor);
    int rc = strata_get(nodes[node].cache, key_of(k), &v, NULL);
    atomic_fetch_add_explicit(&reads, 1, memory_order_relaxed);
    if (rc == STRATA_OK) {
        check_floor(node, k, version_of(node, k, v), floor);
        if (node >= NODES)
            atomic_fetch_add_explicit(&values, 1, memory_order_relaxed);
    } else if (rc != STRATA_MISS && rc != STRATA_ELAYER) {
        broken("a get's status that nothing gives reason for", node, k, (uint64_t)(int64_t)rc, 0);
    }
    strata_value_unref(v);
    if (rc < 0)
        redis_cache_nap(1); /* refused at once: the machine is for those that get something */
}

/* The time between reading the origin and storing is where superseded values come from. */
static int load_slowly(strata_load *load, strata_slice key, void *ctx)
{
    struct worker *w = ctx;
    char bytes[16 + PADDING];
    size_t k = (size_t)(((const char *)key.data)[4] - 'a');
    size_t size = fill(bytes, k, atomic_load(&keys[k].origin));
    uint64_t how = draw(&w->random) % 8;
    if (how < 3)
        sched_yield();
    else if (how < 6)
        nanosleep(&(struct timespec){ 0, (long)(draw(&w->random) % 3000) * 1000 }, NULL);
    atomic_fetch_add_explicit(&loads, 1, memory_order_relaxed);
    return strata_load_copy(load, bytes, size);
}

static void read_or_load(struct worker *w, size_t k)
{
    strata_value *v = NULL;
    strata_error err = STRATA_ERROR_INIT;
    uint64_t own = atomic_load(&keys[k].own[w->node]);
    int rc = strata_get_or_load(nodes[w->node].cache, key_of(k), load_slowly, w, NULL, &v, &err);
    if (rc != STRATA_OK) {
        fprintf(stderr, "%s\n", err.message);
        broken("a load failed", w->node, k, (uint64_t)(int64_t)rc, 0);
    }
    check_floor(w->node, k, version_of(w->node, k, v), own);
    strata_value_unref(v);
}

static int load_many_slowly(strata_load *const *list, const strata_slice *wanted, size_t count, void *ctx)
{
    /* Several threads may load for one call. */
    struct worker own = { .random = seed + atomic_load_explicit(&loads, memory_order_relaxed) };
    (void)ctx;
    for (size_t i = 0; i < count; i++)
        (void)load_slowly(list[i], wanted[i], &own);
    return STRATA_OK;
}

/* Two thirds of all keys in one go: MGET, and leases in one batch. */
static void read_or_load_many(struct worker *w, size_t first)
{
    enum { SOME = KEYS * 2 / 3 };
    strata_item items[SOME];
    uint64_t own[SOME];
    for (size_t i = 0; i < SOME; i++) {
        size_t k = (first + i) % KEYS;
        items[i] = (strata_item){ .key = key_of(k) };
        own[i] = atomic_load(w->node < NODES ? &keys[k].own[w->node] : &keys[k].floor);
    }
    if (w->node < NODES)
        (void)strata_get_or_load_many(nodes[w->node].cache, items, SOME, load_many_slowly, w, NULL, NULL);
    else
        (void)strata_get_many(nodes[w->node].cache, items, SOME, NULL);
    for (size_t i = 0; i < SOME; i++) {
        size_t k = (first + i) % KEYS;
        if (items[i].status == STRATA_OK)
            check_floor(w->node, k, version_of(w->node, k, items[i].value), own[i]);
        else if (w->node < NODES)
            broken("a load of many failed", w->node, k, (uint64_t)(int64_t)items[i].status, 0);
        strata_value_unref(items[i].value);
    }
}

/* Writing ----------------------------------------------------------------------------------------------------------- */

static void raise_to(_Atomic(uint64_t) *floor, uint64_t version)
{
    uint64_t old = atomic_load(floor);
    while (old < version && !atomic_compare_exchange_weak(floor, &old, version)) {}
}

static void delete_key(size_t node, size_t k)
{
    pthread_mutex_lock(&keys[k].writer);
    uint64_t version = atomic_fetch_add(&keys[k].origin, 1) + 1;
    int rc = strata_delete(nodes[node].cache, key_of(k), NULL);
    if (rc == STRATA_OK)
        raise_to(&keys[k].floor, version);
    else if (rc == STRATA_PENDING || rc == STRATA_ELAYER)
        atomic_fetch_add_explicit(&pending, 1, memory_order_relaxed);
    else
        broken("a delete's status that nothing gives reason for", node, k, (uint64_t)(int64_t)rc, 0);
    raise_to(&keys[k].own[node], version);
    pthread_mutex_unlock(&keys[k].writer);
    atomic_fetch_add_explicit(&deletes, 1, memory_order_relaxed);
}

static void set_key(size_t k)
{
    char bytes[16 + PADDING];
    pthread_mutex_lock(&keys[k].writer);
    uint64_t version = atomic_fetch_add(&keys[k].origin, 1) + 1;
    size_t size = fill(bytes, k, version);
    if (strata_set(nodes[0].cache, key_of(k), strata_bytes(bytes, size), NULL, NULL) == STRATA_OK)
        raise_to(&keys[k].floor, version);
    pthread_mutex_unlock(&keys[k].writer);
    atomic_fetch_add_explicit(&sets, 1, memory_order_relaxed);
}

/* All keys at once, on the node whose network is well: what is loaded meanwhile is not to be read behind it. */
static void clear_all(void)
{
    uint64_t version[KEYS];
    for (size_t k = 0; k < KEYS; k++) {
        pthread_mutex_lock(&keys[k].writer);
        version[k] = atomic_fetch_add(&keys[k].origin, 1) + 1;
    }
    int rc = strata_clear(nodes[0].cache, NULL);
    for (size_t k = 0; k < KEYS; k++) {
        if (rc == STRATA_OK)
            raise_to(&keys[k].floor, version[k]);
        raise_to(&keys[k].own[0], version[k]);
        pthread_mutex_unlock(&keys[k].writer);
    }
}

static void *work(void *ctx)
{
    struct worker *w = ctx;
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        uint64_t r = draw(&w->random);
        size_t k = (size_t)((r >> 32) % KEYS);
        unsigned what = (unsigned)(r % 100);
        if ((r >> 16) % 50 == 0)
            read_or_load_many(w, k);
        else if (w->node >= NODES || what < 20)
            read_one(w->node, k);
        else if (what < 80)
            read_or_load(w, k);
        else if (what < 97 || w->node != 0)
            delete_key(w->node, k);
        else
            set_key(k);
    }
    return NULL;
}

/* What happens to them ---------------------------------------------------------------------------------------------- */

static void empty_server(void)
{
    struct redis_link *link = redis_do_open(&server);
    (void)redis_do(link, "FLUSHALL");
    strata__redis_close(link);
}

/* The scripts are forgotten while they are in use, so that each is told again, one behind another. */
static void forget_scripts(void)
{
    struct redis_link *link = redis_do_open(&server);
    for (int i = 0; i < 50; i++)
        (void)redis_do(link, "SCRIPT", "FLUSH");
    strata__redis_close(link);
}

/* Another program's, for a moment: what was loaded meanwhile replaces nothing. */
static void foreign_value(size_t k)
{
    char key[32];
    struct redis_link *link = redis_do_open(&server);
    (void)snprintf(key, sizeof key, "h:%s", keys[k].name);
    (void)redis_do(link, "SET", key, "not ours");
    redis_cache_nap(20);
    (void)redis_do(link, "DEL", key);
    strata__redis_close(link);
}

static void hang_up(void)
{
    struct redis_link *link = redis_do_open(&server);
    (void)redis_do(link, "CLIENT", "KILL", "TYPE", "normal");
    strata__redis_close(link);
}

static void disturb(uint64_t r)
{
    static const size_t far[] = { 1, 2, NODES + 1 };
    struct delay_proxy *proxy = nodes[far[r % 3]].proxy;
    switch (r / 3 % 18) {
    case 0:
    case 1:
    case 2: delay_proxy_cut_at(proxy, (int64_t)(r >> 8) % 4096); break;
    case 3: delay_proxy_cut_all(proxy); break;
    case 4:
    case 5: delay_proxy_delay(proxy, (int64_t)(r >> 8) % 20, (int64_t)(r >> 16) % 5); break;
    case 6: /* past every timeout */
        delay_proxy_delay(proxy, (int64_t)(r >> 8) % 300, 0);
        redis_cache_nap((long)(r >> 20) % 100);
        delay_proxy_delay(proxy, 0, 0);
        break;
    case 7:
        delay_proxy_stall(proxy, 1);
        redis_cache_nap((long)(r >> 8) % 150);
        delay_proxy_stall(proxy, 0);
        break;
    case 8: delay_proxy_delay(proxy, 0, 0); break;
    case 9:
    case 10: empty_server(); break;
    case 11:
    case 12: forget_scripts(); break;
    case 13: hang_up(); break;
    case 14: clear_all(); break;
    case 15:
    case 16: foreign_value((size_t)(r >> 8) % KEYS); break;
    default: redis_server_restart(&server);
    }
}

static double seconds_wanted(void)
{
    const char *text = getenv("STRATA_STRESS_SECONDS"), *longer = getenv("STRATA_TEST_LONG");
    double seconds = text != NULL ? atof(text) : longer != NULL && longer[0] == '1' ? 60 : 4;
    return seconds > 0 ? seconds : 4;
}

/* The first node and the first that watches have a network that is well. */
static void open_nodes(void)
{
    for (size_t i = 0; i < CACHES; i++) {
        nodes[i].proxy = i == 0 || i == NODES ? NULL : delay_proxy_start(server.port);
        nodes[i].cache = redis_cache_open("redis://127.0.0.1:%u?prefix=h:&soft_timeout_ms=50ms&timeout_ms=100ms"
                                          "&connect_timeout_ms=200ms&breaker_failures=5&breaker_open_ms=30ms",
                                          nodes[i].proxy == NULL ? server.port : delay_proxy_port(nodes[i].proxy));
    }
}

static void nothing_superseded_is_read(void **state)
{
    struct worker workers[CACHES * THREADS];
    struct timespec began, now;
    uint64_t random = seed;
    (void)state;
    for (size_t k = 0; k < KEYS; k++) {
        pthread_mutex_init(&keys[k].writer, NULL);
        snprintf(keys[k].name, sizeof keys[k].name, "key:%c", (char)('a' + k));
    }
    redis_server_start(&server, NULL);
    open_nodes();
    for (size_t i = 0; i < CACHES * THREADS; i++) {
        workers[i] = (struct worker){ .node = i % CACHES, .random = strata__mix64(seed * 64 + i + 1) };
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    clock_gettime(CLOCK_MONOTONIC, &began);
    do {
        redis_cache_nap((long)(draw(&random) % 60));
        disturb(draw(&random));
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((double)(now.tv_sec - began.tv_sec) < seconds_wanted());
    atomic_store(&over, 1);
    for (size_t i = 0; i < CACHES * THREADS; i++)
        pthread_join(workers[i].thread, NULL);
    for (size_t i = 0; i < CACHES; i++) {
        int rc = strata_close(nodes[i].cache);
        assert_true(rc == STRATA_OK || rc == STRATA_PENDING);
        delay_proxy_stop(nodes[i].proxy);
    }
    redis_server_stop(&server);
    printf("%llu reads, %llu values for those that watch; %llu deletes (%llu of them pending), %llu sets, %llu loads\n",
           (unsigned long long)reads, (unsigned long long)values, (unsigned long long)deletes,
           (unsigned long long)pending, (unsigned long long)sets, (unsigned long long)loads);
    assert_true(values > 0 && deletes > pending && pending > 0 && sets > 0 && loads > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(nothing_superseded_is_read) };
    const char *text = getenv("STRATA_SEED");
    seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    printf("STRATA_SEED=%llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
