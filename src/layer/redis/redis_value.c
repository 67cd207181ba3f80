/* redis_value.c - a value as it stands in the server: envelope with its checksum, and the payload, packed where it pays.
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
static int encode_packed(struct redis_layer *r, struct envelope *e, strata_slice payload, void **out_bytes,
                         size_t *out_size)
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
    *out_bytes = bytes;
    *out_size = header + packed;
    return STRATA_OK;
}

int strata__redis_value_encode(struct redis_layer *r, const strata_op *op, void **out_bytes, size_t *out_size)
{
    struct envelope e;
    strata_slice payload = strata_bytes(strata_value_data(op->value),
                                        op->meta.negative ? 0 : strata_value_size(op->value));
    strata__envelope_from_meta(&e, &op->meta);
    e.flags |= ENVELOPE_CHECKSUM;
    if (encode_packed(r, &e, payload, out_bytes, out_size) == STRATA_OK)
        return STRATA_OK;
    size_t header = strata__envelope_size(&e);
    char *bytes = strata__alloc(r->mem, header + payload.size);
    if (bytes == NULL)
        return STRATA_ENOMEM;
    e.payload = payload;
    strata__envelope_write(&e, bytes);
    if (payload.size != 0)
        memcpy(bytes + header, payload.data, payload.size);
    *out_bytes = bytes;
    *out_size = header + payload.size;
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

int strata__redis_value_decode(struct redis_layer *r, strata_op *op, strata_slice bytes)
{
    struct envelope e;
    struct strata_value *value = NULL;
    int rc = STRATA_OK;
    /* Without a checksum it is not what this layer writes: anything may have happened to it. */
    if (strata__envelope_read(&e, bytes.data, bytes.size) != FORMAT_OK || !(e.flags & ENVELOPE_CHECKSUM))
        return foreign(r);
    if (e.flags & ENVELOPE_NEGATIVE) {
        strata__envelope_to_meta(&op->meta, &e);
        return STRATA_OK;
    }
    if (e.compression != COMPRESS_NONE)
        rc = unpack(r, op, &e, &value);
    else if ((value = strata__value_copy(op->mem, e.payload.data, e.payload.size)) == NULL)
        rc = fail_memory(r, op, e.payload.size);
    if (rc != STRATA_OK)
        return rc;
    strata__envelope_to_meta(&op->meta, &e);
    op->found = value;
    return STRATA_OK;
}
