/* redis_value.c - a value as it stands in the server: envelope with its checksum, and the payload, packed where it pays.
 *
 * What means nothing to another node is left out: the cache's life, its clock, its ban position.  An entry's age is what the
 * store's clock says now, less what it said at birth; where no script wrote that, it is by the wall clocks of two machines.
 * What is found is told as of this cache's own clock (life 0), and as of the clears that had gone out when it was asked for.
 *
 * What is read may be anybody's: whatever cannot be decoded is a miss, counted, and left where it is. */
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/format/envelope.h"
#include "src/layer/pack.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/layer/value_impl.h"

/* Writing ------------------------------------------------------------------------------------------------------ */

/* Packed, right behind the room for its header.  STRATA_OK; else it is to be stored as it is: without memory, too. */
static int encode_packed(struct redis_layer *r, struct envelope *e, strata_slice payload, struct redis_bytes *out)
{
    size_t room = payload.size - payload.size / 100 * 15, packed = 0;
    uint32_t alg = strata__pack_algorithm(r->options.compression);
    if (alg == COMPRESS_NONE || payload.size < r->options.compress_above_bytes || payload.size == 0)
        return STRATA_AGAIN;
    e->compression = alg;
    e->raw_size = payload.size;
    e->dictionary = strata__compressor_dictionary(&r->compressor, alg);
    size_t header = strata__envelope_size(e);
    char *bytes = strata__alloc(r->mem, header + room);
    int rc = bytes != NULL ? strata__compress(&r->compressor, alg, (int)r->options.compression_level, payload.data,
                                              payload.size, bytes + header, room, &packed)
                           : STRATA_ENOMEM;
    if (rc != STRATA_OK) {
        strata__free(r->mem, bytes);
        e->compression = COMPRESS_NONE;
        e->raw_size = 0;
        e->dictionary = 0;
        return rc;
    }
    e->payload = strata_bytes(bytes + header, packed);
    strata__envelope_write(e, bytes);
    out->data = bytes;
    out->size = header + packed;
    return STRATA_OK;
}

static void describe(const struct redis_layer *r, const strata_op *op, int stamped, struct envelope *e)
{
    strata__envelope_from_meta(e, &op->meta);
    strata__protect_describe(&r->protector, e);
    strata__pack_tags(op, e);
    e->flags |= ENVELOPE_CHECKSUM | (stamped ? ENVELOPE_STAMPED : 0);
    e->life = e->version = e->store_life = 0;
    e->born_ms = e->retry_at_ms = 0;
    e->position = e->load_ms = 0;
    if (stamped)
        e->born_wall_ms = 0;
}

/* In place of what stands in *out: its header says that it is sealed, and its payload is not yet.  0: it can't be, and *out is gone. */
static int seal(struct redis_layer *r, const strata_op *op, struct envelope *e, struct redis_bytes *out)
{
    size_t header = strata__envelope_size(e);
    strata_slice payload = strata_bytes(out->data + header, out->size - header);
    char *bytes = strata__alloc(r->mem, out->size + PROTECT_MORE);
    int sealed = bytes != NULL &&
                 strata__protect_seal(&r->protector, e, r->prefix, op->key, payload, bytes + header, r->mem);
    strata__free(r->mem, out->data);
    out->data = NULL;
    if (!sealed) {
        strata__free(r->mem, bytes);
        return 0;
    }
    e->payload = strata_bytes(bytes + header, payload.size + PROTECT_MORE);
    strata__envelope_write(e, bytes); /* its checksum is of what is stored */
    out->data = bytes;
    out->size += PROTECT_MORE;
    return 1;
}

int strata__redis_value_encode(struct redis_layer *r, const strata_op *op, int stamped, struct redis_bytes *out)
{
    struct envelope e;
    strata_slice payload = strata_bytes(strata_value_data(op->value),
                                        op->meta.negative ? 0 : strata_value_size(op->value));
    describe(r, op, stamped, &e);
    if (encode_packed(r, &e, payload, out) != STRATA_OK) {
        size_t header = strata__envelope_size(&e);
        char *bytes = strata__alloc(r->mem, header + payload.size);
        if (bytes == NULL)
            return STRATA_ENOMEM;
        e.payload = payload;
        strata__envelope_write(&e, bytes);
        if (payload.size != 0)
            memcpy(bytes + header, payload.data, payload.size);
        out->data = bytes;
        out->size = header + payload.size;
    }
    if (r->protector.alg != PROTECT_NONE && !seal(r, op, &e, out))
        return STRATA_ENOMEM;
    out->stamp_at = stamped ? strata__envelope_stamp_at(&e) : 0;
    return STRATA_OK;
}

/* Reading ------------------------------------------------------------------------------------------------------ */

static int fail_memory(const struct redis_layer *r, strata_op *op, uint64_t size)
{
    return strata__fail(op->err, STRATA_ENOMEM, r->base.name,
                        "no memory for a value of %llu bytes: free some, or lower max_value_bytes",
                        (unsigned long long)size);
}

static int foreign(struct redis_layer *r)
{
    redis_count(&r->foreign);
    return STRATA_MISS;
}

/* Damaged, above the cap, or packed with what is not here: a miss like what is not ours, but with words. */
static int unpack(struct redis_layer *r, strata_op *op, const struct envelope *e, struct strata_value **out)
{
    int rc = strata__unpack(&r->compressor, e, r->options.max_value_bytes, op, r->base.name, out);
    return rc == STRATA_MISS ? foreign(r) : rc;
}

/* What stands there, without what is around it: an entry that is being replaced is inside a lease. */
static strata_slice unwrap(strata_slice bytes)
{
    const unsigned char *at = bytes.data;
    if (bytes.size < 2 || at[1] != 1)
        return bytes;
    if (at[0] == REDIS_IS_LEASE && bytes.size >= REDIS_LEASE_HEAD)
        return strata_bytes(at + REDIS_LEASE_HEAD, bytes.size - REDIS_LEASE_HEAD);
    return at[0] == REDIS_IS_TOMBSTONE && bytes.size >= REDIS_TOMBSTONE ? strata_bytes(at, 0) : bytes;
}

static int64_t age_of(struct redis_layer *r, const struct redis_mark *mark, const struct envelope *e)
{
    int64_t now = e->store_time_ms != 0 ? strata__redis_store_ms(r, mark) : 0;
    int64_t born = e->store_time_ms != 0 ? (int64_t)e->store_time_ms : e->born_wall_ms, age;
    if (now == 0) /* it may not be asked for its clock */
        now = strata_host_wall_ms(r->host);
    if (__builtin_sub_overflow(now, born, &age))
        return now > born ? INT64_MAX : 0;
    return age > 0 ? age : 0;
}

static int64_t sum(int64_t a, int64_t b)
{
    int64_t both;
    return __builtin_add_overflow(a, b, &both) ? STRATA_FOREVER : both;
}

/* Counted in a life that is over: what happened to the key since may be lost.  It is for a load that fails, no longer than it
 * would have been, and to compare. */
static int distrust(strata_meta *meta)
{
    if (meta->negative || (meta->error_ms == 0 && meta->keep_ms == 0))
        return STRATA_MISS;
    meta->error_ms = meta->error_ms != 0 ? sum(meta->fresh_ms, meta->error_ms) : 0;
    meta->keep_ms = sum(meta->fresh_ms, meta->keep_ms);
    meta->fresh_ms = meta->stale_ms = meta->early_ms = 0;
    return STRATA_OK;
}

static void drop_tags(strata_op *op)
{
    strata_value_unref(op->tags);
    op->tags = NULL;
}

/* As of this cache's clock. */
static int place_in_time(struct redis_layer *r, strata_op *op, const struct envelope *e, const struct redis_mark *mark,
                         int trusted)
{
    uint32_t position = op->meta.position;
    int64_t age = age_of(r, mark, e);
    strata__envelope_to_meta(&op->meta, e);
    drop_tags(op); /* of a look before */
    strata__unpack_tags(op, e);
    op->meta.life = 0;
    op->meta.position = position;
    if (__builtin_sub_overflow(strata_host_now_ms(r->host), age, &op->meta.born_ms))
        op->meta.born_ms = INT64_MIN / 2;
    if (__builtin_sub_overflow(strata_host_wall_ms(r->host), age, &op->meta.born_wall_ms))
        op->meta.born_wall_ms = INT64_MIN / 2;
    return trusted ? STRATA_OK : distrust(&op->meta);
}

/* Is it of the life that we believe in?  1, 0; -1: that life is none that we know. */
static int trust(struct redis_layer *r, const struct redis_mark *mark, const struct envelope *e)
{
    if (e->store_life == 0 || atomic_load_explicit(&r->life.scripts, memory_order_relaxed) == SCRIPTS_OFF)
        return 1; /* of a node that may run no scripts, or this one may not: there is nothing to compare */
    uint64_t life = strata__redis_life_of(r, mark);
    if (e->store_life == life)
        return 1;
    if (life == 0 && redis_is_cluster(r))
        return -1; /* that of any node may be known, and this one is not that node */
    return strata__redis_life_is_over(r, e->store_life) ? 0 : -1;
}

int strata__redis_value_decode(struct redis_layer *r, strata_op *op, strata_slice bytes, struct redis_mark *mark,
                               uint64_t looked_us)
{
    struct envelope e;
    struct strata_value *value = NULL;
    bytes = unwrap(bytes);
    if (bytes.size == 0) {
        strata__redis_life_look(r, mark, op->key);
        return STRATA_MISS;
    }
    /* Without a checksum it is not what this layer writes: anything may have happened to it. */
    if (strata__envelope_read(&e, bytes.data, bytes.size) != FORMAT_OK || !(e.flags & ENVELOPE_CHECKSUM))
        return foreign(r);
    uint64_t above = atomic_load_explicit(&r->void_version, memory_order_relaxed); /* set before bans.swept is raised */
    if (above != 0 && e.version <= above)
        return STRATA_MISS;
    int trusted = trust(r, mark, &e);
    if (trusted < 0 && looked_us == 0)
        return STRATA_AGAIN;
    if (trusted < 0 &&
        e.version < looked_us) /* else it may be of one that began behind the look, and is the store's now */
        strata__redis_life_is_none(r, e.store_life);
    struct strata_value *opened;
    int rc = strata__protect_open(&r->protector, &e, bytes, r->prefix, op, r->base.name, &opened);
    if (rc != STRATA_OK)
        return rc == STRATA_MISS ? foreign(r) : rc;
    if (e.flags & ENVELOPE_NEGATIVE) {
        strata_value_unref(opened);
        rc = place_in_time(r, op, &e, mark, trusted > 0);
        if (rc != STRATA_OK)
            drop_tags(op);
        return rc;
    }
    if (e.compression != COMPRESS_NONE)
        rc = unpack(r, op, &e, &value);
    else if (opened != NULL)
        value = strata_value_ref(opened);
    else if ((value = strata__value_copy(op->mem, e.payload.data, e.payload.size)) == NULL)
        rc = fail_memory(r, op, e.payload.size);
    strata_value_unref(opened);
    if (rc == STRATA_OK)
        rc = place_in_time(r, op, &e, mark, trusted > 0);
    strata__redis_life_look(r, mark, op->key);
    if (rc == STRATA_OK) {
        op->found = value;
    } else {
        strata_value_unref(value);
        drop_tags(op);
    }
    return rc;
}
