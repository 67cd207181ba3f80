/* sick_layer.c - see sick_layer.h. */
#include "tests/support/sick_layer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sick_layer *downcast(strata_layer *layer) { return (struct sick_layer *)(void *)layer; }

static void log_locked(struct sick_layer *s, const char *what, strata_slice key)
{
    size_t used = strlen(s->log);
    s->asked++;
    if (used + key.size + 16 < sizeof s->log)
        snprintf(s->log + used, sizeof s->log - used, "%s%s%.*s, ", what, key.size != 0 ? " " : "", (int)key.size,
                 (const char *)key.data);
}

static struct sick_entry *entry_of(struct sick_layer *s, strata_slice key)
{
    for (size_t i = 0; i < SICK_KEYS; i++) {
        struct sick_entry *e = &s->entries[i];
        if (e->key[0] == 0)
            snprintf(e->key, sizeof e->key, "%.*s", (int)key.size, (const char *)key.data);
        if (strlen(e->key) == key.size && memcmp(e->key, key.data, key.size) == 0)
            return e;
    }
    abort(); /* more keys than a test needs */
}

static int carry_out_locked(struct sick_layer *s, strata_op *op)
{
    struct sick_entry *e = entry_of(s, op->key);
    strata_meta meta = { .fresh_ms = STRATA_FOREVER };
    switch (op->kind) {
    case STRATA_OP_GET: return e->present ? strata_op_found(op, e->text, strlen(e->text), &meta) : STRATA_MISS;
    case STRATA_OP_REMOVE: e->present = 0; return STRATA_OK;
    case STRATA_OP_PUT:
        e->present = 1;
        snprintf(e->text, sizeof e->text, "%.*s", (int)strata_value_size(op->value),
                 (const char *)strata_value_data(op->value));
        return STRATA_OK;
    case STRATA_OP_LEASE: op->lease = e->present ? 0 : 9; return e->present ? STRATA_PENDING : STRATA_MISS;
    case STRATA_OP_RELEASE: return STRATA_OK;
    default: return STRATA_EUNSUPPORTED;
    }
}

static int fails_locked(const struct sick_layer *s, const strata_op *op)
{
    return s->status != 0 && (s->fails_kind == 0 || (uint32_t)s->fails_kind == op->kind) &&
           (s->fails_key == 0 || ((const char *)op->key.data)[0] == s->fails_key);
}

static int run_locked(struct sick_layer *s, strata_op *op)
{
    static const char *const names[] = { "what", "get", "put", "remove", "lease", "release" };
    log_locked(s, names[op->kind < sizeof names / sizeof names[0] ? op->kind : 0], op->key);
    if (!fails_locked(s, op))
        return carry_out_locked(s, op);
    if (s->does && op->kind != STRATA_OP_GET)
        carry_out_locked(s, op);
    op->err->status = s->status;
    snprintf(op->err->message, sizeof op->err->message, "the line is dead");
    return s->status;
}

static void sick_submit(strata_layer *layer, strata_op *const *ops, size_t count)
{
    struct sick_layer *s = downcast(layer);
    for (size_t i = 0; i < count; i++) {
        strata_op *op = ops[i];
        pthread_mutex_lock(&s->mutex);
        int status = run_locked(s, op), holds = s->holds;
        if (holds && s->held_count == SICK_HELD)
            abort();
        if (holds) {
            s->held[s->held_count] = op;
            s->held_status[s->held_count++] = status;
        }
        pthread_mutex_unlock(&s->mutex);
        if (!holds)
            strata_op_done(op, status);
    }
}

static int sick_clear(strata_layer *layer, const strata_clear_op *what, strata_error *err)
{
    struct sick_layer *s = downcast(layer);
    pthread_mutex_lock(&s->mutex);
    int status = s->status;
    log_locked(s, "clear", what->all ? strata_str("all") : what->prefix);
    for (size_t i = 0; i < SICK_KEYS && (status == 0 || s->does); i++)
        if (what->all || strncmp(s->entries[i].key, what->prefix.data, what->prefix.size) == 0)
            s->entries[i].present = 0;
    pthread_mutex_unlock(&s->mutex);
    if (status < 0 && err != NULL)
        snprintf(err->message, sizeof err->message, "the line is dead");
    return status;
}

static int sick_ping(strata_layer *layer, strata_error *err)
{
    struct sick_layer *s = downcast(layer);
    (void)err;
    pthread_mutex_lock(&s->mutex);
    int status = s->status;
    log_locked(s, "ping", strata_bytes(NULL, 0));
    pthread_mutex_unlock(&s->mutex);
    return status;
}

static int sick_keys(strata_layer *layer, int (*each)(uint32_t, strata_slice, void *), void *ctx, strata_error *err)
{
    struct sick_layer *s = downcast(layer);
    (void)err;
    for (size_t i = 0; i < SICK_KEYS; i++)
        if (s->entries[i].present && each(0, strata_str(s->entries[i].key), ctx))
            break;
    return STRATA_OK;
}

static void sick_close(strata_layer *layer)
{
    downcast(layer)->closed++; /* the mutex stays: what the layer did is asked after it was closed, too */
}

static const strata_layer_ops sick_ops = { .size = sizeof sick_ops,
                                           .kind = "sick",
                                           .submit = sick_submit,
                                           .clear = sick_clear,
                                           .keys = sick_keys,
                                           .ping = sick_ping,
                                           .close = sick_close };

strata_layer *sick_layer_init(struct sick_layer *s)
{
    memset(s, 0, sizeof *s);
    s->base.size = sizeof s->base;
    s->base.ops = &sick_ops;
    s->base.flags = STRATA_LAYER_SHARED;
    memcpy(s->base.name, "sick", 5);
    pthread_mutex_init(&s->mutex, NULL);
    return &s->base;
}

void sick_layer_fail(struct sick_layer *s, int status, int does)
{
    pthread_mutex_lock(&s->mutex);
    s->status = status;
    s->does = does;
    pthread_mutex_unlock(&s->mutex);
}

void sick_layer_release(struct sick_layer *s)
{
    strata_op *held[SICK_HELD];
    int status[SICK_HELD];
    pthread_mutex_lock(&s->mutex);
    size_t count = s->held_count;
    memcpy(held, s->held, sizeof held);
    memcpy(status, s->held_status, sizeof status);
    s->held_count = 0;
    s->holds = 0;
    pthread_mutex_unlock(&s->mutex);
    for (size_t i = 0; i < count; i++)
        strata_op_done(held[i], status[i]);
}

int sick_layer_did(struct sick_layer *s, const char *log)
{
    pthread_mutex_lock(&s->mutex);
    int same = strcmp(s->log, log) == 0;
    if (!same)
        fprintf(stderr, "it did \"%s\", not \"%s\"\n", s->log, log);
    s->log[0] = 0;
    pthread_mutex_unlock(&s->mutex);
    return same;
}
