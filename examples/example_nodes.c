/* example_nodes.c - several programs that share a Redis: what one of them deletes or bans, the others serve no more.
 *
 *   example_nodes redis://127.0.0.1:6379        or STRATA_REDIS_URL in the environment
 *
 * Two caches stand for two programs here. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strata/strata.h>

/* [readme] */
static int work(strata *cache, strata_error *err)
{
    const strata_slice team[] = { { "team:7", 6 } };
    int status = strata_set_tagged(cache, strata_str("user:42"), strata_str("Ada"), team, 1, NULL, err);
    if (status >= 0)
        status = strata_ban_tag(cache, "team:7", STRATA_BAN_HARD, err); /* on all nodes, whatever keys have it */
    if (status == STRATA_PENDING) {
        strata_health health = STRATA_HEALTH_INIT; /* a bus or the server is away, and is told as soon as it is back */
        if (strata_health_get(cache, &health, NULL) == STRATA_OK)
            fprintf(stderr, "%s\n", health.words);
    }
    return status;
}
/* [/readme] */

static int holds(strata *cache, const char *key) { return strata_has(cache, strata_str(key), NULL) == 1; }

/* Memory, then the Redis, and by itself a bus on that. */
static int open_cache(strata **out, const char *url, strata_error *err)
{
    strata_redis_options redis = { STRATA_SIZED(strata_redis_options), .url = url, .prefix = "strata-nodes:" };
    strata_layer *layers[] = { strata_memory_layer(NULL), strata_redis_layer(&redis) };
    strata_options options = { STRATA_SIZED(strata_options), .layers = layers, .layer_count = 2 };
    return strata_open(out, &options, err);
}

int main(int argc, char **argv)
{
    const char *url = argc > 1 ? argv[1] : getenv("STRATA_REDIS_URL");
    strata *first = NULL, *second = NULL;
    strata_error err = STRATA_ERROR_INIT;
    if (url == NULL) {
        puts("skipped: give the URL of a Redis or Valkey server, as redis://127.0.0.1:6379");
        return 0;
    }
    int status = open_cache(&first, url, &err);
    if (status >= 0)
        status = open_cache(&second, url, &err);
    if (status >= 0)
        status = strata_set(first, strata_str("user:1"), strata_str("Grace"), NULL, &err);
    if (status >= 0 && !holds(second, "user:1")) /* now it has a copy in its memory */
        fprintf(stderr, "the second has no user:1: is the server there?\n");
    if (status >= 0)
        status = strata_delete(first, strata_str("user:1"), &err);
    for (int i = 0; status >= 0 && i < 1000 && holds(second, "user:1"); i++)
        poll(NULL, 0, 1);
    if (status >= 0)
        printf("deleted by the first; the second %s\n", holds(second, "user:1") ? "still has it" : "has it no more");
    if (status >= 0)
        status = work(first, &err);
    if (status < 0)
        fprintf(stderr, "%s: %s\n", err.where, err.message);
    strata_close(second);
    strata_close(first);
    return status < 0;
}
