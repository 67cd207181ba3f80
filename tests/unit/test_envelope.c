/* test_envelope.c - the envelope: its documented bytes, its way there and back, and bytes that are not one. */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/hash.h"
#include "src/format/envelope.h"
#include "tests/support/doc_vector.h"

static strata_slice text(const char *s) { return strata_str(s); }

/* Header and payload in one block of exactly their size, so that a sanitizer sees a read past its end. */
static uint8_t *packed(const struct envelope *e, size_t *size)
{
    size_t header = strata__envelope_size(e);
    uint8_t *bytes = malloc(header + e->payload.size);
    assert_non_null(bytes);
    assert_int_equal(strata__envelope_write(e, bytes), header);
    if (e->payload.size != 0)
        memcpy(bytes + header, e->payload.data, e->payload.size);
    *size = header + e->payload.size;
    return bytes;
}

static int read_copy(struct envelope *out, const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size != 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    int verdict = strata__envelope_read(out, copy, size);
    free(copy); /* the slices of *out may not be looked at */
    return verdict;
}

static void same_slice(strata_slice a, strata_slice b)
{
    assert_int_equal(a.size, b.size);
    if (a.size != 0)
        assert_memory_equal(a.data, b.data, a.size);
}

static void same_numbers(const struct envelope *a, const struct envelope *b)
{
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->compression, b->compression);
    assert_int_equal(a->raw_size, b->raw_size);
    assert_int_equal(a->dictionary, b->dictionary);
    assert_int_equal(a->fresh_ms, b->fresh_ms);
    assert_int_equal(a->stale_ms, b->stale_ms);
    assert_int_equal(a->error_ms, b->error_ms);
    assert_int_equal(a->keep_ms, b->keep_ms);
    assert_int_equal(a->early_ms, b->early_ms);
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->store_life, b->store_life);
    assert_int_equal(a->store_time_ms, b->store_time_ms);
    assert_int_equal(a->born_wall_ms, b->born_wall_ms);
    assert_int_equal(a->born_ms, b->born_ms);
    assert_int_equal(a->retry_at_ms, b->retry_at_ms);
    assert_int_equal(a->life, b->life);
    assert_int_equal(a->position, b->position);
    assert_int_equal(a->load_ms, b->load_ms);
    assert_int_equal(a->cost_us, b->cost_us);
    assert_int_equal(a->codec, b->codec);
    assert_int_equal(a->tag_count, b->tag_count);
}

/* What is read is what was written, and writing what was read gives the same bytes. */
static void there_and_back(const struct envelope *e)
{
    struct envelope found;
    size_t size, again_size, cursor = 0;
    uint8_t *bytes = packed(e, &size);
    assert_int_equal(strata__envelope_read(&found, bytes, size), FORMAT_OK);
    same_numbers(e, &found);
    same_slice(e->content_type, found.content_type);
    same_slice(e->etag, found.etag);
    same_slice(e->last_modified, found.last_modified);
    same_slice(e->payload, found.payload);
    strata_slice tag;
    for (uint32_t i = 0; i < e->tag_count; i++) {
        assert_int_equal(strata__envelope_tag_next(&found, &cursor, &tag), 1);
        same_slice(e->tags[i], tag);
    }
    assert_int_equal(strata__envelope_tag_next(&found, &cursor, &tag), 0);
    uint8_t *again = packed(&found, &again_size);
    assert_int_equal(again_size, size);
    assert_memory_equal(again, bytes, size);
    free(again);
    free(bytes);
}

static const strata_slice two_tags[] = { { "user:7", 6 }, { "page", 4 } };

static struct envelope everything(void)
{
    return (struct envelope){
        .flags = ENVELOPE_CHECKSUM,
        .compression = COMPRESS_ZSTD,
        .raw_size = 4096,
        .dictionary = 77,
        .fresh_ms = 60000,
        .stale_ms = 3600000,
        .error_ms = 86400000,
        .keep_ms = STRATA_FOREVER,
        .early_ms = 1500,
        .version = 300,
        .store_life = 0x1122334455667788,
        .store_time_ms = 1767225600000,
        .born_wall_ms = 1767225599000,
        .born_ms = -5,
        .retry_at_ms = 1234,
        .life = 0x0102030405060708,
        .position = 9,
        .load_ms = 250,
        .codec = 3,
        .tag_count = 2,
        .tags = two_tags,
        .content_type = { "text/plain", 10 },
        .etag = { "\"v1\"", 4 },
        .last_modified = { "Thu, 01 Jan 2026 00:00:00 GMT", 29 },
        .payload = { "hello", 5 },
    };
}

static void documented_vectors(void **state)
{
    (void)state;
    size_t size;
    struct envelope bare = { .payload = { "hello", 5 } };
    uint8_t *bytes = packed(&bare, &size);
    doc_vector_check("ca 01 00 05 00 68656c6c6f", bytes, size);
    free(bytes);
    struct envelope negative = { .flags = ENVELOPE_NEGATIVE, .fresh_ms = 60000 };
    bytes = packed(&negative, &size);
    doc_vector_check("ca 01 01 06 01 78", bytes, size);
    free(bytes);
    static const uint64_t ids[2] = { 0x1122334455667788, 1 };
    struct envelope numbers = {
        .fresh_ms = 60000, .store_position = 300, .tag_count = 2, .tag_ids = ids, .payload = { "hello", 5 }
    };
    uint64_t read_ids[2];
    struct envelope again;
    bytes = packed(&numbers, &size);
    doc_vector_check("ca 01 00 1f 818088 01 78 02 12 08 8877665544332211 08 0100000000000000 ac02 68656c6c6f", bytes,
                     size);
    assert_int_equal(strata__envelope_read(&again, bytes, size), FORMAT_OK);
    assert_int_equal(again.store_position, 300);
    assert_int_equal(strata__envelope_tag_ids(&again, read_ids), 1);
    assert_memory_equal(read_ids, ids, sizeof ids);
    free(bytes);
    struct envelope slides = { .fresh_ms = 60000,
                               .slide_ms = 60000,
                               .slide_step_ms = 6000,
                               .slide_max_ms = STRATA_FOREVER,
                               .payload = { "hello", 5 } };
    bytes = packed(&slides, &size);
    doc_vector_check("ca 01 00 0c 81808004 78 78 0c 00 68656c6c6f", bytes, size);
    assert_int_equal(strata__envelope_read(&again, bytes, size), FORMAT_OK);
    assert_int_equal(again.slide_ms, 60000);
    assert_int_equal(again.slide_step_ms, 6000);
    assert_int_equal(again.slide_max_ms, STRATA_FOREVER);
    free(bytes);
    struct envelope dear = { .fresh_ms = 60000, .cost_us = 250000, .payload = { "hello", 5 } };
    bytes = packed(&dear, &size);
    doc_vector_check("ca 01 00 0c 81808008 78 90a10f 68656c6c6f", bytes, size);
    assert_int_equal(strata__envelope_read(&again, bytes, size), FORMAT_OK);
    assert_int_equal(again.cost_us, 250000);
    free(bytes);
    struct envelope full = everything();
    bytes = packed(&full, &size);
    doc_vector_check("ca 01 02 79 ffff7f 78 a038 80c60a 00 b917 ac02 8877665544332211 80d0eab6b733 "
                     "b090d5edee66 09 0807060504030201 09 fa01 03 a413 018020 4d "
                     "020c06757365723a370470616765 0a746578742f706c61696e 0422763122 "
                     "1d5468752c203031204a616e20323032362030303a30303a303020474d54 4654528e 68656c6c6f",
                     bytes, size);
    free(bytes);
}

/* 48 bytes for what a shared store needs of an untagged value. */
static void small_enough(void **state)
{
    (void)state;
    struct envelope e = {
        .flags = ENVELOPE_CHECKSUM,
        .fresh_ms = 86400000 + 123, /* a day with jitter */
        .stale_ms = 86400000,
        .error_ms = 7 * (int64_t)86400000,
        .keep_ms = 30 * (int64_t)86400000,
        .early_ms = 60000,
        .version = (UINT64_C(1) << 56) - 1,
        .store_life = UINT64_MAX,
        .store_time_ms = 1767225600000,
    };
    assert_true(strata__envelope_size(&e) <= 48);
    e.flags |= ENVELOPE_STAMPED;
    assert_true(strata__envelope_size(&e) <= 48);
    e.keep_ms = STRATA_FOREVER;
    assert_true(strata__envelope_size(&e) <= 45);
}

static uint64_t next(uint64_t *seed) { return strata__mix64(*seed += 0x9e3779b97f4a7c15u); }

/* Nothing, or a number of any magnitude. */
static uint64_t some(uint64_t *seed)
{
    uint64_t n = next(seed);
    return n & 1 ? 0 : next(seed) >> (n >> 1) % 64;
}

static int64_t some_duration(uint64_t *seed)
{
    uint64_t n = some(seed);
    return n % 7 == 3 ? STRATA_FOREVER : n % 3 == 0 ? (int64_t)(n >> 20) * 1000 : (int64_t)(n >> 1);
}

static void random_ones(void **state)
{
    (void)state;
    static const char letters[300] = { 'a', 'b', 'c' };
    uint64_t seed = 1;
    for (int i = 0; i < 3000; i++) {
        strata_slice tags[3];
        for (int k = 0; k < 3; k++)
            tags[k] = strata_bytes(letters, (size_t)(next(&seed) % 200));
        struct envelope e = { .flags = (uint32_t)(next(&seed) & 1) * ENVELOPE_CHECKSUM,
                              .compression = (uint32_t)(next(&seed) % 5),
                              .fresh_ms = some_duration(&seed),
                              .stale_ms = some_duration(&seed),
                              .error_ms = some_duration(&seed),
                              .keep_ms = some_duration(&seed),
                              .early_ms = some_duration(&seed),
                              .version = some(&seed),
                              .store_life = some(&seed),
                              .store_time_ms = some(&seed),
                              .born_wall_ms = (int64_t)some(&seed),
                              .born_ms = (int64_t)some(&seed),
                              .retry_at_ms = (int64_t)some(&seed),
                              .life = some(&seed),
                              .position = (uint32_t)some(&seed),
                              .load_ms = (uint32_t)some(&seed),
                              .codec = (uint32_t)some(&seed),
                              .tag_count = (uint32_t)(next(&seed) % 4),
                              .tags = tags,
                              .content_type = strata_bytes(letters, (size_t)(some(&seed) % 300)),
                              .etag = strata_bytes(letters, (size_t)(some(&seed) % 40)),
                              .payload = strata_bytes(letters, (size_t)(next(&seed) % 300)) };
        e.cost_us = (uint32_t)some(&seed);
        e.raw_size = e.compression != COMPRESS_NONE ? some(&seed) : 0;
        e.dictionary = e.compression != COMPRESS_NONE ? some(&seed) : 0;
        there_and_back(&e);
    }
}

static void extremes(void **state)
{
    (void)state;
    struct envelope e = everything();
    there_and_back(&e);
    e.fresh_ms = INT64_MAX - 1;
    e.stale_ms = INT64_MAX / 1000 * 1000;
    e.born_ms = INT64_MIN;
    e.born_wall_ms = INT64_MAX;
    e.version = UINT64_MAX;
    e.position = UINT32_MAX;
    there_and_back(&e);
    /* The header's size takes one, two and three bytes: each length around the steps. */
    static const char blanks[17000];
    for (size_t length = 1; length < sizeof blanks; length += length == 200 ? 16000 : 1) {
        struct envelope wide = { .flags = ENVELOPE_CHECKSUM, .etag = { blanks, length }, .payload = text("x") };
        there_and_back(&wide);
    }
}

/* Every cut and every flipped bit of an envelope with a checksum is seen. */
static void damage_is_seen(void **state)
{
    (void)state;
    struct envelope e = everything(), found;
    size_t size;
    uint8_t *bytes = packed(&e, &size);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_not_equal(read_copy(&found, bytes, cut), FORMAT_OK);
    for (size_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(read_copy(&found, bytes, size), FORMAT_OK);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(read_copy(&found, bytes, size), FORMAT_OK);
    free(bytes);
    /* Without one, what is cut inside the header is. */
    e.flags = 0;
    bytes = packed(&e, &size);
    for (size_t cut = 0; cut < size - e.payload.size; cut++)
        assert_int_not_equal(read_copy(&found, bytes, cut), FORMAT_OK);
    free(bytes);
}

static int verdict_of(const char *bytes, size_t size)
{
    struct envelope found;
    return read_copy(&found, (const uint8_t *)bytes, size);
}
#define VERDICT(literal) verdict_of(literal, sizeof literal - 1)

static void other_than_ours(void **state)
{
    (void)state;
    assert_int_equal(VERDICT(""), FORMAT_FOREIGN);
    assert_int_equal(VERDICT("{\"json\": 1}"), FORMAT_FOREIGN);
    assert_int_equal(VERDICT("\xca\x00\x00\x05\x00"), FORMAT_FOREIGN);
    /* Newer: a version, a flag, an algorithm that we do not know. */
    assert_int_equal(VERDICT("\xca\x02\x00\x05\x00"), FORMAT_NEWER);
    assert_int_equal(VERDICT("\xca\x01\x80\x05\x00"), FORMAT_NEWER);
    assert_int_equal(VERDICT("\xca\x01\x00\x09\x80\x80\x02\x05\x20"), FORMAT_NEWER);
    /* A field that we do not know is passed over: bit 25, two bytes. */
    assert_int_equal(VERDICT("\xca\x01\x00\x0b\x81\x80\x80\x10\x78\xff\xff payload"), FORMAT_OK);
    /* One that says how it is sealed, and is not flagged so, or the other way round; and a way that we do not know. */
    assert_int_equal(VERDICT("\xca\x01\x00\x11\x80\x80\x80\x02\x01"
                             "12345678"),
                     FORMAT_CORRUPT);
    assert_int_equal(VERDICT("\xca\x01\x08\x05\x00"), FORMAT_CORRUPT);
    assert_int_equal(VERDICT("\xca\x01\x08\x11\x80\x80\x80\x02\x01"
                             "12345678"),
                     FORMAT_OK);
    assert_int_equal(VERDICT("\xca\x01\x08\x11\x80\x80\x80\x02\x03"
                             "12345678"),
                     FORMAT_NEWER);
    /* The same bytes without its bit belong to nobody. */
    assert_int_equal(VERDICT("\xca\x01\x00\x08\x01\x78\xff\xff payload"), FORMAT_CORRUPT);
}

static void wrong_fields(void **state)
{
    (void)state;
    assert_int_equal(VERDICT("\xca\x01"), FORMAT_CORRUPT);
    assert_int_equal(VERDICT("\xca\x01\x00\x04"), FORMAT_CORRUPT);           /* a header without presence bits */
    assert_int_equal(VERDICT("\xca\x01\x00\x00\x00"), FORMAT_CORRUPT);       /* shorter than itself */
    assert_int_equal(VERDICT("\xca\x01\x00\x06\x00"), FORMAT_CORRUPT);       /* longer than all there is */
    assert_int_equal(VERDICT("\xca\x01\x02\x05\x00"), FORMAT_CORRUPT);       /* no room for its checksum */
    assert_int_equal(VERDICT("\xca\x01\x01\x05\x00 bytes"), FORMAT_CORRUPT); /* absent, with bytes */
    assert_int_equal(VERDICT("\xca\x01\x00\x06\x01\x80"), FORMAT_CORRUPT);   /* a varint without its end */
    /* A varint of more than 64 bits, and one that is too long for its field (position). */
    assert_int_equal(VERDICT("\xca\x01\x00\x0f\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), FORMAT_CORRUPT);
    assert_int_equal(VERDICT("\xca\x01\x00\x0b\x80\x10\xff\xff\xff\xff\x1f"), FORMAT_CORRUPT);
    /* Seconds that are more milliseconds than there are. */
    assert_int_equal(VERDICT("\xca\x01\x00\x0f\x01\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"), FORMAT_CORRUPT);
    /* Compressed with nothing. */
    assert_int_equal(VERDICT("\xca\x01\x00\x09\x80\x80\x02\x00\x20"), FORMAT_CORRUPT);
    /* Tags: three announced, two there; one that leaves their bytes. */
    assert_int_equal(VERDICT("\xca\x01\x00\x0d\x80\x80\x08\x03\x04\x01\x61\x01\x62"), FORMAT_CORRUPT);
    assert_int_equal(VERDICT("\xca\x01\x00\x0b\x80\x80\x08\x01\x02\x02\x61"), FORMAT_CORRUPT);
    /* sliding by a second, for ever, in steps of nothing: all three are there, or none */
    assert_int_equal(VERDICT("\xca\x01\x00\x0b\x80\x80\x80\x04\x02\x02\x00"), FORMAT_OK);
    assert_int_equal(VERDICT("\xca\x01\x00\x0b\x80\x80\x80\x04\x02\x01\x00"), FORMAT_CORRUPT);
    assert_int_equal(VERDICT("\xca\x01\x00\x0b\x80\x80\x80\x04\x01\x02\x00"), FORMAT_CORRUPT);
    assert_int_equal(VERDICT("\xca\x01\x00\x0b\x80\x80\x08\x01\x02\x01\x61"), FORMAT_OK);
}

static void as_a_layer_says_it(void **state)
{
    (void)state;
    strata_meta meta = { .life = 1,
                         .version = 2,
                         .born_ms = 3,
                         .born_wall_ms = 4,
                         .fresh_ms = 5,
                         .stale_ms = 6,
                         .error_ms = 7,
                         .keep_ms = STRATA_FOREVER,
                         .early_ms = 9,
                         .retry_at_ms = 10,
                         .position = 11,
                         .load_ms = 12,
                         .codec = 13,
                         .cost_us = 14,
                         .negative = 1 };
    struct envelope e, found;
    strata_meta back;
    size_t size;
    strata__envelope_from_meta(&e, &meta);
    uint8_t *bytes = packed(&e, &size);
    assert_int_equal(strata__envelope_read(&found, bytes, size), FORMAT_OK);
    strata__envelope_to_meta(&back, &found);
    assert_memory_equal(&back, &meta, sizeof meta);
    free(bytes);
    /* What a load took says what it would take again, but for what is shorter than a millisecond. */
    meta.cost_us = 12345;
    strata__envelope_from_meta(&e, &meta);
    assert_int_equal(e.cost_us, 0);
    strata__envelope_to_meta(&back, &e);
    assert_int_equal(back.cost_us, 12000);
    e.load_ms = UINT32_MAX;
    strata__envelope_to_meta(&back, &e);
    assert_int_equal(back.cost_us, UINT32_MAX);
    /* What the application says is small is kept, too: nothing was loaded that would say it. */
    meta.load_ms = 0;
    meta.cost_us = 7;
    strata__envelope_from_meta(&e, &meta);
    strata__envelope_to_meta(&back, &e);
    assert_int_equal(back.cost_us, 7);
    meta.fresh_ms = -1;
    strata__envelope_from_meta(&e, &meta);
    assert_int_equal(e.fresh_ms, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documented_vectors), cmocka_unit_test(small_enough),       cmocka_unit_test(random_ones),
        cmocka_unit_test(extremes),           cmocka_unit_test(damage_is_seen),     cmocka_unit_test(other_than_ours),
        cmocka_unit_test(wrong_fields),       cmocka_unit_test(as_a_layer_says_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
