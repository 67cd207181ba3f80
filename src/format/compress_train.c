/* compress_train.c - a dictionary from samples, by zstd's own trainer. */
#include <zdict.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "src/base/err.h"
#include "src/format/compress.h"

/* The trainer needs so many, and about a hundred times the dictionary to be good at it. */
enum { LEAST_SAMPLES = 8, LEAST_BYTES = 64 };

/* It learns from the first three quarters of them and tries on the rest, and divides by zero where those have hardly a byte. */
static int is_enough(const size_t *sizes, size_t count)
{
    size_t learned = 0, tried = 0;
    for (size_t i = 0; i < count && (learned < LEAST_BYTES || tried < LEAST_BYTES); i++) {
        learned += i < count / 2 ? sizes[i] : 0;
        tried += i >= count - count / 5 ? sizes[i] : 0;
    }
    return count >= LEAST_SAMPLES && count <= UINT32_MAX && learned >= LEAST_BYTES && tried >= LEAST_BYTES;
}

static int refuse(size_t code, size_t count, strata_error *err)
{
    if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation)
        return strata__fail(err, STRATA_ENOMEM, "dictionary",
                            "no memory to train with: free some, or give fewer samples");
    return strata__fail(err, STRATA_EINVAL, "samples",
                        "no dictionary can be made of these %zu samples (%s): give more of them, a hundred times the "
                        "dictionary's size together, that are alike and not the same",
                        count, ZDICT_getErrorName(code));
}

int strata__compress_train(const void *samples, const size_t *sizes, size_t count, void *out, size_t room,
                           size_t *out_size, strata_error *err)
{
    if (!is_enough(sizes, count))
        return strata__fail(err, STRATA_EINVAL, "samples",
                            "%zu samples to learn from are too few, or there is hardly a byte in them: give at least "
                            "%d, better thousands, of what "
                            "is to be packed",
                            count, LEAST_SAMPLES);
    size_t made = ZDICT_trainFromBuffer(out, room, samples, sizes, (unsigned)count);
    if (ZDICT_isError(made))
        return refuse(made, count, err);
    *out_size = made;
    return STRATA_OK;
}
