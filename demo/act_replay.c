/* act_replay.c - act 1: a recorded day of a web shop, served in front of its database by several threads. */
#include <inttypes.h>

#include "cli/human.h"
#include "demo/demo.h"
#include "demo/visit.h"

enum { DELAY_MS = 2, MEMORY_PERCENT = 15, QUICK_REQUESTS = 4000 };

static void add_rows(struct demo *demo, const strata_stats *stats, const strata_layer_stats *memory, double seconds)
{
    const strata_latency *load = &stats->load_latency;
    double without = (double)stats->requests * load->mean_us / 1e6 / VISITORS;
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
    struct visit v = { .demo = demo, .limit = demo->quick ? QUICK_REQUESTS : 0 };
    char url[64], all[HUMAN_BYTES], held[HUMAN_BYTES];
    double seconds;
    int status;

    demo_say("A recorded stream of page views, %d at a time, in front of a SQLite database with %s products.",
             (int)VISITORS, human_count(all, demo->products));
    demo_say("A query takes %d ms; memory holds %s pages (%d %%).", (int)DELAY_MS,
             human_count(held, demo->products * MEMORY_PERCENT / 100), (int)MEMORY_PERCENT);
    origin_set_delay_ms(demo->origin, DELAY_MS);
    snprintf(url, sizeof url, "memory:?max_entries=%" PRIu64, demo->products * MEMORY_PERCENT / 100);
    status = strata_open_url(&v.cache, url, NULL, err);
    if (status == STRATA_OK)
        status = visit(&v, &seconds, err);
    if (status == STRATA_OK)
        judge(demo, &v, seconds);
    strata_close(v.cache);
    return status;
}
