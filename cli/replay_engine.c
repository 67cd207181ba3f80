/* replay_engine.c - see replay_engine.h.
 *
 * The origin's values are zero bytes of a mapping that is never written: the system backs all of it with one page, so
 * a value may be as large as the trace says without the origin taking memory. */
#include "cli/replay_engine.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "cli/cli_error.h"
#include "cli/load_cost.h"
#include "cli/stopwatch.h"

struct replay {
    strata *cache;
    struct trace *trace;
    const struct replay_config *config;
    struct progress *progress;
    const void *zeros; /* TRACE_VALUE_MAX bytes */
    _Atomic(uint64_t) cost_us;
};

/* What the layers complain of; a request is answered all the same, so nothing else would tell. */
struct complaints {
    pthread_mutex_t lock;
    strata_error last[REPLAY_LAYERS]; /* `where` is the layer; status 0: none */
};

struct worker {
    struct replay *replay;
    struct trace_block *block; /* its own */
    uint64_t failed;
    strata_error first;
    pthread_t thread;
};

/* What the loader must know of the request that calls it; lives on the requester's stack, who waits. */
struct origin_call {
    struct replay *replay;
    int64_t value_bytes;
};

static void sleep_ms(uint64_t ms)
{
    struct timespec left = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000L };

    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

static int origin(strata_load *load, strata_slice key, void *ctx)
{
    const struct origin_call *call = ctx;
    const struct replay_config *config = call->replay->config;
    uint64_t size = config->value_bytes;

    if (config->cost_ms != 0) {
        strata_policy policy = STRATA_POLICY_INIT;

        policy.cost_us = (int32_t)load_cost_us(key.data, key.size, config->cost_ms * 1000, config->cost_decades);
        atomic_fetch_add_explicit(&call->replay->cost_us, (uint64_t)policy.cost_us, memory_order_relaxed);
        strata_load_set_policy(load, &policy);
    }
    if (size == 0)
        size = call->value_bytes >= 0 ? (uint64_t)call->value_bytes : REPLAY_VALUE_BYTES;
    if (config->origin_ms != 0)
        sleep_ms(config->origin_ms);
    return strata_load_copy(load, call->replay->zeros, (size_t)size);
}

static void run_block(struct worker *w, const struct trace_block *block)
{
    struct origin_call call = { w->replay, -1 };
    struct trace_line line;
    uint32_t offset = 0;

    while (trace_block_next(block, &offset, &line)) {
        strata_error err = STRATA_ERROR_INIT;
        strata_value *value = NULL;
        int status;

        call.value_bytes = line.value_bytes;
        status = strata_get_or_load(w->replay->cache, strata_bytes(line.key, line.key_size), origin, &call, NULL,
                                    &value, &err);
        strata_value_unref(value);
        if (status < 0 && w->failed++ == 0)
            w->first = err;
    }
}

static void *work(void *arg)
{
    struct worker *w = arg;
    const struct trace_block *block;

    for (;;) {
        trace_take(w->replay->trace, w->block, &block, w->replay->progress);
        if (block == NULL)
            return NULL;
        run_block(w, block);
    }
}

/* Run all workers; the first one on this thread. */
static int run_workers(struct worker *workers, uint64_t count, strata_error *err)
{
    uint64_t started = 1, i;
    int rc = 0;

    while (started < count && rc == 0) {
        rc = pthread_create(&workers[started].thread, NULL, work, &workers[started]);
        started += rc == 0;
    }
    if (rc == 0)
        work(&workers[0]);
    for (i = 1; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    if (rc != 0)
        return cli_fail(err, STRATA_EIO, "--threads", "only %d of them could be started (%s): use fewer", (int)started,
                        strerror(rc));
    return STRATA_OK;
}

static void hear(const strata_event *event, void *ctx)
{
    struct complaints *c = ctx;
    size_t i = 0;

    if (event->layer == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    while (i < REPLAY_LAYERS && c->last[i].status != 0 && strcmp(c->last[i].where, event->layer) != 0)
        i++;
    if (i < REPLAY_LAYERS)
        cli_fail(&c->last[i], event->status < 0 ? event->status : STRATA_ELAYER, event->layer, "%s",
                 event->message != NULL ? event->message : strata_status_text(event->status));
    pthread_mutex_unlock(&c->lock);
}

static void collect_complaints(struct complaints *c, struct replay_result *out)
{
    size_t layer, i;

    pthread_mutex_lock(&c->lock);
    for (layer = 0; layer < out->layer_count; layer++)
        for (i = 0; i < REPLAY_LAYERS; i++)
            if (c->last[i].status != 0 && strcmp(c->last[i].where, out->layers[layer].name) == 0)
                out->layer_errors[layer] = c->last[i];
    pthread_mutex_unlock(&c->lock);
}

static void collect(strata *cache, struct worker *workers, uint64_t count, struct replay_result *out)
{
    uint64_t i;
    size_t layer;

    for (i = 0; i < count; i++) {
        if (workers[i].failed != 0 && out->failed == 0)
            out->first = workers[i].first;
        out->failed += workers[i].failed;
    }
    out->total.size = sizeof out->total;
    strata_stats_get(cache, &out->total);
    out->layer_count = strata_layer_count(cache);
    if (out->layer_count > REPLAY_LAYERS)
        out->layer_count = REPLAY_LAYERS;
    for (layer = 0; layer < out->layer_count; layer++) {
        out->layers[layer].size = sizeof out->layers[layer];
        strata_stats_layer(cache, layer, &out->layers[layer]);
    }
}

static int open_cache(strata **out, const char *url, strata_error *err)
{
    strata_policy policy = STRATA_POLICY_INIT;
    strata_options options = STRATA_OPTIONS_INIT;

    policy.ttl_ms = STRATA_FOREVER; /* a replay is about room, not about time */
    options.policy = &policy;
    options.max_key_bytes = TRACE_KEY_MAX;
    options.max_value_bytes = TRACE_VALUE_MAX;
    return strata_open_url(out, url, &options, err);
}

static struct worker *workers_new(struct replay *replay, uint64_t count)
{
    struct worker *workers = calloc((size_t)count, sizeof *workers);
    uint64_t i;

    for (i = 0; workers != NULL && i < count; i++) {
        workers[i].replay = replay;
        workers[i].block = trace_block_new();
        if (workers[i].block == NULL) {
            while (i-- > 0)
                free(workers[i].block);
            free(workers);
            return NULL;
        }
    }
    return workers;
}

int replay_run(struct trace *trace, const struct replay_config *config, struct progress *progress,
               struct replay_result *out, strata_error *err)
{
    struct replay replay = { NULL, trace, config, progress, NULL, 0 };
    struct worker *workers = workers_new(&replay, config->threads);
    struct complaints complaints = { .lock = PTHREAD_MUTEX_INITIALIZER };
    uint64_t listener;
    void *zeros = mmap(NULL, TRACE_VALUE_MAX, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    double began;
    uint64_t i;
    int status;

    memset(out, 0, sizeof *out);
    if (workers == NULL || zeros == MAP_FAILED) {
        status = cli_fail(err, STRATA_ENOMEM, "replay", "out of memory: use fewer threads");
        goto done;
    }
    replay.zeros = zeros;
    status = open_cache(&replay.cache, config->url, err);
    if (status == STRATA_OK)
        status = strata_on(replay.cache, STRATA_EVENT_ERROR, hear, &complaints, &listener);
    if (status != STRATA_OK)
        goto done;
    began = stopwatch_now_s();
    status = run_workers(workers, config->threads, err);
    out->seconds = stopwatch_now_s() - began;
    if (status == STRATA_OK)
        status = trace_status(trace, err);
    collect(replay.cache, workers, config->threads, out);
    collect_complaints(&complaints, out);
    out->cost_us = atomic_load(&replay.cost_us);
done:
    strata_close(replay.cache);
    if (zeros != MAP_FAILED)
        munmap(zeros, TRACE_VALUE_MAX);
    for (i = 0; workers != NULL && i < config->threads; i++)
        free(workers[i].block);
    free(workers);
    return status;
}
