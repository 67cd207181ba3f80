/* test_redis_value.c - values as they stand in the server: the vectors of docs/formats.md, packing, and what is not ours. */
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/base/mem.h"
#include "src/format/envelope.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/layer/value_impl.h"
#include "tests/support/doc_vector.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/test_host.h"

/* A layer that was never started, and one operation. */
struct fixture {
    struct redis_layer *r;
    struct test_host host;
    strata_op op;
    strata_error err;
};

static void make(struct fixture *f, int32_t compression, const strata_allocator *mem)
{
    const strata_redis_options options = { .size = sizeof options,
                                           .compression = compression,
                                           .max_value_bytes = 10000 };
    memset(f, 0, sizeof *f);
    f->r = (struct redis_layer *)(void *)strata__redis_make(&options);
    assert_int_equal(f->r->base.failed.status, STRATA_OK);
    f->r->mem = mem;
    strata__compressor_init(&f->r->compressor, mem);
    test_host_start(&f->host, mem);
    f->r->host = &f->host.host;
    f->op.err = &f->err;
    f->op.mem = mem;
}

static int encode(struct fixture *f, int stamped, void **bytes, size_t *size)
{
    struct redis_bytes out = { 0 };
    int rc = strata__redis_value_encode(f->r, &f->op, stamped, &out);
    *bytes = out.data;
    *size = out.size;
    return rc;
}

static int decode(struct fixture *f, const void *bytes, size_t size)
{
    return strata__redis_value_decode(f->r, &f->op, strata_bytes(bytes, size), NULL, 1);
}

static void unmake(struct fixture *f)
{
    strata__compressor_deinit(&f->r->compressor);
    strata_value_unref(f->op.found);
    strata_value_unref(f->op.value);
    f->r->host = NULL;
    strata_layer_free(&f->r->base);
    test_host_stop(&f->host);
}

static strata_meta meta_of_vector(void)
{
    return (strata_meta){ .life = 0x0102030405060708,
                          .born_ms = 1000,
                          .born_wall_ms = 1767225600000,
                          .fresh_ms = 60000,
                          .position = 9,
                          .load_ms = 12 };
}

/* As the script does. */
static void stamp(void *bytes)
{
    enum { AT = 7 }; /* behind head, presence and one duration */
    uint8_t room[64];
    assert_int_equal(doc_vector_bytes("808081b184e99103 0807060504030201 80d0eab6b733", room, sizeof room),
                     ENVELOPE_STAMP);
    memcpy((char *)bytes + AT, room, ENVELOPE_STAMP);
}

static void test_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *text; /* NULL: negative */
        int stamped;
    } vectors[] = {
        { "ca 01 06 21 e101 78 8080808080808000 0000000000000000 808080808000 888e869b 76616c7565", "value", 1 },
        { "ca 01 07 21 e101 78 8080808080808000 0000000000000000 808080808000 c3660304", NULL, 1 },
        { "ca 01 06 21 e101 78 808081b184e99103 0807060504030201 80d0eab6b733 888e869b 76616c7565", "value", 2 },
        { "ca 01 02 11 8102 78 80a0d5edee66 395ea95a 76616c7565", "value", 0 },
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct fixture f;
        void *bytes;
        size_t size;
        make(&f, STRATA_COMPRESS_NONE, NULL);
        f.op.meta = meta_of_vector();
        f.op.meta.negative = vectors[i].text == NULL;
        if (vectors[i].text != NULL)
            f.op.value = strata__value_copy(NULL, vectors[i].text, strlen(vectors[i].text));
        assert_int_equal(encode(&f, vectors[i].stamped, &bytes, &size), STRATA_OK);
        atomic_store(&f.r->life.now, 0x0102030405060708);
        if (vectors[i].stamped == 2)
            stamp(bytes);
        doc_vector_check(vectors[i].hex, bytes, size);
        memset(&f.op.meta, 0xee, sizeof f.op.meta);
        assert_int_equal(decode(&f, bytes, size), STRATA_OK);
        assert_int_equal(f.op.meta.life, 0); /* of the clock of whoever reads it */
        assert_int_equal(f.op.meta.fresh_ms, 60000);
        assert_int_equal(f.op.meta.negative, vectors[i].text == NULL);
        assert_int_equal(strata_value_size(f.op.found), vectors[i].text != NULL ? 5 : 0);
        strata__free(NULL, bytes);
        unmake(&f);
    }
}

/* Every byte counts: a flipped one anywhere, and one that is cut off, make it nobody's. */
/* A life that began behind the look, with entries already, is not taken for one that is over: the next answer names it. */
static void test_a_life_that_began_behind_the_look(void **state)
{
    (void)state;
    static const uint64_t looked_us[] = { 1, UINT64_MAX };
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        void *bytes;
        size_t size;
        make(&f, STRATA_COMPRESS_NONE, NULL);
        f.op.meta = meta_of_vector();
        f.op.value = strata__value_copy(NULL, "value", 5);
        assert_int_equal(encode(&f, 1, &bytes, &size), STRATA_OK);
        stamp(bytes);
        atomic_store(&f.r->life.now, 7);
        assert_int_equal(strata__redis_value_decode(f.r, &f.op, strata_bytes(bytes, size), NULL, 0), STRATA_AGAIN);
        assert_int_equal(strata__redis_value_decode(f.r, &f.op, strata_bytes(bytes, size), NULL, looked_us[i]),
                         STRATA_MISS);
        strata__redis_life_saw(f.r, NULL, 0x0102030405060708);
        assert_int_equal(atomic_load(&f.r->life.now), i == 0 ? 0x0102030405060708 : 7);
        strata__free(NULL, bytes);
        unmake(&f);
    }
}

static void test_what_is_not_whole_is_foreign(void **state)
{
    (void)state;
    struct fixture f;
    void *stored;
    size_t size;
    uint64_t misses = 0;
    make(&f, STRATA_COMPRESS_NONE, NULL);
    f.op.meta = meta_of_vector();
    f.op.value = strata__value_copy(NULL, "value", 5);
    assert_int_equal(encode(&f, 0, &stored, &size), STRATA_OK);
    unsigned char *bytes = stored;
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 0x10;
        assert_int_equal(decode(&f, bytes, size), STRATA_MISS);
        bytes[i] ^= 0x10;
        unsigned char *cut = malloc(i + 1); /* so that a reader that goes too far is seen */
        assert_non_null(cut);
        memcpy(cut, bytes, i);
        assert_int_equal(decode(&f, cut, i), STRATA_MISS);
        free(cut);
        misses += i == 0 ? 1 : 2; /* nothing at all is nobody's */
    }
    assert_null(f.op.found);
    assert_int_equal(decode(&f, "{\"json\": true}", 14), STRATA_MISS);
    /* The disk layer's have no checksum of their own. */
    uint8_t bare[64];
    size_t bare_size = doc_vector_bytes("ca010006017876616c7565", bare, sizeof bare);
    assert_int_equal(decode(&f, bare, bare_size), STRATA_MISS);
    assert_int_equal(atomic_load(&f.r->foreign), misses + 2);
    strata__free(NULL, stored);
    unmake(&f);
}

static void pack(int32_t compression, size_t raw, int shrinks)
{
    struct fixture f;
    char text[20000];
    void *bytes;
    size_t size;
    make(&f, compression, NULL);
    uint64_t noise = 1;
    for (size_t i = 0; i < raw; i++) {
        noise = noise * 6364136223846793005u + 1442695040888963407u;
        text[i] = shrinks ? "layers"[i % 6] : (char)(noise >> 56);
    }
    f.op.meta = meta_of_vector();
    f.op.value = strata__value_copy(NULL, text, raw);
    assert_int_equal(encode(&f, 1, &bytes, &size), STRATA_OK);
    assert_int_equal(size < raw, shrinks && raw >= 1024);
    int rc = decode(&f, bytes, size);
    if (raw > 10000 && size < raw) {
        assert_int_equal(rc, STRATA_MISS); /* it would unfold to more than the cap */
        assert_int_equal(atomic_load(&f.r->foreign), 1);
    } else {
        assert_int_equal(rc, STRATA_OK);
        assert_int_equal(strata_value_size(f.op.found), raw);
        assert_memory_equal(strata_value_data(f.op.found), text, raw);
    }
    strata__free(NULL, bytes);
    unmake(&f);
}

static void test_packing(void **state)
{
    (void)state;
    static const struct {
        int32_t compression;
        uint32_t alg;
    } each[] = { { STRATA_COMPRESS_ZSTD, COMPRESS_ZSTD },
                 { STRATA_COMPRESS_LZ4, COMPRESS_LZ4 },
                 { STRATA_COMPRESS_GZIP, COMPRESS_GZIP },
                 { STRATA_COMPRESS_BROTLI, COMPRESS_BROTLI } };
    for (size_t i = 0; i < sizeof each / sizeof each[0]; i++) {
        if (strata__compress_check(each[i].alg, 0, NULL) != STRATA_OK)
            continue;
        pack(each[i].compression, 1023, 1); /* below the threshold */
        pack(each[i].compression, 1024, 1);
        pack(each[i].compression, 10000, 1);
        pack(each[i].compression, 10000, 0); /* nothing to save */
        pack(each[i].compression, 10001, 1);
    }
}

/* What unfolds to a thousand times itself: never more than the cap is asked for, whatever size the envelope names. */
static void test_bombs(void **state)
{
    (void)state;
    enum { RAW = 1 << 20, CAP = 10000 };
    static char raw[RAW], packed[RAW];
    for (uint32_t alg = COMPRESS_ZSTD; alg <= COMPRESS_BROTLI; alg++) {
        static const uint64_t sizes[] = { RAW, CAP + 1, CAP, 5000, 1, 0, UINT64_MAX, UINT32_MAX };
        struct fixture f;
        struct fail_alloc mem;
        size_t size = 0;
        if (strata__compress_check(alg, 0, NULL) != STRATA_OK)
            continue;
        fail_alloc_init(&mem, 0);
        make(&f, STRATA_COMPRESS_NONE, &mem.mem);
        assert_int_equal(strata__compress(&f.r->compressor, alg, 0, raw, RAW, packed, RAW, &size), STRATA_OK);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct envelope e = { .flags = ENVELOPE_CHECKSUM, .compression = alg, .raw_size = sizes[i] };
            e.payload = strata_bytes(packed, size);
            size_t header = strata__envelope_size(&e);
            char *bytes = malloc(header + size);
            assert_non_null(bytes);
            strata__envelope_write(&e, bytes);
            memcpy(bytes + header, packed, size);
            f.err = (strata_error)STRATA_ERROR_INIT;
            assert_int_equal(decode(&f, bytes, header + size), STRATA_MISS);
            assert_null(f.op.found);
            assert_int_not_equal(f.err.message[0], 0);
            assert_int_equal(atomic_load(&f.r->foreign), i + 1);
            free(bytes);
        }
        unmake(&f);
        assert_int_equal(atomic_load(&mem.live), 0);
    }
}

static void test_the_nth_allocation_fails(void **state)
{
    (void)state;
    struct fail_alloc a;
    long n = 0;
    int32_t compression = strata__compress_check(COMPRESS_ZSTD, 0, NULL) == STRATA_OK ? STRATA_COMPRESS_ZSTD
                                                                                      : STRATA_COMPRESS_NONE;
    do {
        struct fixture f;
        char text[4000];
        void *bytes;
        size_t size;
        memset(text, 'a', sizeof text);
        fail_alloc_init(&a, ++n);
        make(&f, compression, &a.mem);
        f.op.meta = meta_of_vector();
        f.op.value = strata__value_copy(NULL, text, sizeof text);
        int rc = encode(&f, 1, &bytes, &size);
        assert_true(rc == STRATA_OK || rc == STRATA_ENOMEM);
        if (rc == STRATA_OK) {
            rc = decode(&f, bytes, size);
            assert_true(rc == STRATA_OK || rc == STRATA_ENOMEM);
            strata__free(&a.mem, bytes);
        }
        unmake(&f);
        assert_int_equal(a.live, 0);
    } while (a.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_a_life_that_began_behind_the_look),
        cmocka_unit_test(test_what_is_not_whole_is_foreign),
        cmocka_unit_test(test_packing),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_the_nth_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
