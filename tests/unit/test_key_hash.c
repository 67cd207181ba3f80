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

/* One word is chosen so that a factor without seed would be zero, and one other varies: it must still count. */
static size_t collisions_of(size_t chosen_word, uint64_t chosen, size_t free_word)
{
    static uint64_t hashes[KEYS];
    unsigned char key[32];
    memset(key, 7, sizeof key);
    memcpy(key + 8 * chosen_word, &chosen, 8);
    for (uint64_t i = 0; i < KEYS; i++) {
        memcpy(key + 8 * free_word, &i, 8);
        hashes[i] = strata__key_hash(0x1234567890abcdefu, 0, strata_bytes(key, sizeof key));
    }
    return collisions(hashes, KEYS);
}

static void test_chosen_words_do_not_blind(void **state)
{
    (void)state;
    static const uint64_t constants[] = { 0xa0761d6478bd642fu, 0xe7037ed1a0b428dbu, 0x8ebc6af09c88c6e3u,
                                          0x589965cc75374cc3u };
    for (size_t chosen = 0; chosen < 4; chosen++)
        for (size_t other = 0; other < 4; other++)
            for (size_t c = 0; c < 4 && other != chosen; c++) {
                assert_int_equal(collisions_of(chosen, constants[c], other), 0);
                assert_int_equal(collisions_of(chosen, constants[c] ^ 32, other), 0);
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
