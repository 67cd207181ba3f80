/* fuzz_disk_segment.c - a segment file as recovery reads it: head, records, footer.  Each input is read as it is, and once more
 * with its sums put right, since no fuzzer guesses them. */
#include <stdint.h>
#include <string.h>

#include "fuzz/disk_home.h"
#include "src/format/disk_record.h"
#include "src/format/disk_segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at_record(const struct disk_record *record, const uint8_t *at, size_t room)
{
    const uint8_t *end = (const uint8_t *)record->body.data + record->body.size;
    struct disk_ban ban;
    demand(record->size <= room && record->size % RECORD_ALIGN == 0 && record->size > RECORD_HEAD);
    demand((const uint8_t *)record->key.data == at + RECORD_HEAD && end <= at + record->size);
    if (record->kind != RECORD_BAN) {
        demand(record->key.size != 0);
        return;
    }
    if (strata__ban_read(&ban, record, strata__place(1, SEGMENT_HEAD)) == FORMAT_OK)
        demand(!ban.all || ban.prefix.size == 0);
}

static void scan_records(const uint8_t *data, size_t size)
{
    struct disk_record record;
    for (size_t at = SEGMENT_HEAD; at < size; at += record.size) {
        int verdict = strata__record_read(&record, data + at, size - at, home.seed);
        if (verdict == FORMAT_SHORT)
            demand(record.size > size - at);
        if (verdict != FORMAT_OK)
            return;
        look_at_record(&record, data + at, size - at);
    }
}

static void read_footer(const uint8_t *data, size_t size)
{
    struct segment_trailer trailer;
    struct segment_entry entry;
    if (size < SEGMENT_TRAILER ||
        strata__segment_trailer_read(&trailer, data + size - SEGMENT_TRAILER, size) != FORMAT_OK)
        return;
    size_t footer = strata__segment_footer_size(trailer.count);
    demand(trailer.footer_offset + footer == size);
    strata__segment_footer_check(data + trailer.footer_offset, &trailer, home.seed);
    for (uint32_t i = 0; i < trailer.count; i++) {
        const uint8_t *at = data + trailer.footer_offset + (size_t)i * SEGMENT_ENTRY;
        if (strata__segment_entry_read(&entry, at, &trailer) == FORMAT_OK)
            demand(entry.offset >= SEGMENT_HEAD && entry.offset + entry.size <= trailer.footer_offset);
    }
}

static void read_all(const uint8_t *data, size_t size)
{
    struct segment_head head;
    if (strata__segment_head_read(&head, data, size, &home) == FORMAT_OK)
        demand(head.number != 0 && head.number <= PLACE_SEGMENT_MAX);
    scan_records(data, size);
    read_footer(data, size);
}

/* As if each part had been written here. */
static void put_sums_right(uint8_t *data, size_t size)
{
    struct disk_record record;
    struct segment_trailer trailer;
    for (size_t at = SEGMENT_HEAD; at < size; at += record.size) {
        int verdict = strata__record_head_read(&record, data + at, size - at);
        if (verdict != FORMAT_OK || record.size > size - at)
            break;
        uint8_t kind = record.kind;
        record.kind = kind == RECORD_INVALID ? RECORD_PUT : kind;
        strata__record_seal(data + at, &record, home.seed);
        data[at + RECORD_KIND_AT] = kind;
        demand(strata__record_read(&record, data + at, size - at, home.seed) == FORMAT_OK);
        demand(record.kind == kind);
    }
    if (size < SEGMENT_TRAILER ||
        strata__segment_trailer_read(&trailer, data + size - SEGMENT_TRAILER, size) != FORMAT_OK)
        return;
    strata__segment_footer_seal(data + trailer.footer_offset, &trailer, home.seed);
    demand(strata__segment_footer_check(data + trailer.footer_offset, &trailer, home.seed) == FORMAT_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_all(data, size);
    uint8_t *copy = malloc(size != 0 ? size : 1);
    if (copy == NULL)
        return 0;
    if (size != 0)
        memcpy(copy, data, size);
    put_sums_right(copy, size);
    read_all(copy, size);
    free(copy);
    return 0;
}
