/* map_store.c - see map_store.h. */
#include "tests/support/map_store.h"

#include <stdlib.h>
#include <string.h>

struct map_record {
    struct map_record *next;
    strata_meta meta;
    size_t key_size, data_size;
    unsigned char bytes[]; /* key, then data */
};

static struct map_record **find(struct map_store *s, strata_slice key)
{
    const unsigned char *k = key.data;
    size_t hash = 5381;
    for (size_t i = 0; i < key.size; i++)
        hash = hash * 33 + k[i];
    struct map_record **at = &s->buckets[hash % MAP_BUCKETS];
    while (*at != NULL && ((*at)->key_size != key.size || memcmp((*at)->bytes, key.data, key.size) != 0))
        at = &(*at)->next;
    return at;
}

static void drop(struct map_store *s, struct map_record **at)
{
    struct map_record *r = *at;
    *at = r->next;
    free(r);
    s->count--;
}

static int begin(struct map_store *s)
{
    pthread_mutex_lock(&s->mutex);
    s->calls++;
    return s->fail_status;
}

static int end(struct map_store *s, int status)
{
    pthread_mutex_unlock(&s->mutex);
    return status;
}

static int map_get(void *ctx, strata_slice key, strata_op *op)
{
    struct map_store *s = ctx;
    int rc = begin(s);
    if (rc != 0)
        return end(s, rc);
    struct map_record *r = *find(s, key);
    if (r == NULL)
        return end(s, STRATA_MISS);
    return end(s, strata_op_found(op, r->bytes + r->key_size, r->data_size, &r->meta));
}

static int map_put(void *ctx, strata_slice key, strata_slice data, const strata_meta *meta, int64_t ttl_ms)
{
    struct map_store *s = ctx;
    int rc = begin(s);
    if (rc != 0)
        return end(s, rc);
    s->last_ttl_ms = ttl_ms;
    struct map_record *r = malloc(sizeof *r + key.size + data.size);
    if (r == NULL)
        return end(s, STRATA_ENOMEM);
    r->meta = *meta;
    r->key_size = key.size;
    r->data_size = data.size;
    memcpy(r->bytes, key.data, key.size);
    if (data.size != 0)
        memcpy(r->bytes + key.size, data.data, data.size);
    struct map_record **at = find(s, key);
    if (*at != NULL)
        drop(s, at);
    r->next = *at;
    *at = r;
    s->count++;
    return end(s, STRATA_OK);
}

static int map_remove(void *ctx, strata_slice key)
{
    struct map_store *s = ctx;
    int rc = begin(s);
    if (rc != 0)
        return end(s, rc);
    struct map_record **at = find(s, key);
    if (*at == NULL)
        return end(s, STRATA_MISS);
    drop(s, at);
    return end(s, STRATA_OK);
}

static void drop_all(struct map_store *s, strata_slice prefix)
{
    for (size_t i = 0; i < MAP_BUCKETS; i++) {
        struct map_record **at = &s->buckets[i];
        while (*at != NULL) {
            if ((*at)->key_size >= prefix.size && memcmp((*at)->bytes, prefix.data, prefix.size) == 0)
                drop(s, at);
            else
                at = &(*at)->next;
        }
    }
}

static int map_clear(void *ctx, strata_slice prefix)
{
    struct map_store *s = ctx;
    int rc = begin(s);
    if (rc == 0)
        drop_all(s, prefix);
    return end(s, rc);
}

static void map_close(void *ctx)
{
    struct map_store *s = ctx;
    if (s->closed != NULL)
        *s->closed = 1;
    drop_all(s, strata_bytes("", 0));
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

const strata_blocking_ops map_store_ops = { STRATA_SIZED(strata_blocking_ops),
                                            .get = map_get,
                                            .put = map_put,
                                            .remove = map_remove,
                                            .clear = map_clear,
                                            .close = map_close };

struct map_store *map_store_new(void)
{
    struct map_store *s = calloc(1, sizeof *s);
    if (s == NULL)
        abort();
    pthread_mutex_init(&s->mutex, NULL);
    return s;
}

strata_layer *map_store_layer(void)
{
    return strata_blocking_layer("map", STRATA_LAYER_LOCAL, &map_store_ops, map_store_new());
}
