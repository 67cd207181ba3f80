/* disk_impl.h - the inside of the disk layer: a log of segments, and an index of it in memory.
 *
 *   disk_layer.c    options, opening, operations, closing       disk_write.c     put and remove
 *   disk_index.c    the index                                   disk_read.c      get, keys
 *   disk_log.c      the write buffers, in order to the file     disk_room.c      reclaiming segments
 *   disk_segment.c  segment files                               disk_bans.c      what clear() left
 *   disk_admit.c    who may come in                             disk_recover.c, disk_scan.c, disk_snapshot.c  opening again
 *   disk_inspect.c, disk_verify*.c  looking at the files without opening them (disk_inspect.h)
 *
 * Locks, in order: a shard's, the log's (which guards the segment table, too), the bans'.  None is held across I/O.  The
 * *writer's role* (log.writer) is no lock: who has it may wait for locks, and nobody waits for it with a lock held.
 *
 * What must always hold, so that no kill -9 brings back what was deleted or overwritten:
 *   - a slot leaves the index only when a later record takes its record back, when its file was unlinked before, or when its
 *     record is damaged for good.  Records that expired or are banned keep their slots: so what overwrites them waits;
 *   - what supersedes something returns only when it was handed to the kernel, with everything before it in the log;
 *   - a segment out of turn is unlinked only if what it supersedes is gone. */
#ifndef STRATA_LAYER_DISK_IMPL_H
#define STRATA_LAYER_DISK_IMPL_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "src/format/compress.h"
#include "src/format/disk_dir.h"
#include "src/format/disk_record.h"
#include "src/format/disk_segment.h"
#include "src/layer/protect.h"
#include "src/layer/layer_host.h"
#include "src/os/os_lock.h"
#include "src/os/os_thread.h"
#include "strata/disk.h"

/* The index (disk_index.c) ------------------------------------------------------------------------------------ */

/* where: segment's index in the table 12 | offset / 16 26 | size / 16 24 | use 2.  0: the slot is free. */
struct slot {
    uint32_t tag;
    uint32_t expires_s;
    uint64_t where;
};
enum { SLOT_SEGMENTS = 4096, SLOT_USE_MOST = 3, SLOT_LAYOUT = 1 };
#define SLOT_SIZE_MAX ((UINT64_C(1) << 28) - 16) /* bytes of a record */

static inline uint64_t slot_where(uint32_t segment, uint64_t offset, uint64_t size)
{
    return (uint64_t)segment << 52 | (offset / 16) << 26 | (size / 16) << 2;
}
static inline uint32_t where_segment(uint64_t where) { return (uint32_t)(where >> 52); }
static inline uint64_t where_offset(uint64_t where) { return (where >> 26 & ((UINT64_C(1) << 26) - 1)) * 16; }
static inline uint64_t where_size(uint64_t where) { return (where >> 2 & ((UINT64_C(1) << 24) - 1)) * 16; }
static inline uint32_t where_use(uint64_t where) { return (uint32_t)(where & 3); }
/* The same record, whatever its use. */
static inline int where_same(uint64_t a, uint64_t b) { return (a | 3) == (b | 3); }

struct disk_shard {
    _Alignas(64) struct os_lock lock;
    struct slot *slots;
    uint64_t room; /* slots there are, with those behind the last home */
    uint64_t used;
    /* Where homes are, for who looks ahead without the lock: may be of a table that is gone. */
    _Atomic(uintptr_t) ahead;
    _Atomic(uint64_t) ahead_homes;
};

/* Which shard and tag a hash has: two hashes that agree in both are one key to the index, and the later put takes the earlier
 * one's place.  So the bits that are compared must be the same in all lives of a directory, whatever its options: what a
 * remove found nothing of, and wrote no tombstone for, would be another key with more bits, and back. */
enum { INDEX_SHARDS = 256, INDEX_FIRST_ROOM = 8 /* slots of an empty one */ };
static inline uint32_t hash_tag(uint64_t hash) { return (uint32_t)hash; }
static inline uint32_t hash_shard(uint64_t hash, uint32_t shards) { return (uint32_t)((hash >> 32) * shards >> 32); }

int strata__disk_index_init(struct disk_shard *shard, const strata_allocator *mem, uint64_t entries);
void strata__disk_index_deinit(struct disk_shard *shard, const strata_allocator *mem);
/* These are its slots from now on. */
void strata__disk_index_table(struct disk_shard *shard, struct slot *slots, uint64_t room);
/* The slot of this tag will be looked for in a moment: fetch where it is likely to be.  No lock. */
static inline void disk_index_ahead(const struct disk_shard *shard, uint32_t tag)
{
    uint64_t at = tag * atomic_load_explicit(&shard->ahead_homes, memory_order_relaxed) >> 32;
    uintptr_t slots = atomic_load_explicit(&shard->ahead, memory_order_relaxed);
    /* Behind its home come some three others in a full table, and four slots are a line. */
    __builtin_prefetch((const void *)(slots + at * sizeof(struct slot)));
    __builtin_prefetch((const void *)(slots + (at + 4) * sizeof(struct slot)));
}
/* NULL where there is none. */
struct slot *strata__disk_index_find(const struct disk_shard *shard, uint32_t tag);
/* Make sure that insert() of this tag, which is not there, finds room.  STRATA_OK, STRATA_ENOMEM. */
int strata__disk_index_reserve(struct disk_shard *shard, const strata_allocator *mem, uint32_t tag);
void strata__disk_index_insert(struct disk_shard *shard, struct slot slot);
void strata__disk_index_erase(struct disk_shard *shard, struct slot *slot);
/* Inserts or replaces; *old is what was there (where 0: nothing).  STRATA_OK, STRATA_ENOMEM. */
int strata__disk_index_set(struct disk_shard *shard, const strata_allocator *mem, struct slot slot, struct slot *old);

/* Segments (disk_segment.c) ----------------------------------------------------------------------------------- */

struct segment {
    struct segment *older, *newer; /* by number; log lock */
    const strata_allocator *mem;
    uint64_t number;
    uint32_t index;       /* in the table */
    uint32_t saved_index; /* in the snapshot that is being written */
    int fd;
    _Atomic(uint32_t) pins;       /* the table's, and each reader's: the last closes the file */
    _Atomic(int) unlinked;        /* its name is gone */
    _Atomic(uint64_t) written;    /* the file is good up to here; release: after the write */
    uint64_t end;                 /* of the records; log lock */
    uint64_t size;                /* of the file; log lock */
    _Atomic(uint64_t) live_bytes; /* of records that the index names */
    _Atomic(uint32_t) live_count;
    _Atomic(uint64_t) superseded; /* see struct segment_trailer */
    uint64_t put_bytes;           /* log lock, as all below */
    uint32_t max_expires_s;
    uint32_t count;         /* records */
    uint32_t entry_room;    /* entries there is room for */
    unsigned char *entries; /* the footer to be; NULL: there was no memory, and there will be none */
    int sealed;             /* nothing is appended any more */
};

/* The write buffers (disk_log.c) ------------------------------------------------------------------------------ */

struct write_buffer {
    char *bytes;
    size_t used;
    size_t last;               /* where its last record begins */
    size_t full_at;            /* with so much it is full: there the file is at a multiple of write_unit */
    uint64_t offset;           /* in the active segment's file, of its first byte */
    _Atomic(uint32_t) filling; /* records that have their room, and are still copied */
};

/* Somebody waits until the log is written up to `end`; if it cannot be, the writer takes back what was superseded. */
struct log_waiter {
    struct log_waiter *next;
    struct segment *old; /* pinned by who waits; NULL where nothing is superseded */
    uint64_t old_where;
    uint64_t end;
    int done;
    int failed; /* errno */
};

struct disk_log {
    struct os_mutex lock;
    struct os_cond changed; /* any of what follows */
    struct write_buffer buffers[2];
    unsigned current; /* that is being filled; the other one is empty, or being written */
    size_t buffer_room;
    size_t buffer_bytes; /* what is written at once, at most; the rest is for the record with which a buffer gets full */
    /* Files that are written in whole multiples of it lie in few large pieces of the page cache, and are read from there at nine
     * tenths of the price.  A power of two, and whole pages: what is written in part looks as if its process had died meanwhile
     * (disk_scan.c).  0: the buffers are too small, and written whole. */
    uint64_t write_unit;
    struct segment *active; /* NULL: the next append has to open one */
    uint64_t end;           /* bytes appended in this life */
    uint64_t written;       /* of them handed to the kernel, or given up */
    struct log_waiter *waiters;
    int writer;           /* the role is taken */
    _Atomic(int) awaited; /* the writer waits for a buffer's filling */
    int broken;           /* being repaired after a write that failed: no append */
    struct segment *table[SLOT_SEGMENTS];
    uint32_t table_used; /* indexes below were used at some time */
    uint32_t segment_count;
    struct segment *oldest, *newest;
    uint64_t next_number;
    uint64_t file_bytes;    /* of all segments */
    int reclaiming;         /* a segment is being reclaimed: one at a time */
    struct segment *moving; /* its records are being written again: unlinked first where a write fails */
};

/* Bans (disk_bans.c) ------------------------------------------------------------------------------------------ */

enum { BANS_MOST = 64 };

struct bans {
    struct os_mutex lock; /* and the log's: who changes the list holds both, who reads it one */
    uint32_t count;
    uint32_t generation;             /* raised by each new one; log lock */
    _Atomic(uint64_t) newest;        /* place; 0 none */
    uint64_t life;                   /* of the cache that cleared last; log lock */
    struct disk_ban list[BANS_MOST]; /* by place; prefixes are ours */
};

/* Admission (disk_admit.c) ------------------------------------------------------------------------------------- */

struct admission {
    struct os_mutex lock;
    uint64_t *bits[2];      /* filters: the current window and the one before; NULL: everybody is admitted */
    uint64_t words;         /* of one filter, a power of two */
    uint64_t noted, window; /* keys of the current window, and when the next one begins */
    unsigned current;
    double tokens, burst, per_ms; /* bytes; per_ms 0: no budget */
    int64_t filled_ms;
};

/* The layer ---------------------------------------------------------------------------------------------------- */

struct disk {
    strata_layer base;
    strata_disk_options options; /* filled; path and name are ours */
    strata_layer_host *host;     /* NULL until started */
    const strata_allocator *mem; /* the host's */
    int dir_fd, lock_fd;
    struct disk_dir dir;
    uint64_t segment_bytes;
    uint32_t most_segments;   /* as many descriptors */
    uint64_t segment_entries; /* a segment is sealed at so many; UINT64_MAX */
    uint64_t largest_record;
    struct disk_shard *shards;
    void *shards_block;
    uint32_t shard_count;
    struct disk_log log;
    struct bans bans;
    struct os_mutex ban_lock; /* of the file of the cache's bans, which is its own: disk_ban_list.c */
    int ban_fd;
    uint64_t ban_bytes, ban_base; /* its size, and when it was written anew */
    char *note;                   /* about buses, as it was kept last (disk_note.c); NULL: it was not; ban_lock */
    size_t note_size;
    struct admission admission;
    struct compressor compressor;
    struct protector protector; /* constant once started */
    _Atomic(int) lost;          /* the directory can neither be written nor emptied: nothing is answered any more */
    int posted;                 /* a background task is on its way; log lock */
    int closing;                /* post none; log lock */
    _Atomic(uint64_t) index_bytes, entries;
    _Atomic(uint64_t) puts, removes, evictions, expirations, rejections, errors;
};

static inline void disk_count(_Atomic(uint64_t) *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}
static inline void disk_uncount(_Atomic(uint64_t) *counter)
{
    atomic_fetch_sub_explicit(counter, 1, memory_order_relaxed);
}
static inline uint64_t disk_counted(const _Atomic(uint64_t) *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline struct disk_shard *disk_shard_of(struct disk *d, uint64_t hash)
{
    return &d->shards[hash_shard(hash, d->shard_count)];
}
uint64_t strata__disk_hash(const struct disk *d, strata_slice key);

/* disk_segment.c: errno or 0 where an int is returned. */
/* A new file for the log, of at least `need` bytes of records.  `reach` is the head's.  Not in the table yet. */
int strata__segment_create(struct disk *d, uint64_t number, uint64_t reach, uint64_t need, struct segment **out);
struct segment *strata__segment_new(struct disk *d, uint64_t number);
/* Into the table, as the newest.  Log lock.  0 where the table is full. */
int strata__segment_enter_locked(struct disk *d, struct segment *s);
/* Out of the table: gives the table's pin back.  Its slots are gone.  No lock. */
void strata__segment_leave(struct disk *d, struct segment *s);
int strata__segment_unlink(struct disk *d, struct segment *s);
/* Write the footer, cut the file to its size.  The writer's role; nothing is pending. */
int strata__segment_seal(struct disk *d, struct segment *s);
/* End the file at `end`, behind which a write has failed: with zeros, as of one that was not sealed.  The writer's role. */
int strata__segment_cut(struct segment *s, uint64_t end);
/* Note a record for the footer.  Log lock. */
void strata__segment_note_locked(struct segment *s, const struct segment_entry *entry);
void strata__segment_name(char room[24], uint64_t number);
/* 1 where the name is a segment's. */
int strata__segment_number(const char *name, uint64_t *out_number);
static inline void segment_pin(struct segment *s) { atomic_fetch_add_explicit(&s->pins, 1, memory_order_relaxed); }
void strata__segment_unpin(struct segment *s);
/* It may go out of turn only when the segment with this number, and all before, are gone.  Itself does not count. */
void strata__segment_outlives(struct segment *s, uint64_t number);
/* The index no longer names a record of so many bytes in it; or names one more. */
void strata__segment_lost(struct segment *s, uint64_t bytes);
void strata__segment_gained(struct segment *s, uint64_t bytes);
/* The index names none of a sealed segment's records any more, and who took out the last is done with it. */
static inline int segment_is_empty(const struct segment *s)
{
    return atomic_load_explicit(&s->live_count, memory_order_acquire) == 0;
}

/* disk_log.c */
enum append_answer {
    APPEND_OK,
    APPEND_BUFFER_FULL,  /* strata__log_flush(), and again */
    APPEND_SEGMENT_FULL, /* strata__log_rotate(), and again */
    APPEND_REFUSED,      /* a ban came after it was born */
    APPEND_BROKEN        /* the last write failed: pass it through */
};

struct append {
    struct segment_entry entry; /* in: hash, size, kind, expires_s.  out: offset */
    strata_slice key;           /* of a put, for the bans; and its life and position */
    uint64_t life;
    uint32_t position;
    uint64_t supersedes; /* the number of the segment that holds what it takes back, or 0 */
    uint32_t generation; /* moved records: of the bans that were looked at */
    int moved;
    struct disk_ban *ban;      /* of a ban: gets its place, and goes into the list */
    struct log_waiter *waiter; /* NULL, or: strata__log_wait() will be called with it */
    char *bytes;               /* out: where to write the record; then strata__log_filled() */
    struct segment *segment;   /* out: pinned by the caller's shard lock alone */
    uint64_t end;              /* out: of the log, behind it */
    struct write_buffer *buffer;
};

int strata__log_init(struct disk *d, strata_error *err);
void strata__log_deinit(struct disk *d);
/* Room in the current buffer.  Called with the shard's lock: no I/O, no waiting. */
int strata__log_append(struct disk *d, struct append *a);
/* The record stands in its room. */
void strata__log_filled(struct disk *d, struct append *a);
/* Room for a record that no buffer takes: its bytes go to the file by strata__log_write_direct(), and nothing else does
 * meanwhile: the caller has the writer's role.  With the shard's lock. */
int strata__log_append_direct(struct disk *d, struct append *a);
int strata__log_write_direct(struct disk *d, struct append *a, const void *bytes);
void strata__log_take_role(struct disk *d);
void strata__log_give_role(struct disk *d);
/* Write what is in the buffers; 0 or errno.  No lock. */
int strata__log_flush(struct disk *d);
/* Until the current buffer has room for `need` bytes, by whoever writes it.  0, or the errno of the write that failed. */
int strata__log_drain(struct disk *d, uint64_t need);
/* Until everything up to the record that was appended with this waiter is written: 0, or the errno of the write that failed. */
int strata__log_wait(struct disk *d, struct log_waiter *waiter);
/* Seal the active segment if it lacks room for `need`, and open a new one.  STRATA_OK; STRATA_AGAIN (no room in the budget, or
 * with *os_errno: no descriptor left); STRATA_EIO with *os_errno. */
int strata__log_rotate(struct disk *d, uint64_t need, int *os_errno);
/* Seal the active segment, open none. */
int strata__log_seal(struct disk *d);
/* A record of a segment that is still in a buffer: copied to `out`.  1: done; 0: read the file; -1: it was lost. */
int strata__log_copy(struct disk *d, struct segment *s, uint64_t offset, uint64_t size, void *out);
/* What the snapshot at closing will take besides the segments. */
uint64_t strata__log_other_bytes(const struct disk *d);
/* Would the budget allow `segments` more of them, the next one for a record of `need` bytes?  Log lock. */
int strata__log_has_room_locked(const struct disk *d, uint64_t need, uint64_t segments, int sealing);

/* disk_read.c */
void strata__disk_get(struct disk *d, strata_op *op);
int strata__disk_keys(struct disk *d, int (*each)(uint32_t, strata_slice, void *), void *ctx, strata_error *err);
/* The record at a slot's place, read and verified into `bytes` (where_size() of them).  STRATA_OK; STRATA_MISS (it is gone);
 * STRATA_EIO with words.  *out_damaged: the record itself is bad.  `s` is pinned. */
int strata__disk_read_record(struct disk *d, struct segment *s, uint64_t where, void *bytes, struct disk_record *out,
                             int *out_damaged, strata_error *err);
/* Forget the slot if it still names this record of `s`, which is pinned.  0: it does not. */
int strata__disk_forget(struct disk *d, struct segment *s, uint64_t hash, uint64_t where);

/* disk_write.c */
void strata__disk_put(struct disk *d, strata_op *op);
void strata__disk_remove(struct disk *d, strata_op *op);
/* Until there is a segment with room for `need`: STRATA_OK, STRATA_AGAIN, STRATA_EIO with *os_errno. */
int strata__disk_make_room(struct disk *d, uint64_t need, int *os_errno);
/* Write over the kind of a record in the file; errno or 0. */
int strata__disk_mark_invalid(struct disk *d, struct segment *s, uint64_t where);
/* Take a record back where it stands; where that fails, unlink its segment and all older ones.  errno or 0. */
int strata__disk_invalidate(struct disk *d, struct segment *s, uint64_t where);

/* disk_room.c */
/* Make the oldest segment's room free; `keep_all`: all live records move, else those that were used.  STRATA_OK;
 * STRATA_AGAIN: another thread is at it, or there is nothing to take; < 0. */
int strata__disk_reclaim(struct disk *d, int keep_all);
/* Where another thread reclaims a segment: wait until it has.  0: nobody does. */
int strata__disk_reclaim_await(struct disk *d);
/* Drop what may go out of turn.  How many. */
size_t strata__disk_drop_dead(struct disk *d);
/* Called after a new segment was opened: ahead of the need. */
void strata__disk_room_ahead(struct disk *d);
void strata__disk_maintain(struct disk *d, uint64_t budget_us);
/* Unlink all segments up to the one with this number, oldest first, then forget their slots; they leave the table when they
 * are next looked at.  0 or errno. */
int strata__disk_drop_through(struct disk *d, uint64_t number);
/* Forget all slots from place `from` up to, and without, `to`.  How many. */
uint64_t strata__disk_sweep(struct disk *d, uint64_t from, uint64_t to);

/* disk_bans.c */
int strata__bans_init(struct disk *d);
void strata__bans_deinit(struct disk *d);
/* One that was found at opening.  STRATA_OK, STRATA_ENOMEM. */
int strata__bans_add(struct disk *d, const struct disk_ban *ban);
int strata__disk_clear(struct disk *d, const strata_clear_op *what, strata_error *err);
/* Log lock.  The prefix is the list's from now on. */
void strata__bans_insert_locked(struct disk *d, const struct disk_ban *ban);
/* Is what was first written at `birth` gone?  No lock but a shard's. */
int strata__bans_cover(struct disk *d, strata_slice key, uint64_t birth);
/* Was it born before a ban of its own life?  Log lock. */
int strata__bans_refuse_locked(const struct disk *d, strata_slice key, uint64_t life, uint32_t position);
/* Those that nothing older exists for.  No lock. */
void strata__bans_retire(struct disk *d);

/* disk_admit.c */
int strata__admission_init(struct disk *d);
void strata__admission_deinit(struct disk *d);
/* May this key come in for the first time? */
int strata__admission_admits(struct disk *d, uint64_t hash);
/* Take `bytes` from the budget of the day.  0: it is used up. */
int strata__admission_spend(struct disk *d, uint64_t bytes);

/* disk_scan.c */
/* The records of a segment file, as a footer would have them: from its footer, or from a scan up to the first bad one. */
struct segment_list {
    unsigned char *bytes; /* SEGMENT_ENTRY each; strata__free() */
    struct segment_trailer trailer;
    int from_footer;
    int damaged; /* the scan ended before the file, at something that is no end; or the footer is bad */
};
/* 0; or an errno, ENOMEM too, and there is no list. */
int strata__segment_list_read(struct disk *d, int fd, uint64_t number, uint64_t file_size, struct segment_list *out);
static inline int segment_list_at(const struct segment_list *list, uint32_t i, struct segment_entry *out)
{
    return strata__segment_entry_read(out, list->bytes + (size_t)i * SEGMENT_ENTRY, &list->trailer) == FORMAT_OK;
}

/* disk_recover.c, disk_snapshot.c */
#define LOCK_NAME "lock"
#define DIR_NAME "strata.dir"
#define DIR_NEW "strata.dir.new"
#define DIR_BAD "strata.dir.bad"
#define SNAPSHOT_NAME "index.snap"
#define SNAPSHOT_NEW "index.snap.new"
#define BANS_NAME "bans"
#define BANS_NEW "bans.new"
#define NOTE_NAME "bus.note"
#define NOTE_NEW "bus.note.new"
#define SEGMENT_NEW "segment.new"
/* Lock the directory, learn who it is.  disk_dirfile.c */
int strata__disk_open_dir(struct disk *d, strata_error *err);
/* strata.dir into d->dir.  errno or 0; *out_verdict: FORMAT_END where there is none. */
int strata__disk_read_identity(struct disk *d, int *out_verdict);
/* Whose number stands in the lock file; 0 nobody's. */
int64_t strata__disk_lock_holder(int fd);
/* Fill index, segment table and bans from the files. */
int strata__disk_recover(struct disk *d, strata_error *err);
/* The numbers of the segment files there are, ascending; strata__free().  errno or 0. */
int strata__segment_numbers(struct disk *d, uint64_t **out, size_t *out_count);
/* Damage in a file: counted; an error where the recovery is strict, which `advice` ends. */
int strata__disk_damage(struct disk *d, const char *name, const char *what, const char *advice, strata_error *err);
/* No segment, no slot, no ban. */
void strata__disk_forget_all(struct disk *d);
/* disk_ban_list.c: the layer's ban() and bans().  The latter opens the file. */
int strata__disk_ban(struct disk *d, strata_ban_op *what, strata_error *err);
int strata__disk_bans(struct disk *d, void (*each)(const strata_ban_op *ban, void *ctx), void *ctx, strata_error *err);
/* disk_note.c: the layer's keep() and kept(). */
int strata__disk_keep(struct disk *d, strata_slice note, strata_error *err);
int strata__disk_kept(struct disk *d, void (*is)(strata_slice note, void *ctx), void *ctx);
/* All there is outlasts the machine now. */
void strata__disk_note_synced(struct disk *d);
/* STRATA_OK, STRATA_MISS (there is none that is good), < 0. */
int strata__snapshot_load(struct disk *d, const uint64_t *numbers, size_t count, strata_error *err);
int strata__snapshot_save(struct disk *d);

#endif /* STRATA_LAYER_DISK_IMPL_H */
