/* visit.c - see visit.h. */
#include "demo/visit.h"

#include <pthread.h>
#include <stdlib.h>

#include "cli/cli_error.h"
#include "cli/human.h"
#include "cli/stopwatch.h"

enum { BLOCK = 16 };

static void view_page(struct visit *v, strata_slice key)
{
    strata_value *page = NULL;
    int status = strata_get_or_load(v->cache, key, origin_load, v->demo->origin, NULL, &page, NULL);

    if (status != STRATA_OK)
        atomic_fetch_add(&v->failed, 1);
    else if (origin_page_price(strata_value_data(page), strata_value_size(page), key) < 0)
        atomic_fetch_add(&v->wrong, 1);
    strata_value_unref(page);
    atomic_fetch_add(&v->served, 1);
}

/* Blocks are dealt whole, in the order of the trace: what is within the limit is served to its end. */
static int one_more(struct visit *v) { return v->limit == 0 || atomic_fetch_add(&v->begun, BLOCK) < v->limit; }

static void *visitors(void *arg)
{
    struct visit *v = arg;
    struct trace_block *mine = trace_block_new();
    const struct trace_block *block;

    for (;;) {
        struct trace_line line;
        uint32_t offset = 0;

        if (mine == NULL || !one_more(v))
            break;
        trace_take(v->trace, mine, &block, NULL);
        if (block == NULL)
            break;
        while (trace_block_next(block, &offset, &line))
            view_page(v, strata_bytes(line.key, line.key_size));
    }
    free(mine);
    atomic_fetch_sub(&v->running, 1);
    return NULL;
}

static void show(const struct visit *v, double began)
{
    strata_stats stats = { STRATA_SIZED(strata_stats) };
    char served[HUMAN_BYTES], queries[HUMAN_BYTES], rate[HUMAN_BYTES];
    double seconds = stopwatch_now_s() - began;

    strata_stats_get(v->cache, &stats);
    demo_live(v->demo, "%s pages served, %.1f %% without a query, %s database queries, %s pages/s",
              human_count(served, atomic_load(&v->served)), stats.hit_rate * 100, human_count(queries, stats.loads),
              human_count(rate, seconds > 0 ? (uint64_t)((double)stats.requests / seconds) : 0));
}

/* All threads to the end; the seconds it took, or < 0. */
static double run(struct visit *v)
{
    pthread_t threads[VISITORS];
    double began = stopwatch_now_s();
    int started = 0, i;

    atomic_store(&v->running, VISITORS);
    while (started < VISITORS && pthread_create(&threads[started], NULL, visitors, v) == 0)
        started++;
    while (started == VISITORS && atomic_load(&v->running) > 0) {
        demo_sleep_ms(v->demo->quick ? 5 : 50);
        show(v, began);
    }
    for (i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    demo_live_end(v->demo);
    return started == VISITORS ? stopwatch_now_s() - began : -1;
}

int visit(struct visit *v, double *out_seconds, strata_error *err)
{
    struct trace_options options = { 0, 0 };
    int status = trace_open(&v->trace, v->demo->trace, &options, 0, err);

    if (status == STRATA_OK) {
        trace_set_block_requests(v->trace, BLOCK);
        *out_seconds = run(v);
        status = trace_status(v->trace, err);
        if (*out_seconds < 0)
            status = cli_fail(err, STRATA_EIO, "demo", "no more threads can be started: end some programs");
    }
    trace_close(v->trace);
    v->trace = NULL;
    return status;
}
