/* act_replay.c - act 1: a recorded day of a web shop, served in front of its database by several threads. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "cli/cli_error.h"
#include "cli/human.h"
#include "cli/stopwatch.h"
#include "cli/trace.h"
#include "demo/demo.h"

enum { THREADS = 8, DELAY_MS = 2, MEMORY_PERCENT = 15, QUICK_REQUESTS = 4000 };

struct visit {
    const struct demo *demo;
    strata *cache;
    struct trace *trace;
    uint64_t limit; /* requests in all; 0: the whole trace */
    _Atomic(uint64_t) served;
    _Atomic(uint64_t) failed;
    _Atomic(uint64_t) wrong; /* pages of another product */
    _Atomic(int) running;    /* threads */
};

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

static void *visitors(void *arg)
{
    struct visit *v = arg;
    struct trace_block *mine = trace_block_new();
    const struct trace_block *block;

    for (;;) {
        struct trace_line line;
        uint32_t offset = 0;

        if (mine == NULL || (v->limit != 0 && atomic_load(&v->served) >= v->limit))
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
    demo_live(v->demo, "%s pages served, %.1f %% from memory, %s database queries, %s pages/s",
              human_count(served, atomic_load(&v->served)), stats.hit_rate * 100, human_count(queries, stats.loads),
              human_count(rate, seconds > 0 ? (uint64_t)((double)stats.requests / seconds) : 0));
}

/* Run all threads to the end of the trace; returns the seconds it took, or < 0. */
static double run(struct visit *v)
{
    pthread_t threads[THREADS];
    double began = stopwatch_now_s();
    int started = 0, i;

    atomic_store(&v->running, THREADS);
    while (started < THREADS && pthread_create(&threads[started], NULL, visitors, v) == 0)
        started++;
    while (started == THREADS && atomic_load(&v->running) > 0) {
        demo_sleep_ms(v->demo->quick ? 5 : 50);
        show(v, began);
    }
    for (i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    demo_live_end(v->demo);
    return started == THREADS ? stopwatch_now_s() - began : -1;
}

static void add_rows(struct demo *demo, const strata_stats *stats, const strata_layer_stats *memory, double seconds)
{
    const strata_latency *load = &stats->load_latency;
    double without = (double)stats->requests * load->mean_us / 1e6 / THREADS;
    char what[64], a[HUMAN_BYTES], b[HUMAN_BYTES];

    snprintf(what, sizeof what, "time for %s page views", human_count(a, stats->requests));
    demo_row(demo, what, human_us(a, seconds * 1e6), human_us(b, without * 1e6));
    demo_row(demo, "  database queries", human_count(a, stats->loads), human_count(b, stats->requests));
    demo_row(demo, "  pages served from memory", human_share(a, stats->hits, stats->requests), "0 %");
    demo_row(demo, "  time for a page (median)", memory->latency.count != 0 ? human_us(a, memory->latency.p50_us) : "-",
             human_us(b, load->p50_us));
}

static void judge(struct demo *demo, struct visit *v, double seconds)
{
    strata_stats stats = { STRATA_SIZED(strata_stats) };
    strata_layer_stats memory = { STRATA_SIZED(strata_layer_stats) };
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES];

    strata_stats_get(v->cache, &stats);
    strata_stats_layer(v->cache, 0, &memory);
    demo_say("%s pages in %.1f s; %s queries, %s waited for a query that was under way", human_count(a, stats.requests),
             seconds, human_count(b, stats.loads), human_count(c, stats.joins));
    demo_promise(demo, atomic_load(&v->failed) == 0 && atomic_load(&v->wrong) == 0,
                 "every page view got the right page (%" PRIu64 " failed, %" PRIu64 " wrong)", atomic_load(&v->failed),
                 atomic_load(&v->wrong));
    demo_promise(demo, stats.loads < stats.requests / 2, "the database saw less than half of the page views");
    add_rows(demo, &stats, &memory, seconds);
}

int act_replay(struct demo *demo, strata_error *err)
{
    struct trace_options options = { 0, 0 };
    struct visit v = { demo, NULL, NULL, demo->quick ? QUICK_REQUESTS : 0, 0, 0, 0, 0 };
    char url[64], all[HUMAN_BYTES], held[HUMAN_BYTES];
    double seconds;
    int status;

    demo_say("A recorded stream of page views, %d at a time, in front of a SQLite database with %s products.",
             (int)THREADS, human_count(all, demo->products));
    demo_say("A query takes %d ms; memory holds %s pages (%d %%).", (int)DELAY_MS,
             human_count(held, demo->products * MEMORY_PERCENT / 100), (int)MEMORY_PERCENT);
    origin_set_delay_ms(demo->origin, DELAY_MS);
    snprintf(url, sizeof url, "memory:?max_entries=%" PRIu64, demo->products * MEMORY_PERCENT / 100);
    status = strata_open_url(&v.cache, url, NULL, err);
    if (status == STRATA_OK)
        status = trace_open(&v.trace, demo->trace, &options, 0, err);
    if (status == STRATA_OK) {
        trace_set_block_requests(v.trace, 16);
        seconds = run(&v);
        status = trace_status(v.trace, err);
        if (seconds < 0)
            status = cli_fail(err, STRATA_EIO, "demo", "no more threads can be started: end some programs");
        else if (status == STRATA_OK)
            judge(demo, &v, seconds);
    }
    trace_close(v.trace);
    strata_close(v.cache);
    return status;
}
