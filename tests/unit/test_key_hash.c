/* test_key_hash.c - the hash of keys: spread, and no keys that collide whatever the seed. */
#include <stdlib.h>
#include <string.h>

#include "src/layer/key_hash.h"
#include "tests/support/cmocka_all.h"

enum { KEYS = 2000 };

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static size_t collisions(uint64_t *hashes, size_t n)
{
    size_t same = 0;
    qsort(hashes, n, sizeof *hashes, by_value);
    for (size_t i = 1; i < n; i++)
        same += hashes[i] == hashes[i - 1];
    return same;
}

/* A word of the key chosen so that a factor without seed would be zero: then the other factor's word would not count. */
static void test_chosen_words_do_not_blind(void **state)
{
    (void)state;
    static const uint64_t constants[] = { 0xa0761d6478bd642fu, 0xe7037ed1a0b428dbu, 0x8ebc6af09c88c6e3u,
                                          0x589965cc75374cc3u };
    static uint64_t hashes[KEYS];
    for (size_t word = 0; word < 4; word++)
        for (size_t c = 0; c < 4; c++)
            for (int with_size = 0; with_size < 2; with_size++) {
                unsigned char key[32];
                uint64_t chosen = constants[c] ^ (with_size ? sizeof key : 0);
                for (uint64_t i = 0; i < KEYS; i++) {
                    for (size_t w = 0; w < 4; w++)
                        memcpy(key + 8 * w, w == word ? &chosen : &i, 8);
                    hashes[i] = strata__key_hash(0x1234567890abcdefu, 0, strata_bytes(key, sizeof key));
                }
                assert_int_equal(collisions(hashes, KEYS), 0);
            }
}

static void test_every_byte_counts(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 80; size++) {
        unsigned char key[80] = { 0 };
        uint64_t plain = strata__key_hash(42, 0, strata_bytes(key, size));
        for (size_t i = 0; i < size; i++) {
            key[i] = 1;
            assert_true(strata__key_hash(42, 0, strata_bytes(key, size)) != plain);
            key[i] = 0;
        }
        assert_true(strata__key_hash(43, 0, strata_bytes(key, size)) != plain);
        assert_true(strata__key_hash(42, 1, strata_bytes(key, size)) != plain);
        if (size < 80)
            assert_true(strata__key_hash(42, 0, strata_bytes(key, size + 1)) != plain);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chosen_words_do_not_blind),
        cmocka_unit_test(test_every_byte_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
