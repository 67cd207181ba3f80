/* act_stampede.c - act 3: everybody wants the same page at the same moment, and it is not in the cache. */
#include <inttypes.h>

#include "cli/cli_error.h"
#include "cli/human.h"
#include "cli/stopwatch.h"
#include "demo/demo.h"

enum { CALLERS = 10000, DELAY_MS = 50, PATIENCE_MS = 20000 };

struct crowd {
    strata_slice key;
    int served;
    int answered;
};

static void answer(int status, strata_value *page, const strata_error *err, void *ctx)
{
    struct crowd *crowd = ctx;

    (void)err;
    crowd->answered++;
    if (status == STRATA_OK && origin_page_price(strata_value_data(page), strata_value_size(page), crowd->key) >= 0)
        crowd->served++;
    strata_value_unref(page);
}

static int call_all(struct demo *demo, strata *cache, strata_queue *queue, struct crowd *crowd, strata_error *err)
{
    double deadline = stopwatch_now_s() + PATIENCE_MS / 1000.0;
    int i;

    for (i = 0; i < CALLERS; i++) {
        int status = strata_get_or_load_async(cache, crowd->key, origin_load, demo->origin, NULL, queue, answer, crowd,
                                              err);

        if (status != STRATA_PENDING)
            return status;
    }
    while (crowd->answered < CALLERS && stopwatch_now_s() < deadline) {
        strata_queue_wait(queue, 100);
        strata_queue_run(queue, 0);
    }
    return STRATA_OK;
}

static void judge(struct demo *demo, const struct crowd *crowd, uint64_t queries, double seconds)
{
    char a[HUMAN_BYTES], b[HUMAN_BYTES];

    demo_say("%s callers, %" PRIu64 " database quer%s; everyone had the page after %.0f ms", human_count(a, CALLERS),
             queries, queries == 1 ? "y" : "ies", seconds * 1e3);
    demo_promise(demo, queries == 1, "one cold page is one query, however many ask for it");
    demo_promise(demo, crowd->served == CALLERS, "all of them were served (%d of %d)", crowd->served, (int)CALLERS);
    demo_row(demo, NULL, NULL, NULL);
    demo_row(demo, "10,000 callers at one cold page", "", "");
    demo_row(demo, "  database queries", human_count(a, queries), human_count(b, CALLERS));
    demo_row(demo, "  everyone has the page after", human_us(a, seconds * 1e6),
             human_us(b, (double)CALLERS * DELAY_MS * 1e3 / ORIGIN_CONNECTIONS));
}

int act_stampede(struct demo *demo, strata_error *err)
{
    struct crowd crowd = { strata_str("4711"), 0, 0 };
    strata_queue *queue = NULL;
    strata *cache = NULL;
    uint64_t queries = origin_queries(demo->origin);
    double began;
    int status;

    demo_say("10,000 asynchronous callers ask for one page that is not in the cache; its query takes %d ms.",
             (int)DELAY_MS);
    origin_set_delay_ms(demo->origin, DELAY_MS);
    status = strata_open_url(&cache, "memory:", NULL, err);
    if (status == STRATA_OK)
        status = strata_queue_open(&queue, err);
    if (status == STRATA_OK) {
        began = stopwatch_now_s();
        status = call_all(demo, cache, queue, &crowd, err);
        if (status == STRATA_OK)
            judge(demo, &crowd, origin_queries(demo->origin) - queries, stopwatch_now_s() - began);
    }
    strata_close(cache);
    if (queue != NULL)
        strata_queue_run(queue, 0); /* what close had to turn away, if anything */
    strata_queue_close(queue);
    return status;
}
