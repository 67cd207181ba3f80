/* strata/sys/codec.h - a cache of decoded objects.  Extenders' API: may change in a minor version. */
#ifndef STRATA_SYS_CODEC_H
#define STRATA_SYS_CODEC_H
#include "strata/base.h"
#include "strata/error.h"
STRATA_BEGIN_DECLS

/**
 * How objects become bytes and bytes objects.  A memory hit hands out the object itself and calls nothing here;
 * other layers hold its bytes.
 * Threads: every function is called from any thread, also at the same time for different objects.
 */
typedef struct strata_codec {
    size_t size;   /**< sizeof this struct */
    uint32_t id;   /**< stored with the bytes: an entry of another codec is a miss; not 0 */
    const char *name;
    /** Write `object` into `out` (room bytes) and its length into *out_size; where room is too small, write only the
     *  length needed and answer STRATA_AGAIN.  @return STRATA_OK, STRATA_AGAIN, STRATA_ECODEC. */
    int (*encode)(const void *object, void *out, size_t room, size_t *out_size, void *ctx);
    /** Make an object of these bytes.  @return STRATA_OK, STRATA_ECODEC, STRATA_ENOMEM. */
    int (*decode)(const void *data, size_t size, void **out_object, void *ctx);
    /** Free an object. */
    void (*free)(void *object, void *ctx);
    /** How many bytes of memory the object takes: counts against the memory layer's budget. */
    size_t (*cost)(const void *object, void *ctx);
    void *ctx;
} strata_codec;

STRATA_END_DECLS
#endif /* STRATA_SYS_CODEC_H */
