/* strata/disk.h - the disk layer: what does not fit into memory, and what shall survive a restart.  Part of the stable API. */
#ifndef STRATA_DISK_H
#define STRATA_DISK_H
#include "strata/base.h"
#include "strata/sys/layer.h"
STRATA_BEGIN_DECLS

/** What opening does with damaged files.  A missing one is damage where that can be told: delete or restore a directory as a
 *  whole, never single files, or what was deleted may be back. */
enum {
    STRATA_RECOVERY_DEFAULT = 0, /**< quiet */
    /** A damaged file of the log is deleted, and with it all that are older: it may have held the delete, the overwrite or the
     *  clear of anything in them.  What is younger stays.  So one flipped bit in the newest file, if that was being filled
     *  when the process was killed, empties the cache.  A damaged index.snap costs nothing but time, a damaged strata.dir
     *  everything.  It is counted (errors in strata_layer_stats), and said nowhere: `strata disk check`, before the
     *  directory is opened, names it. */
    STRATA_RECOVERY_QUIET = 1,
    /** Damage that opening sees fails it (STRATA_EIO), says which file, and nothing is deleted.  Opening does not look at
     *  everything: after a clean close at every byte of index.snap, and that each file of the log is there and has its size;
     *  otherwise at the head and the footer of each file of the log, and at every record of those that have no footer yet.
     *  Never at the values of the others: a damaged one is a miss and a counted error when it is read.  `strata disk check`
     *  and strata_disk_inspect() look at every byte. */
    STRATA_RECOVERY_STRICT = 2
};

/** When written bytes are made to survive the power's loss; the process' end they survive anyhow.  Written at once, before the
 *  call returns, are overwrites, deletes and clears, with all that was put before them.  A first-time put waits in the write
 *  buffer until that is full, until one of those calls, background work or strata_close() writes it: until then a kill -9
 *  loses it, with every sync, also with STRATA_SYNC_WRITE. */
enum {
    STRATA_SYNC_DEFAULT = 0, /**< none */
    STRATA_SYNC_NONE = 1,    /**< when the system likes */
    STRATA_SYNC_CLOSE = 2,   /**< at strata_close() */
    STRATA_SYNC_SEGMENT = 3, /**< each segment when it is full, and at strata_close() */
    STRATA_SYNC_WRITE = 4    /**< each write of the buffer: so overwrites, deletes and clears return when they are safe, and
                                  first-time puts, which do not wait for it, may not be yet */
};

/** Which new keys are stored. */
enum {
    STRATA_ADMIT_DEFAULT = 0, /**< always */
    STRATA_ADMIT_ALWAYS = 1,
    STRATA_ADMIT_SECOND = 2 /**< a key that was put before not long ago: saves writes, where many keys come but once */
};

/** When entries come to the disk. */
enum {
    STRATA_ADMIT_ON_DEFAULT = 0,   /**< insertion */
    STRATA_ADMIT_ON_INSERTION = 1, /**< with the load or set that brings them to memory */
    /** When they leave the memory layer right above for want of room: what is never evicted costs no write, nor what is
     *  deleted or expires before.  A queue of 4,096 entries and 8 MiB is between the two layers; what comes faster than the
     *  disk can write is dropped (demotions_dropped).  strata_close() puts what memory holds then and the disk does not,
     *  within the disk's own bounds, and fails for none of it; objects of a codec do not go, for it runs no code of yours.
     *  A process that ends without it loses what is in memory. */
    STRATA_ADMIT_ON_EVICTION = 2
};

/** How values are packed. */
enum {
    STRATA_COMPRESS_DEFAULT = 0, /**< on disk none, to Redis zstd where it is built in; zstd with a dictionary */
    STRATA_COMPRESS_NONE = 1,
    STRATA_COMPRESS_ZSTD = 2,
    STRATA_COMPRESS_LZ4 = 3,
    STRATA_COMPRESS_GZIP = 4,
    STRATA_COMPRESS_BROTLI = 5
};

/** How values are sealed where they are stored. */
enum {
    STRATA_PROTECT_NONE = 1,
    STRATA_PROTECT_AES_GCM = 2, /**< encrypted, AES-256-GCM; 32 bytes more a value.  Needs libcrypto: STRATA_WITH_CRYPTO */
    STRATA_PROTECT_HMAC = 3     /**< signed, HMAC-SHA256, and readable; 32 bytes more a value */
};

/** A disk layer.  Start from STRATA_DISK_OPTIONS_INIT, set path, change what differs.  In every field 0 takes the default. */
typedef struct strata_disk_options {
    size_t size;          /**< sizeof this struct; the INIT macro sets it */
    const char *path;     /**< its directory, 1 to 4,095 bytes; a relative one counts from where the process is when
                               the cache is opened; copied.  It is made with mode 0700 where it is missing, if the one
                               above it is there.  One that is there has to be this user's, writable by nobody else, and
                               no symbolic link in its last part.  Without a strata.dir in it, it is made ours, but
                               refused (STRATA_EINVAL), before anything in it is touched, if a file stands in it that
                               would be written over or deleted: a lock that holds anything but a number, index.snap,
                               <16 hex digits>.seg.  Other files stay as they are, and count for no budget */
    uint64_t max_bytes;   /**< of all files together; default 1 GiB; 1 MiB to 1 TiB.  Room is made by whole files of the log,
                               so what is held stays up to a few segment_bytes below it */
    uint64_t max_entries; /**< budget by count as well; 0 none; 1,024 to 4,294,967,295.  Here, too, whole files leave, of at
                               most a sixteenth of it each: what is held stays somewhat below it */
    uint64_t segment_bytes;        /**< of one file of the log; 0: chosen from max_bytes (1/128 of it, 256 KiB to 64 MiB);
                                        64 KiB to 1 GiB, and whatever is given at most an eighth of max_bytes.  Each file
                                        takes a descriptor: at most a quarter of the process's limit (ulimit -n) when the
                                        cache is opened, with larger files if need be; a limit of 1,024 is enough for
                                        192 GiB */
    uint64_t write_buffer_bytes;   /**< of each of two: what a kill -9 may lose of first-time puts; default 384 KiB, 4 KiB to
                                        16 MiB, and whatever is given at most half of segment_bytes.  Two thirds of it are
                                        written at once, rounded down to a power of two */
    int32_t recovery;              /**< STRATA_RECOVERY_...; default quiet */
    int32_t sync;                  /**< STRATA_SYNC_...; default none */
    int32_t admission;             /**< STRATA_ADMIT_...; default always */
    int32_t compression;           /**< STRATA_COMPRESS_...; default none, zstd with a dictionary.  Where it saves less than
                                        15 % a value is stored as it is */
    uint32_t compression_level;    /**< 0: the algorithm's default, zstd's 3, gzip's 6, brotli's 5; higher is smaller and
                                        slower: zstd 1 to 22, gzip 1 to 9, brotli 1 to 11.  lz4, 1 to 22: higher is faster and
                                        larger; default 1 */
    int32_t admit_on;              /**< STRATA_ADMIT_ON_...; default insertion */
    uint64_t compress_above_bytes; /**< smaller values are stored as they are; default 1,024, with a dictionary 64 */
    const char *dictionary;        /**< a file that `strata dict train` or strata_dict_train() made of values like these, to
                                        pack with: small values that are alike become much smaller with one.  Its id stands
                                        with each value.  Read when the cache is opened, which fails where it cannot be; copied */
    const char *dictionaries;      /**< a directory with those that values may have been packed with before: each file there
                                        whose name ends in ".dict".  What was packed with one that is in neither place is a
                                        miss and a counted error that names its id; copied */
    uint64_t max_value_bytes;      /**< what unpacking may produce, and the largest value stored; default 16 MiB; 1 byte to
                                        128 MiB.  Besides, what is stored of one entry, packed and with its key and head, is
                                        at most an eighth of max_bytes less 4 KiB: 124 KiB with 1 MiB.  What is larger is
                                        never stored, and the call succeeds all the same (rejections in
                                        strata_layer_stats) */
    uint64_t write_bytes_per_day;  /**< above that puts pass through, to spare a flash disk; 0 no limit; at least 1 MiB.  It
                                        fills evenly, and holds at most what an hour brings, or segment_bytes if that is
                                        more: so much may be written at once, and again after each opening, which begins
                                        with it full.  A put that it has no room for is not stored (rejections), and the
                                        cache then deletes the key's older entry, which would be out of date.  Deletes,
                                        clears and what is rewritten to make room are not counted */
    uint32_t dead_percent;         /**< files, with the snapshot, may take so much more than the keys and values held;
                                        default 20, 5 to 1,000: more takes room, less rewrites more.  Small values take
                                        more (heads: 100 bytes each).  Reached at rest; under load by 8 more, and the
                                        segment that is being filled has its whole room ahead */
    uint32_t reserved;             /**< 0 */
    int64_t max_ttl_ms;            /**< what is stored here is held for at most so long, fresh and stale; 0 no limit.  With
                                        admit_on=eviction it has besides no more than what memory left it */
    const char *name;              /**< shown in stats and events; default "disk"; copied */
    int32_t protection;            /**< STRATA_PROTECT_...: how values are sealed, with their metadata and bound to their keys, so that who
                                        can write to the files can neither change nor swap them (but put back an older value of the
                                        same key), and with AES-256-GCM not read them, either; keys stay readable.  What can't be opened,
                                        or is not sealed, is a miss, and an error with words.  Default none */
    uint32_t reserved2;            /**< 0 */
    const char *key_file;          /**< with protection: a file of 32 random bytes, or 64 hexadecimal digits, that no other user may
                                        write to; its path is copied, and it is read when the cache is opened */
    const char *old_key_file;      /**< the key of before: what was sealed with it is opened, and nothing is sealed with it any more.
                                        To change keys of several nodes, first give them all the new one as this */
} strata_disk_options;
#define STRATA_DISK_OPTIONS_INIT \
    { \
        sizeof(strata_disk_options), NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, 0, 0, 0, 0, 0, NULL, 0, 0, NULL, NULL \
    }

/**
 * A disk layer: a log of segments, bounded in bytes, with an index in memory of at most 32 bytes an entry.
 * One opener at a time: a second one gets STRATA_EBUSY from strata_open().
 * @param options borrowed.
 * @return a layer; never NULL: one that could not be built remembers why, and strata_open() reports it.
 * Ownership: strata_open() takes it over; otherwise strata_layer_free().
 */
STRATA_API strata_layer *strata_disk_layer(const strata_disk_options *options);

/** What strata_disk_inspect() does beyond describing the directory. */
enum {
    STRATA_DISK_INSPECT_RECORDS = 1, /**< reads every byte and verifies every record */
    STRATA_DISK_INSPECT_IN_USE = 2   /**< although a cache has it open: what it is just writing is not judged */
};

/** One thing that is wrong.  Its texts belong to the library and last for the call. */
typedef struct strata_disk_damage {
    size_t size;        /**< sizeof this struct */
    const char *file;   /**< its name in the directory */
    uint64_t offset;    /**< in that file, of what is wrong */
    const char *what;   /**< "the record's sum is wrong" */
    const char *advice; /**< what a cache makes of it, and what to do */
} strata_disk_damage;

/** How to look.  Start from STRATA_DISK_INSPECT_OPTIONS_INIT. */
typedef struct strata_disk_inspect_options {
    size_t size;       /**< sizeof this struct; the INIT macro sets it */
    uint32_t flags;    /**< STRATA_DISK_INSPECT_... */
    uint32_t reserved; /**< 0 */
    /** Called for each thing that is wrong, on the caller's thread; NULL: they are counted alone. */
    void (*on_damage)(const strata_disk_damage *damage, void *ctx);
    /** Called about once a megabyte; not 0 ends it with STRATA_ECANCELED.  NULL: nobody wants to know. */
    int (*on_progress)(uint64_t done_bytes, uint64_t total_bytes, void *ctx);
    void *ctx; /**< of both */
} strata_disk_inspect_options;
#define STRATA_DISK_INSPECT_OPTIONS_INIT { sizeof(strata_disk_inspect_options), 0, 0, NULL, NULL, NULL }

/** What is in a directory.  Times are Unix milliseconds, 0 where there is none. */
typedef struct strata_disk_report {
    size_t size;             /**< sizeof this struct, set by the caller */
    char id[40];             /**< of the directory, random, as hexadecimal digits */
    uint32_t format_version; /**< of its files */
    int32_t in_use;          /**< 1: a cache has it open */
    int64_t in_use_by;       /**< that process, 0 unknown */
    int32_t closed_cleanly;  /**< 1: there is a good index snapshot, so opening it is quick */
    uint32_t bans;           /**< clears that still have something to keep away */
    int64_t created_wall_ms; /**< when the directory was made */
    int64_t oldest_wall_ms;  /**< when the oldest segment was begun */
    int64_t newest_wall_ms;  /**< when the youngest one was */
    uint64_t segments;       /**< files of the log */
    uint64_t sealed;         /**< of them those with a footer */
    uint64_t bytes;          /**< of all files of the layer */
    uint64_t live_bytes;     /**< of the records of the entries */
    uint64_t dead_bytes;     /**< of all other records: overwritten, deleted, tombstones, bans */
    uint64_t entries;        /**< what an opening finds; what a ban covers counts until it is read */
    uint64_t expired;        /**< of the entries, those whose time is over */
    uint64_t records;        /**< of all kinds, dead or alive */
    uint64_t tombstones;     /**< of them those of deletes */
    uint64_t measured;       /**< values whose sizes were looked at: all with _RECORDS, else up to 16 a segment */
    uint64_t measured_bytes; /**< of these, as they are stored */
    uint64_t measured_raw_bytes; /**< of these, unpacked */
    uint64_t checked_bytes;  /**< read and verified */
    uint64_t other_files;    /**< in the directory, and none of the layer's */
    uint64_t damages;        /**< things that are wrong */
    /** Ids of the dictionaries that measured values were packed with, dead ones among them; the first eight, 0 behind the last.
     *  With _RECORDS, one that is not among them, where there is room for more, may be deleted. */
    uint64_t dictionaries[8];
} strata_disk_report;
#define STRATA_DISK_REPORT_INIT \
    { \
        sizeof(strata_disk_report), { 0 }, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, { 0 } \
    }

/**
 * Describe the directory of a disk layer, and verify it if that is wanted.  Changes nothing in it, and needs the right to
 * read alone.  Until it returns a cache that wants to open the directory gets STRATA_EBUSY, but for one that has it open.
 * Memory: 24 bytes a record and 16 to 32 an entry, until it returns.
 * @param      path    the directory; borrowed, as everything here.
 * @param      options NULL: describe it, unless it is in use.
 * @param[out] out     its size set; what the library does not know is zero.  May be NULL.
 * @return STRATA_OK, damaged or not: see out->damages; STRATA_EINVAL, it is no directory of a disk layer, or an option is
 *         wrong; STRATA_EBUSY, a cache has it open; STRATA_EUNSUPPORTED, a newer strata wrote it; STRATA_EIO, it cannot be read;
 *         STRATA_ECANCELED; STRATA_ENOMEM.
 * Threads: any.  Blocks: reads files.
 */
STRATA_API int strata_disk_inspect(const char *path, const strata_disk_inspect_options *options,
                                   strata_disk_report *out, strata_error *err);

STRATA_END_DECLS
#endif /* STRATA_DISK_H */
