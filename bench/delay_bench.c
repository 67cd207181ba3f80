/* bench/delay_bench.c - memory over a Redis that is slow, stands still, or is left alone: what a call costs meanwhile.
 *
 * Between the cache and its server is a proxy of ours, which makes a round trip 0, 100 or 500 ms longer, half of it each way;
 * then the server is stopped (SIGSTOP); then the breaker is open as well.  In each of these states
 *     memory_hit   a get of what is in memory, while 64 gets of other keys wait for the server; in turns with gets of another
 *                  cache, which is left in peace
 *     redis_hit    get_or_load of what only the server has: once it is slower than the soft timeout, the loader answers
 *     cold_miss    get_or_load of what nobody has
 * The loader sleeps 5 ms; how long it really took is measured and printed beside.  Each state has a cache of its own, whose
 * breaker stays closed, but for the last one: so every call pays the soft timeout, which 5 of them in a row would end.
 *     delay_bench [ROUNDS]
 * prints, in rows of CSV, medians of microseconds a call, and beside them those of the loader, or of the other cache:
 *     delay,STATE,KIND,US,BESIDE_US,SOFT_TIMEOUT_MS,ROUND
 */
#include <stdatomic.h>

#include "bench/bench_clock.h"
#include "bench/bench_redis.h"
#include "strata/strata.h"
#include "tests/support/delay_proxy.h"

enum { VALUE_BYTES = 1024, LOADER_MS = 5, SOFT_TIMEOUT_MS = 50, BREAKER_FAILURES = 5 };
enum { HITS = 100000, BATCHES = 11, WAITING = 64, CALLS = 12 };

struct state {
    const char *name;
    int64_t delay_ms;
    int stopped, open; /* the server; the breaker */
};
static const struct state states[] = {
    { "0", 0, 0, 0 }, { "100", 100, 0, 0 }, { "500", 500, 0, 0 }, { "stopped", 0, 1, 0 }, { "open", 0, 1, 1 },
};

static struct delay_proxy *proxy;
static strata *cache, *peaceful;
static strata_queue *queue;
static char value[VALUE_BYTES];
static _Atomic(uint64_t) loader_ns; /* of the last one */
static unsigned serial;             /* of keys that nobody has seen */

static int slow_loader(strata_load *load, strata_slice key, void *ctx)
{
    struct timespec pause = { .tv_nsec = LOADER_MS * 1000000 };
    uint64_t began = bench_now_ns();
    (void)key;
    (void)ctx;
    nanosleep(&pause, NULL);
    atomic_store(&loader_ns, bench_now_ns() - began);
    return strata_load_copy(load, value, sizeof value);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *of, int count)
{
    qsort(of, (size_t)count, sizeof *of, by_size);
    return of[count / 2];
}

static strata *open_cache(uint16_t port, const char *stack, uint32_t breaker_failures)
{
    char url[256];
    strata *out;
    strata_error err = STRATA_ERROR_INIT;
    snprintf(url, sizeof url,
             "%sredis://127.0.0.1:%u?prefix=delay:&soft_timeout_ms=%dms&breaker_failures=%u&breaker_open_ms=60s", stack,
             (unsigned)port, (int)SOFT_TIMEOUT_MS, (unsigned)breaker_failures);
    if (strata_open_url(&out, url, NULL, &err) < 0)
        bench_die("strata_open_url", err.message);
    return out;
}

/* Calls of one kind, each with a key of its own. */
static void timed_loads(const char *state, const char *kind, const char *format, int round)
{
    double us[CALLS], loader_us[CALLS];
    for (int i = 0; i < CALLS; i++) {
        char key[48];
        strata_value *found = NULL;
        strata_error err = STRATA_ERROR_INIT;
        snprintf(key, sizeof key, format, serial + (unsigned)i);
        atomic_store(&loader_ns, 0);
        uint64_t began = bench_now_ns();
        if (strata_get_or_load(cache, strata_str(key), slow_loader, NULL, NULL, &found, &err) < 0)
            bench_die("strata_get_or_load", err.message);
        us[i] = (double)(bench_now_ns() - began) / 1e3;
        loader_us[i] = (double)atomic_load(&loader_ns) / 1e3;
        strata_value_unref(found);
    }
    serial += CALLS;
    printf("delay,%s,%s,%.3f,%.3f,%d,%d\n", state, kind, median(us, CALLS), median(loader_us, CALLS),
           (int)SOFT_TIMEOUT_MS, round);
    fflush(stdout);
}

static void waited(int status, strata_value *found, const strata_error *err, void *ctx)
{
    (void)status;
    (void)err;
    --*(int *)ctx;
    strata_value_unref(found);
}

/* Nanoseconds of one. */
static double batch_of_hits(strata *of)
{
    uint64_t began = bench_now_ns();
    for (int i = 0; i < HITS; i++) {
        strata_value *found = NULL;
        if (strata_get(of, strata_str("in memory"), &found, NULL) != STRATA_OK)
            bench_die("strata_get", "what was loaded is not in memory");
        strata_value_unref(found);
    }
    return (double)(bench_now_ns() - began) / HITS;
}

static void timed_hits(const char *state, int round)
{
    double us[BATCHES], beside_us[BATCHES];
    for (int b = 0; b < BATCHES; b++) {
        int left = 0;
        for (int i = 0; i < WAITING; i++) {
            char key[48];
            snprintf(key, sizeof key, "waiting:%u", serial++);
            left += strata_get_async(cache, strata_str(key), queue, waited, &left, NULL) == STRATA_PENDING;
        }
        us[b] = batch_of_hits(cache) / 1e3;
        beside_us[b] = batch_of_hits(peaceful) / 1e3;
        while (left > 0) {
            strata_queue_wait(queue, -1);
            strata_queue_run(queue, 0);
        }
    }
    printf("delay,%s,memory_hit,%.6f,%.6f,%d,%d\n", state, median(us, BATCHES), median(beside_us, BATCHES),
           (int)SOFT_TIMEOUT_MS, round);
    fflush(stdout);
}

static void load_once(strata *of, const char *key)
{
    strata_value *found = NULL;
    strata_error err = STRATA_ERROR_INIT;
    if (strata_get_or_load(of, strata_str(key), slow_loader, NULL, NULL, &found, &err) < 0)
        bench_die("strata_get_or_load", err.message);
    strata_value_unref(found);
}

/* Five failures in a row; what is asked at the same time counts as one. */
static void open_breaker(void)
{
    strata_layer_stats stats = STRATA_LAYER_STATS_INIT;
    for (int i = 0; i < 20 && stats.breaker != STRATA_BREAKER_OPEN; i++) {
        char key[48];
        snprintf(key, sizeof key, "opens:%u", serial++);
        load_once(cache, key);
        strata_stats_layer(cache, 1, &stats);
    }
    if (stats.breaker != STRATA_BREAKER_OPEN)
        bench_die("the breaker", "it does not open");
}

/* Keys that the server has, and this cache's memory has not. */
static void store_for_hits(uint16_t server_port)
{
    strata *other = open_cache(server_port, "", 1000);
    strata_error err = STRATA_ERROR_INIT;
    for (unsigned i = 0; i < CALLS; i++) {
        char key[48];
        snprintf(key, sizeof key, "stored:%u", serial + i);
        if (strata_set(other, strata_str(key), strata_bytes(value, sizeof value), NULL, &err) < 0)
            bench_die("strata_set", err.message);
    }
    strata_close(other);
}

static void run_state(const struct state *s, uint16_t server_port, int round)
{
    delay_proxy_delay(proxy, 0, 0);
    cache = open_cache(delay_proxy_port(proxy), "memory:?max_bytes=16mb|", s->open ? BREAKER_FAILURES : 1000000);
    load_once(cache, "in memory"); /* and connected */
    load_once(cache, "opens:both connections");
    store_for_hits(server_port);
    delay_proxy_delay(proxy, s->delay_ms / 2, s->delay_ms - s->delay_ms / 2);
    if (s->stopped)
        bench_redis_pause();
    if (s->open)
        open_breaker();
    else
        timed_loads(s->name, "redis_hit", "stored:%u", round);
    timed_loads(s->name, "cold_miss", "cold:%u", round);
    timed_hits(s->name, round);
    if (s->stopped)
        bench_redis_resume();
    delay_proxy_delay(proxy, 0, 0);
    if (strata_close(cache) < 0)
        bench_die("strata_close", "it failed");
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 3;
    strata_error err = STRATA_ERROR_INIT;
    if (rounds < 1)
        bench_die("usage", "delay_bench [ROUNDS]");
    uint16_t port = bench_redis_start();
    proxy = delay_proxy_start(port);
    memset(value, 'v', sizeof value);
    peaceful = open_cache(port, "memory:?max_bytes=16mb|", 1000000);
    load_once(peaceful, "in memory");
    if (strata_queue_open(&queue, &err) < 0)
        bench_die("strata_queue_open", err.message);
    for (int round = 1; round <= rounds; round++)
        for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
            run_state(&states[i], port, round);
    strata_queue_close(queue);
    strata_close(peaceful);
    delay_proxy_stop(proxy);
    return 0;
}
