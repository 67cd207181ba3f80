/* compress_train_off.c - built where zstd is not: no dictionaries. */
#include "src/base/err.h"
#include "src/format/compress.h"

int strata__compress_train(const void *samples, const size_t *sizes, size_t count, void *out, size_t room,
                           size_t *out_size, strata_error *err)
{
    (void)samples;
    (void)sizes;
    (void)count;
    (void)out;
    (void)room;
    (void)out_size;
    return strata__fail(err, STRATA_EUNSUPPORTED, "dictionary",
                        "this build has no zstd, whose dictionaries they are: configure with -DSTRATA_WITH_ZSTD=ON");
}
