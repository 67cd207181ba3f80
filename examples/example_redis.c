/* example_redis.c - memory over a Redis or Valkey server: what one program loaded, another one need not.
 *
 *   example_redis redis://127.0.0.1:6379        or STRATA_REDIS_URL in the environment
 *
 * Two caches stand for two programs here. */
#include <stdio.h>
#include <stdlib.h>
#include <strata/strata.h>

static int loads; /* of the slow origin */

static int load_user(strata_load *load, strata_slice key, void *ctx)
{
    char user[64];
    (void)ctx;
    loads++;
    int size = snprintf(user, sizeof user, "user %.*s", (int)key.size, (const char *)key.data);
    return strata_load_copy(load, user, (size_t)size);
}

static int open_cache(strata **out, const char *url, strata_error *err)
{
    strata_memory_options memory = { STRATA_SIZED(strata_memory_options), .max_bytes = 64u << 20 };
    strata_redis_options redis = { STRATA_SIZED(strata_redis_options), .url = url, .prefix = "strata-example:" };
    strata_layer *layers[] = { strata_memory_layer(&memory), strata_redis_layer(&redis) };
    strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = 30000 };
    strata_options options = { STRATA_SIZED(strata_options), .layers = layers, .layer_count = 2, .policy = &policy };
    return strata_open(out, &options, err);
}

/* Ask for 100 users: 0 if all were answered. */
static int ask(strata *cache, const char *who)
{
    strata_error err;
    for (int i = 0; i < 100; i++) {
        char key[24];
        strata_value *user = NULL;
        snprintf(key, sizeof key, "%d", i);
        if (strata_get_or_load(cache, strata_str(key), load_user, NULL, NULL, &user, &err) < 0) {
            fprintf(stderr, "%s: %s\n", err.where, err.message);
            return 1;
        }
        strata_value_unref(user);
    }
    strata_layer_stats redis = STRATA_LAYER_STATS_INIT;
    strata_stats_layer(cache, 1, &redis);
    printf("%s: %llu of 100 from Redis, %llu failures of it, %d loads so far\n", who, (unsigned long long)redis.hits,
           (unsigned long long)redis.errors, loads);
    return 0;
}

int main(int argc, char **argv)
{
    const char *url = argc > 1 ? argv[1] : getenv("STRATA_REDIS_URL");
    strata *first = NULL, *second = NULL;
    strata_error err;
    int failed = 1;
    if (url == NULL) {
        puts("skipped: give the URL of a Redis or Valkey server, as redis://127.0.0.1:6379");
        return 0;
    }
    if (open_cache(&first, url, &err) < 0 || open_cache(&second, url, &err) < 0)
        fprintf(stderr, "%s: %s\n", err.where, err.message);
    else
        failed = strata_clear(first, &err) < 0 ? fprintf(stderr, "%s: %s\n", err.where, err.message) : 0;
    if (!failed) {
        failed = ask(first, "first ") || ask(second, "second"); /* who finds what the first one loaded */
        strata_clear(first, NULL);
    }
    strata_close(second);
    strata_close(first);
    return failed != 0;
}
