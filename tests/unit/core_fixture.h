/* core_fixture.h - a cache on the simulated executor: a memory layer, and below it, if wanted, a scripted one that answers
 * after virtual time, fails on demand, or keeps what it is given until the test lets it go. */
#ifndef STRATA_TESTS_CORE_FIXTURE_H
#define STRATA_TESTS_CORE_FIXTURE_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/core/flight.h"
#include "src/loop/executor_sim.h"
#include "tests/support/clear_layer.h"
#include "tests/support/cmocka_all.h"

#define UNUSED __attribute__((unused))

/* The scripted layer ------------------------------------------------------------------------------------------- */

enum { SCRIPT_ROOM = 256, SCRIPT_KEY = 64, SCRIPT_BYTES = 512 };

struct script_entry {
    int used;
    size_t key_size, size;
    char key[SCRIPT_KEY], bytes[SCRIPT_BYTES];
    strata_meta meta;
};

struct script {
    strata_layer base;
    strata_layer_host *host;
    struct script_entry entries[SCRIPT_ROOM];
    int64_t delay_ms; /* each operation takes so long; 0: answered before submit returns */
    int fail_gets, fail_puts, fail_removes, fail_clear;
    int no_room;                  /* puts are passed through, what is there stays */
    int pend_removes, pend_clear; /* STRATA_PENDING, and what is there stays */
    int hold;                     /* keep operations until script_release() */
    int hold_puts;                /* the same for puts alone */
    strata_op *held[SCRIPT_ROOM];
    size_t held_count;
    int submits, gets, puts, removes, clears, closed;
    strata_clear_op cleared;      /* the last clear */
    int *last_puts;               /* NULL, or where `puts` goes when it is closed */
    int answering;                /* an operation is being answered, on this thread */
    void (*submitted)(void *ctx); /* NULL, or called as the last thing in submit() */
    void *submitted_ctx;
};

static struct script_entry *script_find(struct script *s, strata_slice key, int make)
{
    struct script_entry *empty = NULL;
    for (int i = 0; i < SCRIPT_ROOM; i++) {
        struct script_entry *e = &s->entries[i];
        if (e->used && e->key_size == key.size && memcmp(e->key, key.data, key.size) == 0)
            return e;
        if (!e->used && empty == NULL)
            empty = e;
    }
    if (make && empty != NULL) {
        empty->used = 1;
        empty->key_size = key.size;
        memcpy(empty->key, key.data, key.size);
    }
    return make ? empty : NULL;
}

static void script_answer(struct script *s, strata_op *op)
{
    int failing = op->kind == STRATA_OP_GET ? s->fail_gets : op->kind == STRATA_OP_PUT ? s->fail_puts : s->fail_removes;
    if (failing) {
        strata__fail(op->err, STRATA_EIO, "script", "the script says so");
        strata_op_done(op, STRATA_EIO);
        return;
    }
    if (op->kind == STRATA_OP_PUT && s->no_room) {
        strata_op_done(op, STRATA_AGAIN);
        return;
    }
    if (op->kind == STRATA_OP_REMOVE && s->pend_removes) {
        strata_op_done(op, STRATA_PENDING);
        return;
    }
    struct script_entry *e = script_find(s, op->key, op->kind == STRATA_OP_PUT);
    if (op->kind == STRATA_OP_GET) {
        strata_op_done(op, e == NULL ? STRATA_MISS : strata_op_found(op, e->bytes, e->size, &e->meta));
    } else if (op->kind == STRATA_OP_PUT) {
        e->size = strata_value_size(op->value);
        if (e->size != 0)
            memcpy(e->bytes, strata_value_data(op->value), e->size);
        e->meta = op->meta;
        strata_op_done(op, STRATA_OK);
    } else {
        if (e != NULL)
            e->used = 0;
        strata_op_done(op, STRATA_OK);
    }
}

static void script_do(strata_op *op)
{
    struct script *s = op->layer_data;
    s->answering++;
    script_answer(s, op);
    s->answering--;
}

static void script_later(void *ctx) { script_do(ctx); }

static void script_submit(strata_layer *layer, strata_op *const *ops, size_t count)
{
    struct script *s = (struct script *)(void *)layer;
    int64_t delay = s->delay_ms;
    int hold = s->hold;
    s->submits++;
    for (size_t i = 0; i < count; i++) {
        strata_op *op = ops[i];
        op->layer_data = s;
        *(op->kind == STRATA_OP_GET ? &s->gets : op->kind == STRATA_OP_PUT ? &s->puts : &s->removes) += 1;
        if (hold || (op->kind == STRATA_OP_PUT && s->hold_puts))
            s->held[s->held_count++] = op;
        else if (delay > 0)
            assert_int_equal(strata_host_after(s->host, delay, script_later, op), STRATA_OK);
        else
            script_do(op);
    }
    if (s->submitted != NULL)
        s->submitted(s->submitted_ctx);
}

UNUSED static void script_release(struct script *s)
{
    s->hold = s->hold_puts = 0;
    size_t n = s->held_count;
    s->held_count = 0;
    for (size_t i = 0; i < n; i++)
        script_do(s->held[i]);
}

static int script_start(strata_layer *layer, strata_layer_host *host, strata_error *err)
{
    (void)err;
    ((struct script *)(void *)layer)->host = host;
    return STRATA_OK;
}

static int script_clear(strata_layer *layer, const strata_clear_op *what, strata_error *err)
{
    struct script *s = (struct script *)(void *)layer;
    s->clears++;
    s->cleared = *what;
    if (s->fail_clear)
        return strata__fail(err, STRATA_EIO, "script", "the script says so");
    if (s->pend_clear)
        return STRATA_PENDING;
    for (int i = 0; i < SCRIPT_ROOM; i++) {
        struct script_entry *e = &s->entries[i];
        if (e->used && (what->all || (e->key_size >= what->prefix.size &&
                                      memcmp(e->key, what->prefix.data, what->prefix.size) == 0)))
            e->used = 0;
    }
    return STRATA_OK;
}

static void script_close(strata_layer *layer)
{
    const struct script *s = (struct script *)(void *)layer;
    if (s->last_puts != NULL)
        *s->last_puts = s->puts;
    free(layer);
}

static const strata_layer_ops script_ops = {
    .size = sizeof script_ops,
    .kind = "script",
    .start = script_start,
    .submit = script_submit,
    .clear = script_clear,
    .close = script_close,
};

static struct script *script_new(void)
{
    struct script *s = calloc(1, sizeof *s);
    s->base.size = sizeof s->base;
    s->base.ops = &script_ops;
    s->base.flags = STRATA_LAYER_SHARED;
    snprintf(s->base.name, sizeof s->base.name, "script");
    return s;
}

/* The cache ------------------------------------------------------------------------------------------------------ */

struct stack {
    struct executor *ex;
    strata *cache;
    struct script *slow; /* NULL without */
    strata_error err;
};

struct stack_options {
    int with_slow, only_slow;
    uint32_t slow_flags; /* besides its own */
    uint64_t seed;
    const strata_policy *policy;
    const strata_codec *codec;
    const strata_allocator *allocator;
    uint32_t max_flights;
    uint32_t max_queued;
    uint64_t max_value_bytes;
    strata_logger logger;
    void *logger_ctx;
    const char *log;
    uint64_t memory_bytes;   /* 0: 1 MiB */
    uint64_t memory_entries; /* 0: more than any test has; else the first to come is the first to leave */
    int32_t memory_policy;   /* 0: as said */
};

UNUSED static int try_open(struct stack *st, const struct stack_options *o)
{
    strata_memory_options m = { .size = sizeof m, .max_bytes = 1 << 20 };
    strata_layer *layers[2];
    size_t n = 0;
    memset(st, 0, sizeof *st);
    if (o->memory_bytes != 0)
        m.max_bytes = o->memory_bytes;
    if (o->memory_entries != 0) {
        m.max_entries = o->memory_entries;
        m.shards = 1;
        m.policy = o->memory_policy != 0 ? o->memory_policy : STRATA_EVICT_FIFO;
    }
    int rc = strata__executor_sim_new(&st->ex, NULL, o->seed != 0 ? o->seed : 1, &st->err);
    assert_int_equal(rc, STRATA_OK);
    if (!o->only_slow)
        layers[n++] = strata_memory_layer(&m);
    if (o->with_slow || o->only_slow) {
        st->slow = script_new();
        st->slow->base.flags |= o->slow_flags;
        layers[n++] = &st->slow->base;
    }
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = n;
    options.policy = o->policy;
    options.codec = o->codec;
    options.allocator = o->allocator;
    options.max_flights = o->max_flights;
    options.max_queued = o->max_queued;
    options.max_value_bytes = o->max_value_bytes;
    options.logger = o->logger;
    options.logger_ctx = o->logger_ctx;
    options.log = o->log;
    return strata__open_with(&st->cache, &options, st->ex, &st->err);
}

UNUSED static void open_stack(struct stack *st, const struct stack_options *o)
{
    int rc = try_open(st, o);
    if (rc != STRATA_OK)
        print_error("open: %s: %s\n", st->err.where, st->err.message);
    assert_int_equal(rc, STRATA_OK);
}

UNUSED static void open_policy(struct stack *st, const strata_policy *policy)
{
    open_stack(st, &(struct stack_options){ .policy = policy });
}

UNUSED static void close_stack(struct stack *st) { assert_int_equal(strata_close(st->cache), STRATA_OK); }

UNUSED static void pass(struct stack *st, int64_t ms) { strata__executor_sim_advance(st->ex, ms); }

UNUSED static void run(struct stack *st) { strata__executor_sim_run(st->ex); }

UNUSED static strata_stats stats_of(strata *cache)
{
    strata_stats s = { .size = sizeof s };
    assert_int_equal(strata_stats_get(cache, &s), STRATA_OK);
    return s;
}

/* A loader ------------------------------------------------------------------------------------------------------- */

struct origin {
    struct stack *st;
    const char *value; /* what is there; NULL: absent */
    int calls;
    int fail; /* a status */
    int64_t takes_ms;
    int pending; /* keep the load, complete later */
    int not_modified;
    strata_load *kept;
    int had_previous, was_canceled;
    const strata_policy *own;
    void (*meanwhile)(struct origin *o); /* in the middle of a load */
    int meanwhile_rc;
};

UNUSED static int origin_loader(strata_load *load, strata_slice key, void *ctx)
{
    struct origin *o = ctx;
    (void)key;
    o->calls++;
    o->had_previous = strata_load_previous(load) != NULL;
    if (o->meanwhile != NULL)
        o->meanwhile(o);
    const char *value = o->value;
    if (o->takes_ms > 0) {
        struct parker parker = { 0 };
        ex_park(o->st->ex, &parker, ex_now_ms(o->st->ex) + o->takes_ms);
    }
    o->was_canceled = strata_load_canceled(load);
    if (o->own != NULL)
        assert_int_equal(strata_load_set_policy(load, o->own), STRATA_OK);
    if (o->pending) {
        o->kept = strata_load_ref(load);
        return STRATA_PENDING;
    }
    if (o->fail < 0)
        return strata_load_fail(load, o->fail, "the origin is down");
    if (o->not_modified && o->had_previous)
        return strata_load_not_modified(load);
    if (value == NULL)
        return strata_load_absent(load);
    return strata_load_copy(load, value, strlen(value));
}

/* Ask, and compare. */
#define assert_value(v, text) \
    do { \
        strata_value *v_ = (v); \
        assert_non_null(v_); \
        assert_int_equal(strata_value_size(v_), strlen(text)); \
        assert_memory_equal(strata_value_data(v_), text, strlen(text)); \
        strata_value_unref(v_); \
    } while (0)

#define assert_load(st, key, o, policy, status, text) \
    do { \
        strata_value *got_; \
        const char *text_ = (text); \
        assert_int_equal( \
            strata_get_or_load((st)->cache, strata_str(key), origin_loader, (o), (policy), &got_, &(st)->err), \
            (status)); \
        if (text_ != NULL) \
            assert_value(got_, text_); \
        else \
            assert_null(got_); \
    } while (0)

#define assert_get(st, key, status, text) \
    do { \
        strata_value *got_; \
        const char *text_ = (text); \
        assert_int_equal(strata_get((st)->cache, strata_str(key), &got_, &(st)->err), (status)); \
        if (text_ != NULL) \
            assert_value(got_, text_); \
        else \
            assert_null(got_); \
    } while (0)

/* An asynchronous call's end. */
struct ended {
    int count;
    int status;
    char text[64];
    strata_error err;
};

UNUSED static void on_done(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct ended *e = ctx;
    e->count++;
    e->status = status;
    snprintf(e->text, sizeof e->text, "%.*s", (int)strata_value_size(value),
             value != NULL ? (const char *)strata_value_data(value) : "");
    if (status < 0) {
        assert_non_null(err);
        e->err = *err;
    }
    strata_value_unref(value);
}

#endif /* STRATA_TESTS_CORE_FIXTURE_H */
