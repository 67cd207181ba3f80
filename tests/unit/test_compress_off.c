/* test_compress_off.c - a build without any compression: nothing happens, and the words say how to get them.  It is linked to the
 * empty tables instead of the library's. */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "src/format/compress.h"

static void says_what_is_missing(void **state)
{
    (void)state;
    static const struct {
        uint32_t alg;
        const char *option;
    } missing[] = { { COMPRESS_ZSTD, "-DSTRATA_WITH_ZSTD=ON" },
                    { COMPRESS_LZ4, "-DSTRATA_WITH_LZ4=ON" },
                    { COMPRESS_GZIP, "-DSTRATA_WITH_ZLIB=ON" },
                    { COMPRESS_BROTLI, "-DSTRATA_WITH_BROTLI=ON" } };
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++) {
        strata_error err = STRATA_ERROR_INIT;
        assert_int_equal(strata__compress_check(missing[i].alg, 0, &err), STRATA_EUNSUPPORTED);
        assert_int_equal(err.status, STRATA_EUNSUPPORTED);
        assert_non_null(strstr(err.message, missing[i].option));
    }
    assert_int_equal(strata__compress_check(COMPRESS_NONE, 0, NULL), STRATA_OK);
}

static void does_nothing(void **state)
{
    (void)state;
    struct compressor c;
    uint8_t bytes[8] = { 0 };
    size_t packed;
    strata__compressor_init(&c, NULL);
    assert_int_equal(strata__compress_bound(COMPRESS_LZ4, 100), 0);
    assert_int_equal(strata__compress(&c, COMPRESS_LZ4, 0, bytes, 8, bytes, 8, &packed), STRATA_EUNSUPPORTED);
    assert_int_equal(strata__decompress_check(&c, COMPRESS_ZSTD, 0, bytes, 8, 8, 8), STRATA_EUNSUPPORTED);
    assert_int_equal(strata__decompress(&c, COMPRESS_ZSTD, 0, bytes, 8, bytes, 8), STRATA_EUNSUPPORTED);
    const unsigned char dictionary[16] = { 0x37, 0xa4, 0x30, 0xec, 1 };
    assert_int_equal(strata__compressor_learn(&c, dictionary, sizeof dictionary, 0, 1), STRATA_EUNSUPPORTED);
    const size_t sizes[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(strata__compress_train(bytes, sizes, 8, bytes, 8, &packed, &err), STRATA_EUNSUPPORTED);
    assert_non_null(strstr(err.message, "-DSTRATA_WITH_ZSTD=ON"));
    strata__compressor_deinit(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(says_what_is_missing), cmocka_unit_test(does_nothing) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
