/* disk_record.c - records of the disk layer's log: see the picture in disk_record.h. */
#include "src/format/disk_record.h"

#include "src/base/hash.h"
#include "src/format/le.h"

enum { FLAGS_AT = 9, KEY_SIZE_AT = 10, BODY_SIZE_AT = 12, BIRTH_AT = 16, EXPIRES_AT = 24, HEAD_SUM_AT = 28 };

_Static_assert(HEAD_SUM_AT + 4 == RECORD_HEAD, "the head's fields fill it");
_Static_assert(RECORD_HEAD % RECORD_ALIGN == 0, "records are whole units");

/* A put that was taken back keeps the sums of the put it was. */
static uint32_t head_sum(const uint8_t *at, uint64_t seed)
{
    uint8_t fields[HEAD_SUM_AT - RECORD_KIND_AT];
    memcpy(fields, at + RECORD_KIND_AT, sizeof fields);
    if (fields[0] == RECORD_INVALID)
        fields[0] = RECORD_PUT;
    return (uint32_t)strata__hash(fields, sizeof fields, seed);
}

void strata__record_seal(void *bytes, const struct disk_record *record, uint64_t seed)
{
    uint8_t *at = bytes;
    size_t used = RECORD_HEAD + record->key.size + record->body.size;
    at[RECORD_KIND_AT] = record->kind;
    at[FLAGS_AT] = record->flags;
    strata__le16_put(at + KEY_SIZE_AT, (uint16_t)record->key.size);
    strata__le32_put(at + BODY_SIZE_AT, (uint32_t)record->body.size);
    strata__le64_put(at + BIRTH_AT, record->birth);
    strata__le32_put(at + EXPIRES_AT, record->expires_s);
    strata__le32_put(at + HEAD_SUM_AT, head_sum(at, seed));
    size_t size = strata__record_size(record->key.size, record->body.size);
    memset(at + used, 0, size - used);
    at[size - 1] = RECORD_LAST_BYTE;
    strata__le64_put(at, strata__hash(at + RECORD_KIND_AT, used - RECORD_KIND_AT, seed));
}

static int all_zero(const uint8_t *bytes, size_t size)
{
    uint8_t any = 0;
    for (size_t i = 0; i < size; i++)
        any |= bytes[i];
    return any == 0;
}

/* A head that can be: what each kind must and must not have. */
static int plausible(const struct disk_record *record)
{
    switch (record->kind) {
    case RECORD_PUT:
    case RECORD_INVALID: return record->key.size != 0;
    case RECORD_TOMBSTONE: return record->key.size != 0 && record->body.size == 0;
    case RECORD_BAN: return record->body.size == RECORD_BAN_BODY;
    default: return 0;
    }
}

int strata__record_head_read(struct disk_record *out, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    memset(out, 0, sizeof *out);
    if (size < RECORD_HEAD) {
        out->size = RECORD_HEAD;
        return FORMAT_SHORT;
    }
    out->kind = at[RECORD_KIND_AT];
    out->flags = at[FLAGS_AT];
    out->key.size = strata__le16(at + KEY_SIZE_AT);
    out->body.size = strata__le32(at + BODY_SIZE_AT);
    out->birth = strata__le64(at + BIRTH_AT);
    out->expires_s = strata__le32(at + EXPIRES_AT);
    out->size = strata__record_size(out->key.size, out->body.size);
    if (out->kind == 0 && all_zero(at, RECORD_HEAD))
        return FORMAT_END;
    return plausible(out) && out->size < SEGMENT_MAX ? FORMAT_OK : FORMAT_CORRUPT;
}

int strata__record_head_check(const void *bytes, uint64_t seed)
{
    const uint8_t *at = bytes;
    return strata__le32(at + HEAD_SUM_AT) == head_sum(at, seed) ? FORMAT_OK : FORMAT_CORRUPT;
}

static uint64_t sum_as_put(const uint8_t *at, size_t used, uint64_t seed)
{
    const uint8_t put = RECORD_PUT;
    struct hash_stream stream;
    strata__hash_start(&stream, seed);
    strata__hash_add(&stream, &put, 1);
    strata__hash_add(&stream, at + RECORD_KIND_AT + 1, used - RECORD_KIND_AT - 1);
    return strata__hash_sum(&stream);
}

int strata__record_read(struct disk_record *out, const void *bytes, size_t size, uint64_t seed)
{
    const uint8_t *at = bytes;
    int verdict = strata__record_head_read(out, bytes, size);
    if (verdict != FORMAT_OK)
        return verdict;
    if (out->size > size)
        return FORMAT_SHORT;
    size_t used = RECORD_HEAD + out->key.size + out->body.size;
    uint64_t sum = out->kind == RECORD_INVALID ? sum_as_put(at, used, seed)
                                               : strata__hash(at + RECORD_KIND_AT, used - RECORD_KIND_AT, seed);
    /* The padding is under no sum, so all of it is asked for: no byte of the file may change without being seen. */
    if (sum != strata__le64(at) || !all_zero(at + used, out->size - used - 1) || at[out->size - 1] != RECORD_LAST_BYTE)
        return FORMAT_CORRUPT;
    out->key.data = at + RECORD_HEAD;
    out->body.data = at + RECORD_HEAD + out->key.size;
    return FORMAT_OK;
}

enum { BAN_ALL = 1 };

void strata__ban_write(void *out, const struct disk_ban *ban)
{
    uint8_t *at = out;
    strata__le64_put(at, ban->life);
    strata__le32_put(at + 8, ban->position);
    strata__le32_put(at + 12, ban->all ? BAN_ALL : 0);
}

int strata__ban_read(struct disk_ban *out, const struct disk_record *record, uint64_t place)
{
    const uint8_t *at = record->body.data;
    memset(out, 0, sizeof *out);
    if (record->kind != RECORD_BAN || record->body.size != RECORD_BAN_BODY)
        return FORMAT_CORRUPT;
    out->place = place;
    out->life = strata__le64(at);
    out->position = strata__le32(at + 8);
    out->prefix = record->key;
    uint32_t flags = strata__le32(at + 12);
    out->all = flags == BAN_ALL;
    return flags <= BAN_ALL && !(out->all && out->prefix.size != 0) ? FORMAT_OK : FORMAT_CORRUPT;
}
