/* bench/bus_bench.c - how soon a delete on one node is seen on another, and what a flood of them costs, over each bus, with a real
 * server of the benchmark's own on loopback.
 *
 * Two processes hold a key in memory; one deletes it, the other asks for it every few microseconds until it is gone.  The clock runs
 * from before strata_delete() was called until the other one's strata_get() says so.  A flood is one process that deletes keys at a
 * steady rate, in calls of 100 and one by one, and three that hear of it.
 *     bus_bench [--flood SECONDS] [TRANSPORT...]        redis_stream redis_pubsub nats jetstream rabbitmq
 * prints, in rows of CSV:
 *     bus,TRANSPORT,DELETES,P50_US,P99_US,MAX_US
 *     flood,TRANSPORT,many|single,KEYS,SECONDS,APPLIED_LEAST,LOST,QUEUED,WRITER_US_A_KEY,READER_US_A_KEY,READER_MB
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include "bench/bench_redis.h"
#include "strata/bus_redis.h"
#include "strata/nats.h"
#include "strata/rabbitmq.h"
#include "strata/strata.h"
#include "tests/support/nats_server.h"
#ifdef STRATA_HAS_RABBITMQ
#include "tests/support/rabbitmq_server.h"
#endif

enum { DELETES = 1000, MOST_NODES = 4, MANY = 100, MANY_A_SECOND = 500, SINGLE_A_SECOND = 10000, THREADS = 4 };
enum { POLL_NS = 10000, SETTLE_NS = 300000 };

static struct shared {
    _Atomic(int) ready, over;
    _Atomic(int64_t) sent_ns;
    _Atomic(int) held, gone; /* rounds */
    int64_t latency_ns[DELETES];
    uint64_t applied[MOST_NODES], lost[MOST_NODES], queued;
    double cpu_us[MOST_NODES];
    long rss_kb[MOST_NODES];
    double seconds;
    uint64_t keys;
} * shared;

static char url[128];
static const char *transport;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void rest(long ns) { nanosleep(&(struct timespec){ ns / 1000000000, ns % 1000000000 }, NULL); }

/* A node ------------------------------------------------------------------------------------------------------------ */

static strata_bus *make_bus(void)
{
    strata_redis_bus_options redis = STRATA_REDIS_BUS_OPTIONS_INIT;
    strata_nats_options nats = STRATA_NATS_OPTIONS_INIT;
    strata_rabbitmq_options rabbitmq = STRATA_RABBITMQ_OPTIONS_INIT;
    redis.url = nats.url = rabbitmq.url = url;
    if (strcmp(transport, "jetstream") == 0) {
        nats.jetstream = STRATA_ON;
        nats.storage = STRATA_NATS_MEMORY;
        nats.max_messages = 100000;
    }
    if (strcmp(transport, "redis_stream") == 0)
        return strata_redis_stream_bus(&redis);
    if (strcmp(transport, "redis_pubsub") == 0)
        return strata_redis_pubsub_bus(&redis);
    return strcmp(transport, "rabbitmq") == 0 ? strata_rabbitmq_bus(&rabbitmq) : strata_nats_bus(&nats);
}

static strata_health health_of(strata *cache)
{
    strata_health health = STRATA_HEALTH_INIT;
    if (strata_health_get(cache, &health, NULL) != STRATA_OK)
        bench_die("strata_health_get", "failed");
    return health;
}

/* Open, and every other node is heard of. */
static strata *open_node(int n, int nodes)
{
    strata_layer *layers[] = { strata_memory_layer(
        &(strata_memory_options){ STRATA_SIZED(strata_memory_options), .max_bytes = 64 << 20 }) };
    strata_bus *buses[] = { make_bus() };
    strata_coherence_options coherence = STRATA_COHERENCE_OPTIONS_INIT;
    strata_options options = STRATA_OPTIONS_INIT;
    strata_error err = STRATA_ERROR_INIT;
    strata *cache;
    char name[16];
    snprintf(name, sizeof name, "node%d", n);
    coherence.node_name = name;
    coherence.heartbeat_ms = 200;
    options.layers = layers;
    options.layer_count = 1;
    options.buses = buses;
    options.bus_count = 1;
    options.coherence = &coherence;
    if (strata_open(&cache, &options, &err) != STRATA_OK)
        bench_die(transport, err.message);
    for (int64_t until = now_ns() + 20000000000;; rest(1000000)) {
        strata_health h = health_of(cache);
        if (h.trusted && h.peers + 1 >= (uint32_t)nodes)
            break;
        if (now_ns() > until)
            bench_die(transport, h.words);
    }
    atomic_fetch_add(&shared->ready, 1);
    while (atomic_load(&shared->ready) < nodes)
        rest(1000000);
    return cache;
}

static void close_node(strata *cache)
{
    atomic_fetch_add(&shared->over, 1);
    (void)strata_close(cache);
}

/* Runs `node` in processes of their own.  They are forked before any of them has a thread. */
static void run_nodes(int nodes, void (*node)(int n, int nodes))
{
    pid_t children[MOST_NODES];
    memset(shared, 0, sizeof *shared);
    for (int n = 0; n < nodes; n++) {
        children[n] = fork();
        if (children[n] < 0)
            bench_die("fork", "failed");
        if (children[n] == 0) {
            node(n, nodes);
            _exit(0);
        }
    }
    for (int n = 0; n < nodes; n++) {
        int status = 0;
        if (waitpid(children[n], &status, 0) < 0 || status != 0)
            bench_die(transport, "a node has failed");
    }
}

/* Until it is seen --------------------------------------------------------------------------------------------------- */

static void wait_round(_Atomic(int) *at, int round)
{
    while (atomic_load(at) < round)
        rest(POLL_NS);
}

static void latency_node(int n, int nodes)
{
    const strata_slice key = strata_str("key");
    strata *cache = open_node(n, nodes);
#if defined(__linux__)
    (void)prctl(PR_SET_TIMERSLACK, 1);
#endif
    for (int round = 1; round <= DELETES; round++) {
        if (n == 0) {
            wait_round(&shared->held, round);
            rest(SETTLE_NS);
            atomic_store(&shared->sent_ns, now_ns());
            if (strata_delete(cache, key, NULL) != STRATA_OK)
                bench_die(transport, "a delete was not published");
            wait_round(&shared->gone, round);
            continue;
        }
        strata_value *value;
        if (strata_set(cache, key, strata_str("value"), NULL, NULL) != STRATA_OK)
            bench_die(transport, "a set was not published");
        atomic_store(&shared->held, round);
        while (strata_get(cache, key, &value, NULL) != STRATA_MISS) {
            strata_value_unref(value);
            rest(POLL_NS);
        }
        shared->latency_ns[round - 1] = now_ns() - atomic_load(&shared->sent_ns);
        atomic_store(&shared->gone, round);
    }
    close_node(cache);
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void latency(void)
{
    run_nodes(2, latency_node);
    qsort(shared->latency_ns, DELETES, sizeof(int64_t), by_size);
    printf("bus,%s,%d,%.1f,%.1f,%.1f\n", transport, (int)DELETES, (double)shared->latency_ns[DELETES / 2] / 1e3,
           (double)shared->latency_ns[DELETES * 99 / 100] / 1e3, (double)shared->latency_ns[DELETES - 1] / 1e3);
    (void)fflush(stdout);
}

/* A flood ------------------------------------------------------------------------------------------------------------ */

static int flood_single;
static int64_t flood_ns;

struct flooder {
    pthread_t thread;
    strata *cache;
    int index;
    uint64_t keys;
};

static void *flood(void *ctx)
{
    struct flooder *f = ctx;
    const int threads = flood_single ? THREADS : 1;
    const int64_t pause = 1000000000 / (flood_single ? SINGLE_A_SECOND / threads : MANY_A_SECOND), begin = now_ns();
    char names[MANY][32];
    strata_item items[MANY];
    for (int64_t next = begin; next < begin + flood_ns; next += pause) {
        int count = flood_single ? 1 : MANY;
        for (int i = 0; i < count; i++) {
            snprintf(names[i], sizeof names[i], "%d:%" PRIu64, f->index, f->keys++);
            items[i] = (strata_item){ .key = strata_str(names[i]) };
        }
        if (flood_single)
            (void)strata_delete(f->cache, items[0].key, NULL);
        else
            (void)strata_delete_many(f->cache, items, MANY, NULL);
        if (now_ns() < next + pause)
            rest(next + pause - now_ns());
    }
    return NULL;
}

static double cpu_us(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void flood_writer(strata *cache)
{
    struct flooder f[THREADS] = { { .cache = cache } };
    int threads = flood_single ? THREADS : 1;
    int64_t begin = now_ns();
    for (int i = 0; i < threads; i++) {
        f[i] = (struct flooder){ .cache = cache, .index = i };
        if (pthread_create(&f[i].thread, NULL, flood, &f[i]) != 0)
            bench_die("pthread_create", "failed");
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(f[i].thread, NULL);
        shared->keys += f[i].keys;
    }
    shared->seconds = (double)(now_ns() - begin) / 1e9;
    shared->queued = health_of(cache).queued;
}

static void flood_node(int n, int nodes)
{
    strata *cache = open_node(n, nodes);
    double before = cpu_us();
    uint64_t lost = health_of(cache).lost; /* before they had met, they may have missed some */
    if (n == 0) {
        flood_writer(cache);
        atomic_store(&shared->gone, 1);
    } else {
        wait_round(&shared->gone, 1);
        for (int64_t until = now_ns() + 5000000000; health_of(cache).applied < shared->keys && now_ns() < until;)
            rest(1000000);
    }
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    shared->cpu_us[n] = cpu_us() - before;
    shared->applied[n] = health_of(cache).applied;
    shared->lost[n] = health_of(cache).lost - lost;
    shared->rss_kb[n] = u.ru_maxrss;
    atomic_fetch_add(&shared->over, 1);
    while (atomic_load(&shared->over) < nodes) /* nobody leaves while others count */
        rest(1000000);
    (void)strata_close(cache);
}

static void print_flood(int nodes)
{
    uint64_t least = UINT64_MAX, lost = 0;
    double cpu = 0;
    long rss = 0;
    for (int n = 1; n < nodes; n++) {
        least = shared->applied[n] < least ? shared->applied[n] : least;
        lost += shared->lost[n];
        cpu += shared->cpu_us[n] / (nodes - 1);
        rss = shared->rss_kb[n] > rss ? shared->rss_kb[n] : rss;
    }
    printf("flood,%s,%s,%" PRIu64 ",%.2f,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%.2f,%.2f,%.1f\n", transport,
           flood_single ? "single" : "many", shared->keys, shared->seconds, least, lost, shared->queued,
           shared->cpu_us[0] / (double)shared->keys, cpu / (double)shared->keys, (double)rss / 1024);
    (void)fflush(stdout);
}

/* Servers ------------------------------------------------------------------------------------------------------------ */

static struct nats_server nats;
#ifdef STRATA_HAS_RABBITMQ
static struct rabbitmq_server rabbitmq;
#endif

static void start_server(void)
{
    static uint16_t redis;
    if (strncmp(transport, "redis_", 6) == 0) {
        redis = redis != 0 ? redis : bench_redis_start();
        snprintf(url, sizeof url, "redis://127.0.0.1:%u", (unsigned)redis);
        return;
    }
    if (strcmp(transport, "nats") == 0 || strcmp(transport, "jetstream") == 0) {
        if (nats.pid == 0)
            nats_server_start(&nats, NULL);
        snprintf(url, sizeof url, "%s", nats.url);
        return;
    }
#ifdef STRATA_HAS_RABBITMQ
    if (strcmp(transport, "rabbitmq") == 0) {
        if (rabbitmq.pid == 0)
            rabbitmq_server_start(&rabbitmq, NULL);
        snprintf(url, sizeof url, "amqp://guest:guest@127.0.0.1:%u", (unsigned)rabbitmq.port);
        return;
    }
#endif
    bench_die(transport, "is no bus of this build");
}

int main(int argc, char **argv)
{
    const char *const all[] = { "redis_stream", "redis_pubsub", "nats", "jetstream", "rabbitmq" };
    int seconds = 0, at = 1;
    if (at + 1 < argc && strcmp(argv[at], "--flood") == 0) {
        seconds = atoi(argv[at + 1]);
        at += 2;
    }
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        bench_die("mmap", "no memory");
    flood_ns = (int64_t)seconds * 1000000000;
    for (int i = at; i < (at < argc ? argc : at + 5); i++) {
        transport = at < argc ? argv[i] : all[i - at];
        start_server();
        latency();
        for (flood_single = 0; seconds > 0 && flood_single < 2; flood_single++) {
            run_nodes(MOST_NODES, flood_node);
            print_flood(MOST_NODES);
        }
    }
#ifdef STRATA_HAS_RABBITMQ
    if (rabbitmq.pid != 0)
        rabbitmq_server_stop(&rabbitmq);
#endif
    if (nats.pid != 0)
        nats_server_stop(&nats);
    return 0;
}
