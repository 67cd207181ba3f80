/* test_sha1.c - the examples of FIPS 180-4, and every length around a block. */
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/base/sha1.h"

static void is(const char *text, size_t size, const char *expected)
{
    char hex[41];
    strata__sha1_hex(text, size, hex);
    assert_string_equal(hex, expected);
}

static void test_examples(void **state)
{
    (void)state;
    static const char long_one[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    static char many[1000000];
    is("", 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    is("abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d");
    is(long_one, strlen(long_one), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    memset(many, 'a', sizeof many);
    is(many, sizeof many, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    is(many, 55, "c1c8bbdc22796e28c0e15163d20899b65621d65a");
    is(many, 64, "0098ba824b5c16427bd7a1122a5a442a25ec644d");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_examples) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
