/* test_pattern.c - patterns against the plain recursive reading of them, and ones that would take such a reading for ever. */
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/base/hash.h"
#include "src/policy/pattern.h"

static int naive(const char *p, const char *k)
{
    if (*p == 0)
        return *k == 0;
    if (*p == '*')
        return naive(p + 1, k) || (*k != 0 && naive(p, k + 1));
    if (*k == 0)
        return 0;
    if (*p == '\\' && p[1] != 0)
        return p[1] == *k && naive(p + 2, k + 1);
    return (*p == '?' || *p == *k) && naive(p + 1, k + 1);
}

static void test_random(void **state)
{
    (void)state;
    static const char pattern_bytes[] = "aab*?\\", key_bytes[] = "ab*?";
    uint64_t seed = 5, n = 0;
    for (int i = 0; i < 200000; i++) {
        char pattern[8] = "", key[8] = "";
        n = strata__mix64(seed += 0x9e3779b97f4a7c15u);
        for (size_t at = 0, size = n % 8; at < size; at++)
            pattern[at] = pattern_bytes[(n >> (8 + at * 6)) % 6];
        n = strata__mix64(seed += 0x9e3779b97f4a7c15u);
        for (size_t at = 0, size = n % 8; at < size; at++)
            key[at] = key_bytes[(n >> (8 + at * 6)) % 4];
        if (!strata__pattern_valid(strata_str(pattern)))
            continue;
        if (strata__pattern_matches(strata_str(pattern), strata_str(key)) != naive(pattern, key))
            fail_msg("\"%s\" and \"%s\"", pattern, key);
    }
}

static void test_stars(void **state)
{
    (void)state;
    char pattern[2002], key[1025];
    memset(key, 'a', 1024);
    key[1024] = 0;
    for (int i = 0; i < 1000; i++)
        memcpy(pattern + 2 * i, "*a", 2);
    memcpy(pattern + 2000, "b", 2);
    assert_int_equal(strata__pattern_matches(strata_str(pattern), strata_str(key)), 0);
    pattern[2000] = 0;
    assert_int_equal(strata__pattern_matches(strata_str(pattern), strata_str(key)), 1);
    memset(pattern, '*', 1000);
    pattern[1000] = 0;
    assert_int_equal(strata__pattern_matches(strata_str(pattern), strata_str(key)), 1);
    assert_int_equal(strata__pattern_matches(strata_str(pattern), strata_bytes("", 0)), 1);
}

static void test_prefix(void **state)
{
    (void)state;
    char out[16];
    assert_int_equal(strata__pattern_prefix(strata_str("us\\*er:?1"), out), 6);
    assert_memory_equal(out, "us*er:", 6);
    assert_int_equal(strata__pattern_prefix(strata_str("*"), out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_stars),
        cmocka_unit_test(test_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
