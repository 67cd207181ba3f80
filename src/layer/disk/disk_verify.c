/* disk_verify.c - one segment file: is it what an opening would take it for, and is every record in it right? */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/format/envelope.h"
#include "src/layer/disk/disk_inspect.h"
#include "src/os/os_file.h"

enum { WINDOW = 1 << 20, SAMPLE = 16, SAMPLE_BYTES = 4096 };

/* A piece of the file: *out points to what there is of it, *out_have bytes. */
static int look(struct inspection *in, int fd, uint64_t offset, size_t size, const char **out, size_t *out_have)
{
    uint64_t end = in->window_offset + in->window_have;
    *out_have = 0;
    if (offset < in->window_offset || offset + size > end) {
        size_t room = size > WINDOW ? size : WINDOW;
        if (room > in->window_room) {
            strata__free(NULL, in->window);
            in->window = strata__alloc(NULL, room);
            in->window_room = in->window != NULL ? room : 0;
            in->window_have = 0;
            if (in->window == NULL)
                return strata__fail(in->err, STRATA_ENOMEM, "disk", "no memory to read a record: free some");
        }
        in->window_offset = offset;
        in->window_have = 0;
        if (strata__os_file_read(fd, in->window, room, offset, &in->window_have) != 0)
            in->window_have = 0; /* what cannot be read is a record that is not there */
        int rc = strata__inspect_progress(in, in->window_have);
        if (rc < 0)
            return rc;
    }
    size_t have = (size_t)(in->window_offset + in->window_have - offset);
    *out = in->window + (offset - in->window_offset);
    *out_have = have < size ? have : size;
    return STRATA_OK;
}

static void note_dictionary(strata_disk_report *report, uint64_t id)
{
    enum { MOST = sizeof report->dictionaries / sizeof report->dictionaries[0] };
    size_t i = 0;
    while (i < MOST && report->dictionaries[i] != 0 && report->dictionaries[i] != id)
        i++;
    if (i < MOST)
        report->dictionaries[i] = id;
}

/* What a value takes on the disk and in the hand.  `have` of the body's bytes are there. */
static int measure(struct inspection *in, const struct disk_record *r, const char *body, size_t have)
{
    struct envelope envelope;
    size_t lead = r->flags & (RECORD_ALIGN - 1); /* zeros before the envelope */
    if (have < lead)
        return FORMAT_CORRUPT;
    int verdict = strata__envelope_read(&envelope, body + lead, have - lead);
    if (verdict != FORMAT_OK)
        return verdict;
    uint64_t payload = envelope.payload.size + (r->body.size - have);
    in->report.measured++;
    in->report.measured_bytes += payload;
    if (envelope.dictionary != 0)
        note_dictionary(&in->report, envelope.dictionary);
    in->report.measured_raw_bytes += envelope.compression != COMPRESS_NONE ? envelope.raw_size : payload;
    return FORMAT_OK;
}

/* NULL where the record is what the list says it is; or what is wrong. */
static const char *compare(struct inspection *in, const struct segment_entry *e, const char *bytes, size_t have)
{
    struct disk_record r;
    if (have < e->size)
        return "the record cannot be read";
    int verdict = strata__record_read(&r, bytes, (size_t)e->size, in->d->dir.seed);
    if (verdict != FORMAT_OK)
        return "the record's sum is wrong";
    /* What was taken back in place keeps its line in the footer. */
    int same_kind = r.kind == e->kind || (r.kind == RECORD_INVALID && e->kind != RECORD_BAN);
    if (r.size != e->size || !same_kind || r.expires_s != e->expires_s || strata__disk_hash(in->d, r.key) != e->hash)
        return "the record is another one than the footer says";
    if (r.kind != RECORD_PUT)
        return NULL;
    verdict = measure(in, &r, r.body.data, r.body.size);
    return verdict == FORMAT_OK || verdict == FORMAT_NEWER ? NULL : "the head of the value is wrong";
}

/* A few of its values, for the sizes alone. */
static void sample(struct inspection *in, int fd, const struct segment_list *list)
{
    uint32_t step = list->trailer.count / SAMPLE + 1;
    for (uint32_t i = 0; i < list->trailer.count; i += step) {
        char bytes[SAMPLE_BYTES];
        struct segment_entry e;
        struct disk_record r;
        size_t have = 0;
        if (!segment_list_at(list, i, &e) || e.kind != RECORD_PUT ||
            strata__os_file_read(fd, bytes, e.size < sizeof bytes ? (size_t)e.size : sizeof bytes, e.offset, &have) !=
                0 ||
            strata__record_head_read(&r, bytes, have) != FORMAT_OK || r.kind != RECORD_PUT ||
            have <= RECORD_HEAD + r.key.size)
            continue;
        size_t body = have - RECORD_HEAD - r.key.size;
        (void)measure(in, &r, bytes + RECORD_HEAD + r.key.size, body < r.body.size ? body : r.body.size);
    }
}

/* All records of the list, or its bans alone: what an opening reads. */
static int verify_records(struct inspection *in, struct inspected *s, int fd, const char *name)
{
    const struct segment_list *list = &s->list;
    int all = (in->options.flags & STRATA_DISK_INSPECT_RECORDS) != 0, rc = STRATA_OK;
    uint64_t expected = SEGMENT_HEAD;
    for (uint32_t i = 0; rc == STRATA_OK && i < list->trailer.count; i++) {
        const char *bytes = NULL, *wrong = NULL;
        struct segment_entry e;
        size_t have;
        if (!segment_list_at(list, i, &e) || (all && e.offset != expected)) {
            strata__inspect_damage(in, name, expected, "the footer does not name what stands here", ADVICE_SEGMENT);
            return STRATA_OK;
        }
        expected = e.offset + e.size;
        in->report.records++;
        in->report.tombstones += e.kind == RECORD_TOMBSTONE;
        if (!all && e.kind != RECORD_BAN)
            continue;
        rc = look(in, fd, e.offset, (size_t)e.size, &bytes, &have);
        if (rc == STRATA_OK)
            wrong = compare(in, &e, bytes, have);
        if (wrong != NULL)
            strata__inspect_damage(in, name, e.offset, wrong, e.kind == RECORD_BAN ? ADVICE_SEGMENT : ADVICE_RECORD);
        else if (rc == STRATA_OK)
            in->report.checked_bytes += e.size;
        s->trusted = s->trusted && !(wrong != NULL && e.kind == RECORD_BAN);
    }
    if (rc == STRATA_OK && !all)
        sample(in, fd, list);
    return rc;
}

/* NULL: it is ours, and says its own number; or what is wrong. */
static const char *read_head(struct inspection *in, struct inspected *s, int fd)
{
    unsigned char bytes[SEGMENT_HEAD];
    struct segment_head head;
    struct os_file_stat stat;
    size_t got = 0;
    if (strata__os_file_stat(fd, &stat) != 0 || !stat.regular)
        return "it is no plain file";
    s->file_size = stat.size;
    if (strata__os_file_read(fd, bytes, sizeof bytes, 0, &got) != 0)
        return "it cannot be read";
    switch (strata__segment_head_read(&head, bytes, got, &in->d->dir)) {
    case FORMAT_OK: break;
    case FORMAT_FOREIGN: return "it is another directory's, or none of strata's";
    case FORMAT_NEWER: return "a newer strata wrote it";
    default: return "its head is damaged";
    }
    if (head.number != s->number)
        return "its name and its head say different numbers";
    s->reach = head.reach;
    if (in->report.oldest_wall_ms == 0)
        in->report.oldest_wall_ms = head.created_wall_ms;
    in->report.newest_wall_ms = head.created_wall_ms;
    return NULL;
}

static int verify_open(struct inspection *in, struct inspected *s, int fd, int judged)
{
    char name[24];
    strata__segment_name(name, s->number);
    const char *wrong = read_head(in, s, fd);
    if (wrong != NULL) {
        strata__inspect_damage(in, name, 0, wrong, ADVICE_SEGMENT);
        return STRATA_OK;
    }
    in->report.checked_bytes += SEGMENT_HEAD;
    int failed = strata__segment_list_read(in->d, fd, s->number, s->file_size, &s->list);
    if (failed == ENOMEM)
        return strata__fail(in->err, STRATA_ENOMEM, "disk", "no memory for the records of a segment: free some");
    if (failed != 0) {
        strata__inspect_damage(in, name, 0, "it cannot be read: look at the disk", ADVICE_SEGMENT);
        return STRATA_OK;
    }
    in->report.sealed += s->list.from_footer != 0;
    s->trusted = !s->list.damaged || !judged;
    if (!s->trusted)
        strata__inspect_damage(in, name, s->list.trailer.footer_offset,
                               "what stands here is no whole record and no whole footer", ADVICE_SEGMENT);
    else if (s->list.from_footer)
        in->report.checked_bytes += strata__segment_footer_size(s->list.trailer.count);
    return verify_records(in, s, fd, name);
}

int strata__verify_segment(struct inspection *in, size_t which)
{
    struct inspected *s = &in->segments[which];
    char name[24];
    int fd;
    strata__segment_name(name, s->number);
    int failed = strata__os_file_open(in->d->dir_fd, name, 0, &fd);
    if (failed == ENOENT && in->report.in_use) {
        s->gone = 1;
        return STRATA_OK;
    }
    if (failed == EACCES || failed == EMFILE || failed == ENFILE)
        return strata__fail_os(in->err, STRATA_EIO, failed, "disk", "%s in \"%.120s\" cannot be opened: %s", name,
                               in->d->options.path,
                               failed == EACCES ? "ask as the user that the cache runs as" : "close some files");
    if (failed != 0) {
        strata__inspect_damage(in, name, 0, failed == ELOOP ? "it is a symbolic link" : "it cannot be opened",
                               ADVICE_SEGMENT);
        return STRATA_OK;
    }
    in->report.segments++;
    in->window_have = 0;
    /* A cache that runs writes to the youngest one, and to no other. */
    uint64_t before = in->done_bytes;
    int rc = verify_open(in, s, fd, !in->report.in_use || which + 1 < in->count);
    in->report.bytes += s->file_size;
    strata__os_file_close(fd);
    in->done_bytes = before;
    return rc == STRATA_OK ? strata__inspect_progress(in, s->file_size) : rc;
}
