/* strata/dict.h - dictionaries for small values that are alike.  Part of the stable API.
 *
 * A value of some hundred bytes repeats little of itself, and much of what other values are made of.  A dictionary holds what
 * they have in common; the options `dictionary` and `dictionaries` of disk and Redis layers name files with them.  They are
 * zstd's own: `zstd --train` makes such files, too, and `zstd -D` unpacks with them. */
#ifndef STRATA_DICT_H
#define STRATA_DICT_H
#include "strata/base.h"
#include "strata/error.h"
STRATA_BEGIN_DECLS

/** What came of a training.  The sizes are of samples that it was not trained with: every tenth; of all, where there are
 *  fewer than 100. */
typedef struct strata_dict_report {
    size_t size;             /**< sizeof this struct, set by the caller */
    uint64_t id;             /**< of the dictionary: stands with each value that is packed with it */
    uint64_t bytes;          /**< of the dictionary */
    uint64_t measured;       /**< samples that were packed to see what it is worth */
    uint64_t measured_bytes; /**< of these, as they are */
    uint64_t alone_bytes;    /**< of these, packed without it, where that saves 15 % */
    uint64_t packed_bytes;   /**< of these, packed with it, where that saves 15 % */
} strata_dict_report;
#define STRATA_DICT_REPORT_INIT { sizeof(strata_dict_report), 0, 0, 0, 0, 0, 0 }

/** Room for a dictionary of the usual size, 110 KiB. */
#define STRATA_DICT_BYTES ((size_t)112640)

/**
 * Make a dictionary.  Samples are values as they are stored, some thousands of them, together a hundred times the
 * dictionary's size; the same samples in the same order make the same dictionary.
 * @param      samples    borrowed; the library copies them together: so much memory is needed besides.
 * @param[out] out        the dictionary, in `room` bytes, 256 to 16 MiB: STRATA_DICT_BYTES is a good choice.
 * @param[out] out_size   of the dictionary.
 * @param[out] out_report its size set; what the library does not know is zero.  NULL: it is not tried.
 * @return STRATA_OK; STRATA_EINVAL (too few samples, or nothing that they have in common); STRATA_EUNSUPPORTED, no zstd in
 *         this build; STRATA_ENOMEM.
 * Threads: any.  Blocks: computes, some seconds for 10 MiB.
 */
STRATA_API int strata_dict_train(const strata_slice *samples, size_t count, void *out, size_t room, size_t *out_size,
                                 strata_dict_report *out_report, strata_error *err);

/** The id of a dictionary; 0: these bytes are none.  Borrows them. */
STRATA_API uint64_t strata_dict_id(const void *dictionary, size_t size);

STRATA_END_DECLS
#endif /* STRATA_DICT_H */
