/* strata/snapshot.h - what layers hold, in a file or a stream, and back.  Part of the stable API.
 *
 * A snapshot has keys, values, tags, and when each was born and how long it is good: moments of Unix time, so that an entry has
 * expired when it has, wherever it lay meanwhile.  docs/formats.md has its bytes.
 *
 * An import puts nothing over what is there: an entry is imported where no layer holds one that is served, or one that is younger.  It
 * counts as older than every ban and clear that this cache knows of its own, and by its birth, than those that were issued before it
 * was opened: what was banned after it was exported does not come back.  So import before anything is cleared or banned: after a
 * clear no entry of another life (one open of a cache) comes in, nor does one once bans were so old that they were forgotten.  A cache
 * forgets its clears when it is closed, and a single delete at once: `max_age_ms` keeps out what is older than the last of these.  With a shared layer entries go there, where
 * nothing stands, not even word of a delete, and nearer layers have them once they are read. */
#ifndef STRATA_SNAPSHOT_H
#define STRATA_SNAPSHOT_H
#include "strata/base.h"
#include "strata/cache.h"
#include "strata/error.h"
STRATA_BEGIN_DECLS

/** What came of it, and so far, for progress. */
typedef struct strata_snapshot_report {
    size_t size;           /**< sizeof this struct, set by the caller */
    uint64_t entries;      /**< written, or imported */
    uint64_t bytes;        /**< of their keys and values */
    uint64_t stream_bytes; /**< of the file or stream, so far */
    uint64_t expired;      /**< passed over: its time is over, or it is older than max_age_ms */
    uint64_t banned;       /**< passed over: a ban or clear has taken it */
    uint64_t kept;         /**< import: passed over, for something as good is there or comes just now */
    uint64_t suspect;      /**< export: passed over, for an invalidation of it may have been missed */
    uint64_t not_open;     /**< passed over: its namespace is not open */
    uint64_t outside;      /**< import: passed over, for it belongs to another namespace than the one that imports */
    uint64_t refused;      /**< import: no layer had room for it, or it is larger than max_key_bytes or max_value_bytes */
    uint64_t failed;       /**< a layer failed, or a codec did, or is another one */
    uint32_t limited;      /**< 1: stopped at max_entries or max_bytes, and there was more */
    uint32_t reserved;     /**< 0 */
} strata_snapshot_report;
#define STRATA_SNAPSHOT_REPORT_INIT { sizeof(strata_snapshot_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** How.  Start from STRATA_SNAPSHOT_OPTIONS_INIT, change what differs. */
typedef struct strata_snapshot_options {
    size_t size;                /**< sizeof this struct; the INIT macro sets it */
    const char *layer;          /**< export: the layer of this name alone.  NULL: all, nearest first, each key once */
    uint64_t max_entries;       /**< stop at so many entries (limited in the report); 0 no limit */
    uint64_t max_bytes;         /**< stop before keys and values are more bytes; 0 no limit */
    int64_t max_age_ms;         /**< pass over what was loaded or set longer ago; 0 any age */
    int32_t compression;        /**< export: STRATA_ON packs with zstd where that saves 15 %; default where zstd is there */
    uint32_t compression_level; /**< export: of zstd, 1 to 22; 0: 1, the fastest */
    int32_t open_namespaces;    /**< STRATA_ON: those that are not open are opened, with their parents' policies: for tools, since their
                                     options hold from then on.  Default off: their entries are passed over */
    uint32_t reserved;          /**< 0 */
    const char *base_dir;       /**< files: paths are relative to it, and lead nowhere else: no `..`, and no link in them.  NULL: the
                                     path is taken as it is, but for the file itself, which may be no link */
    /** Called now and then, at least once for each MiB of entries; non-zero ends the call with STRATA_ECANCELED.  NULL: not. */
    int (*progress)(const strata_snapshot_report *so_far, void *ctx);
    void *progress_ctx; /**< handed to it */
} strata_snapshot_options;
#define STRATA_SNAPSHOT_OPTIONS_INIT { sizeof(strata_snapshot_options), NULL, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL }

/** Takes all `size` bytes.  @return 0; < 0 fails the export with that status. */
typedef int (*strata_snapshot_write)(const void *bytes, size_t size, void *ctx);
/** Gives up to `room` bytes, at least one before the end.  @param[out] out_size how many; 0: the end.
 *  @return 0; < 0 fails the import with that status. */
typedef int (*strata_snapshot_read)(void *bytes, size_t room, size_t *out_size, void *ctx);

/**
 * Write what the layers hold: of a namespace, what is in it and below.
 * @param cache   goes on being used meanwhile; what is written or deleted during the call is in or not.
 * @param options borrowed for the call; NULL takes the defaults.
 * @param[out] out_report its size set; also where the call fails.  NULL: not wanted.
 * @return STRATA_OK; STRATA_EINVAL, STRATA_EUNSUPPORTED (a layer can't list its keys; no zstd in this build), STRATA_ENOMEM,
 *         STRATA_ELAYER (one failed: the snapshot has no end, and is not imported as a whole), STRATA_ECANCELED, STRATA_EDEADLOCK
 *         (in a loader or callback of this cache), STRATA_ECLOSED, STRATA_EFORKED; what `write` answered.
 * Blocks: as long as it takes.  Memory: some MiB, a largest entry twice, and 16 to 32 bytes an entry where there are several layers.
 */
STRATA_API int strata_snapshot_export(strata *cache, const strata_snapshot_options *options,
                                      strata_snapshot_write write, void *ctx, strata_snapshot_report *out_report,
                                      strata_error *err);

/**
 * Put entries of a snapshot back: into a namespace, those that were in it or below.
 * @return STRATA_OK (the report says what was passed over); STRATA_EINVAL (no snapshot), STRATA_EUNSUPPORTED (of a newer format, or
 *         packed with zstd, which this build has not), STRATA_EIO (damaged, or it has no end: what came before that is imported),
 *         STRATA_ELAYER (a layer failed; the others went on), and as the export.
 * Blocks: as long as it takes.  `read` and `progress` are called on this thread; a worker may help with entries.
 */
STRATA_API int strata_snapshot_import(strata *cache, const strata_snapshot_options *options, strata_snapshot_read read,
                                      void *ctx, strata_snapshot_report *out_report, strata_error *err);

/** strata_snapshot_export() to a file, which appears whole, and on the disk, or not at all; with mode 0600, in place of the file that
 *  had the name, or of the link to one or to nothing; anything else that has it is left alone (STRATA_EINVAL).  @return also STRATA_EIO. */
STRATA_API int strata_snapshot_save(strata *cache, const char *path, const strata_snapshot_options *options,
                                    strata_snapshot_report *out_report, strata_error *err);

/** strata_snapshot_import() of a file: a plain one, that no other users may write to (STRATA_EINVAL). */
STRATA_API int strata_snapshot_load(strata *cache, const char *path, const strata_snapshot_options *options,
                                    strata_snapshot_report *out_report, strata_error *err);

STRATA_END_DECLS
#endif /* STRATA_SNAPSHOT_H */
