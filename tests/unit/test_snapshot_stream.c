/* test_snapshot_stream.c - src/format/snapshot_stream.c: the bytes that docs/formats.md shows, and what is not taken. */
#include "src/format/snapshot_stream.h"

#include <string.h>

#include "src/format/le.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/doc_vector.h"

/* A snapshot of two entries, as docs/formats.md has it. */
static const char vector[] =
    "5374726174536e70 01000000 00000000 0807060504030201 00a8da769b010000 09000000 00000000 cf7123e95e649dca"
    "01000000 00000000 53000000 53000000 02000000 00000000 db247c4660bb6d98"
    "08 6772656574696e67 29 ca010024819e08 78 80a0d5edee66 d00f 0807060504030201 09 01 09 08 8877665544332211"
    "68656c6c6f"
    "08 0004757365720031 16 ca010116811a 0a 80a0d5edee66 0807060504030201 09"
    "02000000 00000000 10000000 10000000 00000000 00000000 c9f2101ffd0446c0 0200000000000000 5300000000000000";

static void fill_entries(struct stream_entry out[2], const uint64_t *tags)
{
    out[0] = (struct stream_entry){ .key = strata_str("greeting"),
                                    .envelope = { .fresh_ms = 60000,
                                                  .born_wall_ms = 1767225600000,
                                                  .born_ms = 1000,
                                                  .life = 0x0102030405060708,
                                                  .position = 9,
                                                  .tag_count = 1,
                                                  .tag_ids = tags,
                                                  .payload = strata_str("hello") } };
    out[1] = (struct stream_entry){ .key = strata_bytes("\0\4user\0"
                                                        "1",
                                                        8),
                                    .envelope = { .flags = ENVELOPE_NEGATIVE,
                                                  .fresh_ms = 5000,
                                                  .born_wall_ms = 1767225600000,
                                                  .life = 0x0102030405060708,
                                                  .position = 9 } };
}

/* All of it; returns its size. */
static size_t make(uint8_t *out)
{
    const uint64_t tag = 0x1122334455667788;
    struct stream_head head = { .life = 0x0102030405060708, .written_wall_ms = 1767225600000, .position = 9 };
    struct stream_entry entries[2];
    fill_entries(entries, &tag);
    strata__stream_head_write(out, &head);
    uint8_t *at = out + STREAM_HEAD + STREAM_BLOCK;
    size_t raw = 0;
    for (int i = 0; i < 2; i++) {
        size_t size = strata__stream_entry_write(at + raw, &entries[i]);
        assert_int_equal(size, strata__stream_entry_size(&entries[i]));
        raw += size;
    }
    struct stream_block block = {
        .kind = STREAM_ENTRIES, .stored_size = (uint32_t)raw, .raw_size = (uint32_t)raw, .entries = 2
    };
    strata__stream_block_write(out + STREAM_HEAD, &block, head.sum, at);
    struct stream_block last = { .kind = STREAM_LAST, .stored_size = STREAM_END, .raw_size = STREAM_END };
    uint8_t *end = at + raw;
    strata__stream_end_write(end + STREAM_BLOCK, 2, raw);
    strata__stream_block_write(end, &last, block.sum, end + STREAM_BLOCK);
    return (size_t)(end - out) + STREAM_BLOCK + STREAM_END;
}

static void the_vector_of_the_document(void **state)
{
    (void)state;
    uint8_t made[512];
    size_t size = make(made);
    doc_vector_check(vector, made, size);
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    uint8_t made[512];
    size_t size = make(made);
    struct stream_head head;
    struct stream_block block;
    struct stream_entry entry;
    uint64_t entries, raw, id;
    assert_int_equal(strata__stream_head_read(&head, made, size), FORMAT_OK);
    assert_int_equal(head.life, 0x0102030405060708);
    assert_int_equal(head.written_wall_ms, 1767225600000);
    assert_int_equal(head.position, 9);
    const uint8_t *at = made + STREAM_HEAD;
    assert_int_equal(strata__stream_block_read(&block, at), FORMAT_OK);
    assert_int_equal(block.entries, 2);
    assert_int_equal(strata__stream_sum(at, head.sum, at + STREAM_BLOCK, block.stored_size), block.sum);
    at += STREAM_BLOCK;
    const uint8_t *end = at + block.raw_size;
    assert_int_equal(strata__stream_entry_read(&entry, &at, end), FORMAT_OK);
    assert_int_equal(entry.key.size, 8);
    assert_memory_equal(entry.key.data, "greeting", 8);
    assert_int_equal(entry.envelope.payload.size, 5);
    assert_int_equal(entry.envelope.tag_count, 1);
    assert_int_equal(strata__envelope_tag_ids(&entry.envelope, &id), 1);
    assert_int_equal(id, 0x1122334455667788);
    assert_int_equal(strata__stream_entry_read(&entry, &at, end), FORMAT_OK);
    assert_int_equal(entry.envelope.flags, ENVELOPE_NEGATIVE);
    assert_ptr_equal(at, end);
    assert_int_equal(strata__stream_entry_read(&entry, &at, end), FORMAT_CORRUPT);
    uint64_t sum = block.sum;
    assert_int_equal(strata__stream_block_read(&block, end), FORMAT_OK);
    assert_int_equal(block.kind, STREAM_LAST);
    assert_int_equal(strata__stream_sum(end, sum, end + STREAM_BLOCK, block.stored_size), block.sum);
    strata__stream_end_read(end + STREAM_BLOCK, &entries, &raw);
    assert_int_equal(entries, 2);
    assert_int_equal(end + STREAM_BLOCK + STREAM_END, made + size);
}

static void a_head_is_told_from_others(void **state)
{
    (void)state;
    uint8_t made[512], other[STREAM_HEAD];
    struct stream_head head;
    make(made);
    assert_int_equal(strata__stream_head_read(&head, made, 0), FORMAT_FOREIGN);
    assert_int_equal(strata__stream_head_read(&head, made, STREAM_HEAD - 1), FORMAT_SHORT);
    assert_int_equal(strata__stream_head_read(&head, "StratDir", 8), FORMAT_FOREIGN);
    for (size_t i = 0; i < STREAM_HEAD * 8; i++) {
        memcpy(other, made, sizeof other);
        other[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_not_equal(strata__stream_head_read(&head, other, sizeof other), FORMAT_OK);
    }
    memcpy(other, made, sizeof other);
    strata__le32_put(other + 8, 2);
    assert_int_equal(strata__stream_head_read(&head, other, sizeof other), FORMAT_NEWER);
}

static int read_block(const struct stream_block *as)
{
    uint8_t bytes[STREAM_BLOCK + 64] = { 0 };
    struct stream_block block = *as, read;
    strata__stream_block_write(bytes, &block, 0, bytes + STREAM_BLOCK);
    return strata__stream_block_read(&read, bytes);
}

static void a_block_that_cannot_be_is_none(void **state)
{
    (void)state;
    const struct stream_block good = { .kind = STREAM_ENTRIES, .stored_size = 64, .raw_size = 64, .entries = 3 };
    struct stream_block b = good;
    assert_int_equal(read_block(&b), FORMAT_OK);
    b.raw_size = 65;
    assert_int_equal(read_block(&b), FORMAT_CORRUPT);
    b.compression = COMPRESS_ZSTD;
    assert_int_equal(read_block(&b), FORMAT_OK);
    b.raw_size = 64; /* packed, and no smaller */
    assert_int_equal(read_block(&b), FORMAT_CORRUPT);
    b.raw_size = STREAM_BLOCK_BYTES + 1;
    assert_int_equal(read_block(&b), FORMAT_CORRUPT);
    b.entries = 1; /* a large one */
    assert_int_equal(read_block(&b), FORMAT_OK);
    b.raw_size = (uint32_t)STREAM_MOST + 1;
    assert_int_equal(read_block(&b), FORMAT_CORRUPT);
    b.compression = COMPRESS_LZ4;
    assert_int_equal(read_block(&b), FORMAT_NEWER);
    b = good;
    b.entries = 0;
    assert_int_equal(read_block(&b), FORMAT_CORRUPT);
    b.kind = 3;
    assert_int_equal(read_block(&b), FORMAT_NEWER);
    b.kind = 0;
    assert_int_equal(read_block(&b), FORMAT_CORRUPT);
    b = (struct stream_block){ .kind = STREAM_LAST, .stored_size = 15, .raw_size = 15 };
    assert_int_equal(read_block(&b), FORMAT_CORRUPT);
}

static void no_bit_of_an_entry_leads_out_of_its_block(void **state)
{
    (void)state;
    uint8_t made[512], other[512];
    make(made);
    struct stream_block block;
    assert_int_equal(strata__stream_block_read(&block, made + STREAM_HEAD), FORMAT_OK);
    const uint8_t *raw = made + STREAM_HEAD + STREAM_BLOCK;
    for (size_t i = 0; i < (size_t)block.raw_size * 8; i++) {
        memcpy(other, raw, block.raw_size);
        other[i / 8] ^= (uint8_t)(1u << i % 8);
        const uint8_t *at = other, *end = other + block.raw_size;
        struct stream_entry e;
        int verdict = FORMAT_OK;
        while (at < end && verdict != FORMAT_CORRUPT) {
            const uint8_t *before = at;
            verdict = strata__stream_entry_read(&e, &at, end);
            assert_true(at >= before && at <= end);
            assert_true(verdict != FORMAT_OK || (const uint8_t *)e.key.data + e.key.size <= end);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vector_of_the_document),
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(a_head_is_told_from_others),
        cmocka_unit_test(a_block_that_cannot_be_is_none),
        cmocka_unit_test(no_bit_of_an_entry_leads_out_of_its_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
