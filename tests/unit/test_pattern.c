/* test_pattern.c - patterns against the plain recursive reading of them, long ones against a table of all that fits, and ones that would
 * take such a reading for ever, in counted steps. */
#include <stdio.h>
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

/* Which beginnings of the key fit which of the pattern: as plain as it is slow. */
enum { LONG = 700 };

static int fits_by_table(const char *p, size_t size, const char *k, size_t keys)
{
    static unsigned char row[LONG + 1];
    memset(row, 0, sizeof row);
    row[0] = 1;
    for (size_t at = 0; at < size; at++) {
        int star = p[at] == '*', any = p[at] == '?';
        at += p[at] == '\\';
        if (star) {
            for (size_t i = 1; i <= keys; i++)
                row[i] |= row[i - 1];
            continue;
        }
        for (size_t i = keys; i > 0; i--)
            row[i] = row[i - 1] && (any || k[i - 1] == p[at]);
        row[0] = 0;
    }
    return row[keys];
}

static uint64_t next(uint64_t *seed) { return strata__mix64(*seed += 0x9e3779b97f4a7c15u); }

/* A segment of the key, some bytes of it `?` or escaped, and now and then a wrong one. */
static size_t draw_segment(uint64_t *seed, char *out, const char *key, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < size; i++) {
        uint64_t how = next(seed) % 300;
        if (how < 60) {
            out[n++] = '?';
            continue;
        }
        if (how < 100)
            out[n++] = '\\';
        out[n++] = how == 299 ? 'c' : key[i];
    }
    return n;
}

static void test_long(void **state)
{
    (void)state;
    uint64_t seed = 77;
    int matched = 0, rounds = 2000;
    for (int round = 0; round < rounds; round++) {
        static char key[LONG], pattern[4 * LONG];
        size_t keys = next(&seed) % LONG, n = 0, at = 0;
        uint64_t letters = round % 3 == 0 ? 1 : 2, parts = next(&seed) % 6;
        for (size_t i = 0; i < keys; i++)
            key[i] = (char)('a' + next(&seed) % letters);
        for (uint64_t part = 0; part <= parts; part++) {
            size_t left = keys - at, size = left != 0 ? next(&seed) % (left + 1) : 0;
            if (part == parts && next(&seed) % 2 == 0)
                size = left;
            size = part % 2 == 0 && size > 140 ? 140 - size % 80 : size;
            n += draw_segment(&seed, pattern + n, key + at, size);
            at += size;
            at += at < keys ? next(&seed) % (keys - at) / 2 : 0;
            for (uint64_t star = part == parts ? next(&seed) % 2 : 1; star > 0; star--)
                pattern[n++] = '*';
        }
        uint64_t steps;
        int is = strata__pattern_counted(strata_bytes(pattern, n), strata_bytes(key, keys), &steps);
        if (is != fits_by_table(pattern, n, key, keys))
            fail_msg("%d: \"%.*s\" and \"%.*s\"", is, (int)n, pattern, (int)keys, key);
        assert_true(steps <= 64 + 24 * n + keys * (n / 64 + 2));
        matched += is;
    }
    assert_in_range(matched, rounds / 20, rounds - rounds / 20);
}

/* 1,000 stars and whatever stands between them: so many looks a byte, whatever the key is. */
static void test_stars(void **state)
{
    (void)state;
    static const char *const between[] = { "", "a", "?", "aa", "a?a", "\\a", "aab", "?b" };
    static char pattern[16384], key[16384];
    uint64_t steps;
    for (size_t b = 0; b < sizeof between / sizeof between[0]; b++)
        for (size_t keys = 0; keys <= 16384; keys = keys * 4 + 1) {
            size_t n = 0;
            memset(key, 'a', sizeof key);
            for (int i = 0; i < 1000; i++)
                n += (size_t)snprintf(pattern + n, sizeof pattern - n, "*%s", between[b]);
            (void)strata__pattern_counted(strata_bytes(pattern, n), strata_bytes(key, keys), &steps);
            assert_true(steps <= 4 * n + keys + 64);
            pattern[n++] = 'x';
            assert_int_equal(strata__pattern_counted(strata_bytes(pattern, n), strata_bytes(key, keys), &steps), 0);
            assert_true(steps <= 4 * n + keys + 64);
            pattern[n - 1] = '*';
            memcpy(pattern + n, "x*", 2); /* not at the end: it is looked for */
            assert_int_equal(strata__pattern_counted(strata_bytes(pattern, n + 2), strata_bytes(key, keys), &steps), 0);
            assert_true(steps <= 4 * n + keys + 64);
        }
    memset(pattern, '*', 1000);
    assert_int_equal(strata__pattern_matches(strata_bytes(pattern, 1000), strata_bytes("", 0)), 1);
    assert_int_equal(strata__pattern_matches(strata_bytes(pattern, 1000), strata_bytes(key, 1000)), 1);
}

/* What has more than 64 tokens between two stars costs so many pieces a byte: never pattern times key. */
static void test_long_segments(void **state)
{
    (void)state;
    static char pattern[16384], key[16384];
    uint64_t steps;
    memset(key, 'a', sizeof key);
    for (size_t m = 60; m <= 8000; m = m * 3 / 2) {
        pattern[0] = '*';
        for (size_t i = 1; i < m; i++)
            pattern[i] = i % 2 ? 'a' : '?';
        pattern[m] = 'b';
        pattern[m + 1] = '*';
        int is = strata__pattern_counted(strata_bytes(pattern, m + 2), strata_bytes(key, sizeof key), &steps);
        assert_int_equal(is, 0);
        assert_true(steps <= 24 * (m + 2) + sizeof key * (m / 64 + 2));
        key[sizeof key - 1] = 'b';
        assert_int_equal(strata__pattern_matches(strata_bytes(pattern, m + 2), strata_bytes(key, sizeof key)), 1);
        key[sizeof key - 1] = 'a';
    }
    /* One after the other, each found a byte later than where the last ended. */
    size_t n = 0;
    for (int i = 0; i < 50; i++) {
        pattern[n++] = '*';
        memset(pattern + n, 'a', 65);
        n += 65;
    }
    assert_int_equal(strata__pattern_counted(strata_bytes(pattern, n), strata_bytes(key, 50 * 65), &steps), 1);
    assert_true(steps <= 64 * n);
    assert_int_equal(strata__pattern_counted(strata_bytes(pattern, n), strata_bytes(key, 50 * 65 - 1), &steps), 0);
    assert_true(steps <= 64 * n);
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
        cmocka_unit_test(test_random),        cmocka_unit_test(test_long),   cmocka_unit_test(test_stars),
        cmocka_unit_test(test_long_segments), cmocka_unit_test(test_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
