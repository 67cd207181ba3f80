/* disk_layer.c - the disk layer as a layer: options, start, operations, counters, end. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/layer/disk/disk_impl.h"
#include "src/layer/pack.h"
#include "src/layer/value_impl.h"
#include "src/os/os_file.h"
#include "src/policy/options.h"

enum { SEGMENTS = 128, MOST_SEGMENTS = 1024, LEAST_SEGMENTS = 8, ENTRY_PARTS = 16 };
#define LEAST_SEGMENT ((uint64_t)256 << 10)
#define MOST_SEGMENT ((uint64_t)64 << 20)
#define LAST_SEGMENT ((uint64_t)1 << 30) /* a slot says no larger offset */

static struct disk *downcast(strata_layer *layer) { return (struct disk *)(void *)layer; }

/* Setting up -------------------------------------------------------------------------------------------------- */

/* Each has a descriptor, and the program needs some, too. */
static uint32_t most_segments(void)
{
    uint64_t most = strata__os_file_most() / 4;
    return most < LEAST_SEGMENTS ? LEAST_SEGMENTS : most > SLOT_SEGMENTS ? SLOT_SEGMENTS : (uint32_t)most;
}

static void choose_sizes(struct disk *d)
{
    const strata_disk_options *o = &d->options;
    uint64_t bytes = o->segment_bytes;
    d->most_segments = most_segments();
    if (bytes == 0) {
        bytes = o->max_bytes / SEGMENTS;
        bytes = bytes < LEAST_SEGMENT ? LEAST_SEGMENT : bytes > MOST_SEGMENT ? MOST_SEGMENT : bytes;
        if (o->max_bytes / bytes > MOST_SEGMENTS)
            bytes = o->max_bytes / MOST_SEGMENTS;
    }
    if (bytes < o->max_bytes / (d->most_segments / 4 * 3)) /* some are sealed before they are full */
        bytes = o->max_bytes / (d->most_segments / 4 * 3);
    if (bytes > LAST_SEGMENT)
        bytes = LAST_SEGMENT;
    if (bytes > o->max_bytes / 8) /* or there is no order to leave in */
        bytes = o->max_bytes / 8;
    d->segment_bytes = bytes / 4096 * 4096;
    d->segment_entries = o->max_entries != 0 ? o->max_entries / ENTRY_PARTS : UINT64_MAX;
    d->largest_record = o->max_bytes / 8 > d->segment_bytes ? o->max_bytes / 8 : d->segment_bytes;
    d->largest_record -= 4096; /* head and footer */
    if (d->largest_record > SLOT_SIZE_MAX)
        d->largest_record = SLOT_SIZE_MAX;
    if (d->options.write_buffer_bytes > d->segment_bytes / 2)
        d->options.write_buffer_bytes = d->segment_bytes / 2;
    d->shard_count = INDEX_SHARDS;
}

static void free_shards(struct disk *d, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        strata__disk_index_deinit(&d->shards[i], d->mem);
    strata__free(d->mem, d->shards_block);
    d->shards = NULL;
}

static int make_shards(struct disk *d)
{
    uint32_t done = 0;
    d->shards_block = strata__alloc_zero(d->mem, d->shard_count * sizeof *d->shards + 64);
    if (d->shards_block == NULL)
        return -1;
    d->shards = (struct disk_shard *)(((uintptr_t)d->shards_block + 63) & ~(uintptr_t)63);
    while (done < d->shard_count) {
        struct disk_shard *shard = &d->shards[done];
        if (strata__disk_index_init(shard, d->mem, 0) != STRATA_OK)
            break;
        atomic_fetch_add_explicit(&d->index_bytes, shard->room * sizeof(struct slot), memory_order_relaxed);
        done++;
    }
    if (done == d->shard_count)
        return 0;
    free_shards(d, done);
    return -1;
}

/* Everything in memory.  Undone where it fails. */
static int make_parts(struct disk *d, strata_error *err)
{
    int rc = strata__log_init(d, err);
    if (rc < 0)
        return rc;
    int code = strata__bans_init(d);
    if (code == 0) {
        code = strata__admission_init(d);
        if (code == 0) {
            code = make_shards(d);
            if (code == 0)
                return STRATA_OK;
            strata__admission_deinit(d);
        }
        strata__bans_deinit(d);
    }
    strata__log_deinit(d);
    return strata__fail(err, STRATA_ENOMEM, d->base.name, "no memory for the index and its filters: free some");
}

static void free_parts(struct disk *d)
{
    while (d->log.oldest != NULL)
        strata__segment_leave(d, d->log.oldest);
    free_shards(d, d->shard_count);
    strata__free(d->mem, d->note);
    d->note = NULL;
    strata__compressor_deinit(&d->compressor);
    strata__admission_deinit(d);
    strata__bans_deinit(d);
    strata__log_deinit(d);
}

static void close_files(struct disk *d)
{
    strata__os_file_close(d->lock_fd); /* with it the lock */
    strata__os_file_close(d->dir_fd);
    strata__os_file_close(d->ban_fd);
    d->ban_fd = -1;
    d->lock_fd = -1;
    d->dir_fd = -1;
}

/* A smaller budget than before, or fewer descriptors. */
static void shrink(struct disk *d)
{
    struct disk_log *log = &d->log;
    while (log->oldest != NULL && (log->file_bytes > d->options.max_bytes || log->segment_count > d->most_segments ||
                                   (d->options.max_entries != 0 && disk_counted(&d->entries) > d->options.max_entries)))
        if (strata__disk_reclaim(d, 0) != STRATA_OK)
            break;
}

static struct pack_options pack_options(const strata_disk_options *o)
{
    return (struct pack_options){ o->compression, o->compression_level, o->compress_above_bytes, o->dictionary,
                                  o->dictionaries };
}

static struct protect_options protect_options(const strata_disk_options *o)
{
    return (struct protect_options){ o->protection, o->key_file, o->old_key_file };
}

static int disk_start(strata_layer *layer, strata_layer_host *host, strata_error *err)
{
    struct disk *d = downcast(layer);
    const struct pack_options packs = pack_options(&d->options);
    const struct protect_options protects = protect_options(&d->options);
    d->mem = host->mem;
    d->dir_fd = -1;
    d->lock_fd = -1;
    choose_sizes(d);
    int rc = strata__protect_start(&d->protector, &protects, d->base.name, err);
    if (rc == STRATA_OK)
        rc = strata__pack_start(&d->compressor, &packs, d->base.name, d->mem, err);
    if (rc < 0)
        return rc;
    d->host = host;
    d->ban_fd = -1;
    rc = make_parts(d, err);
    if (rc < 0) {
        strata__compressor_deinit(&d->compressor);
        d->host = NULL;
        return rc;
    }
    rc = strata__disk_open_dir(d, err);
    if (rc == STRATA_OK)
        rc = strata__disk_recover(d, err);
    if (rc == STRATA_OK) {
        shrink(d);
        return STRATA_OK;
    }
    free_parts(d);
    close_files(d);
    d->host = NULL;
    return rc;
}

/* The end ----------------------------------------------------------------------------------------------------- */

static void free_layer(struct disk *d)
{
    strata__protect_stop(&d->protector);
    strata__free(NULL, (void *)(uintptr_t)d->options.key_file);
    strata__free(NULL, (void *)(uintptr_t)d->options.old_key_file);
    strata__free(NULL, (void *)(uintptr_t)d->options.path);
    strata__free(NULL, (void *)(uintptr_t)d->options.dictionary);
    strata__free(NULL, (void *)(uintptr_t)d->options.dictionaries);
    strata__free(NULL, d);
}

/* 1: what is here outlasts the machine. */
static int sync_all(struct disk *d)
{
    if (d->options.sync < STRATA_SYNC_CLOSE)
        return 0;
    int failed = 0;
    for (const struct segment *s = d->log.oldest; s != NULL && d->options.sync == STRATA_SYNC_CLOSE; s = s->newer)
        failed |= strata__os_file_sync(s->fd);
    failed |= strata__os_dir_sync(d->dir_fd);
    if (failed != 0)
        disk_count(&d->errors);
    return failed == 0;
}

static void disk_close(strata_layer *layer)
{
    struct disk *d = downcast(layer);
    struct disk_log *log = &d->log;
    if (d->host == NULL) {
        free_layer(d);
        return;
    }
    os_mutex_lock(&log->lock);
    d->closing = 1;
    while (d->posted)
        strata__os_cond_wait(&log->changed, &log->lock, INT64_MAX);
    os_mutex_unlock(&log->lock);
    /* What fails here costs the next opening time, and nothing else: it has footers, or walks. */
    if (!atomic_load(&d->lost) && strata__log_seal(d) == 0) {
        (void)strata__disk_drop_dead(d);
        if (sync_all(d))
            strata__disk_note_synced(d);
        (void)strata__snapshot_save(d);
    }
    free_parts(d);
    close_files(d);
    free_layer(d);
}

/* In a child after fork: the threads that hold locks here do not exist, and what they were about to do is half done.  What is
 * not surely whole is left behind; descriptors are only ever closed, which takes nothing from the parent. */
static void abandon(struct disk *d)
{
    struct disk_log *log = &d->log;
    int whole = os_mutex_try(&log->lock) && !log->writer && !log->reclaiming;
    for (uint32_t i = 0; i < log->table_used; i++)
        if (log->table[i] != NULL)
            strata__os_file_close(log->table[i]->fd);
    for (uint32_t i = 0; i < d->shard_count; i++)
        whole = os_lock_try(&d->shards[i].lock) && whole;
    if (whole) {
        for (uint32_t i = 0; i < log->table_used; i++)
            if (log->table[i] != NULL) {
                strata__free(d->mem, log->table[i]->entries);
                strata__free(d->mem, log->table[i]);
            }
        for (uint32_t i = 0; i < d->shard_count; i++)
            strata__disk_index_deinit(&d->shards[i], d->mem);
        strata__free(d->mem, d->shards_block);
        strata__free(d->mem, d->note);
        strata__free(d->mem, log->buffers[0].bytes);
        strata__free(d->mem, log->buffers[1].bytes);
        for (uint32_t i = 0; i < d->bans.count; i++)
            strata__free(d->mem, (void *)(uintptr_t)d->bans.list[i].prefix.data);
        strata__free(d->mem, d->admission.bits[0]);
        strata__free(d->mem, d->admission.bits[1]);
        strata__compressor_deinit(&d->compressor);
    }
    close_files(d);
}

static int disk_reopen(strata_layer *layer, strata_layer_host *host, strata_error *err)
{
    struct disk *d = downcast(layer);
    if (d->host != NULL)
        abandon(d);
    strata_layer base = d->base;
    strata_disk_options options = d->options;
    memset(d, 0, sizeof *d);
    d->base = base;
    d->options = options;
    /* As long as the parent has the directory, this fails with its process number. */
    return disk_start(layer, host, err);
}

/* Operations -------------------------------------------------------------------------------------------------- */

static void disk_submit(strata_layer *layer, strata_op *const *ops, size_t count)
{
    struct disk *d = downcast(layer);
    for (size_t i = 0; i < count; i++) {
        strata_op *op = ops[i];
        if (d->host == NULL) { /* a reopening that failed */
            strata_op_done(op, op->kind == STRATA_OP_PUT ? STRATA_AGAIN : STRATA_MISS);
            continue;
        }
        switch (op->kind) {
        case STRATA_OP_GET: strata__disk_get(d, op); break;
        case STRATA_OP_PUT: strata__disk_put(d, op); break;
        case STRATA_OP_REMOVE: strata__disk_remove(d, op); break;
        default:
            strata_op_done(op, strata__fail(op->err, STRATA_EUNSUPPORTED, d->base.name,
                                            "a disk layer knows get, put and remove alone"));
        }
    }
}

static int disk_clear(strata_layer *layer, const strata_clear_op *what, strata_error *err)
{
    struct disk *d = downcast(layer);
    return d->host != NULL ? strata__disk_clear(d, what, err) : STRATA_OK;
}

static int disk_ban(strata_layer *layer, strata_ban_op *what, strata_error *err)
{
    struct disk *d = downcast(layer);
    return d->host != NULL ? strata__disk_ban(d, what, err) : STRATA_OK;
}

static int disk_bans(strata_layer *layer, void (*each)(const strata_ban_op *ban, void *ctx), void *ctx,
                     strata_error *err)
{
    struct disk *d = downcast(layer);
    return d->host != NULL ? strata__disk_bans(d, each, ctx, err) : STRATA_OK;
}

static int disk_keep(strata_layer *layer, strata_slice note, strata_error *err)
{
    struct disk *d = downcast(layer);
    return d->host != NULL ? strata__disk_keep(d, note, err) : STRATA_OK;
}

static int disk_kept(strata_layer *layer, void (*is)(strata_slice note, void *ctx), void *ctx)
{
    struct disk *d = downcast(layer);
    return d->host != NULL ? strata__disk_kept(d, is, ctx) : STRATA_MISS;
}

static int disk_keys(strata_layer *layer, int (*each)(uint32_t, strata_slice, void *), void *ctx, strata_error *err)
{
    struct disk *d = downcast(layer);
    return d->host != NULL ? strata__disk_keys(d, each, ctx, err) : STRATA_OK;
}

/* Can it be written to?  The lock file says what the directory would. */
static int disk_ping(strata_layer *layer, strata_error *err)
{
    struct disk *d = downcast(layer);
    struct os_file_stat stat;
    if (d->host == NULL || atomic_load(&d->lost))
        return strata__fail(err, STRATA_EIO, d->base.name,
                            "the layer answers nothing any more: look at the disk, and open again");
    int fd, failed = strata__os_file_open(d->dir_fd, LOCK_NAME, OS_FILE_WRITE, &fd);
    if (failed == 0)
        failed = strata__os_file_stat(fd, &stat);
    if (failed == 0)
        failed = strata__os_file_sync(fd);
    strata__os_file_close(fd);
    return failed == 0 ? STRATA_OK
                       : strata__fail_os(err, STRATA_EIO, failed, d->base.name,
                                         "\"%s\" cannot be written to: look at the disk and the directory's rights",
                                         d->options.path);
}

static void disk_stats(strata_layer *layer, strata_layer_stats *out)
{
    struct disk *d = downcast(layer);
    out->max_bytes = d->options.max_bytes;
    if (d->host == NULL)
        return;
    out->entries = disk_counted(&d->entries);
    out->puts = disk_counted(&d->puts);
    out->removes = disk_counted(&d->removes);
    out->evictions = disk_counted(&d->evictions);
    out->expirations = disk_counted(&d->expirations);
    out->rejections = disk_counted(&d->rejections);
    out->errors = disk_counted(&d->errors);
    os_mutex_lock(&d->log.lock);
    out->bytes = d->log.file_bytes;
    os_mutex_unlock(&d->log.lock);
}

static void disk_maintain(strata_layer *layer, int64_t now_ms, uint64_t budget_us)
{
    struct disk *d = downcast(layer);
    (void)now_ms; /* what expires here does so by the wall */
    if (d->host != NULL && !atomic_load(&d->lost))
        strata__disk_maintain(d, budget_us);
}

static const strata_layer_ops disk_ops = {
    .size = sizeof(strata_layer_ops),
    .kind = "disk",
    .start = disk_start,
    .submit = disk_submit,
    .clear = disk_clear,
    .keys = disk_keys,
    .ping = disk_ping,
    .stats = disk_stats,
    .maintain = disk_maintain,
    .reopen = disk_reopen,
    .close = disk_close,
    .ban = disk_ban,
    .bans = disk_bans,
    .keep = disk_keep,
    .kept = disk_kept,
};

/* The constructor --------------------------------------------------------------------------------------------- */

/* A copy of the caller's, or NULL where there is none.  0: no memory. */
static int copy_text(const char **own, const char *theirs)
{
    *own = theirs != NULL ? strata__strdup(NULL, theirs) : NULL;
    return theirs == NULL || *own != NULL;
}

static int check(struct disk *d, const strata_disk_options *given, strata_error *err)
{
    static const strata_disk_options defaults = STRATA_DISK_OPTIONS_INIT;
    strata_disk_options *o = &d->options;
    if (given == NULL)
        given = &defaults;
    int rc = strata__options_check(&strata__disk_rows, given, given->size, o, sizeof *o, err);
    struct pack_options packs = pack_options(o);
    struct protect_options protects = protect_options(o);
    const char *path = o->path;
    /* Theirs, until they are copied. */
    o->path = o->dictionary = o->dictionaries = o->key_file = o->old_key_file = NULL;
    if (rc < 0)
        return rc;
    strata__options_fill(&strata__disk_rows, o);
    if (path == NULL || path[0] == '\0')
        return strata__fail(
            err, STRATA_EINVAL, "path",
            "a disk layer needs a directory: set path, or write \"disk:/var/cache/mine?max_bytes=4gb\"");
    rc = strata__protect_check(&protects, err);
    if (rc == STRATA_OK)
        rc = strata__pack_fill(&packs, 0, err);
    if (rc < 0)
        return rc;
    d->base.max_ttl_ms = o->max_ttl_ms;
    o->compression = packs.compression;
    o->compress_above_bytes = packs.compress_above_bytes;
    int copied = copy_text(&o->path, path) & copy_text(&o->dictionary, packs.dictionary) &
                 copy_text(&o->dictionaries, packs.dictionaries) & copy_text(&o->key_file, protects.key_file) &
                 copy_text(&o->old_key_file, protects.old_key_file);
    return copied ? STRATA_OK : strata__fail(err, STRATA_ENOMEM, "path", "no memory for the path: free some");
}

strata_layer *strata_disk_layer(const strata_disk_options *options)
{
    struct disk *d = strata__alloc_zero(NULL, sizeof *d);
    if (d == NULL)
        return strata__layer_out_of_memory();
    d->base.size = sizeof d->base;
    d->base.ops = &disk_ops;
    d->base.flags = STRATA_LAYER_LOCAL | STRATA_LAYER_DURABLE | STRATA_LAYER_BLOCKS | STRATA__LAYER_COPIES |
                    STRATA__LAYER_ALONE;
    d->dir_fd = -1;
    d->lock_fd = d->ban_fd = -1;
    snprintf(d->base.name, sizeof d->base.name, "disk");
    if (check(d, options, &d->base.failed) < 0)
        return &d->base;
    if (d->options.admit_on == STRATA_ADMIT_ON_EVICTION)
        d->base.flags |= STRATA_LAYER_DEMOTED;
    if (d->options.name != NULL)
        snprintf(d->base.name, sizeof d->base.name, "%s", d->options.name);
    d->options.name = d->base.name;
    return &d->base;
}
