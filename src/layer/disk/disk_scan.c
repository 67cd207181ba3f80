/* disk_scan.c - what a segment file holds: told by its footer, or by a walk from record to record.
 *
 * The walk believes a record when its sum is right, and ends at the first that is not.  A file whose process died ends in
 * zeros, for its room was taken ahead; before them may stand a record, or a footer, of which the kernel got the first pages
 * alone.  Anything else is damage: a record that cannot be read may have been a tombstone, so nothing older than a damaged
 * segment can be trusted.  A record that was taken back in place still stands for what it superseded: it is listed as a
 * tombstone. */
#include <errno.h>
#include <string.h>

#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/layer/disk/disk_impl.h"
#include "src/os/os_file.h"

enum { SCAN_AT_ONCE = 1 << 20, LEAST_ENTRIES = 256 };

/* errno, 0 (there is one, and it is good), or -1: there is none that is good. */
static int read_footer(struct disk *d, int fd, uint64_t number, uint64_t file_size, struct segment_list *out)
{
    unsigned char end[SEGMENT_TRAILER];
    size_t got;
    if (file_size < SEGMENT_HEAD + SEGMENT_TRAILER)
        return -1;
    int failed = strata__os_file_read(fd, end, sizeof end, file_size - sizeof end, &got);
    if (failed != 0)
        return failed;
    int verdict = got == sizeof end ? strata__segment_trailer_read(&out->trailer, end, file_size) : FORMAT_CORRUPT;
    if (verdict != FORMAT_OK || out->trailer.number != number) {
        out->damaged = verdict != FORMAT_END;
        return -1;
    }
    size_t size = strata__segment_footer_size(out->trailer.count);
    out->bytes = strata__alloc(d->mem, size);
    if (out->bytes == NULL)
        return ENOMEM;
    failed = strata__os_file_read(fd, out->bytes, size, out->trailer.footer_offset, &got);
    if (failed == 0 && got == size &&
        strata__segment_footer_check(out->bytes, &out->trailer, d->dir.seed) == FORMAT_OK) {
        out->from_footer = 1;
        return 0;
    }
    strata__free(d->mem, out->bytes);
    out->bytes = NULL;
    out->damaged = 1;
    return failed != 0 ? failed : -1;
}

struct scan {
    struct disk *d;
    int fd;
    uint64_t offset, file_size;
    char *bytes; /* of the file, from offset on */
    size_t room, have;
    uint32_t entry_room;
};

static int note(struct scan *scan, struct segment_list *out, const struct disk_record *r)
{
    struct segment_trailer *t = &out->trailer;
    if (t->count == scan->entry_room) {
        uint32_t room = scan->entry_room != 0 ? scan->entry_room * 2 : LEAST_ENTRIES;
        unsigned char *more = strata__realloc_array(scan->d->mem, out->bytes, room, SEGMENT_ENTRY);
        if (more == NULL)
            return ENOMEM;
        out->bytes = more;
        scan->entry_room = room;
    }
    const struct segment_entry entry = { strata__disk_hash(scan->d, r->key), scan->offset, r->size,
                                         r->kind == RECORD_INVALID ? RECORD_TOMBSTONE : r->kind, r->expires_s };
    strata__segment_entry_write(out->bytes + (size_t)t->count * SEGMENT_ENTRY, &entry);
    t->count++;
    if (r->kind == RECORD_PUT) {
        t->bytes += r->size;
        if (r->expires_s > t->max_expires_s)
            t->max_expires_s = r->expires_s;
    }
    return 0;
}

/* Have at least `need` bytes from the offset on, if the file has. */
static int load(struct scan *scan, size_t need)
{
    size_t room = need > SCAN_AT_ONCE ? need : SCAN_AT_ONCE;
    if (room > scan->room) {
        strata__free(scan->d->mem, scan->bytes);
        scan->bytes = strata__alloc(scan->d->mem, room);
        scan->room = scan->bytes != NULL ? room : 0;
        if (scan->bytes == NULL)
            return ENOMEM;
    }
    return strata__os_file_read(scan->fd, scan->bytes, scan->room, scan->offset, &scan->have);
}

static int all_zero(const char *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* Is everything from `from` on zeros, and at least a trailer's room?  errno or 0. */
static int zeros_follow(struct scan *scan, uint64_t from, int *out)
{
    *out = from + SEGMENT_TRAILER <= scan->file_size;
    for (uint64_t at = from; *out && at < scan->file_size; at += scan->have) {
        scan->offset = at;
        int failed = load(scan, RECORD_HEAD);
        if (failed != 0)
            return failed;
        *out = scan->have != 0 && all_zero(scan->bytes, scan->have);
    }
    return 0;
}

/* The footer of a segment without records is its trailer alone, within one page: it is there, or it is not. */
static int is_empty_footer(const struct scan *scan)
{
    struct segment_trailer trailer;
    return scan->offset == SEGMENT_HEAD && scan->have >= SEGMENT_TRAILER &&
           strata__segment_trailer_read(&trailer, scan->bytes, SEGMENT_HEAD + SEGMENT_TRAILER) == FORMAT_OK &&
           trailer.count == 0 && strata__segment_footer_check(scan->bytes, &trailer, scan->d->dir.seed) == FORMAT_OK;
}

/* What stands at the end of the walk is no record.  Had its process died while the kernel took it, its first pages would
 * be there, and zeros from then on.  A record that is whole, and was damaged since, is none of these: its last byte is no
 * zero, and where that should be is under the sum of its head. */
static int is_torn(struct scan *scan, const struct segment_list *list, int *out)
{
    enum { PAGE = 4096 };
    uint64_t start = scan->offset, last_page;
    int head_is_cut = start % PAGE > PAGE - RECORD_HEAD;
    struct disk_record r;
    *out = 0;
    int failed = load(scan, RECORD_HEAD);
    if (failed != 0 || scan->have < RECORD_HEAD)
        return failed;
    /* A footer begins with the first record's hash and offset. */
    if (list->trailer.count != 0 ? memcmp(scan->bytes, list->bytes, 12) == 0 : is_empty_footer(scan))
        *out = 1;
    else if (strata__record_head_read(&r, scan->bytes, scan->have) == FORMAT_OK) {
        last_page = (start + r.size - 1) / PAGE * PAGE;
        if (last_page > start && strata__record_head_check(scan->bytes, scan->d->dir.seed) == FORMAT_OK)
            failed = zeros_follow(scan, last_page, out);
        else if (head_is_cut)
            failed = zeros_follow(scan, start / PAGE * PAGE + PAGE, out);
    }
    scan->offset = start;
    return failed;
}

/* errno or 0. */
static int walk(struct scan *scan, struct segment_list *out)
{
    size_t at = 0; /* in scan->bytes */
    int verdict = FORMAT_OK, failed = load(scan, RECORD_HEAD);
    while (failed == 0 && verdict == FORMAT_OK) {
        struct disk_record r;
        verdict = strata__record_read(&r, scan->bytes + at, scan->have - at, scan->d->dir.seed);
        if (verdict == FORMAT_SHORT && at != 0) {
            failed = load(scan, RECORD_HEAD);
            at = 0;
            verdict = FORMAT_OK;
        } else if (verdict == FORMAT_SHORT && r.size > scan->have && r.size <= scan->file_size - scan->offset) {
            failed = load(scan, r.size);
            verdict = scan->have < r.size ? FORMAT_SHORT : FORMAT_OK; /* the file is shorter than it was */
        } else if (verdict == FORMAT_OK) {
            failed = note(scan, out, &r);
            at += r.size;
            scan->offset += r.size;
        }
    }
    int fine = 0;
    if (failed == 0 && verdict == FORMAT_END) {
        uint64_t end = scan->offset;
        failed = zeros_follow(scan, end, &fine);
        scan->offset = end;
    } else if (failed == 0) {
        failed = is_torn(scan, out, &fine);
    }
    out->damaged = out->damaged || !fine;
    return failed;
}

int strata__segment_list_read(struct disk *d, int fd, uint64_t number, uint64_t file_size, struct segment_list *out)
{
    memset(out, 0, sizeof *out);
    int failed = read_footer(d, fd, number, file_size, out);
    if (failed != -1)
        return failed;
    struct scan scan = { .d = d, .fd = fd, .offset = SEGMENT_HEAD, .file_size = file_size };
    int damaged = out->damaged;
    memset(out, 0, sizeof *out);
    out->damaged = damaged;
    failed = walk(&scan, out);
    out->trailer.number = number;
    out->trailer.footer_offset = scan.offset;
    strata__free(d->mem, scan.bytes);
    if (failed != 0) {
        strata__free(d->mem, out->bytes);
        out->bytes = NULL;
    }
    return failed;
}
