/* snapshot_import.c - entries of a snapshot, into the layers.
 *
 * Each entry is a read of its key: a flight, that nobody loads for.  Where no layer has an answer, the entry is judged as one that a
 * layer below all others had found, and fills the layers as such a find would, under the same fences: a write or an invalidation
 * that comes meanwhile wins.  Nothing else is known of an entry of another life than when it was born, and clocks differ: so it counts as older
 * than any ban and clear of this life, as what a disk held before it (STRATA__LAYER_ALONE). */
#include <string.h>

#include "src/base/hash.h"
#include "src/core/bans.h"
#include "src/core/snapshot_impl.h"
#include "src/layer/entry_notes.h"

enum { BATCH = 64, QUICK_BATCH = 32 };

#define WHERE "snapshot"

/* The layer below all others, as far as judging goes. */
struct layer_slot strata__below_all = { .index = LAYERS_MAX, .flags = STRATA__LAYER_ALONE };

/* What a flight does with an entry ---------------------------------------------------------------------------------- */

struct imported *strata__imported_ref(struct imported *im)
{
    atomic_fetch_add_explicit(&im->refs, 1, memory_order_relaxed);
    return im;
}

void strata__imported_unref(struct imported *im)
{
    if (im == NULL || atomic_fetch_sub_explicit(&im->refs, 1, memory_order_acq_rel) != 1)
        return;
    strata_value_unref(im->value);
    strata_value_unref(im->tags);
    strata__free(im->mem, im);
}

void strata__imported_stored(struct imported *im) { atomic_store(&im->became, IMPORTED_STORED); }
void strata__imported_fenced(struct imported *im) { atomic_store(&im->became, IMPORTED_KEPT); }

/* Its state, judged as what was found. */
static int judge(struct flight *f, struct imported *im, struct held *held)
{
    strata_op *op = &f->op;
    int64_t now = ex_now_ms(f->root->ex);
    op_init(op, f->handle, &strata__below_all, &f->key, STRATA_OP_GET, now, &f->op_err);
    op->found = im->value != NULL ? strata_value_ref(im->value) : NULL;
    op->tags = im->tags != NULL ? strata_value_ref(im->tags) : NULL;
    op->meta = im->meta;
    if (f->layer_failed)
        return op_drop(op), IMPORTED_FAILED;
    if (!strata__held_init(f->handle, &strata__below_all, op, held))
        return IMPORTED_BANNED;
    if (held->d.gone_at <= now)
        return IMPORTED_EXPIRED;
    if (f->previous.there && f->previous.meta.born_ms >= held->meta.born_ms)
        return IMPORTED_KEPT;
    return IMPORTED_JUDGED;
}

/* Where it goes: to the first layer that others use, too, and what lies below it, or to all. */
static uint32_t first_layer(const struct root *root)
{
    for (uint32_t i = 0; i < root->layer_count; i++)
        if (root->layers[i].flags & STRATA_LAYER_SHARED)
            return i;
    return 0;
}

/* What those are told who have joined.  0: the entry is none that a read would be given, and a loader waits for its call. */
static int answer(struct flight *f, const struct held *held)
{
    struct frame frame;
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    int loads = atomic_load(&f->wants_load);
    enum action a = strata__held_action(held, loads ? SITUATION_LOAD : SITUATION_READ, ex_now_ms(f->root->ex));
    int serves = action_serves(a);
    if (serves || !loads)
        strata__flight_seal_locked(f); /* who comes now is not answered with this: it begins anew */
    stripe_unlock(s, &frame);
    f->status = !serves                                              ? STRATA_MISS
                : held->meta.negative                                ? STRATA_ABSENT
                : a == ACTION_STALE || a == ACTION_STALE_AND_REFRESH ? STRATA_STALE
                                                                     : STRATA_OK;
    return serves || !loads;
}

int strata__imported_take(struct flight *f)
{
    struct imported *im = f->import;
    struct held held = { 0 };
    int became = judge(f, im, &held);
    if (became == IMPORTED_JUDGED && !answer(f, &held))
        became = IMPORTED_KEPT; /* what is loaded is younger */
    atomic_store(&im->became, became);
    if (became != IMPORTED_JUDGED) {
        strata__held_drop(&held);
        return 0;
    }
    f->value = held.value;
    f->tags = held.tags;
    f->is_hit = f->status != STRATA_MISS;
    f->hit_state = held_state(&held, ex_now_ms(f->root->ex));
    f->plan = (struct plan){ .kind = STRATA_OP_PUT,
                             .layer = first_layer(f->root),
                             .end = (uint32_t)f->root->layer_count,
                             .value = f->value,
                             .tags = f->tags,
                             .meta = held.meta,
                             .is_backfill = 1,
                             .from = LAYERS_MAX };
    return 1;
}

/* Reading the stream ------------------------------------------------------------------------------------------------ */

/* An entry on its way. */
struct entering {
    struct imported *import;
    struct waiter waiter;
    strata_error words;
    uint64_t bytes; /* of key and value */
};

struct import {
    struct snapshot_call call;
    strata_snapshot_read read;
    void *ctx;
    int rc;   /* what ends it */
    int stop; /* no more are wanted */
    int cut;  /* the stream has ended too early */
    int worst;
    uint64_t sum, raw_bytes, entries, blocks;
    uint8_t *stored, *raw;
    size_t stored_room, raw_room;
    struct compressor compressor;
    struct entering *entering; /* BATCH of them */
    size_t count;
    struct driver driver;
    const uint8_t *block_end; /* of the block's entries */
    size_t quick_count;
    struct quick_import quick[QUICK_BATCH];
};

static int fail_memory(struct import *m)
{
    return m->rc = strata__fail(m->call.err, STRATA_ENOMEM, WHERE, "no memory for the snapshot: free some");
}

static int fail_damaged(struct import *m, const char *what)
{
    return m->rc = strata__fail(m->call.err, STRATA_EIO, WHERE,
                                "damaged in block %llu, before byte %llu: %s.  What stood before it was imported",
                                (unsigned long long)m->blocks, (unsigned long long)m->call.report.stream_bytes, what);
}

/* 1: all of it; 0: the stream has ended before, or failed. */
static int take(struct import *m, void *out, size_t size)
{
    size_t done = 0;
    while (done < size) {
        size_t got = 0;
        struct frame frame;
        frame_push(&frame, m->call.root, FRAME_CALLBACK);
        int rc = m->read((char *)out + done, size - done, &got, m->ctx);
        frame_pop(&frame);
        if (rc < 0) {
            m->rc = strata__fail_plain(m->call.err, rc, WHERE);
            return 0;
        }
        if (got == 0 || got > size - done)
            break;
        done += got;
        m->call.report.stream_bytes += got;
    }
    m->cut = done < size;
    return done == size ? 1 : (fail_damaged(m, "it has no end"), 0);
}

static uint8_t *room_for(struct import *m, uint8_t **place, size_t *room, size_t size)
{
    if (*room < size) {
        strata__free(m->call.root->mem, *place);
        *place = strata__alloc(m->call.root->mem, size);
        *room = *place != NULL ? size : 0;
        if (*place == NULL)
            fail_memory(m);
    }
    return *place;
}

static int begin_stream(struct import *m)
{
    uint8_t bytes[STREAM_HEAD];
    struct stream_head head = { 0 };
    if (!take(m, bytes, sizeof bytes) && !m->cut)
        return m->rc;
    int verdict = m->rc == STRATA_OK ? strata__stream_head_read(&head, bytes, sizeof bytes) : FORMAT_FOREIGN;
    m->sum = head.sum;
    switch (verdict) {
    case FORMAT_OK: return STRATA_OK;
    case FORMAT_NEWER:
        return m->rc = strata__fail(m->call.err, STRATA_EUNSUPPORTED, WHERE,
                                    "the snapshot is of a newer format than this version reads");
    case FORMAT_CORRUPT: return fail_damaged(m, "its head is another one than was written");
    default: return m->rc = strata__fail(m->call.err, STRATA_EINVAL, WHERE, "this is no snapshot of strata's");
    }
}

/* Entries ----------------------------------------------------------------------------------------------------------- */

static void nothing(void *ctx) { (void)ctx; }

static void begin_entry(struct import *m, struct entering *e, strata *handle, strata_slice key)
{
    struct want want = { .handle = handle, .policy = &handle->policy, .import = e->import };
    struct flight *f;
    struct waiter *w = &e->waiter;
    *w = (struct waiter){
        .handle = handle, .err = &e->words, .soft_at = INT64_MAX, .hard_at = INT64_MAX, .quiet = 1, .driver = &m->driver
    };
    key_mutex_lock(&m->driver.lock);
    m->driver.left++; /* before anybody can answer it */
    key_mutex_unlock(&m->driver.lock);
    switch (strata__flight_enter(&want, key, handle_hash(handle, key), w, &f, &e->words)) {
    case ENTERED_STARTED:
        strata__strand_help(&f->strand, &m->driver);
        strata__flight_run(&f->strand);
        break;
    case ENTERED_QUEUED: strata__queued_help(&want, w, &m->driver); break;
    case ENTERED_JOINED: strata__waiter_help(w, &m->driver); break;
    default: strata__driver_done(&m->driver, nothing, NULL);
    }
}

static void count_as(struct import *m, enum imported_as became, uint64_t bytes)
{
    strata_snapshot_report *r = &m->call.report;
    switch (became) {
    case IMPORTED_STORED:
        r->entries++;
        r->bytes += bytes;
        break;
    case IMPORTED_KEPT: r->kept++; break;
    case IMPORTED_BANNED: r->banned++; break;
    case IMPORTED_EXPIRED: r->expired++; break;
    case IMPORTED_JUDGED: r->refused++; break;
    default: r->failed++;
    }
}

static void count_entry(struct import *m, struct entering *e)
{
    enum imported_as became = (enum imported_as)atomic_load(&e->import->became);
    if (e->waiter.status < 0 && became != IMPORTED_STORED)
        became = IMPORTED_FAILED;
    count_as(m, became, e->bytes);
    if (became != IMPORTED_FAILED || m->worst != STRATA_OK)
        return;
    m->worst = e->waiter.status < 0 ? e->waiter.status : STRATA_ELAYER;
    if (m->call.err != NULL)
        *m->call.err = e->words;
    strata__fail_plain(m->call.err, m->worst, WHERE);
}

/* Wait for those that are on their way. */
static void finish_batch(struct import *m)
{
    for (;;) {
        key_mutex_lock(&m->driver.lock);
        size_t left = m->driver.left;
        key_mutex_unlock(&m->driver.lock);
        if (left == 0)
            break;
        strata__driver_step(&m->driver, INT64_MAX);
    }
    for (size_t i = 0; i < m->count; i++) {
        struct entering *e = &m->entering[i];
        strata__waiter_leave(&e->waiter, &m->driver);
        strata_value_unref(e->waiter.value);
        count_entry(m, e);
        strata__imported_unref(e->import);
    }
    m->count = 0;
}

/* A life's own clock and positions are believed as far as they can be true. */
static void distrust(const struct root *root, strata_meta *meta)
{
    meta->version = 0;
    meta->retry_at_ms = 0;
    if (meta->life == root->life &&
        (meta->born_ms > ex_now_ms(root->ex) || meta->position > atomic_load(&root->position)))
        meta->life = ~root->life;
    else if (meta->life == 0)
        meta->life = ~root->life;
}

static int is_too_old(const struct import *m, const struct envelope *e)
{
    int64_t age, most = m->call.options.max_age_ms;
    return most > 0 &&
           (__builtin_sub_overflow(m->call.begun_wall_ms, e->born_wall_ms, &age) ? e->born_wall_ms < 0 : age > most);
}

static struct imported *make_imported(struct import *m, const struct envelope *e)
{
    struct root *root = m->call.root;
    struct imported *im = strata__alloc_zero(root->mem, sizeof *im);
    if (im == NULL)
        return NULL;
    atomic_init(&im->refs, 1);
    im->mem = root->mem;
    strata__envelope_to_meta(&im->meta, e);
    distrust(root, &im->meta);
    if (!im->meta.negative)
        im->value = strata__value_copy(root->mem, e->payload.data, e->payload.size);
    im->tags = strata__entry_notes_unpack(root->mem, e);
    if (im->meta.negative || im->value != NULL)
        return im;
    strata__imported_unref(im);
    return NULL;
}

/* Is it one to put anywhere?  NULL: no, which is counted. */
static strata *place_of(struct import *m, const struct stream_entry *e, strata_slice *plain)
{
    strata_snapshot_report *r = &m->call.report;
    const struct root *root = m->call.root;
    strata *handle = NULL;
    int rc = strata__snapshot_space(&m->call, e->key, &handle, plain);
    if (rc < 0)
        return m->rc = rc, NULL;
    if (rc != STRATA_OK)
        return r->not_open++, NULL;
    if (!handle_within(handle, m->call.cache))
        return r->outside++, NULL;
    if (!key_fits(handle, *plain) || e->envelope.payload.size > root->options.max_value_bytes)
        return r->refused++, NULL;
    if (is_too_old(m, &e->envelope))
        return r->expired++, NULL;
    if (e->envelope.compression != COMPRESS_NONE || (e->envelope.flags & ENVELOPE_PROTECTED) ||
        (e->envelope.codec != 0 && (root->codec == NULL || root->codec->id != e->envelope.codec)))
        return r->failed++, NULL;
    return handle;
}

/* By a flight of its key. */
static int fly(struct import *m, const struct envelope *e, strata *handle, strata_slice plain, uint64_t bytes)
{
    struct entering *into = &m->entering[m->count];
    *into = (struct entering){ .bytes = bytes, .import = make_imported(m, e) };
    if (into->import == NULL)
        return fail_memory(m);
    m->count++;
    begin_entry(m, into, handle, plain);
    if (m->count == BATCH)
        finish_batch(m);
    return STRATA_OK;
}

/* Those that were gathered for the short way; who can't go it has a flight. */
static void put_quick(struct import *m)
{
    for (size_t i = 0; i < m->quick_count; i++) {
        struct quick_import *q = &m->quick[i];
        const uint8_t *at = q->at;
        struct stream_entry e;
        enum imported_as became = strata__import_quick(q);
        if (became != IMPORTED_NOT_YET)
            count_as(m, became, q->bytes);
        else if (strata__stream_entry_read(&e, &at, m->block_end) == FORMAT_OK) /* as before */
            fly(m, &e.envelope, q->handle, q->key, q->bytes);
        strata_value_unref(q->tags);
    }
    m->quick_count = 0;
}

static void gather(struct import *m, const struct stream_entry *e, const uint8_t *at, strata *handle, strata_slice plain)
{
    struct quick_import *q = &m->quick[m->quick_count++];
    q->handle = handle;
    q->key = plain;
    q->hash = handle_hash(handle, plain);
    q->bytes = e->key.size + e->envelope.payload.size;
    q->at = at;
    q->payload = e->envelope.payload;
    q->tags = strata__entry_notes_unpack(m->call.root->mem, &e->envelope);
    strata__envelope_to_meta(&q->meta, &e->envelope);
    distrust(m->call.root, &q->meta);
    strata__import_hint(q);
    if (m->quick_count == QUICK_BATCH)
        put_quick(m);
}

/* It stands at `at`. */
static int take_entry(struct import *m, const struct stream_entry *e, const uint8_t *at)
{
    strata_slice plain;
    strata *handle = place_of(m, e, &plain);
    if (handle == NULL)
        return m->rc;
    uint64_t bytes = e->key.size + e->envelope.payload.size;
    const strata_snapshot_options *o = &m->call.options;
    if (o->max_bytes != 0 ||
        (o->max_entries != 0 && m->call.report.entries + m->count + m->quick_count >= o->max_entries)) {
        put_quick(m); /* which of those that are on their way get there? */
        finish_batch(m);
    }
    if (!strata__snapshot_room(&m->call, bytes)) {
        m->stop = 1;
        return STRATA_OK;
    }
    if (e->envelope.codec == 0 && strata__import_may_be_quick(handle))
        gather(m, e, at, handle, plain);
    else
        fly(m, &e->envelope, handle, plain, bytes);
    return m->rc;
}

static int take_entries(struct import *m, const struct stream_block *block, const uint8_t *raw)
{
    const uint8_t *at = raw, *end = raw + block->raw_size;
    m->block_end = end;
    for (uint32_t i = 0; i < block->entries && m->rc == STRATA_OK && !m->stop; i++) {
        struct stream_entry e;
        const uint8_t *begin = at;
        int verdict = strata__stream_entry_read(&e, &at, end);
        if (verdict == FORMAT_NEWER)
            m->call.report.failed++;
        else if (verdict != FORMAT_OK)
            fail_damaged(m, "an entry is none");
        else
            take_entry(m, &e, begin);
    }
    put_quick(m);
    finish_batch(m);
    if (m->rc == STRATA_OK && !m->stop && at != end)
        fail_damaged(m, "something stands behind its entries");
    return m->rc;
}

/* Blocks ------------------------------------------------------------------------------------------------------------ */

/* The block's entries, unpacked; NULL: m->rc. */
static const uint8_t *unpack(struct import *m, const struct stream_block *block)
{
    if (block->compression == COMPRESS_NONE)
        return m->stored;
    int rc = strata__decompress_check(&m->compressor, COMPRESS_ZSTD, 0, m->stored, block->stored_size, block->raw_size,
                                      STREAM_MOST);
    if (rc == STRATA_EUNSUPPORTED) {
        m->rc = strata__compress_check(COMPRESS_ZSTD, 0, m->call.err);
        return NULL;
    }
    if (rc == STRATA_OK && room_for(m, &m->raw, &m->raw_room, block->raw_size) == NULL)
        return NULL;
    if (rc == STRATA_OK)
        rc = strata__decompress(&m->compressor, COMPRESS_ZSTD, 0, m->stored, block->stored_size, m->raw,
                                block->raw_size);
    if (rc == STRATA_ENOMEM)
        fail_memory(m);
    else if (rc != STRATA_OK)
        fail_damaged(m, "it can't be unpacked");
    return rc == STRATA_OK ? m->raw : NULL;
}

/* Such a block has one entry, which no layer would take: it is read to know what follows. */
static int is_too_large(const struct import *m, const struct stream_block *block)
{
    return block->raw_size > STREAM_BLOCK_BYTES &&
           block->raw_size - STREAM_BLOCK_BYTES > m->call.root->options.max_value_bytes;
}

static int skip_block(struct import *m, const uint8_t *head, const struct stream_block *block)
{
    uint8_t bytes[4096];
    struct hash_stream sum;
    strata__hash_start(&sum, m->sum);
    strata__hash_add(&sum, head, STREAM_BLOCK - sizeof block->sum);
    for (size_t left = block->stored_size; left != 0;) {
        size_t part = left < sizeof bytes ? left : sizeof bytes;
        if (!take(m, bytes, part))
            return m->rc;
        strata__hash_add(&sum, bytes, part);
        left -= part;
    }
    if (strata__hash_sum(&sum) != block->sum)
        return fail_damaged(m, "its sum is another one");
    m->call.report.refused++;
    return STRATA_OK;
}

static int take_block(struct import *m, const uint8_t *head, const struct stream_block *block)
{
    if (is_too_large(m, block))
        return skip_block(m, head, block);
    if (room_for(m, &m->stored, &m->stored_room, block->stored_size) == NULL || !take(m, m->stored, block->stored_size))
        return m->rc;
    if (strata__stream_sum(head, m->sum, m->stored, block->stored_size) != block->sum)
        return fail_damaged(m, "its sum is another one");
    if (block->kind == STREAM_LAST)
        return STRATA_OK;
    const uint8_t *raw = unpack(m, block);
    return raw != NULL ? take_entries(m, block, raw) : m->rc;
}

static int check_end(struct import *m)
{
    uint64_t entries, raw_bytes;
    strata__stream_end_read(m->stored, &entries, &raw_bytes);
    return entries == m->entries && raw_bytes == m->raw_bytes ? STRATA_OK
                                                              : fail_damaged(m, "it counts its entries otherwise");
}

static int take_blocks(struct import *m)
{
    uint8_t head[STREAM_BLOCK];
    struct stream_block block = { 0 };
    while (m->rc == STRATA_OK && !m->stop) {
        m->blocks++;
        if (!take(m, head, sizeof head))
            return m->rc;
        int verdict = strata__stream_block_read(&block, head);
        if (verdict == FORMAT_NEWER)
            return m->rc = strata__fail(m->call.err, STRATA_EUNSUPPORTED, WHERE,
                                        "block %llu is of a newer format than this version reads",
                                        (unsigned long long)m->blocks);
        if (verdict != FORMAT_OK)
            return fail_damaged(m, "no block stands there");
        if (take_block(m, head, &block) != STRATA_OK || m->stop)
            return m->rc;
        if (block.kind == STREAM_LAST)
            return check_end(m);
        m->sum = block.sum;
        m->entries += block.entries;
        m->raw_bytes += block.raw_size;
        m->rc = strata__snapshot_progress(&m->call);
    }
    return m->rc;
}

int strata_snapshot_import(strata *cache, const strata_snapshot_options *options, strata_snapshot_read read, void *ctx,
                           strata_snapshot_report *out_report, strata_error *err)
{
    if (cache == NULL || read == NULL)
        return strata__no_argument(err, "strata_snapshot_import() needs a cache and a function that gives the bytes");
    struct import m = { .read = read, .ctx = ctx };
    int rc = strata__snapshot_begin(&m.call, cache, options, out_report, err);
    if (rc != STRATA_OK)
        return rc;
    const strata_allocator *mem = m.call.root->mem;
    strata__compressor_init(&m.compressor, mem);
    strata__driver_init(&m.driver, m.call.root->ex, 0);
    m.entering = strata__alloc_array(mem, BATCH, sizeof *m.entering);
    if (m.entering == NULL)
        fail_memory(&m);
    else if (begin_stream(&m) == STRATA_OK)
        take_blocks(&m);
    strata__driver_deinit(&m.driver);
    strata__compressor_deinit(&m.compressor);
    strata__free(mem, m.entering);
    strata__free(mem, m.stored);
    strata__free(mem, m.raw);
    return strata__snapshot_end(&m.call, out_report, m.rc != STRATA_OK ? m.rc : m.worst);
}
