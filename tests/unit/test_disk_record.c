/* test_disk_record.c - records of the disk layer: their documented bytes, and what a damaged one is called. */
#include "tests/unit/disk_format_fixture.h"

#include "src/format/disk_record.h"
#include "src/format/disk_segment.h"

static const char put_vector[] = "0080be2472cf7287 01 00 0300 0b000000 0000000000000000 3cb95569 4c0f7e73 6b6579 "
                                 "ca010006017876616c7565 00e5";
static const char tombstone_vector[] = "52cd4d498b7e0c67 02 00 0300 00000000 0000000000000000 ffffffff 1e1a2f01 6b6579 "
                                       "000000000000000000000000e5";
static const char ban_vector[] = "3d55f897adf15831 03 00 0500 10000000 0000000000000000 ffffffff fb5543b1 757365723a "
                                 "08070605040302010900000000000000 00000000000000000000e5";

static size_t make_record(uint8_t *out, const struct disk_record *record)
{
    memset(out, 0xEE, strata__record_size(record->key.size, record->body.size));
    memcpy(out + RECORD_HEAD, record->key.data, record->key.size);
    if (record->body.size != 0)
        memcpy(out + RECORD_HEAD + record->key.size, record->body.data, record->body.size);
    strata__record_seal(out, record, home.seed);
    return strata__record_size(record->key.size, record->body.size);
}

static struct disk_record a_put(void)
{
    return (struct disk_record){
        .kind = RECORD_PUT, .expires_s = 1767225660, .key = { "key", 3 }, .body = { "\xca\x01\x00\x06\x01xvalue", 11 }
    };
}

static int read_record(const uint8_t *bytes, size_t size)
{
    struct disk_record found;
    return strata__record_read(&found, bytes, size, home.seed);
}

static void put_record(void **state)
{
    (void)state;
    uint8_t bytes[64];
    struct disk_record put = a_put(), found;
    size_t size = make_record(bytes, &put);
    doc_vector_check(put_vector, bytes, size);
    assert_int_equal(strata__record_head_read(&found, bytes, RECORD_HEAD), FORMAT_OK);
    assert_int_equal(found.size, size);
    assert_int_equal(strata__record_read(&found, bytes, size, home.seed), FORMAT_OK);
    assert_int_equal(found.kind, RECORD_PUT);
    assert_int_equal(found.expires_s, 1767225660);
    assert_int_equal(found.birth, 0);
    assert_int_equal(found.size, size);
    assert_int_equal(found.key.size, 3);
    assert_memory_equal(found.key.data, "key", 3);
    assert_int_equal(found.body.size, 11);
    assert_ptr_equal(found.body.data, bytes + RECORD_HEAD + 3);
    assert_int_equal(strata__record_read(&found, bytes, size, home.seed + 1), FORMAT_CORRUPT);
    /* What is cut says what it needs. */
    assert_int_equal(strata__record_read(&found, bytes, size - 1, home.seed), FORMAT_SHORT);
    assert_int_equal(found.size, size);
    assert_int_equal(strata__record_read(&found, bytes, RECORD_HEAD - 1, home.seed), FORMAT_SHORT);
}

static void flipped_bits_of_records(void **state)
{
    (void)state;
    uint8_t bytes[512];
    char body[300];
    memset(body, 'x', sizeof body);
    for (size_t length = 0; length < sizeof body; length += 97) {
        struct disk_record put = a_put();
        put.birth = strata__place(3, 4096);
        put.body = strata_bytes(body, length);
        size_t size = make_record(bytes, &put);
        sees_all_damage(bytes, size, read_record);
    }
}

static int read_invalid(const uint8_t *bytes, size_t size)
{
    struct disk_record found;
    int verdict = strata__record_read(&found, bytes, size, home.seed);
    return verdict == FORMAT_OK && found.kind != RECORD_INVALID ? FORMAT_CORRUPT : verdict;
}

static void invalidated_in_place(void **state)
{
    (void)state;
    uint8_t bytes[64];
    struct disk_record put = a_put(), found;
    size_t size = make_record(bytes, &put);
    bytes[RECORD_KIND_AT] = RECORD_INVALID;
    assert_int_equal(strata__record_read(&found, bytes, size, home.seed), FORMAT_OK);
    assert_int_equal(found.kind, RECORD_INVALID);
    assert_int_equal(found.size, size);
    /* Its size is as sure as before: any other damage is seen, and only the kind's byte can turn it into another kind. */
    sees_all_damage(bytes, size, read_invalid);
}

static void tombstones_and_bans(void **state)
{
    (void)state;
    uint8_t bytes[64], body[RECORD_BAN_BODY];
    struct disk_record found, tombstone = { .kind = RECORD_TOMBSTONE, .expires_s = RECORD_NEVER, .key = { "key", 3 } };
    struct disk_ban ban = { .life = 0x0102030405060708, .position = 9, .prefix = { "user:", 5 } }, read;
    doc_vector_check(tombstone_vector, bytes, make_record(bytes, &tombstone));
    sees_all_damage(bytes, 48, read_record);
    strata__ban_write(body, &ban);
    struct disk_record record = {
        .kind = RECORD_BAN, .expires_s = RECORD_NEVER, .key = ban.prefix, .body = { body, sizeof body }
    };
    size_t size = make_record(bytes, &record);
    doc_vector_check(ban_vector, bytes, size);
    sees_all_damage(bytes, size, read_record);
    assert_int_equal(strata__record_read(&found, bytes, size, home.seed), FORMAT_OK);
    assert_int_equal(strata__ban_read(&read, &found, 77), FORMAT_OK);
    assert_int_equal(read.place, 77);
    assert_int_equal(read.life, ban.life);
    assert_int_equal(read.position, 9);
    assert_int_equal(read.all, 0);
    assert_int_equal(read.prefix.size, 5);
    /* "All" has no prefix; flags that are not known are none. */
    ban.all = 1;
    strata__ban_write(body, &ban);
    assert_int_equal(strata__ban_read(&read, &record, 77), FORMAT_CORRUPT);
    record.key.size = 0;
    assert_int_equal(strata__ban_read(&read, &record, 77), FORMAT_OK);
    assert_int_equal(read.all, 1);
    body[12] = 2;
    assert_int_equal(strata__ban_read(&read, &record, 77), FORMAT_CORRUPT);
    record.kind = RECORD_PUT;
    assert_int_equal(strata__ban_read(&read, &record, 77), FORMAT_CORRUPT);
}

/* A head says by itself whether its sizes are what was written, and no record ends in a zero. */
static void heads_and_ends(void **state)
{
    (void)state;
    uint8_t bytes[128];
    static const char zeros[40];
    for (size_t length = 0; length < sizeof zeros; length++) {
        struct disk_record put = a_put();
        put.body = strata_bytes(zeros, length);
        size_t size = make_record(bytes, &put);
        assert_true(bytes[size - 1] != 0);
        assert_int_equal(strata__record_head_check(bytes, home.seed), FORMAT_OK);
        assert_int_equal(strata__record_head_check(bytes, home.seed + 1), FORMAT_CORRUPT);
        for (size_t bit = 8 * RECORD_KIND_AT; bit < 8 * RECORD_HEAD; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(strata__record_head_check(bytes, home.seed), FORMAT_CORRUPT);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        bytes[RECORD_KIND_AT] = RECORD_INVALID;
        assert_int_equal(strata__record_head_check(bytes, home.seed), FORMAT_OK);
    }
}

/* Sums that are right do not make a record of anything. */
static void heads_that_cannot_be(void **state)
{
    (void)state;
    uint8_t bytes[128] = { 0 };
    struct disk_record found, put = a_put();
    assert_int_equal(read_record(bytes, sizeof bytes), FORMAT_END);
    bytes[20] = 1;
    assert_int_equal(read_record(bytes, sizeof bytes), FORMAT_CORRUPT);
    put.key.size = 0;
    assert_int_equal(read_record(bytes, make_record(bytes, &put)), FORMAT_CORRUPT);
    put = a_put();
    put.kind = RECORD_TOMBSTONE; /* with a body */
    assert_int_equal(read_record(bytes, make_record(bytes, &put)), FORMAT_CORRUPT);
    put.kind = RECORD_BAN; /* with another body than a ban's */
    assert_int_equal(read_record(bytes, make_record(bytes, &put)), FORMAT_CORRUPT);
    put.kind = 9;
    assert_int_equal(read_record(bytes, make_record(bytes, &put)), FORMAT_CORRUPT);
    put.kind = RECORD_PUT;
    make_record(bytes, &put);
    memset(bytes + 12, 0xff, 4); /* 4 GiB */
    assert_int_equal(strata__record_head_read(&found, bytes, sizeof bytes), FORMAT_CORRUPT);
}

static void places(void **state)
{
    (void)state;
    uint64_t last = strata__place(PLACE_SEGMENT_MAX, PLACE_OFFSET_MAX);
    assert_int_equal(last, UINT64_MAX);
    assert_int_equal(strata__place_segment(last), PLACE_SEGMENT_MAX);
    assert_int_equal(strata__place_offset(last), PLACE_OFFSET_MAX);
    assert_true(strata__place(2, SEGMENT_HEAD) > strata__place(1, PLACE_OFFSET_MAX));
    assert_int_equal(strata__place_offset(strata__place(5, 64)), 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_record),
        cmocka_unit_test(flipped_bits_of_records),
        cmocka_unit_test(invalidated_in_place),
        cmocka_unit_test(tombstones_and_bans),
        cmocka_unit_test(heads_that_cannot_be),
        cmocka_unit_test(heads_and_ends),
        cmocka_unit_test(places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
