/* disk_inspect.h - looking at a directory without opening it: what the parts of it share.
 *
 *   disk_inspect.c          the directory, its lock and its name; the index that an opening would make
 *   disk_verify.c           one segment: head, footer or walk, records
 *   disk_verify_snapshot.c  index.snap, against the segments
 *
 * It reads as the layer reads, with the layer's own functions for it, on a struct disk of which the directory alone is set:
 * its descriptor, its identity, its path.  Nothing here writes. */
#ifndef STRATA_LAYER_DISK_INSPECT_H
#define STRATA_LAYER_DISK_INSPECT_H
#include "src/layer/disk/disk_impl.h"

struct inspected {
    uint64_t number;
    uint64_t reach; /* of its head */
    uint64_t file_size;
    struct segment_list list;
    int trusted; /* the list is what an opening would believe */
    int gone;    /* it went away while we looked: a cache has the directory open */
};

struct inspection {
    struct disk *d;
    strata_disk_inspect_options options;
    strata_disk_report report;
    strata_error *err;
    struct inspected *segments; /* oldest first */
    size_t count;
    uint64_t done_bytes, total_bytes;
    char *window; /* what was last read of a segment */
    size_t window_room, window_have;
    uint64_t window_offset;
};

/* What to do about it. */
#define ADVICE_SEGMENT \
    "open it with recovery=quiet, which deletes this file and all older ones, for it may have held deletes, and " \
    "keeps " \
    "younger ones; do not delete it alone"
#define ADVICE_GAP \
    "bring it back, or open with recovery=quiet, which deletes all older ones: what it kept away would be back"
#define ADVICE_RECORD "its key is a miss when it is next read; nothing else is lost, and nothing is to be done"
#define ADVICE_SNAPSHOT "delete index.snap: opening reads the segments instead, and nothing is lost"
#define ADVICE_MISSING \
    "empty the directory if a file was deleted by hand: what kept deleted values away may have gone with it"

void strata__inspect_damage(struct inspection *in, const char *file, uint64_t offset, const char *what,
                            const char *advice);
/* So many bytes more were read.  STRATA_OK, STRATA_ECANCELED. */
int strata__inspect_progress(struct inspection *in, uint64_t bytes);
/* STRATA_OK, whatever was found; < 0: it cannot go on. */
int strata__verify_segment(struct inspection *in, size_t which);
/* After the segments.  STRATA_OK: *out_good says whether an opening would use it, and the report has its entries. */
int strata__verify_snapshot(struct inspection *in, int *out_good);

#endif /* STRATA_LAYER_DISK_INSPECT_H */
