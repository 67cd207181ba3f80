/* fuzz_decompress.c - bytes that pose as packed are unfolded within the room there is or refused, by each algorithm, with the
 * dictionary and without; and what is packed comes back.
 *
 *   | algorithm 1: 0 to 4, the last is zstd with a dictionary; + 128: pack it | size it says it unfolds to 3 | bytes */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/packed_home.h"

enum { HEAD = 4, CAP = 1 << 20, PACK = 128 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int condition)
{
    if (!condition)
        abort();
}

static struct compressor plain, with;

/* Exactly as much room as asked for, so that a sanitizer sees a write past it. */
static void unpack(struct compressor *c, uint32_t alg, uint64_t dictionary, const uint8_t *in, size_t size,
                   size_t raw_size)
{
    int rc = strata__decompress_check(c, alg, dictionary, in, size, raw_size, CAP);
    demand(rc == STRATA_OK || rc == STRATA_EIO || (rc == STRATA_EVALUESIZE && raw_size > CAP));
    if (rc != STRATA_OK)
        return;
    uint8_t *out = malloc(raw_size != 0 ? raw_size : 1);
    demand(out != NULL);
    rc = strata__decompress(c, alg, dictionary, in, size, out, raw_size);
    demand(rc == STRATA_OK || rc == STRATA_EIO);
    free(out);
}

static void pack(struct compressor *c, uint32_t alg, uint64_t dictionary, const uint8_t *in, size_t size)
{
    size_t packed = 0;
    uint8_t *out = malloc(size + 1), *back = malloc(size + 1);
    demand(out != NULL && back != NULL);
    int rc = strata__compress(c, alg, 0, in, size, out, size, &packed);
    demand(rc == STRATA_OK || rc == STRATA_AGAIN);
    if (rc == STRATA_OK) {
        demand(packed * 100 <= size * 85);
        demand(strata__decompress_check(c, alg, dictionary, out, packed, size, size) == STRATA_OK);
        demand(strata__decompress(c, alg, dictionary, out, packed, back, size) == STRATA_OK);
        demand(memcmp(back, in, size) == 0);
    }
    free(out);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int started;
    if (!started) {
        strata__compressor_init(&plain, NULL);
        packed_home_start(&with);
        started = 1;
    }
    if (size < HEAD)
        return 0;
    int kind = (data[0] & ~PACK) % 5;
    uint32_t alg = kind == 4 ? COMPRESS_ZSTD : COMPRESS_ZSTD + (uint32_t)kind;
    uint64_t dictionary = kind == 4 ? PACKED_HOME_DICTIONARY : 0;
    struct compressor *c = kind == 4 ? &with : &plain;
    if (strata__compress_check(alg, 0, NULL) != STRATA_OK)
        return 0;
    if (data[0] & PACK)
        pack(c, alg, dictionary, data + HEAD, size - HEAD);
    else
        unpack(c, alg, dictionary, data + HEAD, size - HEAD,
               (size_t)data[1] | (size_t)data[2] << 8 | (size_t)data[3] << 16);
    return 0;
}
