/* kill_store.c - see kill_store.h. */
#include "tests/fault/kill_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/layer/value_impl.h"

/* The layer ----------------------------------------------------------------------------------------------------- */

static strata_slice layer_key(char room[32], uint32_t key)
{
    int size = snprintf(room, 32, "%c:key:%u", (char)('a' + history_class(key)), key);
    return strata_bytes(room, (size_t)size);
}

static void done(strata_op *op) { *(int *)op->owner += 1; }

static int submit(struct kill_store *s, strata_op *op, uint32_t kind, uint32_t key)
{
    char room[32];
    strata_error err = STRATA_ERROR_INIT;
    int finished = 0;
    op->size = sizeof *op;
    op->kind = kind;
    op->key = layer_key(room, key);
    op->now_ms = atomic_load(&s->host.now_ms);
    op->err = &err;
    op->done = done;
    op->owner = &finished;
    s->layer->ops->submit(s->layer, &op, 1);
    if (finished != 1)
        history_fail(s->history, "an operation was finished %d times", finished);
    if ((op->status < 0 || err.status < 0) && kind == STRATA_OP_GET && s->gets_may_fail)
        atomic_fetch_add(&s->failed_gets, 1);
    else if (op->status < 0)
        history_fail(s->history, "operation %u of key %u answers %d: %s", kind, key, op->status, err.message);
    return op->status;
}

static int layer_put(struct kill_store *s, uint32_t key, const void *bytes, size_t size)
{
    strata_op op = { .expires_ms = STRATA_FOREVER };
    void *room;
    op.meta.life = s->life;
    op.meta.position = atomic_load(&s->position);
    op.meta.born_ms = atomic_load(&s->host.now_ms);
    op.meta.born_wall_ms = op.meta.born_ms + TEST_HOST_WALL_MS;
    op.meta.fresh_ms = 3600000;
    op.value = strata__value_new(NULL, size, &room);
    if (op.value == NULL)
        abort();
    if (size != 0)
        memcpy(room, bytes, size);
    int rc = submit(s, &op, STRATA_OP_PUT, key);
    strata_value_unref(op.value);
    return rc;
}

static int layer_clear(struct kill_store *s, uint32_t class)
{
    char prefix[3] = { (char)('a' + class), ':', 0 };
    strata_error err = STRATA_ERROR_INIT;
    strata_clear_op what = { .size = sizeof what, .all = class == HISTORY_CLASSES, .life = s->life };
    what.prefix = strata_str(what.all ? "" : prefix);
    what.position = atomic_fetch_add(&s->position, 1) + 1;
    int rc = s->layer->ops->clear(s->layer, &what, &err);
    if (rc < 0)
        history_fail(s->history, "a clear answers %d: %s", rc, err.message);
    return rc;
}

static int open_layer(struct kill_store *s, uint64_t life, strata_error *err)
{
    test_host_start(&s->host, NULL);
    s->life = life;
    atomic_store(&s->position, 1);
    for (uint32_t k = 0; k < HISTORY_KEYS; k++)
        pthread_mutex_init(&s->writer[k], NULL);
    s->layer = strata_disk_layer(&s->options);
    if (s->layer->failed.status < 0)
        *err = s->layer->failed;
    return s->layer->failed.status < 0 ? s->layer->failed.status : s->layer->ops->start(s->layer, &s->host.host, err);
}

/* The cache ----------------------------------------------------------------------------------------------------- */

static int open_cache(struct kill_store *s, strata_error *err)
{
    static const char *const names[HISTORY_CLASSES] = { "a", "b", "c", "d" };
    strata_memory_options memory = STRATA_MEMORY_OPTIONS_INIT;
    strata_options options = STRATA_OPTIONS_INIT;
    strata_layer *layers[2];
    size_t count = 0;
    memory.max_bytes = 256u << 10; /* most hits come from below */
    if (s->kind != STORE_DISK)
        layers[count++] = strata_memory_layer(&memory);
    layers[count++] = strata_disk_layer(&s->options);
    options.layers = layers;
    options.layer_count = count;
    options.workers = 2;
    int rc = strata_open(&s->cache, &options, err);
    for (int i = 0; rc == STRATA_OK && i < HISTORY_CLASSES; i++)
        rc = strata_namespace(s->cache, names[i], NULL, &s->space[i], err);
    return rc;
}

static strata_slice cache_key(char room[32], uint32_t key)
{
    return strata_bytes(room, (size_t)snprintf(room, 32, "key %u", key));
}

static void must(struct kill_store *s, int rc, const char *what, const strata_error *err)
{
    if (rc < 0)
        history_fail(s->history, "a %s answers %d: %s", what, rc, err->message);
}

/* Both ---------------------------------------------------------------------------------------------------------- */

int kill_store_open(struct kill_store *s, uint64_t life, strata_error *err)
{
    s->options.size = sizeof s->options;
    s->options.admit_on = s->kind == STORE_DEMOTED ? STRATA_ADMIT_ON_EVICTION : STRATA_ADMIT_ON_INSERTION;
    return s->kind == STORE_LAYER ? open_layer(s, life, err) : open_cache(s, err);
}

void kill_store_close(struct kill_store *s)
{
    if (s->kind == STORE_LAYER) {
        s->layer->ops->close(s->layer);
        test_host_stop(&s->host);
        return;
    }
    for (int i = 0; i < HISTORY_CLASSES; i++)
        strata_close(s->space[i]);
    strata_close(s->cache);
}

static void remove_locked(struct kill_store *s, uint32_t key)
{
    strata_op op = { 0 };
    uint32_t number = history_begin(s->history, WRITE_REMOVE, key, 0);
    if (number != 0 && submit(s, &op, STRATA_OP_REMOVE, key) >= 0)
        history_end(s->history, number, WRITE_DONE);
}

void kill_store_remove(struct kill_store *s, uint32_t key)
{
    char room[32];
    if (s->kind == STORE_LAYER) {
        pthread_mutex_lock(&s->writer[key]);
        remove_locked(s, key);
        pthread_mutex_unlock(&s->writer[key]);
        return;
    }
    strata_error err = STRATA_ERROR_INIT;
    uint32_t number = history_begin(s->history, WRITE_REMOVE, key, 0);
    if (number == 0)
        return;
    must(s, strata_delete(s->space[history_class(key)], cache_key(room, key), &err), "delete", &err);
    history_end(s->history, number, WRITE_DONE);
}

void kill_store_put(struct kill_store *s, uint32_t key, uint32_t size)
{
    char room[32];
    strata_error err = STRATA_ERROR_INIT;
    unsigned char *bytes = malloc(size + 1u);
    if (bytes == NULL)
        abort();
    if (s->kind == STORE_LAYER)
        pthread_mutex_lock(&s->writer[key]);
    uint32_t number = history_begin(s->history, WRITE_PUT, key, size);
    history_fill(bytes, size, key, number);
    if (number != 0 && s->kind == STORE_LAYER) {
        int rc = layer_put(s, key, bytes, size);
        history_end(s->history, number, rc == STRATA_OK ? WRITE_DONE : WRITE_REFUSED);
        if (rc != STRATA_OK)
            remove_locked(s, key); /* as a cache does */
    } else if (number != 0) {
        must(s, strata_set(s->space[history_class(key)], cache_key(room, key), strata_bytes(bytes, size), NULL, &err),
             "set", &err);
        history_end(s->history, number, WRITE_DONE);
    }
    if (s->kind == STORE_LAYER)
        pthread_mutex_unlock(&s->writer[key]);
    free(bytes);
}

void kill_store_clear(struct kill_store *s, uint32_t class)
{
    strata_error err = STRATA_ERROR_INIT;
    uint32_t number = history_begin(s->history, WRITE_CLEAR, class, 0);
    if (number == 0)
        return;
    if (s->kind == STORE_LAYER)
        (void)layer_clear(s, class);
    else
        must(s, strata_clear(class == HISTORY_CLASSES ? s->cache : s->space[class], &err), "clear", &err);
    history_end(s->history, number, WRITE_DONE);
}

strata_value *kill_store_look(struct kill_store *s, uint32_t key)
{
    char room[32];
    strata_error err = STRATA_ERROR_INIT;
    strata_value *value = NULL;
    if (s->kind == STORE_LAYER) {
        strata_op op = { 0 };
        (void)submit(s, &op, STRATA_OP_GET, key);
        return op.found;
    }
    int rc = strata_get(s->space[history_class(key)], cache_key(room, key), &value, &err);
    if (rc < 0 && s->gets_may_fail)
        atomic_fetch_add(&s->failed_gets, 1);
    else
        must(s, rc, "get", &err);
    return value;
}

void kill_store_get(struct kill_store *s, uint32_t key)
{
    uint64_t floor = history_floor(s->history, key);
    strata_value *value = kill_store_look(s, key);
    if (value != NULL)
        history_check(s->history, key, strata_value_data(value), strata_value_size(value), floor);
    strata_value_unref(value);
}

void kill_store_maintain(struct kill_store *s)
{
    if (s->kind == STORE_LAYER)
        s->layer->ops->maintain(s->layer, 0, 200);
}

strata_layer_stats kill_store_stats(struct kill_store *s)
{
    strata_layer_stats stats = STRATA_LAYER_STATS_INIT;
    if (s->kind == STORE_LAYER)
        s->layer->ops->stats(s->layer, &stats);
    else
        (void)strata_stats_layer(s->cache, s->kind != STORE_DISK, &stats);
    return stats;
}
