/* act_restart.c - act 2: the shop's program is restarted, with a disk layer under its memory, and without one. */
#include <inttypes.h>

#include "cli/human.h"
#include "cli/stopwatch.h"
#include "demo/demo.h"
#include "demo/visit.h"

enum { DELAY_MS = 2, MEMORY_PERCENT = 15, REQUESTS = 10000, QUICK_REQUESTS = 1600, QUICK_BEFORE = 3200 };

/* The first page views after a restart. */
struct morning {
    double seconds;
    strata_stats stats;
    uint64_t bad; /* pages that failed, or were another product's */
};

static int open_shop(struct demo *demo, int with_disk, strata **out, strata_error *err)
{
    char url[DEMO_PATH + 96];
    int used = snprintf(url, sizeof url, "memory:?max_entries=%" PRIu64, demo->products * MEMORY_PERCENT / 100);

    if (with_disk)
        snprintf(url + used, sizeof url - (size_t)used, "|disk:%s?max_bytes=%dmb", demo->disk, (int)DEMO_DISK_MB);
    return strata_open_url(out, url, NULL, err);
}

/* The day before: fills the disk. */
static int before(struct demo *demo, strata_error *err)
{
    struct visit v = { .demo = demo, .limit = demo->quick ? QUICK_BEFORE : 0 };
    strata_layer_stats disk = { STRATA_SIZED(strata_layer_stats) };
    char pages[HUMAN_BYTES], bytes[HUMAN_BYTES];
    double seconds, began;
    int status = open_shop(demo, 1, &v.cache, err);

    if (status == STRATA_OK)
        status = visit(&v, &seconds, err);
    began = stopwatch_now_s();
    if (status == STRATA_OK)
        strata_stats_layer(v.cache, 1, &disk);
    strata_close(v.cache);
    if (status == STRATA_OK)
        demo_say("A day of page views later %s pages are on disk (%s); the cache is closed in %.0f ms.",
                 human_count(pages, disk.entries), human_bytes(bytes, disk.bytes), (stopwatch_now_s() - began) * 1e3);
    return status;
}

static int after(struct demo *demo, int with_disk, struct morning *out, strata_error *err)
{
    struct visit v = { .demo = demo, .limit = demo->quick ? QUICK_REQUESTS : REQUESTS };
    char requests[HUMAN_BYTES], loads[HUMAN_BYTES];
    double began = stopwatch_now_s(), opened;
    int status = open_shop(demo, with_disk, &v.cache, err);

    opened = stopwatch_now_s() - began;
    if (status == STRATA_OK)
        status = visit(&v, &out->seconds, err);
    if (status == STRATA_OK) {
        out->stats = (strata_stats){ STRATA_SIZED(strata_stats) };
        strata_stats_get(v.cache, &out->stats);
        out->bad = atomic_load(&v.failed) + atomic_load(&v.wrong);
        demo_say("%s: opened in %.0f ms; the first %s page views took %.2f s and %s queries.",
                 with_disk ? "Restarted with the disk" : "Restarted with memory alone", opened * 1e3,
                 human_count(requests, out->stats.requests), out->seconds, human_count(loads, out->stats.loads));
    }
    strata_close(v.cache);
    return status;
}

static void add_rows(struct demo *demo, const struct morning *with, const struct morning *without)
{
    /* One query a page view, as long as those of the memory alone were. */
    double none = (double)with->stats.requests * without->stats.load_latency.mean_us / 1e6 / VISITORS;
    char what[64], a[HUMAN_BYTES], b[HUMAN_BYTES];

    demo_row(demo, NULL, NULL, NULL);
    snprintf(what, sizeof what, "restart, then %s page views", human_count(a, with->stats.requests));
    demo_row(demo, what, human_us(a, with->seconds * 1e6), human_us(b, none * 1e6));
    demo_row(demo, "  pages served without a query", human_share(a, with->stats.hits, with->stats.requests), "0 %");
    demo_row(demo, "the same without the disk layer", human_us(a, without->seconds * 1e6), "");
    demo_row(demo, "  pages served without a query", human_share(a, without->stats.hits, without->stats.requests), "");
}

int act_restart(struct demo *demo, strata_error *err)
{
    struct morning with, without;
    int status;

    demo_say("The same shop with a disk layer of %d MB under its memory.", (int)DEMO_DISK_MB);
    origin_set_delay_ms(demo->origin, DELAY_MS);
    status = before(demo, err);
    if (status == STRATA_OK)
        status = after(demo, 1, &with, err);
    if (status == STRATA_OK)
        status = after(demo, 0, &without, err);
    if (status != STRATA_OK)
        return status;
    demo_promise(demo, with.bad + without.bad == 0, "every page view got the right page");
    demo_promise(demo, with.stats.loads == 0, "after the restart the disk answers at once: no query for what was known");
    add_rows(demo, &with, &without);
    return STRATA_OK;
}
