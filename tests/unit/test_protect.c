/* test_protect.c - src/layer/protect.c: what is sealed is opened by who has the key, and by nobody else, nor under another key. */
#include "src/layer/protect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/link/cipher.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/doc_vector.h"
#include "tests/support/temp_dir.h"

static const uint8_t one[32] = { 1, 2, 3, 4, 5, 6, 7, 8 }, two[32] = { 9, 9, 9 };
static const uint8_t salt[PROTECT_SALT] = { 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
                                            0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f };

/* With libcrypto both; without it the one that needs none. */
static uint32_t first_alg(void) { return strata__cipher_is_there() ? PROTECT_AES_GCM : PROTECT_HMAC; }

/* Header and sealed payload, as a layer stores them; how many bytes. */
static size_t make(const struct protector *p, uint32_t flags, const char *key, const char *payload, uint8_t *out)
{
    struct envelope e = { .flags = flags, .fresh_ms = 60000 };
    strata__protect_describe(p, &e);
    size_t header = strata__envelope_size(&e), size = strlen(payload);
    assert_int_equal(strata__protect_seal_with(p, &e, strata_str("app:"), strata_str(key), strata_str(payload),
                                               out + header, NULL, salt),
                     1);
    e.payload = strata_bytes(out + header, size + PROTECT_MORE);
    strata__envelope_write(&e, out);
    return header + size + PROTECT_MORE;
}

/* What opens: the payload's text, or NULL; words in *err. */
static const char *open_as(const struct protector *p, const uint8_t *bytes, size_t size, const char *prefix,
                           const char *key, strata_error *err)
{
    static char text[64];
    struct envelope e;
    strata_value *value;
    strata_op op = { .key = strata_str(key), .err = err };
    *err = (strata_error)STRATA_ERROR_INIT;
    if (strata__envelope_read(&e, bytes, size) != FORMAT_OK)
        return NULL;
    int rc = strata__protect_open(p, &e, strata_bytes(bytes, size), strata_str(prefix), &op, "test", &value);
    assert_true(rc == STRATA_OK || (rc == STRATA_MISS && err->status < 0 && value == NULL));
    if (rc != STRATA_OK)
        return NULL;
    snprintf(text, sizeof text, "%.*s", (int)e.payload.size, (const char *)e.payload.data);
    strata_value_unref(value);
    return text;
}

static void the_vectors_of_the_document(void **state)
{
    (void)state;
    static const char signs[] = "ca 01 08 12 81808002 78 02 f99d6fb054fed797 76616c7565"
                                "fa6a7db314ef2ea374d3d2a7862e91471a2d2c080d45542482ed3f2727e8463f";
    static const char encrypts[] = "ca 01 08 12 81808002 78 01 f99d6fb054fed797 101112131415161718191a1b1c1d1e1f"
                                   "3afd636433c4cba825bda04c9311f566c69ad24b40";
    struct protector p;
    uint8_t bytes[256];
    strata__protect_keys(&p, PROTECT_HMAC, one, NULL);
    doc_vector_check(signs, bytes, make(&p, 0, "key", "value", bytes));
    if (!strata__cipher_is_there())
        return;
    strata__protect_keys(&p, PROTECT_AES_GCM, one, NULL);
    doc_vector_check(encrypts, bytes, make(&p, 0, "key", "value", bytes));
}

static void no_bit_may_be_another(void **state)
{
    (void)state;
    struct protector p;
    uint8_t bytes[256];
    strata_error err;
    for (uint32_t alg = first_alg(); alg <= PROTECT_HMAC; alg++) {
        strata__protect_keys(&p, alg, one, NULL);
        size_t size = make(&p, 0, "key", "value", bytes);
        assert_string_equal(open_as(&p, bytes, size, "app:", "key", &err), "value");
        for (size_t i = 0; i < size * 8; i++) {
            bytes[i / 8] ^= (uint8_t)(1u << i % 8);
            assert_null(open_as(&p, bytes, size, "app:", "key", &err));
            bytes[i / 8] ^= (uint8_t)(1u << i % 8);
        }
        for (size_t cut = 0; cut < size; cut++)
            assert_null(open_as(&p, bytes, cut, "app:", "key", &err));
    }
}

static void it_belongs_to_its_key(void **state)
{
    (void)state;
    struct protector p;
    uint8_t bytes[256];
    strata_error err;
    for (uint32_t alg = first_alg(); alg <= PROTECT_HMAC; alg++) {
        strata__protect_keys(&p, alg, one, NULL);
        size_t size = make(&p, 0, "key", "value", bytes);
        assert_null(open_as(&p, bytes, size, "app:", "other", &err));
        assert_non_null(strstr(err.message, "another one than was sealed"));
        assert_null(open_as(&p, bytes, size, "app", "key", &err));
        assert_string_equal(open_as(&p, bytes, size, "ap", "p:key", &err),
                            "value"); /* one full key, however it is cut */
    }
}

/* What a script in the store writes is no part of it; a checksum is of what is stored. */
static void the_stamp_is_the_stores(void **state)
{
    (void)state;
    struct protector p;
    uint8_t bytes[256];
    struct envelope e;
    strata_error err;
    for (uint32_t alg = first_alg(); alg <= PROTECT_HMAC; alg++) {
        strata__protect_keys(&p, alg, one, NULL);
        size_t size = make(&p, ENVELOPE_STAMPED | ENVELOPE_CHECKSUM, "key", "value", bytes);
        assert_int_equal(strata__envelope_read(&e, bytes, size), FORMAT_OK);
        size_t at = strata__envelope_stamp_at(&e);
        bytes[at + ENVELOPE_STAMP_VERSION] = 77; /* of the life */
        assert_string_equal(open_as(&p, bytes, size, "app:", "key", &err), "value");
    }
}

static void absent_is_sealed_too(void **state)
{
    (void)state;
    struct protector p;
    uint8_t bytes[256];
    strata_error err;
    for (uint32_t alg = first_alg(); alg <= PROTECT_HMAC; alg++) {
        strata__protect_keys(&p, alg, one, NULL);
        size_t size = make(&p, ENVELOPE_NEGATIVE, "key", "", bytes);
        assert_string_equal(open_as(&p, bytes, size, "app:", "key", &err), "");
        bytes[2] &= (uint8_t)~ENVELOPE_NEGATIVE;
        assert_null(open_as(&p, bytes, size, "app:", "key", &err));
    }
}

static void keys_are_changed(void **state)
{
    (void)state;
    struct protector before, after, done, none = { .alg = PROTECT_NONE };
    uint8_t bytes[256], plain[64];
    strata_error err;
    for (uint32_t alg = first_alg(); alg <= PROTECT_HMAC; alg++) {
        strata__protect_keys(&before, alg, one, NULL);
        strata__protect_keys(&after, alg, two, one);
        strata__protect_keys(&done, alg, two, NULL);
        size_t size = make(&before, 0, "key", "value", bytes);
        assert_string_equal(open_as(&after, bytes, size, "app:", "key", &err), "value");
        assert_null(open_as(&done, bytes, size, "app:", "key", &err));
        assert_non_null(strstr(err.message, "old_key_file"));
        assert_null(open_as(&none, bytes, size, "app:", "key", &err));
        assert_non_null(strstr(err.message, "key_file"));
        size = make(&after, 0, "key", "value", bytes);
        assert_string_equal(open_as(&done, bytes, size, "app:", "key", &err), "value");
        assert_null(open_as(&before, bytes, size, "app:", "key", &err));
        const struct envelope e = { .fresh_ms = 60000 };
        size = strata__envelope_write(&e, plain);
        assert_null(open_as(&done, plain, size, "app:", "key", &err));
        assert_non_null(strstr(err.message, "not sealed"));
        assert_string_equal(open_as(&none, plain, size, "app:", "key", &err), "");
    }
}

static void the_other_way_is_not_opened(void **state)
{
    (void)state;
    struct protector signs, encrypts;
    uint8_t bytes[256];
    strata_error err;
    strata__protect_keys(&signs, PROTECT_HMAC, one, NULL);
    strata__protect_keys(&encrypts, PROTECT_AES_GCM, one, NULL);
    size_t size = make(&signs, 0, "key", "value", bytes);
    assert_null(open_as(&encrypts, bytes, size, "app:", "key", &err));
    assert_non_null(strstr(err.message, "another way"));
}

static void two_seals_differ(void **state)
{
    (void)state;
    struct protector p;
    uint8_t a[64], b[64];
    struct envelope e = { .fresh_ms = 60000 };
    if (!strata__cipher_is_there())
        return;
    strata__protect_keys(&p, PROTECT_AES_GCM, one, NULL);
    strata__protect_describe(&p, &e);
    assert_int_equal(strata__protect_seal(&p, &e, strata_str(""), strata_str("k"), strata_str("v"), a, NULL), 1);
    assert_int_equal(strata__protect_seal(&p, &e, strata_str(""), strata_str("k"), strata_str("v"), b, NULL), 1);
    assert_memory_not_equal(a, b, PROTECT_SALT);
    assert_memory_not_equal(a + PROTECT_SALT, b + PROTECT_SALT, 17);
}

static int start_with(const char *path, const void *bytes, size_t size, strata_error *err)
{
    struct protector p;
    struct protect_options o = { .protection = STRATA_PROTECT_HMAC, .key_file = path };
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
    assert_int_equal(chmod(path, 0600), 0);
    return strata__protect_start(&p, &o, "test", err);
}

static void key_files(void **state)
{
    (void)state;
    static const char hex[] = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F\r\n";
    char dir[256], path[512];
    strata_error err;
    struct protector p;
    temp_dir_make(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/key", dir);
    assert_int_equal(start_with(path, one, 32, &err), STRATA_OK);
    assert_int_equal(start_with(path, hex, 64, &err), STRATA_OK);
    assert_int_equal(start_with(path, hex, 66, &err), STRATA_OK);
    for (size_t size = 0; size < 64; size++)
        assert_int_equal(start_with(path, hex, size, &err), size == 32 ? STRATA_OK : STRATA_EINVAL);
    assert_int_equal(start_with(path, "this is no key, though it is as long as one has to be, 64 bytes.", 64, &err),
                     STRATA_EINVAL);
    assert_null(strstr(err.message, "this is no key"));
    assert_int_equal(start_with(path, one, 32, &err), STRATA_OK);
    assert_int_equal(chmod(path, 0620), 0);
    struct protect_options o = { .protection = STRATA_PROTECT_HMAC, .key_file = path };
    assert_int_equal(strata__protect_start(&p, &o, "test", &err), STRATA_EINVAL);
    o.key_file = "/no/such/key";
    assert_int_equal(strata__protect_start(&p, &o, "test", &err), STRATA_EIO);
    o.key_file = dir;
    assert_int_equal(strata__protect_start(&p, &o, "test", &err), STRATA_EINVAL);
    temp_dir_remove(dir);
}

static void options_go_together(void **state)
{
    (void)state;
    struct protect_options o = { .protection = STRATA_PROTECT_HMAC };
    strata_error err;
    assert_int_equal(strata__protect_check(&o, &err), STRATA_EINVAL);
    o.key_file = "k";
    assert_int_equal(strata__protect_check(&o, &err), STRATA_OK);
    o.protection = STRATA_PROTECT_AES_GCM;
    assert_int_equal(strata__protect_check(&o, &err), strata__cipher_is_there() ? STRATA_OK : STRATA_EUNSUPPORTED);
    o.protection = 0;
    assert_int_equal(strata__protect_check(&o, &err), STRATA_EINVAL);
    o.key_file = NULL;
    assert_int_equal(strata__protect_check(&o, &err), STRATA_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_the_document),
        cmocka_unit_test(no_bit_may_be_another),
        cmocka_unit_test(it_belongs_to_its_key),
        cmocka_unit_test(the_stamp_is_the_stores),
        cmocka_unit_test(absent_is_sealed_too),
        cmocka_unit_test(keys_are_changed),
        cmocka_unit_test(the_other_way_is_not_opened),
        cmocka_unit_test(two_seals_differ),
        cmocka_unit_test(key_files),
        cmocka_unit_test(options_go_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
