/* disk_read.c - get, and the walk over all keys.
 *
 * A get is one pread into the block that becomes the value: head, key and envelope stand in front of the payload in it, and
 * nothing is copied again.  Nothing that was read is believed before its sum, its key and its expiry were looked at. */
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/format/envelope.h"
#include "src/layer/disk/disk_impl.h"
#include "src/layer/pack.h"
#include "src/layer/value_impl.h"
#include "src/os/os_file.h"

/* What a slot says, pinned. */
struct found {
    struct segment *segment;
    uint64_t hash, where;
};

static int64_t wall_s(struct disk *d) { return strata_host_wall_ms(d->host) / 1000; }

static int is_over(const struct slot *slot, int64_t now_s)
{
    return slot->expires_s != RECORD_NEVER && now_s >= (int64_t)slot->expires_s;
}

/* The key's slot, and its segment pinned; `use` counts it as a read.  0 where there is none. */
static int find(struct disk *d, uint64_t hash, int use, struct found *out)
{
    struct disk_shard *shard = disk_shard_of(d, hash);
    disk_index_ahead(shard, hash_tag(hash));
    int64_t now_s = wall_s(d); /* while that is on its way, and not under the lock */
    os_lock_take(&shard->lock);
    struct slot *slot = strata__disk_index_find(shard, hash_tag(hash));
    /* What is over keeps its slot, so that what overwrites it knows that there is something to overwrite. */
    int found = slot != NULL && !is_over(slot, now_s);
    if (found) {
        if (use && where_use(slot->where) < SLOT_USE_MOST)
            slot->where++;
        out->hash = hash;
        out->where = slot->where;
        out->segment = d->log.table[where_segment(slot->where)];
        segment_pin(out->segment);
    }
    os_lock_give(&shard->lock);
    return found;
}

int strata__disk_read_record(struct disk *d, struct segment *s, uint64_t where, void *bytes, struct disk_record *out,
                             int *out_damaged, strata_error *err)
{
    uint64_t offset = where_offset(where);
    size_t size = (size_t)where_size(where), got = size;
    int copied = 0;
    *out_damaged = 0;
    /* Acquire: what the writer's pwrite put there is there for our pread. */
    if (atomic_load_explicit(&s->written, memory_order_acquire) < offset + size) {
        copied = strata__log_copy(d, s, offset, size, bytes);
        if (copied < 0)
            return STRATA_MISS;
    }
    if (!copied) {
        int failed = strata__os_file_read(s->fd, bytes, size, offset, &got);
        if (failed != 0)
            return strata__fail_os(err, STRATA_EIO, failed, d->base.name,
                                   "reading segment %llu of \"%s\" failed: look at the disk",
                                   (unsigned long long)s->number, d->options.path);
    }
    if (got == size && strata__record_read(out, bytes, size, d->dir.seed) == FORMAT_OK && out->size == size)
        return STRATA_OK;
    *out_damaged = 1;
    return strata__fail(err, STRATA_EIO, d->base.name,
                        "a record in segment %llu of \"%s\" is damaged: it was forgotten; look at the disk",
                        (unsigned long long)s->number, d->options.path);
}

int strata__disk_forget(struct disk *d, struct segment *s, uint64_t hash, uint64_t where)
{
    struct disk_shard *shard = disk_shard_of(d, hash);
    os_lock_take(&shard->lock);
    struct slot *slot = strata__disk_index_find(shard, hash_tag(hash));
    /* Where the segment has left, the table may have another in its place, and that the key at the same offset. */
    int found = slot != NULL && where_same(slot->where, where) && d->log.table[where_segment(where)] == s;
    if (found) {
        strata__segment_lost(s, where_size(where));
        strata__disk_index_erase(shard, slot);
        disk_uncount(&d->entries);
    }
    os_lock_give(&shard->lock);
    return found;
}

/* Once more it shall not be read; marked first, so that it stays away whatever comes. */
static void forget_damaged(struct disk *d, const struct found *f)
{
    if (strata__disk_mark_invalid(d, f->segment, f->where) == 0)
        (void)strata__disk_forget(d, f->segment, f->hash, f->where);
}

static int is_banned(struct disk *d, const struct found *f, const struct disk_record *r)
{
    /* Acquire: with the place, the list behind it; with 0, what was unlinked before the last ban retired. */
    uint64_t newest = atomic_load_explicit(&d->bans.newest, memory_order_acquire);
    if (newest == 0)
        return 0;
    uint64_t birth = r->birth != 0 ? r->birth : strata__place(f->segment->number, where_offset(f->where));
    return birth < newest && strata__bans_cover(d, r->key, birth);
}

/* Is it a value, this key's, and not banned?  A ban goes when the segments with what it bans are gone, and the one we have
 * pinned may be gone by now: so the bans are looked at first, and what is not banned counts only if its file is still there. */
static int counts(struct disk *d, const struct found *f, const struct disk_record *r, strata_slice key)
{
    if (r->kind != RECORD_PUT || r->key.size != key.size || memcmp(r->key.data, key.data, key.size) != 0)
        return 0;
    return !is_banned(d, f, r) && !atomic_load(&f->segment->unlinked);
}

static int fail_memory(struct disk *d, strata_op *op, size_t size)
{
    return strata__fail(op->err, STRATA_ENOMEM, d->base.name,
                        "no memory for a value of %zu bytes: free some, or lower max_value_bytes", size);
}

static int unpack(struct disk *d, strata_op *op, const struct envelope *e, struct strata_value **value)
{
    struct strata_value *raw;
    int rc = strata__unpack(&d->compressor, e, d->options.max_value_bytes, op, d->base.name, &raw);
    if (rc != STRATA_OK)
        return rc;
    strata_value_unref(*value);
    *value = raw;
    return STRATA_OK;
}

static void nothing_found(strata_op *op, struct strata_value *value)
{
    strata_value_unref(value);
    strata_value_unref(op->tags);
    op->tags = NULL;
}

/* From a record that counts: meta and value.  Takes `value` over. */
static int answer(struct disk *d, strata_op *op, const struct disk_record *r, struct strata_value *value)
{
    struct envelope e;
    size_t lead = r->flags & 15;
    int rc = STRATA_OK;
    int verdict = lead <= r->body.size
                      ? strata__envelope_read(&e, (const char *)r->body.data + lead, r->body.size - lead)
                      : FORMAT_CORRUPT;
    if (verdict == FORMAT_CORRUPT)
        rc = strata__fail(op->err, STRATA_EIO, d->base.name, "an envelope is damaged, though its record's sum is right");
    else if (verdict != FORMAT_OK)
        rc = STRATA_MISS; /* a newer version's */
    if (rc == STRATA_OK) {
        struct strata_value *opened;
        rc = strata__protect_open(&d->protector, &e,
                                  strata_bytes((const char *)r->body.data + lead, r->body.size - lead),
                                  strata_bytes("", 0), op, d->base.name, &opened);
        if (opened != NULL) {
            strata_value_unref(value);
            value = opened;
        }
    }
    if (rc == STRATA_OK) {
        strata__envelope_to_meta(&op->meta, &e);
        strata__unpack_tags(op, &e);
        if (e.flags & ENVELOPE_NEGATIVE) {
            strata_value_unref(value);
            return STRATA_OK;
        }
        if (e.compression != COMPRESS_NONE)
            rc = unpack(d, op, &e, &value);
        else if (e.payload.size != 0)
            value->data = e.payload.data; /* an empty one keeps the block's own, aligned, address */
        if (rc == STRATA_OK && e.compression == COMPRESS_NONE)
            value->size = e.payload.size;
    }
    if (rc == STRATA_OK)
        op->found = value;
    else
        nothing_found(op, value);
    return rc == STRATA_EIO ? STRATA_MISS : rc; /* with words */
}

static int get(struct disk *d, strata_op *op, const struct found *f)
{
    struct disk_record record;
    void *bytes;
    int damaged;
    struct strata_value *value = strata__value_new(op->mem, (size_t)where_size(f->where), &bytes);
    if (value == NULL)
        return fail_memory(d, op, (size_t)where_size(f->where));
    int rc = strata__disk_read_record(d, f->segment, f->where, bytes, &record, &damaged, op->err);
    if (damaged) { /* as good as none; its words are for the operator */
        forget_damaged(d, f);
        rc = STRATA_MISS;
    }
    if (rc == STRATA_OK && !counts(d, f, &record, op->key))
        rc = STRATA_MISS;
    if (rc == STRATA_OK)
        return answer(d, op, &record, value);
    strata_value_unref(value);
    return rc;
}

void strata__disk_get(struct disk *d, strata_op *op)
{
    struct found f;
    int rc = STRATA_MISS, again = !atomic_load_explicit(&d->lost, memory_order_relaxed);
    uint64_t hash = strata__disk_hash(d, op->key), before = 0;
    op->found = NULL;
    while (again && find(d, hash, before == 0, &f)) {
        rc = where_same(f.where, before) ? STRATA_MISS : get(d, op, &f);
        /* It was moved while we read it, or it leaves. */
        again = rc == STRATA_MISS && !where_same(f.where, before) && atomic_load(&f.segment->unlinked);
        before = f.where;
        strata__segment_unpin(f.segment);
    }
    strata_op_done(op, rc);
}

/* All keys ---------------------------------------------------------------------------------------------------- */

struct walk {
    int (*each)(uint32_t, strata_slice, void *);
    void *ctx;
    char *bytes;
    size_t room;
    int stop;
};

/* Where the tag's record is now: it may have moved, or been written again, since the copy was made. */
static int find_again(struct disk *d, struct disk_shard *shard, uint32_t tag, struct found *out)
{
    int64_t now_s = wall_s(d);
    os_lock_take(&shard->lock);
    const struct slot *slot = strata__disk_index_find(shard, tag);
    int found = slot != NULL && !is_over(slot, now_s);
    if (found) {
        *out = (struct found){ d->log.table[where_segment(slot->where)], 0, slot->where };
        segment_pin(out->segment);
    }
    os_lock_give(&shard->lock);
    return found;
}

/* STRATA_OK: told, or damaged; STRATA_MISS: it does not count, or is there no more. */
static int walk_record(struct disk *d, const struct found *f, struct walk *w, strata_error *err)
{
    struct disk_record record;
    int damaged;
    if (where_size(f->where) > w->room) {
        size_t room = (size_t)where_size(f->where) * 2;
        strata__free(d->mem, w->bytes);
        w->bytes = strata__alloc(d->mem, room);
        w->room = w->bytes != NULL ? room : 0;
        if (w->bytes == NULL)
            return strata__fail(err, STRATA_ENOMEM, d->base.name, "no memory to read keys: free some");
    }
    int rc = strata__disk_read_record(d, f->segment, f->where, w->bytes, &record, &damaged, err);
    if (damaged)
        return STRATA_OK; /* a get of it will say so */
    if (rc == STRATA_OK && !counts(d, f, &record, record.key))
        return STRATA_MISS;
    if (rc == STRATA_OK)
        w->stop = w->each(0, record.key, w->ctx);
    return rc;
}

static int walk_one(struct disk *d, struct disk_shard *shard, uint32_t tag, struct walk *w, strata_error *err)
{
    struct found f;
    uint64_t before = 0;
    int rc = STRATA_MISS, again = 1;
    while (again && find_again(d, shard, tag, &f)) {
        again = !where_same(f.where, before); /* else it was looked at */
        if (again)
            rc = walk_record(d, &f, w, err);
        again = again && rc == STRATA_MISS;
        before = f.where;
        strata__segment_unpin(f.segment);
    }
    return rc == STRATA_MISS ? STRATA_OK : rc;
}

int strata__disk_keys(struct disk *d, int (*each)(uint32_t, strata_slice, void *), void *ctx, strata_error *err)
{
    struct walk w = { each, ctx, NULL, 0, 0 };
    int rc = STRATA_OK;
    for (uint32_t i = 0; i < d->shard_count && rc == STRATA_OK && !w.stop && !atomic_load(&d->lost); i++) {
        struct disk_shard *shard = &d->shards[i];
        os_lock_take(&shard->lock);
        uint64_t room = shard->room;
        struct slot *copy = strata__alloc_array(d->mem, room, sizeof *copy);
        if (copy != NULL)
            memcpy(copy, shard->slots, room * sizeof *copy);
        os_lock_give(&shard->lock);
        if (copy == NULL)
            rc = strata__fail(err, STRATA_ENOMEM, d->base.name, "no memory to list the keys: free some");
        for (uint64_t k = 0; copy != NULL && k < room && rc == STRATA_OK && !w.stop; k++)
            if (copy[k].where != 0)
                rc = walk_one(d, shard, copy[k].tag, &w, err);
        strata__free(d->mem, copy);
    }
    strata__free(d->mem, w.bytes);
    return rc;
}
