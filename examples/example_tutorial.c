/* example_tutorial.c - the programs of docs/tutorial.md, one function a step.  What stands there stands here: scripts/check-readme
 * compares them, so what the page shows is compiled and run.
 *
 *   example_tutorial [redis://127.0.0.1:6379]        or STRATA_REDIS_URL in the environment, for the steps with a server */
#define _DEFAULT_SOURCE /* mkdtemp() and the like, also with -std=c11 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <strata/strata.h>
#include <string.h>
#include <unistd.h>

/* The database of this page: slow, and sometimes away. */
struct database {
    int queries;
    int away;
};

/* The name of a user; 0: there is none; -1: the database is away. */
static int find_user(struct database *db, long long id, char *name, size_t room)
{
    db->queries++;
    if (db->away)
        return -1;
    if (id < 1 || id > 1000)
        return 0;
    snprintf(name, room, "user number %lld", id);
    return 1;
}

/* 1. Memory */
static int memory(strata_error *err)
{
    strata *cache;
    strata_value *value;
    int status = strata_open_url(&cache, "memory:?max_bytes=64mb", NULL, err);
    if (status < 0)
        return status; /* err->where and err->message say what is wrong, and what to do */

    strata_set(cache, strata_str("greeting"), strata_str("hello"), NULL, NULL);
    if (strata_get(cache, strata_str("greeting"), &value, NULL) == STRATA_OK)
        printf("%.*s\n", (int)strata_value_size(value), (const char *)strata_value_data(value));
    strata_value_unref(value); /* NULL, where there was none, is fine */
    return strata_close(cache);
}

/* 2. A loader */
static int load_user(strata_load *load, strata_slice key, void *ctx)
{
    struct database *db = ctx;
    char name[64];
    strata_key_part id;
    if (strata_key_next(&key, &id) != STRATA_OK || id.type != STRATA_PART_INT)
        return strata_load_fail(load, STRATA_EINVAL, "the key of a user is one number");
    switch (find_user(db, id.integer, name, sizeof name)) {
    case 1: return strata_load_copy(load, name, strlen(name));
    case 0: return strata_load_absent(load);
    default: return strata_load_fail(load, STRATA_EIO, "the database does not answer");
    }
}

static int show_user(strata *users, long long id, strata_error *err)
{
    strata_key key;
    strata_value *name;
    strata_key_begin(&key);
    strata_key_int(&key, id);
    int status = strata_get(users, strata_key_slice(&key), &name, err);
    if (status == STRATA_OK || status == STRATA_STALE)
        printf("%lld is %.*s\n", id, (int)strata_value_size(name), (const char *)strata_value_data(name));
    else if (status == STRATA_ABSENT)
        printf("there is no %lld\n", id);
    else
        fprintf(stderr, "%s: %s\n", err->where, err->message);
    strata_value_unref(name);
    return status;
}

/* 3. How long, and what else */
static int open_users(strata *cache, struct database *db, strata **out, strata_error *err)
{
    const strata_policy policy = { STRATA_SIZED(strata_policy),
                                   .ttl_ms = 60000,                      /* a minute fresh, */
                                   .jitter_ms = 5000,                    /* more or less, so that not all end at once */
                                   .stale_while_revalidate_ms = 60000,   /* then served while one refresh runs, */
                                   .stale_if_error_ms = 6 * 3600 * 1000, /* and for hours where the database fails */
                                   .negative_ttl_ms = 5000,              /* "there is none" */
                                   .hard_timeout_ms = 2000 };            /* nobody waits for longer */
    const strata_namespace_options options = { STRATA_SIZED(strata_namespace_options), .policy = &policy,
                                               .loader = load_user, .loader_ctx = db, .get_loads = STRATA_ON };
    return strata_namespace(cache, "users", &options, out, err);
}

/* 4. Changes */
static int rename_user(strata *users, long long id, strata_error *err)
{
    strata_key key;
    strata_key_begin(&key);
    strata_key_int(&key, id);
    /* ... the database first, and then: */
    return strata_delete(users, strata_key_slice(&key), err);
}

/* 5. A disk below it */
static int open_on_disk(strata **out, const char *path, strata_error *err)
{
    char layers[256];
    snprintf(layers, sizeof layers, "memory:?max_bytes=64mb | disk:%s?max_bytes=4gb", path);
    return strata_open_url(out, layers, NULL, err);
}

/* 6. A Redis below it, and other nodes */
static int open_shared(strata **out, const char *redis, strata_error *err)
{
    char layers[256];
    snprintf(layers, sizeof layers, "memory:?max_bytes=64mb | %s?prefix=shop:", redis);
    return strata_open_url(out, layers, NULL, err);
}

/* 7. What it does */
static void on_trouble(const strata_event *event, void *ctx)
{
    (void)ctx;
    fprintf(stderr, "%s: %s\n", strata_event_name(event->kind), event->message != NULL ? event->message : "");
}

static void observe(strata *cache)
{
    strata_stats stats = STRATA_STATS_INIT;
    strata_health health = STRATA_HEALTH_INIT;
    uint64_t id;
    strata_on(cache, STRATA_EVENT_ERROR | STRATA_EVENT_LOAD_ERROR | STRATA_EVENT_SUSPECT, on_trouble, NULL, &id);
    if (strata_stats_get(cache, &stats) == STRATA_OK)
        printf("%llu requests, %.0f %% hits, %llu loads\n", (unsigned long long)stats.requests, 100 * stats.hit_rate,
               (unsigned long long)stats.loads);
    for (size_t i = 0; i < strata_layer_count(cache); i++) {
        strata_layer_stats layer = STRATA_LAYER_STATS_INIT;
        if (strata_stats_layer(cache, i, &layer) == STRATA_OK)
            printf("  %s: %llu hits, %llu errors\n", layer.name, (unsigned long long)layer.hits,
                   (unsigned long long)layer.errors);
    }
    if (strata_health_get(cache, &health, NULL) == STRATA_OK)
        printf("  %s\n", health.words);
}

/* 8. The end */
static void finish(strata *users, strata *cache)
{
    strata_close(users);
    if (strata_close(cache) == STRATA_PENDING)
        fprintf(
            stderr,
            "some deletes have not reached the server: others may serve what was deleted, until its time is over\n");
}

/* All of it ------------------------------------------------------------------------------------------------------ */

static void remove_all(const char *path)
{
    DIR *list = opendir(path);
    for (struct dirent *entry; list != NULL && (entry = readdir(list)) != NULL;)
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(list), entry->d_name, 0);
    if (list != NULL)
        closedir(list);
    rmdir(path);
}

/* With the users, on a cache that is open; it closes it. */
static int use(strata *cache, struct database *db, strata_error *err)
{
    strata *users = NULL;
    int status = open_users(cache, db, &users, err);
    for (int i = 0; i < 3 && status >= 0; i++)
        status = show_user(users, 42, err);
    if (status >= 0)
        status = show_user(users, 5000, err);
    if (status >= 0)
        status = rename_user(users, 42, err);
    if (status >= 0)
        status = show_user(users, 42, err);
    if (status >= 0)
        observe(cache);
    finish(users, cache);
    return status;
}

int main(int argc, char **argv)
{
    const char *redis = argc > 1 ? argv[1] : getenv("STRATA_REDIS_URL");
    char path[] = "/tmp/strata-tutorial-XXXXXX";
    struct database db = { 0, 0 };
    strata *cache;
    strata_error err = STRATA_ERROR_INIT;
    if (mkdtemp(path) == NULL) {
        perror(path);
        return 1;
    }
    int status = memory(&err);
    if (status >= 0)
        status = open_on_disk(&cache, path, &err);
    if (status >= 0)
        status = use(cache, &db, &err);
    if (status >= 0 && redis != NULL) {
        status = open_shared(&cache, redis, &err);
        if (status >= 0)
            status = use(cache, &db, &err);
    }
    remove_all(path);
    if (status < 0)
        fprintf(stderr, "%s: %s\n", err.where, err.message);
    return status < 0;
}
