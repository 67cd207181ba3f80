/* bench/crowd_bench.c - 75 callers ask for one cold key at once, five times, with a new key each time: in memory alone, and in memory over
 * a Redis.  The loader takes 6 ms.  Five loads should run, and nobody wait for much more than one.
 *
 *   crowd_bench [ROUNDS]
 *
 * Callers are asynchronous, as in stampede_bench.c.  Rows of CSV:
 *     crowd,layers,round,loads,load_ms,served_ms
 * of which load_ms is what the loader really took, which a sleep never keeps exactly. */
#include "bench/bench_clock.h"
#include "bench/bench_redis.h"
#include "strata/strata.h"
#include <stdatomic.h>

enum { CALLERS = 75, LOAD_MS = 6, VALUE_BYTES = 1024 };

struct crowd {
    atomic_int loads;
    _Atomic uint64_t load_ns;
    int served;
};

static int slow_loader(strata_load *load, strata_slice key, void *ctx)
{
    struct crowd *crowd = ctx;
    char value[VALUE_BYTES] = { 0 };
    struct timespec pause = { .tv_nsec = LOAD_MS * 1000000 };
    uint64_t began = bench_now_ns();
    (void)key;
    nanosleep(&pause, NULL);
    atomic_fetch_add(&crowd->load_ns, bench_now_ns() - began);
    atomic_fetch_add(&crowd->loads, 1);
    return strata_load_copy(load, value, sizeof value);
}

static void count_done(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct crowd *crowd = ctx;
    if (status != STRATA_OK || strata_value_size(value) != VALUE_BYTES)
        bench_die("a caller was not served", err != NULL ? err->message : strata_status_text(status));
    strata_value_unref(value);
    crowd->served++;
}

static void one_round(strata *cache, strata_queue *queue, const char *layers, int round)
{
    struct crowd crowd = { 0 };
    strata_error err;
    char key[32];
    snprintf(key, sizeof key, "cold:%d", round);
    uint64_t began = bench_now_ns();
    for (int i = 0; i < CALLERS; i++)
        if (strata_get_or_load_async(cache, strata_str(key), slow_loader, &crowd, NULL, queue, count_done, &crowd,
                                     &err) != STRATA_PENDING)
            bench_die(err.where, err.message);
    while (crowd.served < CALLERS) {
        strata_queue_wait(queue, -1);
        strata_queue_run(queue, 0);
    }
    uint64_t served = bench_now_ns() - began;
    printf("crowd,%s,%d,%d,%.3f,%.3f\n", layers, round, atomic_load(&crowd.loads),
           (double)atomic_load(&crowd.load_ns) / 1e6, (double)served / 1e6);
    fflush(stdout);
}

static void all_rounds(const char *layers, const char *url, int rounds)
{
    strata *cache;
    strata_queue *queue;
    strata_error err;
    if (strata_open_url(&cache, url, NULL, &err) < 0 || strata_queue_open(&queue, &err) < 0)
        bench_die(err.where, err.message);
    strata_set(cache, strata_str("warm"), strata_str("warm"), NULL, NULL); /* its connection is up */
    for (int round = 0; round < rounds; round++)
        one_round(cache, queue, layers, round);
    strata_close(cache);
    strata_queue_close(queue);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 5;
    char redis[128];
    if (rounds < 1) {
        fprintf(stderr, "usage: crowd_bench [ROUNDS]\n");
        return 2;
    }
    snprintf(redis, sizeof redis,
             "memory:?max_bytes=16mb | redis://127.0.0.1:%u?prefix=crowd:", (unsigned)bench_redis_start());
    all_rounds("memory", "memory:?max_bytes=16mb", rounds);
    all_rounds("redis", redis, rounds);
    return 0;
}
