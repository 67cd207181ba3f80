/* test_sha256.c - the examples of FIPS 180-4 and of RFC 4231, any cut of the bytes, and the comparison of secrets. */
#include <stdio.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/base/sha256.h"

static void is(const uint8_t bytes[SHA256_BYTES], const char *expected)
{
    char hex[2 * SHA256_BYTES + 1];
    for (size_t i = 0; i < SHA256_BYTES; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    assert_string_equal(hex, expected);
}

static void sum_is(const char *text, size_t size, const char *expected)
{
    struct sha256 sum;
    uint8_t out[SHA256_BYTES];
    strata__sha256_start(&sum);
    strata__sha256_add(&sum, text, size);
    strata__sha256_end(&sum, out);
    is(out, expected);
}

static void test_examples(void **state)
{
    (void)state;
    static const char long_one[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    static char many[1000000];
    sum_is("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sum_is("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sum_is(long_one, strlen(long_one), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    memset(many, 'a', sizeof many);
    sum_is(many, sizeof many, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void test_any_cut(void **state)
{
    (void)state;
    uint8_t text[200], whole[SHA256_BYTES], pieces[SHA256_BYTES];
    struct sha256 sum;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i * 7);
    for (size_t size = 0; size <= sizeof text; size++) {
        strata__sha256_start(&sum);
        strata__sha256_add(&sum, text, size);
        strata__sha256_end(&sum, whole);
        strata__sha256_start(&sum);
        for (size_t at = 0, step = 1; at < size; at += step, step = step % 67 + 1) {
            step = step < size - at ? step : size - at;
            strata__sha256_add(&sum, text + at, step);
        }
        strata__sha256_end(&sum, pieces);
        assert_memory_equal(whole, pieces, SHA256_BYTES);
    }
}

static void hmac_is(const void *key, size_t key_size, const void *data, size_t size, const char *expected)
{
    uint8_t out[SHA256_BYTES];
    strata__hmac_sha256(key, key_size, data, size, out);
    is(out, expected);
}

static void test_hmac(void **state)
{
    (void)state;
    static const char what[] = "what do ya want for nothing?",
                      large[] = "Test Using Larger Than Block-Size Key - Hash Key First";
    static const char both[] = "This is a test using a larger than block-size key and a larger than block-size data. "
                               "The key needs to be hashed before being used by the HMAC algorithm.";
    uint8_t key[131], data[50];
    memset(key, 0x0b, sizeof key);
    hmac_is(key, 20, "Hi There", 8, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac_is("Jefe", 4, what, strlen(what), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    memset(data, 0xdd, sizeof data);
    hmac_is(key, 20, data, 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    hmac_is(key, 131, large, strlen(large), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    hmac_is(key, 131, both, strlen(both), "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
    hmac_is("", 0, "", 0, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void test_same_secret(void **state)
{
    (void)state;
    assert_true(strata__same_secret("abc", "abc", 3));
    assert_true(strata__same_secret("abc", "abd", 2));
    assert_false(strata__same_secret("abc", "abd", 3));
    assert_false(strata__same_secret("abc", "bbc", 3));
    assert_true(strata__same_secret("", "x", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_examples), cmocka_unit_test(test_any_cut),
                                        cmocka_unit_test(test_hmac), cmocka_unit_test(test_same_secret) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
