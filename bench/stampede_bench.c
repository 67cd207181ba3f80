/* bench/stampede_bench.c - ten thousand asynchronous callers ask for one cold key whose loader takes 50 ms.
 *
 * What should happen: the loader runs once, and everyone is served when it is done.  The clock runs from before the
 * first call until the last callback has run, all on the thread of an event-loop program; what lies above the loader's
 * own time is what the crowd costs.  Each run takes a new key.  Rows of CSV:
 *     stampede,strata,callers,loader_ms,run,loads,served_ms
 */
#include "bench/bench_clock.h"
#include "strata/strata.h"
#include <stdatomic.h>

enum { VALUE_BYTES = 1024 };

struct crowd {
    _Atomic int loads;
    long loader_ms;
    long served, refused;
};

static void die(const char *what, const strata_error *err)
{
    fprintf(stderr, "stampede_bench: %s: %s: %s\n", what, err->where, err->message);
    exit(1);
}

static int slow_loader(strata_load *load, strata_slice key, void *ctx)
{
    struct crowd *crowd = ctx;
    char value[VALUE_BYTES];
    struct timespec pause = { .tv_sec = crowd->loader_ms / 1000, .tv_nsec = crowd->loader_ms % 1000 * 1000000 };
    atomic_fetch_add(&crowd->loads, 1);
    memset(value, 'v', sizeof value);
    memcpy(value, key.data, key.size < sizeof value ? key.size : sizeof value);
    nanosleep(&pause, NULL);
    return strata_load_copy(load, value, sizeof value);
}

static void count_done(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct crowd *crowd = ctx;
    (void)err;
    if (status == STRATA_OK && strata_value_size(value) == VALUE_BYTES) {
        crowd->served++;
    } else {
        crowd->refused++;
    }
    strata_value_unref(value);
}

static strata *open_cache(void)
{
    strata_layer *layer = strata_memory_layer(NULL);
    strata_options options = STRATA_OPTIONS_INIT;
    strata_error err = STRATA_ERROR_INIT;
    strata *cache;
    options.layers = &layer;
    options.layer_count = 1;
    if (strata_open(&cache, &options, &err) < 0) {
        die("strata_open", &err);
    }
    return cache;
}

static void stampede(strata *cache, strata_queue *queue, long callers, long loader_ms, int run)
{
    struct crowd crowd = { .loader_ms = loader_ms };
    strata_error err = STRATA_ERROR_INIT;
    char key[32];
    uint64_t began;
    snprintf(key, sizeof key, "cold:%d", run);

    began = bench_now_ns();
    for (long i = 0; i < callers; i++) {
        int status = strata_get_or_load_async(cache, strata_str(key), slow_loader, &crowd, NULL, queue, count_done,
                                              &crowd, &err);
        if (status != STRATA_PENDING) {
            die("strata_get_or_load_async", &err);
        }
    }
    while (crowd.served + crowd.refused < callers) {
        strata_queue_wait(queue, -1);
        strata_queue_run(queue, 0);
    }
    double served_ms = (double)(bench_now_ns() - began) / 1e6;

    if (crowd.refused != 0) {
        fprintf(stderr, "stampede_bench: %ld of %ld callers were not served\n", crowd.refused, callers);
        exit(1);
    }
    printf("stampede,strata,%ld,%ld,%d,%d,%.3f\n", callers, loader_ms, run, atomic_load(&crowd.loads), served_ms);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    long runs = argc > 1 ? atol(argv[1]) : 7;
    long callers = argc > 2 ? atol(argv[2]) : 10000;
    long loader_ms = argc > 3 ? atol(argv[3]) : 50;
    strata_error err = STRATA_ERROR_INIT;
    strata_queue *queue;
    strata *cache;
    if (runs < 1 || callers < 1 || loader_ms < 0) {
        fprintf(stderr, "usage: stampede_bench [RUNS [CALLERS [LOADER_MS]]]\n");
        return 2;
    }
    cache = open_cache();
    if (strata_queue_open(&queue, &err) < 0) {
        die("strata_queue_open", &err);
    }
    for (int run = 0; run < runs; run++) {
        stampede(cache, queue, callers, loader_ms, run);
    }
    strata_queue_close(queue);
    strata_close(cache);
    return 0;
}
