/* dict_train.c - strata/dict.h: a dictionary from samples, and what it is worth.
 *
 * What it is worth is told by samples that it has not seen: a dictionary knows the ones that it was made of by heart. */
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/format/compress.h"
#include "strata/dict.h"

enum { EVERY = 10, ENOUGH = 100, LEAST_ROOM = 256, MOST_ROOM = 16 << 20, REPORT_MOST = 4096 };

#define WHERE "dictionary"

/* Every tenth is kept back, where there are enough. */
static int is_kept_back(size_t i, size_t count) { return count >= ENOUGH && i % EVERY == EVERY - 1; }

static int is_measured(size_t i, size_t count) { return count < ENOUGH || is_kept_back(i, count); }

static int fail_memory(strata_error *err)
{
    return strata__fail(err, STRATA_ENOMEM, WHERE, "no memory for the samples: give fewer of them");
}

/* One behind the other, as the trainer wants them. */
static int train(const strata_slice *samples, size_t count, void *out, size_t room, size_t *made, strata_error *err)
{
    size_t bytes = 0, used = 0, taken = 0;
    for (size_t i = 0; i < count; i++) {
        if (samples[i].size > SIZE_MAX / 2 - bytes)
            return fail_memory(err);
        bytes += samples[i].size;
    }
    char *all = strata__alloc(NULL, bytes != 0 ? bytes : 1);
    size_t *sizes = strata__alloc_array(NULL, count != 0 ? count : 1, sizeof *sizes);
    int rc = all != NULL && sizes != NULL ? STRATA_OK : fail_memory(err);
    for (size_t i = 0; rc == STRATA_OK && i < count; i++) {
        if (is_kept_back(i, count) || samples[i].size == 0)
            continue;
        memcpy(all + used, samples[i].data, samples[i].size);
        used += samples[i].size;
        sizes[taken++] = samples[i].size;
    }
    if (rc == STRATA_OK)
        rc = strata__compress_train(all, sizes, taken, out, room, made, err);
    strata__free(NULL, all);
    strata__free(NULL, sizes);
    return rc;
}

/* How large a layer would store it.  0: no memory. */
static size_t packed_size(struct compressor *compressor, strata_slice sample, void *room)
{
    size_t packed = sample.size;
    int rc = strata__compress(compressor, COMPRESS_ZSTD, 0, sample.data, sample.size, room, sample.size, &packed);
    return rc == STRATA_OK || rc == STRATA_AGAIN ? packed : 0;
}

static int measure_one(struct compressor *alone, struct compressor *with, strata_slice sample, strata_dict_report *out)
{
    void *room = strata__alloc(NULL, sample.size != 0 ? sample.size : 1);
    if (room == NULL)
        return STRATA_ENOMEM;
    size_t plain = packed_size(alone, sample, room), packed = packed_size(with, sample, room);
    strata__free(NULL, room);
    if (sample.size != 0 && (plain == 0 || packed == 0))
        return STRATA_ENOMEM;
    out->measured++;
    out->measured_bytes += sample.size;
    out->alone_bytes += plain;
    out->packed_bytes += packed;
    return STRATA_OK;
}

static int measure(const strata_slice *samples, size_t count, const void *dictionary, size_t size,
                   strata_dict_report *out, strata_error *err)
{
    struct compressor alone, with;
    strata__compressor_init(&alone, NULL);
    strata__compressor_init(&with, NULL);
    int rc = strata__compressor_learn(&with, dictionary, size, 0, 1);
    for (size_t i = 0; rc == STRATA_OK && i < count; i++)
        if (is_measured(i, count))
            rc = measure_one(&alone, &with, samples[i], out);
    strata__compressor_deinit(&alone);
    strata__compressor_deinit(&with);
    return rc == STRATA_OK ? rc : strata__fail(err, rc, WHERE, "the dictionary could not be tried: free some memory");
}

/* A shorter struct is an older caller's; of a longer one, what we do not know is zero. */
static void hand_out(strata_dict_report *report, const strata_dict_report *known)
{
    size_t size = report->size, common = size < sizeof *known ? size : sizeof *known;
    memset(report, 0, size);
    memcpy(report, known, common);
    report->size = size;
}

int strata_dict_train(const strata_slice *samples, size_t count, void *out, size_t room, size_t *out_size,
                      strata_dict_report *out_report, strata_error *err)
{
    strata_dict_report known = STRATA_DICT_REPORT_INIT;
    size_t made = 0;
    if (out == NULL || out_size == NULL || (samples == NULL && count != 0))
        return strata__fail(err, STRATA_EINVAL, WHERE, "NULL: give samples, and room for the dictionary and its size");
    if (room < LEAST_ROOM || room > MOST_ROOM)
        return strata__fail(err, STRATA_EINVAL, WHERE,
                            "a dictionary in %zu bytes: give room for 256 to 16,777,216; 112,640 is a good choice",
                            room);
    if (out_report != NULL && (out_report->size < sizeof known.size || out_report->size > REPORT_MOST))
        return strata__fail(err, STRATA_EINVAL, "report", "its size is %zu: start it from STRATA_DICT_REPORT_INIT",
                            out_report->size);
    int rc = train(samples, count, out, room, &made, err);
    if (rc == STRATA_OK && out_report != NULL)
        rc = measure(samples, count, out, made, &known, err);
    if (rc != STRATA_OK)
        return rc;
    *out_size = made;
    known.id = strata__compress_dictionary_id(out, made);
    known.bytes = made;
    if (out_report != NULL)
        hand_out(out_report, &known);
    return STRATA_OK;
}

uint64_t strata_dict_id(const void *dictionary, size_t size)
{
    return dictionary != NULL ? strata__compress_dictionary_id(dictionary, size) : 0;
}
