/* test_disk_formats.c - the files of the disk layer around their records: documented bytes, and what damage is called. */
#include "tests/unit/disk_format_fixture.h"

#include "src/base/hash.h"
#include "src/format/disk_segment.h"
#include "src/format/disk_snapshot.h"

static const char dir_vector[] = "5374726174446972 01000000 00000000 000102030405060708090a0b0c0d0e0f 0102030405060708 "
                                 "00a8da769b010000 394a32cf40b5be97";
static const char head_vector[] =
    "5374726174536567 01000000 00000000 0700000000000000 000102030405060708090a0b0c0d0e0f "
    "00a8da769b010000 3dc06e9930949ba3 9a85e66cf66699f5";
static const char footer_vector[] = "6a12fb6015416a0a 04000000 03000040 3cb95569 00000000 6a12fb6015416a0a 07000000 "
                                    "03000080 ffffffff 00000000 25ff68c530e8aa72 0a000000 040000c0 ffffffff 00000000 "
                                    "0700000000000000 e000000000000000 3000000000000000 0300000000000000 03000000 "
                                    "3cb95569 01000000 00000000 51173a6b932877b4 6765537461727453";
static const char snapshot_vector[] =
    "5374726174496478 01000000 04030201 000102030405060708090a0b0c0d0e0f 0801000000000000 "
    "2800000000000000 0800000000000000 0100000000000000 0100000000000000 00a8da769b010000 "
    "01000000 02000000 10000000 01000000 01000000 01000000 00000000 00000000 "
    "3dc06e9930949ba3 134ad74452708a33 0700000000000000 9001000000000000 4000000000000000 "
    "0300000000000000 01000000 3cb95569 0b00001c00000000 0807060504030201 09000000 "
    "00000000 05000000 00000000 757365723a000000 0100000000000000 0100000000000000 "
    "101112131415161718191a1b1c1d1e1f00000000000000000000000000000000 196f77b416f55f5b";

/* The directory file --------------------------------------------------------------------------------------------- */

static int read_dir(const uint8_t *bytes, size_t size)
{
    struct disk_dir found;
    return strata__dir_read(&found, bytes, size);
}

static void directory_file(void **state)
{
    (void)state;
    uint8_t bytes[DIR_MAX];
    struct disk_dir found, with_cursor = home;
    size_t size = strata__dir_size(&home);
    strata__dir_write(bytes, &home);
    doc_vector_check(dir_vector, bytes, size);
    assert_int_equal(strata__dir_read(&found, bytes, size), FORMAT_OK);
    assert_memory_equal(found.id, home.id, DISK_ID);
    assert_int_equal(found.seed, home.seed);
    assert_int_equal(found.created_wall_ms, home.created_wall_ms);
    assert_int_equal(found.cursor.size, 0);
    sees_all_damage(bytes, size, read_dir);
    with_cursor.cursor = strata_str("stream:1-0");
    size = strata__dir_size(&with_cursor);
    strata__dir_write(bytes, &with_cursor);
    sees_all_damage(bytes, size, read_dir);
    assert_int_equal(strata__dir_read(&found, bytes, size), FORMAT_OK);
    assert_int_equal(found.cursor.size, 10);
    assert_memory_equal(found.cursor.data, "stream:1-0", 10);
}

/* Writes `n` over four bytes and puts the sum right, as another version would. */
static void resummed(uint8_t *bytes, size_t at, uint32_t n, size_t sum_at)
{
    for (size_t i = 0; i < 4; i++)
        bytes[at + i] = (uint8_t)(n >> 8 * i);
    uint64_t sum = strata__hash(bytes, sum_at, 0);
    for (size_t i = 0; i < 8; i++)
        bytes[sum_at + i] = (uint8_t)(sum >> 8 * i);
}

static void directory_of_others(void **state)
{
    (void)state;
    uint8_t bytes[DIR_MAX];
    size_t size = strata__dir_size(&home);
    strata__dir_write(bytes, &home);
    resummed(bytes, 8, 2, size - 8);
    assert_int_equal(read_dir(bytes, size), FORMAT_NEWER);
    resummed(bytes, 8, 0, size - 8);
    assert_int_equal(read_dir(bytes, size), FORMAT_CORRUPT);
    strata__dir_write(bytes, &home);
    resummed(bytes, 12, UINT32_MAX, size - 8); /* a cursor longer than the file */
    assert_int_equal(read_dir(bytes, size), FORMAT_CORRUPT);
    assert_int_equal(read_dir((const uint8_t *)"# a text file\n", 14), FORMAT_FOREIGN);
    assert_int_equal(read_dir((const uint8_t *)"", 0), FORMAT_FOREIGN);
}

/* Segments ------------------------------------------------------------------------------------------------------- */

static int read_head(const uint8_t *bytes, size_t size)
{
    struct segment_head found;
    return strata__segment_head_read(&found, bytes, size, &home);
}

static void segment_heads(void **state)
{
    (void)state;
    uint8_t bytes[SEGMENT_HEAD];
    struct segment_head head = { .number = 7, .created_wall_ms = 1767225600000 }, found;
    strata__segment_head_write(bytes, &head, &home);
    doc_vector_check(head_vector, bytes, sizeof bytes);
    assert_int_equal(strata__segment_head_read(&found, bytes, sizeof bytes, &home), FORMAT_OK);
    assert_int_equal(found.number, 7);
    assert_int_equal(found.created_wall_ms, 1767225600000);
    sees_all_damage(bytes, sizeof bytes, read_head);
    struct disk_dir other = home;
    other.seed++;
    assert_int_equal(strata__segment_head_read(&found, bytes, sizeof bytes, &other), FORMAT_FOREIGN);
    other = home;
    other.id[3]++;
    assert_int_equal(strata__segment_head_read(&found, bytes, sizeof bytes, &other), FORMAT_FOREIGN);
    resummed(bytes, 8, 2, 56);
    assert_int_equal(read_head(bytes, sizeof bytes), FORMAT_NEWER);
    head.number = UINT64_C(0x100000009);
    for (head.reach = 1; head.reach <= head.number - 2; head.reach += 0x40000001) {
        strata__segment_head_write(bytes, &head, &home);
        assert_int_equal(strata__segment_head_read(&found, bytes, sizeof bytes, &home), FORMAT_OK);
        assert_int_equal(found.reach, head.number - head.reach <= UINT32_MAX ? head.reach : 0); /* too far to be told */
    }
    resummed(bytes, 12, 1, 56); /* the one right before it, in itself */
    assert_int_equal(read_head(bytes, sizeof bytes), FORMAT_CORRUPT);
    head.number = 7;
    head.reach = 5;
    strata__segment_head_write(bytes, &head, &home);
    resummed(bytes, 12, 7, 56);
    assert_int_equal(read_head(bytes, sizeof bytes), FORMAT_CORRUPT);
    head.reach = 0;
    head.number = 0;
    strata__segment_head_write(bytes, &head, &home);
    assert_int_equal(read_head(bytes, sizeof bytes), FORMAT_CORRUPT);
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(read_head(bytes, sizeof bytes), FORMAT_END);
    memset(bytes, 'A', sizeof bytes);
    assert_int_equal(read_head(bytes, sizeof bytes), FORMAT_FOREIGN);
}

enum { RECORDS_END = 224, FOOTER = 3 * SEGMENT_ENTRY + SEGMENT_TRAILER };

static const struct segment_entry three[] = {
    { .offset = 64, .size = 48, .kind = RECORD_PUT, .expires_s = 1767225660 },
    { .offset = 112, .size = 48, .kind = RECORD_TOMBSTONE, .expires_s = RECORD_NEVER },
    { .offset = 160, .size = 64, .kind = RECORD_BAN, .expires_s = RECORD_NEVER },
};

static void make_footer(uint8_t *out)
{
    const char *const keys[] = { "key", "key", "user:" };
    struct segment_trailer trailer = {
        .number = 7, .footer_offset = RECORDS_END, .bytes = 48, .superseded = 3, .count = 3, .max_expires_s = 1767225660
    };
    for (size_t i = 0; i < 3; i++) {
        struct segment_entry entry = three[i];
        entry.hash = strata__hash(keys[i], strlen(keys[i]), home.seed);
        strata__segment_entry_write(out + i * SEGMENT_ENTRY, &entry);
    }
    strata__segment_footer_seal(out, &trailer, home.seed);
}

/* A footer as an opener reads it: trailer, sum, entries. */
static int read_footer(const uint8_t *bytes, size_t size)
{
    struct segment_trailer trailer;
    struct segment_entry entry;
    if (size < SEGMENT_TRAILER)
        return FORMAT_END;
    int verdict = strata__segment_trailer_read(&trailer, bytes + size - SEGMENT_TRAILER, RECORDS_END + size);
    if (verdict == FORMAT_OK)
        verdict = strata__segment_footer_check(bytes, &trailer, home.seed);
    for (uint32_t i = 0; verdict == FORMAT_OK && i < trailer.count; i++)
        verdict = strata__segment_entry_read(&entry, bytes + i * SEGMENT_ENTRY, &trailer);
    return verdict;
}

static void segment_footers(void **state)
{
    (void)state;
    uint8_t bytes[FOOTER];
    struct segment_trailer trailer;
    struct segment_entry entry;
    make_footer(bytes);
    doc_vector_check(footer_vector, bytes, sizeof bytes);
    sees_all_damage(bytes, sizeof bytes, read_footer);
    const uint8_t *end = bytes + FOOTER - SEGMENT_TRAILER;
    assert_int_equal(strata__segment_trailer_read(&trailer, end, RECORDS_END + FOOTER), FORMAT_OK);
    assert_int_equal(trailer.number, 7);
    assert_int_equal(trailer.superseded, 3);
    assert_int_equal(trailer.bytes, 48);
    assert_int_equal(trailer.max_expires_s, 1767225660);
    assert_int_equal(strata__segment_footer_size(trailer.count), FOOTER);
    assert_int_equal(strata__segment_footer_check(bytes, &trailer, home.seed + 1), FORMAT_CORRUPT);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(strata__segment_entry_read(&entry, bytes + i * SEGMENT_ENTRY, &trailer), FORMAT_OK);
        assert_int_equal(entry.offset, three[i].offset);
        assert_int_equal(entry.size, three[i].size);
        assert_int_equal(entry.kind, three[i].kind);
        assert_int_equal(entry.expires_s, three[i].expires_s);
    }
    /* A sealed file that was cut or extended is not one that was never sealed. */
    assert_int_equal(strata__segment_trailer_read(&trailer, end, RECORDS_END + FOOTER + 16), FORMAT_CORRUPT);
    bytes[FOOTER - 1] ^= 1;
    assert_int_equal(strata__segment_trailer_read(&trailer, end, RECORDS_END + FOOTER), FORMAT_END);
    bytes[FOOTER - 1] ^= 1;
    bytes[FOOTER - SEGMENT_TRAILER + 40] = 2;
    assert_int_equal(strata__segment_trailer_read(&trailer, end, RECORDS_END + FOOTER), FORMAT_CORRUPT);
}

static void entries_outside(void **state)
{
    (void)state;
    uint8_t bytes[SEGMENT_ENTRY];
    struct segment_trailer trailer = { .footer_offset = RECORDS_END };
    const struct segment_entry wrong[] = {
        { .offset = 48, .size = 48, .kind = RECORD_PUT },
        { .offset = 64, .size = 176, .kind = RECORD_PUT },
        { .offset = 64, .size = 48, .kind = 0 },
        { .offset = 64, .size = 32, .kind = RECORD_PUT },
        { .offset = 4096, .size = 48, .kind = RECORD_PUT },
    };
    struct segment_entry found, last = { .offset = 64, .size = RECORDS_END - 64, .kind = RECORD_PUT };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        strata__segment_entry_write(bytes, &wrong[i]);
        assert_int_equal(strata__segment_entry_read(&found, bytes, &trailer), FORMAT_CORRUPT);
    }
    strata__segment_entry_write(bytes, &last);
    assert_int_equal(strata__segment_entry_read(&found, bytes, &trailer), FORMAT_OK);
}

/* Snapshots ------------------------------------------------------------------------------------------------------ */

enum { SNAPSHOT = 264, SLOTS = 32 };

static struct snapshot_head small_head(void)
{
    struct snapshot_head head = { .bans_size = strata__snapshot_ban_size(5),
                                  .next_segment = 8,
                                  .entries = 1,
                                  .buckets = 1,
                                  .written_wall_ms = 1767225600000,
                                  .shard_count = 1,
                                  .bucket_slots = 2,
                                  .slot_size = 16,
                                  .slot_layout = 1,
                                  .segment_count = 1,
                                  .ban_count = 1 };
    head.file_size = strata__snapshot_file_size(&head);
    return head;
}

static void make_snapshot(uint8_t *out)
{
    struct snapshot_head head = small_head();
    struct snapshot_segment segment = {
        .number = 7, .size = 400, .live_bytes = 64, .superseded = 3, .live_count = 1, .max_expires_s = 1767225660
    };
    struct disk_ban ban = {
        .place = strata__place(7, 176), .life = 0x0102030405060708, .position = 9, .prefix = { "user:", 5 }
    };
    struct snapshot_shard shard = { .buckets = 1, .used = 1 };
    uint8_t *at = out;
    assert_int_equal(head.file_size, SNAPSHOT);
    strata__snapshot_head_write(at, &head, &home);
    at += SNAPSHOT_HEAD;
    strata__snapshot_segment_write(at, &segment);
    at += SNAPSHOT_SEGMENT;
    at += strata__snapshot_ban_write(at, &ban);
    strata__snapshot_shard_write(at, &shard);
    at += SNAPSHOT_SHARD;
    memset(at, 0, SLOTS);
    for (uint8_t i = 0; i < 16; i++)
        at[i] = (uint8_t)(0x10 + i);
    at += SLOTS;
    strata__snapshot_sum_write(at, strata__hash(out, (size_t)(at - out), home.seed));
}

/* A snapshot as an opener reads it: the head, the parts as they come, the sum at the end. */
static int read_snapshot(const uint8_t *bytes, size_t size)
{
    struct snapshot_head head;
    struct snapshot_segment segment;
    struct snapshot_shard shard;
    struct disk_ban ban;
    struct hash_stream sum;
    int verdict = strata__snapshot_head_read(&head, bytes, size, size, &home);
    if (verdict != FORMAT_OK)
        return verdict;
    strata__hash_start(&sum, home.seed);
    const uint8_t *at = bytes + SNAPSHOT_HEAD;
    const uint8_t *front_end = at + strata__snapshot_front_size(&head);
    strata__hash_add(&sum, bytes, (size_t)(front_end - bytes));
    strata__snapshot_segment_read(&segment, at);
    at += SNAPSHOT_SEGMENT * head.segment_count;
    for (uint32_t i = 0; i < head.ban_count; i++)
        if ((verdict = strata__snapshot_ban_read(&ban, &at, front_end)) != FORMAT_OK)
            return verdict;
    strata__hash_add(&sum, front_end, SNAPSHOT_SHARD);
    strata__snapshot_shard_read(&shard, front_end);
    strata__hash_add(&sum, front_end + SNAPSHOT_SHARD, SLOTS);
    return strata__hash_sum(&sum) == strata__snapshot_sum_read(bytes + size - SNAPSHOT_SUM) ? FORMAT_OK
                                                                                            : FORMAT_CORRUPT;
}

static void snapshots(void **state)
{
    (void)state;
    uint8_t bytes[SNAPSHOT];
    struct snapshot_head head, wrote = small_head();
    struct snapshot_segment segment;
    struct snapshot_shard shard;
    struct disk_ban ban;
    make_snapshot(bytes);
    doc_vector_check(snapshot_vector, bytes, sizeof bytes);
    sees_all_damage(bytes, sizeof bytes, read_snapshot);
    assert_int_equal(strata__snapshot_head_read(&head, bytes, sizeof bytes, sizeof bytes, &home), FORMAT_OK);
    assert_memory_equal(&head, &wrote, sizeof head);
    const uint8_t *at = bytes + SNAPSHOT_HEAD;
    strata__snapshot_segment_read(&segment, at);
    assert_int_equal(segment.number, 7);
    assert_int_equal(segment.size, 400);
    assert_int_equal(segment.live_bytes, 64);
    assert_int_equal(segment.superseded, 3);
    assert_int_equal(segment.live_count, 1);
    assert_int_equal(segment.max_expires_s, 1767225660);
    at += SNAPSHOT_SEGMENT;
    assert_int_equal(strata__snapshot_ban_read(&ban, &at, bytes + sizeof bytes), FORMAT_OK);
    assert_int_equal(ban.place, strata__place(7, 176));
    assert_int_equal(ban.position, 9);
    assert_memory_equal(ban.prefix.data, "user:", 5);
    strata__snapshot_shard_read(&shard, at);
    assert_int_equal(shard.buckets, 1);
    assert_int_equal(shard.used, 1);
}

static int head_verdict(const struct snapshot_head *head, uint64_t file_size)
{
    uint8_t bytes[SNAPSHOT_HEAD];
    struct snapshot_head found;
    strata__snapshot_head_write(bytes, head, &home);
    return strata__snapshot_head_read(&found, bytes, sizeof bytes, file_size, &home);
}

/* Counts that do not make up the file, also where their product passes 64 bits. */
static void snapshot_counts(void **state)
{
    (void)state;
    struct snapshot_head head = small_head();
    assert_int_equal(head_verdict(&head, SNAPSHOT), FORMAT_OK);
    assert_int_equal(head_verdict(&head, SNAPSHOT + 1), FORMAT_CORRUPT);
    struct snapshot_head wrong[9];
    for (size_t i = 0; i < 9; i++)
        wrong[i] = head;
    wrong[0].segment_count = 2;
    wrong[1].ban_count = 2;
    wrong[2].bans_size = UINT64_MAX - 7;
    wrong[3].buckets = UINT64_MAX / 32 + 2; /* times 32: 32 */
    wrong[4].bucket_slots = UINT32_MAX;
    wrong[5].slot_size = 0;
    wrong[6].entries = 3;
    wrong[7].shard_count = UINT32_MAX;
    wrong[8].cursor_size = 1;
    for (size_t i = 0; i < 9; i++)
        assert_int_equal(head_verdict(&wrong[i], SNAPSHOT), FORMAT_CORRUPT);
    head.cursor_size = 3;
    head.file_size = strata__snapshot_file_size(&head);
    assert_int_equal(head.file_size, SNAPSHOT + 8);
    assert_int_equal(head_verdict(&head, SNAPSHOT + 8), FORMAT_OK);
}

static void snapshots_of_others(void **state)
{
    (void)state;
    uint8_t bytes[SNAPSHOT];
    struct snapshot_head head;
    struct disk_dir other = home;
    other.seed++;
    make_snapshot(bytes);
    assert_int_equal(strata__snapshot_head_read(&head, bytes, SNAPSHOT, SNAPSHOT, &other), FORMAT_FOREIGN);
    resummed(bytes, 12, 0x05060708, 120); /* another byte order */
    assert_int_equal(read_snapshot(bytes, SNAPSHOT), FORMAT_FOREIGN);
    resummed(bytes, 8, 2, 120);
    assert_int_equal(read_snapshot(bytes, SNAPSHOT), FORMAT_NEWER);
    assert_int_equal(read_snapshot(bytes, SNAPSHOT_HEAD - 1), FORMAT_SHORT);
    bytes[0] = 'x';
    assert_int_equal(read_snapshot(bytes, SNAPSHOT), FORMAT_FOREIGN);
}

/* Any cut gives the hash of the whole. */
static void sums_in_pieces(void **state)
{
    (void)state;
    uint8_t bytes[2000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)strata__mix64(i);
    for (size_t cut = 0; cut <= sizeof bytes; cut += 31) {
        struct hash_stream stream;
        strata__hash_start(&stream, home.seed);
        strata__hash_add(&stream, bytes, cut);
        strata__hash_add(&stream, NULL, 0);
        strata__hash_add(&stream, bytes + cut, sizeof bytes - cut);
        assert_int_equal(strata__hash_sum(&stream), strata__hash(bytes, sizeof bytes, home.seed));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directory_file),  cmocka_unit_test(directory_of_others), cmocka_unit_test(segment_heads),
        cmocka_unit_test(segment_footers), cmocka_unit_test(entries_outside),     cmocka_unit_test(snapshots),
        cmocka_unit_test(snapshot_counts), cmocka_unit_test(snapshots_of_others), cmocka_unit_test(sums_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
