/* pack.c - see pack.h.
 *
 * A dictionary is read once, when the layer starts, through links too: such files are often brought by others, who swap links.
 * One that is named and cannot be used fails the start, as any wrong option: values that only it can unpack would all be
 * misses.  A value whose dictionary is not here is a miss, with words that say which. */
#include "src/layer/pack.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/layer/entry_notes.h"
#include "src/layer/value_impl.h"
#include "src/os/os_file.h"

enum { ABOVE = 1024, ABOVE_WITH_DICTIONARY = 64, PATH_ROOM = 4096 + 256 };
#define DICTIONARY_MOST ((uint64_t)16 << 20)
#define SUFFIX ".dict"

/* Options ---------------------------------------------------------------------------------------------------------- */

uint32_t strata__pack_algorithm(int32_t compression)
{
    switch (compression) {
    case STRATA_COMPRESS_ZSTD: return COMPRESS_ZSTD;
    case STRATA_COMPRESS_LZ4: return COMPRESS_LZ4;
    case STRATA_COMPRESS_GZIP: return COMPRESS_GZIP;
    case STRATA_COMPRESS_BROTLI: return COMPRESS_BROTLI;
    default: return COMPRESS_NONE;
    }
}

int strata__pack_fill(struct pack_options *options, int zstd_preferred, strata_error *err)
{
    int has_zstd = strata__compress_check(COMPRESS_ZSTD, 0, NULL) == STRATA_OK;
    if (options->compression == STRATA_COMPRESS_DEFAULT)
        options->compression = options->dictionary != NULL || (zstd_preferred && has_zstd) ? STRATA_COMPRESS_ZSTD
                                                                                           : STRATA_COMPRESS_NONE;
    if (options->dictionary != NULL && options->compression != STRATA_COMPRESS_ZSTD)
        return strata__fail(err, STRATA_EINVAL, "dictionary",
                            "a dictionary packs with zstd alone: set compression to zstd, or give the file as one of "
                            "dictionaries, to read with");
    if (options->compress_above_bytes == 0)
        options->compress_above_bytes = options->dictionary != NULL ? ABOVE_WITH_DICTIONARY : ABOVE;
    if (options->dictionaries != NULL && !has_zstd)
        return strata__compress_check(COMPRESS_ZSTD, 0, err);
    return strata__compress_check(strata__pack_algorithm(options->compression), options->compression_level, err);
}

/* Dictionaries ----------------------------------------------------------------------------------------------------- */

struct loading {
    struct compressor *compressor;
    const struct pack_options *options;
    const char *name;
    strata_error *err;
    int rc;
};

static int fail_read(const struct loading *l, int os_errno, const char *path)
{
    return strata__fail_os(l->err, STRATA_EIO, os_errno, l->name,
                           "\"%.128s\" cannot be read: look at dictionary and dictionaries", path);
}

static int fail_learn(const struct loading *l, int rc, const char *path, uint64_t id)
{
    if (rc == STRATA_ENOMEM)
        return strata__fail(l->err, rc, l->name, "no memory for the dictionary \"%.128s\": free some", path);
    if (rc == STRATA_EEXIST)
        return strata__fail(l->err, STRATA_EINVAL, l->name,
                            "\"%.128s\" and another dictionary have the id %" PRIu64
                            " and are not the same: keep the one that "
                            "values were packed with",
                            path, id);
    return strata__fail(l->err, STRATA_EINVAL, l->name,
                        "\"%.128s\" is no trained dictionary: make one with `strata dict train`", path);
}

/* `fd` is a file of `size` bytes. */
static int learn(const struct loading *l, int fd, size_t size, const char *path, int writes)
{
    const strata_allocator *mem = l->compressor->mem;
    size_t got = 0;
    char *bytes = strata__alloc(mem, size != 0 ? size : 1);
    if (bytes == NULL)
        return fail_learn(l, STRATA_ENOMEM, path, 0);
    int failed = strata__os_file_read(fd, bytes, size, 0, &got);
    int rc = failed == 0
                 ? strata__compressor_learn(l->compressor, bytes, got, (int)l->options->compression_level, writes)
                 : STRATA_OK;
    uint64_t id = strata__compress_dictionary_id(bytes, got);
    strata__free(mem, bytes);
    return failed != 0 ? fail_read(l, failed, path) : rc != STRATA_OK ? fail_learn(l, rc, path, id) : STRATA_OK;
}

static int load(const struct loading *l, const char *path, int writes)
{
    struct os_file_stat stat = { 0 };
    int fd, failed = strata__os_path_open(path, &fd);
    if (failed == 0)
        failed = strata__os_file_stat(fd, &stat);
    int rc;
    if (failed != 0)
        rc = fail_read(l, failed, path);
    else if (!stat.regular || stat.size > DICTIONARY_MOST)
        rc = fail_learn(l, STRATA_EINVAL, path, 0);
    else
        rc = learn(l, fd, (size_t)stat.size, path, writes);
    strata__os_file_close(fd);
    return rc;
}

static int load_named(const char *name, void *ctx)
{
    struct loading *l = ctx;
    char path[PATH_ROOM];
    size_t length = strlen(name), suffix = sizeof SUFFIX - 1;
    if (length <= suffix || strcmp(name + length - suffix, SUFFIX) != 0 || name[0] == '.')
        return 0;
    int size = snprintf(path, sizeof path, "%s/%s", l->options->dictionaries, name);
    l->rc = size > 0 && (size_t)size < sizeof path ? load(l, path, 0) : fail_read(l, ENAMETOOLONG, name);
    return l->rc != STRATA_OK;
}

static int load_all(struct loading *l)
{
    const char *dir = l->options->dictionaries;
    int fd, failed = strata__os_path_open(dir, &fd);
    if (failed == 0)
        failed = strata__os_dir_list(fd, load_named, l);
    strata__os_file_close(fd);
    return failed != 0 ? fail_read(l, failed, dir) : l->rc;
}

int strata__pack_start(struct compressor *compressor, const struct pack_options *options, const char *name,
                       const strata_allocator *mem, strata_error *err)
{
    struct loading l = { compressor, options, name, err, STRATA_OK };
    strata__compressor_init(compressor, mem);
    /* First the one that packs: in the directory it is found to be there. */
    int rc = options->dictionary != NULL ? load(&l, options->dictionary, 1) : STRATA_OK;
    if (rc == STRATA_OK && options->dictionaries != NULL)
        rc = load_all(&l);
    if (rc != STRATA_OK)
        strata__compressor_deinit(compressor);
    return rc;
}

/* Tags ------------------------------------------------------------------------------------------------------------- */

void strata__pack_tags(const strata_op *op, struct envelope *e)
{
    strata__entry_notes_pack(op->tags, op->meta.tag_count, e);
}

void strata__unpack_tags(strata_op *op, const struct envelope *e) { op->tags = strata__entry_notes_unpack(op->mem, e); }

/* Unpacking -------------------------------------------------------------------------------------------------------- */

static int refuse(strata_op *op, const char *name, const struct envelope *e, int rc)
{
    const char *alg = strata__compress_name(e->compression);
    switch (rc) {
    case STRATA_ENOMEM:
        return strata__fail(op->err, rc, name,
                            "no memory for a value of %" PRIu64 " bytes: free some, or lower max_value_bytes",
                            e->raw_size);
    case STRATA_MISS:
        strata__fail(op->err, STRATA_EUNSUPPORTED, name,
                     "a value was packed with the dictionary %" PRIu64
                     ", which is not here: put its file into dictionaries",
                     e->dictionary);
        break;
    case STRATA_EUNSUPPORTED:
        strata__fail(op->err, STRATA_EUNSUPPORTED, name,
                     "a value was packed with %s, which this build has not: it is loaded again",
                     alg != NULL ? alg : "?");
        break;
    case STRATA_EVALUESIZE:
        strata__fail(op->err, STRATA_EIO, name,
                     "a packed value says that it has %" PRIu64
                     " bytes, which is above max_value_bytes: raise that if it "
                     "should be",
                     e->raw_size);
        break;
    default: strata__fail(op->err, STRATA_EIO, name, "a value that was packed with %s cannot be unpacked", alg);
    }
    return STRATA_MISS;
}

int strata__unpack(struct compressor *compressor, const struct envelope *e, uint64_t most, strata_op *op,
                   const char *name, strata_value **out)
{
    void *bytes;
    int rc = strata__decompress_check(compressor, e->compression, e->dictionary, e->payload.data, e->payload.size,
                                      e->raw_size, most);
    if (rc != STRATA_OK)
        return refuse(op, name, e, rc);
    struct strata_value *value = strata__value_new(op->mem, (size_t)e->raw_size, &bytes);
    if (value == NULL)
        return refuse(op, name, e, STRATA_ENOMEM);
    rc = strata__decompress(compressor, e->compression, e->dictionary, e->payload.data, e->payload.size, bytes,
                            (size_t)e->raw_size);
    if (rc != STRATA_OK) {
        strata_value_unref(value);
        return refuse(op, name, e, rc);
    }
    *out = value;
    return STRATA_OK;
}
