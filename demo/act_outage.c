/* act_outage.c - act 4: the database fails, and the shop stays open; then it is repaired. */
#include <inttypes.h>

#include "cli/cli_error.h"
#include "cli/human.h"
#include "cli/stopwatch.h"
#include "demo/demo.h"

enum { PAGES = 50, TTL_MS = 300, RETRY_MS = 200, OUTAGE_MS = 2500, QUICK_OUTAGE_MS = 700, REPAIR_MS = 10000 };

struct shop {
    struct demo *demo;
    strata *cache;
    int64_t cents[PAGES]; /* as they were before the outage */
    uint64_t fresh, stale, failed, wrong;
};

static strata_slice page_key(char *room, size_t size, int page)
{
    snprintf(room, size, "%d", page);
    return strata_str(room);
}

/* View a page; *out_cents is its price, -1 where there is none. */
static int view(struct shop *shop, int page, int64_t *out_cents, strata_error *err)
{
    char room[16];
    strata_slice key = page_key(room, sizeof room, page);
    strata_value *value = NULL;
    int status = strata_get_or_load(shop->cache, key, origin_load, shop->demo->origin, NULL, &value, err);

    *out_cents = value != NULL ? origin_page_price(strata_value_data(value), strata_value_size(value), key) : -1;
    strata_value_unref(value);
    return status;
}

static int fill(struct shop *shop, strata_error *err)
{
    int page, status = STRATA_OK;

    for (page = 0; status == STRATA_OK && page < PAGES; page++)
        status = view(shop, page, &shop->cents[page], err);
    return status;
}

/* Visitors go on while the database is down. */
static void live_through(struct shop *shop, int ms)
{
    double end = stopwatch_now_s() + ms / 1000.0;
    int page = 0;

    while (stopwatch_now_s() < end) {
        int64_t cents;
        int status = view(shop, page, &cents, NULL);

        if (status == STRATA_OK)
            shop->fresh++;
        else if (status == STRATA_STALE)
            shop->stale++;
        else
            shop->failed++;
        if (status >= 0 && cents != shop->cents[page])
            shop->wrong++;
        page = (page + 1) % PAGES;
        demo_live(shop->demo, "database down: %" PRIu64 " pages served fresh, %" PRIu64 " stale, %" PRIu64 " failed",
                  shop->fresh, shop->stale, shop->failed);
        demo_sleep_ms(1);
    }
    demo_live_end(shop->demo);
}

/* Until every page shows its new price and is fresh; returns the seconds it took, or < 0 for too long. */
static double wait_for_repair(struct shop *shop)
{
    double began = stopwatch_now_s();
    int fresh = 0;

    while (fresh < PAGES) {
        int64_t cents;
        int page;

        if (stopwatch_now_s() - began > REPAIR_MS / 1000.0)
            return -1;
        fresh = 0;
        for (page = 0; page < PAGES; page++)
            fresh += view(shop, page, &cents, NULL) == STRATA_OK && cents == shop->cents[page] + 100;
        demo_live(shop->demo, "repaired: %d of %d pages fresh again, with their new prices", fresh, (int)PAGES);
        demo_sleep_ms(5);
    }
    demo_live_end(shop->demo);
    return stopwatch_now_s() - began;
}

static void judge_outage(struct shop *shop, int outage_ms, int unknown)
{
    uint64_t views = shop->fresh + shop->stale + shop->failed;
    char what[64], a[HUMAN_BYTES], b[HUMAN_BYTES];

    demo_say("%.1f s without a database: %s page views, %s of them stale, %" PRIu64 " failed", outage_ms / 1000.0,
             human_count(a, views), human_count(b, shop->stale), shop->failed);
    demo_promise(shop->demo, shop->failed == 0 && shop->wrong == 0 && shop->stale > 0,
                 "known pages were served through the outage, expired or not");
    demo_promise(shop->demo, unknown < 0, "a page that was never seen says honestly that it cannot be had");
    demo_row(shop->demo, NULL, NULL, NULL);
    snprintf(what, sizeof what, "database down for %.1f s, %s page views", outage_ms / 1000.0, human_count(a, views));
    demo_row(shop->demo, what, "", "");
    demo_row(shop->demo, "  failed page views", human_count(a, shop->failed), human_count(b, views));
}

static void judge_repair(struct shop *shop, double seconds)
{
    char a[HUMAN_BYTES];

    if (seconds >= 0)
        demo_say("all pages were fresh again %.0f ms after the repair", seconds * 1e3);
    demo_promise(shop->demo, seconds >= 0, "after the repair every page is fresh again, with its new price");
    demo_row(shop->demo, "  fresh again after the repair within", seconds >= 0 ? human_us(a, seconds * 1e6) : "never",
             "-");
}

static int run(struct shop *shop, strata_error *err)
{
    int outage_ms = shop->demo->quick ? QUICK_OUTAGE_MS : OUTAGE_MS;
    strata_error why = STRATA_ERROR_INIT;
    int64_t cents;
    int unknown, status = fill(shop, err);

    if (status == STRATA_OK)
        status = origin_break(shop->demo->origin, err);
    if (status != STRATA_OK)
        return status;
    demo_say("The database's table is gone: every query fails from now on.");
    live_through(shop, outage_ms);
    unknown = view(shop, PAGES, &cents, &why);
    demo_say("A page that was never loaded answers: \"%s\"", unknown < 0 ? why.message : "(a page)");
    judge_outage(shop, outage_ms, unknown);
    status = origin_heal(shop->demo->origin, err);
    if (status != STRATA_OK)
        return status;
    demo_say("The table is back, and everything costs a euro more.");
    judge_repair(shop, wait_for_repair(shop));
    return STRATA_OK;
}

int act_outage(struct demo *demo, strata_error *err)
{
    struct shop shop = { .demo = demo };
    strata_policy policy = STRATA_POLICY_INIT;
    strata_options options = STRATA_OPTIONS_INIT;
    int status;

    demo_say(
        "Pages are fresh for %d ms, and may be served expired for a minute if the database fails (stale-if-error).",
        (int)TTL_MS);
    origin_set_delay_ms(demo->origin, 1);
    policy.ttl_ms = TTL_MS;
    policy.stale_if_error_ms = 60 * 1000;
    policy.retry_ms = RETRY_MS;
    options.policy = &policy;
    status = strata_open_url(&shop.cache, "memory:", &options, err);
    if (status == STRATA_OK)
        status = run(&shop, err);
    strata_close(shop.cache);
    return status;
}
