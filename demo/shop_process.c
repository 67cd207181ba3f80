/* shop_process.c - one process of the fleet: a cache over the shared Redis, in front of the shared database; see shops.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/stopwatch.h"
#include "demo/demo.h"
#include "demo/shops.h"

enum { SAMPLES = 65536 };

struct shop {
    struct origin *origin;
    strata *cache;
    strata_queue *queue;
    struct shop_answer answer;
    uint32_t left; /* callers that wait */
    double us[SAMPLES];
    size_t samples;
};

static strata_slice page_key(char room[24], uint64_t page)
{
    return strata_bytes(room, (size_t)snprintf(room, 24, "%llu", (unsigned long long)page));
}

static void note(struct shop *shop, int status, strata_value *page, strata_slice key, const strata_error *err)
{
    struct shop_answer *a = &shop->answer;

    a->views++;
    a->cents = page != NULL ? origin_page_price(strata_value_data(page), strata_value_size(page), key) : -1;
    if (status < 0 || a->cents < 0) {
        a->failed++;
        a->status = status < 0 ? status : STRATA_EIO;
        if (err != NULL)
            snprintf(a->words, sizeof a->words, "%.190s", err->message);
    }
    strata_value_unref(page);
}

struct caller {
    struct shop *shop;
    strata_slice key;
};

static void arrived(int status, strata_value *page, const strata_error *err, void *ctx)
{
    struct caller *all = ctx;

    note(all->shop, status, page, all->key, err);
    all->shop->left--;
}

static void crowd(struct shop *shop, const struct shop_order *order)
{
    char room[24];
    strata_error err = STRATA_ERROR_INIT;
    struct caller all = { shop, page_key(room, order->first) };
    uint32_t i;

    for (i = 0; i < order->count; i++) {
        int status = strata_get_or_load_async(shop->cache, all.key, origin_load, shop->origin, NULL, shop->queue,
                                              arrived, &all, &err);

        if (status == STRATA_PENDING)
            shop->left++;
        else
            note(shop, status, NULL, all.key, &err);
    }
    while (shop->left > 0) {
        strata_queue_wait(shop->queue, -1);
        strata_queue_run(shop->queue, 0);
    }
}

static void view(struct shop *shop, uint64_t number)
{
    char room[24];
    strata_error err = STRATA_ERROR_INIT;
    strata_slice key = page_key(room, number);
    strata_value *page = NULL;
    double began = stopwatch_now_s();
    int status = strata_get_or_load(shop->cache, key, origin_load, shop->origin, NULL, &page, &err);

    if (shop->samples < SAMPLES)
        shop->us[shop->samples++] = (stopwatch_now_s() - began) * 1e6;
    note(shop, status, page, key, &err);
}

static void view_all(struct shop *shop, const struct shop_order *order)
{
    uint32_t i;

    for (i = 0; i < order->count; i++)
        view(shop, order->first + i);
}

static void live(struct shop *shop, const struct shop_order *order)
{
    double end = stopwatch_now_s() + order->ms / 1000.0;

    while (stopwatch_now_s() < end)
        view_all(shop, order);
}

static void tell_stats(struct shop *shop)
{
    strata_layer_stats stats = STRATA_LAYER_STATS_INIT;

    strata_stats_layer(shop->cache, 1, &stats);
    shop->answer.breaker = stats.breaker;
    shop->answer.queued_deletes = stats.queued_deletes;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void obey(struct shop *shop, const struct shop_order *order)
{
    char room[24];
    strata_error err = STRATA_ERROR_INIT;
    uint64_t queries = origin_queries(shop->origin);

    memset(&shop->answer, 0, sizeof shop->answer);
    shop->samples = 0;
    origin_set_delay_ms(shop->origin, order->delay_ms);
    switch (order->what) {
    case SHOP_CROWD: crowd(shop, order); break;
    case SHOP_VIEW: view_all(shop, order); break;
    case SHOP_LIVE: live(shop, order); break;
    case SHOP_DELETE:
        shop->answer.status = strata_delete(shop->cache, page_key(room, order->first), &err);
        snprintf(shop->answer.words, sizeof shop->answer.words, "%.190s", err.message);
        break;
    case SHOP_STATS: break;
    }
    tell_stats(shop);
    shop->answer.done_s = stopwatch_now_s();
    shop->answer.queries = origin_queries(shop->origin) - queries;
    qsort(shop->us, shop->samples, sizeof shop->us[0], by_size);
    if (shop->samples > 0) {
        shop->answer.p50_us = shop->us[shop->samples / 2];
        shop->answer.max_us = shop->us[shop->samples - 1];
    }
}

int shop_process(const char *folder, const char *url)
{
    static struct shop shop;
    struct shop_order order;
    strata_error err = STRATA_ERROR_INIT;
    int status = origin_join(&shop.origin, folder, &err);

    if (status == STRATA_OK)
        status = strata_open_url(&shop.cache, url, NULL, &err);
    if (status == STRATA_OK)
        status = strata_queue_open(&shop.queue, &err);
    shop.answer.status = status;
    snprintf(shop.answer.words, sizeof shop.answer.words, "%.190s", err.message);
    while (shop_write(STDOUT_FILENO, &shop.answer, sizeof shop.answer) && status == STRATA_OK &&
           shop_read(STDIN_FILENO, &order, sizeof order))
        obey(&shop, &order);
    strata_close(shop.cache);
    strata_queue_close(shop.queue);
    origin_close(shop.origin);
    return status == STRATA_OK ? 0 : 1;
}
