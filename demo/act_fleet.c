/* act_fleet.c - --redis, act 1: four processes of the shop share one Redis. */
#include <inttypes.h>

#include "cli/human.h"
#include "cli/stopwatch.h"
#include "demo/demo.h"
#include "demo/shops.h"

enum { CALLERS = 1000, SLOW_MS = 50, DELAY_MS = 2, COLD_PAGE = 4711, FIRST_PAGE = 100, PAGES = 50, CHANGED_PAGE = 300 };

static void stampede(struct demo *demo, struct shops *shops)
{
    struct shop_order order = { .what = SHOP_CROWD, .count = CALLERS, .delay_ms = SLOW_MS, .first = COLD_PAGE };
    uint64_t queries = 0, served = 0;
    double began = stopwatch_now_s(), last = began;
    char a[HUMAN_BYTES], b[HUMAN_BYTES];
    int i;

    for (i = 0; i < SHOPS; i++)
        shops_tell(shops, i, &order);
    for (i = 0; i < SHOPS; i++) {
        struct shop_answer answer = shops_hear(shops, i);

        queries += answer.queries;
        served += answer.views - answer.failed;
        last = answer.done_s > last ? answer.done_s : last;
    }
    demo_say("%d processes, %s callers each, one cold page: %" PRIu64 " database quer%s; everyone had it after %.0f ms",
             (int)SHOPS, human_count(a, CALLERS), queries, queries == 1 ? "y" : "ies", (last - began) * 1e3);
    demo_promise(demo, queries == 1, "one cold page is one query, in the whole fleet");
    demo_promise(demo, served == (uint64_t)SHOPS * CALLERS, "all callers were served (%" PRIu64 " of %d)", served,
                 SHOPS * CALLERS);
    demo_row(demo, "4 processes, 1,000 callers each, one cold page", "", "");
    demo_row(demo, "  database queries", human_count(a, queries), human_count(b, (uint64_t)SHOPS * CALLERS));
    demo_row(demo, "  everyone has the page after", human_us(a, (last - began) * 1e6),
             human_us(b, (double)CALLERS * SLOW_MS * 1e3 / ORIGIN_CONNECTIONS));
}

static void share(struct demo *demo, struct shops *shops)
{
    struct shop_order order = { .what = SHOP_VIEW, .count = PAGES, .delay_ms = DELAY_MS, .first = FIRST_PAGE };
    struct shop_answer first = shops_ask(shops, 0, &order), other = { 0 };
    uint64_t queries = 0, failed = first.failed;
    char a[HUMAN_BYTES], b[HUMAN_BYTES], what[64];
    int i;

    for (i = 1; i < SHOPS; i++) {
        other = shops_ask(shops, i, &order);
        queries += other.queries;
        failed += other.failed;
    }
    demo_say("Process 1 views %d pages: %" PRIu64 " queries.  Then the other three view them: %" PRIu64 " queries.",
             (int)PAGES, first.queries, queries);
    demo_promise(demo, queries == 0 && failed == 0, "what one process loaded, the others find");
    demo_row(demo, NULL, NULL, NULL);
    snprintf(what, sizeof what, "%d pages that another process loaded", (int)PAGES);
    demo_row(demo, what, "", "");
    demo_row(demo, "  database queries", human_count(a, queries), human_count(b, (uint64_t)PAGES * (SHOPS - 1)));
    demo_row(demo, "  time for a page (median)", human_us(a, other.p50_us), human_us(b, first.p50_us));
}

/* The others have not held this page: a memory that has keeps it until its time is over. */
static int change(struct demo *demo, struct shops *shops, strata_error *err)
{
    struct shop_order view = { .what = SHOP_VIEW, .count = 1, .delay_ms = DELAY_MS, .first = CHANGED_PAGE };
    struct shop_order forget = { .what = SHOP_DELETE, .first = CHANGED_PAGE };
    struct shop_answer before = shops_ask(shops, 0, &view), deleted, after;
    int status = origin_reprice(demo->origin, CHANGED_PAGE, err);

    if (status != STRATA_OK)
        return status;
    deleted = shops_ask(shops, 0, &forget);
    after = shops_ask(shops, 1, &view);
    demo_say(
        "A price changes in the database, and process 1 deletes its page; process 2, whose memory lacks it, asks.");
    demo_promise(demo, deleted.status == STRATA_OK && before.cents >= 0 && after.cents == before.cents + 100,
                 "a page that one process deleted is found no more in Redis: it is loaded anew");
    return STRATA_OK;
}

int act_fleet(struct demo *demo, strata_error *err)
{
    int status = shops_start(demo->shops, demo->folder, err);

    if (status != STRATA_OK)
        return status;
    demo_say("A redis-server of the demo's own on port %u, and %d processes: memory over Redis over the database.",
             (unsigned)demo->shops->redis.port, (int)SHOPS);
    stampede(demo, demo->shops);
    share(demo, demo->shops);
    return change(demo, demo->shops, err);
}
