/* slow_layer.c - see slow_layer.h.
 *
 * A write takes its number when it is submitted and applies when its delay is over, unless a later write of its key was
 * faster: that is how a remove makes a put unreachable that is still on its way.  Records of removed keys stay as
 * tombstones for that; it is a test's layer.  A clear takes what is there; a put that comes after it is the cache's
 * affair. */
#include "tests/support/slow_layer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SLOW_BUCKETS = 1024 };

struct slow_record {
    struct slow_record *next;
    uint64_t number; /* of the write that made it so */
    int present;
    strata_meta meta;
    unsigned char *data;
    void *tags; /* as they came; NULL: unknown ones, if there are any */
    size_t tag_bytes;
    size_t data_size, key_size;
    uint32_t space;
    unsigned char key[];
};

struct slow {
    strata_layer base;
    strata_layer_host *host;
    int64_t most_ms;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct slow_record *buckets[SLOW_BUCKETS];
    uint64_t numbers; /* the last one given out */
    uint64_t chance;
    size_t submits, operations;
    int holding;
    size_t held_count;
    struct slow_work *held; /* newest first */
};

/* An operation on its way. */
struct slow_work {
    struct slow_work *next;
    struct slow *layer;
    strata_op *op;
    uint64_t number;
};

static struct slow *downcast(strata_layer *layer) { return (struct slow *)(void *)layer; }

static struct slow_record **find(struct slow *s, const strata_op *op)
{
    struct slow_record **at = &s->buckets[op->hash % SLOW_BUCKETS];
    while (*at != NULL && ((*at)->space != op->space || (*at)->key_size != op->key.size ||
                           memcmp((*at)->key, op->key.data, op->key.size) != 0))
        at = &(*at)->next;
    return at;
}

static struct slow_record *find_or_add(struct slow *s, const strata_op *op)
{
    struct slow_record **at = find(s, op);
    if (*at == NULL) {
        struct slow_record *r = calloc(1, sizeof *r + op->key.size);
        if (r == NULL)
            abort();
        r->space = op->space;
        r->key_size = op->key.size;
        memcpy(r->key, op->key.data, op->key.size);
        *at = r;
    }
    return *at;
}

static void forget(struct slow_record *r)
{
    free(r->data);
    free(r->tags);
    r->data = NULL;
    r->tags = NULL;
    r->data_size = r->tag_bytes = 0;
    r->present = 0;
}

static void *copy_of(const strata_value *value)
{
    size_t size = strata_value_size(value);
    if (size == 0)
        return NULL;
    void *copy = malloc(size);
    if (copy == NULL)
        abort();
    return memcpy(copy, strata_value_data(value), size);
}

static void write_locked(struct slow *s, const struct slow_work *w)
{
    const strata_op *op = w->op;
    struct slow_record *r = find_or_add(s, op);
    if (r->number > w->number)
        return; /* a later write was faster */
    forget(r);
    r->number = w->number;
    if (op->kind == STRATA_OP_REMOVE)
        return;
    r->present = 1;
    r->meta = op->meta;
    r->tags = copy_of(op->tags);
    r->tag_bytes = strata_value_size(op->tags);
    r->data = copy_of(op->value);
    r->data_size = strata_value_size(op->value);
}

static int read_locked(struct slow *s, strata_op *op)
{
    struct slow_record *r = *find(s, op);
    if (r == NULL || !r->present)
        return STRATA_MISS;
    int rc = strata_op_found(op, r->data_size != 0 ? (const void *)r->data : "", r->data_size, &r->meta);
    if (rc == STRATA_OK)
        strata_op_notes(op, r->tags, r->tag_bytes);
    return rc;
}

static void finish(void *ctx)
{
    struct slow_work *w = ctx;
    struct slow *s = w->layer;
    strata_op *op = w->op;
    int status = STRATA_OK;
    pthread_mutex_lock(&s->mutex);
    if (op->kind == STRATA_OP_GET && s->holding) {
        w->next = s->held;
        s->held = w;
        s->held_count++;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->mutex);
        return;
    }
    if (op->kind == STRATA_OP_GET)
        status = read_locked(s, op);
    else if (op->kind == STRATA_OP_PUT || op->kind == STRATA_OP_REMOVE)
        write_locked(s, w);
    else
        status = STRATA_EUNSUPPORTED;
    pthread_mutex_unlock(&s->mutex);
    free(w);
    strata_op_done(op, status);
}

static int slow_start(strata_layer *layer, strata_layer_host *host, strata_error *err)
{
    (void)err;
    downcast(layer)->host = host;
    return STRATA_OK;
}

static void slow_submit(strata_layer *layer, strata_op *const *ops, size_t count)
{
    struct slow *s = downcast(layer);
    pthread_mutex_lock(&s->mutex);
    s->submits++;
    s->operations += count;
    pthread_mutex_unlock(&s->mutex);
    for (size_t i = 0; i < count; i++) {
        struct slow_work *w = malloc(sizeof *w);
        if (w == NULL)
            abort();
        pthread_mutex_lock(&s->mutex);
        *w = (struct slow_work){ NULL, s, ops[i], ++s->numbers };
        s->chance = s->chance * 6364136223846793005u + 1442695040888963407u;
        int64_t delay = s->most_ms != 0 ? (int64_t)((s->chance >> 33) % (uint64_t)(s->most_ms + 1)) : 0;
        pthread_mutex_unlock(&s->mutex);
        int rc = strata_host_after(s->host, delay, finish, w);
        if (rc < 0) {
            free(w);
            strata_op_done(ops[i], rc);
        }
    }
}

static int slow_clear(strata_layer *layer, const strata_clear_op *what, strata_error *err)
{
    struct slow *s = downcast(layer);
    (void)err;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < SLOW_BUCKETS; i++)
        for (struct slow_record *r = s->buckets[i]; r != NULL; r = r->next)
            if (what->all || r->space == what->space)
                forget(r);
    pthread_mutex_unlock(&s->mutex);
    return STRATA_OK;
}

static int slow_keys(strata_layer *layer, int (*each)(uint32_t, strata_slice, void *), void *ctx, strata_error *err)
{
    struct slow *s = downcast(layer);
    int stop = 0;
    (void)err;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < SLOW_BUCKETS && !stop; i++)
        for (struct slow_record *r = s->buckets[i]; r != NULL && !stop; r = r->next)
            if (r->present)
                stop = each(r->space, strata_bytes(r->key, r->key_size), ctx);
    pthread_mutex_unlock(&s->mutex);
    return STRATA_OK;
}

static void slow_close(strata_layer *layer)
{
    struct slow *s = downcast(layer);
    for (size_t i = 0; i < SLOW_BUCKETS; i++)
        while (s->buckets[i] != NULL) {
            struct slow_record *r = s->buckets[i];
            s->buckets[i] = r->next;
            forget(r);
            free(r);
        }
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

static const strata_layer_ops slow_ops = { .size = sizeof slow_ops,
                                           .kind = "slow",
                                           .start = slow_start,
                                           .submit = slow_submit,
                                           .clear = slow_clear,
                                           .keys = slow_keys,
                                           .close = slow_close };

strata_layer *slow_layer_new(int64_t most_ms)
{
    struct slow *s = calloc(1, sizeof *s);
    if (s == NULL)
        abort();
    s->base.size = sizeof s->base;
    s->base.ops = &slow_ops;
    s->base.flags = STRATA_LAYER_LOCAL | STRATA_LAYER_SPACES;
    memcpy(s->base.name, "slow", 5);
    s->most_ms = most_ms;
    s->chance = 42;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->changed, NULL);
    return &s->base;
}

void slow_layer_hold(strata_layer *layer)
{
    struct slow *s = downcast(layer);
    pthread_mutex_lock(&s->mutex);
    s->holding = 1;
    pthread_mutex_unlock(&s->mutex);
}

void slow_layer_wait_held(strata_layer *layer, size_t count)
{
    struct slow *s = downcast(layer);
    pthread_mutex_lock(&s->mutex);
    while (s->held_count < count)
        pthread_cond_wait(&s->changed, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
}

void slow_layer_release(strata_layer *layer)
{
    struct slow *s = downcast(layer);
    pthread_mutex_lock(&s->mutex);
    struct slow_work *w = s->held;
    s->held = NULL;
    s->held_count = 0;
    s->holding = 0;
    pthread_mutex_unlock(&s->mutex);
    while (w != NULL) {
        struct slow_work *next = w->next;
        finish(w);
        w = next;
    }
}

void slow_layer_counts(strata_layer *layer, size_t *out_submits, size_t *out_operations)
{
    struct slow *s = downcast(layer);
    pthread_mutex_lock(&s->mutex);
    *out_submits = s->submits;
    *out_operations = s->operations;
    pthread_mutex_unlock(&s->mutex);
}

size_t slow_layer_older(strata_layer *layer, uint32_t space, uint32_t position)
{
    struct slow *s = downcast(layer);
    size_t count = 0;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < SLOW_BUCKETS; i++)
        for (struct slow_record *r = s->buckets[i]; r != NULL; r = r->next)
            count += (size_t)(r->present && r->space == space && r->meta.position < position);
    pthread_mutex_unlock(&s->mutex);
    return count;
}

size_t slow_layer_value(strata_layer *layer, uint32_t space, strata_slice key, void *out, size_t room, strata_meta *meta)
{
    struct slow *s = downcast(layer);
    size_t size = SIZE_MAX;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < SLOW_BUCKETS; i++)
        for (struct slow_record *r = s->buckets[i]; r != NULL; r = r->next) {
            if (!r->present || r->meta.negative || r->space != space || r->key_size != key.size ||
                memcmp(r->key, key.data, key.size) != 0)
                continue;
            size = r->data_size;
            *meta = r->meta;
            if (size != 0)
                memcpy(out, r->data, size < room ? size : room);
        }
    pthread_mutex_unlock(&s->mutex);
    return size;
}

void slow_layer_demoted(strata_layer *layer) { layer->flags |= STRATA_LAYER_DEMOTED; }
