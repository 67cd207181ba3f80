/* disk_fixture.c - see disk_fixture.h. */
#include "tests/support/disk_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/layer/disk/disk_impl.h"
#include "src/layer/value_impl.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/temp_dir.h"

void disk_make(struct disk_fixture *f)
{
    memset(f, 0, sizeof *f);
    temp_dir_make(f->path, sizeof f->path);
    f->options.size = sizeof f->options;
    f->life = 7;
    f->position = 1;
    f->expires_ms = STRATA_FOREVER;
}

void disk_make_small(struct disk_fixture *f)
{
    disk_make(f);
    f->options.max_bytes = 1u << 20;
    f->options.segment_bytes = 64u << 10;
    f->options.write_buffer_bytes = 8192;
}

void disk_unmake(struct disk_fixture *f)
{
    disk_close(f);
    temp_dir_remove(f->path);
}

int disk_open(struct disk_fixture *f)
{
    static const strata_error none = STRATA_ERROR_INIT;
    f->options.path = f->path;
    f->err = none;
    test_host_start(&f->host, NULL);
    f->layer = strata_disk_layer(&f->options);
    int rc = f->layer->failed.status;
    if (rc < 0)
        f->err = f->layer->failed;
    else
        rc = f->layer->ops->start(f->layer, &f->host.host, &f->err);
    if (rc < 0)
        disk_close(f);
    return rc;
}

void disk_close(struct disk_fixture *f)
{
    if (f->layer == NULL)
        return;
    f->layer->ops->close(f->layer);
    f->layer = NULL;
    test_host_stop(&f->host);
}

void disk_crash_copy(struct disk_fixture *f, struct disk_fixture *copy)
{
    /* A process dies in one moment; a copy takes longer, so nothing may be under way. */
    if (f->layer != NULL)
        test_host_drain(&f->host);
    disk_make(copy);
    copy->options = f->options;
    copy->life = f->life;
    temp_dir_copy(f->path, copy->path);
}

static void done(strata_op *op) { *(int *)op->owner += 1; }

static strata_slice key_of(char room[32], uint64_t key)
{
    return strata_bytes(room, (size_t)snprintf(room, 32, "%c:key:%llu", (char)('a' + key % 4), (unsigned long long)key));
}

static int run(struct disk_fixture *f, strata_op *op, uint32_t kind, strata_slice key)
{
    int finished = 0;
    f->err = (strata_error)STRATA_ERROR_INIT;
    op->size = sizeof *op;
    op->kind = kind;
    op->key = key;
    op->now_ms = atomic_load(&f->host.now_ms);
    op->err = &f->err;
    op->done = done;
    op->owner = &finished;
    f->layer->ops->submit(f->layer, &op, 1);
    if (finished != 1)
        abort();
    return op->status;
}

/* 16 bytes of stamp, and bytes that follow from it. */
static void fill(unsigned char *bytes, size_t size, uint64_t key, uint32_t version)
{
    uint64_t stamp[2] = { key, (uint64_t)version << 32 | (uint32_t)size };
    memcpy(bytes, stamp, sizeof stamp);
    for (size_t i = sizeof stamp; i < size; i++)
        bytes[i] = (unsigned char)((key * 31 + version * 7 + i) * 2654435761u >> 11);
}

int disk_put(struct disk_fixture *f, uint64_t key, uint32_t version, size_t size)
{
    char room[32];
    void *bytes;
    strata_op op = { 0 };
    if (size < 16)
        size = 16;
    op.value = strata__value_new(NULL, size, &bytes);
    if (op.value == NULL)
        abort();
    fill(bytes, size, key, version);
    op.expires_ms = f->expires_ms;
    op.meta.life = f->life;
    op.meta.position = f->position;
    op.meta.born_ms = atomic_load(&f->host.now_ms);
    op.meta.born_wall_ms = op.meta.born_ms + TEST_HOST_WALL_MS;
    op.meta.fresh_ms = 3600000;
    int rc = run(f, &op, STRATA_OP_PUT, key_of(room, key));
    strata_value_unref(op.value);
    return rc;
}

int disk_remove(struct disk_fixture *f, uint64_t key)
{
    char room[32];
    strata_op op = { 0 };
    return run(f, &op, STRATA_OP_REMOVE, key_of(room, key));
}

int disk_get(struct disk_fixture *f, uint64_t key, uint32_t *out_version)
{
    char room[32];
    strata_op op = { 0 };
    int rc = run(f, &op, STRATA_OP_GET, key_of(room, key));
    if (rc == STRATA_OK) {
        const unsigned char *bytes = strata_value_data(op.found);
        size_t size = strata_value_size(op.found);
        uint64_t stamp[2] = { 0, 0 };
        unsigned char *want = malloc(size + 16);
        if (want == NULL)
            abort();
        memcpy(stamp, bytes, size < sizeof stamp ? size : sizeof stamp);
        fill(want, size < 16 ? 16 : size, key, (uint32_t)(stamp[1] >> 32));
        if (size < 16 || stamp[0] != key || (uint32_t)stamp[1] != size || memcmp(bytes, want, size) != 0) {
            fprintf(stderr, "key %llu holds a wrong value\n", (unsigned long long)key);
            abort();
        }
        free(want);
        *out_version = (uint32_t)(stamp[1] >> 32);
    } else if (op.found != NULL) {
        abort();
    }
    strata_value_unref(op.found);
    return rc;
}

int disk_status(struct disk_fixture *f, uint64_t key)
{
    uint32_t version;
    return disk_get(f, key, &version);
}

int disk_clear_keys(struct disk_fixture *f, const char *prefix)
{
    strata_clear_op what = { .size = sizeof what, .all = prefix == NULL, .life = f->life, .position = f->position + 1 };
    what.prefix = strata_str(prefix != NULL ? prefix : "");
    int rc = f->layer->ops->clear(f->layer, &what, &f->err);
    f->position++;
    return rc;
}

strata_layer_stats disk_stats_of(struct disk_fixture *f)
{
    strata_layer_stats stats = STRATA_LAYER_STATS_INIT;
    f->layer->ops->stats(f->layer, &stats);
    return stats;
}

void disk_settle(struct disk_fixture *f)
{
    test_host_drain(&f->host); /* what is posted would keep maintain() from doing the same */
    for (int i = 0; i < 200; i++)
        f->layer->ops->maintain(f->layer, atomic_load(&f->host.now_ms), 10000);
    test_host_drain(&f->host);
}

struct disk *disk_inside(struct disk_fixture *f) { return (struct disk *)(void *)f->layer; }

uint64_t disk_fill_up_to(struct disk_fixture *f, uint64_t segment)
{
    uint64_t key = 100;
    while (disk_inside(f)->log.newest == NULL || disk_inside(f)->log.newest->number < segment)
        if (disk_put(f, key += 4, 1, 3000) != STRATA_OK)
            fail_msg("put of key %llu: %s", (unsigned long long)key, f->err.message);
    return key;
}

void disk_kill_and_open(struct disk_fixture *f)
{
    struct disk_fixture copy;
    disk_crash_copy(f, &copy);
    disk_unmake(f);
    *f = copy;
    if (disk_open(f) != STRATA_OK)
        fail_msg("%s", f->err.message);
}
