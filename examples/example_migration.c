/* example_migration.c - the "after" of docs/migration.md: what a hand-made cache, and options of caches for Node.js, become.  What
 * stands there stands here (scripts/check-tutorial). */
#include <stdio.h>
#include <strata/strata.h>
#include <string.h>

static int queries;

/* Stands for a database. */
static int query(strata_slice key, char *row, size_t room)
{
    queries++;
    return snprintf(row, room, "row of %.*s", (int)key.size, (const char *)key.data);
}

/* From a hash map and a Redis client */
static int load_row(strata_load *load, strata_slice key, void *ctx)
{
    char row[256];
    (void)ctx;
    return strata_load_copy(load, row, (size_t)query(key, row, sizeof row));
}

static int get_row(strata *cache, const char *key, strata_value **out, strata_error *err)
{
    return strata_get_or_load(cache, strata_str(key), load_row, NULL, NULL, out, err);
}

static int change_row(strata *cache, const char *key, strata_error *err)
{
    /* ... update the database ... */
    return strata_delete(cache, strata_str(key), err); /* memory, server, and the memory of all other nodes */
}

/* From layercache */
static int load_product(strata_load *load, strata_slice key, void *ctx)
{
    char row[256];
    (void)ctx;
    strata_load_tag(load, "catalog"); /* tags: [...] */
    return strata_load_copy(load, row, (size_t)query(key, row, sizeof row));
}

static int open_products(strata *cache, strata **out, strata_error *err)
{
    const strata_policy policy = { STRATA_SIZED(strata_policy),
                                   .ttl_ms = 60000,                    /* ttl: 60 in 1.x, 60000 from 2.0 on */
                                   .jitter_ms = 5000,                  /* ttlJitter */
                                   .stale_while_revalidate_ms = 30000, /* staleWhileRevalidate */
                                   .stale_if_error_ms = 600000,        /* staleIfError */
                                   .refresh_ahead_ms = 10000,          /* refresh-ahead */
                                   .negative_ttl_ms = 5000,            /* negativeTtl */
                                   .breaker_failures = 3 };            /* failureThreshold */
    const strata_namespace_options options = { STRATA_SIZED(strata_namespace_options), .policy = &policy,
                                               .loader = load_product, .get_loads = STRATA_ON }; /* wrap() */
    return strata_namespace(cache, "products", &options, out, err);                              /* a namespace */
}

static int product_key(strata_key *key, long long id, const char *language)
{
    strata_key_begin(key);
    strata_key_int(key, id);
    return strata_key_text(key, strata_str(language));
}

/* ttlPolicy: a function.  Prices hold until the exchange closes: at 17:30 of its zone. */
static int64_t at_closing(int64_t now_ms, strata_slice key, void *zone)
{
    (void)key;
    const int64_t day = 86400000, closing = 17 * 3600000 + 30 * 60000;
    int64_t local = now_ms + strata_zone_offset_ms(zone, now_ms);
    int64_t end = local / day * day + closing;
    if (end <= local)
        end += day;
    return end - strata_zone_offset_ms(zone, end - strata_zone_offset_ms(zone, now_ms));
}

static int open_prices(strata *cache, strata_zone *zone, strata **out, strata_error *err)
{
    const strata_policy policy = { STRATA_SIZED(strata_policy), .align = at_closing, .align_ctx = zone };
    const strata_namespace_options options = { STRATA_SIZED(strata_namespace_options), .policy = &policy,
                                               .loader = load_row };
    return strata_namespace(cache, "prices", &options, out, err);
}

/* From lazy-layers-cache */
static int open_orders(strata *cache, strata **out, strata_error *err)
{
    const strata_policy policy = { STRATA_SIZED(strata_policy),   .ttl_ms = 3600000, /* ttl */
                                   .stale_if_error_ms = 86400000,                    /* failSafe.staleTtlMs */
                                   .soft_timeout_ms = 200,     /* timeouts.softMs: the load goes on */
                                   .hard_timeout_ms = 2000,    /* timeouts.hardMs */
                                   .negative_ttl_ms = 10000 }; /* negativeCache.ttlMs */
    const strata_namespace_options options = { STRATA_SIZED(strata_namespace_options), .policy = &policy,
                                               .loader = load_row };
    return strata_namespace(cache, "orders", &options, out, err);
}

/* All of it ------------------------------------------------------------------------------------------------------ */

static int get_product(strata *products, long long id, const char *language, strata_error *err)
{
    strata_key key;
    strata_value *row;
    product_key(&key, id, language);
    int status = strata_get(products, strata_key_slice(&key), &row, err);
    strata_value_unref(row);
    return status;
}

static int use_prices(strata *cache, strata_zone *zone, strata_error *err)
{
    strata *prices = NULL;
    strata_value *row = NULL;
    int64_t left = 0;
    int status = open_prices(cache, zone, &prices, err);
    if (status >= 0)
        status = strata_get_or_load(prices, strata_str("ACME"), NULL, NULL, NULL, &row, err);
    if (status >= 0)
        status = strata_ttl(prices, strata_str("ACME"), &left, err);
    if (status >= 0)
        printf("a price is fresh for %lld minutes\n", (long long)left / 60000);
    strata_value_unref(row);
    strata_close(prices);
    return status;
}

static int use(strata *cache, strata_error *err)
{
    strata *products = NULL, *orders = NULL;
    strata_value *row = NULL;
    int status = get_row(cache, "r:1", &row, err);
    strata_value_unref(row);
    if (status >= 0)
        status = change_row(cache, "r:1", err);
    if (status >= 0)
        status = open_products(cache, &products, err);
    if (status >= 0)
        status = get_product(products, 1, "de", err);
    if (status >= 0)
        status = get_product(products, 1, "de", err);
    if (status >= 0)
        status = strata_ban_tag(cache, "catalog", STRATA_BAN_HARD, err);
    if (status >= 0)
        status = get_product(products, 1, "de", err);
    if (status >= 0)
        status = open_orders(cache, &orders, err);
    if (status >= 0)
        status = strata_get_or_load(orders, strata_str("7"), NULL, NULL, NULL, &row, err);
    if (status >= 0)
        strata_value_unref(row);
    strata_close(orders);
    strata_close(products);
    return status;
}

int main(void)
{
    strata *cache = NULL;
    strata_zone *zone = NULL;
    strata_error err = STRATA_ERROR_INIT;
    int status = strata_zone_new(&zone, "EST5EDT,M3.2.0,M11.1.0", &err);
    if (status >= 0)
        status = strata_open_url(&cache, "memory:?max_bytes=16mb", NULL, &err);
    if (status >= 0)
        status = use(cache, &err);
    if (status >= 0)
        status = use_prices(cache, zone, &err);
    if (status < 0)
        fprintf(stderr, "%s: %s\n", err.where, err.message);
    strata_close(cache);
    strata_zone_free(zone);
    printf("%d queries\n", queries);
    return status < 0 || queries != 5;
}
