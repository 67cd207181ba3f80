/* test_bus_history.c - processes that share a Redis and hear of each other by a bus, in turn each that this build has; some are
 * killed, some stopped, servers too, and networks cut; and a checker of what every read may have been.
 *
 * Four nodes, each a process with memory over one Redis.  The origin is a table of versions in memory that they share.  Each key has
 * one node that writes it: that raises the version in the origin, deletes the key, and notes when strata_delete() had returned
 * STRATA_OK.  All read and load all the time.  What must hold of every read that begins at a moment t:
 *   - STRATA_OK, fresh: nothing that was superseded, by a delete that had returned, trust_ms before t;
 *   - STRATA_STALE: nothing that was superseded trust_ms + suspect_ms before t: the bound that strata_health_get() tells;
 *   - each value is one of that key that the origin had, and whole; and loads never fail.
 * A node that was stopped reads first of all when it goes on, with whatever the bus has for it still unread.
 *
 * How old what was read really was is printed: the time to coherence.  STRATA_STRESS_SECONDS or STRATA_TEST_LONG make it longer,
 * STRATA_SEED repeats the choices (not their timing), STRATA_TEST_BUS takes one bus. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "src/base/hash.h"
#include "strata/bus_redis.h"
#include "strata/nats.h"
#include "strata/rabbitmq.h"
#include "strata/strata.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/delay_proxy.h"
#include "tests/support/nats_server.h"
#ifdef STRATA_HAS_RABBITMQ
#include "tests/support/rabbitmq_server.h"
#endif
#include "tests/support/redis_server.h"

enum { NODES = 4, KEYS = 24, READERS = 2, NOTED = 4096, AGES = 1 << 16, PADDING = 48 };
enum { HEARTBEAT_MS = 100, TRUST_MS = 500, SUSPECT_MS = 700, WRITE_PAUSE_US = 2000 };

struct superseded {
    _Atomic(int64_t) ns;       /* the delete had returned */
    _Atomic(uint64_t) version; /* nothing older counts from then on */
};

static struct shared {
    _Atomic(int) over, broken;
    char words[512];
    _Atomic(uint64_t) reads, stale, loads, deletes, pending, failed, ages_count;
    uint32_t ages_us[AGES]; /* how long ago what was read had been superseded */
    struct {
        _Atomic(uint64_t) origin;
        _Atomic(uint64_t) count;
        struct superseded noted[NOTED];
    } keys[KEYS];
} * shared;

static struct redis_server redis;
static struct nats_server nats;
#ifdef STRATA_HAS_RABBITMQ
static struct rabbitmq_server rabbitmq;
#endif
static struct delay_proxy *network; /* the last node's, to the Redis */
static const char *transport;
static uint64_t seed;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void rest_us(long us) { nanosleep(&(struct timespec){ us / 1000000, us % 1000000 * 1000 }, NULL); }

static uint64_t draw(uint64_t *random)
{
    *random += 0x9e3779b97f4a7c15u;
    return strata__mix64(*random);
}

/* In a node, which may not use cmocka's asserts. */
static _Noreturn void broken(const char *what, int node, size_t key, uint64_t got, uint64_t limit)
{
    if (atomic_exchange(&shared->broken, 1) == 0)
        snprintf(shared->words, sizeof shared->words,
                 "%s: %s, node %d, key %zu, got %llu, limit %llu; STRATA_SEED=%llu", transport, what, node, key,
                 (unsigned long long)got, (unsigned long long)limit, (unsigned long long)seed);
    _exit(1);
}

/* Values: key, version, and bytes that follow from both --------------------------------------------------------------- */

struct value {
    uint64_t key, version;
    char padding[PADDING];
};

static struct value value_of(size_t k, uint64_t version)
{
    struct value v = { k, version, { 0 } };
    memset(v.padding, (int)('a' + (version + k) % 26), sizeof v.padding);
    return v;
}

static uint64_t version_in(int node, size_t k, const strata_value *v)
{
    struct value got;
    if (strata_value_size(v) != sizeof got)
        broken("a value of a wrong size", node, k, strata_value_size(v), sizeof got);
    memcpy(&got, strata_value_data(v), sizeof got);
    struct value expected = value_of(k, got.version);
    if (memcmp(&got, &expected, sizeof got) != 0)
        broken("a value that is torn, or another key's", node, k, got.version, got.key);
    if (got.version > atomic_load(&shared->keys[k].origin))
        broken("a value that never was", node, k, got.version, atomic_load(&shared->keys[k].origin));
    return got.version;
}

/* The checker --------------------------------------------------------------------------------------------------------- */

static void note_superseded(size_t k, uint64_t version)
{
    uint64_t n = atomic_load(&shared->keys[k].count);
    struct superseded *s = &shared->keys[k].noted[n % NOTED];
    atomic_store(&s->version, version);
    atomic_store(&s->ns, now_ns());
    atomic_store(&shared->keys[k].count, n + 1);
}

/* When what has this version was superseded: the first delete that returned with a later one; INT64_MAX: it was not. */
static int64_t superseded_at(size_t k, uint64_t version)
{
    uint64_t count = atomic_load(&shared->keys[k].count), least = count > NOTED / 2 ? count - NOTED / 2 : 0;
    int64_t when = INT64_MAX;
    for (uint64_t n = count; n-- > least;) {
        const struct superseded *s = &shared->keys[k].noted[n % NOTED];
        if (atomic_load(&s->version) <= version)
            break;
        when = atomic_load(&s->ns);
    }
    return when;
}

static void check(int node, size_t k, int status, uint64_t version, int64_t began)
{
    int64_t when = superseded_at(k, version), age = began - when;
    if (when == INT64_MAX || age <= 0)
        return;
    uint64_t n = atomic_fetch_add(&shared->ages_count, 1);
    shared->ages_us[n % AGES] = (uint32_t)(age / 1000 < UINT32_MAX ? age / 1000 : UINT32_MAX);
    int64_t limit_ms = status == STRATA_OK ? TRUST_MS : TRUST_MS + SUSPECT_MS;
    if (age > limit_ms * 1000000)
        broken(status == STRATA_OK ? "fresh, and superseded so many us ago" : "stale, and superseded so many us ago",
               node, k, (uint64_t)age / 1000, (uint64_t)limit_ms * 1000);
}

/* A node -------------------------------------------------------------------------------------------------------------- */

struct worker {
    pthread_t thread;
    strata *cache;
    int node;
    uint64_t random;
};

static strata_slice name_key(char *out, size_t room, size_t k)
{
    snprintf(out, room, "key:%zu", k);
    return strata_str(out);
}

static int load(strata_load *l, strata_slice key, void *ctx)
{
    struct worker *w = ctx;
    size_t k = 0;
    for (size_t i = 4; i < key.size; i++)
        k = k * 10 + (size_t)(((const char *)key.data)[i] - '0');
    struct value v = value_of(k, atomic_load(&shared->keys[k].origin));
    atomic_fetch_add(&shared->loads, 1);
    rest_us((long)(draw(&w->random) % 2000)); /* where superseded values come from */
    return strata_load_copy(l, &v, sizeof v);
}

static void read_one(struct worker *w)
{
    static const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = 600000 };
    char name[32];
    size_t k = draw(&w->random) % KEYS;
    strata_value *v = NULL;
    strata_error err = STRATA_ERROR_INIT;
    strata_slice key = name_key(name, sizeof name, k);
    int loads = draw(&w->random) % 4 != 0;
    int64_t began = now_ns();
    int rc = loads ? strata_get_or_load(w->cache, key, load, w, &policy, &v, &err)
                   : strata_get(w->cache, key, &v, &err);
    atomic_fetch_add(&shared->reads, 1);
    if (rc == STRATA_OK || rc == STRATA_STALE) {
        atomic_fetch_add(&shared->stale, rc == STRATA_STALE);
        check(w->node, k, rc, version_in(w->node, k, v), began);
    } else if (loads) {
        broken(err.message[0] != 0 ? err.message : "a load has failed", w->node, k, (uint64_t)(int64_t)rc, 0);
    }
    strata_value_unref(v);
}

static void *reads(void *ctx)
{
    struct worker *w = ctx;
    while (!atomic_load(&shared->over)) {
        read_one(w);
        rest_us((long)(draw(&w->random) % 300));
    }
    return NULL;
}

static void *writes(void *ctx)
{
    struct worker *w = ctx;
    char name[32];
    while (!atomic_load(&shared->over)) {
        size_t k = draw(&w->random) % (KEYS / NODES) * NODES + (size_t)w->node;
        uint64_t version = atomic_fetch_add(&shared->keys[k].origin, 1) + 1;
        int rc = strata_delete(w->cache, name_key(name, sizeof name, k), NULL);
        if (rc == STRATA_OK)
            note_superseded(k, version);
        atomic_fetch_add(rc == STRATA_OK ? &shared->deletes : rc > 0 ? &shared->pending : &shared->failed, 1);
        rest_us(WRITE_PAUSE_US + (long)(draw(&w->random) % 20000));
    }
    return NULL;
}

static strata_bus *make_bus(const char *redis_url)
{
    strata_redis_bus_options over_redis = STRATA_REDIS_BUS_OPTIONS_INIT;
    strata_nats_options over_nats = STRATA_NATS_OPTIONS_INIT;
    over_redis.url = redis_url;
    over_nats.url = nats.url;
    if (strcmp(transport, "jetstream") == 0) {
        over_nats.jetstream = STRATA_ON;
        over_nats.max_messages = 100000;
    }
    if (strcmp(transport, "redis_stream") == 0)
        return strata_redis_stream_bus(&over_redis);
    if (strcmp(transport, "redis_pubsub") == 0)
        return strata_redis_pubsub_bus(&over_redis);
#ifdef STRATA_HAS_RABBITMQ
    if (strcmp(transport, "rabbitmq") == 0) {
        strata_rabbitmq_options over_rabbitmq = STRATA_RABBITMQ_OPTIONS_INIT;
        char url[64];
        snprintf(url, sizeof url, "amqp://guest:guest@127.0.0.1:%u", (unsigned)rabbitmq.port);
        over_rabbitmq.url = url;
        return strata_rabbitmq_bus(&over_rabbitmq);
    }
#endif
    return strata_nats_bus(&over_nats);
}

static strata *open_node(int n)
{
    strata_redis_options store = STRATA_REDIS_OPTIONS_INIT;
    strata_coherence_options coherence = STRATA_COHERENCE_OPTIONS_INIT;
    strata_options options = STRATA_OPTIONS_INIT;
    strata_error err = STRATA_ERROR_INIT;
    strata *cache = NULL;
    char url[64], name[16];
    snprintf(url, sizeof url, "redis://127.0.0.1:%u",
             (unsigned)(n == NODES - 1 ? delay_proxy_port(network) : redis.port));
    snprintf(name, sizeof name, "node%d", n);
    store.url = url;
    strata_layer *layers[] = { strata_memory_layer(&(strata_memory_options){ STRATA_SIZED(strata_memory_options),
                                                                             .max_bytes = 16 << 20 }),
                               strata_redis_layer(&store) };
    strata_bus *buses[] = { make_bus(url) };
    coherence.heartbeat_ms = HEARTBEAT_MS;
    coherence.trust_ms = TRUST_MS;
    coherence.suspect_ms = SUSPECT_MS;
    coherence.node_name = name;
    options.layers = layers;
    options.layer_count = 2;
    options.buses = buses;
    options.bus_count = 1;
    options.coherence = &coherence;
    if (strata_open(&cache, &options, &err) != STRATA_OK)
        broken(err.message, n, 0, (uint64_t)(int64_t)err.status, 0);
    return cache;
}

static _Noreturn void run_node(int n, uint64_t random)
{
    struct worker w[READERS + 1];
    strata *cache = open_node(n);
    for (int i = 0; i <= READERS; i++) {
        w[i] = (struct worker){ .cache = cache, .node = n, .random = random + (uint64_t)i * 7919 };
        if (pthread_create(&w[i].thread, NULL, i == 0 ? writes : reads, &w[i]) != 0)
            broken("no thread", n, 0, 0, 0);
    }
    for (int i = 0; i <= READERS; i++)
        pthread_join(w[i].thread, NULL);
    (void)strata_close(cache);
    _exit(0);
}

/* What goes wrong ----------------------------------------------------------------------------------------------------- */

static pid_t nodes[NODES];

static void start_node(int n, uint64_t *random)
{
    uint64_t own = draw(random);
    nodes[n] = fork();
    if (nodes[n] == 0)
        run_node(n, own);
    assert_true(nodes[n] > 0);
}

static void pause_bus(int on)
{
    if (strncmp(transport, "redis_", 6) == 0)
        (on ? redis_server_pause : redis_server_resume)(&redis);
#ifdef STRATA_HAS_RABBITMQ
    else if (strcmp(transport, "rabbitmq") == 0)
        (on ? rabbitmq_server_pause : rabbitmq_server_resume)(&rabbitmq);
#endif
    else
        (on ? nats_server_pause : nats_server_resume)(&nats);
}

static void restart_bus(void)
{
    if (strncmp(transport, "redis_", 6) == 0)
        redis_server_restart(&redis);
#ifdef STRATA_HAS_RABBITMQ
    else if (strcmp(transport, "rabbitmq") == 0)
        rabbitmq_server_restart(&rabbitmq);
#endif
    else
        nats_server_restart(&nats);
}

static void go_wrong(uint64_t *random)
{
    int n = (int)(draw(random) % NODES), status;
    switch (draw(random) % 6) {
    case 0: /* dead, and another one comes */
        kill(nodes[n], SIGKILL);
        waitpid(nodes[n], &status, 0);
        if (WIFSIGNALED(status) && !atomic_load(&shared->broken))
            start_node(n, random);
        break;
    case 1: /* it wakes when all it held is long superseded */
        kill(nodes[n], SIGSTOP);
        rest_us((TRUST_MS + SUSPECT_MS) * 1000 + 300000);
        kill(nodes[n], SIGCONT);
        break;
    case 2:
        pause_bus(1);
        rest_us((long)(draw(random) % 1500) * 1000);
        pause_bus(0);
        break;
    case 3: restart_bus(); break;
    case 4: delay_proxy_cut_all(network); break;
    default:
        delay_proxy_stall(network, 1);
        rest_us((long)(draw(random) % 1000) * 1000);
        delay_proxy_stall(network, 0);
        break;
    }
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_ages(void)
{
    uint64_t n = atomic_load(&shared->ages_count);
    size_t count = n < AGES ? (size_t)n : AGES;
    qsort(shared->ages_us, count, sizeof shared->ages_us[0], by_size);
    print_message(
        "%s: %llu reads, %llu of them superseded already: for %.1f ms (median), %.1f (99th), %.1f (longest); %llu "
        "stale; %llu loads; %llu deletes, %llu pending, %llu failed\n",
        transport, (unsigned long long)atomic_load(&shared->reads), (unsigned long long)n,
        count ? shared->ages_us[count / 2] / 1e3 : 0, count ? shared->ages_us[count * 99 / 100] / 1e3 : 0,
        count ? shared->ages_us[count - 1] / 1e3 : 0, (unsigned long long)atomic_load(&shared->stale),
        (unsigned long long)atomic_load(&shared->loads), (unsigned long long)atomic_load(&shared->deletes),
        (unsigned long long)atomic_load(&shared->pending), (unsigned long long)atomic_load(&shared->failed));
}

static int seconds_each(void)
{
    const char *given = getenv("STRATA_STRESS_SECONDS"), *longer = getenv("STRATA_TEST_LONG");
    return given != NULL ? atoi(given) : longer != NULL ? 60 : 4;
}

static void history_of(const char *which)
{
    const char *only = getenv("STRATA_TEST_BUS");
    uint64_t random = seed;
#if defined(__SANITIZE_THREAD__) /* which allows a child of many threads no thread */
    skip();
#endif
    if (only != NULL && strcmp(only, which) != 0)
        return;
    transport = which;
    uint64_t origin[KEYS]; /* the Redis has values of the bus before */
    for (size_t k = 0; k < KEYS; k++)
        origin[k] = atomic_load(&shared->keys[k].origin);
    memset(shared, 0, sizeof *shared);
    for (size_t k = 0; k < KEYS; k++)
        atomic_store(&shared->keys[k].origin, origin[k]);
    for (int n = 0; n < NODES; n++)
        start_node(n, &random);
    rest_us(700000);
    for (int64_t until = now_ns() + (int64_t)seconds_each() * 1000000000; now_ns() < until && !shared->broken;) {
        go_wrong(&random);
        rest_us(200000 + (long)(draw(&random) % 400) * 1000);
    }
    rest_us((TRUST_MS + SUSPECT_MS) * 1000);
    atomic_store(&shared->over, 1);
    for (int n = 0; n < NODES; n++) {
        int status = -1;
        waitpid(nodes[n], &status, 0);
        if (status != 0 && !atomic_load(&shared->broken))
            fail_msg("%s: node %d ended with %d", transport, n, status);
    }
    if (atomic_load(&shared->broken))
        fail_msg("%s", shared->words);
    print_ages();
    assert_true(atomic_load(&shared->deletes) > 20 && atomic_load(&shared->reads) > 1000);
}

static void over_redis_streams(void **state)
{
    (void)state;
    history_of("redis_stream");
}

static void over_redis_pubsub(void **state)
{
    (void)state;
    history_of("redis_pubsub");
}

#ifdef STRATA_HAS_NATS
static void over_nats(void **state)
{
    (void)state;
    nats_server_start(&nats, NULL);
    history_of("nats");
    history_of("jetstream");
    nats_server_stop(&nats);
}
#endif

#ifdef STRATA_HAS_RABBITMQ
static void over_rabbitmq(void **state)
{
    const char *only = getenv("STRATA_TEST_BUS");
    (void)state;
    if (only != NULL && strcmp(only, "rabbitmq") != 0)
        return;
    rabbitmq_server_start(&rabbitmq, NULL);
    history_of("rabbitmq");
    rabbitmq_server_stop(&rabbitmq);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_redis_streams),
        cmocka_unit_test(over_redis_pubsub),
#ifdef STRATA_HAS_NATS
        cmocka_unit_test(over_nats),
#endif
#ifdef STRATA_HAS_RABBITMQ
        cmocka_unit_test(over_rabbitmq),
#endif
    };
    const char *given = getenv("STRATA_SEED");
    seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)now_ns();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    redis_server_start(&redis, NULL);
    network = delay_proxy_start(redis.port);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    delay_proxy_stop(network);
    redis_server_stop(&redis);
    return failed;
}
