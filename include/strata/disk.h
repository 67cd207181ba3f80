/* strata/disk.h - the disk layer: what does not fit into memory, and what shall survive a restart.  Part of the stable API. */
#ifndef STRATA_DISK_H
#define STRATA_DISK_H
#include "strata/base.h"
#include "strata/sys/layer.h"
STRATA_BEGIN_DECLS

/** What opening does with damaged files. */
enum {
    STRATA_RECOVERY_DEFAULT = 0, /**< quiet */
    STRATA_RECOVERY_QUIET = 1,   /**< what is damaged is left out, and counted as an error */
    STRATA_RECOVERY_STRICT = 2   /**< damage fails the open, and says which file */
};

/** When written bytes are made to survive the power's loss; the process' end they survive anyhow. */
enum {
    STRATA_SYNC_DEFAULT = 0, /**< none */
    STRATA_SYNC_NONE = 1,    /**< when the system likes */
    STRATA_SYNC_CLOSE = 2,   /**< at strata_close() */
    STRATA_SYNC_SEGMENT = 3, /**< each segment when it is full, and at strata_close() */
    STRATA_SYNC_WRITE = 4    /**< each write, before the operations that wait for it return */
};

/** Which new keys are stored. */
enum {
    STRATA_ADMIT_DEFAULT = 0, /**< always */
    STRATA_ADMIT_ALWAYS = 1,
    STRATA_ADMIT_SECOND = 2 /**< a key that was put before not long ago: saves writes, where many keys come but once */
};

/** How values are packed. */
enum {
    STRATA_COMPRESS_DEFAULT = 0, /**< none */
    STRATA_COMPRESS_NONE = 1,
    STRATA_COMPRESS_ZSTD = 2,
    STRATA_COMPRESS_LZ4 = 3
};

/** A disk layer.  Start from STRATA_DISK_OPTIONS_INIT, set path, change what differs. */
typedef struct strata_disk_options {
    size_t size;          /**< sizeof this struct; the INIT macro sets it */
    const char *path;     /**< its directory, which nobody else uses; made with mode 0700 where it is missing; copied */
    uint64_t max_bytes;   /**< of all files together; default 1 GiB; 1 MiB to 1 TiB */
    uint64_t max_entries; /**< budget by count as well; 0 none; at least 1,024 */
    uint64_t segment_bytes;        /**< of one file of the log; 0: chosen from max_bytes; 64 KiB to 1 GiB */
    uint64_t write_buffer_bytes;   /**< of each of two; default 256 KiB: what a kill -9 may lose of first-time puts */
    int32_t recovery;              /**< STRATA_RECOVERY_...; default quiet */
    int32_t sync;                  /**< STRATA_SYNC_...; default none */
    int32_t admission;             /**< STRATA_ADMIT_...; default always */
    int32_t compression;           /**< STRATA_COMPRESS_...; default none */
    uint32_t compression_level;    /**< 0: the algorithm's default */
    uint32_t reserved;             /**< 0 */
    uint64_t compress_above_bytes; /**< smaller values are stored as they are; default 1,024 */
    uint64_t max_value_bytes;      /**< what unpacking may produce, and the largest value stored; default 16 MiB */
    uint64_t write_bytes_per_day;  /**< above that puts pass through, to spare a flash disk; 0 no limit */
    const char *name;              /**< shown in stats and events; default "disk"; copied */
} strata_disk_options;
#define STRATA_DISK_OPTIONS_INIT \
    { \
        sizeof(strata_disk_options), NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL \
    }

/**
 * A disk layer: a log of segments, bounded in bytes, with an index in memory of at most 32 bytes an entry.
 * One opener at a time: a second one gets STRATA_EBUSY from strata_open().
 * @param options borrowed.
 * @return a layer; never NULL: one that could not be built remembers why, and strata_open() reports it.
 * Ownership: strata_open() takes it over; otherwise strata_layer_free().
 */
STRATA_API strata_layer *strata_disk_layer(const strata_disk_options *options);

STRATA_END_DECLS
#endif /* STRATA_DISK_H */
