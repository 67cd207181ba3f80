/* disk_write.c - put and remove.
 *
 * A put that replaces nothing returns as soon as it stands in a buffer.  One that replaces something, and a remove, wait
 * until the log is written behind them, so that no kill -9 brings the older one back.  Where that write fails, what was
 * replaced is taken back in place, which needs no room; and where that fails, its segment and all older ones are unlinked. */
#include <errno.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/format/envelope.h"
#include "src/layer/disk/disk_impl.h"
#include "src/layer/pack.h"
#include "src/layer/value_impl.h"
#include "src/os/os_file.h"

enum {
    ROTATIONS_MOST = 64,  /* others may fill each new segment before we come: then pass through */
    RECLAIMS_MOST = 32,   /* for one record: a large one may need the room of several */
    RECLAIMS_FOR_FILE = 1 /* that one frees a descriptor; if others take it, more would empty the cache for them */
};

/* Besides an append_answer. */
enum { TRY_MISS = 100, TRY_NO_MEMORY };

/* A record that is to be written. */
struct pending {
    struct append append;
    struct log_waiter waiter;
    struct disk_record record;
    struct envelope envelope;
    strata_slice payload;
    size_t header_size;
    void *packed;   /* ours, or NULL */
    int taken_back; /* it could not be written, and what it was to replace is gone */
};

uint64_t strata__disk_hash(const struct disk *d, strata_slice key)
{
    return strata__hash(key.data, key.size, d->dir.seed);
}

int strata__disk_mark_invalid(struct disk *d, struct segment *s, uint64_t where)
{
    static const unsigned char invalid = RECORD_INVALID;
    int failed = strata__os_file_write(s->fd, &invalid, 1, where_offset(where) + RECORD_KIND_AT);
    if (failed == 0 && d->options.sync == STRATA_SYNC_WRITE)
        failed = strata__os_file_sync(s->fd);
    if (failed != 0)
        disk_count(&d->errors);
    return failed;
}

int strata__disk_invalidate(struct disk *d, struct segment *s, uint64_t where)
{
    /* What was never written is nowhere. */
    if (atomic_load_explicit(&s->written, memory_order_acquire) < where_offset(where) + where_size(where) ||
        strata__disk_mark_invalid(d, s, where) == 0)
        return 0;
    return strata__disk_drop_through(d, s->number);
}

/* Making the record ------------------------------------------------------------------------------------------- */

static uint32_t seconds_of(struct disk *d, const strata_op *op)
{
    int64_t left, at;
    if (op->expires_ms == STRATA_FOREVER || __builtin_sub_overflow(op->expires_ms, op->now_ms, &left) ||
        __builtin_add_overflow(strata_host_wall_ms(d->host), left, &at) || at / 1000 >= (int64_t)RECORD_NEVER - 1)
        return RECORD_NEVER;
    return at < 0 ? 0 : (uint32_t)((at + 999) / 1000);
}

/* Where it saves enough; otherwise, and without memory, the value goes as it is. */
static void pack(struct disk *d, struct pending *p)
{
    uint32_t alg = strata__pack_algorithm(d->options.compression);
    size_t size = p->payload.size, packed = 0;
    if (alg == COMPRESS_NONE || size < d->options.compress_above_bytes || size == 0)
        return;
    size_t room = size - size / 100 * 15;
    p->packed = strata__alloc(d->mem, room);
    if (p->packed != NULL && strata__compress(&d->compressor, alg, (int)d->options.compression_level, p->payload.data,
                                              size, p->packed, room, &packed) == STRATA_OK) {
        p->envelope.compression = alg;
        p->envelope.dictionary = strata__compressor_dictionary(&d->compressor, alg);
        p->envelope.raw_size = size;
        p->payload = strata_bytes(p->packed, packed);
    }
}

/* The payload begins at a multiple of 16, so that what is read can be handed out where it stands: up to 15 zeros before the
 * envelope, counted in the record's flags. */
static size_t lead_of(const struct pending *p)
{
    if (p->payload.size == 0)
        return 0;
    return (RECORD_ALIGN - (RECORD_HEAD + p->record.key.size + p->header_size) % RECORD_ALIGN) % RECORD_ALIGN;
}

/* 0: it can't be sealed, and is not to be stored as it is. */
static int seal(struct disk *d, struct pending *p, strata_slice key)
{
    strata__protect_describe(&d->protector, &p->envelope);
    if (d->protector.alg == PROTECT_NONE)
        return 1;
    size_t size = p->payload.size + PROTECT_MORE;
    char *sealed = strata__alloc(d->mem, size);
    int done = sealed != NULL &&
               strata__protect_seal(&d->protector, &p->envelope, strata_bytes("", 0), key, p->payload, sealed, d->mem);
    strata__free(d->mem, p->packed);
    p->packed = sealed;
    p->payload = strata_bytes(sealed, done ? size : 0);
    return done;
}

/* 0: not, and p->packed is to be freed. */
static int prepare_put(struct disk *d, struct pending *p, const strata_op *op, uint64_t hash)
{
    memset(p, 0, sizeof *p);
    p->payload = strata_bytes(strata_value_data(op->value), op->meta.negative ? 0 : strata_value_size(op->value));
    strata__envelope_from_meta(&p->envelope, &op->meta);
    strata__pack_tags(op, &p->envelope);
    pack(d, p);
    if (!seal(d, p, op->key))
        return 0;
    p->header_size = strata__envelope_size(&p->envelope);
    p->record.kind = RECORD_PUT;
    p->record.key = op->key;
    p->record.expires_s = seconds_of(d, op);
    size_t lead = lead_of(p);
    p->record.flags = (uint8_t)lead;
    p->record.body.size = lead + p->header_size + p->payload.size;
    p->append.entry = (struct segment_entry){ hash, 0, strata__record_size(op->key.size, p->record.body.size),
                                              RECORD_PUT, p->record.expires_s };
    p->append.key = op->key;
    p->append.life = op->meta.life;
    p->append.position = op->meta.position;
    return 1;
}

static void prepare_tombstone(struct pending *p, strata_slice key, uint64_t hash)
{
    memset(p, 0, sizeof *p);
    p->record.kind = RECORD_TOMBSTONE;
    p->record.key = key;
    p->record.expires_s = RECORD_NEVER;
    p->append.entry = (struct segment_entry){ hash, 0, strata__record_size(key.size, 0), RECORD_TOMBSTONE,
                                              RECORD_NEVER };
    p->append.key = key;
}

static void fill(const struct disk *d, const struct pending *p, char *out)
{
    char *at = out + RECORD_HEAD;
    memcpy(at, p->record.key.data, p->record.key.size);
    at += p->record.key.size;
    memset(at, 0, p->record.flags);
    at += p->record.flags;
    if (p->header_size != 0)
        at += strata__envelope_write(&p->envelope, at);
    if (p->payload.size != 0)
        memcpy(at, p->payload.data, p->payload.size);
    strata__record_seal(out, &p->record, d->dir.seed);
}

/* Appending it ------------------------------------------------------------------------------------------------ */

static int reserve(struct disk *d, struct disk_shard *shard, uint32_t tag)
{
    uint64_t room = shard->room;
    int rc = strata__disk_index_reserve(shard, d->mem, tag);
    if (shard->room != room)
        atomic_fetch_add_explicit(&d->index_bytes, (shard->room - room) * sizeof(struct slot), memory_order_relaxed);
    return rc;
}

/* It stands in the log: the index follows.  The shard's lock, since before it got its place: who drops a segment that the log
 * counts it in takes that lock, too, so it is there yet.  A tombstone's may be gone.  `slot` is the one of before, or NULL. */
static void enter_locked(struct disk *d, struct disk_shard *shard, struct pending *p, struct slot *slot)
{
    struct append *a = &p->append;
    if (slot != NULL) {
        strata__segment_lost(p->waiter.old, where_size(p->waiter.old_where));
        disk_uncount(&d->entries);
    }
    if (a->entry.kind != RECORD_PUT) {
        strata__disk_index_erase(shard, slot);
        return;
    }
    struct slot fresh = { hash_tag(a->entry.hash), a->entry.expires_s,
                          slot_where(a->segment->index, a->entry.offset, a->entry.size) };
    if (slot != NULL)
        *slot = fresh;
    else
        strata__disk_index_insert(shard, fresh);
    disk_count(&d->entries);
}

/* With the shard's lock: `slot` is what the key has now. */
static int append_over(struct disk *d, struct disk_shard *shard, struct pending *p, struct slot *slot, int direct)
{
    struct append *a = &p->append;
    a->waiter = NULL;
    a->supersedes = 0;
    if (slot != NULL) {
        p->waiter.old = d->log.table[where_segment(slot->where)];
        p->waiter.old_where = slot->where;
        a->waiter = &p->waiter;
        a->supersedes = p->waiter.old->number;
        segment_pin(p->waiter.old);
    }
    int answer = direct ? strata__log_append_direct(d, a) : strata__log_append(d, a);
    if (answer != APPEND_OK) {
        if (slot != NULL)
            strata__segment_unpin(p->waiter.old);
        p->waiter.old = NULL;
        return answer;
    }
    if (!direct) {
        fill(d, p, a->bytes);
        strata__log_filled(d, a);
    }
    enter_locked(d, shard, p, slot);
    return answer;
}

/* One try. */
static int try_append(struct disk *d, struct pending *p, int direct)
{
    uint64_t hash = p->append.entry.hash;
    struct disk_shard *shard = disk_shard_of(d, hash);
    int answer;
    os_lock_take(&shard->lock);
    struct slot *slot = strata__disk_index_find(shard, hash_tag(hash));
    if (slot == NULL && p->append.entry.kind != RECORD_PUT)
        answer = TRY_MISS;
    else if (slot == NULL && reserve(d, shard, hash_tag(hash)) != STRATA_OK)
        answer = TRY_NO_MEMORY;
    else
        answer = append_over(d, shard, p, slot, direct);
    os_lock_give(&shard->lock);
    return answer;
}

int strata__disk_make_room(struct disk *d, uint64_t need, int *os_errno)
{
    int rc = strata__log_rotate(d, need, os_errno);
    for (int i = 0; rc == STRATA_AGAIN && i < (*os_errno != 0 ? RECLAIMS_FOR_FILE : RECLAIMS_MOST); i++) {
        if (!strata__disk_reclaim_await(d) && strata__disk_reclaim(d, 0) != STRATA_OK)
            break;
        rc = strata__log_rotate(d, need, os_errno);
    }
    if (rc == STRATA_OK)
        strata__disk_room_ahead(d);
    return rc;
}

/* Until it stands in the log: STRATA_OK; STRATA_AGAIN, STRATA_ENOMEM, STRATA_MISS, STRATA_EIO with *os_errno. */
static int append(struct disk *d, struct pending *p, const char *direct, int *os_errno)
{
    *os_errno = 0;
    for (int rotations = 0; rotations < ROTATIONS_MOST;) {
        if (direct != NULL)
            strata__log_take_role(d);
        int rc, answer = try_append(d, p, direct != NULL);
        if (answer == APPEND_OK && direct != NULL)
            *os_errno = strata__log_write_direct(d, &p->append, direct);
        if (direct != NULL)
            strata__log_give_role(d);
        switch (answer) {
        case APPEND_OK:
            if (p->waiter.old != NULL)
                *os_errno = strata__log_wait(d, &p->waiter);
            return *os_errno == 0 ? STRATA_OK : STRATA_EIO;
        case APPEND_BUFFER_FULL:
            *os_errno = strata__log_drain(d, p->append.entry.size);
            if (*os_errno != 0)
                return STRATA_EIO;
            break;
        case APPEND_SEGMENT_FULL:
            rotations++;
            rc = strata__disk_make_room(d, p->append.entry.size, os_errno);
            if (rc != STRATA_OK)
                return rc;
            break;
        case TRY_MISS: return STRATA_MISS;
        case TRY_NO_MEMORY: return STRATA_ENOMEM;
        default: return STRATA_AGAIN;
        }
    }
    return STRATA_AGAIN;
}

/* Too large for a buffer: made on the heap, written by this thread. */
static int append_large(struct disk *d, struct pending *p, int *os_errno)
{
    char *bytes = strata__alloc(d->mem, p->append.entry.size);
    *os_errno = 0;
    if (bytes == NULL)
        return STRATA_ENOMEM;
    fill(d, p, bytes);
    int rc = append(d, p, bytes, os_errno);
    strata__free(d->mem, bytes);
    return rc;
}

static int append_any(struct disk *d, struct pending *p, int *os_errno)
{
    int rc = p->append.entry.size > d->log.buffer_bytes / 2 ? append_large(d, p, os_errno)
                                                            : append(d, p, NULL, os_errno);
    p->taken_back = rc == STRATA_EIO && p->waiter.old != NULL;
    if (p->waiter.old != NULL)
        strata__segment_unpin(p->waiter.old);
    strata__free(d->mem, p->packed);
    return rc;
}

/* Operations -------------------------------------------------------------------------------------------------- */

/* Words for a put that could not be written; its status: what there is no room for passes through. */
static int fail_write(struct disk *d, strata_op *op, int os_errno)
{
    const char *advice = os_errno == EMFILE || os_errno == ENFILE ? "raise the limit of open files"
                         : os_errno == ENOMEM                     ? "free some memory"
                                                                  : "look at the disk";
    if (os_errno == ENOSPC || os_errno == EDQUOT)
        strata__fail_os(op->err, STRATA_EIO, os_errno, d->base.name,
                        "no space left on \"%s\": free some, or lower max_bytes; until then values pass through",
                        d->options.path);
    else
        strata__fail_os(op->err, STRATA_EIO, os_errno, d->base.name,
                        "writing to \"%s\" failed: %s; until it is well, values pass through", d->options.path, advice);
    return os_errno == ENOSPC || os_errno == EDQUOT || os_errno == ENOMEM ? STRATA_AGAIN : STRATA_EIO;
}

static int known(struct disk *d, uint64_t hash)
{
    struct disk_shard *shard = disk_shard_of(d, hash);
    os_lock_take(&shard->lock);
    int found = strata__disk_index_find(shard, hash_tag(hash)) != NULL;
    os_lock_give(&shard->lock);
    return found;
}

static int may_come_in(struct disk *d, const strata_op *op, uint64_t hash)
{
    if (op->key.size > RECORD_KEY_MAX || strata_value_size(op->value) > d->options.max_value_bytes)
        return 0;
    return d->admission.bits[0] == NULL || known(d, hash) || strata__admission_admits(d, hash);
}

void strata__disk_put(struct disk *d, strata_op *op)
{
    struct pending p;
    int os_errno = 0, rc;
    uint64_t hash = strata__disk_hash(d, op->key);
    if (op->expires_ms != STRATA_FOREVER && op->expires_ms <= op->now_ms) {
        strata__disk_remove(d, op);
        return;
    }
    rc = STRATA_AGAIN;
    if (!atomic_load_explicit(&d->lost, memory_order_relaxed) && may_come_in(d, op, hash)) {
        if (prepare_put(d, &p, op, hash) && p.append.entry.size <= d->largest_record &&
            strata__admission_spend(d, p.append.entry.size))
            rc = append_any(d, &p, &os_errno);
        else
            strata__free(d->mem, p.packed);
    }
    if (rc == STRATA_OK)
        disk_count(&d->puts);
    else if (rc == STRATA_EIO)
        rc = fail_write(d, op, os_errno);
    else if (os_errno != 0) /* no descriptor for another file */
        (void)fail_write(d, op, os_errno);
    if (rc != STRATA_OK && rc != STRATA_EIO)
        rc = STRATA_AGAIN;
    if (rc != STRATA_OK)
        disk_count(&d->rejections);
    strata_op_done(op, rc);
}

/* No tombstone could be written: the record is taken back where it stands.  The slot stays until that is done; where it names
 * another one by then, that is taken back, too. */
static int remove_in_place(struct disk *d, uint64_t hash, int *os_errno)
{
    struct disk_shard *shard = disk_shard_of(d, hash);
    for (int rc = STRATA_MISS;; rc = STRATA_OK) {
        struct segment *s = NULL;
        uint64_t where = 0;
        os_lock_take(&shard->lock);
        const struct slot *slot = strata__disk_index_find(shard, hash_tag(hash));
        if (slot != NULL) {
            where = slot->where;
            s = d->log.table[where_segment(where)];
            segment_pin(s);
        }
        os_lock_give(&shard->lock);
        if (s == NULL)
            return rc;
        (void)strata__log_flush(d); /* it may be in a buffer yet; where that fails, it is gone */
        *os_errno = strata__disk_invalidate(d, s, where);
        int forgotten = *os_errno == 0 && strata__disk_forget(d, s, hash, where);
        strata__segment_unpin(s);
        if (forgotten)
            return STRATA_OK;
        if (*os_errno != 0) {
            atomic_store(&d->lost, 1);
            return STRATA_EIO;
        }
    }
}

void strata__disk_remove(struct disk *d, strata_op *op)
{
    struct pending p;
    int os_errno = 0, rc = STRATA_MISS;
    uint64_t hash = strata__disk_hash(d, op->key);
    if (op->key.size <= RECORD_KEY_MAX) {
        prepare_tombstone(&p, op->key, hash);
        rc = append_any(d, &p, &os_errno);
        if (os_errno != 0 && !atomic_load(&d->lost))
            disk_count(&d->errors); /* what comes now makes it good for this key, and nobody hears of it */
        if (p.taken_back && !atomic_load(&d->lost))
            rc = STRATA_OK;
        else if (rc == STRATA_EIO || rc == STRATA_AGAIN || rc == STRATA_ENOMEM)
            rc = remove_in_place(d, hash, &os_errno);
    }
    /* What no slot names may be in a file all the same, and back when that is opened again. */
    if (atomic_load(&d->lost)) {
        rc = STRATA_EIO;
        os_errno = os_errno != 0 ? os_errno : EIO;
    }
    disk_count(&d->removes);
    if (rc == STRATA_EIO)
        (void)strata__fail_os(
            op->err, rc, os_errno, d->base.name,
            "a delete could not be written to \"%s\", nor its files removed: the layer answers nothing "
            "any more; look at the disk, and empty the directory",
            d->options.path);
    strata_op_done(op, op->kind == STRATA_OP_PUT && rc == STRATA_MISS ? STRATA_OK : rc);
}
