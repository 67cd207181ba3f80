/* memory_fixture.h - a memory layer with a host of its own and a clock that the test moves. */
#ifndef STRATA_TESTS_MEMORY_FIXTURE_H
#define STRATA_TESTS_MEMORY_FIXTURE_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/layer/key_hash.h"
#include "src/layer/layer_host.h"
#include "src/layer/value_impl.h"
#include "strata/memory.h"
#include "tests/support/clear_layer.h"

struct memory_fixture {
    strata_layer_host host;
    strata_layer *layer;
    int64_t now_ms;
};

static inline int fixture_open(struct memory_fixture *f, const strata_memory_options *options,
                               const strata_allocator *mem)
{
    strata_error err = STRATA_ERROR_INIT;
    memset(f, 0, sizeof *f);
    f->host.mem = mem != NULL ? mem : &strata__malloc;
    f->host.hash_seed = 0x5eed;
    f->now_ms = 1000000;
    f->layer = strata_memory_layer(options);
    int rc = f->layer->failed.status;
    if (rc == 0)
        rc = f->layer->ops->start(f->layer, &f->host, &err);
    if (rc < 0)
        strata_layer_free(f->layer);
    return rc;
}

static inline void fixture_close(struct memory_fixture *f) { f->layer->ops->close(f->layer); }

static inline void fixture_done(strata_op *op) { (void)op; }

static inline strata_op fixture_op(struct memory_fixture *f, uint32_t kind, uint32_t space, strata_slice key)
{
    static _Thread_local strata_error err;
    strata_op op;
    memset(&op, 0, sizeof op);
    op.size = sizeof op;
    op.kind = kind;
    op.space = space;
    op.key = key;
    op.hash = strata__key_hash(f->host.hash_seed, space, key);
    op.now_ms = f->now_ms;
    op.err = &err;
    op.done = fixture_done;
    return op;
}

static inline strata_meta fixture_meta(struct memory_fixture *f, int64_t ttl_ms)
{
    strata_meta meta;
    memset(&meta, 0, sizeof meta);
    meta.life = 77;
    meta.born_ms = f->now_ms;
    meta.born_wall_ms = f->now_ms + 5;
    meta.fresh_ms = ttl_ms;
    return meta;
}

static inline int fixture_submit(struct memory_fixture *f, strata_op *op)
{
    strata_op *ops[1] = { op };
    f->layer->ops->submit(f->layer, ops, 1);
    return op->status;
}

static inline int fixture_put_meta(struct memory_fixture *f, strata_slice key, strata_value *value, strata_meta meta)
{
    strata_op op = fixture_op(f, STRATA_OP_PUT, 0, key);
    op.value = value;
    op.meta = meta;
    return fixture_submit(f, &op);
}

static inline int fixture_put(struct memory_fixture *f, strata_slice key, const void *data, size_t size, int64_t ttl_ms)
{
    strata_value *value = strata__value_copy(&strata__malloc, data, size);
    int rc = fixture_put_meta(f, key, value, fixture_meta(f, ttl_ms));
    strata_value_unref(value);
    return rc;
}

/* A number as key; the value is the number, repeated to `size`. */
static inline strata_slice fixture_key(char room[32], uint64_t n)
{
    return strata_bytes(room, (size_t)snprintf(room, 32, "key:%llu", (unsigned long long)n));
}

static inline int fixture_put_number(struct memory_fixture *f, uint64_t n, size_t size)
{
    char room[32];
    uint64_t words[4096];
    for (size_t i = 0; i < (size + 7) / 8; i++)
        words[i] = n;
    return fixture_put(f, fixture_key(room, n), words, size, 3600000);
}

static inline int fixture_get(struct memory_fixture *f, strata_slice key, strata_value **out)
{
    strata_op op = fixture_op(f, STRATA_OP_GET, 0, key);
    int rc = f->layer->ops->lookup(f->layer, &op);
    *out = op.found;
    return rc;
}

/* 1 where the number is held, and as it was put. */
static inline int fixture_has_number(struct memory_fixture *f, uint64_t n)
{
    char room[32];
    strata_value *v = NULL;
    if (fixture_get(f, fixture_key(room, n), &v) != STRATA_OK)
        return 0;
    uint64_t first = n;
    size_t size = strata_value_size(v);
    memcpy(&first, strata_value_data(v), size < 8 ? size : 8);
    if (size >= 8 && first != n) {
        fprintf(stderr, "key %llu holds %llu\n", (unsigned long long)n, (unsigned long long)first);
        abort();
    }
    strata_value_unref(v);
    return 1;
}

static inline strata_layer_stats fixture_stats(struct memory_fixture *f)
{
    strata_layer_stats stats;
    memset(&stats, 0, sizeof stats);
    stats.size = sizeof stats;
    f->layer->ops->stats(f->layer, &stats);
    return stats;
}

#endif /* STRATA_TESTS_MEMORY_FIXTURE_H */
