/* example_namespace.c - two kinds of things in one cache: each has its own keys, loader and rules, and is invalidated
 * by key or as a whole. */
#include <stdio.h>
#include <strata/strata.h>

/* The "database": a price list with a version. */
static int price_version = 1;

static int load_price(strata_load *load, strata_slice key, void *ctx)
{
    char text[64];
    (void)ctx;
    int n = snprintf(text, sizeof text, "%.*s costs %d", (int)key.size, (const char *)key.data, 10 * price_version);
    return strata_load_copy(load, text, (size_t)n);
}

static int load_user(strata_load *load, strata_slice key, void *ctx)
{
    (void)ctx;
    if (key.size != 3)
        return strata_load_absent(load); /* remembered where negative_ttl_ms is set */
    return strata_load_copy(load, key.data, key.size);
}

static void show(strata *space, const char *key)
{
    strata_value *v = NULL;
    strata_error err;
    int status = strata_get_or_load(space, strata_str(key), NULL, NULL, NULL, &v, &err); /* the namespace's loader */
    if (status < 0)
        printf("%s: %s\n", key, err.message);
    else if (status == STRATA_ABSENT)
        printf("%s: there is no such thing\n", key);
    else
        printf("%s: %.*s\n", key, (int)strata_value_size(v), (const char *)strata_value_data(v));
    strata_value_unref(v);
}

/* As README.md has it. */
static int open_users(strata *cache, strata **users, strata_error *err)
{
    const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = 60000, .stale_if_error_ms = STRATA_FOREVER };
    const strata_namespace_options options = { STRATA_SIZED(strata_namespace_options), .policy = &policy,
                                               .loader = load_user };
    return strata_namespace(cache, "users", &options, users, err);
}

static void invalidate(strata *cache, strata *users, strata_error *err)
{
    strata_expire(users, strata_str("42"), err); /* load again, but serve the old one while the origin is down */
    strata_delete(users, strata_str("42"), err); /* forget it */
    strata_clear(users, err);                    /* forget all users, at once */
    strata_ban_prefix(users, strata_str("4"), STRATA_BAN_SOFT, err); /* expire those whose key begins with it */
    strata_ban_tag(cache, "team:7", STRATA_BAN_HARD, err);           /* forget what a loader or a set has tagged so */
}

int main(void)
{
    strata *cache = NULL, *prices = NULL, *users = NULL;
    strata_error err;

    /* Prices may be a little old while a new one is fetched, and old for an hour when the database is down. */
    const strata_policy price_policy = { STRATA_SIZED(strata_policy), .ttl_ms = 60000,
                                         .stale_while_revalidate_ms = 10000, .stale_if_error_ms = 3600000 };
    const strata_namespace_options price_options = { STRATA_SIZED(strata_namespace_options), .policy = &price_policy,
                                                     .loader = load_price };

    int status = strata_open_url(&cache, "memory:?max_bytes=16mb", NULL, &err);
    if (status >= 0)
        status = strata_namespace(cache, "prices", &price_options, &prices, &err);
    if (status >= 0)
        status = open_users(cache, &users, &err);
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", err.where, err.message);
    } else {
        show(prices, "tea");
        show(prices, "milk");
        show(users, "ada");
        show(users, "nobody");

        price_version = 2;
        show(prices, "tea"); /* still 10: nobody told the cache */
        strata_delete(prices, strata_str("tea"), NULL);
        show(prices, "tea");  /* 20 */
        show(prices, "milk"); /* 10 */
        strata_clear(prices, NULL);
        show(prices, "milk"); /* 20; the users are untouched */
        printf("ada is %s\n", strata_has(users, strata_str("ada"), NULL) == 1 ? "still here" : "gone");
        invalidate(cache, users, &err);
        printf("ada is %s\n", strata_has(users, strata_str("ada"), NULL) == 1 ? "still here" : "gone");
    }
    strata_close(users);
    strata_close(prices);
    strata_close(cache);
    return status < 0;
}
