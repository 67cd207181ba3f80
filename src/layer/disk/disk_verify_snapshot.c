/* disk_verify_snapshot.c - index.snap: is it whole, does it know these segments, and does each slot name a record? */
#include <errno.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/format/disk_snapshot.h"
#include "src/layer/disk/disk_inspect.h"
#include "src/os/os_clock.h"
#include "src/os/os_file.h"

enum { AT_ONCE = 4096 }; /* slots */

struct reader {
    struct inspection *in;
    int fd;
    uint64_t offset;
    struct hash_stream sum;
    struct snapshot_head head;
    uint64_t entries, live_bytes, expired;
    uint32_t now_s;
    uint64_t at; /* offset of the first slot that names no record; */
    int strange; /* there is one */
    int out_of_memory;
    const char *advice; /* another one than usual */
};

static int take(struct reader *r, void *bytes, size_t size)
{
    size_t got = 0;
    if (strata__os_file_read(r->fd, bytes, size, r->offset, &got) != 0 || got < size)
        return 0;
    strata__hash_add(&r->sum, bytes, size);
    r->offset += size;
    return 1;
}

/* NULL, or what is wrong: segments that are not as they were. */
static const char *compare_segments(struct reader *r, const unsigned char *at)
{
    const struct inspection *in = r->in;
    r->advice = ADVICE_MISSING;
    if (r->head.segment_count != in->count)
        return "it knows another number of segments than there are";
    for (size_t i = 0; i < in->count; i++, at += SNAPSHOT_SEGMENT) {
        struct snapshot_segment fields;
        strata__snapshot_segment_read(&fields, at);
        if (fields.number != in->segments[i].number || fields.size != in->segments[i].file_size)
            return "a segment is missing, or not as it was at the close";
    }
    r->advice = NULL;
    return NULL;
}

static const char *read_front(struct reader *r)
{
    size_t size = (size_t)strata__snapshot_front_size(&r->head);
    unsigned char *front = strata__alloc(NULL, size + 1);
    const char *wrong = front != NULL && take(r, front, size) ? NULL : "it is cut";
    r->out_of_memory = front == NULL;
    if (wrong == NULL)
        wrong = compare_segments(r, front);
    if (wrong == NULL) {
        const unsigned char *at = front + (size_t)r->head.segment_count * SNAPSHOT_SEGMENT;
        const unsigned char *end = at + r->head.bans_size;
        struct disk_ban ban;
        for (uint32_t i = 0; wrong == NULL && i < r->head.ban_count; i++)
            if (strata__snapshot_ban_read(&ban, &at, end) != FORMAT_OK)
                wrong = "a ban in it is damaged";
    }
    strata__free(NULL, front);
    return wrong;
}

/* Does a segment's list have this record? */
static int names_a_record(struct reader *r, const struct slot *slot)
{
    const struct inspection *in = r->in;
    uint32_t which = where_segment(slot->where);
    if (which >= in->count)
        return 0;
    const struct segment_list *list = &in->segments[which].list;
    uint32_t low = 0, high = list->trailer.count;
    if (list->damaged || list->bytes == NULL) {
        /* nothing to compare with: that was said of the segment */
        return where_offset(slot->where) + where_size(slot->where) <= in->segments[which].file_size;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct segment_entry e;
        if (!segment_list_at(list, middle, &e))
            return 0;
        if (e.offset == where_offset(slot->where))
            return e.kind == RECORD_PUT && e.size == where_size(slot->where) && hash_tag(e.hash) == slot->tag &&
                   e.expires_s == slot->expires_s;
        if (e.offset < where_offset(slot->where))
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

static void see_slots(struct reader *r, const struct slot *slots, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (slots[i].where == 0)
            continue;
        r->entries++;
        r->live_bytes += where_size(slots[i].where);
        r->expired += slots[i].expires_s != RECORD_NEVER && slots[i].expires_s <= r->now_s;
        if (!names_a_record(r, &slots[i]) && !r->strange) {
            r->strange = 1;
            r->at = r->offset - (count - i) * sizeof slots[0];
        }
    }
}

static const char *read_shards(struct reader *r, struct slot *room)
{
    unsigned char bytes[SNAPSHOT_SHARD];
    for (uint32_t i = 0; i < r->head.shard_count; i++) {
        struct snapshot_shard shard;
        uint64_t before = r->entries;
        if (!take(r, bytes, sizeof bytes))
            return "it is cut";
        strata__snapshot_shard_read(&shard, bytes);
        for (uint64_t left = shard.buckets; left != 0;) {
            size_t some = left < AT_ONCE ? (size_t)left : AT_ONCE;
            if (!take(r, room, some * sizeof *room))
                return "it is cut, or a size in it is wrong";
            see_slots(r, room, some);
            left -= some;
        }
        if (r->entries - before != shard.used)
            return "a count in it is wrong";
    }
    uint64_t sum = strata__hash_sum(&r->sum);
    if (!take(r, bytes, SNAPSHOT_SUM) || strata__snapshot_sum_read(bytes) != sum)
        return "its sum is wrong";
    return NULL;
}

/* NULL: it is good, or none of this build's (*out_used 0). */
static const char *read_all(struct reader *r, struct slot *room, int *out_used)
{
    unsigned char bytes[SNAPSHOT_HEAD];
    struct os_file_stat stat;
    if (strata__os_file_stat(r->fd, &stat) != 0 || !stat.regular)
        return "it is no plain file";
    r->in->report.bytes += stat.size;
    if (!take(r, bytes, sizeof bytes))
        return "it is cut";
    int verdict = strata__snapshot_head_read(&r->head, bytes, sizeof bytes, stat.size, &r->in->d->dir);
    if (verdict == FORMAT_NEWER || verdict == FORMAT_FOREIGN)
        return NULL;
    if (verdict != FORMAT_OK)
        return "its head is damaged";
    if (r->head.slot_size != sizeof(struct slot) || r->head.bucket_slots != 1 || r->head.slot_layout != SLOT_LAYOUT)
        return NULL; /* an opening passes it over */
    const char *wrong = read_front(r);
    if (wrong == NULL)
        wrong = read_shards(r, room);
    *out_used = wrong == NULL;
    return wrong;
}

static void use(struct inspection *in, const struct reader *r)
{
    in->report.entries = r->entries;
    in->report.live_bytes = r->live_bytes;
    in->report.expired = r->expired;
    in->report.bans = r->head.ban_count;
    in->report.checked_bytes += r->head.file_size;
    in->report.closed_cleanly = 1;
}

int strata__verify_snapshot(struct inspection *in, int *out_good)
{
    struct reader r = { .in = in, .fd = -1, .now_s = (uint32_t)(strata__os_wall_ms() / 1000) };
    *out_good = 0;
    int failed = strata__os_file_open(in->d->dir_fd, SNAPSHOT_NAME, 0, &r.fd);
    if (failed == ENOENT)
        return STRATA_OK;
    if (failed == EACCES)
        return strata__fail_os(in->err, STRATA_EIO, failed, "disk",
                               "index.snap in \"%.120s\" cannot be opened: ask as the user that the cache runs as",
                               in->d->options.path);
    struct slot *room = strata__alloc_array(NULL, AT_ONCE, sizeof *room);
    const char *wrong = "it cannot be opened";
    r.out_of_memory = room == NULL;
    strata__hash_start(&r.sum, in->d->dir.seed);
    if (failed == 0 && room != NULL)
        wrong = read_all(&r, room, out_good);
    strata__os_file_close(r.fd);
    strata__free(NULL, room);
    if (r.out_of_memory)
        return strata__fail(in->err, STRATA_ENOMEM, "disk", "no memory for index.snap: free some");
    if (wrong != NULL)
        strata__inspect_damage(in, SNAPSHOT_NAME, r.offset, wrong, r.advice != NULL ? r.advice : ADVICE_SNAPSHOT);
    else if (r.strange)
        strata__inspect_damage(in, SNAPSHOT_NAME, r.at, "a slot in it names no record", ADVICE_SNAPSHOT);
    if (*out_good)
        use(in, &r);
    return STRATA_OK;
}
