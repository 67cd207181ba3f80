/* test_hash.c - the hash is XXH3 for every size, cut and place in memory, with whatever instructions it is computed. */
#include "tests/support/cmocka_all.h"

#define XXH_INLINE_ALL
#define XXH_VECTOR 0 /* no vectors at all */
#include <xxhash.h>

#include "src/base/hash.h"

enum { MOST = 20000 };

static const uint64_t seeds[] = { 0, 1, UINT64_C(0x9e3779b97f4a7c15), UINT64_MAX };

static unsigned char *bytes;

static int setup(void **state)
{
    (void)state;
    bytes = test_malloc(MOST + 64);
    for (size_t i = 0; i < MOST + 64; i++)
        bytes[i] = (unsigned char)strata__mix64(i);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_free(bytes);
    return 0;
}

static void same_as_plain_xxh3(const unsigned char *at, size_t size, uint64_t seed)
{
    assert_int_equal(strata__hash(at, size, seed), XXH3_64bits_withSeed(at, size, seed));
}

static void every_short_size(void **state)
{
    (void)state;
    for (size_t size = 0; size <= 2500; size++)
        for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++)
            same_as_plain_xxh3(bytes, size, seeds[i]);
}

static void long_sizes_at_any_address(void **state)
{
    (void)state;
    for (size_t size = 2500; size <= MOST; size += size / 7)
        for (size_t shift = 0; shift < 64; shift++)
            same_as_plain_xxh3(bytes + shift, size, seeds[shift % (sizeof seeds / sizeof seeds[0])]);
}

static void pieces_give_the_sum_of_the_whole(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 3000; piece += piece / 3 + 1) {
        struct hash_stream stream;
        strata__hash_start(&stream, seeds[2]);
        for (size_t at = 0; at < MOST; at += piece)
            strata__hash_add(&stream, bytes + at, piece < MOST - at ? piece : MOST - at);
        strata__hash_add(&stream, NULL, 0);
        assert_int_equal(strata__hash_sum(&stream), strata__hash(bytes, MOST, seeds[2]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_short_size),
        cmocka_unit_test(long_sizes_at_any_address),
        cmocka_unit_test(pieces_give_the_sum_of_the_whole),
    };
    return cmocka_run_group_tests_name("hash", tests, setup, teardown);
}
