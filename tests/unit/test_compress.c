/* test_compress.c - zstd, lz4, gzip and brotli: there and back, what is not worth it, and data that lies about itself. */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/hash.h"
#include "src/format/compress.h"
#include "src/os/os_thread.h"
#include "tests/support/dictionaries.h"
#include "tests/support/doc_vector.h"
#include "strata/version.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/temp_dir.h"

static const uint32_t each[] = { COMPRESS_ZSTD, COMPRESS_LZ4, COMPRESS_GZIP, COMPRESS_BROTLI };

enum { ALGORITHMS = sizeof each / sizeof each[0] };

enum { ROOM = 70000 };

/* Text of few words, as values are. */
static void fill_text(uint8_t *out, size_t size, uint64_t seed)
{
    static const char *const words[] = { "\"name\": ", "\"price\": ", "1234", "null, ", "strata ", "<td>" };
    for (size_t used = 0; used < size;) {
        const char *word = words[strata__mix64(seed++) % 6];
        size_t length = strlen(word);
        length = length > size - used ? size - used : length;
        memcpy(out + used, word, length);
        used += length;
    }
}

static void fill_noise(uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)strata__mix64(i + 1);
}

static void there_and_back(struct compressor *c, uint32_t alg, int level, const uint8_t *in, size_t size)
{
    size_t capacity = strata__compress_bound(alg, size), packed = 0;
    uint8_t *out = malloc(capacity), *back = malloc(size);
    assert_non_null(out);
    assert_non_null(back);
    assert_int_equal(strata__compress(c, alg, level, in, size, out, capacity, &packed), STRATA_OK);
    assert_true(packed * 100 <= size * 85);
    assert_int_equal(strata__decompress_check(c, alg, 0, out, packed, size, size), STRATA_OK);
    assert_int_equal(strata__decompress(c, alg, 0, out, packed, back, size), STRATA_OK);
    assert_memory_equal(back, in, size);
    free(out);
    free(back);
}

static void text_comes_back(void **state)
{
    (void)state;
    static uint8_t in[ROOM];
    static const int levels[] = { 0, 1, 9, 19, -5 };
    struct compressor c;
    strata__compressor_init(&c, NULL);
    for (size_t a = 0; a < ALGORITHMS; a++) {
        for (size_t size = 500; size <= ROOM; size = size * 3 + 1) {
            fill_text(in, size, size);
            there_and_back(&c, each[a], 0, in, size);
        }
        fill_text(in, 20000, 3);
        for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
            there_and_back(&c, each[a], levels[i], in, 20000);
    }
    strata__compressor_deinit(&c);
}

static void not_worth_it(void **state)
{
    (void)state;
    static uint8_t in[ROOM], out[ROOM * 2];
    struct compressor c;
    size_t packed = 77;
    strata__compressor_init(&c, NULL);
    for (size_t a = 0; a < ALGORITHMS; a++) {
        fill_noise(in, ROOM);
        assert_int_equal(strata__compress(&c, each[a], 0, in, ROOM, out, sizeof out, &packed), STRATA_AGAIN);
        assert_int_equal(strata__compress(&c, each[a], 0, in, 0, out, sizeof out, &packed), STRATA_AGAIN);
        assert_int_equal(strata__compress(&c, each[a], 0, in, 1, out, sizeof out, &packed), STRATA_AGAIN);
        /* Four fifths of noise and a fifth of nothing: above 15 %.  A tenth: below. */
        memset(in, 0, ROOM / 10);
        assert_int_equal(strata__compress(&c, each[a], 0, in, ROOM, out, sizeof out, &packed), STRATA_AGAIN);
        assert_int_equal(packed, 77);
        memset(in, 0, ROOM / 5);
        assert_int_equal(strata__compress(&c, each[a], 0, in, ROOM, out, sizeof out, &packed), STRATA_OK);
        assert_true(packed <= ROOM / 100 * 85);
        /* Too little room is as good as not worth it. */
        packed = 77;
        assert_int_equal(strata__compress(&c, each[a], 0, in, ROOM, out, ROOM / 2, &packed), STRATA_AGAIN);
        assert_int_equal(packed, 77);
        assert_int_equal(strata__compress_bound(each[a], SIZE_MAX), 0);
    }
    strata__compressor_deinit(&c);
}

/* The fastest that there is may find nothing worth it, and is no error. */
static void levels_beyond(void **state)
{
    (void)state;
    static uint8_t in[ROOM], out[ROOM];
    struct compressor c;
    size_t packed;
    strata__compressor_init(&c, NULL);
    fill_text(in, 20000, 3);
    assert_int_equal(strata__compress(&c, COMPRESS_ZSTD, INT32_MAX, in, 20000, out, sizeof out, &packed), STRATA_OK);
    assert_int_equal(strata__compress(&c, COMPRESS_ZSTD, INT32_MIN, in, 20000, out, sizeof out, &packed), STRATA_AGAIN);
    assert_int_equal(strata__compress(&c, COMPRESS_LZ4, INT32_MIN, in, 20000, out, sizeof out, &packed), STRATA_OK);
    assert_int_equal(strata__compress(&c, COMPRESS_LZ4, INT32_MAX, in, 20000, out, sizeof out, &packed), STRATA_AGAIN);
    for (uint32_t alg = COMPRESS_GZIP; alg <= COMPRESS_BROTLI; alg++) {
        size_t smallest;
        assert_int_equal(strata__compress(&c, alg, INT32_MIN, in, 20000, out, sizeof out, &packed), STRATA_OK);
        assert_int_equal(strata__compress(&c, alg, INT32_MAX, in, 20000, out, sizeof out, &smallest), STRATA_OK);
        assert_true(smallest < packed);
    }
    strata__compressor_deinit(&c);
}

static const char text_of_vectors[] =
    "strata strata strata strata strata strata strata strata strata strata strata str";

static void documented_vectors(void **state)
{
    (void)state;
    static const char *const vectors[ALGORITHMS] = { "28b52ffd20507500003873747261746120010026b41801",
                                                     "7f73747261746120070031506120737472",
                                                     "1f8b08000000000000032b2e294a2c495428a6160500574d87be50000000",
                                                     "1b4f00f88d54b5bfa49b03a930b9802d12381601" };
    struct compressor c;
    uint8_t bytes[64], out[80];
    strata__compressor_init(&c, NULL);
    for (size_t a = 0; a < ALGORITHMS; a++) {
        size_t size = doc_vector_bytes(vectors[a], bytes, sizeof bytes);
        memset(out, 0, sizeof out);
        assert_int_equal(strata__decompress(&c, each[a], 0, bytes, size, out, sizeof out), STRATA_OK);
        assert_memory_equal(out, text_of_vectors, sizeof out);
    }
    strata__compressor_deinit(&c);
}

/* The dictionary in docs/formats.md, and what was packed with it. */
static void documented_dictionary(void **state)
{
    (void)state;
    static const char file[] = "37a430ecbe96a2511410e80ad301000000b002b428934c29c934005b24830300000080a09d1d00000004208"
                               "100108c1984178888899517898100000000335619"
                               "0000000000003c4300000000000054f10288930903000000000000000000000000010000000400000008000"
                               "0002c22616374697665223a747275657d7b226964"
                               "223a3134332c226e616d65223a227522616374697665223a747275657d7b226964223a313333352c226e616"
                               "d65223a22757365722d3736313439222c22746f77"
                               "6e22616374697665223a747275657d7b226964223a313136322c226e616d65223a22757365722d333834363"
                               "2222c22746f776e7b226964223a313031372c226e"
                               "616d65223a22757365722d38363935222c22746f776e223a224768656e74222c22706c616e7b226964223a3"
                               "736342c226e616d65223a22757365722d34363138"
                               "33222c22746f776e223a225461727475222c22706c616e226964223a3434382c226e616d65223a227573657"
                               "22d3131343531222c22746f776e223a224c697362";
    static const char packed[] =
        "28b52ffd244c450100c0343731313130383455707073616c613a226261736963222c05fc00953f9840df26fa9a43e9e80b08f819b9";
    static const char text[] =
        "{\"id\":4711,\"name\":\"user-1084\",\"town\":\"Uppsala\",\"plan\":\"basic\",\"active\":true}";
    uint8_t bytes[400];
    char out[sizeof text - 1];
    struct compressor c;
    strata__compressor_init(&c, NULL);
    size_t size = doc_vector_bytes(file, bytes, sizeof bytes);
    assert_int_equal(strata__compress_dictionary_id(bytes, size), 1369609918);
    assert_int_equal(strata__compressor_learn(&c, bytes, size, 0, 0), STRATA_OK);
    size = doc_vector_bytes(packed, bytes, sizeof bytes);
    assert_int_equal(strata__decompress(&c, COMPRESS_ZSTD, 1369609918, bytes, size, out, sizeof out), STRATA_OK);
    assert_memory_equal(out, text, sizeof out);
    strata__compressor_deinit(&c);
}

static void sizes_that_lie(void **state)
{
    (void)state;
    static uint8_t in[ROOM], out[ROOM], back[ROOM];
    struct compressor c;
    size_t packed;
    strata__compressor_init(&c, NULL);
    memset(in, 'a', sizeof in);
    for (size_t a = 0; a < ALGORITHMS; a++) {
        assert_int_equal(strata__compress(&c, each[a], 0, in, 5000, out, sizeof out, &packed), STRATA_OK);
        assert_int_equal(strata__decompress_check(&c, each[a], 0, out, packed, 5000, 4999), STRATA_EVALUESIZE);
        assert_int_equal(strata__decompress_check(&c, each[a], 0, out, packed, UINT64_MAX, UINT64_MAX), STRATA_EIO);
        if (each[a] != COMPRESS_BROTLI) /* of which a few bytes may be a million */
            assert_int_equal(
                strata__decompress_check(&c, each[a], 0, out, packed, 1033 * (uint64_t)packed + 1033, UINT64_MAX),
                STRATA_EIO);
        assert_int_equal(strata__decompress(&c, each[a], 0, out, packed, back, 4999), STRATA_EIO);
        assert_int_equal(strata__decompress(&c, each[a], 0, out, packed, back, 5001), STRATA_EIO);
        assert_int_equal(strata__decompress(&c, each[a], 0, out, 0, back, 5000), STRATA_EIO);
    }
    strata__compressor_deinit(&c);
}

/* Damage is an error or other bytes, never more of them than there is room for: under a sanitizer this is the test. */
static void damage(void **state)
{
    (void)state;
    enum { SIZE = 700 };
    uint8_t in[SIZE], out[SIZE * 2];
    struct compressor c;
    size_t packed;
    strata__compressor_init(&c, NULL);
    fill_text(in, SIZE, 5);
    for (size_t a = 0; a < ALGORITHMS; a++) {
        uint8_t *back = malloc(SIZE);
        assert_non_null(back);
        assert_int_equal(strata__compress(&c, each[a], 0, in, SIZE, out, sizeof out, &packed), STRATA_OK);
        for (size_t cut = 0; cut < packed; cut++)
            assert_int_equal(strata__decompress(&c, each[a], 0, out, cut, back, SIZE), STRATA_EIO);
        for (size_t bit = 0; bit < packed * 8; bit++) {
            out[bit / 8] ^= (uint8_t)(1 << bit % 8);
            int rc = strata__decompress(&c, each[a], 0, out, packed, back, SIZE);
            assert_true(rc == STRATA_OK || rc == STRATA_EIO);
            out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_int_equal(strata__decompress(&c, each[a], 0, out, packed, back, SIZE), STRATA_OK);
        free(back);
    }
    strata__compressor_deinit(&c);
}

/* In either direction the n-th allocation fails, for all n. */
static void out_of_memory_with(uint32_t alg)
{
    static uint8_t in[ROOM], out[ROOM], back[ROOM];
    struct fail_alloc mem;
    struct compressor c;
    size_t packed;
    fill_text(in, ROOM, 1);
    for (long n = 1;; n++) {
        fail_alloc_init(&mem, n);
        strata__compressor_init(&c, &mem.mem);
        int rc = strata__compress(&c, alg, 0, in, ROOM, out, sizeof out, &packed);
        if (rc == STRATA_OK)
            rc = strata__decompress(&c, alg, 0, out, packed, back, ROOM);
        strata__compressor_deinit(&c);
        assert_int_equal(atomic_load(&mem.live), 0);
        if (!atomic_load(&mem.failed)) {
            assert_int_equal(rc, STRATA_OK);
            assert_true(n > 2 || alg == COMPRESS_LZ4);
            return;
        }
        assert_int_equal(rc, STRATA_ENOMEM);
    }
}

static void out_of_memory(void **state)
{
    (void)state;
    for (size_t a = 0; a < ALGORITHMS; a++)
        out_of_memory_with(each[a]);
}

static void contexts_are_kept(void **state)
{
    (void)state;
    static const uint32_t keeping[] = { COMPRESS_ZSTD, COMPRESS_GZIP };
    static uint8_t in[ROOM], out[ROOM], back[ROOM];
    fill_text(in, ROOM, 1);
    for (size_t a = 0; a < 2; a++) {
        struct fail_alloc mem;
        struct compressor c;
        size_t packed = 0;
        long after_first = 0;
        fail_alloc_init(&mem, 0);
        strata__compressor_init(&c, &mem.mem);
        for (int i = 0; i < 10; i++) {
            assert_int_equal(strata__compress(&c, keeping[a], 3, in, ROOM, out, sizeof out, &packed), STRATA_OK);
            assert_int_equal(strata__decompress(&c, keeping[a], 0, out, packed, back, ROOM), STRATA_OK);
            if (i == 0)
                after_first = atomic_load(&mem.requests);
        }
        assert_int_equal(atomic_load(&mem.requests), after_first);
        strata__compressor_deinit(&c);
        assert_int_equal(atomic_load(&mem.live), 0);
    }
}

static void turn_around(void *ctx)
{
    struct compressor *c = ctx;
    uint8_t in[3000], out[3000], back[3000];
    size_t packed;
    for (uint64_t i = 0; i < 100; i++) {
        uint32_t alg = each[i % ALGORITHMS];
        uint64_t dictionary = strata__compressor_dictionary(c, alg);
        fill_text(in, sizeof in, i);
        if (strata__compress(c, alg, 1, in, sizeof in, out, sizeof out, &packed) != STRATA_OK ||
            strata__decompress(c, alg, dictionary, out, packed, back, sizeof back) != STRATA_OK ||
            memcmp(in, back, sizeof in) != 0)
            abort(); /* cmocka's asserts are for its own thread */
    }
}

/* More threads than places, and a dictionary that they share. */
static void many_threads(void **state)
{
    (void)state;
    uint8_t dictionary[DICTIONARY_BYTES];
    size_t size = dictionary_train(0, dictionary);
    struct os_thread threads[COMPRESSOR_IDLE + 2];
    struct fail_alloc mem;
    struct compressor c;
    fail_alloc_init(&mem, 0);
    strata__compressor_init(&c, &mem.mem);
    assert_int_equal(strata__compressor_learn(&c, dictionary, size, 1, 1), STRATA_OK);
    for (size_t i = 0; i < COMPRESSOR_IDLE + 2; i++)
        assert_int_equal(strata__os_thread_start(&threads[i], "turn", turn_around, &c), 0);
    for (size_t i = 0; i < COMPRESSOR_IDLE + 2; i++)
        strata__os_thread_join(&threads[i]);
    strata__compressor_deinit(&c);
    assert_int_equal(atomic_load(&mem.live), 0);
}

static void write_file(const char *dir, const char *name, const void *bytes, size_t size)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* What gunzip makes of it, as other programs would that read the store. */
static void gunzip_reads_it(void **state)
{
    (void)state;
    static uint8_t in[ROOM], out[ROOM];
    struct compressor c;
    char dir[128], command[256];
    size_t packed;
    fill_text(in, ROOM, 9);
    strata__compressor_init(&c, NULL);
    assert_int_equal(strata__compress(&c, COMPRESS_GZIP, 0, in, ROOM, out, sizeof out, &packed), STRATA_OK);
    strata__compressor_deinit(&c);
    temp_dir_make(dir, sizeof dir);
    write_file(dir, "raw", in, ROOM);
    write_file(dir, "packed", out, packed);
    snprintf(command, sizeof command, "cd '%s' && gunzip <packed | cmp - raw", dir);
    assert_int_equal(system(command), 0);
    temp_dir_remove(dir);
}

/* Dictionaries --------------------------------------------------------------------------------------------------- */

enum { RECORD = DICTIONARY_VALUE, DICTIONARY = DICTIONARY_BYTES };

/* 0: could not be unpacked. */
static int comes_back(struct compressor *c, uint64_t dictionary, const uint8_t *packed, size_t size, const char *raw,
                      size_t raw_size)
{
    char back[RECORD];
    if (strata__decompress_check(c, COMPRESS_ZSTD, dictionary, packed, size, raw_size, raw_size) != STRATA_OK ||
        strata__decompress(c, COMPRESS_ZSTD, dictionary, packed, size, back, raw_size) != STRATA_OK)
        return 0;
    assert_memory_equal(back, raw, raw_size);
    return 1;
}

static void dictionaries(void **state)
{
    (void)state;
    uint8_t first[DICTIONARY], second[DICTIONARY], out[RECORD];
    size_t first_size = dictionary_train(0, first), second_size = dictionary_train(1, second), plain, packed;
    char raw[RECORD];
    size_t raw_size = dictionary_value(raw, 0, 77777);
    uint64_t id = strata__compress_dictionary_id(first, first_size);
    struct compressor writer, reader, other;
    strata__compressor_init(&writer, NULL);
    strata__compressor_init(&reader, NULL);
    strata__compressor_init(&other, NULL);
    assert_int_not_equal(id, 0);
    assert_int_not_equal(id, strata__compress_dictionary_id(second, second_size));
    if (strata__compress(&writer, COMPRESS_ZSTD, 0, raw, raw_size, out, sizeof out, &plain) != STRATA_OK)
        plain = raw_size;
    assert_int_equal(strata__compressor_dictionary(&writer, COMPRESS_ZSTD), 0);
    assert_int_equal(strata__compressor_learn(&writer, first, first_size, 0, 1), STRATA_OK);
    assert_int_equal(strata__compressor_dictionary(&writer, COMPRESS_ZSTD), id);
    assert_int_equal(strata__compressor_dictionary(&writer, COMPRESS_LZ4), 0);
    assert_int_equal(strata__compress(&writer, COMPRESS_ZSTD, 0, raw, raw_size, out, sizeof out, &packed), STRATA_OK);
    assert_true(packed * 2 < plain);
    assert_true(comes_back(&writer, id, out, packed, raw, raw_size));
    /* Who has not got it says so; who has it as an old one reads. */
    assert_int_equal(strata__decompress_check(&other, COMPRESS_ZSTD, id, out, packed, raw_size, 1000), STRATA_MISS);
    assert_int_equal(strata__decompress(&other, COMPRESS_ZSTD, id, out, packed, raw, raw_size), STRATA_MISS);
    assert_int_equal(strata__decompress_check(&other, COMPRESS_GZIP, id, out, packed, raw_size, 1000),
                     STRATA_EUNSUPPORTED);
    assert_int_equal(strata__compressor_learn(&reader, second, second_size, 0, 1), STRATA_OK);
    assert_false(comes_back(&reader, id, out, packed, raw, raw_size));
    assert_int_equal(strata__compressor_learn(&reader, first, first_size, 0, 0), STRATA_OK);
    assert_int_equal(strata__compressor_learn(&reader, first, first_size, 0, 0), STRATA_OK); /* twice is no harm */
    assert_true(comes_back(&reader, id, out, packed, raw, raw_size));
    /* Without one: contexts are shared, and nothing of a dictionary is left in them. */
    static uint8_t text[ROOM], small[ROOM];
    fill_text(text, ROOM, 4);
    assert_false(comes_back(&writer, 0, out, packed, raw, raw_size));
    assert_int_equal(strata__compress(&other, COMPRESS_ZSTD, 0, text, RECORD, small, ROOM, &packed), STRATA_OK);
    assert_true(comes_back(&writer, 0, small, packed, (const char *)text, RECORD));
    assert_true(comes_back(&other, 0, small, packed, (const char *)text, RECORD));
    strata__compressor_deinit(&writer);
    strata__compressor_deinit(&reader);
    strata__compressor_deinit(&other);
}

/* The same id and other bytes: at best it is refused, and where only the other one is there, nothing is served. */
static void a_changed_dictionary(void **state)
{
    (void)state;
    uint8_t dictionary[DICTIONARY], changed[DICTIONARY], out[RECORD];
    size_t size = dictionary_train(0, dictionary), packed, wrong = 0;
    uint64_t id = strata__compress_dictionary_id(dictionary, size);
    char raw[RECORD];
    struct compressor writer;
    strata__compressor_init(&writer, NULL);
    assert_int_equal(strata__compressor_learn(&writer, dictionary, size, 19, 1), STRATA_OK);
    for (size_t i = 0; i < size; i++)
        changed[i] = i > size / 2 ? dictionary[i] ^ 1 : dictionary[i];
    assert_int_equal(strata__compressor_learn(&writer, changed, size, 0, 0), STRATA_EEXIST);
    for (unsigned i = 0; i < 50; i++) {
        struct compressor reader;
        char back[RECORD];
        size_t raw_size = dictionary_value(raw, 0, 90000 + i);
        assert_int_equal(strata__compress(&writer, COMPRESS_ZSTD, 0, raw, raw_size, out, sizeof out, &packed),
                         STRATA_OK);
        strata__compressor_init(&reader, NULL);
        assert_int_equal(strata__compressor_learn(&reader, changed, size, 0, 0), STRATA_OK);
        int rc = strata__decompress(&reader, COMPRESS_ZSTD, id, out, packed, back, raw_size);
        assert_true(rc == STRATA_EIO || (rc == STRATA_OK && memcmp(back, raw, raw_size) == 0));
        wrong += rc == STRATA_EIO;
        strata__compressor_deinit(&reader);
    }
    assert_true(wrong > 0);
    strata__compressor_deinit(&writer);
}

static void what_is_no_dictionary(void **state)
{
    (void)state;
    uint8_t dictionary[DICTIONARY];
    size_t size = dictionary_train(1, dictionary);
    struct compressor c;
    strata__compressor_init(&c, NULL);
    assert_int_equal(strata__compressor_learn(&c, "text", 4, 0, 1), STRATA_EINVAL);
    assert_int_equal(strata__compressor_learn(&c, "", 0, 0, 1), STRATA_EINVAL);
    for (size_t cut = 0; cut < 100; cut += 3)
        assert_int_equal(strata__compressor_learn(&c, dictionary, cut, 0, 1), STRATA_EINVAL);
    memset(dictionary + 8, 0xff, 60); /* its tables */
    assert_int_equal(strata__compressor_learn(&c, dictionary, size, 0, 1), STRATA_EINVAL);
    assert_int_equal(strata__compressor_dictionary(&c, COMPRESS_ZSTD), 0);
    strata__compressor_deinit(&c);
}

static void dictionaries_without_memory(void **state)
{
    (void)state;
    uint8_t dictionary[DICTIONARY], out[RECORD];
    char raw[RECORD], back[RECORD];
    size_t size = dictionary_train(0, dictionary), raw_size = dictionary_value(raw, 0, 5), packed;
    uint64_t id = strata__compress_dictionary_id(dictionary, size);
    struct fail_alloc mem;
    for (long n = 1;; n++) {
        struct compressor c;
        fail_alloc_init(&mem, n);
        strata__compressor_init(&c, &mem.mem);
        int rc = strata__compressor_learn(&c, dictionary, size, 3, 1);
        if (rc == STRATA_OK)
            rc = strata__compress(&c, COMPRESS_ZSTD, 0, raw, raw_size, out, sizeof out, &packed);
        if (rc == STRATA_OK)
            rc = strata__decompress(&c, COMPRESS_ZSTD, id, out, packed, back, raw_size);
        strata__compressor_deinit(&c);
        assert_int_equal(atomic_load(&mem.live), 0);
        if (!atomic_load(&mem.failed)) {
            assert_int_equal(rc, STRATA_OK);
            assert_true(n > 4);
            return;
        }
        assert_int_equal(rc, STRATA_ENOMEM);
    }
}

static void training_needs_samples(void **state)
{
    (void)state;
    static char samples[8000];
    static size_t sizes[1000];
    uint8_t out[DICTIONARY];
    size_t made = 77;
    strata_error err = STRATA_ERROR_INIT;
    for (size_t i = 0; i < 1000; i++)
        sizes[i] = 8;
    assert_int_equal(strata__compress_train(samples, sizes, 7, out, sizeof out, &made, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "at least 8"));
    assert_int_equal(strata__compress_train(samples, sizes, 100, out, 10, &made, &err), STRATA_EINVAL);
    assert_int_equal(made, 77);
}

static void names(void **state)
{
    (void)state;
    static const char *const called[] = { "zstd", "lz4", "gzip", "brotli" };
    static const uint32_t most[] = { 22, 22, 9, 11 };
    strata_error err = STRATA_ERROR_INIT;
    struct compressor c;
    size_t packed;
    uint8_t bytes[8] = { 0 };
    strata__compressor_init(&c, NULL);
    assert_string_equal(strata__compress_name(COMPRESS_NONE), "none");
    assert_int_equal(strata__compress_check(COMPRESS_NONE, 99, &err), STRATA_OK);
    for (size_t a = 0; a < ALGORITHMS; a++) {
        assert_string_equal(strata__compress_name(each[a]), called[a]);
        assert_int_equal(strata__compress_check(each[a], 0, &err), STRATA_OK);
        assert_int_equal(strata__compress_check(each[a], most[a], &err), STRATA_OK);
        assert_int_equal(strata__compress_check(each[a], most[a] + 1, &err), STRATA_EINVAL);
        assert_string_equal(err.where, "compression_level");
        assert_non_null(strstr(err.message, called[a]));
        assert_non_null(strstr(strata_features(), called[a]));
    }
    enum { NOBODY = COMPRESS_BROTLI + 1 };
    assert_null(strata__compress_name(NOBODY));
    assert_int_equal(strata__compress_check(NOBODY, 0, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "gzip or brotli"));
    assert_int_equal(strata__compress(&c, NOBODY, 0, bytes, 8, bytes, 8, &packed), STRATA_EUNSUPPORTED);
    assert_int_equal(strata__decompress(&c, NOBODY, 0, bytes, 8, bytes, 8), STRATA_EUNSUPPORTED);
    assert_int_equal(strata__decompress_check(&c, NOBODY, 0, bytes, 8, 8, 8), STRATA_EUNSUPPORTED);
    strata__compressor_deinit(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_comes_back),
        cmocka_unit_test(not_worth_it),
        cmocka_unit_test(levels_beyond),
        cmocka_unit_test(documented_vectors),
        cmocka_unit_test(documented_dictionary),
        cmocka_unit_test(sizes_that_lie),
        cmocka_unit_test(damage),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(contexts_are_kept),
        cmocka_unit_test(many_threads),
        cmocka_unit_test(gunzip_reads_it),
        cmocka_unit_test(names),
        cmocka_unit_test(dictionaries),
        cmocka_unit_test(a_changed_dictionary),
        cmocka_unit_test(what_is_no_dictionary),
        cmocka_unit_test(dictionaries_without_memory),
        cmocka_unit_test(training_needs_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
