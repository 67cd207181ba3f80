/* test_compress.c - zstd and lz4: there and back, what is not worth it, and data that lies about itself. */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/hash.h"
#include "src/format/compress.h"
#include "src/os/os_thread.h"
#include "tests/support/doc_vector.h"
#include "tests/support/fail_alloc.h"

static const uint32_t both[] = { COMPRESS_ZSTD, COMPRESS_LZ4 };

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
    assert_int_equal(strata__decompress_check(alg, out, packed, size, size), STRATA_OK);
    assert_int_equal(strata__decompress(c, alg, out, packed, back, size), STRATA_OK);
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
    for (size_t a = 0; a < 2; a++) {
        for (size_t size = 500; size <= ROOM; size = size * 3 + 1) {
            fill_text(in, size, size);
            there_and_back(&c, both[a], 0, in, size);
        }
        fill_text(in, 20000, 3);
        for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
            there_and_back(&c, both[a], levels[i], in, 20000);
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
    for (size_t a = 0; a < 2; a++) {
        fill_noise(in, ROOM);
        assert_int_equal(strata__compress(&c, both[a], 0, in, ROOM, out, sizeof out, &packed), STRATA_AGAIN);
        assert_int_equal(strata__compress(&c, both[a], 0, in, 0, out, sizeof out, &packed), STRATA_AGAIN);
        assert_int_equal(strata__compress(&c, both[a], 0, in, 1, out, sizeof out, &packed), STRATA_AGAIN);
        /* Four fifths of noise and a fifth of nothing: above 15 %.  A tenth: below. */
        memset(in, 0, ROOM / 10);
        assert_int_equal(strata__compress(&c, both[a], 0, in, ROOM, out, sizeof out, &packed), STRATA_AGAIN);
        assert_int_equal(packed, 77);
        memset(in, 0, ROOM / 5);
        assert_int_equal(strata__compress(&c, both[a], 0, in, ROOM, out, sizeof out, &packed), STRATA_OK);
        assert_true(packed <= ROOM / 100 * 85);
        /* Too little room is as good as not worth it. */
        packed = 77;
        assert_int_equal(strata__compress(&c, both[a], 0, in, ROOM, out, ROOM / 2, &packed), STRATA_AGAIN);
        assert_int_equal(packed, 77);
        assert_int_equal(strata__compress_bound(both[a], SIZE_MAX), 0);
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
    strata__compressor_deinit(&c);
}

static const char text_of_vectors[] =
    "strata strata strata strata strata strata strata strata strata strata strata str";

static void documented_vectors(void **state)
{
    (void)state;
    static const char *const vectors[] = { "28b52ffd20507500003873747261746120010026b41801",
                                           "7f73747261746120070031506120737472" };
    struct compressor c;
    uint8_t bytes[64], out[80];
    strata__compressor_init(&c, NULL);
    for (size_t a = 0; a < 2; a++) {
        size_t size = doc_vector_bytes(vectors[a], bytes, sizeof bytes);
        memset(out, 0, sizeof out);
        assert_int_equal(strata__decompress(&c, both[a], bytes, size, out, sizeof out), STRATA_OK);
        assert_memory_equal(out, text_of_vectors, sizeof out);
    }
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
    for (size_t a = 0; a < 2; a++) {
        assert_int_equal(strata__compress(&c, both[a], 0, in, 5000, out, sizeof out, &packed), STRATA_OK);
        assert_int_equal(strata__decompress_check(both[a], out, packed, 5000, 4999), STRATA_EVALUESIZE);
        assert_int_equal(strata__decompress_check(both[a], out, packed, UINT64_MAX, UINT64_MAX), STRATA_EIO);
        assert_int_equal(strata__decompress_check(both[a], out, packed, 255 * (uint64_t)packed + 255, UINT64_MAX),
                         STRATA_EIO);
        assert_int_equal(strata__decompress(&c, both[a], out, packed, back, 4999), STRATA_EIO);
        assert_int_equal(strata__decompress(&c, both[a], out, packed, back, 5001), STRATA_EIO);
        assert_int_equal(strata__decompress(&c, both[a], out, 0, back, 5000), STRATA_EIO);
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
    for (size_t a = 0; a < 2; a++) {
        uint8_t *back = malloc(SIZE);
        assert_non_null(back);
        assert_int_equal(strata__compress(&c, both[a], 0, in, SIZE, out, sizeof out, &packed), STRATA_OK);
        for (size_t cut = 0; cut < packed; cut++)
            assert_int_equal(strata__decompress(&c, both[a], out, cut, back, SIZE), STRATA_EIO);
        for (size_t bit = 0; bit < packed * 8; bit++) {
            out[bit / 8] ^= (uint8_t)(1 << bit % 8);
            int rc = strata__decompress(&c, both[a], out, packed, back, SIZE);
            assert_true(rc == STRATA_OK || rc == STRATA_EIO);
            out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_int_equal(strata__decompress(&c, both[a], out, packed, back, SIZE), STRATA_OK);
        free(back);
    }
    strata__compressor_deinit(&c);
}

static void out_of_memory(void **state)
{
    (void)state;
    static uint8_t in[ROOM], out[ROOM];
    struct fail_alloc mem;
    struct compressor c;
    size_t packed;
    fill_text(in, ROOM, 1);
    for (long n = 1;; n++) {
        fail_alloc_init(&mem, n);
        strata__compressor_init(&c, &mem.mem);
        int rc = strata__compress(&c, COMPRESS_ZSTD, 0, in, ROOM, out, sizeof out, &packed);
        if (rc == STRATA_OK) {
            static uint8_t back[ROOM];
            rc = strata__decompress(&c, COMPRESS_ZSTD, out, packed, back, ROOM);
        }
        strata__compressor_deinit(&c);
        assert_int_equal(atomic_load(&mem.live), 0);
        if (!atomic_load(&mem.failed)) {
            assert_int_equal(rc, STRATA_OK);
            assert_true(n > 2);
            return;
        }
        assert_int_equal(rc, STRATA_ENOMEM);
    }
}

static void contexts_are_kept(void **state)
{
    (void)state;
    static uint8_t in[ROOM], out[ROOM], back[ROOM];
    struct fail_alloc mem;
    struct compressor c;
    size_t packed = 0;
    long after_first = 0;
    fill_text(in, ROOM, 1);
    fail_alloc_init(&mem, 0);
    strata__compressor_init(&c, &mem.mem);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(strata__compress(&c, COMPRESS_ZSTD, 3, in, ROOM, out, sizeof out, &packed), STRATA_OK);
        assert_int_equal(strata__decompress(&c, COMPRESS_ZSTD, out, packed, back, ROOM), STRATA_OK);
        if (i == 0)
            after_first = atomic_load(&mem.requests);
    }
    assert_int_equal(atomic_load(&mem.requests), after_first);
    strata__compressor_deinit(&c);
    assert_int_equal(atomic_load(&mem.live), 0);
}

static void turn_around(void *ctx)
{
    struct compressor *c = ctx;
    uint8_t in[3000], out[3000], back[3000];
    size_t packed;
    for (uint64_t i = 0; i < 100; i++) {
        fill_text(in, sizeof in, i);
        if (strata__compress(c, COMPRESS_ZSTD, 1, in, sizeof in, out, sizeof out, &packed) != STRATA_OK ||
            strata__decompress(c, COMPRESS_ZSTD, out, packed, back, sizeof back) != STRATA_OK ||
            memcmp(in, back, sizeof in) != 0)
            abort(); /* cmocka's asserts are for its own thread */
    }
}

/* More threads than places. */
static void many_threads(void **state)
{
    (void)state;
    struct os_thread threads[COMPRESSOR_IDLE + 2];
    struct fail_alloc mem;
    struct compressor c;
    fail_alloc_init(&mem, 0);
    strata__compressor_init(&c, &mem.mem);
    for (size_t i = 0; i < COMPRESSOR_IDLE + 2; i++)
        assert_int_equal(strata__os_thread_start(&threads[i], "turn", turn_around, &c), 0);
    for (size_t i = 0; i < COMPRESSOR_IDLE + 2; i++)
        strata__os_thread_join(&threads[i]);
    strata__compressor_deinit(&c);
    assert_int_equal(atomic_load(&mem.live), 0);
}

static void names(void **state)
{
    (void)state;
    strata_error err = STRATA_ERROR_INIT;
    struct compressor c;
    size_t packed;
    uint8_t bytes[8] = { 0 };
    strata__compressor_init(&c, NULL);
    assert_string_equal(strata__compress_name(COMPRESS_NONE), "none");
    assert_string_equal(strata__compress_name(COMPRESS_ZSTD), "zstd");
    assert_string_equal(strata__compress_name(COMPRESS_LZ4), "lz4");
    assert_null(strata__compress_name(COMPRESS_BROTLI));
    assert_int_equal(strata__compress_check(COMPRESS_NONE, &err), STRATA_OK);
    assert_int_equal(strata__compress_check(COMPRESS_ZSTD, &err), STRATA_OK);
    assert_int_equal(strata__compress_check(COMPRESS_LZ4, &err), STRATA_OK);
    assert_int_equal(strata__compress_check(COMPRESS_GZIP, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "zstd or lz4"));
    assert_int_equal(strata__compress(&c, COMPRESS_GZIP, 0, bytes, 8, bytes, 8, &packed), STRATA_EUNSUPPORTED);
    assert_int_equal(strata__decompress(&c, COMPRESS_GZIP, bytes, 8, bytes, 8), STRATA_EUNSUPPORTED);
    assert_int_equal(strata__decompress_check(COMPRESS_GZIP, bytes, 8, 8, 8), STRATA_EUNSUPPORTED);
    strata__compressor_deinit(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_comes_back), cmocka_unit_test(not_worth_it),
        cmocka_unit_test(levels_beyond),   cmocka_unit_test(documented_vectors),
        cmocka_unit_test(sizes_that_lie),  cmocka_unit_test(damage),
        cmocka_unit_test(out_of_memory),   cmocka_unit_test(contexts_are_kept),
        cmocka_unit_test(many_threads),    cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
