/* act_redis_stops.c - --redis, act 2: the Redis that the fleet shares stands still, and comes back. */
#include <inttypes.h>

#include "cli/human.h"
#include "cli/stopwatch.h"
#include "demo/demo.h"
#include "demo/shops.h"

/* The pages from WARM_PAGE on are in every process's memory; the others are seen here for the first time. */
enum { WARM_PAGE = 100, WARM_PAGES = 50, GONE_PAGE = 700, COLD_PAGE = 800, OPENING = 12, COLD_PAGES = 40 };
enum {
    DELAY_MS = 2,
    SOFT_TIMEOUT_MS = 50,
    BEFORE_MS = 200,
    STOPPED_MS = 3000,
    QUICK_STOPPED_MS = 1000,
    REPAIR_MS = 10000
};

struct outage {
    struct demo *demo;
    struct shops *shops;
    int64_t old_cents;
    double well_us, stopped_us; /* a page from memory */
    double first_us, cold_us;   /* a cold page: the first one, and once Redis is left alone */
    double back_s;              /* < 0: never */
    uint64_t views, failed;
};

static struct shop_answer view(struct outage *o, int shop, uint64_t page, uint32_t count)
{
    struct shop_order order = { .what = SHOP_VIEW, .count = count, .delay_ms = DELAY_MS, .first = page };
    struct shop_answer answer = shops_ask(o->shops, shop, &order);

    o->failed += answer.failed;
    return answer;
}

static struct shop_order live_order(uint32_t ms)
{
    return (struct shop_order){
        .what = SHOP_LIVE, .count = WARM_PAGES, .delay_ms = DELAY_MS, .first = WARM_PAGE, .ms = ms
    };
}

static void add(struct outage *o, const struct shop_answer *answer)
{
    o->views += answer->views;
    o->failed += answer->failed;
    o->stopped_us = answer->p50_us > o->stopped_us ? answer->p50_us : o->stopped_us;
}

/* Processes 2 and 3 show what they have; process 4 wants what nobody has; process 1 deletes. */
static void live_through(struct outage *o)
{
    struct shop_order live = live_order(o->demo->quick ? QUICK_STOPPED_MS : STOPPED_MS);
    struct shop_order forget = { .what = SHOP_DELETE, .first = GONE_PAGE };
    struct shop_answer deleted, answer;
    char a[HUMAN_BYTES], b[HUMAN_BYTES];

    shops_tell(o->shops, 1, &live);
    shops_tell(o->shops, 2, &live);
    deleted = shops_ask(o->shops, 0, &forget);
    o->first_us = view(o, 3, COLD_PAGE, 1).p50_us;
    (void)view(o, 3, COLD_PAGE + 1, OPENING);
    answer = view(o, 3, COLD_PAGE + 1 + OPENING, COLD_PAGES);
    o->cold_us = answer.p50_us;
    demo_promise(o->demo, deleted.status == STRATA_PENDING && deleted.queued_deletes > 0,
                 "a delete that Redis cannot be told is kept, and said to be pending");
    demo_promise(o->demo, answer.breaker != STRATA_BREAKER_CLOSED, "after some failures in a row Redis is left alone");
    answer = shops_hear(o->shops, 1);
    add(o, &answer);
    answer = shops_hear(o->shops, 2);
    add(o, &answer);
    demo_say("A cold page: %s at first, %s from then on; its query takes %d ms.", human_us(a, o->first_us),
             human_us(b, o->cold_us), (int)DELAY_MS);
    demo_say("%s page views from memory meanwhile, %s each (%s before).", human_count(a, o->views),
             human_us(b, o->stopped_us), human_us((char[HUMAN_BYTES]){ 0 }, o->well_us));
    demo_promise(o->demo, o->failed == 0, "no page view failed while Redis stood still (%" PRIu64 ")", o->failed);
}

/* Until no process owes Redis anything, and all of them use it again. */
static double wait_for_repair(struct outage *o)
{
    struct shop_order stats = { .what = SHOP_STATS };
    double began = stopwatch_now_s();

    for (;;) {
        int well = 0, i;

        for (i = 0; i < SHOPS; i++) {
            struct shop_answer answer = shops_ask(o->shops, i, &stats);

            well += answer.breaker == STRATA_BREAKER_CLOSED && answer.queued_deletes == 0;
        }
        if (well == SHOPS)
            return stopwatch_now_s() - began;
        if (stopwatch_now_s() - began > REPAIR_MS / 1000.0)
            return -1;
        demo_sleep_ms(5);
    }
}

static void judge(struct outage *o)
{
    struct shop_answer page = view(o, 2, GONE_PAGE, 1);
    char a[HUMAN_BYTES], b[HUMAN_BYTES];

    if (o->back_s >= 0)
        demo_say("Redis goes on, and after %.0f ms every process uses it again.", o->back_s * 1e3);
    demo_promise(o->demo, o->back_s >= 0, "Redis is used again by itself, once it is told what it missed");
    demo_promise(o->demo, page.cents == o->old_cents + 100,
                 "the page that was deleted meanwhile is gone there: another process gets the new price");
    demo_row(o->demo, NULL, NULL, NULL);
    demo_row(o->demo, "Redis stands still", "", "");
    demo_row(o->demo, "  failed page views", human_count(a, o->failed), "");
    demo_row(o->demo, "  a page from memory (median)", human_us(a, o->stopped_us), "");
    demo_row(o->demo, "  the first cold page", human_us(a, o->first_us), human_us(b, DELAY_MS * 1e3));
    demo_row(o->demo, "  a cold page from then on (median)", human_us(a, o->cold_us), human_us(b, DELAY_MS * 1e3));
    demo_row(o->demo, "  used again after it goes on within", o->back_s >= 0 ? human_us(a, o->back_s * 1e6) : "never",
             "");
}

int act_redis_stops(struct demo *demo, strata_error *err)
{
    struct outage o = { .demo = demo, .shops = demo->shops };
    struct shop_order live = live_order(BEFORE_MS);
    int status;

    demo_say("Every process has %d pages in memory.  A get waits for Redis %d ms at most, then goes on without it.",
             (int)WARM_PAGES, (int)SOFT_TIMEOUT_MS);
    o.well_us = shops_ask(o.shops, 1, &live).p50_us;
    o.old_cents = view(&o, 0, GONE_PAGE, 1).cents;
    status = origin_reprice(demo->origin, GONE_PAGE, err);
    if (status != STRATA_OK)
        return status;
    demo_redis_pause(&o.shops->redis);
    demo_say("Redis stands still now (SIGSTOP): it takes connections, and answers nothing.  A price changes.");
    live_through(&o);
    demo_redis_resume(&o.shops->redis);
    o.back_s = wait_for_repair(&o);
    judge(&o);
    return STRATA_OK;
}
